import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chappie.simvenue.changes import Refusal
from chappie.simvenue.pit import LIQUIDATOR
from tests.simvenue.stage import ALICE, BOB, DEPOSIT, SECOND, Stage, refusal


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.level("Buy", 59_990.0, 20_000_000)
    made.level("Sell", 60_010.0, 20_000_000)
    made.exchange.take_changes()
    return made


def test_an_idle_account_has_margin_and_wallet_and_no_position(stage: Stage) -> None:
    assert stage.exchange.positions(ALICE) == []
    row = stage.exchange.margin(ALICE)
    assert row["walletBalance"] == row["availableMargin"] == DEPOSIT
    assert stage.exchange.wallet(ALICE)["deposited"] == DEPOSIT
    [deposit] = stage.exchange.wallet_history(ALICE)
    assert (deposit["transactType"], deposit["walletBalance"]) == ("Deposit", DEPOSIT)


def test_opening_an_account_twice_does_not_deposit_twice(stage: Stage) -> None:
    stage.exchange.open_account(stage.tick(), ALICE, DEPOSIT)
    assert stage.exchange.wallet(ALICE)["amount"] == DEPOSIT


def test_the_margin_of_the_captured_order_is_reproduced() -> None:
    # Captured 2025-01-09: 100 contracts worth 107287 needed 1181.
    stage = Stage(price=93_364.0)
    stage.order("Buy", 100, 93_208.0)
    row = stage.position()
    assert (row["openOrderBuyQty"], row["openOrderBuyCost"]) == (100, -107_287)
    assert (row["initMargin"], row["riskValue"], row["isOpen"]) == (1_181, 107_287, True)
    assert "liquidationPrice" not in row
    margin = stage.exchange.margin(ALICE)
    assert margin["availableMargin"] == DEPOSIT - 1_181


def test_only_the_dearer_side_of_the_orders_needs_margin(stage: Stage) -> None:
    stage.order("Buy", 1_000, 59_000)
    one = stage.exchange.margin(ALICE)["initMargin"]
    stage.order("Sell", 1_000, 61_000)
    assert stage.exchange.margin(ALICE)["initMargin"] == one


def test_an_order_that_only_closes_needs_no_margin(stage: Stage) -> None:
    stage.order("Buy", 1_000)
    stage.order("Sell", 1_000, 61_000)
    assert stage.exchange.margin(ALICE)["initMargin"] == 0
    stage.order("Sell", 1_000, 61_000)
    assert stage.exchange.margin(ALICE)["initMargin"] > 0


def test_an_order_beyond_the_available_margin_is_refused_in_the_captured_form() -> None:
    stage = Stage(deposit=100_000)
    met = refusal(lambda: stage.order("Buy", 10_000, 60_000))
    # 16,666,700 satoshi of value at 1.1005 %.
    assert met.message == "Account has insufficient Available Balance, 183418 XBt required"
    assert (met.status, met.name, met.details) == (400, "CodedHTTPError", "19000")
    assert stage.exchange.orders(ALICE) == []


def test_a_position_beyond_the_risk_limit_is_a_rejected_row() -> None:
    stage = Stage(deposit=10**12)
    row = stage.order("Buy", 10_000_000, 60_000)
    assert row["ordStatus"] == "New"
    row = stage.order("Buy", 3_000_000, 60_000)
    assert row["ordStatus"] == "Rejected"
    assert row["ordRejReason"] == "Value of position and orders exceeds position Risk Limit"
    assert (row["leavesQty"], row["workingIndicator"]) == (0, False)
    stage.exchange.set_risk_limit(stage.tick(), ALICE, "XBTUSD", 35_000_000_000)
    assert stage.order("Buy", 3_000_000, 60_000)["ordStatus"] == "New"
    assert stage.position()["initMarginReq"] == 0.015


def test_an_order_that_would_be_liquidated_at_once_is_a_rejected_row(stage: Stage) -> None:
    stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", 100)
    row = stage.order("Buy", 1_000, 61_000)
    assert row["ordRejReason"] == "Executing at order price would lead to immediate liquidation"


@pytest.mark.parametrize(
    ("side", "price", "reason"),
    [
        ("Buy", 50_000, "Order price is below the liquidation price of current long position"),
        ("Sell", 70_000, "Order price is above the liquidation price of current short position"),
    ],
)
def test_an_order_that_liquidation_would_forestall_is_a_rejected_row(
    stage: Stage, side: str, price: float, reason: str
) -> None:
    stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", 20)
    stage.order(side, 10_000)
    assert stage.order(side, 100, price)["ordRejReason"] == reason


