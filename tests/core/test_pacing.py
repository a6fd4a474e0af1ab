"""Pauses between repetitions."""

from chappie.core.pacing import Pace


def waits(pace: Pace, times: int) -> list[int]:
    found = []
    for number in range(times):
        pace.failed(1000 * number)
        found.append(pace.until_ns - 1000 * number)
    return found


def test_each_failure_in_a_row_waits_twice_as_long_up_to_the_bound() -> None:
    assert waits(Pace(5, 30), 5) == [5, 10, 20, 30, 30]
    assert waits(Pace(5), 3) == [5, 5, 5]


def test_a_success_waits_once_and_begins_a_new_series() -> None:
    pace = Pace(5, 30)
    waits(pace, 4)
    pace.succeeded(50)
    assert pace.until_ns == 55
    assert waits(pace, 2) == [5, 10]


def test_what_settled_keeps_the_pause_that_was_begun() -> None:
    pace = Pace(5, 30)
    waits(pace, 3)
    pace.settled()
    assert (pace.is_due(2019), pace.is_due(2020)) == (False, True)
    assert waits(pace, 1) == [5]


def test_a_hold_lengthens_and_a_release_ends_a_pause() -> None:
    pace = Pace(5)
    assert pace.is_due(0)
    pace.failed(10)
    pace.hold(12)
    assert pace.until_ns == 15
    pace.hold(40)
    assert not pace.is_due(39)
    pace.release()
    assert pace.is_due(0)
