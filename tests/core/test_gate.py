"""The gate: each denial alone, their order, and what no circumstances can get past it."""

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.gate import Circumstances, Counts, Denial, examine
from chappie.model.enums import InstrumentState, Side
from chappie.model.faults import Posture
from chappie.model.orders import Approved, NewOrder
from tests.core.parts import INSTRUMENT, asked

GOOD = Circumstances(
    instrument=INSTRUMENT,
    posture=Posture.ACTIVE,
    locked=False,
    qty=0,
    live_buy=0,
    live_sell=0,
    in_doubt=False,
    fills_missing=False,
    order_qty=500,
    max_position=1000,
    switch_holds=True,
    allow_trade=True,
    mark=600_000,
    best_bid=599_999,
    best_ask=600_001,
    collar_ppm=50_000,
)
CLOSED = msgspec.structs.replace(INSTRUMENT, state=InstrumentState.CLOSED)
OTHER = msgspec.structs.replace(INSTRUMENT, symbol="ETHUSD")
SMALL = msgspec.structs.replace(INSTRUMENT, max_order_qty=100)

# Every way in which a denial alone can come about: what is changed, and the order.
ALONE: list[tuple[Denial, dict[str, object], NewOrder]] = [
    (Denial.POSTURE, {"posture": Posture.REDUCE_ONLY}, asked()),
    (Denial.POSTURE, {"posture": Posture.CANCEL_ONLY}, asked()),
    (Denial.POSTURE, {"posture": Posture.HALTED}, asked()),
    (Denial.POSTURE, {"posture": Posture.CANCEL_ONLY, "qty": -100}, asked(reduce_only=True)),
    (Denial.BUDGET_LOW, {"locked": True}, asked()),
    (Denial.INSTRUMENT_NOT_OPEN, {"instrument": CLOSED}, asked()),
    (Denial.LOT, {}, asked(qty=0)),
    (Denial.LOT, {}, asked(qty=-100)),
    (Denial.LOT, {}, asked(qty=150)),
    (Denial.ORDER_QTY, {}, asked(qty=600)),
    (Denial.ORDER_QTY, {"instrument": SMALL}, asked(qty=200)),
    (Denial.NOT_REDUCING, {}, asked(reduce_only=True)),
    (Denial.NOT_REDUCING, {"qty": 100}, asked(reduce_only=True)),
    (Denial.NOT_REDUCING, {"qty": -100}, asked(qty=200, reduce_only=True)),
    (Denial.NOT_REDUCING, {"qty": -100, "live_buy": 100}, asked(reduce_only=True)),
    (Denial.MAX_POSITION, {"qty": 1000}, asked()),
    (Denial.MAX_POSITION, {"live_buy": 1000}, asked()),
    (Denial.MAX_POSITION, {"live_sell": 1000}, asked(Side.SELL)),
    (Denial.MAX_POSITION, {"qty": -600, "live_sell": 400}, asked(Side.SELL)),
    (Denial.SYMBOL, {"instrument": OTHER}, asked()),
    (Denial.SYMBOL, {"counts": Counts(symbols=("ETHUSD",))}, asked()),
    (Denial.ACCOUNT, {"counts": Counts(right_account=False)}, asked()),
    (Denial.ORDER_VALUE, {"counts": Counts(max_order_value=166_666)}, asked()),
    (Denial.ORDER_VALUE, {"counts": Counts(max_order_value=166_666)}, asked(price=None)),
    (Denial.ORDER_VALUE, {"counts": Counts(max_order_value=169_999)}, asked(price=588_235)),
    (Denial.WORKING_ORDERS, {"counts": Counts(working=1)}, asked()),
    (Denial.ORDERS_PER_MINUTE, {"counts": Counts(sent_in_minute=5, max_in_minute=5)}, asked()),
    (
        Denial.ORDERS_PER_DECISION,
        {"counts": Counts(sent_for_decision=2, max_for_decision=2)},
        asked(),
    ),
    (Denial.GIVEN_UP, {"counts": Counts(tried=3, max_tries=3)}, asked()),
    (Denial.REPEATED, {"counts": Counts(repeated_buy=3, max_repeated=3)}, asked()),
    (Denial.REPEATED, {"counts": Counts(repeated_sell=4, max_repeated=3)}, asked(Side.SELL)),
    (Denial.PRICE, {}, asked(price=0)),
    (Denial.PRICE, {}, asked(price=10_000_001)),
    (Denial.PRICE_COLLAR, {}, asked(price=630_001)),
    (Denial.PRICE_COLLAR, {}, asked(Side.SELL, price=569_999)),
    (Denial.PRICE_COLLAR, {"best_ask": 570_000}, asked(price=598_501)),
    (Denial.PRICE_COLLAR, {"mark": 570_000}, asked(price=598_501)),
    (Denial.PRICE_COLLAR, {"best_ask": None}, asked(price=630_001)),
    (Denial.PRICE_COLLAR, {"mark": None}, asked(price=630_002)),
    (Denial.PRICE_COLLAR, {"mark": None, "best_ask": None}, asked()),
    (Denial.PRICE_COLLAR, {"best_ask": 630_001}, asked(price=None)),
    (Denial.PRICE_COLLAR, {"best_bid": 569_999}, asked(Side.SELL, price=None)),
    (Denial.PRICE_COLLAR, {"best_ask": None}, asked(price=None)),
    (Denial.PRICE_COLLAR, {"best_bid": None}, asked(Side.SELL, price=None)),
    (Denial.PRICE_COLLAR, {"qty": -100, "best_ask": None}, asked(price=None, reduce_only=True)),
    (Denial.FILLS_MISSING, {"fills_missing": True}, asked()),
    (Denial.IN_DOUBT, {"in_doubt": True}, asked()),
    (Denial.DEAD_MAN_UNARMED, {"switch_holds": False}, asked()),
    (Denial.ALLOW_TRADE_OFF, {"allow_trade": False}, asked()),
]