def test_a_fill_moves_position_margin_wallet_and_history_together(stage: Stage) -> None:
    stage.order("Buy", 1_000, cl_ord_id="p")
    value = 10 * 166_639
    fee = value * 5 // 10_000
    row = stage.position()
    assert (row["currentQty"], row["currentCost"], row["currentComm"]) == (1_000, -value, fee)
    assert (row["avgEntryPrice"], row["unrealisedCost"]) == (60_010.0, -value)
    assert (row["realisedPnl"], row["homeNotional"]) == (-fee, -row["markValue"] / 1e8)
    assert row["unrealisedPnl"] == row["markValue"] + value
    margin = stage.exchange.margin(ALICE)
    assert margin["walletBalance"] == DEPOSIT - fee
    assert margin["marginBalance"] == DEPOSIT - fee + row["unrealisedPnl"]
    last = stage.exchange.wallet_history(ALICE)[-1]
    assert (last["amount"], last["walletBalance"]) == (-fee, DEPOSIT - fee)
    assert last["orderID"] == stage.exchange.orders(ALICE)[0]["orderID"]


def test_a_closed_position_tells_nulls_and_zeroes_as_captured(stage: Stage) -> None:
    stage.order("Buy", 100)
    stage.exchange.take_changes()
    stage.order("Sell", 100)
    [change] = stage.changes("position", ALICE)
    row = change.rows[0]
    nulls = ("avgCostPrice", "avgEntryPrice", "breakEvenPrice", "liquidationPrice", "bankruptPrice")
    assert change.action == "update"
    assert all(row[name] is None for name in (*nulls, "markPrice"))
    assert (row["isOpen"], row["currentQty"], row["currentCost"]) == (False, 0, 0)
    assert row["prevRealisedPnl"] == stage.exchange.wallet(ALICE)["amount"] - DEPOSIT
    assert row["strategy"] == "OneWay"
    assert "underlying" not in row
    full = stage.position()
    assert "avgEntryPrice" not in full


def test_isolated_and_cross_positions_are_switched_and_hold_their_margin(stage: Stage) -> None:
    stage.order("Buy", 1_000)
    row = stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", 10)
    cost = -row["unrealisedCost"]
    assert (row["crossMargin"], row["leverage"], row["initMarginReq"]) == (False, 10.0, 0.1)
    assert row["posInit"] == cost // 10
    margin = stage.exchange.margin(ALICE)
    locked = row["posInit"] + row["posComm"]
    wallet = margin["walletBalance"]
    assert margin["availableMargin"] == wallet - locked
    row = stage.exchange.transfer_margin(stage.tick(), ALICE, "XBTUSD", 5_000)
    assert stage.exchange.margin(ALICE)["availableMargin"] == wallet - locked - 5_000
    assert row["posMargin"] == locked + 5_000
    row = stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", 0)
    assert (row["crossMargin"], row["leverage"], row["posCross"]) == (True, 100.0, 0)
    row = stage.exchange.isolate(stage.tick(), ALICE, "XBTUSD", True)
    assert row["crossMargin"] is False


@pytest.mark.parametrize("leverage", [-1, 101, float("nan"), float("inf"), 0.001])
def test_an_impossible_leverage_is_refused(stage: Stage, leverage: float) -> None:
    act = lambda: stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", leverage)  # noqa: E731
    assert refusal(act).message == "Invalid leverage"


