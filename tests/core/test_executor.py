"""From a target to the next order: a table, and what must hold for every input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.executor import REPRICE_AFTER_NS, Place, Plan, Rest, Terms, Wanted, Withdraw, plan
from chappie.core.orders import Order, told
from chappie.model.enums import OrdStatus, OrdType, Side, TimeInForce
from chappie.model.units import Ticks
from tests.core.parts import asked, said, sent

BID, ASK = Ticks(600_000), Ticks(600_001)


def planned(
    target: int,
    qty: int,
    live: list[Order] | None = None,
    *,
    style: str = "post_only",
    order_qty: int = 500,
    lot: int = 100,
    bid: Ticks | None = BID,
    ask: Ticks | None = ASK,
    now_ns: int = 0,
) -> Plan:
    return plan(target, qty, live or [], bid, ask, Terms(style, order_qty, lot), now_ns)


def wanted(step: Plan) -> Wanted:
    assert isinstance(step, Place), step
    return step.wanted


def working(side: Side = Side.BUY, qty: int = 100, price: int = BID) -> Order:
    return told(sent(asked(side, qty, price)), said(OrdStatus.NEW), 0)


@pytest.mark.parametrize(
    ("target", "qty", "side", "size", "reduces"),
    [
        (100, 0, Side.BUY, 100, False),
        (-100, 0, Side.SELL, 100, False),
        (300, 100, Side.BUY, 200, False),
        (100, 300, Side.SELL, 200, True),
        (0, 300, Side.SELL, 300, True),
        (0, -300, Side.BUY, 300, True),
        (900, 0, Side.BUY, 500, False),
        (-900, 900, Side.SELL, 500, True),
        (-100, 100, Side.SELL, 100, True),
        (100, -300, Side.BUY, 300, True),
        (250, 0, Side.BUY, 200, False),
    ],
)
def test_the_next_order_is_the_next_step(
    target: int, qty: int, side: Side, size: int, reduces: bool
) -> None:
    order = wanted(planned(target, qty))
    assert (order.side, order.qty, order.reduce_only) == (side, size, reduces)


@pytest.mark.parametrize(
    ("style", "side", "price", "kind", "time_in_force", "post_only"),
    [
        ("post_only", Side.BUY, BID, OrdType.LIMIT, TimeInForce.GTC, True),
        ("post_only", Side.SELL, ASK, OrdType.LIMIT, TimeInForce.GTC, True),
        ("limit", Side.BUY, ASK, OrdType.LIMIT, TimeInForce.GTC, False),
        ("limit", Side.SELL, BID, OrdType.LIMIT, TimeInForce.GTC, False),
        ("market", Side.BUY, None, OrdType.MARKET, TimeInForce.IOC, False),
        ("market", Side.SELL, None, OrdType.MARKET, TimeInForce.IOC, False),
    ],
)
def test_the_style_decides_price_and_type(
    style: str,
    side: Side,
    price: Ticks | None,
    kind: OrdType,
    time_in_force: TimeInForce,
    post_only: bool,
) -> None:
    order = wanted(planned(100 * side.sign, 0, style=style))
    assert (order.side, order.price, order.ord_type) == (side, price, kind)
    assert (order.time_in_force, order.post_only) == (time_in_force, post_only)


@pytest.mark.parametrize(("target", "qty"), [(0, 0), (100, 100), (50, 0), (0, 50)])
def test_on_target_to_within_a_lot_nothing_is_done(target: int, qty: int) -> None:
    assert isinstance(planned(target, qty), Rest)


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_without_a_touch_there_is_no_order(side: str) -> None:
    step = planned(100, 0, bid=None if side == "bid" else BID, ask=None if side == "ask" else ASK)
    assert step == Rest("the book has no price on one side")


def test_one_order_works_at_a_time() -> None:
    assert isinstance(planned(500, 0, [working()]), Rest)


def test_an_order_with_a_request_outstanding_is_left_alone() -> None:
    for order in (sent(asked()), sent(asked(), doubt=True)):
        assert isinstance(planned(-500, 0, [order], now_ns=10**12), Rest)


@pytest.mark.parametrize(
    ("target", "qty", "order"),
    [
        (0, 0, working()),
        (-100, 0, working()),
        (100, 0, working(qty=200)),
        (100, 100, working()),
    ],
)
def test_an_order_that_the_target_no_longer_wants_is_withdrawn(
    target: int, qty: int, order: Order
) -> None:
    assert isinstance(planned(target, qty, [order]), Withdraw)


def test_of_two_working_orders_one_is_withdrawn() -> None:
    assert isinstance(planned(500, 0, [working(), working()]), Withdraw)


def test_an_order_off_the_touch_is_repriced_after_its_pause_only() -> None:
    behind = [working(price=BID - 5)]
    assert isinstance(planned(100, 0, behind, now_ns=REPRICE_AFTER_NS), Rest)
    assert isinstance(planned(100, 0, behind, now_ns=REPRICE_AFTER_NS + 1), Withdraw)


@given(
    target=st.integers(-3_000, 3_000),
    qty=st.integers(-3_000, 3_000),
    style=st.sampled_from(["post_only", "limit", "market"]),
    order_qty=st.integers(1, 2_000),
    lot=st.sampled_from([1, 100]),
)
def test_an_order_never_leads_away_from_the_target_nor_through_flat(
    target: int, qty: int, style: str, order_qty: int, lot: int
) -> None:
    step = planned(target, qty, style=style, order_qty=order_qty, lot=lot)
    if not isinstance(step, Place):
        return
    order = step.wanted
    after = qty + order.side.sign * order.qty
    assert abs(target - after) < abs(target - qty)
    assert qty * after >= 0, "a position is seen to close before another opens"
    assert order.qty % lot == 0
    assert 0 < order.qty <= order_qty
    assert order.reduce_only == (abs(after) < abs(qty))
