"""orderBookL2 as protocol section 6 describes it, before and after the changes of 2023."""

import pytest

from chappie.model.enums import Side, Stream
from chappie.model.reports import WireRefusal
from chappie.model.units import Ticks
from chappie.venues.bitmex.session import BitmexSession
from tests.venues.bitmex.wire import (
    BOOK_ROWS,
    Row,
    booked,
    detail,
    frame,
    instrument,
    level,
    partial,
    session,
    words,
)

ADVANCED = ["Advanced orderBook"]
INCONSISTENT = ["Inconsistent orderBook"]

# Tops of `BOOK_ROWS` in ticks of 0.5.
BID, ASK = 60000, 60001


def top(s: BitmexSession) -> tuple[int | None, int | None]:
    return s.book.best_bid, s.book.best_ask


def delta(s: BitmexSession, action: str, *rows: Row) -> list[str]:
    return words(s.receive(frame("orderBookL2", action, rows)))


def test_an_image_fills_the_book_whatever_the_order_of_its_rows() -> None:
    s = session()
    assert words(s.receive(partial("orderBookL2", BOOK_ROWS))) == ["ImageApplied orderBook"]
    assert top(s) == (BID, ASK)
    assert s.book.levels(Side.BUY, 9) == [(60000, 400), (59998, 500), (59997, 600)]
    assert s.book.levels(Side.SELL, 9) == [(60001, 100), (60002, 200), (60003, 300)]


@pytest.mark.parametrize("action", ["insert", "update", "delete"])
def test_deltas_before_the_image_are_dropped(action: str) -> None:
    s = session()
    row = level("Buy", 29000.0, 1, 4)
    assert delta(s, action, row) == ["EarlyDropped orderBook"]
    assert len(s.book) == 0


def test_a_later_image_replaces_everything() -> None:
    s = booked()
    s.receive(partial("orderBookL2", [level("Buy", 10.0, 7, 12)]))
    assert top(s) == (20, None)
    assert len(s.book) == 1
    assert delta(s, "update", level("Sell", 30000.5, 1, 5)) == INCONSISTENT


def test_an_empty_image_is_an_empty_book_that_can_grow() -> None:
    s = booked()
    assert words(s.receive(partial("orderBookL2"))) == ["ImageApplied orderBook"]
    assert len(s.book) == 0
    assert delta(s, "insert", level("Buy", 5.0, 7, 1)) == ADVANCED
    assert top(s) == (10, None)


def test_updates_and_deletes_of_before_2023_come_without_a_price() -> None:
    s = booked()
    assert delta(s, "update", level("Sell", None, 150, 5)) == ADVANCED
    assert s.book.size(Side.SELL, Ticks(ASK)) == 150
    assert delta(s, "delete", level("Sell", None, None, 5)) == ADVANCED
    assert top(s) == (BID, 60002)


def test_updates_and_deletes_of_today_carry_their_price() -> None:
    s = booked()
    stamps = {"timestamp": "2025-04-25T21:40:14.984Z", "transactTime": "2025-04-25T21:40:14.962Z"}
    assert delta(s, "update", level("Buy", 30000.0, 450, 8, **stamps)) == ADVANCED
    assert s.book.size(Side.BUY, Ticks(BID)) == 450
    assert delta(s, "delete", level("Buy", 30000.0, None, 8, **stamps)) == ADVANCED
    assert top(s) == (59998, ASK)


def test_a_delete_with_an_explicit_null_size_is_a_delete() -> None:
    s = booked()
    row = {**level("Buy", None, None, 8), "size": None, "price": None}
    assert delta(s, "delete", row) == ADVANCED
    assert top(s) == (59998, ASK)


def test_ids_are_arbitrary_and_order_nothing() -> None:
    s = session()
    s.receive(
        partial(
            "orderBookL2",
            [
                level("Buy", 10.0, 1, 3),
                level("Buy", 11.0, 1, 1),
                level("Buy", 10.5, 1, 98876719444),
            ],
        )
    )
    assert s.book.levels(Side.BUY, 3) == [(22, 1), (21, 1), (20, 1)]
    assert delta(s, "delete", level("Buy", None, None, 1)) == ADVANCED
    assert top(s) == (21, None)


def test_a_freed_id_may_name_another_price_later() -> None:
    s = booked()
    delta(s, "delete", level("Buy", None, None, 8))
    assert delta(s, "insert", level("Buy", 29990.0, 5, 8)) == ADVANCED
    assert s.book.size(Side.BUY, Ticks(59980)) == 5