def test_a_leverage_that_the_account_cannot_carry_is_refused_and_changes_nothing() -> None:
    stage = Stage(deposit=200_000)
    stage.level("Sell", 60_010.0, 100_000)
    stage.order("Buy", 5_000)
    before = stage.position()
    met = refusal(lambda: stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", 1))
    assert met.details == "19000"
    stage.now -= 1_000_000
    after = stage.position()
    after.pop("timestamp"), before.pop("timestamp")
    assert after == before


# --- mark and funding ----------------------------------------------------------------------


def test_the_mark_price_is_the_index_and_the_funding_still_to_come(stage: Stage) -> None:
    # Two hours before funding at 0.01 % for eight hours: 60000 * (1 + 0.0001 / 4).
    row = stage.exchange.instruments()[0]
    assert (row["markPrice"], row["fairBasis"]) == (60_001.5, 1.5)
    assert row["indicativeSettlePrice"] == 60_000.0
    assert row["fundingTimestamp"] == "2024-11-25T04:00:00.000Z"
    stage.wait(3_600)
    assert stage.exchange.instruments()[0]["markPrice"] == 60_000.75


def test_longs_pay_shorts_at_the_funding_instant_and_only_holders_do(stage: Stage) -> None:
    stage.order("Buy", 100_000)
    stage.order("Sell", 200_000, account=BOB)
    before = {n: stage.exchange.wallet(n)["amount"] for n in (ALICE, BOB)}
    stage.wait(2 * 3_600)
    mark = stage.exchange.fundings("XBTUSD")[-1]
    assert (mark["timestamp"], mark["fundingRate"]) == ("2024-11-25T04:00:00.000Z", 0.0001)
    assert mark["fundingRateDaily"] == 0.0003
    row = stage.exchange.executions(ALICE)[-1]
    assert (row["execType"], row["lastQty"], row["ordStatus"]) == ("Funding", 100_000, "Filled")
    paid = -row["execCost"] // 10_000
    assert row["execComm"] == paid > 0
    assert stage.exchange.wallet(ALICE)["amount"] == before[ALICE] - paid
    got = stage.exchange.wallet(BOB)["amount"] - before[BOB]
    assert got == pytest.approx(2 * paid, abs=2)
    assert stage.exchange.wallet_history(ALICE)[-1]["transactType"] == "Funding"
    assert stage.position()["currentQty"] == 100_000


def test_nobody_without_a_position_is_funded(stage: Stage) -> None:
    stage.order("Buy", 1_000)
    stage.order("Sell", 1_000)
    before = stage.exchange.wallet(ALICE)["amount"]
    stage.wait(2 * 3_600)
    assert stage.exchange.wallet(ALICE)["amount"] == before
    assert len(stage.exchange.fundings("XBTUSD")) == 1


def test_a_premium_of_the_book_raises_the_next_funding_rate() -> None:
    stage = Stage()
    stage.level("Buy", 60_119.0, 1_000)
    stage.level("Sell", 60_121.0, 1_000)
    stage.wait(2 * 3_600 + 1)
    row = stage.exchange.instruments()[0]
    # P = 0.2 %, F = P + clamp(I - P, +-0.05 %) = 0.15 %.
    assert row["fundingRate"] == 0.0015
    assert row["fundingTimestamp"] == "2024-11-25T12:00:00.000Z"


def test_index_and_mark_are_told_every_second_with_what_changed_only(stage: Stage) -> None:
    stage.exchange.take_changes()
    stage.index(60_100.25)
    changes = stage.changes("instrument")
    by_symbol = {change.symbol: change.rows[0] for change in changes}
    assert by_symbol[".BXBT"]["lastPrice"] == 60_100.25
    assert by_symbol["XBTUSD"]["indicativeSettlePrice"] == 60_100.25
    assert by_symbol["XBTUSD"]["markPrice"] == 60_101.75
    assert "tickSize" not in by_symbol["XBTUSD"]


def test_a_moving_mark_is_told_to_holders_of_positions(stage: Stage) -> None:
    stage.order("Buy", 1_000)
    stage.exchange.take_changes()
    stage.index(60_100)
    changes = stage.exchange.take_changes()
    tables = [change.table for change in changes if change.account == ALICE]
    assert tables == ["position", "margin"]
    assert not [change for change in changes if change.account == BOB]


# --- liquidation ---------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["Buy", "Sell"])
def test_the_mark_price_liquidates_at_the_bankruptcy_price(stage: Stage, side: str) -> None:
    stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", 20)
    stage.order(side, 10_000)
    resting = stage.order(side, 100, 58_000 if side == "Buy" else 62_000)
    row = stage.position()
    wallet = stage.exchange.wallet(ALICE)["amount"]
    price = float(row["liquidationPrice"])
    away = 1.002 if side == "Buy" else 0.998
    stage.index(price * away)
    assert stage.position()["currentQty"] != 0
    stage.exchange.take_changes()
    stage.index(price / away)
    changes = stage.exchange.take_changes()
    assert {change.account for change in changes} == {None, ALICE}
    after = stage.position()
    assert (after["currentQty"], after["isOpen"]) == (0, False)
    assert stage.now_row(resting)["ordStatus"] == "Canceled"
    execution = stage.exchange.executions(ALICE)[-1]
    assert (execution["execType"], execution["lastQty"]) == ("Liquidation", 10_000)
    assert execution["lastPx"] == pytest.approx(row["bankruptPrice"], abs=0.11)
    lost = wallet - stage.exchange.wallet(ALICE)["amount"]
    assert lost == pytest.approx(row["posMargin"], rel=0.002)
    assert next(c.action for c in changes if c.table == "liquidation") == "insert"
    assert stage.exchange.audit().position_qty == 0


def test_what_the_engine_cannot_sell_rests_as_a_liquidation_row() -> None:
    stage = Stage()
    stage.level("Sell", 60_010.0, 10_000)
    stage.exchange.set_leverage(stage.tick(), ALICE, "XBTUSD", 20)
    stage.order("Buy", 10_000)
    bankrupt = stage.position()["bankruptPrice"]
    stage.index(57_000)
    [row] = stage.exchange.liquidations("XBTUSD")
    assert (row["side"], row["leavesQty"]) == ("Sell", 10_000)
    assert row["price"] == pytest.approx(bankrupt, abs=0.11)
    stage.exchange.take_changes()
    stage.strike("Buy", float(row["price"]), 4_000)
    assert stage.changes("liquidation")[0].rows == [
        {"orderID": row["orderID"], "symbol": "XBTUSD", "leavesQty": 6_000}
    ]
    stage.strike("Buy", float(row["price"]), 6_000)
    assert stage.changes("liquidation")[0].action == "delete"
    assert stage.exchange.liquidations("XBTUSD") == []
    assert stage.exchange.pit.accounts[LIQUIDATOR].position.qty == 0


def test_a_cross_position_takes_the_whole_wallet_and_never_more() -> None:
    stage = Stage(deposit=2_000_000)
    stage.level("Sell", 60_010.0, 10_000_000)
    stage.order("Buy", 80_000)
    stage.index(50_000)
    wallet = stage.exchange.wallet(ALICE)["amount"]
    assert stage.position()["currentQty"] == 0
    assert 0 <= wallet < 20_000
    assert stage.exchange.audit().total == 4_000_000


def test_the_insurance_fund_pays_what_rounding_leaves_below_zero() -> None:
    # With this deposit the per-lot value at the bankruptcy price is 245 satoshi too much.
    stage = Stage(deposit=2_000_010)
    stage.level("Sell", 60_010.0, 10_000_000)
    stage.order("Buy", 80_000)
    stage.index(50_000)
    assert stage.exchange.wallet(ALICE)["amount"] == 0
    assert stage.exchange.wallet_history(ALICE)[-1]["walletBalance"] == 0
    assert stage.exchange.pit.accounts[LIQUIDATOR].wallet == -245
    assert stage.exchange.audit().total == 4_000_020


# --- conservation --------------------------------------------------------------------------

_act = st.tuples(
    st.sampled_from(["market", "limit", "level", "strike", "index", "cancel", "leverage", "amend"]),
    st.sampled_from([ALICE, BOB]),
    st.sampled_from(["Buy", "Sell"]),
    st.integers(1, 400),
    st.integers(-150, 150),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_act, min_size=5, max_size=60))
