"""The watchdog: a stop is over in its window and a little more, and a halt waits for no hang."""

import time

import pytest

from chappie.live import watchdog as watchdog_module
from chappie.live.watchdog import Watchdog
from chappie.model.faults import FLATTEN_WINDOW_NS, StopReason


class Dog(Watchdog):
    """One that says how it ends instead of ending the test."""

    def __init__(self, stalled_after_s: float) -> None:
        super().__init__(stalled_after_s, lambda reason, detail: None)
        self.ended: list[tuple[StopReason, str]] = []

    def _end(self, reason: StopReason, detail: str) -> None:
        self.ended.append((reason, detail))
        self.dismiss()

    def left_s(self) -> float:
        assert self._end_by is not None
        return self._end_by - time.monotonic()

    def watch(self) -> list[tuple[StopReason, str]]:
        """Until it ended something."""
        self.start()
        self._thread.join(10)
        return self.ended


def test_a_stop_has_five_seconds_and_a_flatten_that_joins_it_has_its_own_window() -> None:
    dog = Dog(1000.0)
    dog.end_within_bounds(StopReason.OPERATOR, "SIGTERM")
    assert 4 < dog.left_s() < 5
    dog.end_within_bounds(StopReason.HALTED, "enough", FLATTEN_WINDOW_NS)
    assert 21 < dog.left_s() < 22
    dog.end_within_bounds(StopReason.HALTED, "enough")
    assert 21 < dog.left_s() < 22


def test_a_stop_that_was_decided_has_five_seconds_whatever_was_left() -> None:
    dog = Dog(1000.0)
    dog.end_within_bounds(StopReason.HALTED, "enough", FLATTEN_WINDOW_NS)
    dog.decided(StopReason.HALTED, "enough; flattened, position 0")
    assert dog.left_s() < 5
    dog.end_within_bounds(StopReason.HALTED, "again", FLATTEN_WINDOW_NS)
    assert dog.left_s() < 5


def test_what_does_not_end_in_its_bounds_is_ended_with_the_reason_asked_for_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog_module, "_BEYOND_S", 0.05)
    dog = Dog(1000.0)
    dog.end_within_bounds(StopReason.HALTED, "enough", 0)
    dog.end_within_bounds(StopReason.OPERATOR, "SIGTERM", 0)
    assert dog.watch() == [(StopReason.HALTED, "enough")]


def test_a_loop_that_hangs_in_a_flatten_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog_module, "_DECIDED_WITHIN_S", 0.05)
    dog = Dog(0.05)
    dog.end_within_bounds(StopReason.HALTED, "enough", FLATTEN_WINDOW_NS)
    assert dog.watch() == [(StopReason.HALTED, "enough")]


def test_a_loop_that_hangs_unasked_is_loop_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_module, "_DECIDED_WITHIN_S", 0.01)
    ((reason, detail),) = Dog(0.05).watch()
    assert reason is StopReason.LOOP_STALLED
    assert detail.startswith("the loop has not turned for 0.")
