from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from chappie.core.gate import Circumstances, examine
from chappie.model.commands import HttpCall
from chappie.model.enums import OrdStatus, OrdType, Side, TimeInForce
from chappie.model.faults import Posture
from chappie.model.orders import Approved, NewOrder
from chappie.model.reports import (
    BudgetSeen,
    Filled,
    FillsRead,
    Funded,
    InstrumentRead,
    KeyRead,
    MarginRead,
    MarginSaid,
    OrderAnswered,
    OrdersRead,
    PositionRead,
    PositionSaid,
    Read,
    SwitchArmed,
    Unknown,
)
from chappie.model.units import Contracts, Ticks
from chappie.venues.bitmex.dialect import creates_or_amends
from tests.venues.bitmex.wire import INSTRUMENT_ROW, Row, answered, dialect, instrument

ORDER_ROW: Row = {
    "orderID": "a125b16d",
    "clOrdID": "chappie-1-1",
    "account": 1,
    "symbol": "XBTUSD",
    "side": "Buy",
    "orderQty": 200,
    "price": 30000.5,
    "ordStatus": "New",
    "ordType": "Limit",
    "leavesQty": 200,
    "cumQty": 0,
    "text": "Submitted via API.",
    "timestamp": "2024-12-12T17:27:51.774Z",
}
FILL_ROW: Row = {
    "execID": "e1",
    "orderID": "a125b16d",
    "clOrdID": "chappie-1-1",
    "symbol": "XBTUSD",
    "side": "Sell",
    "lastQty": 100,
    "lastPx": 30000.5,
    "execType": "Trade",
    "execCost": 333328,
    "execComm": -33,
    "transactTime": "2024-12-12T17:27:51.774Z",
}


def understood(read: Read | None, body: object, status: int = 200) -> object:
    outcome, _ = dialect().understand(read, answered(body, status), instrument())
    return outcome


# --- requests


def test_reads_name_routes_and_filters_that_the_venue_knows() -> None:
    d = dialect()
    assert d.read_key() == HttpCall("GET", "/apiKey")
    assert _asked(d.read_instrument()) == ("/instrument", {"symbol": "XBTUSD", "count": "1"})
    assert _asked(d.read_open_orders()) == (
        "/order",
        {"filter": '{"open":true}', "count": "500", "reverse": "true"},
    )
    assert _asked(d.read_order('a"b')) == (
        "/order",
        {"filter": '{"clOrdID":"a\\"b"}', "count": "10", "reverse": "true"},
    )
    assert _asked(d.read_fills(1_700_000_000_123_999_999, 500)) == (
        "/execution/tradeHistory",
        {
            "symbol": "XBTUSD",
            "startTime": "2023-11-14T22:13:20.123Z",
            "count": "500",
            "start": "500",
            "reverse": "false",
        },
    )
    assert _asked(d.read_position()) == ("/position", {"filter": '{"symbol":"XBTUSD"}'})
    assert _asked(d.read_margin()) == ("/user/margin", {"currency": "XBt"})


def test_a_limit_order_carries_its_price_as_an_exact_decimal() -> None:
    call = dialect().new_order(_approved(price=Ticks(60001)), instrument())
    assert (call.method, call.path) == ("POST", "/order")
    assert b'"price":30000.5' in call.body
    assert msgspec.json.decode(call.body) == {
        "symbol": "XBTUSD",
        "clOrdID": "chappie-1-1",
        "side": "Buy",
        "orderQty": 100,
        "ordType": "Limit",
        "price": 30000.5,
        "execInst": "ParticipateDoNotInitiate",
    }


@pytest.mark.parametrize(
    ("tick_size", "ticks", "price"),
    [(0.5, 2, b"1"), (1e-8, 123, b"0.00000123"), (0.1, 1_000_000, b"100000"), (0.1, 3, b"0.3")],
)
def test_a_price_is_never_sent_in_scientific_notation(
    tick_size: float, ticks: int, price: bytes
) -> None:
    terms = instrument(tickSize=tick_size)
    call = dialect().new_order(_approved(price=Ticks(ticks)), terms)
    assert b'"price":' + price + b"," in call.body


