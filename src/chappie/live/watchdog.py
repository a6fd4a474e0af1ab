"""A thread outside the loop that ends the process when the loop no longer can.

It guards two promises: a loop that does not turn is a stop (`loop_stalled`), and a stop that was
asked for is over within its window and a little more: five seconds, unless it is a halt. A policy
that holds the interpreter's lock in native code stops this thread too; then the guardian kills, and
without one the dead man's switch fires.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable

from chappie.model.faults import STOP_WINDOW_NS, StopReason
from chappie.model.units import SECOND_NS

# So much longer than its window a stop may take, and a stop that was decided at all.
_BEYOND_S = 1.4
_DECIDED_WITHIN_S = 4.4
_LOOK_EVERY_S = 0.1
_WORDS_WITHIN_S = 0.3


class Watchdog:
    """Started once; then `turned` must be called more often than ``stalled_after_s``."""

    def __init__(
        self, stalled_after_s: float, last_words: Callable[[StopReason, str], None]
    ) -> None:
        """``last_words`` writes down the stop, from this thread; it must not touch the loop."""
        self._stalled_after_s = stalled_after_s
        self._last_words = last_words
        self._turned_at = time.monotonic()
        self._end_by: float | None = None
        self._asked_at = 0.0
        self._decided = False
        self._reason = StopReason.OPERATOR
        self._detail = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        # Made at the start: at the end there may be no memory for another thread.
        self._words = threading.Thread(target=self._say, name="last words", daemon=True)
        self._speak = threading.Event()
        self._spoken = threading.Event()

    def start(self) -> None:
        self._turned_at = time.monotonic()
        self._words.start()
        self._thread.start()

    def turned(self) -> None:
        """The loop turns."""
        self._turned_at = time.monotonic()

    def end_within_bounds(
        self, reason: StopReason, detail: str, window_ns: int = STOP_WINDOW_NS
    ) -> None:
        """From now on the process has its window, and a little more, to end.

        The first reason stays; a flatten that is asked for later may take its longer window. Safe
        in a signal handler: it only assigns.
        """
        end_by = time.monotonic() + window_ns / SECOND_NS + _BEYOND_S
        if self._end_by is None:
            self._reason = reason
            self._detail = detail
            self._asked_at = time.monotonic()
            self._end_by = end_by
        elif not self._decided:
            self._end_by = max(self._end_by, end_by)

    def decided(self, reason: StopReason, detail: str) -> None:
        """The stop has its reason: it is what the watchdog exits with, should it have to."""
        end_by = time.monotonic() + _DECIDED_WITHIN_S
        self._end_by = end_by if self._end_by is None else min(self._end_by, end_by)
        self._decided = True
        self._reason = reason
        self._detail = detail

    def dismiss(self) -> None:
        """The process ends by itself; for tests, which go on."""
        self._over.set()

    def _watch(self) -> None:
        look_every_s = min(_LOOK_EVERY_S, self._stalled_after_s / 4)
        while not self._over.wait(look_every_s):
            now = time.monotonic()
            stalled_s = now - self._turned_at
            if self._end_by is None:
                if stalled_s > self._stalled_after_s:
                    words = f"the loop has not turned for {stalled_s:.1f} s"
                    self._end(StopReason.LOOP_STALLED, words)
                continue
            # A stop that is asked for waits for no loop that hangs, however long its window.
            hangs = min(stalled_s, now - self._asked_at) > _DECIDED_WITHIN_S
            if now >= self._end_by or (hangs and not self._decided):
                self._end(self._reason, self._detail or "the stop took too long")

    def _end(self, reason: StopReason, detail: str) -> None:
        self._reason, self._detail = reason, detail
        # By another thread and only so long: a disk that hangs must not keep us. Whatever goes
        # wrong here, the process ends.
        try:
            self._speak.set()
            self._spoken.wait(_WORDS_WITHIN_S)
        finally:
            os._exit(reason.value)

    def _say(self) -> None:
        self._speak.wait()
        # An exception there ends nothing but the words.
        with contextlib.suppress(Exception):
            self._last_words(self._reason, self._detail)
        self._spoken.set()
