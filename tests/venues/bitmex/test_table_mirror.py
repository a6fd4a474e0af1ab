"""The generic mirror: order, execution, position, margin, instrument."""

import pytest

from chappie.model.enums import OrdStatus, Side, Stream
from chappie.model.reports import InstrumentSeen, MarginSaid, OrderSaid, PositionSaid
from chappie.venues.bitmex.session import BitmexSession
from chappie.venues.bitmex.tables import TableMirror
from tests.venues.bitmex.wire import (
    INSTRUMENT_ROW,
    KEYS,
    Row,
    detail,
    frame,
    partial,
    session,
    words,
)

ORDER: Row = {
    "orderID": "o1",
    "clOrdID": "chappie-1-1",
    "account": 1,
    "symbol": "XBTUSD",
    "side": "Sell",
    "orderQty": 200,
    "price": 30000.5,
    "ordStatus": "New",
    "leavesQty": 200,
    "cumQty": 0,
}
POSITION: Row = {
    "account": 1,
    "symbol": "XBTUSD",
    "currency": "XBt",
    "strategy": "OneWay",
    "currentQty": 100,
    "posCost": -333333,
    "avgEntryPrice": 30000.0,
    "unrealisedPnl": 5,
    "liquidationPrice": 20000.0,
}
FILL: Row = {
    "execID": "e1",
    "orderID": "o1",
    "clOrdID": "chappie-1-1",
    "symbol": "XBTUSD",
    "side": "Sell",
    "lastQty": 100,
    "lastPx": 30000.5,
    "execType": "Trade",
    "execCost": 333328,
    "execComm": 166,
}
MARGIN: Row = {
    "account": 1,
    "currency": "XBt",
    "walletBalance": 10,
    "marginBalance": 9,
    "availableMargin": 8,
}
IMAGES: dict[str, Row] = {
    "order": ORDER,
    "position": POSITION,
    "margin": MARGIN,
    "instrument": INSTRUMENT_ROW,
}


def imaged(table: str, keys: list[str] | None = None) -> BitmexSession:
    s = session()
    s.receive(partial(table, [IMAGES[table]], keys))
    return s


def send(s: BitmexSession, table: str, action: str, *rows: Row) -> list[str]:
    return words(s.receive(frame(table, action, rows)))


@pytest.mark.parametrize("table", ["order", "execution", "position", "margin", "instrument"])
@pytest.mark.parametrize("action", ["insert", "update", "delete"])
def test_deltas_before_the_image_are_dropped(table: str, action: str) -> None:
    s = session()
    assert send(s, table, action, IMAGES.get(table, FILL)) == [f"EarlyDropped {table}"]


@pytest.mark.parametrize("table", KEYS)
def test_an_empty_image_says_that_there_is_nothing(table: str) -> None:
    s = session()
    said = words(s.receive(partial(table)))
    if table == "orderBookL2_25":
        assert said == ["Refused UNKNOWN_TABLE"]
    else:
        stream = "orderBook" if table == "orderBookL2" else table
        assert said == [f"ImageApplied {stream}"]


def test_a_later_image_replaces_everything() -> None:
    s = imaged("order")
    s.receive(partial("order", [{**ORDER, "orderID": "o2"}]))
    reports = s.receive(frame("order", "update", [{"orderID": "o1", "leavesQty": 0}]))
    assert words(reports) == ["Inconsistent order"]


def test_an_increment_without_rows_is_no_evidence() -> None:
    """Reported failure 9: the order stream may yield empty arrays."""
    s = imaged("order")
    assert send(s, "order", "update") == []


def test_a_filled_update_is_completed_from_the_mirror() -> None:
    """Reported failure 21: it comes without side, price and quantity."""
    s = imaged("order")
    update = {"orderID": "o1", "ordStatus": "Filled", "leavesQty": 0, "cumQty": 200}
    (_, said) = s.receive(frame("order", "update", [update]))
    assert isinstance(said, OrderSaid)
    assert (said.side, said.price, said.qty) == (Side.SELL, 60001, 200)
    assert (said.ord_status, said.leaves_qty, said.cum_qty) == (OrdStatus.FILLED, 0, 200)
    assert said.cl_ord_id == "chappie-1-1"


def test_updates_pile_up() -> None:
    s = imaged("order")
    send(s, "order", "update", {"orderID": "o1", "price": 30001.0})
    (_, said) = s.receive(frame("order", "update", [{"orderID": "o1", "leavesQty": 100}]))
    assert isinstance(said, OrderSaid)
    assert (said.price, said.leaves_qty) == (60002, 100)


