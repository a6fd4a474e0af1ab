"""One stream falls silent while all others flow, or the whole feed again and again for a while."""

import pytest

from tests.system.rig import SHORT, TRADING, Bot, Played, Scene, Seat, Venue, agree, play

pytestmark = pytest.mark.processes
# What is muted owes its word within grace_s of what an answer or REST shows. Fills come all the
# time, so each of the private tables soon owes one; and no time to a stop is over meanwhile.
BUSY = (
    *SHORT,
    *TRADING,
    "orders.style=market",
    "policy.cycle.period_s=1.0",
    "feed.soft_stop_after_s=6",
    "feed.fault_after_s=12",
    "feed.sync_fault_after_s=25",
    "reconcile.fault_after_s=20",
)
# The two halves of the market are each other's evidence: what contradicts is not known to be wrong.
NAMED = {
    "order": ("order",),
    "execution": ("execution",),
    "position": ("position",),
    "margin": ("margin",),
    "quote": ("quote", "orderBook"),
    "orderBookL2": ("quote", "orderBook"),
}


def scene(table: str) -> Scene:
    def is_named(played: Played) -> bool:
        faults = played.since("fault", fault="stream_unsynced")
        return {line["subject"] for line in faults} >= set(NAMED[table])

    strikes = (("mute_table", {"table": table}),)
    return Scene(is_named, strikes, within_s=40.0, when=lambda played: played.bot.fills())


SCENES = {table: scene(table) for table in NAMED}


@pytest.fixture(scope="module")
def all_played(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    return play(venue, tmp_path_factory.mktemp("muted"), SCENES, BUSY)


@pytest.mark.parametrize("table", SCENES)
def test_a_stream_that_is_muted_alone_is_named_and_no_order_follows(
    all_played: dict[str, Played], table: str
) -> None:
    played = all_played[table]
    if played.failure is not None:
        raise played.failure
    named = {str(line["subject"]) for line in played.since("fault", fault="stream_unsynced")}
    assert named == set(NAMED[table])
    # Not one of the others was taken for silent, and the socket was not.
    assert played.since("soft_stop") == []
    assert played.since("fault", fault="stream_down") == []
    lines = played.bot.events()[played.before :]
    first = next(n for n, line in enumerate(lines) if line.get("fault") == "stream_unsynced")
    assert [line for line in lines[first:] if line["event"] == "order_sent"] == []
    assert played.code == 0
    agree(played.bot, played.seat, told=False)


def test_a_feed_that_speaks_now_and_then_does_not_escape(bot: Bot, seat: Seat) -> None:
    """Each word comes in time for the hard stop; the third soft stop ends the run all the same."""
    slow = ("feed.soft_stop_after_s=1", "feed.fault_after_s=6", "feed.sync_fault_after_s=30")
    bot.start("trade", *SHORT, *TRADING, *slow, seat=seat)
    bot.until(lambda: bot.fills())

    def speaks_again() -> bool:
        gone = bot.process is not None and bot.process.poll() is not None
        return gone or len(bot.named("fault_cleared", fault="market_stale")) == before + 1

    for number in (1, 2, 3):
        before = len(bot.named("fault_cleared", fault="market_stale"))
        seat.arm("mute_all")
        bot.until(lambda number=number: len(bot.named("soft_stop")) == number)
        seat.mend()
        bot.until(speaks_again)
    assert bot.ends() == 10
    stop = bot.last_stop()
    assert stop["reason"] == "feed_stale"
    assert "again and again" in stop["detail"]
    assert seat.open_orders() == []
