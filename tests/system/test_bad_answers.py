"""What may come of a request: unknown is asked for, refused is believed, nothing is sent twice."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.system.rig import SHORT, TRADING, Bot, Played, Scene, Seat, Venue, agree, play

pytestmark = pytest.mark.processes
ORDER = {"route": "/order", "method": "POST"}
# With a dozen bots at once on a busy machine an answer takes a while; what is in doubt here is so
# by what the venue did, not by that.
CALM = (
    *SHORT,
    *TRADING,
    "orders.ack_timeout_s=1.2",
    "orders.resolve_within_s=10",
    "reconcile.fault_after_s=15",
    "feed.soft_stop_after_s=4",
    "feed.fault_after_s=9",
)
# With these silent only the answers to requests tell what became of an order. That the streams lack
# it would be a fault of theirs, which is not looked at here.
UNHURRIED = ("reconcile.grace_s=40", "reconcile.fault_after_s=60")
SILENT = (("mute_table", {"table": "order"}), ("mute_table", {"table": "execution"}))


def goes_on(played: Played) -> bool:
    """Two orders were taken after the strike."""
    return len([row for row in played.orders_since() if row["status"] == 200]) >= 2


def went_through(played: Played) -> bool:
    """An order after the one that was struck was taken."""
    rows = played.orders_since()
    struck = [number for number, row in enumerate(rows) if row["fault"] is not None]
    return bool(struck) and any(row["status"] == 200 for row in rows[struck[0] + 1 :])


def on_order(fault: str, **values: object) -> tuple[tuple[str, dict[str, Any]], ...]:
    return ((fault, {"count": 1, **ORDER, **values}),)


TAKEN: dict[str, Scene] = {
    "timeout": Scene(went_through, (*SILENT, *on_order("accept_then_timeout")), UNHURRIED),
    "hang up": Scene(went_through, (*SILENT, *on_order("hang_up", executes=True)), UNHURRIED),
    "500": Scene(went_through, (*SILENT, *on_order("error_500", executes=True)), UNHURRIED),
    "502": Scene(went_through, (*SILENT, *on_order("error_502", executes=True)), UNHURRIED),
    "half an answer": Scene(went_through, (*SILENT, *on_order("truncated_json")), UNHURRIED),
    # The wait for an answer (1.2 s) may end before the order can no longer arrive (2 s).
    "given up, then taken": Scene(went_through, (*SILENT, *on_order("queue", ms=1800)), UNHURRIED),
}
TOLD = {"timeout, told by the stream": Scene(went_through, on_order("accept_then_timeout"))}
LOST: dict[str, Scene] = {
    "lost": Scene(went_through, on_order("lose_request")),
    "lost by hang up": Scene(went_through, on_order("hang_up")),
    "lost by 500": Scene(went_through, on_order("error_500")),
    "lost by 502": Scene(went_through, on_order("error_502")),
}
REFUSED: dict[str, Scene] = {
    "overloaded": Scene(went_through, (("overload_503", {"count": 2}),)),
    "429": Scene(goes_on, on_order("throttle_429", ms=2000)),
    "400": Scene(went_through, on_order("refuse")),
}
READS: dict[str, Scene] = {
    f"half of {route}": Scene(
        lambda p: len(p.since("read_failed")) >= 2 and goes_on(p),
        (("truncated_json", {"route": route, "method": "GET", "count": 2}),),
    )
    for route in ("/order", "/execution/tradeHistory", "/position")
}
SCENES = {**TAKEN, **TOLD, **LOST, **REFUSED, **READS}


@pytest.fixture(scope="module")
def all_played(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    return play(venue, tmp_path_factory.mktemp("answers"), SCENES, CALM)


@pytest.fixture
def played(all_played: dict[str, Played], request: pytest.FixtureRequest) -> Played:
    found = all_played[request.param]
    if found.failure is not None:
        raise found.failure
    return found


def of(*names: str) -> Any:
    return pytest.mark.parametrize("played", names, indirect=True)


@of(*SCENES)
def test_the_accounts_agree_and_no_request_for_an_order_was_repeated(
    played: Played, request: pytest.FixtureRequest
) -> None:
    bot, seat = played.bot, played.seat
    assert played.code == 0
    assert "Traceback" not in bot.said
    agree(bot, seat, told=request.node.callspec.id not in TAKEN)
    # Promise 3: one clOrdID, one request, whatever became of it.
    names = [name for row in seat.new_orders() for name in row["clOrdID"]]
    assert len(names) == len(set(names))


def struck(played: Played) -> dict[str, Any]:
    """The request that was struck."""
    return next(row for row in played.orders_since() if row["fault"] is not None)


def named(row: dict[str, Any]) -> str:
    """The clOrdID of a request, also of one that the venue never looked into."""
    return str(json.loads(row["body"])["clOrdID"])


def doubts_about(played: Played, row: dict[str, Any]) -> list[dict[str, Any]]:
    return played.since("order_in_doubt", clOrdID=named(row))


@of(*TAKEN)
def test_an_order_taken_without_an_answer_is_found_before_the_next(played: Played) -> None:
    name = named(struck(played))
    log = played.bot.events()
    sent = [n for n, line in enumerate(log) if line["event"] == "order_sent"]
    this = next(n for n in sent if log[n]["clOrdID"] == name)
    following = next(n for n in sent if n > this)
    # By asking for it once it is in doubt, or by a reconciliation that was due before.
    told = [line["event"] for line in log[this:following] if line.get("clOrdID") == name]
    assert "order" in told or "fill" in told
    assert name in [row["clOrdID"] for row in played.seat.truth()["orders"]]


@of(*TOLD)
def test_what_the_stream_tells_is_not_in_doubt(played: Played) -> None:
    row = struck(played)
    assert not doubts_about(played, row)
    assert named(row) in [order["clOrdID"] for order in played.seat.truth()["orders"]]


@of(*LOST)
def test_an_order_lost_on_its_way_is_proven_absent_before_the_next(played: Played) -> None:
    lost = struck(played)
    name = named(lost)
    assert doubts_about(played, lost)
    assert name not in [row["clOrdID"] for row in played.seat.truth()["orders"]]
    requests = played.seat.requests()
    asked = [row["number"] for row in requests if row["method"] == "GET" and name in row["query"]]
    following = next(row for row in played.orders_since() if row["number"] > lost["number"])
    assert any(lost["number"] < number < following["number"] for number in asked)
    # Absence proves nothing before the request can no longer arrive: expires_after_s = 1.
    assert following["atNs"] - lost["atNs"] >= 1_000_000_000


@of("overloaded")
def test_an_overloaded_venue_is_left_alone_for_half_a_second(played: Played) -> None:
    one, other = [row for row in played.seat.new_orders() if row["status"] == 503]
    assert other["atNs"] - one["atNs"] >= 450_000_000
    # The documented 503 proves that the order was not accepted.
    assert not doubts_about(played, one)
    assert not doubts_about(played, other)


@of("429")
def test_a_rate_limit_is_waited_out_as_told(played: Played) -> None:
    (limited,) = [row for row in played.seat.requests() if row["status"] == 429]
    following = next(row for row in played.orders_since() if row["number"] > limited["number"])
    assert following["atNs"] - limited["atNs"] >= 1_900_000_000
    assert played.since("fault", fault="budget_low")


@of("400")
def test_a_plain_refusal_is_final_and_said_in_the_venue_s_words(played: Played) -> None:
    assert [line["detail"] for line in played.since("order_refused")] == ["Invalid orderQty"]
    assert not doubts_about(played, struck(played))


@of(*READS)
def test_a_failed_read_is_not_taken_for_an_empty_one(played: Played) -> None:
    assert not played.since("fault", fault="position_disagrees")
    assert not played.since("foreign_order")


def test_without_the_switch_no_order_leaves_and_the_venue_is_not_stormed(
    bot: Bot, seat: Seat
) -> None:
    seat.arm("error_500", route="/order/cancelAllAfter")
    bot.start("trade", *CALM, seat=seat)
    bot.until(lambda: len(bot.named("dead_man_unproven")) >= 3)
    assert seat.new_orders() == []
    times = [row["atNs"] for row in seat.changes()]
    assert all(later - one > 300_000_000 for one, later in pairwise(times))
    assert bot.stop() == 0


def test_a_switch_that_was_not_disarmed_is_disarmed_again(bot: Bot, seat: Seat) -> None:
    # The first request arms it; the second, which disarms, is hit.
    seat.arm("error_500", route="/order/cancelAllAfter", skip=1, count=1)
    bot.start("trade", *CALM, "policy.cycle.period_s=60", seat=seat)
    bot.until_event("dead_man_unproven")
    bot.until_event("dead_man_disarmed")
    switches = [row["status"] for row in seat.changes() if "cancelAllAfter" in row["path"]]
    assert switches[:3] == [200, 500, 200]
    assert bot.stop() == 0


def test_an_order_that_stays_unknown_stops_it_and_is_not_sent_again(bot: Bot, seat: Seat) -> None:
    soon = ("reconcile.fault_after_s=20", "orders.resolve_within_s=2.1")
    bot.start("trade", *CALM, *soon, seat=seat)
    bot.until(lambda: seat.trades())
    # The order is taken, its answer lost, and every question about orders fails.
    for fault, values in SILENT:
        seat.arm(fault, **values)
    seat.arm("accept_then_timeout", **ORDER)
    bot.until(lambda: any(row["fault"] for row in seat.new_orders()))
    seat.arm("error_500", route="/order", method="GET")
    assert bot.ends() == 12
    assert bot.last_stop()["known"] is False
    assert len([row for row in seat.new_orders() if row["fault"] is not None]) == 1