def test_a_market_order_has_no_price_and_a_reducing_one_says_so() -> None:
    call = dialect().new_order(
        _approved(price=None, ord_type=OrdType.MARKET, post_only=False, reduce_only=True),
        instrument(),
    )
    asked = msgspec.json.decode(call.body)
    assert "price" not in asked
    assert "timeInForce" not in asked
    assert asked["execInst"] == "ReduceOnly"


def test_instructions_go_in_one_list_and_only_an_unusual_time_in_force_is_sent() -> None:
    call = dialect().new_order(
        _approved(time_in_force=TimeInForce.IOC, reduce_only=True), instrument()
    )
    asked = msgspec.json.decode(call.body)
    assert asked["execInst"] == "ParticipateDoNotInitiate,ReduceOnly"
    assert asked["timeInForce"] == "ImmediateOrCancel"


def test_a_cancel_names_every_order_by_its_id() -> None:
    call = dialect().cancel(["c1", "c2"], ["o1"])
    assert (call.method, call.path) == ("DELETE", "/order")
    assert msgspec.json.decode(call.body) == {"clOrdID": ["c1", "c2"], "orderID": ["o1"]}


def test_a_cancel_without_ids_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        dialect().cancel([], [])


def test_the_switch_counts_milliseconds() -> None:
    call = dialect().arm_switch(60.0)
    assert (call.method, call.path) == ("POST", "/order/cancelAllAfter")
    assert msgspec.json.decode(call.body) == {"timeout": 60000}
    assert msgspec.json.decode(dialect().arm_switch(0).body) == {"timeout": 0}


@pytest.mark.parametrize(
    ("method", "path", "risky"),
    [
        ("GET", "/order?filter=%7B%7D", False),
        ("DELETE", "/order", False),
        ("DELETE", "/order/all", False),
        ("POST", "/order/cancelAllAfter", False),
        ("POST", "/order/cancelAllAfter?x=1", False),
        ("POST", "/order", True),
        ("PUT", "/order", True),
        ("POST", "/order/bulk", True),
        ("PUT", "/order/cancelAllAfterwards", True),
        ("POST", "/order/closePosition", True),
        ("POST", "/position/leverage", True),
        ("PATCH", "/anything", True),
    ],
)
def test_whatever_is_no_read_cancel_or_switch_counts_as_creating(
    method: str, path: str, risky: bool
) -> None:
    assert creates_or_amends(HttpCall(method, path)) is risky


# --- answers


def test_an_order_answer_holds_what_the_venue_said_of_the_order() -> None:
    outcome = understood(None, ORDER_ROW)
    assert isinstance(outcome, OrderAnswered)
    (said,) = outcome.orders
    assert (said.order_id, said.cl_ord_id, said.side) == ("a125b16d", "chappie-1-1", Side.BUY)
    assert (said.price, said.qty, said.leaves_qty, said.cum_qty) == (60001, 200, 200, 0)
    assert said.ord_status is OrdStatus.NEW
    assert said.venue_ns == 1734024471774000000


def test_a_post_only_order_that_would_cross_comes_back_canceled() -> None:
    text = "Canceled: Order had execInst of ParticipateDoNotInitiate\nSubmitted via API."
    outcome = understood(None, {**ORDER_ROW, "ordStatus": "Canceled", "leavesQty": 0, "text": text})
    assert isinstance(outcome, OrderAnswered)
    assert outcome.orders[0].ord_status is OrdStatus.CANCELED
    assert outcome.orders[0].text == text


def test_a_cancel_of_several_orders_may_fail_for_some_of_them() -> None:
    failed = {"account": 1, "error": "Unable to cancel order", "orderID": "o2"}
    unknown = {"error": "Not Found", "clOrdID": "c3"}
    outcome = understood(None, [ORDER_ROW, failed, unknown])
    assert isinstance(outcome, OrderAnswered)
    assert [said.order_id for said in outcome.orders] == ["a125b16d"]
    assert outcome.failures == (("o2", "Unable to cancel order"), ("c3", "Not Found"))


def test_the_switch_answers_with_the_venues_times() -> None:
    armed = {"now": "2024-04-09T09:01:56.560Z", "cancelTime": "2024-04-09T09:02:56.560Z"}
    outcome = understood(None, armed)
    assert isinstance(outcome, SwitchArmed)
    assert outcome.fires_ns is not None
    assert outcome.fires_ns - outcome.venue_ns == 60 * 10**9


