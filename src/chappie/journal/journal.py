"""The journal of one run: every event in segments on disk, oldest segments dropped at a bound."""

import contextlib
import os
from collections import deque
from pathlib import Path

import msgspec

from chappie.journal.framing import JournalError, failed, framed, head
from chappie.journal.records import FORMAT, Entry, Header
from chappie.model.units import At

SUFFIX = ".journal"
_SEGMENT_BYTES_MAX = 64 * 1024 * 1024


class Journal:
    """Takes records with `append`; all of them are in the kernel's hands when `flush` returns.

    That is what survives a killed process. Surviving a power loss needs a sync, which only the
    kept log pays (see `chappie.journal.kept`). Two calls, because the write is the dear part: a
    burst of messages that leads to nothing shares one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        epoch: int,
        version: str,
        config: bytes,
        policy_period_s: float,
        max_bytes: int,
    ) -> None:
        """Open the first segment of this run. Raises `JournalError`."""
        self._folder = folder
        self._epoch = epoch
        self._version = version
        self._config = config
        self._policy_period_s = policy_period_s
        self._max_bytes = max_bytes
        # At least eight segments fit the bound, so that dropping one never drops most of them.
        self._segment_bytes = max(1, min(_SEGMENT_BYTES_MAX, max_bytes // 8))
        self._encoder = msgspec.msgpack.Encoder()
        self._fd = -1
        self._size = 0
        self._unwritten: list[bytes] = []
        self._segment = 0
        self.path = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._older = deque((path, path.stat().st_size) for path in segments(folder))
        except OSError as error:
            raise failed(folder, error) from error
        self._older_bytes = sum(size for _, size in self._older)
        self._next_segment(None)

    def append(self, at: At, entry: Entry) -> None:
        """Take one record; it is not on its way to the disk before `flush`."""
        payload = self._encoder.encode((at, entry))
        self._unwritten += (head(payload), payload)

    def flush(self, at: At) -> None:
        """Write what was taken. Raises `JournalError`, with the file as it was before."""
        if not self._unwritten:
            return
        frames = b"".join(self._unwritten)
        self._unwritten.clear()
        write_whole(self.path, self._fd, frames, self._size)
        self._size += len(frames)
        if self._size >= self._segment_bytes:
            self._next_segment(at)

    def close(self) -> None:
        """Close the segment. What was not flushed is not written: the caller flushes first."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _next_segment(self, at: At | None) -> None:
        if self._fd >= 0:
            self.close()
            self._older.append((self.path, self._size))
            self._older_bytes += self._size
        self._drop_oldest()
        self._segment += 1
        self.path = self._folder / f"{self._epoch:010d}-{self._segment:06d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._fd = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise failed(self.path, error) from error
        self._size = 0
        header = Header(
            FORMAT,
            self._epoch,
            self._segment,
            self._version,
            self._config,
            self._policy_period_s,
        )
        frame = framed(self._encoder.encode((at or At(0, 0), header)))
        write_whole(self.path, self._fd, frame, 0)
        self._size = len(frame)

    def _drop_oldest(self) -> None:
        while self._older and self._older_bytes + self._segment_bytes > self._max_bytes:
            path, size = self._older.popleft()
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise failed(path, error) from error
            self._older_bytes -= size


def write_whole(path: Path, fd: int, frames: bytes, start: int) -> None:
    """Append frames as a whole, or leave the file as it was: it ends at ``start``.

    A disk that fills up takes a part and says so only on the next write. The part is then cut off
    again, so that the file ends with the last acknowledged record. Raises `JournalError`.
    """
    written = 0
    while written < len(frames):
        try:
            written += os.write(fd, memoryview(frames)[written:] if written else frames)
        except OSError as error:
            # Should the cut fail too, the torn frame stays and a reader finds it by its checksum.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, start)
            raise failed(path, error) from error


def segments(folder: Path, epoch: int | None = None) -> list[Path]:
    """The segments in a folder, oldest first; of one run when ``epoch`` is given."""
    start = "" if epoch is None else f"{epoch:010d}-"
    return sorted(path for path in folder.glob(f"{start}*{SUFFIX}"))


__all__ = ["SUFFIX", "Journal", "JournalError", "segments", "write_whole"]
