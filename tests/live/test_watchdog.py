"""The watchdog: whatever the process can no longer do, it ends."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from chappie.live.watchdog import Watchdog
from chappie.model.faults import StopReason


class Rig:
    """A watchdog whose process does not really end: its code is noted."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        stalled_after_s: float,
        last_words: Callable[[StopReason, str], None],
    ) -> None:
        self.codes: list[int] = []
        self.watchdog = Watchdog(stalled_after_s, last_words)
        monkeypatch.setattr(os, "_exit", self._exit)
        self.watchdog.start()

    def _exit(self, code: int) -> None:
        self.codes.append(code)
        self.watchdog.dismiss()

    def exits_with(self) -> list[int]:
        until_s = time.monotonic() + 5.0
        while not self.codes and time.monotonic() < until_s:
            time.sleep(0.01)
        return self.codes


def never(_: StopReason, __: str) -> None:
    threading.Event().wait(5.0)


def fails(_: StopReason, __: str) -> None:
    raise MemoryError


@pytest.mark.parametrize("last_words", [never, fails, lambda *_: None])
def test_a_loop_that_does_not_turn_ends_the_process_whatever_becomes_of_the_words(
    monkeypatch: pytest.MonkeyPatch, last_words: Callable[[StopReason, str], None]
) -> None:
    rig = Rig(monkeypatch, 0.05, last_words)
    assert rig.exits_with() == [StopReason.LOOP_STALLED.value]


def test_the_end_needs_no_further_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory none can be started, and a watchdog that died of it ended nothing."""
    said: list[StopReason] = []
    rig = Rig(monkeypatch, 0.2, lambda reason, _: said.append(reason))

    def no_memory(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_memory)
    assert rig.exits_with() == [StopReason.LOOP_STALLED.value]
    assert said == [StopReason.LOOP_STALLED]