def test_a_disarmed_switch_has_no_time_to_fire() -> None:
    outcome = understood(None, {"now": "2024-04-09T09:01:56.560Z", "cancelTime": 0})
    assert isinstance(outcome, SwitchArmed)
    assert outcome.fires_ns is None


@pytest.mark.parametrize(
    "body",
    [
        {"now": "2024-04-09T09:01:56.560Z", "cancelTime": "tomorrow"},
        {"now": "2024-04-09T09:01:56.560Z", "cancelTime": 60000},
        {"now": "today", "cancelTime": 0},
        {"cancelTime": 0},
    ],
)
def test_a_switch_answer_that_makes_no_sense_arms_nothing(body: Row) -> None:
    assert isinstance(understood(None, body), Unknown)


def test_an_empty_list_of_open_orders_is_a_proven_nothing() -> None:
    assert understood(Read.ORDERS, []) == OrdersRead(())


def test_a_full_page_of_open_orders_is_not_all_of_them() -> None:
    rows = [{**ORDER_ROW, "orderID": str(number)} for number in range(500)]
    assert isinstance(understood(Read.ORDERS, rows[:499]), OrdersRead)
    assert isinstance(understood(Read.ORDERS, rows), Unknown)


def test_an_order_on_another_symbol_is_reported_without_a_price_in_our_ticks() -> None:
    outcome = understood(Read.ORDERS, [{**ORDER_ROW, "symbol": "ETHUSD", "price": 1999.97}])
    assert isinstance(outcome, OrdersRead)
    assert outcome.orders[0].symbol == "ETHUSD"
    assert outcome.orders[0].price is None
    assert outcome.orders[0].qty == 200


def test_fills_keep_the_venues_own_cost_and_fee() -> None:
    outcome = understood(Read.FILLS, [FILL_ROW])
    assert isinstance(outcome, FillsRead)
    (said,) = outcome.fills
    fill = said.fill  # type: ignore[union-attr]
    assert (fill.side, fill.qty, fill.price) == (Side.SELL, 100, 60001)
    assert (fill.cost, fill.fee, fill.kind) == (333328, -33, "Trade")


@pytest.mark.parametrize("kind", ["Trade", "Liquidation", "Bankruptcy", "Settlement"])
def test_every_kind_that_changes_the_position_is_a_fill(kind: str) -> None:
    outcome = understood(Read.FILLS, [{**FILL_ROW, "execType": kind}])
    assert isinstance(outcome, FillsRead)
    assert outcome.fills[0].fill.kind == kind  # type: ignore[union-attr]


def test_funding_is_paid_and_never_a_fill() -> None:
    row = {**FILL_ROW, "execType": "Funding", "side": "", "execComm": 17}
    outcome = understood(Read.FILLS, [row])
    assert isinstance(outcome, FillsRead)
    (said,) = outcome.fills
    assert isinstance(said, Funded)
    assert said.paid.fee == 17


@pytest.mark.parametrize("missing", [("transactTime",), ("transactTime", "timestamp")])
def test_an_execution_without_a_time_of_its_own_is_booked_all_the_same(
    missing: tuple[str, ...],
) -> None:
    stamped = {**FILL_ROW, "timestamp": FILL_ROW["transactTime"]}
    outcome = understood(Read.FILLS, [{k: v for k, v in stamped.items() if k not in missing}])
    assert isinstance(outcome, FillsRead)
    (filled,) = outcome.fills
    assert isinstance(filled, Filled)
    assert bool(filled.fill.venue_ns) is ("timestamp" not in missing)


def test_executions_that_change_nothing_and_those_of_other_symbols_are_counted_not_booked() -> None:
    rows = [{**FILL_ROW, "execType": "New"}, {**FILL_ROW, "symbol": "ETHUSD"}, FILL_ROW]
    outcome = understood(Read.FILLS, rows)
    assert isinstance(outcome, FillsRead)
    assert (len(outcome.fills), outcome.rows, outcome.more) == (1, 3, False)


def test_a_full_page_of_fills_says_that_there_may_be_more() -> None:
    rows = [{**FILL_ROW, "execID": str(number)} for number in range(500)]
    outcome = understood(Read.FILLS, rows)
    assert isinstance(outcome, FillsRead)
    assert outcome.more


