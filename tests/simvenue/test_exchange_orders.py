from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.simvenue.stage import ALICE, BOB, SECOND, Stage, refusal

API = "Submitted via API."


@pytest.fixture
def stage() -> Stage:
    """A book of strangers: 1000 at 59999.9 and at 60000.0 a side each, then deeper levels."""
    made = Stage()
    for price, size in ((59_999.9, 1_000), (59_999.0, 5_000)):
        made.level("Buy", price, size)
    for price, size in ((60_000.0, 1_000), (60_001.0, 5_000)):
        made.level("Sell", price, size)
    made.exchange.take_changes()
    return made


def test_a_resting_order_has_the_captured_columns_and_no_empty_ones(stage: Stage) -> None:
    row = stage.order("Buy", 100, 59_000, cl_ord_id="a-1", exec_inst="ParticipateDoNotInitiate")
    assert row == {
        "orderID": row["orderID"],
        "clOrdID": "a-1",
        "account": ALICE,
        "symbol": "XBTUSD",
        "side": "Buy",
        "orderQty": 100,
        "price": 59_000.0,
        "currency": "USD",
        "settlCurrency": "XBt",
        "ordType": "Limit",
        "timeInForce": "GoodTillCancel",
        "execInst": "ParticipateDoNotInitiate",
        "ordStatus": "New",
        "workingIndicator": True,
        "leavesQty": 100,
        "cumQty": 0,
        "strategy": "OneWay",
        "text": API,
        "transactTime": row["timestamp"],
        "timestamp": "2024-11-25T02:00:00.005Z",
    }


def test_one_request_is_one_order_message_in_its_final_state(stage: Stage) -> None:
    row = stage.order("Buy", 1_200, 60_001, cl_ord_id="x")
    assert (row["ordStatus"], row["cumQty"], row["avgPx"]) == ("Filled", 1_200, 60_000.1667)
    changes = stage.exchange.take_changes()
    orders = [change for change in changes if change.table == "order"]
    assert [(change.action, change.rows) for change in orders] == [("insert", [row])]
    [executions] = [change for change in changes if change.table == "execution"]
    assert [(r["execType"], r.get("lastQty"), r.get("lastPx")) for r in executions.rows] == [
        ("New", None, None),
        ("Trade", 1_000, 60_000.0),
        ("Trade", 200, 60_001.0),
    ]


def test_an_execution_row_carries_cost_fee_and_the_public_match_id(stage: Stage) -> None:
    stage.order("Buy", 200, cl_ord_id="m")
    changes = stage.exchange.take_changes()
    [trade] = next(change.rows for change in changes if change.table == "trade")
    row = stage.exchange.executions(ALICE)[-1]
    value = 333_334
    assert row["trdMatchID"] == trade["trdMatchID"]
    assert (row["execCost"], row["execComm"], row["commission"]) == (-value, 166, 0.0005)
    assert (row["lastLiquidityInd"], row["feeType"]) == ("RemovedLiquidity", "Taker")
    assert (row["homeNotional"], row["foreignNotional"]) == (0.00333334, 200.0)
    assert trade["grossValue"] == value
    assert (trade["side"], trade["size"], trade["tickDirection"]) == ("Buy", 200, "ZeroPlusTick")
    assert str(row["execID"]).startswith("00000000-006d-1000-0000-")


def test_both_clients_of_a_match_are_told_with_the_same_match_id(stage: Stage) -> None:
    resting = stage.order("Sell", 300, 59_999.95 + 0.05, account=BOB)
    stage.level("Sell", 60_000.0, 0)
    stage.exchange.take_changes()
    stage.order("Buy", 100, 60_000.0)
    changes = stage.exchange.take_changes()
    by_account = {c.account: c for c in changes if c.table == "execution"}
    assert by_account[BOB].rows[0]["lastLiquidityInd"] == "AddedLiquidity"
    assert by_account[BOB].rows[0]["trdMatchID"] == by_account[ALICE].rows[1]["trdMatchID"]
    [told] = [c.rows for c in changes if c.table == "order" and c.account == BOB]
    assert told == [
        {
            "orderID": resting["orderID"],
            "account": BOB,
            "symbol": "XBTUSD",
            "timestamp": told[0]["timestamp"],
            "ordStatus": "PartiallyFilled",
            "leavesQty": 200,
            "cumQty": 100,
            "avgPx": 60_000.0,
            "transactTime": told[0]["timestamp"],
        }
    ]


