"""How old the market is when it is handled: by the venue's stamps, and by our own late steps."""

import pytest

from chappie.core.lag import Lag
from chappie.model.commands import SendOrder
from chappie.model.events import FrameReceived
from chappie.model.reports import QuoteSeen
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, Contracts, Ticks
from chappie.model.view import View
from tests.core.parts import WALL_NS, config
from tests.core.rig import BID, Rig
from tests.core.world import World, trading

LAGS = "feed_lags:quote"


def trusting(**sections: dict[str, object]) -> Rig:
    rig = Rig(config(bot={"allow_trade": True}, **sections))
    rig.switch_works = True
    rig.start()
    rig.wait(1, rig.quote)
    assert rig.faults == []
    return rig


def old_quote(rig: Rig, age_s: float) -> None:
    stamp = ns_iso(rig.at.wall_ns - round(age_s * SECOND_NS))
    row = rig.quote_row() | {"timestamp": stamp}
    rig.say("quote", "insert", row)


def quote(stamp: str | None) -> QuoteSeen:
    return QuoteSeen(Ticks(1), Contracts(1), Ticks(2), Contracts(1), stamp)


def test_age_is_what_the_clocks_do_not_explain() -> None:
    lag = Lag(2.0, 1.0)
    stamped = quote(ns_iso(WALL_NS))
    assert lag.age_ns(stamped, WALL_NS + 5 * SECOND_NS, -3 * SECOND_NS, 0) == 2 * SECOND_NS


def test_a_quote_is_looked_at_once_and_one_without_a_stamp_says_nothing() -> None:
    lag = Lag(2.0, 1.0)
    stamped = quote(ns_iso(WALL_NS))
    assert lag.age_ns(stamped, WALL_NS, 0, 0) == 0
    assert lag.age_ns(stamped, WALL_NS + SECOND_NS, 0, 0) is None
    assert lag.age_ns(quote(None), WALL_NS, 0, 0) is None
    assert lag.age_ns(quote("yesterday"), WALL_NS, 0, 0) is None


def test_a_tolerated_skew_is_no_lag_and_never_keeps_one_from_ending() -> None:
    for max_lag_s, max_skew_s in ((0.1, 1.0), (2.0, 1.0), (2.0, 5.0), (10.0, 0.5)):
        lag = Lag(max_lag_s, max_skew_s)
        assert max_skew_s * SECOND_NS < lag.over_ns < lag.limit_ns


@pytest.mark.parametrize(("age_s", "lags"), [(0.0, False), (1.9, False), (2.1, True), (60.0, True)])
def test_a_quote_that_is_old_when_it_is_handled_blocks_in_the_same_step(
    age_s: float, lags: bool
) -> None:
    rig = trusting()
    rig.now_ns += SECOND_NS // 2
    old_quote(rig, age_s)
    assert (rig.faults == [LAGS]) is lags
    asked = rig.core.trading.asked
    rig.wait(3, lambda: old_quote(rig, age_s))
    assert (rig.core.trading.asked == asked) is lags


def test_lag_is_over_only_when_it_is_clearly_less() -> None:
    rig = trusting()
    for age_s, expected in ((2.5, [LAGS]), (1.8, [LAGS]), (1.6, [LAGS]), (1.4, []), (1.9, [])):
        rig.now_ns += SECOND_NS // 4
        old_quote(rig, age_s)
        assert rig.faults == expected, age_s


def test_the_last_quote_of_a_quiet_market_grows_old_and_nothing_lags() -> None:
    rig = trusting()

    def deep_level() -> None:
        row = {"symbol": "XBTUSD", "id": 1, "side": "Buy", "price": BID, "size": rig.now_ns % 997}
        rig.say("orderBookL2", "update", row)

    rig.wait(60, deep_level)
    assert rig.faults == []


def test_the_old_quote_of_an_image_is_no_lag() -> None:
    rig = trusting()
    rig.drop()
    rig.wait(1)
    rig.open()
    rig.welcome()
    rig.say("quote", "partial", rig.quote_row() | {"timestamp": "2020-01-01T00:00:00.000Z"})
    rig.wait(1)
    assert LAGS not in rig.faults