@pytest.mark.parametrize(
    "changed",
    [
        {"execType": "Teleported"},
        {"lastQty": 0},
        {"lastQty": -100},
        {"lastQty": 1.5},
        {"lastPx": 0},
        {"lastPx": None},
        {"lastPx": 30000.3},
        {"side": ""},
        {"side": "Byu"},
        {"execCost": None},
        {"execComm": "33"},
        {"execID": ""},
    ],
)
def test_a_fill_that_cannot_be_booked_makes_the_read_unknown(changed: Row) -> None:
    """Promise 8: a page that was not understood is not a page with fewer fills."""
    assert isinstance(understood(Read.FILLS, [FILL_ROW, {**FILL_ROW, **changed}]), Unknown)


def test_no_position_row_is_no_position() -> None:
    none = PositionRead(PositionSaid(0, 0, None, None, None))  # type: ignore[arg-type]
    assert understood(Read.POSITION, []) == none
    assert understood(Read.POSITION, [{"symbol": "ETHUSD", "currentQty": 5}]) == none


def test_a_position_row_holds_quantity_and_cost() -> None:
    row = {
        "symbol": "XBTUSD",
        "currentQty": -300,
        "posCost": 1000000,
        "avgEntryPrice": 30000.0,
        "unrealisedPnl": -12,
        "liquidationPrice": 45000.5,
    }
    outcome = understood(Read.POSITION, [row])
    assert isinstance(outcome, PositionRead)
    assert outcome.position == PositionSaid(-300, 1000000, 30000.0, -12, 45000.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rows",
    [
        [{"currentQty": 100}],
        [{"symbol": "XBTUSD", "currentQty": "100"}],
        # Two positions in one symbol are what hedge mode has; we would see half of it.
        [{"symbol": "XBTUSD", "strategy": "Long"}, {"symbol": "XBTUSD", "strategy": "Short"}],
    ],
)
def test_a_position_that_was_not_understood_is_not_flat(rows: list[Row]) -> None:
    assert isinstance(understood(Read.POSITION, rows), Unknown)


def test_margin_is_read_in_the_currency_that_was_asked_for() -> None:
    row = {"currency": "XBt", "walletBalance": 5, "marginBalance": 6, "availableMargin": 4}
    assert understood(Read.MARGIN, row) == MarginRead(MarginSaid(5, 6, 4))  # type: ignore[arg-type]
    assert isinstance(understood(Read.MARGIN, {**row, "currency": "USDt"}), Unknown)


def test_the_instrument_is_read_with_its_terms() -> None:
    outcome = understood(Read.INSTRUMENT, [{"symbol": "ETHUSD"}, INSTRUMENT_ROW])
    assert isinstance(outcome, InstrumentRead)
    assert outcome.seen.instrument == instrument()
    assert (outcome.seen.mark_price, outcome.seen.index_price) == (30000.25, 30001.5)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"symbol": "ETHUSD"}],
        [INSTRUMENT_ROW, INSTRUMENT_ROW],
        [{**INSTRUMENT_ROW, "tickSize": 0}],
        [{**INSTRUMENT_ROW, "tickSize": None}],
        [{**INSTRUMENT_ROW, "lotSize": -1}],
        [{**INSTRUMENT_ROW, "multiplier": None}],
        [{**INSTRUMENT_ROW, "state": "Dreaming"}],
        [{**INSTRUMENT_ROW, "isInverse": "no"}],
    ],
)
def test_an_instrument_without_usable_terms_is_unknown(rows: list[Row]) -> None:
    assert isinstance(understood(Read.INSTRUMENT, rows), Unknown)


def test_a_key_may_what_its_own_row_says() -> None:
    rows = [
        {"id": "somebody else's", "permissions": ["order", "withdraw"]},
        {"id": "***", "permissions": ["order"]},
    ]
    assert understood(Read.KEY, rows) == KeyRead(can_trade=True, can_withdraw=False)
    assert understood(Read.KEY, [{"id": "***"}]) == KeyRead(False, False)


def test_a_key_that_is_not_found_among_several_may_what_any_of_them_may() -> None:
    rows = [{"id": "a", "permissions": ["order"]}, {"id": "b", "permissions": ["withdraw"]}]
    assert understood(Read.KEY, rows) == KeyRead(can_trade=True, can_withdraw=True)


