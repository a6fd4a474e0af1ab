"""How a halt reaches the trader from outside: a signal, or the file `HALT` in the state folder.

SIGUSR1 halts, SIGUSR2 halts and flattens; each latches on disk first, so that the halt holds even
if this process ends on the next line, and is obeyed all the same where the disk refuses. The
guardian's word comes by the link.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from chappie.live import latch
from chappie.live.log import Log
from chappie.live.watchdog import Watchdog
from chappie.model.events import Event, HaltAsked
from chappie.model.faults import FLATTEN_WINDOW_NS, HALT_WINDOW_NS, StopReason

# Each with whether it flattens too.
SIGNALS = {signal.SIGUSR1: False, signal.SIGUSR2: True}

# Signals that came before there was anybody to obey them.
_early: list[int] = []


def hold_early_signals() -> None:
    """From the start of the process on: a halt that comes too soon waits, and is not its death."""
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: _early.append(number))


class Halts:
    """Brings every halt from outside to ``deliver``, latched."""

    def __init__(
        self,
        state_dir: Path,
        log: Log,
        watchdog: Watchdog,
        deliver: Callable[[Event], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._state_dir = state_dir
        self._log = log
        self._watchdog = watchdog
        self._deliver = deliver
        self._loop = loop

    def obey_signals(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._signalled)
        while _early:
            self._signalled(_early.pop(0), None)

    def watch_file(self, every_s: float) -> None:
        """Look for the file now and then, however busy or silent the feed is, until it is there."""
        halt = latch.read(self._state_dir)
        if halt is None:
            self._loop.call_later(every_s, self.watch_file, every_s)
            return
        self._log.warning("halt_file_found", words=halt.words)
        self._deliver(HaltAsked(halt.words))

    def set_latch(self, words: str) -> None:
        """Halt on disk; where that fails this process halts all the same, and says so."""
        try:
            latch.set_(self._state_dir, words)
        # Whatever the disk does: the halt itself must not fail.
        except Exception as error:  # noqa: BLE001
            self._not_latched(words, error)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """In the signal's handler itself, for the loop may be stuck."""
        name, flatten = signal.Signals(number).name, SIGNALS[signal.Signals(number)]
        window_ns = FLATTEN_WINDOW_NS if flatten else HALT_WINDOW_NS
        # Before the latch: a disk that hangs must not keep us for ever.
        self._watchdog.end_within_bounds(StopReason.HALTED, name, window_ns)
        failure: Exception | None = None
        try:
            latch.set_(self._state_dir, name)
        # In a handler any exception would surface in whatever it interrupted.
        except Exception as error:  # noqa: BLE001
            failure = error
        # At the very end of the process there is no loop any more; the latch is what counts then.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._halt, name, flatten, failure)

    def _halt(self, name: str, flatten: bool, failure: Exception | None) -> None:
        if failure is not None:
            self._not_latched(name, failure)
        self._deliver(HaltAsked(name, flatten))

    def _not_latched(self, words: str, error: Exception) -> None:
        detail = f"the halt holds for this process only: {type(error).__name__}: {error}"
        self._log.error("latch_failed", halt=words, detail=detail)