# What a flatten's order may not do either.
FLATTENING: dict[str, object] = {
    "flattening": True,
    "posture": Posture.HALTED,
    "switch_holds": False,
    "qty": 700,
}
CLOSING = asked(Side.SELL, 700, None, reduce_only=True)
NEVER: list[tuple[Denial, dict[str, object], NewOrder]] = [
    (Denial.POSTURE, {}, asked(Side.SELL, 100, None)),
    (Denial.POSTURE, {}, asked(Side.SELL, 100, reduce_only=True)),
    (Denial.BUDGET_LOW, {"locked": True}, CLOSING),
    (Denial.INSTRUMENT_NOT_OPEN, {"instrument": CLOSED}, CLOSING),
    (Denial.LOT, {"qty": 750}, asked(Side.SELL, 750, None, reduce_only=True)),
    (Denial.ORDER_QTY, {"instrument": SMALL}, CLOSING),
    (Denial.NOT_REDUCING, {"qty": 600}, CLOSING),
    (Denial.NOT_REDUCING, {"qty": -700}, CLOSING),
    (Denial.NOT_REDUCING, {"live_sell": 100}, CLOSING),
    (Denial.SYMBOL, {"instrument": OTHER}, CLOSING),
    (Denial.FILLS_MISSING, {"fills_missing": True}, CLOSING),
    (Denial.IN_DOUBT, {"in_doubt": True}, CLOSING),
    (Denial.ALLOW_TRADE_OFF, {"allow_trade": False}, CLOSING),
]


def test_a_closing_order_passes_a_halt_our_own_size_and_the_switch() -> None:
    assert isinstance(examine(CLOSING, circumstances(**FLATTENING)), Approved)


SPENT = Counts(
    right_account=False,
    max_order_value=1,
    working=1,
    sent_in_minute=1,
    max_in_minute=1,
    sent_for_decision=1,
    max_for_decision=1,
    tried=1,
    max_tries=1,
    repeated_buy=1,
    repeated_sell=1,
    max_repeated=1,
)


def test_a_closing_order_waits_for_no_count() -> None:
    assert isinstance(examine(CLOSING, circumstances(**FLATTENING, counts=SPENT)), Approved)


def test_nor_does_any_other_that_reduces_on_the_right_account() -> None:
    counts = msgspec.structs.replace(SPENT, right_account=True)
    order = asked(reduce_only=True)
    assert isinstance(examine(order, circumstances(qty=-100, counts=counts)), Approved)


@pytest.mark.parametrize(("denial", "changed", "order"), NEVER)
def test_a_flatten_lets_nothing_else_pass(
    denial: Denial, changed: dict[str, object], order: NewOrder
) -> None:
    assert examine(order, circumstances(**{**FLATTENING, **changed})) is denial


def circumstances(**changed: object) -> Circumstances:
    return msgspec.structs.replace(GOOD, **changed)


def test_what_is_wanted_and_allowed_passes() -> None:
    verdict = examine(asked(), GOOD)
    assert isinstance(verdict, Approved)
    assert verdict.value == asked()


def test_every_denial_has_a_case_of_its_own() -> None:
    assert {denial for denial, _, _ in ALONE} == set(Denial)


@pytest.mark.parametrize(("denial", "changed", "order"), ALONE)
def test_one_thing_wrong_is_denied_by_its_name(
    denial: Denial, changed: dict[str, object], order: NewOrder
) -> None:
    assert examine(order, circumstances(**changed)) is denial


