"""Limits on time: unfilled orders, tries for a target, and how long a position is held (L8)."""

from collections.abc import Sequence
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.account import Account
from chappie.core.executor import Rest, Terms, Withdraw, plan
from chappie.core.faults import ActiveFaults
from chappie.core.gate import Denial, examine
from chappie.core.ledger import Ledger
from chappie.core.limits import Limits
from chappie.core.market import Market
from chappie.core.orders import told
from chappie.core.outbox import Outbox
from chappie.core.reconcile import Reconciler
from chappie.model.enums import Side
from chappie.model.orders import Approved
from chappie.model.records import Adjusted, Opening
from chappie.model.units import SECOND_NS, Contracts, Minor, Ticks
from chappie.simvenue.market import MarketFloor
from tests.core.parts import WALL_NS, asked, at, config, fill, said, sent
from tests.core.test_gate import circumstances
from tests.core.world import Calm, Target, World, trading

BID, ASK = Ticks(600_000), Ticks(600_001)


class Walking(Calm):
    """A touch that moves up by a tick every so often, and leaves a resting bid behind."""

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self._every_ns = round(every_s * SECOND_NS)
        self._moves_ns = 0
        self._bid = 600_000

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        super().start(at_ns, floor)
        self._moves_ns = at_ns + self._every_ns

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        super().advance(at_ns, floor)
        if at_ns >= self._moves_ns:
            self._moves_ns += self._every_ns
            floor.set_level("Sell", self._bid + 2, 1000)
            floor.set_level("Sell", self._bid + 1, 0)
            floor.set_level("Buy", self._bid + 1, 1000)
            floor.set_level("Buy", self._bid, 0)
            self._bid += 1


# --- an order that is not filled


@given(
    st.integers(-5, 5), st.integers(-5, 5), st.integers(0, 60), st.integers(0, 30), st.booleans()
)
def test_no_plan_lets_an_order_rest_beyond_its_time(
    target: int, qty: int, age_s: int, most_s: int, reprices: bool
) -> None:
    side = Side.BUY if target > qty else Side.SELL
    live = told(sent(asked(side, 100, BID if side is Side.BUY else ASK)), said(leaves=100), 0)
    live = msgspec.structs.replace(live, request=None)
    terms = Terms("post_only", 500, 100, most_s * SECOND_NS, reprices=reprices)
    step = plan(100 * target, 100 * qty, [live], BID, ASK, terms, age_s * SECOND_NS)
    if most_s and age_s >= most_s:
        assert isinstance(step, Withdraw)
    elif abs(target - qty) >= 1 and abs(target) >= abs(qty) and target * qty >= 0:
        assert isinstance(step, Rest)


def test_an_order_that_is_not_filled_in_time_is_replaced() -> None:
    world = World(
        trading(limits={"max_order_age_s": 10.0}, orders={"style": "post_only"}),
        policy=Target(100),
        market=Calm(),
    )
    assert world.run(30, lambda: bool(world.working))
    world.run(9.5)
    assert len(world.sent("POST", "/order")) == 1
    world.run(2)
    assert len(world.sent("DELETE", "/order")) == 1
    assert len(world.sent("POST", "/order")) == 2
    world.run(60)
    assert len(world.working) <= 1
    assert 6 <= len(world.sent("POST", "/order")) <= 8


# --- how often it is replaced


def test_after_so_many_replacements_the_last_one_stays_where_it_is() -> None:
    world = World(
        trading(limits={"max_repricings": 2}, orders={"style": "post_only"}),
        policy=Target(100),
        market=Walking(3),
    )
    world.run(60)
    assert len(world.sent("POST", "/order")) == 3
    assert len(world.working) == 1


def test_without_the_limit_it_is_replaced_again_and_again() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Walking(3))
    world.run(60)
    assert len(world.sent("POST", "/order")) > 10


