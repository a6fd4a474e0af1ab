"""Trading against the simulated venue: both sides agree to the minor unit; replay agrees too."""

import itertools
from typing import Any

import pytest

from chappie.core.core import Core
from chappie.core.gate import Denial
from chappie.journal.digest import CommandDigest
from chappie.model.commands import SendOrder
from chappie.model.events import StopAsked
from chappie.model.units import SECOND_NS
from chappie.simvenue.market import MarketFloor
from chappie.venues.bitmex.dialect import BitmexDialect
from tests.core.world import ANOTHER_HAND, Calm, Target, World, cycle, trading

STYLES = ("market", "limit", "post_only")


class Then:
    """One policy for some seconds, then flat."""

    def __init__(self, policy: Any, flat_at: float) -> None:
        self._policy = policy
        self._flat_at = flat_at
        self.period_s = policy.period_s

    def decide(self, view: Any) -> int:
        return 0 if view.at >= self._flat_at else int(self._policy.decide(view))


def positions_of(world: World) -> tuple[int, int]:
    rows = world.truth()["position"]
    return world.bot.core.desk.account.ledger.qty, rows[0]["currentQty"] if rows else 0


def assert_both_sides_agree(world: World) -> int:
    """Position, fills, fees, result and wallet; returns the number of fills."""
    truth = world.truth()
    account = world.bot.core.desk.account
    ledger = account.ledger
    trades = [row for row in truth["executions"] if row["execType"] == "Trade"]
    funding = [row for row in truth["executions"] if row["execType"] == "Funding"]
    ours, theirs = positions_of(world)
    assert ours == theirs
    assert ledger.fills == len(trades)
    assert ledger.fees == sum(row["execComm"] for row in trades)
    assert ledger.funding == sum(row["execComm"] for row in funding)
    spent = ledger.fees + ledger.funding
    assert truth["wallet"]["amount"] == 100_000_000 + ledger.realised - spent
    if not ours:
        (position,) = truth["position"]
        done = position["realisedPnl"] + position["prevRealisedPnl"]
        assert ledger.cost == 0
        # Only the last position's result is in the row; a single one makes it the whole.
        assert len(trades) > 2 or done == ledger.realised - spent
    assert account.margin is not None
    assert account.margin.wallet == truth["wallet"]["amount"]
    return len(trades)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", [1, 7])
def test_ten_minutes_of_trading_end_equal_on_both_sides(style: str, seed: int) -> None:
    start = 1_764_000_000
    world = World(
        trading(orders={"style": style}, bot={"order_qty": 300}),
        policy=Then(cycle(700), start + 560),
        seed=seed,
    )
    world.run(600)
    assert world.bot.stop is None
    assert world.bot.faults == []
    fills = assert_both_sides_agree(world)
    assert fills > {"market": 200, "limit": 200, "post_only": 20}[style]
    assert positions_of(world) == (0, 0)
    assert world.working == []
    assert not world.bot.core.desk.arming.switch.may_stand, "nothing works, so nothing is guarded"
    assert world.exchange.pit.accounts[1].cancel_at_ns is None


def test_a_single_round_trip_realises_what_the_venue_says() -> None:
    policy = Target(300)
    world = World(trading(bot={"order_qty": 300}), policy=policy)
    world.run(60)
    assert_both_sides_agree(world)
    assert positions_of(world) == (300, 300)
    policy.target = 0
    world.run(30)
    assert assert_both_sides_agree(world) == 2
    assert positions_of(world) == (0, 0)


def test_a_target_on_the_other_side_is_reached_through_flat() -> None:
    policy = Target(300)
    world = World(trading(bot={"order_qty": 500}), policy=policy)
    world.run(20)
    policy.target = -300
    seen = []
    for _ in range(200):
        world.run(0.05)
        seen.append(world.bot.core.desk.account.ledger.qty)
    assert [qty for qty, _ in itertools.groupby(seen)][-3:] == [300, 0, -300]


def test_at_most_one_order_of_ours_works_at_any_time() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=cycle(300), seed=3)
    for _ in range(600):
        world.run(0.5)
        assert len(world.working) <= 1
    sent = [c.order.value.cl_ord_id for _, c in world.bot.done if isinstance(c, SendOrder)]
    assert len(sent) > 20
    assert len(set(sent)) == len(sent)
    assert all(name.startswith("chp-test-1-") for name in sent)


def test_no_position_ever_exceeds_the_limit() -> None:
    world = World(trading(bot={"order_qty": 300, "max_position": 500}), policy=cycle(5_000), seed=5)
    for _ in range(120):
        world.run(0.5)
        assert abs(positions_of(world)[1]) <= 500
    assert abs(world.bot.core.desk.account.ledger.qty) <= 500