def test_no_money_and_no_contract_is_made_or_lost(acts: list[tuple[Any, ...]]) -> None:
    stage = Stage(deposit=3_000_000)
    stage.level("Buy", 59_990.0, 100_000)
    stage.level("Sell", 60_010.0, 100_000)
    for act, account, side, lots, offset in acts:
        with contextlib.suppress(Refusal):
            _perform(stage, act, account, side, lots * 100, 60_000 + offset * 10)
        told = {change.account for change in stage.exchange.take_changes()}
        assert told <= {None, ALICE, BOB}
        audit = stage.exchange.audit()
        assert audit.position_qty == 0
        assert audit.total == audit.deposits == 6_000_000
        bid, _, ask, _ = stage.exchange.pit.book.top()
        assert bid is None or ask is None or bid < ask
        for number in (ALICE, BOB):
            history = stage.exchange.wallet_history(number)
            assert history[-1]["walletBalance"] == stage.exchange.wallet(number)["amount"]
            assert stage.exchange.wallet(number)["amount"] >= 0
    # Every contract that an account holds is in its executions, to the contract.
    for number in (ALICE, BOB):
        booked = 0
        for row in stage.exchange.executions(number):
            if row["execType"] in ("Trade", "Liquidation"):
                qty: Any = row["lastQty"]
                booked += qty if row["side"] == "Buy" else -qty
        rows = stage.exchange.positions(number)
        assert booked == (rows[0]["currentQty"] if rows else 0)