def test_a_level_changes_side_by_delete_and_insert_of_one_id() -> None:
    s = booked()
    delta(s, "delete", level("Sell", None, None, 5))
    assert delta(s, "insert", level("Buy", 30000.5, 90, 5)) == ADVANCED
    assert top(s) == (60001, 60002)
    assert s.book.size(Side.BUY, Ticks(60001)) == 90


def test_rows_of_one_message_apply_in_order() -> None:
    s = booked()
    rows = [level("Buy", 30000.0, 1, 8), level("Buy", 30000.0, 2, 8), level("Buy", None, 3, 8)]
    assert delta(s, "update", *rows) == ADVANCED
    assert s.book.size(Side.BUY, Ticks(BID)) == 3


def test_an_increment_without_rows_is_no_evidence() -> None:
    s = booked()
    for action in ("insert", "update", "delete"):
        assert delta(s, action) == []


WRONG: dict[str, tuple[str, Row, str]] = {
    "an update of an unknown level": ("update", level("Buy", None, 5, 404), "unknown level 404"),
    "a delete of an unknown level": ("delete", level("Buy", None, None, 404), "unknown level 404"),
    "an insert of a level that is there": ("insert", level("Buy", 29000.0, 5, 8), "that is there"),
    "a second level at one price": ("insert", level("Buy", 30000.0, 5, 9), "second level"),
    "an update to size zero": ("update", level("Buy", 30000.0, 0, 8), "size 0"),
    "an update to a negative size": ("update", level("Buy", 30000.0, -1, 8), "size -1"),
    "an update without a size": ("update", level("Buy", 30000.0, None, 8), "size None"),
    "an insert of size zero": ("insert", level("Buy", 29000.0, 0, 9), "size 0"),
    "an insert of a negative size": ("insert", level("Buy", 29000.0, -4, 9), "size -4"),
    "an insert at price zero": ("insert", level("Sell", 0.0, 4, 9), "price 0.0"),
    "an insert at a negative price": ("insert", level("Buy", -5.0, 4, 9), "price -5.0"),
    "an insert without a price": ("insert", level("Buy", None, 4, 9), "price None"),
    "an update that moves the price": ("update", level("Buy", 29990.0, 5, 8), "changed price"),
    "an update that changes the side": ("update", level("Sell", None, 5, 8), "changed side"),
    "a bid at the best ask": ("insert", level("Buy", 30000.5, 4, 9), "crossed"),
    "a bid above the best ask": ("insert", level("Buy", 30001.5, 4, 9), "crossed"),
    "an ask below the best bid": ("insert", level("Sell", 29500.0, 4, 9), "crossed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_true_empties_the_book_at_once(case: str) -> None:
    action, row, said = WRONG[case]
    s = booked()
    reports = s.receive(frame("orderBookL2", action, [row]))
    assert words(reports) == INCONSISTENT
    assert said in detail(reports)
    assert len(s.book) == 0
    assert top(s) == (None, None)


def test_after_a_contradiction_nothing_is_believed_until_the_next_image() -> None:
    s = booked()
    delta(s, "update", level("Buy", None, 5, 404))
    assert delta(s, "update", level("Buy", None, 5, 8)) == ["EarlyDropped orderBook"]
    assert words(s.receive(partial("orderBookL2", BOOK_ROWS))) == ["ImageApplied orderBook"]
    assert top(s) == (BID, ASK)


def test_a_wrong_row_among_right_ones_costs_the_whole_book() -> None:
    s = booked()
    rows = [level("Buy", 29990.0, 5, 50), level("Buy", 29991.0, -5, 51)]
    assert delta(s, "insert", *rows) == INCONSISTENT
    assert len(s.book) == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([level("Buy", 30001.0, 1, 1), level("Sell", 30000.0, 1, 2)], "crossed image"),
        ([level("Buy", 30000.0, 1, 1), level("Sell", 30000.0, 1, 2)], "crossed image"),
        ([level("Buy", 30000.0, 1, 1), level("Buy", 29999.0, 1, 1)], "twice"),
        ([level("Buy", 30000.0, 1, 1), level("Buy", 30000.0, 1, 2)], "twice"),
        ([level("Buy", 30000.0, 0, 1)], "size 0"),
        ([level("Buy", 30000.0, -1, 1)], "size -1"),
        ([level("Buy", -1.0, 1, 1)], "price -1.0"),
        ([level("Sell", 0.0, 1, 1)], "price 0.0"),
    ],
)
def test_an_image_that_cannot_be_true_leaves_no_book(rows: list[Row], said: str) -> None:
    s = booked()
    reports = s.receive(partial("orderBookL2", rows))
    assert words(reports) == INCONSISTENT
    assert said in detail(reports)
    assert len(s.book) == 0
    assert delta(s, "insert", level("Buy", 1.0, 1, 6)) == ["EarlyDropped orderBook"]


