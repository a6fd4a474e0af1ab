"""Silence to the period: each threshold not before its time, and at most one check later."""

import pytest

from chappie.model.units import SECOND_NS
from chappie.simulation.world import T0
from chappie.simvenue.market import MarketFloor
from tests.core.world import Calm, World, cycle, trading

TABLES = {
    "quote": "quote", "orderBookL2": "orderBook", "trade": "trade", "instrument": "instrument",
    "order": "order", "execution": "execution", "position": "position", "margin": "margin",
}  # fmt: skip


class Pulse(Calm):
    """A calm market that moves twice a second for so long, and then only so often, or never."""

    def __init__(self, until_s: float, every_s: float = 100_000.0) -> None:
        super().__init__()
        self._until_ns = T0 + round(until_s * SECOND_NS)
        self._every_ns = round(every_s * SECOND_NS)

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        super().advance(at_ns, floor)
        if at_ns >= self._until_ns:
            self._due_ns = at_ns + self._every_ns


def when_s(world: World, event: str, **fields: object) -> float:
    """When a line was first said, since the start."""
    told = world.bot.said(event, **fields)[0]
    (at_ns,) = [at_ns for at_ns, done in world.bot.done if done is told]
    return (at_ns + world.boot_ns - world.bot.born_ns) / SECOND_NS


def silent_s(world: World) -> float:
    """Since when the market is silent, since the start."""
    since_ns = world.bot.core.streams.feed.silent_since_ns
    return (since_ns + world.boot_ns - world.bot.born_ns) / SECOND_NS


@pytest.mark.parametrize("check_s", [0.1, 0.25, 1.0])
@pytest.mark.parametrize("soft_s", [2.0, 5.0])
def test_the_soft_stop_comes_within_one_check_of_its_time(soft_s: float, check_s: float) -> None:
    feed: dict[str, object] = {"soft_stop_after_s": soft_s, "check_every_s": check_s}
    world = World(trading(feed=feed), market=Pulse(until_s=11.3))
    assert world.run(30, lambda: bool(world.bot.said("soft_stop")))
    assert soft_s <= when_s(world, "soft_stop") - silent_s(world) <= soft_s + check_s + 0.001


@pytest.mark.parametrize("check_s", [0.1, 0.25, 1.0])
def test_the_hard_stop_comes_within_one_check_of_its_time_whatever_images_came(
    check_s: float,
) -> None:
    """Images come after each soft stop, and no increment ever; two soft stops are no flapping."""
    feed: dict[str, object] = {"check_every_s": check_s, "soft_stop_after_s": 8.0}
    world = World(trading(feed=feed), market=Pulse(until_s=11.3))
    stop = world.run_to_stop(60)
    assert stop.reason == "feed_stale"
    assert len(world.bot.said("streams_synced")) == 3, "it was all there again, and silent"
    assert 20.0 <= when_s(world, "stopping") - silent_s(world) <= 20.0 + check_s + 0.001


@pytest.mark.parametrize("table", TABLES)
def test_a_withheld_image_stops_at_its_own_clock_although_all_else_flows(table: str) -> None:
    """150 s, and asking for it again moves nothing."""
    world = World(trading(), policy=cycle())
    world.arm("withhold_partial", table=table)
    stop = world.run_to_stop(200)
    assert (stop.reason, stop.detail.split(":")[0]) == ("feed_unsynced", TABLES[table])
    assert 150.0 <= when_s(world, "stopping") <= 150.25
    assert len(world.bot.said("resubscribing", stream=TABLES[table])) > 10
    assert world.bot.said("soft_stop") == []


@pytest.mark.parametrize("table", ["order", "margin", "trade"])
def test_neither_a_reconnect_nor_an_image_of_another_moves_the_clock_of_a_stream(
    table: str,
) -> None:
    world = World(trading(), policy=cycle())
    world.run(20)
    world.arm("withhold_partial", table=table)
    world.arm("cut")
    world.run(1)
    lost_s = when_s(world, "stream_lost")
    for _ in range(3):
        world.run(30)
        world.arm("cut")
    stop = world.run_to_stop(100)
    assert (stop.reason, stop.detail.split(":")[0]) == ("feed_unsynced", table)
    assert 150.0 <= when_s(world, "stopping") - lost_s <= 150.25


@pytest.mark.parametrize("table", ["quote", "orderBookL2"])
def test_half_of_the_market_that_is_muted_alone_makes_both_halves_unsynced(table: str) -> None:
    """The other is the evidence: they contradict each other."""
    world = World(trading(), policy=cycle())
    world.run(20)
    world.arm("mute_table", table=table)
    both = ["stream_unsynced:orderBook", "stream_unsynced:quote"]
    assert world.run(10, lambda: world.bot.faults == both)
    orders = len(world.sent("POST", "/order"))
    world.run(60)
    assert len(world.sent("POST", "/order")) == orders
    world.clear()
    world.run(20)
    assert world.bot.faults == []


@pytest.mark.parametrize("table", ["trade", "instrument"])
def test_a_silence_of_trades_or_terms_is_a_quiet_market(table: str) -> None:
    """They gate by sync only."""
    world = World(trading(), policy=cycle())
    world.run(20)
    world.arm("mute_table", table=table)
    orders = len(world.sent("POST", "/order"))
    world.run(60)
    assert world.bot.faults == []
    assert len(world.sent("POST", "/order")) > orders


@pytest.mark.parametrize("every_s", [6.0, 19.0])
def test_one_word_now_and_then_does_not_escape(every_s: float) -> None:
    """Each ends the silence in time for the hard stop; the third soft stop ends the run."""
    world = World(trading(), market=Pulse(until_s=11.3, every_s=every_s))
    stop = world.run_to_stop(100)
    assert stop.reason == "feed_stale"
    assert "again and again" in stop.detail
    assert len(world.bot.said("soft_stop")) == 3


def test_soft_stops_that_are_far_apart_do_not_end_the_run() -> None:
    world = World(trading(), policy=cycle())
    for _ in range(4):
        world.run(80)
        world.arm("mute_all", for_ms=5_500)
    world.run(60)
    assert len(world.bot.said("soft_stop")) == 4
    assert world.bot.stop is None
    assert world.bot.faults == []
