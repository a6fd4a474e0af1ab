"""The one thread that writes: the guardian's log file and the display.

A terminal held with Ctrl-S, a pipe nobody reads or a slow disk blocks this thread and nothing
else. The trader writes its own lines into a buffer in memory, so they cannot block it either.
"""

import fcntl
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from chappie.guardian.clock import iso_now
from chappie.guardian.shown import Shown
from chappie.live.log import LogFile, printable

LOG_FILE = "guardian.log"
_TAPE_BYTES = 1_000_000
_TAPE_BYTES_MAX = 8_000_000
_LINES_WAITING = 1_000
_GLANCE_BYTES = 8_192
_PERIOD_S = 0.25
_LONGEST_FIELD = 2_000


class DisplayGoneError(Exception):
    """The terminal went away."""


class Listener(Protocol):
    """Told an event of the guardian: its name, its fields, and its line of the log."""

    def __call__(self, event: str, fields: Mapping[str, object], line: bytes) -> None: ...


class Display(Protocol):
    """Where people look. Called by the outlet's thread only; may block.

    Each may raise `DisplayGoneError`, and is then not called again.
    """

    def open(self) -> None: ...

    def lines(self, lines: list[str]) -> None:
        """New log lines, each one JSON object where it came from us."""
        ...

    def show(self, shown: Shown) -> None:
        """The present picture; called about four times a second."""
        ...

    def close(self) -> None: ...


class Tape:
    """What the trader prints: a file in memory that it appends to and the outlet reads.

    Bounded: once read past `_TAPE_BYTES` it is emptied, and past `_TAPE_BYTES_MAX` unread too,
    for the reader may be stuck. Lines lost here still stand in the trader's own log file.
    """

    def __init__(self) -> None:
        self.fd = _file_in_memory()
        self._read_to = 0
        self._unfinished = b""
        self._emptied = False

    def new_lines(self, all_of_it: bool = False) -> list[str]:
        """Lines completed since the last call; with ``all_of_it`` an unfinished one too."""
        if self._emptied:
            self._emptied = False
            self._read_to, self._unfinished = 0, b""
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, _TAPE_BYTES, self._read_to)
        self._read_to += len(data)
        if self._read_to >= max(_TAPE_BYTES, size):
            os.ftruncate(self.fd, 0)
            self._read_to = 0
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        if all_of_it or len(self._unfinished) > _TAPE_BYTES:
            lines.append(self._unfinished)
            self._unfinished = b""
        return [line.decode("utf-8", "replace") for line in lines if line]

    def upkeep(self) -> None:
        """Keep it bounded whoever does not read it; any thread may call this."""
        if os.fstat(self.fd).st_size > _TAPE_BYTES_MAX:
            os.ftruncate(self.fd, 0)
            self._emptied = True

    def last_plain_line(self) -> str:
        """The newest line that is for people and not a log record; empty when there is none."""
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, _GLANCE_BYTES, max(0, size - _GLANCE_BYTES))
        lines = data.decode("utf-8", "replace").splitlines()
        plain = [line for line in lines if line.strip() and not line.startswith("{")]
        return printable(plain[-1])[:_LONGEST_FIELD] if plain else ""


def _file_in_memory() -> int:
    """A descriptor open for appending; where the system has no memory files, an unnamed one."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("trader-output")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
    return fd


class Outlet:
    """Queue lines with `event`, set `shown`, and the thread does the rest."""

    def __init__(self, state_dir: Path, display: Display, display_gone: Callable[[], None]) -> None:
        self.tape = Tape()
        self.shown: Shown | None = None
        self.listeners: tuple[Listener, ...] = ()
        """Each is told every event, by whoever logs it; must not block."""
        self._file = LogFile(state_dir / LOG_FILE)
        self._display: Display | None = display
        self._display_gone = display_gone
        self._waiting: deque[str] = deque(maxlen=_LINES_WAITING)
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def event(self, level: str, event: str, **fields: object) -> None:
        """Log one event. Never blocks; past a thousand waiting lines the oldest is dropped."""
        cut = {key: _cut(value) for key, value in fields.items()}
        record = {"at": iso_now(), "level": level, "event": event, "by": "guardian", **cut}
        line = msgspec.json.encode(record)
        self._waiting.append(line.decode())
        self._wake.set()
        for listener in self.listeners:
            listener(event, fields, line)

    @property
    def is_stuck(self) -> bool:
        """The thread still waits for a terminal or pipe that takes nothing."""
        return self._thread.is_alive()

    def close(self, within_s: float) -> None:
        """Write what is left and give the terminal back; a blocked terminal is left behind."""
        self._closing = True
        self._wake.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        self._use(lambda display: display.open())
        while not self._closing:
            self._turn(all_of_it=False)
            self._wake.wait(_PERIOD_S)
            self._wake.clear()
        self._turn(all_of_it=True)
        self._use(lambda display: display.close())

    def _turn(self, all_of_it: bool) -> None:
        # The trader's lines come first: what we say of it mostly answers to what it said.
        lines = self.tape.new_lines(all_of_it)
        ours: list[str] = []
        while self._waiting:
            ours.append(self._waiting.popleft())
        if ours:
            # A full disk costs lines, not the guard: LogFile drops what it cannot write.
            self._file.write(("\n".join(ours) + "\n").encode())
        shown = self.shown
        if lines or ours:
            self._use(lambda display: display.lines(lines + ours))
        if shown is not None:
            self._use(lambda display: display.show(shown))

    def _use(self, action: Callable[[Display], None]) -> None:
        if self._display is None:
            return
        try:
            action(self._display)
        except DisplayGoneError:
            self._display = None
            self._display_gone()


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST_FIELD:
        return value[:_LONGEST_FIELD] + "…"
    return value