def test_the_first_word_of_an_order_may_be_its_last() -> None:
    """Since August 2020 a new order yields one message with its final state."""
    s = imaged("order")
    canceled = {**ORDER, "orderID": "o9", "ordStatus": "Canceled", "leavesQty": 0}
    (_, said) = s.receive(frame("order", "insert", [canceled]))
    assert isinstance(said, OrderSaid)
    assert (said.order_id, said.ord_status) == ("o9", OrdStatus.CANCELED)


def test_an_explicit_null_clears_and_an_absent_column_does_not() -> None:
    s = imaged("position")
    update = {
        "account": 1,
        "symbol": "XBTUSD",
        "currentQty": 0,
        "avgEntryPrice": None,
        "liquidationPrice": None,
    }
    (_, said) = s.receive(frame("position", "update", [update]))
    assert said == PositionSaid(0, -333333, None, 5, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "keys",
    [
        ["account", "symbol"],
        ["account", "symbol", "currency"],
        ["account", "symbol", "strategy"],
    ],
)
def test_the_keys_of_positions_are_read_from_the_image(keys: list[str]) -> None:
    """They changed twice in 2025 (protocol section 6)."""
    s = imaged("position", keys)
    update = {**{key: POSITION[key] for key in keys}, "currentQty": 50}
    (_, said) = s.receive(frame("position", "update", [update]))
    assert isinstance(said, PositionSaid)
    assert (said.qty, said.cost) == (50, -333333)
    stranger = {**update, keys[-1]: "another"}
    assert send(s, "position", "update", stranger) == ["Inconsistent position"]


@pytest.mark.parametrize("keys", [[], ["execID"]])
def test_executions_come_with_and_without_keys(keys: list[str]) -> None:
    s = session()
    assert words(s.receive(partial("execution", [], keys))) == ["ImageApplied execution"]
    assert send(s, "execution", "insert", FILL) == ["Advanced execution", "Filled"]


def test_executions_of_the_image_are_reported_like_any_other() -> None:
    s = session()
    assert words(s.receive(partial("execution", [FILL]))) == ["ImageApplied execution", "Filled"]


def test_a_message_with_two_executions_books_only_the_trade() -> None:
    s = session()
    s.receive(partial("execution"))
    new = {**FILL, "execType": "New", "execID": "e0"}
    assert send(s, "execution", "insert", new, FILL) == ["Advanced execution", "Filled"]


@pytest.mark.parametrize("action", ["update", "delete"])
def test_a_table_without_keys_only_inserts(action: str) -> None:
    """Alone, an update row would read as a whole one: a position without currentQty as zero."""
    s = session()
    s.receive(partial("position", [POSITION], []))
    update = {"account": 1, "symbol": "XBTUSD", "markPrice": 5}
    assert send(s, "position", action, update) == ["Inconsistent position"]
    assert send(s, "position", "insert", POSITION) == ["EarlyDropped position"]


@pytest.mark.parametrize("action", ["update", "delete"])
def test_a_delta_of_an_unknown_row_unsyncs_the_table(action: str) -> None:
    s = imaged("order")
    reports = s.receive(frame("order", action, [{"orderID": "o404", "leavesQty": 0}]))
    assert words(reports) == ["Inconsistent order"]
    assert "o404" in detail(reports)
    assert send(s, "order", "insert", ORDER) == ["EarlyDropped order"]


def test_a_deleted_row_is_gone() -> None:
    s = imaged("order")
    assert send(s, "order", "delete", {"orderID": "o1"}) == ["Advanced order", "OrderSaid"]
    assert send(s, "order", "update", {"orderID": "o1"}) == ["Inconsistent order"]


@pytest.mark.parametrize(
    "row",
    [
        {"symbol": "XBTUSD"},
        {**ORDER, "orderID": None},
        {**ORDER, "orderID": ["o1"]},
        {**ORDER, "orderID": {"id": "o1"}},
    ],
)
@pytest.mark.parametrize("action", ["partial", "insert", "update"])
def test_a_row_without_a_usable_key_is_refused(action: str, row: Row) -> None:
    s = imaged("order")
    assert words(s.receive(frame("order", action, [row], keys=["orderID"]))) == [
        "Refused UNKNOWN_KEYS"
    ]
    assert send(s, "order", "update", {"orderID": "o1"}) == ["EarlyDropped order"]


