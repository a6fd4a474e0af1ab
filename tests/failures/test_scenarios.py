"""Reported failures (protocol section 9) that no other test tells as a story, against the
simulated venue on virtual time. The whole list is in `table.py`.
"""

from itertools import pairwise

import pytest

from chappie.model.commands import SendFrame
from chappie.model.units import SECOND_NS
from chappie.simvenue.market import MarketFloor
from tests.core.world import ANOTHER_HAND, STRANGER, Calm, Target, World, cycle, trading

PRIVATE = ("order", "execution", "position", "margin")
ORDER = {"route": "/order", "method": "POST"}


def held(world: World) -> int:
    rows = world.truth()["position"]
    return int(rows[0]["currentQty"]) if rows else 0


def trades(world: World) -> int:
    return sum(row["execType"] == "Trade" for row in world.truth()["executions"])


def booked(world: World) -> int:
    return world.bot.core.desk.account.ledger.fills


def ledger_qty(world: World) -> int:
    return world.bot.core.desk.account.ledger.qty


def orders_sent(world: World) -> int:
    return len(world.sent("POST", "/order"))


@pytest.mark.parametrize("table", PRIVATE)
def test_an_image_that_one_private_table_never_sends_holds_every_decision(table: str) -> None:
    """Failure 2: all others flow, and bots traded blind."""
    world = World(trading(), policy=cycle())
    world.arm("withhold_partial", table=table)
    world.run(60)
    assert world.bot.faults == [f"stream_unsynced:{table}"]
    assert world.sent("POST") == []
    assert len(world.bot.said("resubscribing", stream=table)) >= 4, "it is asked for again"
    world.clear()
    world.run(20)
    assert world.bot.faults == []
    assert orders_sent(world) > 0


def test_a_connection_that_closes_again_and_again_costs_no_fill_and_no_second_order() -> None:
    """Failure 6: sporadic closes."""
    world = World(trading(), policy=cycle(period_s=3.0))
    world.run(20)
    for lost, code in enumerate((1006, 1000, 1011, 1012, 1006, 1001), 1):
        world.arm("close", status=code)
        world.run(1)
        assert len(world.bot.said("stream_lost")) == lost
        orders = orders_sent(world)
        world.run(30)
        assert orders_sent(world) > orders
    world.run(10)
    assert len(world.bot.said("stream_lost")) == 6
    assert len(world.bot.said("reconciled")) >= 7, "before each next decision"
    assert booked(world) == trades(world)
    assert ledger_qty(world) == held(world)
    assert world.bot.faults == []


def test_an_idle_connection_is_spoken_on_long_before_the_venue_hangs_up() -> None:
    """Failures 5 and 6: a client that pings is not hung up on."""
    world = World(market=Calm())
    world.run(120)
    spoken = [at_ns for at_ns, done in world.bot.done if isinstance(done, SendFrame)]
    spoken.append(world.at().now_ns)
    assert max(later - one for one, later in pairwise(spoken)) <= 20 * SECOND_NS
    assert world.bot.said("stream_lost") == []


def falling_behind(world: World) -> None:
    """A feed whose every message comes later than the one before, until it is 16 s behind.

    It is never silent, and its messages keep their order.
    """
    world.run(20)
    for step in range(1, 33):
        world.clear()
        world.arm("delay", ms=500 * step)
        world.run(2)
    return world


def test_what_a_late_feed_says_of_our_orders_is_overtaken_by_rest() -> None:
    """Failure 8: minutes late, order updates made bots act on orders that were long over."""
    # The limit on age and the stop are not what is looked at here.
    slack = {"max_lag_s": 1000.0}
    world = World(trading(feed=slack), policy=cycle(period_s=2.0))
    falling_behind(world)
    assert world.run(60, lambda: trades(world) > booked(world))
    fills = trades(world)
    # reconcile.every_s, the grace, and a request: sooner than the stream.
    world.run(13)
    assert booked(world) >= fills
    world.clear()
    world.run(60)
    assert world.bot.stop is None
    assert world.bot.faults == []
    assert booked(world) == trades(world)
    assert ledger_qty(world) == held(world)
    names = [row["clOrdID"] for row in world.truth()["orders"]]
    assert len(names) == len(set(names))