def _perform(stage: Stage, act: str, account: int, side: str, qty: int, price: float) -> None:
    if act == "market":
        stage.order(side, qty, account=account)
    elif act == "limit":
        stage.order(side, qty, price, account=account)
    elif act == "level":
        stage.level(side, price, qty)
    elif act == "strike":
        stage.strike(side, price, qty)
    elif act == "index":
        stage.index(price)
    elif act == "cancel":
        stage.exchange.cancel_all(stage.tick(), account, side=side)
    elif act == "leverage":
        leverage = qty // 400 if side == "Buy" else 0
        stage.exchange.set_leverage(stage.tick(), account, "XBTUSD", leverage)
    else:
        for row in stage.exchange.orders(account):
            if row["ordStatus"] in ("New", "PartiallyFilled"):
                stage.amend(row, account=account, leaves_qty=qty, price=price)
                break


def test_a_round_trip_costs_the_price_difference_and_both_fees(stage: Stage) -> None:
    stage.order("Buy", 1_000)
    stage.order("Sell", 1_000)
    bought, sold = (row for row in stage.exchange.executions(ALICE) if row["execType"] == "Trade")
    gross = -(bought["execCost"] + sold["execCost"])
    fees = bought["execComm"] + sold["execComm"]
    assert stage.exchange.wallet(ALICE)["amount"] == DEPOSIT + gross - fees
    assert stage.exchange.audit().fees == fees


# --- public data ---------------------------------------------------------------------------


def test_levels_run_from_high_to_low_on_both_sides(stage: Stage) -> None:
    stage.level("Buy", 59_980.0, 100)
    stage.level("Sell", 60_020.0, 100)
    rows = stage.exchange.levels("XBTUSD")
    assert [(row["side"], row["price"]) for row in rows] == [
        ("Sell", 60_020.0),
        ("Sell", 60_010.0),
        ("Buy", 59_990.0),
        ("Buy", 59_980.0),
    ]
    assert stage.exchange.levels(".BXBT") == []


def test_book_changes_always_carry_price_and_times(stage: Stage) -> None:
    stage.order("Buy", 100, 59_995.0)
    stage.strike("Sell", 59_995.0, 100)
    rows = [row for change in stage.changes("orderBookL2") for row in change.rows]
    assert [row["price"] for row in rows] == [59_995.0, 59_995.0]
    assert "size" in rows[0]
    assert "size" not in rows[1]
    assert all(row["timestamp"] == row["transactTime"] for row in rows)


def test_bins_are_stamped_with_their_end_and_empty_minutes_carry_the_close(stage: Stage) -> None:
    stage.strike("Buy", 60_010.0, 300)
    stage.strike("Sell", 59_990.0, 100)
    stage.wait(120)
    bins = stage.exchange.bins("XBTUSD", 60 * SECOND)
    assert [row["timestamp"] for row in bins] == [
        "2024-11-25T02:01:00.000Z",
        "2024-11-25T02:02:00.000Z",
        "2024-11-25T02:03:00.000Z",
    ]
    first = bins[0]
    assert (first["open"], first["high"], first["low"], first["close"]) == (
        60_000.0,
        60_010.0,
        59_990.0,
        59_990.0,
    )
    assert (first["trades"], first["volume"], first["lastSize"]) == (2, 400, 100)
    assert (bins[1]["open"], bins[1]["trades"]) == (59_990.0, 0)
    [hour] = stage.exchange.bins("XBTUSD", 3_600 * SECOND)
    assert (hour["volume"], hour["high"]) == (400, 60_010.0)


def test_the_index_prints_a_trade_of_nothing_every_minute(stage: Stage) -> None:
    stage.wait(61)
    [row] = stage.exchange.trades(".BXBT")
    assert (row["size"], row["price"], row["symbol"]) == (0, 60_000.0, ".BXBT")
    assert stage.exchange.trades("XBTUSD") == []


def test_a_quote_is_told_only_when_the_touch_changes(stage: Stage) -> None:
    stage.level("Buy", 59_000.0, 100)
    assert stage.changes("quote") == []
    stage.level("Buy", 59_990.0, 700)
    [change] = stage.changes("quote")
    assert change.rows[0]["bidSize"] == 700
