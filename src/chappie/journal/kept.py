"""The kept log: intents, fills and stops, never dropped and on the platter before we go on.

An intent is here before its request leaves (control O2), so each append pays for a sync; such
records are rare. It is read as a whole at start and becomes `Started.kept`, so a start that finds
a long settled beginning puts the log aside, under a name of its own and for ever, and begins a new
one with a single `Carried` in its place (decision 7).
"""

import os
from pathlib import Path

import msgspec

from chappie.core.carried import carried, settled
from chappie.journal.files import sync_folder, write_durably
from chappie.journal.framing import FrameReader, JournalError, Torn, failed, framed
from chappie.journal.journal import write_whole
from chappie.model.records import Kept

ROLL_FROM = 5_000
"""So many settled records are worth a new log; fewer are read faster than they are carried."""


class KeptLog:
    """Appends durable records to one file. Owned by the one trader that holds the lock."""

    def __init__(self, path: Path) -> None:
        """Read what is there, cut a torn tail, roll, open for appending. Raises `JournalError`.

        ``records`` is what a start needs of what earlier runs kept; ``cut`` is what a power loss
        tore off, if anything: the caller must say so loudly. ``rolled`` is where the log was put
        aside, if it was.
        """
        self.path = path
        self._encoder = msgspec.msgpack.Encoder()
        self.rolled: Path | None = None
        try:
            new = not path.exists()
            self._fd = self._open()
            if new:
                sync_folder(path.parent)
            self.records, self.cut, self._size = self._load()
            if self.cut is not None:
                os.ftruncate(self._fd, self._size)
                os.fdatasync(self._fd)
            if len(self.records) >= ROLL_FROM and (count := settled(self.records)) >= ROLL_FROM:
                self._roll(count)
        except OSError as error:
            raise failed(path, error) from error

    def append(self, record: Kept) -> None:
        """Write one record and wait until it is durable. Raises `JournalError`."""
        frame = framed(self._encoder.encode(record))
        write_whole(self.path, self._fd, frame, self._size)
        self._size += len(frame)
        try:
            # A failed sync is final: the kernel may have dropped the pages, so a second try
            # that succeeds would prove nothing.
            os.fdatasync(self._fd)
        except OSError as error:
            raise failed(self.path, error) from error

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _load(self) -> tuple[tuple[Kept, ...], Torn | None, int]:
        frames = FrameReader(self.path)
        decoder = msgspec.msgpack.Decoder(Kept)
        records: list[Kept] = []
        start = 0
        for payload in frames:
            try:
                records.append(decoder.decode(payload))
            except msgspec.DecodeError as error:
                raise JournalError(
                    f"{self.path}: a record at byte {start} cannot be read ({error}); "
                    "it may be of a newer version"
                ) from error
            start = frames.end
        torn = frames.torn
        if torn is not None and not torn.at_tail:
            # Cutting here would drop intents and fills that were acknowledged.
            raise JournalError(
                f"{self.path}: {torn.detail} at byte {torn.offset}, with whole records after it: "
                "the file was damaged, not torn; restore it or move it away"
            )
        return tuple(records), torn, frames.end

    def _roll(self, count: int) -> None:
        """Carry the first ``count`` records. A death on any line leaves one whole log in place:
        the old one until the new one is durable under its name.
        """
        aside = self._put_aside()
        records = (carried(self.records[:count], aside.name), *self.records[count:])
        data = b"".join(framed(self._encoder.encode(record)) for record in records)
        write_durably(self.path, data)
        # The descriptor still means the file that was replaced.
        os.close(self._fd)
        self._fd = self._open()
        self.records, self._size, self.rolled = records, len(data), aside

    def _put_aside(self) -> Path:
        """A durable copy of the log under the next free name.

        A copy, not a link: it needs nothing of the file system, and a log is a few megabytes. One
        that an earlier start made before it died is taken again.
        """
        whole = self.path.read_bytes()
        older = put_aside(self.path)
        if older and older[-1].read_bytes() == whole:
            return older[-1]
        aside = _aside(self.path, _number(older[-1]) + 1 if older else 1)
        write_durably(aside, whole)
        return aside


def put_aside(path: Path) -> list[Path]:
    """The logs that were put aside before this one, oldest first."""
    found = path.parent.glob(f"{path.stem}.*{path.suffix}")
    return sorted(other for other in found if other == _aside(path, _number(other)))


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number:06d}{path.suffix}")


def _number(path: Path) -> int:
    text = path.stem.rpartition(".")[2]
    return int(text) if text.isdecimal() else 0
