"""Where `chappie up` shows itself: a live picture on a terminal, JSON lines elsewhere."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.live import Live

from chappie.cli.view import newest, picture, signed, tail_line
from chappie.guardian.clock import iso_now
from chappie.guardian.outlet import DisplayGoneError
from chappie.guardian.shown import Shown, faults_in_words, why_stopped
from chappie.model.state import Mode

_STATUS_EVERY_S = 10.0
_LOST = (errno.EIO, errno.EPIPE, errno.EBADF, errno.ENXIO)


class Terminal:
    """The live picture on the alternate screen; the terminal is given back as it was."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._tail = ""
        self._shown: Shown | None = None

    def open(self) -> None:
        with _gone_when_lost():
            self._live.start()

    def lines(self, lines: list[str]) -> None:
        self._tail = newest(lines, self._tail)

    def show(self, shown: Shown) -> None:
        self._shown = shown
        size = self._console.size
        drawn = picture(
            shown,
            size.width,
            size.height,
            self._tail,
            "Ctrl-C cancels our orders and ends everything",
        )
        with _gone_when_lost():
            self._live.update(drawn, refresh=True)

    def close(self) -> None:
        """Leave the alternate screen and say on the ordinary one how it ended."""
        with _gone_when_lost():
            self._live.stop()
            if self._shown is not None:
                self._console.print(_epilogue(self._shown), highlight=False, markup=False)


class Lines:
    """JSON lines on standard output: the trader's, the guardian's, and a status now and then.

    A reader that went away costs the lines, not the bot: the log files have them too.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._mode: Mode | None = None
        self._said_s = float("-inf")
        self._lost = False

    def open(self) -> None:
        return

    def lines(self, lines: list[str]) -> None:
        self._write("".join(line + "\n" for line in lines))

    def show(self, shown: Shown) -> None:
        now_s = time.monotonic()
        if shown.mode is self._mode and now_s - self._said_s < _STATUS_EVERY_S:
            return
        self._mode, self._said_s = shown.mode, now_s
        self._write(msgspec.json.encode(status_record(shown)).decode() + "\n")

    def close(self) -> None:
        return

    def _write(self, text: str) -> None:
        data = text.encode()
        while data and not self._lost:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:
                self._lost = True


def status_record(shown: Shown) -> dict[str, object]:
    """The state in one line: what one wants to see go by in a log."""
    decision = shown.decision
    bid = shown.book.bids[0][0] if shown.book.bids else None
    ask = shown.book.asks[0][0] if shown.book.asks else None
    return {
        "at": iso_now(),
        "level": "info",
        "event": "status",
        "mode": shown.mode.value,
        "bid": bid,
        "ask": ask,
        "position": shown.position.qty,
        "target": decision.target if decision is not None else None,
        "decision": decision.number if decision is not None else None,
        "order": decision.order if decision is not None else None,
        "orders": len(shown.orders),
        "would_be_orders": shown.would_be_orders,
        "remaining": shown.rate_limit.remaining,
        "faults": faults_in_words(shown),
        "stopped": why_stopped(shown),
        "restarts": shown.trader.restarts,
    }


def _epilogue(shown: Shown) -> str:
    stop = shown.trader.last_stop
    how = f"{stop.reason}: {stop.detail}" if stop is not None else "no trader was running"
    return tail_line(f"chappie ended. Trader: {how}. Position: {signed(shown.position.qty)}.")


@contextlib.contextmanager
def _gone_when_lost() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _LOST:
            raise DisplayGoneError from error
        raise