def test_what_was_given_up_is_tried_again_for_another_target() -> None:
    policy = Target(100)
    world = World(
        trading(
            limits={"max_repricings": 2, "max_order_age_s": 4.0}, orders={"style": "post_only"}
        ),
        policy=policy,
        market=Walking(3),
    )
    world.run(60)
    assert len(world.sent("POST", "/order")) == 3
    assert world.working == []
    assert world.bot.said("order_denied", why=Denial.GIVEN_UP.value)
    policy.target = 200
    world.run(60)
    assert len(world.sent("POST", "/order")) == 6


@given(st.lists(st.sampled_from(["place", "place", "place", "fill", "target", "reduce"])))
def test_no_sequence_of_tries_exceeds_the_limit(actions: Sequence[str]) -> None:
    configured = config(limits={"max_repricings": 2})
    outbox, account = Outbox(), Account()
    faults = ActiveFaults(configured, outbox)
    limits = Limits(configured.limits, outbox, faults, Market(), account, cast(Reconciler, None))
    target = tried = 0
    for what in actions:
        match what:
            case "fill":
                account.ledger.book(fill(f"e{account.ledger.fills}"))
                tried = 0
            case "target":
                target, tried = target + 100, 0
            case _:
                reduces = what == "reduce"
                limits.wish(target)
                seen = circumstances(qty=-500 if reduces else 0, counts=limits.counts(at(0), 1))
                verdict = examine(asked(reduce_only=reduces), seen)
                assert isinstance(verdict, Approved) == (reduces or tried < 3)
                if isinstance(verdict, Approved):
                    limits.tried()
                    tried += 1


# --- how long a position is held


def test_a_position_that_was_held_too_long_is_closed() -> None:
    world = World(trading(limits={"max_holding_s": 20.0}), policy=Target(100), market=Calm())
    ledger = world.bot.core.desk.account.ledger
    assert world.run(30, lambda: ledger.qty == 100)
    world.run(19.5)
    assert ledger.qty == 100
    assert world.run(2, lambda: ledger.qty == 0)
    assert len(world.bot.said("held_too_long")) == 1


def test_a_restart_gives_a_position_no_more_time() -> None:
    world = World(trading(limits={"max_holding_s": 20.0}), policy=Target(100), market=Calm())
    assert world.run(30, lambda: world.bot.core.desk.account.ledger.qty == 100)
    world.run(12)
    world.bot.die()
    world.start(2, world.bot.kept)
    world.run(7)
    assert world.bot.core.desk.account.ledger.qty == 100
    assert world.run(8, lambda: world.bot.core.desk.account.ledger.qty == 0)


def test_a_position_is_held_since_it_was_opened_or_turned() -> None:
    ledger = Ledger()
    assert ledger.held_since_ns == 0

    def book(side: Side, qty: int, seconds: float) -> int:
        one = fill(f"e{ledger.fills}", side, qty)
        ledger.book(msgspec.structs.replace(one, venue_ns=at(seconds).wall_ns))
        return round((ledger.held_since_ns - WALL_NS) / SECOND_NS) if ledger.held_since_ns else -1

    assert book(Side.BUY, 100, 1) == 1
    assert book(Side.BUY, 100, 2) == 1
    assert book(Side.SELL, 100, 3) == 1
    assert book(Side.SELL, 300, 4) == 4
    assert book(Side.BUY, 200, 5) == -1
    assert book(Side.BUY, 200, 6) == 6


@pytest.mark.parametrize(("qty", "since_s"), [(100, 9), (-300, 9), (0, None), (200, 1)])
def test_an_accepted_position_is_held_since_then_unless_it_was_before(
    qty: int, since_s: int | None
) -> None:
    ledger = Ledger()
    ledger.open_with(Opening(at(1).wall_ns, Contracts(100 if qty == 200 else -100), Minor(0)))
    if qty == -300:
        ledger.adjust(Adjusted(at(5).wall_ns, Contracts(0), "flat"))
    ledger.adjust(Adjusted(at(9).wall_ns, Contracts(qty), "by hand"))
    assert ledger.held_since_ns == (0 if since_s is None else at(since_s).wall_ns)
