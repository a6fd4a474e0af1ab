"""The websocket's life: one at a time, numbered, slower after each loss."""

from chappie.core.connection import Connection
from chappie.model.commands import Keep
from chappie.model.records import Connected
from chappie.model.units import SECOND_NS
from chappie.simvenue.options import Limits
from tests.core.parts import WALL_NS, at
from tests.core.world import World, cycle, trading

HOUR_S = 3600


def opened(now_ns: int = 0) -> Connection:
    connection = Connection(40)
    connection.opening(0)
    connection.opened(now_ns)
    return connection


def waits(connection: Connection, losses: int, now_ns: int = 0) -> list[float]:
    """How long each loss delays the next opening, in seconds."""
    found = []
    for _ in range(losses):
        connection.lost(now_ns)
        due_ns = now_ns
        while not connection.open_due(due_ns):
            due_ns += SECOND_NS // 4
        found.append((due_ns - now_ns) / SECOND_NS)
        connection.opening(0)
        now_ns = due_ns
    return found


def test_one_connection_is_opened_at_a_time_and_each_has_a_new_number() -> None:
    connection = Connection(40)
    assert connection.open_due(0)
    assert connection.opening(0) == 1
    assert not connection.open_due(10**12)
    connection.opened(5)
    assert not connection.open_due(10**12)
    connection.lost(10)
    assert connection.open_due(10**12)
    assert connection.opening(0) == 2


def test_each_loss_waits_twice_as_long_up_to_ten_seconds() -> None:
    assert waits(opened(), 7) == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_connection_that_settled_starts_the_waits_anew() -> None:
    connection = opened()
    waits(connection, 4)
    connection.opened(0)
    connection.settled(61 * SECOND_NS)
    assert waits(connection, 2) == [0.5, 1.0]


def test_a_connection_that_lives_just_past_its_images_is_one_of_a_series() -> None:
    connection = opened()
    waits(connection, 4)
    connection.opened(0)
    connection.settled(59 * SECOND_NS)
    assert waits(connection, 1) == [8.0]


def test_a_venue_that_says_nothing_within_ten_seconds_is_left() -> None:
    connection = opened(0)
    assert not connection.welcome_overdue(10 * SECOND_NS)
    assert connection.welcome_overdue(10 * SECOND_NS + 1)
    connection.welcome()
    assert not connection.welcome_overdue(10**12)


def test_a_welcome_does_not_outlive_its_connection() -> None:
    connection = opened()
    connection.welcome()
    connection.lost(1)
    connection.opening(0)
    connection.opened(2)
    assert not connection.welcomed


def test_the_budget_of_the_hour_is_free_again_as_the_oldest_connect_leaves_it() -> None:
    connection = Connection(3)
    for second in (0, 10, 20):
        assert connection.budget_wait_ns(at(second).now_ns) == 0
        assert connection.reached(at(second)) == Connected(at(second).wall_ns)
    assert not connection.open_due(at(21).now_ns)
    assert connection.budget_wait_ns(at(21).now_ns) == (HOUR_S - 21) * SECOND_NS
    assert not connection.open_due(at(HOUR_S).now_ns - 1)
    assert connection.open_due(at(HOUR_S).now_ns)
    connection.reached(at(HOUR_S))
    assert connection.budget_wait_ns(at(HOUR_S).now_ns) == 10 * SECOND_NS


def test_a_budget_of_one_allows_one() -> None:
    connection = Connection(1)
    connection.reached(at(0))
    connection.reached(at(HOUR_S))
    assert connection.budget_wait_ns(at(HOUR_S + 1).now_ns) == (HOUR_S - 1) * SECOND_NS


def test_connects_of_earlier_runs_count_by_their_age_and_from_the_future_as_of_now() -> None:
    ages_s = (2 * HOUR_S, 3000, -500)
    kept = [Connected(WALL_NS - age_s * SECOND_NS) for age_s in ages_s]
    for budget, wait_s in ((2, HOUR_S - 3000), (3, 0), (4, 0)):
        connection = Connection(budget)
        connection.restore(at(0), kept)
        assert connection.budget_wait_ns(0) == wait_s * SECOND_NS
    connection = Connection(1)
    connection.restore(at(0), kept)
    assert connection.budget_wait_ns(0) == HOUR_S * SECOND_NS


def test_a_used_budget_stops_in_words_and_holds_through_a_restart() -> None:
    feed = {"max_connects_per_hour": 3}
    world = World(trading(feed=feed), policy=cycle())
    for _ in range(3):
        world.run(30)
        world.arm("cut")
    stop = world.run_to_stop(30)
    assert stop.reason == "feed_stale"
    assert stop.detail.startswith("connection budget used: next in 34")
    connects = [record for record in world.bot.kept if isinstance(record, Connected)]
    assert len(connects) == len(world.sent("UPGRADE")) == 3
    again = world.start(2, world.bot.kept)
    stop = world.run_to_stop(30)
    assert stop.detail.startswith("connection budget used: next in 34")
    assert len(world.sent("UPGRADE")) == 3
    # The oldest left the window: one more, and it trades.
    world.now_ns += 3500 * SECOND_NS
    world.venue.advance(world.now_ns)
    world.perform()
    last = world.start(3, (*connects, *[r for r in again.kept if not isinstance(r, Connected)]))
    world.run(15)
    assert len(world.sent("UPGRADE")) == 4
    assert last.stop is None


def test_attempts_that_reach_nobody_use_no_budget() -> None:
    slack = {"fault_after_s": 600.0}
    feed = {**slack, "sync_fault_after_s": 600.0}
    world = World(trading(feed=feed, reconcile=slack), policy=cycle())
    world.run(20)
    assert world.bot.sockets.cut()
    world.network.unreachable_until_ns = world.now_ns + 500 * SECOND_NS
    world.run(495)
    assert len(world.bot.said("stream_refused")) > 45
    assert sum(isinstance(record, Connected) for record in world.bot.kept) == 1
    assert world.run(30, lambda: world.bot.faults == [])


def test_every_connect_is_kept_as_the_venue_answers_it() -> None:
    world = World()
    world.run(5)
    world.arm("refuse_upgrade", status=503, count=1)
    world.arm("cut")
    world.run(10)
    kept = [done.record for _, done in world.bot.done if isinstance(done, Keep)]
    assert sum(isinstance(record, Connected) for record in kept) == 3
    assert len(world.sent("UPGRADE")) == 3


def test_a_venue_that_grants_no_more_connects_is_asked_again_when_it_says() -> None:
    feed = {"fault_after_s": 3000.0, "sync_fault_after_s": 3000.0}
    world = World(trading(feed=feed), policy=cycle(), limits=Limits(ws_connects_per_hour=2))
    for _ in range(2):
        world.run(20)
        world.arm("cut")
    world.run(2)
    before = len(world.sent("UPGRADE"))
    (down,) = [fault for fault in world.bot.core.faults.all() if fault.fault.value == "stream_down"]
    assert "429" in down.detail
    world.run(1700)
    assert len(world.sent("UPGRADE")) == before == 3, "3600 s / 2 were asked for"
    # Nobody else was kept from anything: requests have their own budget.
    assert world.bot.said("fault", fault="budget_low") == []
    world.run(150)
    assert len(world.sent("UPGRADE")) == 4
    assert world.bot.faults == []
