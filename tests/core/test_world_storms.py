"""Storms against the whole core: never a ban by the venue's own rules, cancels stay possible (L4).

Each storm rages while an order of ours rests; one that leaves the cancels alone must see it gone.
"""

import itertools

import pytest

from chappie.model.enums import Lane
from chappie.model.records import Kept, Waits
from chappie.model.state import Mode
from chappie.model.timestamps import iso_ns
from chappie.model.units import SECOND_NS
from chappie.simulation.sockets import OUR_PEER
from chappie.simvenue.options import Limits
from tests.core.world import Calm, Target, World, trading

RESTING: dict[str, object] = {"style": "post_only"}
HOUR_NS = 3600 * SECOND_NS


def resting() -> tuple[World, Target]:
    """A bot with an order that rests where nothing trades."""
    policy = Target(0)
    world = World(trading(orders=RESTING), policy=policy, market=Calm())
    world.run(10)
    policy.target = 100
    assert world.run(10, lambda: bool(world.working))
    return world, policy


def never_banned(world: World) -> None:
    """The venue counts every answer of 400 and above, whatever it was about."""
    assert not world.venue.throttle.banned(world.now_ns, OUR_PEER)
    refused = [row for row in world.sent() if (row["status"] or 0) >= 400]
    for first in refused:
        minute = [row for row in refused if 0 <= row["atNs"] - first["atNs"] <= 60 * SECOND_NS]
        assert len(minute) <= 70, "near the hundred in a minute that earn a ban"


def test_in_a_storm_of_503_orders_wait_longer_and_longer_and_cancels_go_through() -> None:
    world, policy = resting()
    world.arm("overload_503", route="/order", method="POST")
    before = len(world.sent("POST", "/order"))
    for target in (0, 100, -100) * 7:
        policy.target = target
        world.run(5)
        if target == 0:
            assert world.working == []
    never_banned(world)
    assert world.bot.stop is None
    tries = world.sent("POST", "/order")[before:]
    assert 5 <= len(tries) <= 40
    assert len({tuple(row["clOrdID"]) for row in tries}) == len(tries), "never a blind retry"


@pytest.mark.parametrize("ms", [1_000, 5_000])
def test_in_a_storm_of_429_nobody_sends_before_the_time_that_was_told(ms: int) -> None:
    world, policy = resting()
    policy.target = 0
    before = len(world.sent())
    world.arm("throttle_429", ms=ms)
    world.run(58)
    never_banned(world)
    sent = world.sent()[before:]
    # Requests of one step leave together; after their answers, none before its time.
    waves = [row["atNs"] for row in sent]
    for told, later in itertools.pairwise(sent):
        gap_ns = later["atNs"] - told["atNs"]
        assert gap_ns < SECOND_NS // 2 or gap_ns >= ms * 1_000_000, waves
    assert any(row["method"] == "DELETE" for row in sent)


def test_orders_that_should_go_while_the_venue_wants_nothing_are_told_of_once() -> None:
    world, policy = resting()
    (order,) = world.working
    world.arm("throttle_429", ms=30_000)
    assert world.run(20, lambda: "budget_low" in world.bot.faults)
    world.arm("mute_all")
    policy.target = 0
    world.run_to_stop(30)
    (told,) = world.bot.said("cancels_wait")
    assert told.fields["clOrdID"] == [order["clOrdID"]]
    fires_ns = world.exchange.pit.accounts[1].cancel_at_ns
    assert fires_ns is not None
    assert abs((iso_ns(str(told.fields["switch_fires"])) or 0) - fires_ns) < SECOND_NS
    assert not world.sent("DELETE", "/order")


def test_a_429_on_order_entry_alone_lets_the_cancel_through_when_its_time_is_over() -> None:
    world, policy = resting()
    world.arm("throttle_429", route="/order", method="POST", ms=2_000)
    policy.target = -100
    world.run(3)
    policy.target = 0
    assert world.run(5, lambda: not world.working)
    world.run(60)
    never_banned(world)


@pytest.mark.parametrize("fault", ["error_500", "error_502"])
def test_a_venue_that_answers_nothing_but_errors_is_asked_ever_more_slowly(fault: str) -> None:
    world, policy = resting()
    policy.target = 0
    world.arm(fault)
    world.run(150)
    never_banned(world)
    assert world.bot.stop is not None
    assert world.bot.stop.reason in ("order_unresolved", "venue_degraded")