def test_a_client_may_trade_with_itself(stage: Stage) -> None:
    stage.level("Sell", 60_000.0, 0)
    resting = stage.order("Sell", 100, 60_000.5)
    taking = stage.order("Buy", 100, 60_000.5)
    assert stage.now_row(resting)["ordStatus"] == taking["ordStatus"] == "Filled"
    assert stage.position()["currentQty"] == 0
    trades = [row for row in stage.exchange.executions(ALICE) if row["execType"] == "Trade"]
    assert trades[0]["trdMatchID"] == trades[1]["trdMatchID"]
    assert trades[0]["execID"] != trades[1]["execID"]


def test_strangers_ahead_in_the_queue_trade_first(stage: Stage) -> None:
    mine = stage.order("Buy", 500, 59_999.9)
    stage.strike("Sell", 59_999.9, 1_000)
    assert stage.now_row(mine)["cumQty"] == 0
    stage.strike("Sell", 59_999.9, 200)
    assert stage.now_row(mine)["cumQty"] == 200


@pytest.mark.parametrize(
    ("order", "filled", "text"),
    [
        (
            {"price": 60_000.0, "exec_inst": "ParticipateDoNotInitiate"},
            0,
            "Canceled: Order had execInst of ParticipateDoNotInitiate\nSubmitted via API.",
        ),
        (
            {"price": 60_000.0, "time_in_force": "ImmediateOrCancel"},
            1_000,
            "Canceled: Order had timeInForce of ImmediateOrCancel\nSubmitted via API.",
        ),
        (
            {"price": 60_000.0, "time_in_force": "FillOrKill"},
            0,
            "Canceled: Order had timeInForce of FillOrKill\nSubmitted via API.",
        ),
        (
            {"ord_type": "Market", "text": "mine"},
            6_000,
            "Canceled: Order had ordType of Market\nmine\nSubmitted via API.",
        ),
    ],
)
def test_what_may_not_rest_is_canceled_with_the_venues_words(
    stage: Stage, order: dict[str, Any], filled: int, text: str
) -> None:
    row = stage.order("Buy", 7_000, **order)
    assert (row["ordStatus"], row["cumQty"], row["leavesQty"]) == ("Canceled", filled, 0)
    assert row["text"] == text
    assert row["workingIndicator"] is False
    assert len(stage.changes("order")) == 1


def test_a_market_order_takes_no_price_beyond_five_percent(stage: Stage) -> None:
    stage.level("Sell", 63_010, 9_000)
    row = stage.order("Buy", 10_000)
    assert (row["ordStatus"], row["cumQty"]) == ("Canceled", 6_000)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"symbol": "XBTUSDT"}, "Invalid symbol"),
        ({"symbol": None}, "'symbol' is a required arg."),
        ({"side": "Long"}, "Invalid side"),
        ({"order_qty": 150}, "Invalid orderQty"),
        ({"order_qty": 0}, "Invalid orderQty"),
        ({"order_qty": None}, "Invalid orderQty"),
        ({"order_qty": 10_000_100}, "Invalid orderQty"),
        ({"price": Decimal("59999.95")}, "Invalid price tickSize"),
        ({"price": Decimal("-1")}, "Invalid price"),
        ({"price": Decimal("1000001")}, "Invalid price"),
        ({"price": None, "ord_type": "Limit"}, "Invalid price"),
        ({"ord_type": "Iceberg"}, "Invalid ordType"),
        ({"ord_type": "Pegged", "peg_price_type": "PrimaryPeg"}, "Unsupported ordType"),
        ({"ord_type": "StopLimit"}, "Invalid stopPx for ordType"),
        ({"ord_type": "Limit", "stop_px": Decimal("61000")}, "Invalid stopPx for ordType"),
        ({"stop_px": Decimal("61000.01")}, "Invalid stopPx tickSize"),
        ({"time_in_force": "GoodTillDate"}, "Unsupported timeInForce"),
        ({"time_in_force": "Forever"}, "Invalid timeInForce"),
        ({"exec_inst": "AllOrNone"}, "Unsupported execInst"),
        ({"exec_inst": "Hidden"}, "Invalid execInst"),
        ({"exec_inst": "MarkPrice"}, "Invalid ordType for execInst"),
        (
            {"price": None, "ord_type": "Market", "exec_inst": "ParticipateDoNotInitiate"},
            "Invalid ordType for execInst",
        ),
        ({"display_qty": 0}, "Invalid displayQty"),
        ({"contingency_type": "OneCancelsTheOther"}, "Unsupported contingencyType"),
        ({"cl_ord_id": "x" * 37}, "Invalid clOrdID"),
    ],
)
def test_a_malformed_order_is_refused_with_the_venues_text(
    stage: Stage, order: dict[str, Any], message: str
) -> None:
    fields = {"order_qty": 100, "price": Decimal("59000"), **order}
    side, qty = fields.pop("side", "Buy"), fields.pop("order_qty")
    price = fields.pop("price")
    if price is None:
        fields.setdefault("ord_type", "Limit")
    met = refusal(lambda: stage.order(side, qty, price, **fields))
    assert (met.status, met.message) == (400, message)
    assert stage.exchange.orders(ALICE) == []
    assert stage.changes("order") == []


