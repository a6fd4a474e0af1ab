"""The ledger: every fill once, in any order, to the minor unit."""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.ledger import Ledger
from chappie.model.enums import Side
from chappie.model.records import Adjusted, Fill, FundingPaid, Opening
from chappie.model.units import Contracts, Minor
from tests.core.parts import INSTRUMENT, WALL_NS, fill

BUY, SELL = Side.BUY, Side.SELL


def booked(*fills: Fill) -> Ledger:
    ledger = Ledger()
    for one in fills:
        ledger.book(one)
    return ledger


@st.composite
def some_fills(draw: st.DrawFn) -> list[Fill]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(list(Side)), st.integers(1, 9), st.integers(300_000, 900_000)
            ),
            max_size=12,
        )
    )
    return [
        fill(f"e{number}", side, lots * 100, price, fee=lots)
        for number, (side, lots, price) in enumerate(rows)
    ]


def test_a_fill_that_comes_twice_is_booked_once() -> None:
    ledger = Ledger()
    assert ledger.book(fill("e1"))
    assert not ledger.book(fill("e1"))
    assert (ledger.qty, ledger.fills, ledger.fees) == (100, 1, 8)
    assert ledger.booked("chp-test-1-1") == 100


@given(some_fills(), st.randoms(use_true_random=False))
def test_position_and_fees_do_not_depend_on_the_order_of_arrival(
    fills: list[Fill], random: Random
) -> None:
    shuffled = [*fills, *fills]
    random.shuffle(shuffled)
    one, other = booked(*fills), booked(*shuffled)
    assert (one.qty, one.fees, one.fills) == (other.qty, other.fees, other.fills)
    # What is realised early is still in the entry cost otherwise: together they are one sum.
    assert one.realised - one.cost == other.realised - other.cost


class Naive:
    """Average cost by exact fractions, contract by contract side: the model to compare with."""

    def __init__(self) -> None:
        self.qty = 0
        self.cost = Fraction(0)
        self.realised = Fraction(0)

    def book(self, one: Fill) -> None:
        lots, each = one.qty, Fraction(one.cost, one.qty)
        for _ in range(lots // 100):
            if self.qty * one.side.sign < 0:
                share = self.cost * 100 / abs(self.qty)
                self.realised -= share + each * 100
                self.cost -= share
            else:
                self.cost += each * 100
            self.qty += one.side.sign * 100


@given(some_fills())
def test_entry_cost_and_result_follow_the_naive_model(fills: list[Fill]) -> None:
    ledger, naive = Ledger(), Naive()
    for one in fills:
        ledger.book(one)
        naive.book(one)
        assert ledger.qty == naive.qty
    # Each partial close rounds its share once, each flip another time.
    allowed = Fraction(len(fills))
    assert abs(ledger.cost - naive.cost) <= allowed
    assert abs(ledger.realised - naive.realised) <= allowed


@given(some_fills())
def test_a_flat_position_has_realised_every_minor_unit(fills: list[Fill]) -> None:
    ledger = booked(*fills)
    if ledger.qty:
        side = SELL if ledger.qty > 0 else BUY
        ledger.book(fill("last", side, abs(ledger.qty), 500_000))
        fills = [*fills, fill("last", side, abs(booked(*fills).qty), 500_000)]
    assert (ledger.qty, ledger.cost) == (0, 0)
    assert ledger.realised == -sum(one.cost for one in fills)


def test_a_fill_through_zero_closes_one_side_and_opens_the_other() -> None:
    ledger = booked(fill("e1", BUY, 100, 500_000), fill("e2", SELL, 300, 400_000))
    # 100 contracts: bought at 50,000 for 200,000 satoshi, sold at 40,000 for 250,000.
    assert (ledger.qty, ledger.cost, ledger.realised) == (-200, 500_000, -50_000)
    assert ledger.average_entry(INSTRUMENT) == pytest.approx(40_000.0)


def test_the_average_entry_of_an_inverse_contract_is_harmonic() -> None:
    ledger = booked(fill("e1", BUY, 100, 500_000), fill("e2", BUY, 100, 400_000))
    assert ledger.average_entry(INSTRUMENT) == pytest.approx(2 / (1 / 50_000 + 1 / 40_000))
    assert Ledger().average_entry(INSTRUMENT) is None


def test_funding_is_paid_once_and_moves_no_position() -> None:
    ledger = booked(fill("e1"))
    paid = FundingPaid("f1", Minor(17), WALL_NS)
    assert ledger.pay(paid)
    assert not ledger.pay(paid)
    assert (ledger.funding, ledger.qty, ledger.fees) == (17, 100, 8)


def test_an_opening_comes_before_the_first_fill_and_once() -> None:
    ledger = Ledger()
    ledger.open_with(Opening(WALL_NS, Contracts(0), Minor(0)))
    with pytest.raises(AssertionError):
        ledger.open_with(Opening(WALL_NS, Contracts(0), Minor(0)))
    with pytest.raises(AssertionError):
        booked(fill("e1")).open_with(Opening(WALL_NS, Contracts(0), Minor(0)))


def adjusted(qty: int, cost: int | None = None) -> Adjusted:
    known = None if cost is None else Minor(cost)
    return Adjusted(WALL_NS, Contracts(qty), "accepted by hand", known)


def test_an_adjustment_moves_the_position_and_keeps_what_was_realised() -> None:
    ledger = booked(fill("e1", BUY, 100, 500_000), fill("e2", SELL, 100, 600_000))
    before = ledger.realised
    ledger.adjust(adjusted(300, -450_000))
    assert (ledger.qty, ledger.cost, ledger.realised, ledger.opened) == (
        300,
        -450_000,
        before,
        True,
    )
    assert ledger.average_entry(INSTRUMENT) == pytest.approx(66_666.6667)


def test_what_is_held_at_an_unknown_entry_realises_nothing_until_it_is_flat() -> None:
    ledger = Ledger()
    ledger.adjust(adjusted(300))
    for one in (fill("e1", SELL, 100), fill("e2", BUY, 200, 500_000), fill("e3", SELL, 300)):
        assert ledger.average_entry(INSTRUMENT) is None
        ledger.book(one)
        assert (ledger.realised, ledger.cost) == (0, 0)
    assert (ledger.qty, ledger.fees) == (100, 24)
    last = fill("e4", SELL, 300, 500_000)
    ledger.book(last)
    # 100 closed what was unknown, 200 opened the other side at their own cost.
    assert (ledger.qty, ledger.realised, ledger.cost) == (-200, 0, last.cost * 2 // 3)
    ledger.book(fill("e5", BUY, 200, 500_000))
    assert (ledger.qty, ledger.cost, ledger.realised) == (0, 0, 0)


def test_an_adjustment_to_flat_leaves_nothing_unknown() -> None:
    ledger = booked(fill("e1", BUY, 100, 500_000))
    ledger.adjust(adjusted(0))
    ledger.book(fill("e2", BUY, 100, 500_000))
    ledger.book(fill("e3", SELL, 100, 400_000))
    assert ledger.realised != 0
