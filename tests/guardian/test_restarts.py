import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.guardian.restarts import CRASH_LOOP, History, Restart, StayDown, judge
from chappie.model.config import SupervisorConfig
from chappie.model.faults import StopReason

LIMITS = SupervisorConfig(max_restarts=3, window_s=100.0, backoff_initial_s=1.0, backoff_max_s=3.0)


def test_the_wait_doubles_up_to_its_bound() -> None:
    history, waits = History(), []
    for _ in range(3):
        history, verdict = judge(history, StopReason.FEED_STALE, 0.0, LIMITS)
        assert isinstance(verdict, Restart)
        waits.append(verdict.delay_s)
    assert waits == [1.0, 2.0, 3.0]


def test_one_restart_more_than_allowed_within_the_window_is_a_crash_loop() -> None:
    history = History(at_s=(10.0, 20.0, 30.0), restarts=3)
    after, verdict = judge(history, StopReason.KILLED, 40.0, LIMITS)
    assert isinstance(verdict, StayDown)
    assert verdict.reason == CRASH_LOOP
    assert after.restarts == 3


def test_restarts_that_left_the_window_are_forgiven() -> None:
    history = History(at_s=(10.0, 20.0, 30.0), restarts=3)
    after, verdict = judge(history, StopReason.KILLED, 125.0, LIMITS)
    assert verdict == Restart(2.0)
    assert after.restarts == 4
    assert len(after.at_s) == 2


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        (StopReason.OPERATOR, False),
        (StopReason.FEED_STALE, True),
        (StopReason.FEED_UNSYNCED, True),
        (StopReason.ORDER_UNRESOLVED, True),
        (StopReason.POSITION_MISMATCH, True),
        (StopReason.VENUE_REFUSED, False),
        (StopReason.CLOCK_SKEW, True),
        (StopReason.INVARIANT_VIOLATED, False),
        (StopReason.LOOP_STALLED, True),
        (StopReason.JOURNAL_FAILED, False),
        (StopReason.VENUE_DEGRADED, True),
        (StopReason.HALTED, False),
        (StopReason.NOT_ALONE, False),
        (StopReason.KILLED, True),
        (StopReason.CONFIG, False),
        (StopReason.INTERNAL_ERROR, True),
    ],
)
def test_the_contract_says_which_reasons_restart(reason: StopReason, again: bool) -> None:
    _, verdict = judge(History(), reason, 0.0, LIMITS)
    assert isinstance(verdict, Restart) is again


def test_a_position_that_mismatches_twice_running_stays_down() -> None:
    history, first = judge(History(), StopReason.POSITION_MISMATCH, 0.0, LIMITS)
    _, second = judge(history, StopReason.POSITION_MISMATCH, 50.0, LIMITS)
    assert isinstance(first, Restart)
    assert isinstance(second, StayDown)
    assert second.reason == "position_mismatch"


def test_another_stop_in_between_makes_it_the_first_mismatch_again() -> None:
    history, _ = judge(History(), StopReason.POSITION_MISMATCH, 0.0, LIMITS)
    history, _ = judge(history, StopReason.FEED_STALE, 10.0, LIMITS)
    _, verdict = judge(history, StopReason.POSITION_MISMATCH, 20.0, LIMITS)
    assert isinstance(verdict, Restart)


def test_no_new_trader_starts_while_a_request_of_the_dead_one_may_still_arrive() -> None:
    _, verdict = judge(History(), StopReason.KILLED, 0.0, LIMITS, quiet_s=3.5)
    assert verdict == Restart(3.5)


@given(
    gaps=st.lists(st.floats(0.0, 200.0), max_size=40),
    most=st.integers(1, 6),
    initial_s=st.floats(0.01, 5.0),
)
def test_never_more_restarts_in_any_window_than_allowed(
    gaps: list[float], most: int, initial_s: float
) -> None:
    limits = SupervisorConfig(
        max_restarts=most, window_s=100.0, backoff_initial_s=initial_s, backoff_max_s=20.0
    )
    history, now_s, starts = History(), 0.0, []
    for gap_s in gaps:
        now_s += gap_s
        history, verdict = judge(history, StopReason.INTERNAL_ERROR, now_s, limits)
        if isinstance(verdict, StayDown):
            break
        assert initial_s <= verdict.delay_s <= 20.0
        now_s += verdict.delay_s
        starts.append(now_s)
    # A stop that comes at the very moment of the start belongs to the window of that start.
    for first in starts:
        assert sum(first <= at < first + 100.0 for at in starts) <= most + 1
    assert len(history.at_s) <= most


def test_the_back_off_survives_any_number_of_restarts() -> None:
    limits = SupervisorConfig(max_restarts=10_000, window_s=1e6, backoff_max_s=60.0)
    history = History(at_s=tuple(float(at) for at in range(5_000)))
    _, verdict = judge(history, StopReason.KILLED, 5_000.0, limits)
    assert verdict == Restart(60.0)


def test_what_a_person_has_to_look_at_halts() -> None:
    _, verdict = judge(History(), StopReason.INVARIANT_VIOLATED, 0.0, LIMITS)
    assert isinstance(verdict, StayDown)
    assert verdict.halts
    history, verdict = judge(History(), StopReason.POSITION_MISMATCH, 0.0, LIMITS)
    assert isinstance(verdict, Restart)
    _, verdict = judge(history, StopReason.POSITION_MISMATCH, 0.0, LIMITS)
    assert isinstance(verdict, StayDown)
    assert verdict.halts
    _, verdict = judge(History(), StopReason.VENUE_REFUSED, 0.0, LIMITS)
    assert isinstance(verdict, StayDown)
    assert not verdict.halts