def test_a_negative_quantity_without_a_side_sells(stage: Stage) -> None:
    row = stage.order(None, -100, 61_000)
    assert (row["side"], row["orderQty"]) == ("Sell", 100)


def test_a_cl_ord_id_is_unique_among_open_orders_only(stage: Stage) -> None:
    first = stage.order("Buy", 100, 59_000, cl_ord_id="same")
    met = refusal(lambda: stage.order("Buy", 100, 59_000, cl_ord_id="same"))
    assert met.message == "Duplicate clOrdID"
    assert stage.order("Buy", 100, 59_000, cl_ord_id="same", account=BOB)["ordStatus"] == "New"
    stage.cancel(first)
    assert stage.order("Buy", 100, 59_000, cl_ord_id="same")["ordStatus"] == "New"


def test_open_orders_and_stops_are_capped(stage: Stage) -> None:
    for number in range(10):
        stage.order("Sell", 100, stop_px=Decimal(50_000 - number))
    met = refusal(lambda: stage.order("Sell", 100, stop_px=Decimal(40_000)))
    assert met.message == "Too many stop orders"
    for number in range(190):
        stage.order("Buy", 100, 50_000 - number)
    met = refusal(lambda: stage.order("Buy", 100, 49_000))
    assert met.message == "Too many open orders"


# --- cancel --------------------------------------------------------------------------------


def test_a_cancel_answers_with_the_captured_text_and_one_update(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000, cl_ord_id="c")
    stage.exchange.take_changes()
    [row] = stage.cancel(order)
    assert (row["ordStatus"], row["leavesQty"], row["cumQty"]) == ("Canceled", 0, 0)
    assert row["text"] == "Canceled\nCanceled via API."
    [change] = stage.changes("order")
    assert change.action == "update"
    assert change.rows[0]["clOrdID"] == "c"
    assert "price" not in change.rows[0]
    assert stage.exchange.pit.book.size("Buy", 590_000) == 0


def test_a_dead_order_is_an_error_row_beside_the_others(stage: Stage) -> None:
    dead, live = stage.order("Buy", 100), stage.order("Buy", 100, 59_000)
    rows = stage.cancel(dead, live)
    assert rows[0]["error"] == "Unable to cancel order due to existing state"
    assert rows[0]["orderID"] == dead["orderID"]
    assert "ordStatus" not in rows[0]
    assert rows[1]["ordStatus"] == "Canceled"


def test_an_unknown_id_alone_is_not_found_and_told_as_a_cancel_reject(stage: Stage) -> None:
    met = refusal(lambda: stage.cancel({"orderID": "nobody"}))
    assert (met.status, met.message) == (404, "Not Found")
    [change] = stage.changes("execution")
    assert change.rows[0]["execType"] == "CancelReject"
    assert change.rows[0]["text"] == "Invalid orderID"
    assert "symbol" not in change.rows[0]