@pytest.mark.parametrize(
    ("table", "changed", "why"),
    [
        ("order", {"ordStatus": "Vanished"}, "UNKNOWN_ENUM"),
        ("order", {"side": "Byu"}, "UNKNOWN_ENUM"),
        ("order", {"leavesQty": "200"}, "SHAPE"),
        ("order", {"orderQty": 1.5}, "SHAPE"),
        ("order", {"price": "30000.5"}, "SHAPE"),
        ("order", {"price": 30000.3}, "OFF_TICK"),
        ("position", {"currentQty": "100"}, "SHAPE"),
        ("position", {"currentQty": True}, "SHAPE"),
        ("margin", {"walletBalance": 1.5}, "SHAPE"),
        ("instrument", {"state": "Dreaming"}, "UNKNOWN_ENUM"),
        ("instrument", {"tickSize": 0}, "SHAPE"),
        ("instrument", {"isInverse": "no"}, "SHAPE"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_and_its_table_is_no_longer_believed(
    table: str, changed: Row, why: str
) -> None:
    s = imaged(table)
    key = {name: IMAGES[table][name] for name in KEYS[table]}
    assert send(s, table, "update", {**key, **changed}) == [f"Refused {why}"]
    assert send(s, table, "update", key) == [f"EarlyDropped {table}"]


def test_an_unknown_kind_of_execution_is_refused() -> None:
    s = session()
    s.receive(partial("execution"))
    assert send(s, "execution", "insert", {**FILL, "execType": "Teleported"}) == [
        "Refused UNKNOWN_ENUM"
    ]


def test_rows_of_another_symbol_say_nothing_of_our_position_fills_or_terms() -> None:
    s = session()
    foreign = {"symbol": "ETHUSD"}
    for table, row in (("position", POSITION), ("instrument", INSTRUMENT_ROW), ("execution", FILL)):
        assert words(s.receive(partial(table, [{**row, **foreign}]))) == [f"ImageApplied {table}"]


def test_an_order_on_another_symbol_is_reported_because_the_switch_covers_it() -> None:
    s = imaged("order")
    (_, said) = s.receive(
        frame("order", "insert", [{**ORDER, "orderID": "o7", "symbol": "ETHUSD", "price": 1.97}])
    )
    assert isinstance(said, OrderSaid)
    assert (said.symbol, said.price, said.qty) == ("ETHUSD", None, 200)


def test_margin_in_another_currency_is_not_ours() -> None:
    s = session()
    rows = [MARGIN, {**MARGIN, "currency": "USDt", "walletBalance": 99}]
    reports = s.receive(partial("margin", rows))
    assert reports[1:] == [MarginSaid(10, 9, 8, account=1)]  # type: ignore[arg-type]


def test_an_instrument_update_keeps_the_terms_and_moves_the_mark() -> None:
    s = imaged("instrument")
    (_, seen) = s.receive(frame("instrument", "update", [{"symbol": "XBTUSD", "markPrice": 1.5}]))
    assert isinstance(seen, InstrumentSeen)
    assert (seen.mark_price, seen.index_price) == (1.5, 30001.5)
    assert seen.instrument.lot_size == 100


def test_a_changed_tick_size_makes_every_mirrored_price_untrue() -> None:
    s = imaged("instrument")
    assert send(s, "instrument", "update", {"symbol": "XBTUSD", "tickSize": 0.1}) == [
        "Advanced instrument",
        "Inconsistent instrument",
    ]


# --- the bound


def test_a_mirror_forgets_the_oldest_finished_orders_and_never_a_working_one() -> None:
    mirror = TableMirror(Stream.ORDER, bound=10)
    mirror.apply("partial", ["orderID"], [{"orderID": "working", "leavesQty": 100}])
    for number in range(50):
        mirror.apply("insert", None, [{"orderID": str(number), "leavesQty": 0}])
    assert len(mirror._rows) <= 10
    what, rows = mirror.apply("update", None, [{"orderID": "working", "leavesQty": 50}])
    assert words([what]) == ["Advanced order"]  # type: ignore[list-item]
    assert rows == [{"orderID": "working", "leavesQty": 50}]
    assert ("49",) in mirror._rows
    assert ("0",) not in mirror._rows


def test_executions_with_keys_do_not_pile_up_either() -> None:
    mirror = TableMirror(Stream.EXECUTION, bound=10)
    mirror.apply("partial", ["execID"], [])
    for number in range(50):
        mirror.apply("insert", None, [{"execID": str(number), "leavesQty": 100}])
    assert len(mirror._rows) <= 10
