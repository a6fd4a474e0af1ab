"""What goes wrong at the venue, and what the bot does about it, seen from outside."""

import itertools

import pytest

from chappie.model.commands import CloseStream
from chappie.model.events import StopAsked
from chappie.model.units import SECOND_NS
from tests.core.world import ANOTHER_HAND, STRANGER, Calm, Target, World, cycle, trading

RESTING = {"style": "post_only"}


def with_order_working(**sections: dict[str, object]) -> World:
    """A post-only order that rests in a market in which nothing trades."""
    world = World(trading(orders=RESTING, **sections), policy=Target(100), market=Calm())
    assert world.run(20, lambda: bool(world.working)), "an order works"
    world.run(1)
    return world


def held(world: World) -> int:
    rows = world.truth()["position"]
    return int(rows[0]["currentQty"]) if rows else 0


# --- the market falls silent


def test_a_muted_market_is_left_at_five_seconds_its_orders_are_cancelled_and_it_stops() -> None:
    world = with_order_working()
    world.arm("mute_all")
    muted_s = world.now_s
    assert world.run(10, lambda: bool(world.bot.said("soft_stop")))
    # Silence counts from the last increment, at most half a second before the mute.
    assert 4.5 <= world.now_s - muted_s <= 5.25
    (detail,) = [str(line.fields["detail"]) for line in world.bot.said("soft_stop")]
    assert 5.0 <= float(detail.split()[4]) <= 5.25, "not before, and at most one check later"
    assert [c for _, c in world.bot.done if isinstance(c, CloseStream)]
    world.run(1)
    assert world.working == []
    assert world.sent("DELETE", "/order")
    orders = len(world.sent("POST", "/order"))
    stop = world.run_to_stop(30)
    assert (stop.reason, stop.known) == ("feed_stale", True)
    assert 19.5 <= world.bot.stopped_s - muted_s <= 20.5
    assert len(world.sent("POST", "/order")) == orders


def test_a_market_that_comes_back_is_traded_again() -> None:
    world = World(trading(), policy=cycle())
    world.run(20)
    world.arm("mute_all", for_ms=7_000)
    world.run(8)
    assert world.bot.said("soft_stop")
    world.run(8)
    before = world.bot.core.desk.account.ledger.fills
    world.run(30)
    assert world.bot.stop is None
    assert world.bot.faults == []
    assert world.bot.core.desk.account.ledger.fills > before


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("quote", "quote"), ("orderBookL2", "orderBook"), ("trade", "trade"),
        ("instrument", "instrument"), ("order", "order"), ("execution", "execution"),
        ("position", "position"), ("margin", "margin"),
    ],
)  # fmt: skip
def test_a_stream_whose_image_never_comes_stops_at_its_own_clock_by_name(
    table: str, name: str
) -> None:
    feed = {"sync_fault_after_s": 12.0, "fault_after_s": 100.0}
    world = World(trading(feed=feed), policy=cycle())
    world.arm("withhold_partial", table=table)
    stop = world.run_to_stop(30)
    assert stop.reason == "feed_unsynced"
    assert stop.detail.startswith(f"{name}:")
    assert 12.0 <= world.bot.stopped_s <= 12.5
    assert not world.bot.asked_policy


def test_a_cut_connection_is_opened_again_and_reconciled_before_the_next_order() -> None:
    world = World(trading(), policy=cycle())
    world.run(20)
    world.arm("cut")
    # A read that does not come back holds every decision.
    world.arm("lose_request", route="/position")
    world.run(1)
    orders = len(world.sent("POST", "/order"))
    world.run(10)
    assert "unreconciled" in world.bot.faults
    assert len(world.sent("POST", "/order")) == orders
    world.clear()
    world.run(15)
    assert world.bot.faults == []
    assert len(world.sent("POST", "/order")) > orders


@pytest.mark.parametrize("value", ["unknown_id", "crossed", "negative"])
def test_a_book_that_cannot_be_true_is_asked_for_anew(value: str) -> None:
    world = World(trading(), policy=cycle())
    world.run(10)
    world.arm("corrupt_book", value=value, count=1)
    assert world.run(10, lambda: bool(world.bot.said("resubscribing", stream="orderBook")))
    assert "stream_unsynced:orderBook" in world.bot.faults
    world.run(15)
    assert world.bot.faults == []


# --- orders of other hands and other runs