def test_an_unknown_id_among_known_ones_is_an_error_row(stage: Stage) -> None:
    live = stage.order("Buy", 100, 59_000)
    rows = stage.cancel({"orderID": "nobody"}, live)
    assert rows[0]["error"] == "Invalid orderID"
    assert rows[1]["ordStatus"] == "Canceled"


def test_an_order_named_by_both_of_its_ids_is_canceled_once(stage: Stage) -> None:
    live = stage.order("Buy", 100, 59_000, cl_ord_id="both")
    rows = stage.exchange.cancel(
        stage.tick(), ALICE, order_ids=[str(live["orderID"])], cl_ord_ids=["both"]
    )
    assert [row["ordStatus"] for row in rows] == ["Canceled"]


def test_nobody_cancels_the_order_of_another_account(stage: Stage) -> None:
    foreign = stage.order("Buy", 100, 59_000, account=BOB)
    assert refusal(lambda: stage.cancel(foreign)).status == 404
    assert stage.now_row(foreign, BOB)["ordStatus"] == "New"


def test_cancel_all_takes_a_side_and_returns_what_it_cancelled(stage: Stage) -> None:
    buy, sell = stage.order("Buy", 100, 59_000), stage.order("Sell", 100, 61_000)
    rows = stage.exchange.cancel_all(stage.tick(), ALICE, side="Sell")
    assert [row["orderID"] for row in rows] == [sell["orderID"]]
    assert stage.now_row(buy)["ordStatus"] == "New"
    assert len(stage.exchange.cancel_all(stage.tick(), ALICE, symbol="XBTUSD")) == 1
    assert stage.exchange.cancel_all(stage.tick(), ALICE) == []


# --- dead man's switch ---------------------------------------------------------------------


def test_the_dead_mans_timer_cancels_the_whole_account_when_it_fires(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000)
    foreign = stage.order("Buy", 100, 59_000, account=BOB)
    answer = stage.exchange.cancel_all_after(stage.tick(), ALICE, 5_000)
    assert answer["cancelTime"] == "2024-11-25T02:00:05.007Z"
    stage.wait(4.999)
    assert stage.now_row(order)["ordStatus"] == "New"
    stage.wait(0.001)
    assert stage.now_row(order)["ordStatus"] == "Canceled"
    assert stage.now_row(foreign, BOB)["ordStatus"] == "New"
    assert stage.now_row(order)["timestamp"] == answer["cancelTime"]


def test_a_refresh_replaces_the_timer_and_zero_disarms_it(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000)
    stage.exchange.cancel_all_after(stage.tick(), ALICE, 5_000)
    stage.wait(4)
    stage.exchange.cancel_all_after(stage.tick(), ALICE, 5_000)
    stage.wait(4)
    assert stage.exchange.cancel_all_after(stage.tick(), ALICE, 0)["cancelTime"] == 0
    stage.wait(60)
    assert stage.now_row(order)["ordStatus"] == "New"


# --- amend ---------------------------------------------------------------------------------


def test_an_amend_changes_what_was_asked_and_says_so(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000)
    stage.exchange.take_changes()
    row = stage.amend(order, order_qty=300, price=59_100)
    assert (row["orderQty"], row["leavesQty"], row["price"]) == (300, 300, 59_100.0)
    assert row["text"] == "Amended orderQty price\nSubmitted via API."
    changes = stage.exchange.take_changes()
    assert [c.rows[0]["execType"] for c in changes if c.table == "execution"] == ["Replaced"]
    assert len([c for c in changes if c.table == "order"]) == 1
    assert stage.amend(order, order_qty=200)["text"] == "Amended orderQty\nSubmitted via API."


@pytest.mark.parametrize(("qty", "still_first"), [(100, True), (400, False)])
def test_only_a_pure_decrease_keeps_the_place_in_the_queue(
    stage: Stage, qty: int, still_first: bool
) -> None:
    mine = stage.order("Buy", 300, 59_500)
    other = stage.order("Buy", 300, 59_500, account=BOB)
    stage.amend(mine, order_qty=qty)
    stage.strike("Sell", 59_500, 6_100)
    assert (stage.now_row(mine)["cumQty"] == 100) is still_first
    assert (stage.now_row(other, BOB)["cumQty"] == 100) is not still_first