@pytest.mark.parametrize("row", [level("Buy", None, 5, 1), level("Buy", 30000.0, None, 1)])
def test_an_image_row_without_price_or_size_is_refused(row: Row) -> None:
    s = booked()
    assert words(s.receive(partial("orderBookL2", [row]))) == ["Refused SHAPE"]
    assert len(s.book) == 0


@pytest.mark.parametrize(
    "keys", [["symbol", "id", "side"], ["symbol", "id"], ["side", "id", "symbol"]]
)
def test_the_keys_of_an_image_must_find_our_levels(keys: list[str]) -> None:
    s = session()
    assert words(s.receive(partial("orderBookL2", BOOK_ROWS, keys))) == ["ImageApplied orderBook"]


@pytest.mark.parametrize("keys", [[], ["symbol"], ["symbol", "price"], ["symbol", "id", "pool"]])
def test_an_image_with_other_keys_is_refused(keys: list[str]) -> None:
    s = booked()
    reports = s.receive(partial("orderBookL2", BOOK_ROWS, keys))
    assert words(reports) == ["Refused UNKNOWN_KEYS"]
    assert len(s.book) == 0


def test_an_image_of_2018_names_no_keys() -> None:
    s = session()
    assert words(s.receive(frame("orderBookL2", "partial", BOOK_ROWS))) == [
        "ImageApplied orderBook"
    ]


@pytest.mark.parametrize("price", [30000.3, 30000.25, 1e-7, 1e308])
@pytest.mark.parametrize("action", ["partial", "insert"])
def test_a_price_between_two_ticks_is_refused_and_empties_the_book(
    action: str, price: float
) -> None:
    s = booked()
    assert delta(s, action, level("Buy", price, 5, 99)) == [f"Refused {WireRefusal.OFF_TICK.name}"]
    assert len(s.book) == 0


@pytest.mark.parametrize("price", [30000.3, 30000.001, 0.0, -30000.0, 1e-7, 1e308])
def test_an_update_to_a_price_where_no_level_can_be_is_one_that_moves_the_level(
    price: float,
) -> None:
    s = booked()
    assert delta(s, "update", level("Buy", price, 5, 8)) == INCONSISTENT
    assert len(s.book) == 0


@pytest.mark.parametrize("action", ["partial", "insert", "update", "delete"])
def test_rows_of_another_symbol_are_refused_and_leave_our_book_alone(action: str) -> None:
    s = booked()
    foreign = {**level("Buy", 1.0, 5, 8), "symbol": "ETHUSD"}
    rows = [level("Buy", 30000.0, 1, 8), foreign]
    assert delta(s, action, *rows) == ["Refused FOREIGN_SYMBOL"]
    assert top(s) == (BID, ASK)
    assert s.book.size(Side.BUY, Ticks(BID)) == 400


def test_resubscribing_forgets_the_image() -> None:
    s = booked()
    assert s.resubscribe(Stream.BOOK) == (
        b'{"op":"unsubscribe","args":["orderBookL2:XBTUSD"]}',
        b'{"op":"subscribe","args":["orderBookL2:XBTUSD"]}',
    )
    assert len(s.book) == 0
    assert delta(s, "update", level("Buy", None, 5, 8)) == ["EarlyDropped orderBook"]


def test_the_session_shows_one_book_object_for_its_whole_life() -> None:
    """The core holds on to it, so an image must refill it and never replace it."""
    s = session()
    book = s.book
    s.receive(partial("orderBookL2", BOOK_ROWS))
    delta(s, "update", level("Buy", None, 5, 404))
    s.receive(partial("orderBookL2", BOOK_ROWS))
    assert s.book is book
    assert len(book) == 6


def test_a_finer_tick_makes_other_ticks_of_the_same_price() -> None:
    s = session(tickSize=0.1)
    s.receive(partial("orderBookL2", BOOK_ROWS))
    assert top(s) == (300000, 300005)
    assert instrument(tickSize=0.1).price(300005) == instrument().price(60001)
