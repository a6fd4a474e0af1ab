"""The websocket's life: one at a time, numbered, slower after each loss."""

from chappie.core.connection import Connection
from chappie.model.units import SECOND_NS


def opened(now_ns: int = 0) -> Connection:
    connection = Connection()
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
    connection = Connection()
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