def test_an_amend_that_crosses_takes_liquidity(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000)
    row = stage.amend(order, price=60_000)
    assert (row["ordStatus"], row["avgPx"]) == ("Filled", 60_000.0)


def test_an_amended_post_only_order_that_crosses_is_canceled(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000, exec_inst="ParticipateDoNotInitiate")
    assert stage.amend(order, price=60_000)["ordStatus"] == "Canceled"


@pytest.mark.parametrize("status", ["Filled", "Canceled"])
def test_a_dead_order_cannot_be_amended(stage: Stage, status: str) -> None:
    order = stage.order("Buy", 100, 60_000 if status == "Filled" else 59_000)
    if status == "Canceled":
        stage.cancel(order)
    met = refusal(lambda: stage.amend(order, price=59_500))
    assert (met.status, met.message) == (400, f"Invalid ordStatus: {status}")


@pytest.mark.parametrize(("waited", "revived"), [(59, True), (61, False)])
def test_leaves_qty_revives_a_filled_order_for_a_minute(
    stage: Stage, waited: int, revived: bool
) -> None:
    order = stage.order("Buy", 1_000, 60_000)
    stage.wait(waited)
    if not revived:
        assert refusal(lambda: stage.amend(order, leaves_qty=100)).message == (
            "Invalid ordStatus: Filled"
        )
        return
    row = stage.amend(order, leaves_qty=100)
    assert (row["ordStatus"], row["orderQty"]) == ("PartiallyFilled", 1_100)
    assert (row["leavesQty"], row["cumQty"], row["workingIndicator"]) == (100, 1_000, True)
    assert stage.exchange.pit.book.size("Buy", 600_000) == 100


def test_leaves_qty_counts_from_the_fills_on(stage: Stage) -> None:
    order = stage.order("Buy", 500, 60_000.5)
    mine = stage.order("Buy", 1_000, 60_000.5)
    assert (order["ordStatus"], mine["cumQty"]) == ("Filled", 500)
    row = stage.amend(mine, leaves_qty=300)
    assert (row["orderQty"], row["leavesQty"], row["cumQty"]) == (800, 300, 500)


def test_a_rename_needs_the_original_client_id(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000, cl_ord_id="old")
    met = refusal(lambda: stage.amend(order, cl_ord_id="new"))
    assert met.message == "Invalid origClOrdID"
    row = stage.amend(order, orig_cl_ord_id="old", cl_ord_id="new")
    assert (row["clOrdID"], row["orderID"]) == ("new", order["orderID"])
    met = refusal(lambda: stage.amend(order, orig_cl_ord_id="old", price=59_500))
    assert met.message == "Invalid origClOrdID"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order_qty": 150}, "Invalid orderQty"),
        ({"leaves_qty": 150}, "Invalid leavesQty for lotSize"),
        ({"leaves_qty": 0}, "Invalid leavesQty"),
        ({"order_qty": 200, "leaves_qty": 200}, "Invalid orderQty"),
        ({"price": 59_000.05}, "Invalid price tickSize"),
        ({"stop_px": 59_000}, "Invalid stopPx for ordType"),
        (
            {"price": 59_000},
            "Invalid amend: orderQty, leavesQty, price, stopPx, or pegOffsetValue unchanged",
        ),
    ],
)
def test_a_bad_amend_changes_nothing(stage: Stage, change: dict[str, Any], message: str) -> None:
    order = stage.order("Buy", 100, 59_000)
    stage.exchange.take_changes()
    assert refusal(lambda: stage.amend(order, **change)).message == message
    assert stage.now_row(order) == order
    assert stage.exchange.take_changes() == []


def test_an_amend_without_an_id_is_refused(stage: Stage) -> None:
    met = refusal(lambda: stage.amend({"orderID": None}))
    assert met.message == "orderID or origClOrdID must be sent."
    assert refusal(lambda: stage.amend({"orderID": "nobody"}, price=1)).message == "Invalid orderID"


# --- stops ---------------------------------------------------------------------------------


def test_a_waiting_stop_is_new_not_working_and_needs_no_margin(stage: Stage) -> None:
    row = stage.order("Sell", 100, stop_px=Decimal(59_000))
    assert (row["ordType"], row["ordStatus"], row["workingIndicator"]) == ("Stop", "New", False)
    assert row["stopPx"] == 59_000.0
    assert stage.exchange.margin(ALICE)["initMargin"] == 0


