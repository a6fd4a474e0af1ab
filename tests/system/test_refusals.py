"""A venue that will not have us, or whose clock is not ours: one clear stop, with its code."""

import pytest

from tests.system.rig import SHORT, TRADING, Bot, Seat, Venue

pytestmark = pytest.mark.processes
QUICK = (
    *SHORT,
    "feed.soft_stop_after_s=0.9",
    "feed.fault_after_s=1.8",
    "feed.sync_fault_after_s=2.5",
)


def stopped(bot: Bot, code: int, reason: str, words: str) -> None:
    """The one stop, told alike by exit code, last line of the log, and the file."""
    assert bot.ends() == code
    last = bot.events()[-1]
    assert (last["event"], last["reason"], last["code"]) == ("stopped", reason, code)
    assert words in last["detail"]
    assert bot.last_stop()["detail"] == last["detail"]
    assert "Traceback" not in bot.said


def test_a_wrong_secret_is_venue_refused(bot: Bot, seat: Seat) -> None:
    bot.start("trade", seat=seat, secret="a-wrong-secret-of-some-length")
    stopped(bot, 14, "venue_refused", "Signature not valid")


def test_a_wrong_key_is_venue_refused(bot: Bot, seat: Seat) -> None:
    bot.start("trade", seat=seat, key="a-wrong-key-of-some-length")
    stopped(bot, 14, "venue_refused", "Invalid API Key")


def test_a_key_that_is_disabled_is_venue_refused(bot: Bot, seat: Seat) -> None:
    seat.arm("refuse_login")
    bot.start("trade", seat=seat)
    stopped(bot, 14, "venue_refused", "This key is disabled")


def test_a_login_refused_on_the_websocket_alone_is_venue_refused(bot: Bot, seat: Seat) -> None:
    seat.arm("refuse_login", route="/realtime")
    bot.start("trade", seat=seat)
    stopped(bot, 14, "venue_refused", "This key is disabled")


def test_a_key_disabled_while_it_trades_is_venue_refused(bot: Bot, seat: Seat) -> None:
    bot.start("trade", *QUICK, *TRADING, seat=seat)
    bot.until(lambda: seat.trades())
    seat.arm("refuse_login")
    stopped(bot, 14, "venue_refused", "This key is disabled")


def test_a_ban_is_venue_refused_and_called_one(own_venue: Venue, bot: Bot) -> None:
    own_venue.arm("ban_403", route="/realtime")
    bot.start("trade", seat=own_venue.seat())
    stopped(bot, 14, "venue_refused", "banned")


@pytest.mark.parametrize("fault", ["hang_up", "refuse_upgrade"])
def test_a_venue_that_ends_every_login_is_feed_stale(
    own_venue: Venue, bot: Bot, fault: str
) -> None:
    own_venue.arm(fault, route="/realtime")
    bot.start("trade", *QUICK, seat=own_venue.seat())
    stopped(bot, 10, "feed_stale", "upgrade refused")
    tries = len(bot.named("stream_refused"))
    assert 2 <= tries <= 6, "again, but with growing pauses"


def test_a_venue_that_is_not_there_is_a_stop_in_words(bot: Bot, own_venue: Venue) -> None:
    seat = own_venue.seat()
    own_venue.process.kill()
    own_venue.process.wait()
    bot.start("trade", *QUICK, seat=seat)
    assert bot.ends() in (10, 19)
    assert "Connect" in bot.said
    assert bot.last_stop()["known"] is False
    assert "Traceback" not in bot.said


@pytest.mark.parametrize("ms", [600_000, -5_000])
def test_a_wrong_clock_is_clock_skew(own_venue: Venue, bot: Bot, ms: int) -> None:
    own_venue.arm("skew_clock", ms=ms)
    bot.start("trade", *QUICK, seat=own_venue.seat())
    stopped(bot, 15, "clock_skew", "clock")
    assert ("clock_skewed", "") in bot.faults()


def test_a_clock_that_goes_wrong_while_it_trades_is_clock_skew(own_venue: Venue, bot: Bot) -> None:
    seat = own_venue.seat()
    bot.start("trade", *QUICK, *TRADING, seat=seat)
    bot.until(lambda: seat.trades())
    own_venue.arm("skew_clock", ms=5_000)
    stopped(bot, 15, "clock_skew", "clock")


def test_a_withheld_image_is_feed_unsynced_and_names_the_stream(bot: Bot, seat: Seat) -> None:
    seat.arm("withhold_partial", table="margin")
    bot.start("trade", *QUICK, seat=seat)
    stopped(bot, 11, "feed_unsynced", "margin")


def test_a_refused_subscription_is_feed_unsynced_and_names_the_stream(bot: Bot, seat: Seat) -> None:
    seat.arm("refuse_subscription", table="trade")
    bot.start("trade", *QUICK, seat=seat)
    stopped(bot, 11, "feed_unsynced", "trade")
    assert "Max Pending" in bot.named("subscription_refused")[0]["detail"]


def test_an_image_that_never_comes_of_any_table_is_feed_stale(bot: Bot, seat: Seat) -> None:
    seat.arm("mute_all")
    bot.start("trade", *QUICK, seat=seat)
    stopped(bot, 10, "feed_stale", "no market data")