def test_nothing_is_decided_on_a_market_that_is_sixteen_seconds_old() -> None:
    """Failure 8 and control F9: quotes and book are behind, agree with each other, and advance."""
    world = World(trading(feed={"fault_after_s": 300.0}), policy=cycle(period_s=2.0))
    falling_behind(world)
    assert world.bot.faults == ["feed_lags:quote"]
    assert world.working == []
    sent = orders_sent(world)
    world.run(30)
    assert orders_sent(world) == sent
    world.clear()
    world.run(60)
    assert world.bot.faults == []
    assert orders_sent(world) > sent


def test_a_feed_that_falls_behind_and_stays_there_stops_and_says_so() -> None:
    """Control F9: lag that lasts for feed.fault_after_s is `feed_stale`."""
    world = World(trading(), policy=cycle(period_s=2.0))
    falling_behind(world)
    stop = world.run_to_stop(30)
    assert stop.reason == "feed_stale"
    assert "old when it was handled" in stop.detail
    (told,) = world.bot.said("fault", fault="feed_lags")
    begun_s = next(ns for ns, done in world.bot.done if done is told) / SECOND_NS
    assert world.bot.stopped_s + 1 >= begun_s + 20
    assert world.bot.stopped_s <= begun_s + 22


class Thin(Calm):
    """One offer, which comes back only when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.offered = 1000

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        super().advance(at_ns, floor)
        if self.offered:
            floor.set_level("Sell", 600_001, self.offered)
            self.offered = 0


def test_a_market_order_that_finds_nobody_is_no_fill_and_is_decided_anew() -> None:
    """Failure 11: answered with 200, and Canceled."""
    policy, market = Target(0), Thin()
    world = World(trading(), policy=policy, market=market)
    world.run(10)
    # While the order waits for the engine, somebody else takes all that is offered.
    world.arm("queue", ms=500, count=1, account=1, **ORDER)
    policy.target = 100
    assert world.run(5, lambda: bool(world.bot.said("order_sent")))
    world.order_by(STRANGER, "Buy", 1000)
    world.run(5)
    (row,) = world.truth()["orders"]
    assert (row["ordStatus"], row["cumQty"]) == ("Canceled", 0)
    assert booked(world) == held(world) == 0
    assert world.bot.faults == []
    assert orders_sent(world) == 1, "without an offer there is nothing to buy at"
    market.offered = 1000
    world.run(10)
    assert held(world) == ledger_qty(world) == 100
    assert orders_sent(world) == 2


def test_a_duplicate_name_is_no_refusal_and_is_not_sent_again() -> None:
    """Failure 17: whoever took it for one sent the order again, and found another in its place."""
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm("refuse", status=400, text="Duplicate clOrdID", count=1, **ORDER)
    policy.target = 100
    assert world.run(5, lambda: bool(world.bot.said("order_in_doubt")))
    (doubt,) = world.bot.said("order_in_doubt")
    name = str(doubt.fields["clOrdID"])
    world.run(30)
    asked = [row for row in world.sent("GET", "/order") if name in row["query"]]
    assert len(asked) >= 2, "only the venue can tell what it is a duplicate of"
    names = [one for row in world.sent("POST", "/order") for one in row["clOrdID"]]
    assert (names.count(name), len(names)) == (1, 2)
    assert held(world) == ledger_qty(world) == 100


def test_a_storm_of_503_ends_in_the_position_that_was_wanted_and_not_more() -> None:
    """Failure 18: retried blindly and amended by what was left, far more was filled."""
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm("overload_503", for_ms=30_000)
    policy.target = 300
    world.run(90)
    refused = [row for row in world.sent("POST", "/order") if row["status"] == 503]
    assert 3 <= len(refused) <= 12
    names = [name for row in world.sent("POST", "/order") for name in row["clOrdID"]]
    assert len(names) == len(set(names)), "each is a decision of its own"
    assert held(world) == ledger_qty(world) == 300
    # Nothing is ever amended: a quantity that is left is not sent a second time.
    assert world.sent("PUT") == []


def test_reads_that_are_never_answered_stop_by_name_and_are_not_stormed() -> None:
    """Failure 19: endless timeouts, until a retry limit ended the bot with a crash."""
    world = World(trading(reconcile={"fault_after_s": 30.0}), policy=cycle())
    world.run(10)
    asked = len(world.sent("GET"))
    world.arm("lose_request", method="GET")
    stop = world.run_to_stop(90)
    assert stop.reason in ("venue_degraded", "order_unresolved")
    assert len(world.sent("GET")) - asked <= 60
    assert world.working == []


def test_a_venue_that_takes_no_upgrade_is_a_stop_after_few_tries() -> None:
    """Failure 25: the connects of an hour went within minutes, and then every upgrade was 429."""
    world = World(trading(), policy=cycle())
    world.run(20)
    world.arm("refuse_upgrade")
    world.arm("cut")
    before = len(world.sent("UPGRADE"))
    stop = world.run_to_stop(30)
    assert stop.reason == "feed_stale"
    # The guardian starts it five times anew: in all fewer than sixty an hour.
    assert len(world.sent("UPGRADE")) - before <= 8


def test_a_run_that_may_try_for_hours_does_not_storm_either() -> None:
    """Failure 25, with `feed.fault_after_s` set so long that nothing stops the run."""
    feed = {"fault_after_s": 4000.0, "sync_fault_after_s": 5000.0}
    world = World(trading(feed=feed), policy=cycle())
    world.run(20)
    world.arm("refuse_upgrade")
    world.arm("cut")
    before = len(world.sent("UPGRADE"))
    world.run(3600)
    # In any hour as many as feed.max_connects_per_hour; the first one has left this one.
    assert len(world.sent("UPGRADE")) - before == 40
    assert len(world.bot.said("connection_budget_used")) == 1
    world.clear()
    world.run(30)
    assert world.bot.faults == []


def test_a_start_that_the_history_does_not_explain_trades_nothing() -> None:
    """Failure 27: the history lacked what was older, here a fill while the bot was away."""
    world = World(trading(), policy=Target(100))
    world.run(20)
    kept = list(world.bot.kept)
    world.bot.die()
    late = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 100, "ordType": "Market"}
    world.ask("POST", "/order", late | {"clOrdID": "chp-test-0-9"}, user=ANOTHER_HAND)
    world.arm("empty_read", route="/execution/tradeHistory")
    sent = orders_sent(world)
    world.start(epoch=2, kept=kept)
    stop = world.run_to_stop(90)
    assert stop.reason == "position_mismatch"
    assert orders_sent(world) == sent
    # What was kept needs no history: it explains all but that one.
    assert ledger_qty(world) == 100


def test_private_feeds_that_fall_silent_beside_a_moving_book_are_made_up_for_by_rest() -> None:
    """Failure 28, of 2019-07-24: eight minutes, and REST worked."""
    world = World(trading(), policy=cycle())
    world.run(20)
    for table in PRIVATE:
        world.arm("mute_table", table=table)
    fills = booked(world)
    assert world.run(20, lambda: trades(world) > fills)
    world.run(15)
    # reconcile.every_s, the grace, and a request.
    assert booked(world) == trades(world) == fills + 1
    assert "stream_unsynced:position" in world.bot.faults
    sent = orders_sent(world)
    stop = world.run_to_stop(480)
    assert (stop.reason, stop.known) == ("feed_unsynced", True)
    assert orders_sent(world) == sent
    assert booked(world) == trades(world)


def test_an_engine_that_stands_still_is_a_stop_and_not_a_storm() -> None:
    """Failure 28, of 2019-12-20: 95 s of HTTP 500, and of silence on open websockets."""
    world = World(trading(), policy=cycle())
    world.run(20)
    asked = len(world.sent())
    world.arm("mute_all", for_ms=95_000)
    world.arm("error_500", for_ms=95_000)
    stop = world.run_to_stop(95)
    assert stop.reason in ("feed_stale", "order_unresolved")
    assert len(world.sent()) - asked <= 40
    kept = list(world.bot.kept)
    world.run(95)
    world.start(epoch=2, kept=kept)
    world.run(30)
    assert world.bot.faults == []
    assert booked(world) == trades(world)
    assert ledger_qty(world) == held(world)