@pytest.mark.parametrize(
    ("fields", "move", "price", "fires"),
    [
        ({"side": "Sell", "exec_inst": "LastPrice"}, "last", 59_999.9, True),
        ({"side": "Sell", "exec_inst": "LastPrice"}, "index", 59_000.0, False),
        ({"side": "Sell"}, "index", 59_000.0, True),
        ({"side": "Sell", "exec_inst": "IndexPrice"}, "index", 59_999.9, True),
        ({"side": "Sell"}, "last", 59_999.0, False),
        ({"side": "Sell", "ord_type": "MarketIfTouched"}, "index", 61_000.0, True),
        ({"side": "Buy", "ord_type": "MarketIfTouched"}, "index", 59_000.0, True),
    ],
)
def test_a_stop_fires_on_the_price_it_names_and_in_its_direction(
    stage: Stage, fields: dict[str, Any], move: str, price: float, fires: bool
) -> None:
    side = fields.pop("side")
    stop = Decimal("60500") if fields.get("ord_type") and side == "Sell" else Decimal("59999.9")
    order = stage.order(side, 100, stop_px=stop, **fields)
    assert order["ordStatus"] == "New"
    if move == "last":
        stage.strike("Sell", price, 6_000 if price < 59_999 else 100)
    else:
        stage.index(price)
    row = stage.now_row(order)
    assert (row["ordStatus"] == "Filled") is fires
    assert ("triggered" in row) is fires


def test_a_triggered_stop_is_one_order_message_with_trigger_and_trades(stage: Stage) -> None:
    order = stage.order("Sell", 100, stop_px=Decimal(59_950))
    stage.exchange.take_changes()
    stage.index(59_900)
    changes = stage.exchange.take_changes()
    [told] = [c for c in changes if c.table == "order"]
    assert (told.action, told.rows[0]["ordStatus"]) == ("update", "Filled")
    assert told.rows[0]["triggered"] == "StopOrderTriggered"
    [executions] = [c for c in changes if c.table == "execution"]
    assert [row["execType"] for row in executions.rows] == ["TriggeredOrActivatedBySystem", "Trade"]
    assert told.rows[0]["orderID"] == order["orderID"]


def test_a_stop_limit_rests_at_its_limit_once_triggered(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_500, stop_px=Decimal(60_500))
    stage.index(60_600)
    row = stage.now_row(order)
    assert (row["ordStatus"], row["workingIndicator"]) == ("New", True)
    assert stage.exchange.pit.book.size("Buy", 595_000) == 100


def test_a_stop_price_can_be_amended_until_it_fires(stage: Stage) -> None:
    order = stage.order("Sell", 100, stop_px=Decimal(59_000))
    row = stage.amend(order, stop_px=58_000)
    assert (row["stopPx"], row["text"]) == (58_000.0, "Amended stopPx\nSubmitted via API.")
    stage.index(58_500)
    assert stage.now_row(order)["ordStatus"] == "New"


def test_a_stop_can_be_canceled(stage: Stage) -> None:
    order = stage.order("Sell", 100, stop_px=Decimal(59_000))
    assert stage.cancel(order)[0]["ordStatus"] == "Canceled"
    stage.index(58_500)
    assert stage.position()["currentQty"] == 0


# --- reduce-only and close -----------------------------------------------------------------


@pytest.mark.parametrize("inst", ["ReduceOnly", "Close"])
def test_an_order_that_could_only_reduce_is_rejected_without_a_position(
    stage: Stage, inst: str
) -> None:
    row = stage.order("Sell", 100, 61_000, exec_inst=inst)
    reason = f"Order had execInst of {inst} and side of Sell but current position is 0"
    assert (row["ordStatus"], row["ordRejReason"]) == ("Rejected", reason)
    assert stage.exchange.executions(ALICE)[-1]["execType"] == "Rejected"


def test_a_reduce_only_order_never_turns_the_position(stage: Stage) -> None:
    stage.order("Buy", 300)
    row = stage.order("Sell", 1_000, exec_inst="ReduceOnly")
    assert (row["ordStatus"], row["orderQty"], row["cumQty"]) == ("Filled", 300, 300)
    assert stage.position()["currentQty"] == 0