def test_the_switch_is_refreshed_while_orders_rest_and_disarmed_when_none_does() -> None:
    policy = Target(100)
    world = World(trading(orders={"style": "post_only"}), policy=policy, market=Calm())
    assert world.run(20, lambda: bool(world.working))
    for _ in range(59):
        world.run(1)
        assert len(world.working) == 1
        fires_ns = world.exchange.pit.accounts[1].cancel_at_ns
        assert fires_ns is not None
        assert fires_ns - world.now_ns > 44 * SECOND_NS
    assert len(world.sent("POST", "/order/cancelAllAfter")) == 4, "armed, and refreshed each 15 s"
    policy.target = 0
    world.run(15)
    assert world.working == []
    assert world.exchange.pit.accounts[1].cancel_at_ns is None


def test_the_switch_outlives_a_low_budget_which_keeps_a_reserve_for_it() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Calm())
    assert world.run(20, lambda: bool(world.working))
    for _ in range(90):
        world.run(1)
        world.arm("drain_budget", account=1) if int(world.now_s) % 20 == 0 else None
        assert len(world.working) == 1, "a resting order costs nothing, its cancel would"
    assert world.bot.said("fault", fault="budget_low")


def test_a_sick_bot_does_not_hold_the_switch_off() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Calm())
    world.run(35)
    assert len(world.sent("POST", "/order/cancelAllAfter")) == 3
    # The next reads fail at 41 s: nothing proves any more that we know what we do.
    for route in ("/order", "/position", "/execution/tradeHistory"):
        world.arm("error_500", route=route, method="GET")
    world.run(15)
    assert len(world.working) == 1
    assert len(world.sent("POST", "/order/cancelAllAfter")) == 3, "the one of 45 s is left out"


def test_a_bot_that_is_gone_lets_the_switch_take_its_orders() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Calm())
    assert world.run(30, lambda: bool(world.working))
    world.run(1)
    world.bot.die()
    world.run(58)
    assert len(world.working) == 1
    world.run(2)
    assert world.working == []
    (row,) = world.truth()["orders"]
    assert "cancelAllAfter" in row["text"]


def test_a_stop_leaves_no_order_and_no_timer_behind() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Calm())
    assert world.run(30, lambda: bool(world.working))
    world.bot.deliver(StopAsked("operator", "enough"))
    stop = world.run_to_stop(5)
    assert (stop.reason, stop.known) == ("operator", True)
    world.run(1)
    assert world.working == []
    assert world.exchange.pit.accounts[1].cancel_at_ns is None


def test_the_same_seed_gives_the_same_commands() -> None:
    digests = []
    for _ in range(2):
        world = World(trading(orders={"style": "limit"}), policy=cycle(300), seed=11)
        world.run(120)
        digests.append(world.bot.digest.entry())
    assert digests[0] == digests[1]
    assert digests[0].steps > 500


def test_another_seed_gives_other_commands() -> None:
    ends = []
    for seed in (1, 2):
        world = World(trading(), policy=cycle(), seed=seed)
        world.run(60)
        ends.append(world.bot.digest.entry())
    assert ends[0] != ends[1]


@pytest.mark.parametrize("style", STYLES)
def test_a_replay_of_the_recorded_events_gives_identical_commands(style: str) -> None:
    world = World(trading(orders={"style": style}), policy=cycle(300), seed=4)
    world.run(40)
    world.order_by(ANOTHER_HAND, "Buy", 100, 50_000.0)
    world.arm("accept_then_timeout", route="/order", method="POST", count=1)
    world.arm("cut")
    world.run(60)
    world.bot.deliver(StopAsked("operator", "enough"))
    world.run(5)
    again = Core(world.config, BitmexDialect("XBTUSD"), cycle().period_s)
    digest = CommandDigest()
    replayed = []
    for moment, event in world.bot.journal:
        commands = again.step(moment, event)
        digest.add(commands)
        replayed += [(moment.now_ns, command) for command in commands]
    assert replayed == world.bot.done
    assert digest.entry() == world.bot.digest.entry()


class LeftTheMark(Calm):
    """A book far above the mark: swept, or painted."""

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        floor.set_level("Buy", 650_000, 1000)
        floor.set_level("Sell", 650_001, 1000)


@pytest.mark.parametrize("style", ["market", "limit"])
def test_no_order_follows_a_book_that_left_the_mark(style: str) -> None:
    policy = Target(100)
    world = World(trading(orders={"style": style}), policy=policy, market=LeftTheMark())
    world.run(10)
    assert world.sent("POST", "/order") == []
    assert len(world.bot.said("order_denied", why=Denial.PRICE_COLLAR.value)) == 1
    policy.target = -100
    world.run(5)
    assert len(world.sent("POST", "/order")) == 1, "a sale up there costs nothing"
