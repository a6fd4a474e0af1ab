"""Arguments of every encoding, and the query language of the table routes."""

from __future__ import annotations

from typing import Any

import pytest

from chappie.simvenue.envelopes import parse_iso
from chappie.simvenue.query import Args, BadArgument, read_args, run_query, symbols_of

INSTRUMENTS: list[dict[str, Any]] = [
    {"symbol": "XBTUSD", "rootSymbol": "XBT", "typ": "FFWCSX"},
    {"symbol": ".BXBT", "rootSymbol": "BXBT", "typ": "MRCXXX"},
]

ROWS: list[dict[str, Any]] = [
    {
        "orderID": str(n),
        "symbol": "XBTUSD" if n % 2 else "ETHUSD",
        "side": "Buy" if n < 5 else "Sell",
        "ordStatus": ("New", "Filled", "PartiallyFilled", "Canceled")[n % 4],
        "timestamp": f"2024-05-0{n + 1}T12:3{n}:00.000Z",
        "orderQty": n * 100,
    }
    for n in range(8)
]


def _ids(**values: Any) -> list[str]:
    return [row["orderID"] for row in run_query(ROWS, Args(values))]


@pytest.mark.parametrize(
    ("query", "content_type", "body"),
    [
        ("", "application/json", b'{"orderID":["a","b"],"n":5}'),
        ("", "", b'{"orderID":["a","b"],"n":5}'),
        ("", "application/x-www-form-urlencoded", b"orderID=a&orderID=b&n=5"),
        ("", "application/x-www-form-urlencoded", b"orderID=%5B%22a%22%2C%22b%22%5D&n=5"),
        ("orderID=a%2Cb&n=5", "", b""),
        ("orderID[]=a&orderID[]=b&n=5", "", b""),
    ],
)
def test_every_encoding_says_the_same(query: str, content_type: str, body: bytes) -> None:
    args = read_args("DELETE", query, content_type, body)
    assert args.strings("orderID") == ["a", "b"]
    assert args.integer("n") == 5


def test_a_body_in_a_get_is_refused_as_the_venue_does() -> None:
    with pytest.raises(BadArgument, match=r"Body should not be included in a GET request\."):
        read_args("GET", "", "application/json", b"{}")


@pytest.mark.parametrize("body", [b"{", b"[1]", b"5"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadArgument):
        read_args("POST", "", "application/json", body)


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(BadArgument, match=r"^'symbol' is a required arg\.$"):
        Args({"symbol": ""}).required("symbol")


@pytest.mark.parametrize("value", ["x", True, [1], "nan", "1.5"])
def test_what_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(BadArgument):
        Args({"n": value}).integer("n")


def test_flags_come_as_words_too() -> None:
    assert Args({"a": "true"}).flag("a", False) is True
    assert Args({"a": "False"}).flag("a", True) is False
    assert Args({}).flag("a", True) is True
    with pytest.raises(BadArgument):
        Args({"a": "maybe"}).flag("a", True)


def test_open_orders_are_those_that_still_work() -> None:
    assert _ids(filter='{"open":true}') == ["0", "2", "4", "6"]
    assert _ids(filter={"open": True}) == ["0", "2", "4", "6"]


def test_closed_orders_cannot_be_asked_for_with_open_false() -> None:
    with pytest.raises(BadArgument):
        _ids(filter='{"open":false}')


def test_the_termination_of_a_status_can_be_asked_for() -> None:
    assert _ids(filter='{"ordStatus.isTerminated":false}') == ["0", "2", "4", "6"]
    assert _ids(filter='{"ordStatus.isTerminated":true}') == ["1", "3", "5", "7"]


def test_a_list_in_a_filter_means_any_of_them() -> None:
    assert _ids(filter='{"ordStatus":["New","Filled"],"side":"Sell"}') == ["5"]


def test_parts_of_a_time_can_be_filtered() -> None:
    assert _ids(filter='{"timestamp.date":"2024-05-03"}') == ["2"]
    assert _ids(filter='{"timestamp.minute":["12:31","12:36"]}') == ["1", "6"]
    assert _ids(filter='{"timestamp.mm":4}') == []


def test_times_bound_the_rows_on_both_sides_wherever_they_are_written() -> None:
    assert _ids(startTime="2024-05-03", endTime="2024-05-05T12:34:00.000Z") == ["2", "3", "4"]
    assert _ids(filter='{"startTime":"2024-05-07T00:00:00Z"}') == ["6", "7"]
    with pytest.raises(BadArgument):
        _ids(startTime="yesterday")


def test_count_start_and_reverse_cut_in_this_order() -> None:
    assert _ids(count=2, start=1) == ["1", "2"]
    assert _ids(count="2", start="1", reverse="true") == ["6", "5"]


def test_more_rows_than_the_maximum_cannot_be_asked_for() -> None:
    with pytest.raises(BadArgument):
        _ids(count=501)
    many = [{"n": n} for n in range(600)]
    assert len(run_query(many, Args({}))) == 100
    assert len(run_query(many, Args({"count": 500}))) == 500


def test_columns_bring_the_keys_along() -> None:
    rows = run_query(ROWS[:1], Args({"columns": '["side","nothing"]'}), keys=("orderID",))
    assert rows == [{"orderID": "0", "side": "Buy"}]


def test_a_filter_that_is_no_json_is_refused() -> None:
    for bad in ("{", "[1]"):
        with pytest.raises(BadArgument):
            _ids(filter=bad)


def test_the_rows_asked_for_are_not_changed() -> None:
    before = [dict(row) for row in ROWS]
    run_query(ROWS, Args({"columns": '["side"]', "reverse": True}))
    assert before == ROWS


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [
        ("XBTUSD", ("XBTUSD",)),
        ("xbtusd", ("XBTUSD",)),
        ("XBT", ("XBTUSD",)),
        ("XBT:perpetual", ("XBTUSD",)),
        ("XBT:quarterly", ()),
        (".BXBT", (".BXBT",)),
        ("INDICES", (".BXBT",)),
        ("CONTRACTS", ("XBTUSD",)),
        ("SPOT", ()),
        ("DOGE", None),
        ("XBT:sometimes", None),
    ],
)
def test_symbols_series_timeframes_and_groups(symbol: str, meant: tuple[str, ...] | None) -> None:
    assert symbols_of(symbol, INSTRUMENTS) == meant


def test_times_are_read_to_the_millisecond() -> None:
    assert parse_iso("2024-11-24T23:33:19.034Z") == 1_732_491_199_034_000_000
    assert parse_iso("2024-11-24") == parse_iso("2024-11-24T00:00:00+00:00")
