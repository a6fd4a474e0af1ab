"""Start, observe-only and refusal of service, against the simulated venue."""

import pytest

from chappie.model.commands import AskPolicy, Log, SendCall
from chappie.model.enums import Stream
from chappie.simvenue.options import AccountOptions
from chappie.venues.bitmex.dialect import creates_or_amends
from tests.core.parts import config
from tests.core.world import OURS, READER, WITHDRAWER, Target, World, cycle, trading

NOBODY = AccountOptions(account=1, api_key="Z" * 24, secret="z" * 48)
FORGER = AccountOptions(account=1, api_key=OURS.api_key, secret="z" * 48)


def test_the_first_question_to_the_policy_comes_when_everything_is_known() -> None:
    world = World(policy=cycle())
    core = world.bot.core
    assert world.run(10, lambda: world.bot.asked_policy)
    assert all(core.streams.feed.synced(stream) for stream in Stream)
    assert core.market.book.best_bid is not None
    assert core.market.instrument is not None
    assert core.reconciler.ever_clean
    assert core.skew.offset_ns is not None
    reads = [c.call.path.partition("?")[0] for _, c in world.bot.done if isinstance(c, SendCall)]
    assert reads[:2] == ["/apiKey", "/instrument"]
    assert world.now_s < 10, "the first decision comes within ten seconds"


def test_what_is_merely_not_known_yet_warns_nobody() -> None:
    world = World(policy=cycle())
    assert world.run(10, lambda: world.bot.asked_policy)
    lines = [command for _, command in world.bot.done if isinstance(command, Log)]
    assert {line.fields["fault"] for line in lines if line.event == "fault"} >= {
        "stream_down",
        "instrument_unknown",
        "unreconciled",
    }
    assert [line for line in lines if line.level not in ("info", "debug")] == []
    # The same fault, once it was known to be otherwise, does warn.
    world.arm("cut")
    assert world.run(10, lambda: len(world.bot.said("fault", fault="stream_down")) == 2)
    assert world.bot.said("fault", fault="stream_down")[-1].level == "warning"


def test_observing_sends_nothing_that_creates_amends_or_arms() -> None:
    world = World(config(policy={"cycle": {"qty": 100}}), policy=cycle())
    world.run(600)
    assert world.bot.stop is None
    assert world.bot.faults == []
    assert world.bot.core.trading.would_be_orders == 60
    assert {row["method"] for row in world.sent()} == {"GET", "UPGRADE"}
    assert world.truth()["orders"] == []
    calls = [c.call for _, c in world.bot.done if isinstance(c, SendCall)]
    assert not [call for call in calls if creates_or_amends(call)]
    asked = [c for _, c in world.bot.done if isinstance(c, AskPolicy)]
    assert 118 <= len(asked) <= 121, "once each period"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (NOBODY, "Invalid API Key"),
        (FORGER, "Signature not valid"),
        (WITHDRAWER, "can withdraw"),
        (READER, "no permission to trade"),
    ],
)
def test_a_key_that_will_not_do_stops_before_anything_else(key: AccountOptions, words: str) -> None:
    world = World(trading(), policy=cycle(), key=key)
    stop = world.run_to_stop(10)
    assert stop.reason == "venue_refused"
    assert words in stop.detail
    assert not world.bot.asked_policy
    assert len(world.sent()) <= 3


def test_a_key_that_only_reads_is_enough_to_observe() -> None:
    world = World(policy=cycle(), key=READER)
    world.run(20)
    assert world.bot.stop is None
    assert world.bot.asked_policy


def test_a_key_that_can_withdraw_is_found_although_its_first_reading_is_lost() -> None:
    world = World(trading(), policy=cycle(), key=WITHDRAWER)
    world.arm("lose_request", route="/apiKey", count=2)
    stop = world.run_to_stop(30)
    assert stop.reason == "venue_refused"
    assert "can withdraw" in stop.detail
    assert not world.sent("POST")


@pytest.mark.parametrize("ahead_ms", [10_000, -10_000, 3_000, -3_000])
def test_a_wrong_clock_at_the_start_is_named_as_the_cause(ahead_ms: int) -> None:
    world = World(trading(), policy=Target(100))
    world.arm("skew_clock", ms=ahead_ms)
    stop = world.run_to_stop(30)
    assert stop.reason == "clock_skew"
    assert f"{ahead_ms / 1000:+.0f}"[0] in stop.detail
    assert 19 <= world.bot.stopped_s <= 23
    assert not world.sent("POST", "/order")


def test_a_clock_that_goes_wrong_while_trading_stops_new_orders_and_then_the_bot() -> None:
    world = World(trading(), policy=cycle())
    world.run(30)
    world.arm("skew_clock", ms=10_000)
    assert world.run(20, lambda: "clock_skewed" in world.bot.faults)
    orders = len(world.sent("POST", "/order"))
    stop = world.run_to_stop(30)
    assert stop.reason == "clock_skew"
    assert len(world.sent("POST", "/order")) == orders


def test_a_clock_within_the_limit_is_no_fault() -> None:
    world = World(trading(), policy=cycle())
    world.arm("skew_clock", ms=600)
    world.run(60)
    assert world.bot.stop is None
    assert len(world.sent("POST", "/order")) > 5


@pytest.mark.parametrize("ahead_ms", [2_500, -2_500])
def test_a_clock_that_drifts_is_found_by_reads_alone_while_nothing_is_armed(ahead_ms: int) -> None:
    world = World(config(), policy=cycle())
    for part in range(1, 11):
        world.run(12)
        assert "clock_skewed" not in world.bot.faults or part > 4
        # Too little at a time for any request to be refused.
        world.arm("skew_clock", ms=ahead_ms * part // 10)
    assert world.run(20, lambda: "clock_skewed" in world.bot.faults)
    assert not world.sent("POST", "/order/cancelAllAfter")
    assert world.run_to_stop(30).reason == "clock_skew"


def test_slow_answers_are_no_wrong_clock() -> None:
    world = World(trading(), policy=cycle())
    world.run(10)
    world.arm("delay_answer", ms=2_500)
    for _ in range(100):
        world.run(0.5)
        assert "clock_skewed" not in world.bot.faults


def test_a_venue_that_bans_us_is_left_in_peace() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100))
    assert world.run(20, lambda: bool(world.working))
    world.arm("ban_403")
    stop = world.run_to_stop(30)
    assert stop.reason == "venue_refused"
    assert not stop.known
    assert len([row for row in world.sent() if row["status"] == 403]) <= 6
