"""A silence is probed once, and the soft stop says who still answered."""

import pytest

from chappie.core.probe import Probe
from chappie.model.commands import CloseStream, SendCall, SendFrame
from chappie.model.units import SECOND_NS
from tests.core.parts import config as configured
from tests.core.rig import BID, Rig
from tests.core.world import Calm, World, trading


def silent_words(world: World) -> str:
    """What the first soft stop says of the cause."""
    assert world.run(10, lambda: bool(world.bot.said("soft_stop")))
    (told,) = world.bot.said("soft_stop")
    silence, _, cause = str(told.fields["detail"]).partition("; ")
    assert silence.startswith("no market data for 5.")
    return cause


def half_open(world: World) -> None:
    """The websocket is dead, and neither side is told."""
    for line in world.bot.sockets.lines():
        line.dead = True


@pytest.mark.parametrize(
    ("websocket", "rest", "cause"),
    [
        ("mute_all", "", "ping and REST are answered: the venue's feed is silent, or the market"),
        ("half_open", "", "REST is answered and no ping: the websocket is dead"),
        ("mute_all", "error_502", "ping is answered and no REST: the venue is in trouble"),
        ("half_open", "unreachable", "neither ping nor REST is answered: our link is down"),
    ],
)
def test_the_soft_stop_names_who_is_silent(websocket: str, rest: str, cause: str) -> None:
    world = World()
    world.run(10)
    if websocket == "half_open":
        half_open(world)
    else:
        world.arm(websocket)
    if rest == "unreachable":
        world.network.unreachable_until_ns = world.now_ns + 60 * SECOND_NS
    elif rest:
        # Not before the probe, or no request would be to spare for it.
        world.run(2)
        world.arm(rest)
    assert silent_words(world).startswith(cause)


def test_the_stop_that_follows_says_who_was_silent() -> None:
    world = World()
    world.run(10)
    world.arm("mute_all")
    stop = world.run_to_stop(30)
    assert stop.reason == "feed_stale"
    assert "ping and REST are answered" in stop.detail


def asked(world: World, since_ns: int) -> tuple[int, int]:
    """Pings, and reads of the instrument."""
    done = [command for ns, command in world.bot.done if ns > since_ns]
    pings = sum(isinstance(one, SendFrame) and one.payload == b"ping" for one in done)
    calls = [one.call.path for one in done if isinstance(one, SendCall)]
    return pings, sum(path.startswith("/instrument") for path in calls)


def test_a_probe_is_one_ping_and_one_read_at_half_the_silence_and_postpones_nothing() -> None:
    world = World(trading(reconcile={"every_s": 60.0, "fault_after_s": 90.0}))
    # Just after a ping that keeps the connection alive.
    world.run(16)
    world.arm("mute_all")
    silent_ns = world.bot.core.streams.feed.soft_since_ns
    muted_ns = world.at().now_ns
    world.run(10, lambda: asked(world, muted_ns) != (0, 0))
    assert asked(world, muted_ns) == (1, 1)
    assert 2.5 * SECOND_NS <= world.at().now_ns - silent_ns <= 2.75 * SECOND_NS
    world.run(10, lambda: bool(world.bot.said("soft_stop")))
    assert asked(world, muted_ns) == (1, 1)
    assert 5 * SECOND_NS <= world.at().now_ns - silent_ns <= 5.25 * SECOND_NS


def test_no_read_is_spent_on_a_probe_while_the_venue_wants_none() -> None:
    world = World(trading())
    world.run(16)
    world.bot.core.budget.pause(world.at().now_ns, 60.0)
    world.arm("mute_all")
    muted_ns = world.at().now_ns
    cause = silent_words(world)
    assert asked(world, muted_ns) == (1, 0)
    assert cause == "ping is answered, REST was not asked"


def test_a_market_that_moves_is_not_probed() -> None:
    world = World(trading(), market=Calm())
    world.run(8)
    since_ns = world.at().now_ns
    world.run(60)
    pings, reads = asked(world, since_ns)
    assert pings == 4, "those that keep the connection alive"
    assert reads == 0


def test_what_was_answered_in_an_earlier_silence_says_nothing_of_this_one() -> None:
    probe = Probe()
    probe.asked(1, rest=True)
    probe.ponged()
    probe.rest_answered()
    assert probe.words(1).startswith("ping and REST")
    assert probe.words(2) == "not probed"
    probe.asked(2, rest=True)
    assert probe.words(2).startswith("neither")


def test_a_probe_that_finds_another_tick_ends_what_was_mirrored_in_the_old_one() -> None:
    rig = Rig(configured())
    rig.start()
    rig.wait(2)
    assert rig.core.streams.feed.all_synced
    rig.instrument["tickSize"] = 0.05
    rig.wait(2)
    # The one read of the probe; the stream has told nothing of it yet.
    assert "instrument_unknown" in str(rig.said("fault"))
    assert not rig.core.streams.feed.all_synced
    assert any(isinstance(one, CloseStream) for one in rig.done)
    # What follows is mirrored by the new terms.
    rig.wait(2)
    rig.start()
    assert rig.core.streams.feed.all_synced
    assert rig.core.market.price(rig.core.market.book.best_bid) == BID


def test_a_read_that_still_says_open_does_not_overrule_a_stream_that_says_closed() -> None:
    rig = Rig(configured())
    rig.start()
    rig.silent.append("/instrument")
    rig.wait(4)
    probe = rig.asked_for("GET", rig.calls("GET", "/instrument")[-1].path)
    rig.say("instrument", "update", {"symbol": "XBTUSD", "state": "Closed"})
    assert "instrument_not_open" in rig.faults
    rig.answer(probe, [{**rig.instrument, "state": "Open"}])
    assert {"instrument_not_open", "stream_unsynced:instrument"} <= set(rig.faults)
    # The new image has the last word.
    rig.instrument["state"] = "Closed"
    rig.image("instrument")
    assert "instrument_not_open" in rig.faults
    assert "stream_unsynced:instrument" not in rig.faults


def test_where_the_stream_lost_the_word_that_it_opens_a_read_brings_a_new_image() -> None:
    rig = Rig(configured())
    rig.start()
    rig.say("instrument", "update", {"symbol": "XBTUSD", "state": "Closed"})
    rig.wait(12, each=rig.quote)
    assert "stream_unsynced:instrument" in rig.faults
    rig.image("instrument")
    rig.say("instrument", "update", {"symbol": "XBTUSD", "markPrice": 60_000.5})
    assert not {"instrument_not_open", "stream_unsynced:instrument"} & set(rig.faults)