def test_a_foreign_order_is_reported_and_never_touched() -> None:
    world = World(trading(), policy=cycle())
    row = world.order_by(ANOTHER_HAND, "Buy", 100, 50_000.0)
    world.run(60)
    assert len(world.bot.said("foreign_order", orderID=row["orderID"])) == 1
    world.bot.deliver(StopAsked("operator", "enough"))
    world.run_to_stop(5)
    assert [one["orderID"] for one in world.working] == [row["orderID"]]
    assert not [one for one in world.sent() if row["orderID"] in one["body"]]


def test_another_account_is_none_of_our_business() -> None:
    world = World(trading(), policy=cycle())
    world.order_by(STRANGER, "Buy", 1000)
    world.run(60)
    assert world.bot.stop is None
    assert world.bot.faults == []


def test_a_leftover_order_is_cancelled_before_any_new_one() -> None:
    world = with_order_working()
    (left,) = world.working
    kept = world.bot.kept
    world.start(epoch=2, kept=kept)
    number = world.sent()[-1]["number"]
    assert world.run(10, lambda: bool(world.bot.said("order_sent")))
    since = [row for row in world.sent() if row["number"] > number]
    creating = [row["number"] for row in since if row["method"] == "POST"]
    cancels = [row for row in since if row["method"] == "DELETE"]
    assert [row["orderID"] for row in cancels] == [[left["orderID"]]]
    assert all(cancels[0]["number"] < one for one in creating)
    assert world.bot.said("leftover_orders")


def test_several_leftovers_go_in_one_request_and_a_refusal_is_repeated_slowly() -> None:
    world = with_order_working()
    kept = world.bot.kept
    world.bot.die()
    world.arm("refuse", route="/order", method="DELETE", count=2)
    world.start(epoch=2, kept=kept)
    world.run(10)
    assert len(world.sent("DELETE")) == 3
    assert all(row["clOrdID"].startswith("chp-test-2-") for row in world.working)


def test_a_position_that_another_hand_moved_stops_the_bot() -> None:
    world = World(trading(reconcile={"fault_after_s": 20.0}), policy=Target(0))
    world.run(10)
    world.order_by(ANOTHER_HAND, "Buy", 300)
    assert world.run(10, lambda: "position_disagrees" in world.bot.faults)
    stop = world.run_to_stop(30)
    assert stop.reason == "position_mismatch"
    assert "REST 300" in stop.detail
    assert "ledger 0" in stop.detail
    assert not stop.known


def test_a_moved_position_is_found_by_rest_alone_while_the_position_table_is_silent() -> None:
    config = trading(reconcile={"fault_after_s": 20.0})
    world = World(config, policy=Target(100))
    world.run(20)
    world.arm("mute_table", table="position")
    world.order_by(ANOTHER_HAND, "Buy", 300)
    stop = world.run_to_stop(60)
    assert stop.reason == "position_mismatch"
    assert "REST 400, websocket 100, ledger 100" in stop.detail


def test_a_position_that_the_ledger_does_not_explain_at_the_start_is_not_traded() -> None:
    world = World(trading(reconcile={"fault_after_s": 20.0}), policy=cycle())
    world.bot.die()
    world.order_by(ANOTHER_HAND, "Sell", 200)
    world.start(epoch=2)
    stop = world.run_to_stop(40)
    assert stop.reason == "position_mismatch"
    assert not world.sent("POST", "/order")


def test_a_start_with_what_was_kept_explains_the_position_and_trades_on() -> None:
    policy = Target(100)
    world = World(trading(), policy=policy)
    world.run(20)
    assert held(world) == 100
    world.start(epoch=2, kept=world.bot.kept)
    policy.target = 0
    world.run(20)
    assert world.bot.faults == []
    assert held(world) == 0
    assert world.bot.core.desk.account.ledger.qty == 0


def test_fills_that_came_while_the_bot_was_down_are_booked_at_the_start() -> None:
    world = with_order_working()
    world.bot.die()
    world.order_by(STRANGER, "Sell", 1100, 60_000.0)
    assert held(world) == 100
    world.start(epoch=2, kept=world.bot.kept)
    world.run(10)
    assert world.bot.core.desk.account.ledger.qty == 100
    assert world.bot.faults == []


# --- requests that fail