def test_while_somebody_else_spends_the_budget_only_the_reserve_is_used() -> None:
    world, policy = resting()
    for second in range(45):
        world.venue.throttle.drain(world.now_ns, 1)
        if second == 12:
            assert world.bot.core.snapshot(world.at()).mode is Mode.LOCKED
            created = len(world.sent("POST", "/order"))
            policy.target = 0
        world.run(1)
    assert world.working == [], "the cancel went through"
    never_banned(world)
    assert len(world.sent("POST", "/order")) == created
    policy.target = 100
    world.run(40)
    assert world.bot.core.snapshot(world.at()).mode is Mode.TRADING
    assert len(world.sent("POST", "/order")) > created


def test_a_venue_that_tells_no_budget_is_traded_at_by_our_own_count() -> None:
    policy = Target(100)
    world = World(trading(), policy=policy)
    world.arm("omit_ratelimit_headers")
    shown = world.bot.core.snapshot(world.at())
    assert (shown.mode, shown.rate_limit.locked) == (Mode.STARTING, True)
    world.run(4)
    assert world.bot.core.snapshot(world.at()).mode is Mode.LOCKED
    assert world.sent("POST", "/order") == [], "only the reserve is assumed"
    assert world.run(40, lambda: bool(world.sent("POST", "/order")))
    for step in range(30):
        policy.target = -100 if step % 2 else 100
        world.run(2)
    never_banned(world)
    assert not [row for row in world.sent() if row["status"] == 429]
    assert world.bot.core.snapshot(world.at()).rate_limit.limit is None


def test_an_order_waits_for_the_second_in_which_the_venue_has_room() -> None:
    policy = Target(100)
    limits = Limits(per_second=1)
    world = World(trading(), policy=policy, limits=limits)
    for step in range(12):
        world.run(4)
        policy.target = -100 if step % 2 else 100
    tries = world.sent("POST", "/order")
    assert len(tries) > 10
    assert {row["status"] for row in tries} == {200}


# --- the ban


def banned() -> World:
    world, _ = resting()
    world.arm("ban_403", count=1)
    assert world.run(15, lambda: world.bot.stop is not None)
    return world


def waits(records: list[Kept]) -> list[Waits]:
    return [record for record in records if isinstance(record, Waits)]


def test_a_ban_page_stops_at_once_and_nobody_sends_before_its_end() -> None:
    world = banned()
    assert world.bot.stop is not None
    assert world.bot.stop.reason == "venue_refused"
    assert not world.bot.stop.known
    (wait,) = waits(world.bot.kept)
    assert wait.banned
    assert wait.until_wall_ns == wait.wall_ns + HOUR_NS
    assert world.bot.core.rest(world.at()) == (wait.until_wall_ns, True)
    kept, sent = world.bot.kept, len(world.sent())
    for minutes in (0, 58):
        world.run(60 * minutes)
        world.start(2 + minutes, kept)
        stop = world.run_to_stop(2)
        assert stop.reason == "venue_refused"
        assert "banned until 20" in stop.detail
        assert "nobody sends before" in stop.detail
    assert len(world.sent()) == sent, "a start asks for nothing either"
    world.run(120)
    world.start(100, kept)
    world.run(20)
    assert world.bot.stop is None
    assert world.bot.faults == []


def test_a_long_retry_after_binds_the_next_process_too() -> None:
    world, _ = resting()
    world.arm("throttle_429", ms=8_000, count=1)
    assert world.run(15, lambda: bool(waits(world.bot.kept)))
    (wait,) = waits(world.bot.kept)
    assert not wait.banned
    assert wait.until_wall_ns == wait.wall_ns + 8 * SECOND_NS
    kept, before = world.bot.kept, len(world.sent())
    world.bot.die()
    world.start(2, kept)
    world.run(7)
    assert len(world.sent()) == before
    assert not world.bot.core.budget.is_open(Lane.CANCEL, world.at().now_ns)
    world.run(15)
    assert len(world.sent()) > before
    assert world.bot.stop is None


def test_a_wait_is_told_only_while_it_lasts() -> None:
    world, _ = resting()
    world.arm("throttle_429", ms=3_000, count=1)
    assert world.run(15, lambda: world.bot.core.rest(world.at()) != (0, False))
    until_ns, banned = world.bot.core.rest(world.at())
    assert not banned
    assert until_ns - world.at().wall_ns <= 3 * SECOND_NS
    world.run(4)
    assert world.bot.core.rest(world.at()) == (0, False)
