"""The log of a process: one event name with key-values per line, for people or for programs.

On a terminal a line is for a person, elsewhere it is JSON; the file is always JSON. Logging
never stops the process: a stream or disk that takes no more lines loses them, and only them.
"""

import contextlib
import os
import select
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chappie.live.redact import Redactor

_VALUE_MAX = 500
_TRACE_MAX = 3000
_LINE_MAX = 16_000
_FILE_BYTES_MAX = 10 * 1024 * 1024
_FILES_KEPT = 3
_LOCK_WITHIN_S = 0.2


class LogFile:
    """A file of lines with a bound: at 10 MiB it is renamed, and three old ones are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._size = 0
        self._open()

    def write(self, line: bytes) -> None:
        """Append; a full disk loses the line (the journal is what must not lose anything)."""
        with contextlib.suppress(OSError):
            if self._size + len(line) > _FILE_BYTES_MAX:
                self._rotate()
            if self._fd < 0:
                self._open()
            self._size += os.write(self._fd, line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(_FILES_KEPT - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._open()


class Log:
    """Writes lines to standard error and, once there is one, to the file in the state folder."""

    def __init__(self, redactor: Redactor | None = None, *, fd: int = 2) -> None:
        self.redactor = redactor or Redactor()
        self._fd = fd
        self._file: LogFile | None = None
        self._human = _is_terminal(fd)
        self._stopped = False
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder(enc_hook=repr)

    def attach(self, path: Path) -> None:
        """Write to this file as well."""
        self._file = LogFile(path)

    def info(self, event: str, **fields: object) -> None:
        self.write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self.write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self.write("error", event, fields)

    def write(self, level: str, event: str, fields: dict[str, object]) -> None:
        """One line. Secrets are starred, control characters escaped, long values cut."""
        if not self._stopped:
            self._emit(level, event, fields)

    def stopped(self, fields: dict[str, object]) -> None:
        """The last line: nothing is written after it, and it is written once."""
        # Both the loop and the watchdog's thread may want to end; the loop may hang in here.
        if not self._lock.acquire(timeout=_LOCK_WITHIN_S):
            return
        try:
            if self._stopped:
                return
            self._stopped = True
            line = self._emit("info", "stopped", fields)
            # Whoever reads only standard output gets the outcome too, unless it is the same.
            if not self._human and not _same_file(1, self._fd):
                _write(1, line)
        finally:
            self._lock.release()

    def _emit(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        moment = datetime.now(UTC)
        clean = {
            name: self._clean(value, _TRACE_MAX if name == "trace" else _VALUE_MAX)
            for name, value in fields.items()
        }
        record: dict[str, object] = {
            "at": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
            "level": level,
            "event": event,
            **clean,
        }
        line = self._encoder.encode(record)
        if len(line) > _LINE_MAX:
            short = {name: value for name, value in clean.items() if _is_short(value)}
            line = self._encoder.encode({**record, **dict.fromkeys(clean), **short, "cut": True})
        line = self.redactor.bytes(line) + b"\n"
        if self._file is not None:
            self._file.write(line)
        if self._human:
            _write(self._fd, self._human_line(level, event, clean))
        else:
            _write(self._fd, line)
        return line

    def _human_line(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        # The clock on the wall of whoever watches the terminal.
        clock = datetime.now().astimezone().strftime("%H:%M:%S")
        mark = {"warning": "! ", "error": "!! "}.get(level, "")
        pairs = "  ".join(f"{name}={_plain(value)}" for name, value in fields.items())
        text = f"{clock} {mark}{event.replace('_', ' ')}" + (f"  {pairs}" if pairs else "")
        return self.redactor.text(text).encode(errors="backslashreplace") + b"\n"

    def _clean(self, value: object, limit: int) -> object:
        if isinstance(value, bytes):
            value = value.decode(errors="backslashreplace")
        if isinstance(value, str):
            # Redacted before it is escaped or cut: half a secret is still one.
            return _cut(printable(self.redactor.text(value)), limit)
        if isinstance(value, dict):
            return {str(name): self._clean(inner, limit) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(inner, limit) for inner in value]
        return value


def printable(text: str) -> str:
    """Text in which nothing can move a cursor, ring a bell or begin a new line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str, limit: int) -> str:
    return f"{text[:limit]}… ({len(text)} characters)" if len(text) > limit else text


def _is_short(value: object) -> bool:
    return (
        value is None
        or isinstance(value, (int, float))
        or (isinstance(value, str) and len(value) <= _VALUE_MAX + 30)
    )


def _plain(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"' if " " in value else value
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(inner)}" for name, inner in value.items()) + "}"
    return repr(value)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _same_file(one: int, other: int) -> bool:
    try:
        a, b = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _write(fd: int, line: bytes) -> None:
    """Write what the reader takes at once: a reader that hangs must not hang us.

    A pipe that is ready takes this much without blocking, and no more is promised.
    """
    with contextlib.suppress(OSError, ValueError):
        for start in range(0, len(line), select.PIPE_BUF):
            if not select.select([], [fd], [], 0)[1]:
                return
            os.write(fd, line[start : start + select.PIPE_BUF])


def flush_standard_streams() -> None:
    """What a policy printed comes before our last line, not after it."""
    for stream in (sys.stdout, sys.stderr):
        # A stream is None where the process was started without one.
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