@pytest.mark.parametrize("body", [[], [{"permissions": ["order"]}], {"id": "***"}])
def test_an_answer_without_a_key_proves_no_permission(body: object) -> None:
    assert isinstance(understood(Read.KEY, body), Unknown)


@pytest.mark.parametrize("read", [None, *Read])
@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"<html>", b"null", b"[null]", b"\xff\xfe", b"[" * 100_000, b"[[]]", b'"pong"'],
)
def test_a_200_that_is_no_answer_is_unknown_and_never_empty(read: Read | None, body: bytes) -> None:
    assert isinstance(understood(read, body), Unknown)


def test_an_answer_nested_without_end_is_unknown() -> None:
    body = b'{"orderID":"x","y":' + b"[" * 100_000
    assert isinstance(understood(None, body), Unknown)
    assert isinstance(understood(None, b'{"error":{"x":' + b"[" * 100_000, 400), Unknown)


# --- the request budget


def test_the_headers_of_both_layers_are_read() -> None:
    headers = {
        "x-ratelimit-limit": "120",
        "x-ratelimit-remaining": "117",
        "x-ratelimit-reset": "1734024472",
        "x-ratelimit-remaining-1s": "9",
        "x-ratelimit-limit-1s": "10",
    }
    assert _budget(headers) == BudgetSeen(120, 117, 1734024472, 9, 10)


def test_a_missing_header_is_none_and_not_zero() -> None:
    assert _budget({}) == BudgetSeen(None, None, None, None)
    assert _budget({"x-ratelimit-remaining": "3"}) == BudgetSeen(None, 3, None, None)


@pytest.mark.parametrize(
    "text", ["", "many", "1.5", "²", "--5", "1_0", "0x1f", "9" * 5000, "٣", "0\x1f"]
)
def test_a_garbage_header_counts_as_missing(text: str) -> None:
    assert _budget({"x-ratelimit-remaining": text}) == BudgetSeen(None, None, None, None)


def test_a_refusal_still_tells_the_budget() -> None:
    """A 503 consumes a token too (protocol section 3)."""
    answer = answered(b"<html>", 503, {"x-ratelimit-remaining": "5"})
    _, budget = dialect().understand(None, answer, None)
    assert budget.remaining == 5


def _budget(headers: dict[str, str]) -> BudgetSeen:
    _, budget = dialect().understand(Read.ORDERS, answered([], headers=headers), instrument())
    return budget


def _asked(call: HttpCall) -> tuple[str, dict[str, str]]:
    assert (call.method, call.body, call.signed) == ("GET", b"", True)
    parts = urlsplit(call.path)
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}


def _approved(**changed: Any) -> Approved[NewOrder]:
    fields: dict[str, Any] = {
        "cl_ord_id": "chappie-1-1",
        "symbol": "XBTUSD",
        "side": Side.BUY,
        "qty": Contracts(100),
        "ord_type": OrdType.LIMIT,
        "price": Ticks(60001),
        "time_in_force": TimeInForce.GTC,
        "post_only": True,
        "reduce_only": False,
        **changed,
    }
    circumstances = Circumstances(
        instrument=instrument(),
        posture=Posture.ACTIVE,
        locked=False,
        qty=-100,
        live_buy=0,
        live_sell=0,
        in_doubt=False,
        fills_missing=False,
        order_qty=100,
        max_position=1000,
        switch_holds=True,
        allow_trade=True,
        mark=fields["price"] or 60_000,
        best_bid=fields["price"] or 60_000,
        best_ask=fields["price"] or 60_001,
        collar_ppm=50_000,
    )
    approved = examine(NewOrder(**fields), circumstances)
    assert isinstance(approved, Approved), approved
    return approved


def test_the_date_of_any_answer_states_the_venues_time() -> None:
    for status, body in ((200, b"[]"), (429, b"{}"), (502, b"<html>")):
        answer = answered(body, status, {"date": "Sun, 06 Nov 1994 08:49:37 GMT"})
        assert dialect().stated_time(answer) == 784_111_777 * 10**9
    assert dialect().stated_time(answered(b"[]", 200, {})) is None
    assert dialect().stated_time(answered(b"[]", 200, {"date": "noon"})) is None
