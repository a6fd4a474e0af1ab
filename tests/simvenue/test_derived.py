"""The throttled books and the bins that are made of quotes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chappie.simvenue.derived import ThrottledBook, book10, complete_bins, quote_bins, top
from chappie.simvenue.options import SECOND_NS
from chappie.simvenue.stamps import stamp

T0 = 1_700_000_040 * SECOND_NS


def _levels(bids: dict[int, int], asks: dict[int, int]) -> list[dict[str, Any]]:
    def row(side: str, price: int, size: int) -> dict[str, Any]:
        return {
            "symbol": "XBTUSD", "id": price, "side": side, "size": size, "price": price / 10,
            "timestamp": stamp(T0),
        }  # fmt: skip

    return [row("Sell", price, asks[price]) for price in sorted(asks, reverse=True)] + [
        row("Buy", price, bids[price]) for price in sorted(bids, reverse=True)
    ]


BOOKS = st.builds(
    _levels,
    st.dictionaries(st.integers(1, 60), st.integers(1, 9), max_size=40),
    st.dictionaries(st.integers(61, 120), st.integers(1, 9), max_size=40),
)


@given(st.lists(BOOKS, min_size=1, max_size=8))
def test_a_client_that_follows_the_changes_has_the_published_top(
    books: list[list[dict[str, Any]]],
) -> None:
    throttled = ThrottledBook("XBTUSD")
    mirror: dict[tuple[Any, Any], dict[str, Any]] = {}
    for n, levels in enumerate(books):
        for change in throttled.compare(levels, T0 + n * SECOND_NS):
            if change.table != "orderBookL2_25":
                continue
            for row in change.rows:
                key = (row["id"], row["side"])
                if change.action == "delete":
                    del mirror[key]
                elif change.action == "update":
                    mirror[key] = {**mirror[key], **row}
                else:
                    assert key not in mirror
                    mirror[key] = row
        best = top(levels, 25)
        assert {key: row["size"] for key, row in mirror.items()} == {
            (row["id"], row["side"]): row["size"] for row in best
        }
        assert [row["id"] for row in throttled.image25()] == [row["id"] for row in best]


def test_ten_levels_a_side_come_best_first() -> None:
    row = book10("XBTUSD", _levels(dict.fromkeys(range(1, 20), 5), {100: 7, 101: 8}), T0)
    assert row["asks"] == [[10.0, 7], [10.1, 8]]
    assert row["bids"][0] == [1.9, 5]
    assert len(row["bids"]) == 10


def test_a_book_that_did_not_change_is_not_sent_again() -> None:
    throttled = ThrottledBook("XBTUSD")
    levels = _levels({1: 5}, {2: 6})
    assert {change.table for change in throttled.compare(levels, T0)} == {
        "orderBookL2_25",
        "orderBook10",
    }
    assert throttled.compare(levels, T0 + 1) == []


def test_depth_zero_is_the_whole_book() -> None:
    levels = _levels(dict.fromkeys(range(1, 40), 5), {})
    assert len(top(levels, 0)) == 39
    assert len(top(levels, 3)) == 3


def test_a_bin_that_has_not_ended_is_not_complete() -> None:
    bins = [{"timestamp": stamp(T0)}, {"timestamp": stamp(T0 + 60 * SECOND_NS)}]
    assert complete_bins(bins, T0 + SECOND_NS) == bins[:1]


def test_a_quote_bin_is_its_last_quote_with_the_time_of_its_end() -> None:
    minute_ns = 60 * SECOND_NS
    start_ns = T0 // minute_ns * minute_ns
    quotes = [
        {"timestamp": stamp(start_ns + second * SECOND_NS), "bidPrice": second}
        for second in (5, 50, 70, 130)
    ]
    bins = quote_bins(quotes, minute_ns, start_ns + 2 * minute_ns + 30 * SECOND_NS)
    assert bins == [
        {"timestamp": stamp(start_ns + minute_ns), "bidPrice": 50},
        {"timestamp": stamp(start_ns + 2 * minute_ns), "bidPrice": 70},
    ]