def test_close_without_a_quantity_takes_the_whole_position_and_its_side(stage: Stage) -> None:
    stage.order("Sell", 400)
    row = stage.order(None, None, ord_type="Market", exec_inst="Close")
    assert (row["side"], row["cumQty"], row["ordStatus"]) == ("Buy", 400, "Filled")


def test_close_cancels_same_side_orders_beyond_the_position(stage: Stage) -> None:
    stage.order("Buy", 300)
    near, far = stage.order("Sell", 200, 60_500), stage.order("Sell", 200, 61_000)
    stage.order("Sell", 100, 60_400, exec_inst="Close")
    assert stage.now_row(near)["ordStatus"] == "New"
    assert stage.now_row(far)["ordStatus"] == "Canceled"


def test_resting_reduce_only_orders_shrink_with_the_position_farthest_first(
    stage: Stage,
) -> None:
    stage.order("Buy", 500)
    near = stage.order("Sell", 300, 60_500, exec_inst="ReduceOnly")
    far = stage.order("Sell", 200, 61_000, exec_inst="ReduceOnly")
    stage.order("Sell", 100)
    assert stage.now_row(far)["leavesQty"] == 100
    stage.order("Sell", 200)
    assert stage.now_row(far)["ordStatus"] == "Canceled"
    assert stage.now_row(near)["leavesQty"] == 200
    stage.order("Sell", 200)
    assert stage.now_row(near)["ordStatus"] == "Canceled"


def test_a_closing_stop_takes_the_position_of_its_moment(stage: Stage) -> None:
    stage.order("Buy", 300)
    order = stage.order("Sell", None, stop_px=Decimal(59_950), exec_inst="Close")
    assert "orderQty" not in order
    stage.order("Buy", 200)
    stage.index(59_900)
    assert (stage.now_row(order)["ordStatus"], stage.position()["currentQty"]) == ("Filled", 0)


def test_a_closing_stop_without_a_position_is_canceled_when_it_fires(stage: Stage) -> None:
    order = stage.order("Sell", 100, stop_px=Decimal(59_950), exec_inst="Close")
    stage.index(59_900)
    row = stage.now_row(order)
    assert row["ordStatus"] == "Canceled"
    assert str(row["text"]).startswith("Canceled: Order had execInst of Close and side of Sell")


# --- the market's state --------------------------------------------------------------------


def test_a_market_that_is_not_open_takes_no_order_and_lets_cancels_through(stage: Stage) -> None:
    order = stage.order("Buy", 100, 59_000)
    stage.exchange.set_state(stage.tick(), "Closed")
    met = refusal(lambda: stage.order("Buy", 100, 59_000))
    assert met.message == "Market is not open"
    assert stage.cancel(order)[0]["ordStatus"] == "Canceled"
    assert stage.changes("instrument")[0].rows[0]["state"] == "Closed"


@pytest.mark.parametrize(
    "act",
    [
        lambda stage: stage.exchange.orders(999),
        lambda stage: stage.exchange.orders(-1),
        lambda stage: stage.order("Buy", 100, 59_000, account=999),
    ],
)
def test_an_unknown_account_is_refused(stage: Stage, act: Callable[[Stage], object]) -> None:
    assert refusal(lambda: act(stage)).message == "Invalid account"


def test_dead_orders_are_forgotten_at_a_bound_and_open_ones_never(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappie.simvenue.account.DEAD_ORDERS_MAX", 3)
    live = stage.order("Buy", 100, 58_000)
    for number in range(6):
        stage.cancel(stage.order("Buy", 100, 59_000, cl_ord_id=f"n{number}"))
    kept = [row.get("clOrdID") for row in stage.exchange.orders(ALICE)]
    assert kept == [None, "n3", "n4", "n5"]
    assert stage.now_row(live)["ordStatus"] == "New"


def test_time_that_steps_back_does_not_move_the_venue_back(stage: Stage) -> None:
    stage.wait(5)
    stage.now -= 3 * SECOND
    row = stage.order("Buy", 100, 59_000)
    assert row["timestamp"] == "2024-11-25T02:00:05.004Z"