def test_a_clock_that_is_off_within_tolerance_is_no_lag() -> None:
    """Measured where the welcome says it, and as far as it was measured not at all."""
    for said_s, real_s in ((-0.9, -0.9), (0.0, -0.9), (0.9, 0.9), (0.9, -0.9)):
        rig = Rig(config())
        rig.open()
        rig.welcome(said_s)
        for table in ("quote", "orderBookL2", "trade", "instrument"):
            rig.image(table)
        rig.now_ns += SECOND_NS
        old_quote(rig, -real_s)
        assert LAGS not in rig.faults, (said_s, real_s)


def test_lag_that_lasts_stops_at_the_fault_time_and_says_so() -> None:
    rig = trusting()
    rig.wait(19.5, lambda: old_quote(rig, 4.0))
    assert rig.faults == [LAGS]
    rig.wait(6, lambda: old_quote(rig, 4.0))
    assert rig.stop is not None
    assert rig.stop.reason == "feed_stale"
    assert rig.stop.detail == "quote: a quote was 4.00 s old when it was handled"


def test_a_lagging_feed_that_falls_quiet_is_asked_for_its_quote_and_believed() -> None:
    rig = trusting()
    sizes = iter(range(1000, 10_000))

    def deep_level() -> None:
        row = {"symbol": "XBTUSD", "id": 1, "side": "Buy", "price": BID, "size": next(sizes)}
        rig.say("orderBookL2", "update", row)

    rig.now_ns += SECOND_NS // 2
    old_quote(rig, 3.0)
    rig.wait(5.5, deep_level)
    assert rig.faults == ["stream_unsynced:quote", LAGS]
    assert len(rig.said("resubscribing")) == 1
    rig.say("quote", "partial", rig.quote_row() | {"timestamp": "2020-01-01T00:00:00.000Z"})
    rig.wait(3, deep_level)
    assert rig.faults == []


class Slow:
    """A policy that now and then thinks for long, and then changes its mind."""

    period_s = 1.0

    def __init__(self) -> None:
        self.world: World | None = None
        self.asked = self.target = 0

    def decide(self, view: View) -> int:
        self.asked += 1
        if self.world is not None and self.asked % 7 == 0:
            self.world.now_ns += 3 * SECOND_NS
            self.target = 100 - self.target
        return self.target


def test_what_came_while_the_policy_thought_is_read_before_an_order() -> None:
    policy = Slow()
    world = World(trading(), policy=policy)
    policy.world = world
    world.run(120)
    frames_ns = [at.now_ns for at, event in world.bot.journal if type(event) is FrameReceived]
    orders_ns = [at_ns for at_ns, done in world.bot.done if isinstance(done, SendOrder)]
    assert len(world.bot.said("woke_late")) > 5
    assert len(orders_ns) > 5
    for order_ns in orders_ns:
        assert any(order_ns - 2 * SECOND_NS < frame_ns <= order_ns for frame_ns in frames_ns)


def test_steps_that_come_late_again_and_again_take_no_decision() -> None:
    rig = trusting()

    def slow() -> None:
        rig.now_ns += 2 * SECOND_NS
        rig.quote()

    rig.wait(4, slow)
    assert "feed_lags:loop" not in rig.faults, "twice may be an accident"
    rig.wait(4, slow)
    assert "feed_lags:loop" in rig.faults
    asked = rig.core.trading.asked
    rig.wait(5, rig.quote)
    assert "feed_lags:loop" in rig.faults
    assert rig.core.trading.asked == asked
    rig.wait(8, rig.quote)
    assert rig.faults == []


def test_stamps_that_do_not_move_or_are_not_of_now_say_nothing() -> None:
    lag = Lag(2.0, 1.0)
    assert lag.age_ns(quote(ns_iso(WALL_NS)), WALL_NS, 0, 0) == 0
    assert lag.age_ns(quote(ns_iso(WALL_NS)), WALL_NS + 30 * SECOND_NS, 0, 0) is None
    assert not lag.not_of_now
    played = quote(ns_iso(WALL_NS + SECOND_NS))
    assert lag.age_ns(played, WALL_NS + 86_400 * SECOND_NS, 0, 0) is None
    assert lag.not_of_now


def test_a_recording_that_is_played_as_it_was_is_traded_on_and_told_of() -> None:
    rig = trusting()
    old_quote(rig, 86_400.0)
    rig.wait(0.5)
    assert LAGS not in rig.faults
    assert len(rig.said("quotes_not_of_now")) == 1