def test_an_accepted_order_without_an_answer_is_resolved_and_never_sent_twice() -> None:
    policy = Target(0)
    world = World(trading(reconcile={"every_s": 30.0}), policy=policy)
    world.run(10)
    for table in ("order", "execution", "position"):
        world.arm("mute_table", table=table, for_ms=6_000)
    world.arm("accept_then_timeout", route="/order", method="POST", count=1)
    policy.target = 100
    assert world.run(10, lambda: bool(world.bot.said("order_in_doubt")))
    world.run(20)
    assert len(world.sent("POST", "/order")) == 1
    assert held(world) == 100
    assert world.bot.core.desk.account.ledger.qty == 100
    assert world.bot.faults == []
    assert [row for row in world.sent("GET", "/order") if "clOrdID" in row["query"]]


def test_one_empty_answer_about_an_order_in_doubt_does_not_end_it() -> None:
    policy = Target(0)
    # The muted streams are not what is looked at here.
    config = trading(orders=RESTING, reconcile={"every_s": 30.0, "grace_s": 29.0})
    world = World(config, policy=policy, market=Calm())
    world.run(10)
    for table in ("order", "execution"):
        world.arm("mute_table", table=table, for_ms=20_000)
    world.arm("accept_then_timeout", route="/order", method="POST", count=1)
    policy.target = 100
    assert world.run(10, lambda: bool(world.bot.said("order_in_doubt")))
    (doubted,) = world.bot.core.desk.account.in_doubt
    assert doubted.request is not None
    world.arm("error_500", route="/order", method="GET")
    world.run((doubted.request.fence_ns - world.at().now_ns) / SECOND_NS)
    world.clear("error_500")
    world.arm("empty_read", route="/order", method="GET", count=1)
    world.run(8)
    assert world.venue.faults.struck, "it lied"
    assert len(world.sent("POST", "/order")) == 1
    assert [order.status for order in world.bot.core.desk.account.blotter.live()] == ["New"]


def test_a_lost_order_is_proven_absent_only_after_the_fence_and_then_traded_again() -> None:
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm("lose_request", route="/order", method="POST", count=1)
    policy.target = 100
    world.run(15)
    first, second = world.sent("POST", "/order")
    # Expiry two to three seconds after it was sent, plus one second for the clocks.
    assert second["atNs"] - first["atNs"] > 3_000_000_000
    queries = [row for row in world.sent("GET", "/order") if "clOrdID" in row["query"]]
    assert 1 <= len(queries) <= 8
    assert first["clOrdID"] != second["clOrdID"]
    assert held(world) == 100
    assert world.bot.faults == []


def test_an_order_that_arrives_late_is_refused_by_its_expiry_and_nothing_is_doubled() -> None:
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm("delay_request", route="/order", method="POST", ms=3_500, count=1)
    policy.target = 100
    world.run(30)
    late, again = world.sent("POST", "/order")
    assert {late["executed"], again["executed"]} == {False, True}
    assert held(world) == 100
    assert world.bot.faults == []


@pytest.mark.parametrize("executes", [True, False])
@pytest.mark.parametrize("fault", ["error_500", "error_502", "hang_up"])
def test_an_error_of_unknown_meaning_is_asked_about_before_anything_else(
    fault: str, executes: bool
) -> None:
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm(fault, route="/order", method="POST", count=1, executes=executes)
    policy.target = 100
    world.run(20)
    assert held(world) == 100
    assert world.bot.core.desk.account.ledger.qty == 100
    assert len(world.sent("POST", "/order")) == (1 if executes else 2)
    assert world.bot.faults == []


def test_a_definite_503_is_no_doubt_and_is_retried_as_a_new_decision_not_sooner() -> None:
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm("overload_503", route="/order", method="POST", count=2)
    policy.target = 100
    world.run(10)
    tries = world.sent("POST", "/order")
    assert [row["status"] for row in tries] == [503, 503, 200]
    assert len({tuple(row["clOrdID"]) for row in tries}) == 3
    gaps = [(b["atNs"] - a["atNs"]) / 1e9 for a, b in itertools.pairwise(tries)]
    assert min(gaps) >= 0.5
    assert not world.bot.said("order_in_doubt")
    assert held(world) == 100