@pytest.mark.parametrize(
    ("changed", "order"),
    [
        ({}, asked(price=630_000)),
        ({}, asked(Side.SELL, price=570_000)),
        ({"best_ask": None}, asked(price=630_000)),
        ({"mark": None}, asked(price=630_001)),
        ({"mark": None, "best_bid": None}, asked(price=1)),
        ({}, asked(price=None)),
        ({"mark": None}, asked(price=None)),
        ({"best_ask": 630_000}, asked(price=None)),
        ({}, asked(price=1)),
        ({}, asked(Side.SELL, price=900_000)),
    ],
)
def test_the_collar_is_wide_enough_to_its_last_tick_and_holds_no_patient_price(
    changed: dict[str, object], order: NewOrder
) -> None:
    assert isinstance(examine(order, circumstances(**changed)), Approved)


TICKS = st.integers(1, 2_000_000)


@given(
    st.sampled_from(list(Side)),
    st.one_of(st.none(), TICKS),
    st.one_of(st.none(), TICKS),
    st.one_of(st.none(), TICKS),
    st.one_of(st.none(), TICKS),
    st.decimals("0.0001", "100", places=4),
)
def test_on_any_book_nothing_is_paid_beyond_the_collar(
    side: Side, price: int | None, mark: int | None, bid: int | None, ask: int | None, pct: Decimal
) -> None:
    verdict = examine(
        asked(side, price=price),
        circumstances(mark=mark, best_bid=bid, best_ask=ask, collar_ppm=int(pct * 10_000)),
    )
    touch = ask if side is Side.BUY else bid
    paid = touch if price is None else price
    if verdict is Denial.PRICE_COLLAR:
        known = [one for one in (mark, touch) if one is not None]
        lacking = paid is None or not known
        assert lacking or any(_beyond(side, paid, one, pct) for one in known)
    else:
        assert isinstance(verdict, Approved)
        for one in (mark, touch):
            assert one is None or not _beyond(side, paid, one, pct)


def _beyond(side: Side, paid: int | None, reference: int, pct: Decimal) -> bool:
    """Exact, in another way than the gate's."""
    assert paid is not None
    part = Fraction(pct) / 100
    if side is Side.BUY:
        return paid > reference * (1 + part)
    return paid < reference * (1 - part)


def test_allow_trade_has_the_last_word() -> None:
    for denial, changed, order in ALONE:
        off = {**changed, "allow_trade": False}
        assert examine(order, circumstances(**off)) is denial


def test_a_reducing_order_passes_where_only_reducing_is_allowed() -> None:
    order = asked(reduce_only=True)
    assert isinstance(
        examine(order, circumstances(posture=Posture.REDUCE_ONLY, qty=-100)), Approved
    )


def test_the_way_back_is_open_beyond_the_limit() -> None:
    assert isinstance(examine(asked(Side.SELL), circumstances(qty=2000)), Approved)


@given(
    st.builds(
        asked,
        st.sampled_from(list(Side)),
        st.integers(-200, 1500),
        st.one_of(st.none(), st.integers(-5, 12_000_000)),
        reduce_only=st.booleans(),
    ),
    st.builds(
        Circumstances,
        instrument=st.sampled_from([INSTRUMENT, CLOSED, SMALL]),
        posture=st.sampled_from(list(Posture)),
        locked=st.booleans(),
        qty=st.integers(-1500, 1500),
        live_buy=st.integers(0, 1500),
        live_sell=st.integers(0, 1500),
        in_doubt=st.booleans(),
        fills_missing=st.booleans(),
        order_qty=st.integers(1, 1000),
        max_position=st.integers(1, 1000),
        switch_holds=st.booleans(),
        allow_trade=st.booleans(),
        mark=st.one_of(st.none(), st.integers(1, 1_000_000)),
        best_bid=st.one_of(st.none(), st.integers(1, 1_000_000)),
        best_ask=st.one_of(st.none(), st.integers(1, 1_000_000)),
        collar_ppm=st.integers(1, 1_000_000),
    ),
)
def test_no_circumstances_get_an_order_past_a_shut_gate(order: NewOrder, c: Circumstances) -> None:
    if not isinstance(examine(order, c), Approved):
        return
    assert c.allow_trade
    assert c.switch_holds
    assert (c.locked, c.in_doubt, c.fills_missing) == (False, False, False)
    assert c.instrument.state is InstrumentState.OPEN
    assert c.posture <= (Posture.REDUCE_ONLY if order.reduce_only else Posture.ACTIVE)
    assert 0 < order.qty <= min(c.order_qty, c.instrument.max_order_qty)
    sign = order.side.sign
    after = sign * c.qty + order.qty
    if order.reduce_only:
        assert after <= 0
    else:
        assert after + (c.live_buy if sign > 0 else c.live_sell) <= c.max_position