def test_a_429_is_waited_out() -> None:
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm("throttle_429", route="/order", method="POST", ms=4_000, count=1)
    policy.target = 100
    assert world.run(5, lambda: "budget_low" in world.bot.faults)
    limited = world.sent()[-1]["number"]
    world.run(3.5)
    assert [r["method"] for r in world.sent() if r["number"] > limited] == []
    world.run(5)
    assert held(world) == 100
    assert world.bot.faults == []


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("refuse", {"route": "/order", "method": "POST"}),
        ("refuse", {"route": "/order", "method": "DELETE"}),
        ("throttle_429", {"route": "/order", "method": "DELETE", "ms": 2_000}),
        ("error_500", {"route": "/order/cancelAllAfter"}),
        ("error_502", {}),
        ("overload_503", {"route": "/order"}),
        ("lose_request", {"route": "/order"}),
        ("hang_up", {}),
    ],
)
def test_a_venue_that_keeps_failing_is_not_stormed_into_a_ban(
    fault: str, fields: dict[str, object]
) -> None:
    policy = Target(100)
    world = World(trading(orders=RESTING), policy=policy)
    world.run(10)
    world.arm(fault, **fields)
    before = len(world.sent())
    for step in range(8):
        policy.target = -100 if step % 2 else 100
        world.run(5)
        if world.bot.stop is not None:
            break
    sent = world.sent()[before:]
    assert world.bot.stop is None or world.bot.stop.reason != "venue_refused"
    assert len([row for row in sent if (row["status"] or 0) >= 400]) < 60
    assert len(sent) < 100


def test_orders_that_are_refused_again_and_again_are_tried_ever_more_slowly() -> None:
    policy = Target(100)
    world = World(trading(), policy=policy)
    world.arm("refuse", route="/order", method="POST", text="Invalid orderQty")
    world.run(60)
    tries = world.sent("POST", "/order")
    assert 8 <= len(tries) <= 12
    assert (tries[-1]["atNs"] - tries[-2]["atNs"]) >= 10 * SECOND_NS
    world.clear()
    world.run(15)
    assert held(world) == 100
    policy.target = 0
    world.run(1.5)
    policy.target = 100
    world.run(2)
    assert len(world.sent("POST", "/order")) >= len(tries) + 3, "one that is taken ends the series"


def test_requests_that_fail_for_too_long_stop_the_process() -> None:
    world = World(trading(reconcile={"fault_after_s": 30.0}), policy=Target(0))
    world.run(10)
    world.arm("error_502")
    stop = world.run_to_stop(90)
    assert stop.reason == "venue_degraded"


def test_a_failed_read_is_not_an_empty_one() -> None:
    world = with_order_working()
    (order,) = world.working
    for route in ("/order", "/position", "/execution/tradeHistory"):
        world.arm("truncated_json", route=route, method="GET", count=2)
    world.run(15)
    assert [row["orderID"] for row in world.working] == [order["orderID"]]
    assert world.bot.stop is None
    assert not world.bot.said("order", ordStatus="Canceled")
    assert world.bot.said("read_failed")


# --- the instrument


def test_a_closed_instrument_takes_our_orders_away_and_opens_again() -> None:
    world = with_order_working()
    world.arm("instrument_state", value="Closed")
    world.run(2)
    assert "instrument_not_open" in world.bot.faults
    assert world.working == []
    orders = len(world.sent("POST", "/order"))
    world.run(10)
    assert len(world.sent("POST", "/order")) == orders
    world.clear()
    world.run(5)
    assert world.bot.faults == []
    assert len(world.working) == 1


def test_orders_that_the_venue_took_away_are_noticed_and_placed_anew() -> None:
    world = with_order_working()
    (order,) = world.working
    world.arm("mute_table", table="order")
    world.ask("DELETE", "/order", {"orderID": order["orderID"]}, user=ANOTHER_HAND)
    world.run(15)
    assert world.bot.faults == ["stream_unsynced:order"]
    world.clear()
    world.run(15)
    (new,) = world.working
    assert new["orderID"] != order["orderID"]
    assert world.bot.stop is None


def test_funding_is_booked_as_funding_and_not_as_a_fill() -> None:
    # From 16:00 to 20:00 UTC, the venue's next funding instant.
    policy = Target(100)
    # Four hours of virtual time: nothing is looked for so often that it would matter here.
    seldom = trading(feed={"check_every_s": 1.0}, reconcile={"every_s": 30.0})
    world = World(seldom, policy=policy, market=Calm())
    world.run(4 * 3600 + 30)
    ledger = world.bot.core.desk.account.ledger
    assert world.bot.stop is None
    assert (ledger.qty, ledger.fills) == (100, 1)
    paid = [r for r in world.truth()["executions"] if r["execType"] == "Funding"]
    assert ledger.funding == sum(row["execComm"] for row in paid)
    assert len(paid) == 1
