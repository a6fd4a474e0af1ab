"""The kept log: intents, fills and stops, never dropped and on the platter before we go on.

An intent is here before its request leaves (control O2), so each append pays for a sync; such
records are rare. It is read as a whole at start and becomes `Started.kept`.
"""

import os
from pathlib import Path

import msgspec

from chappie.journal.files import sync_folder
from chappie.journal.framing import FrameReader, JournalError, Torn, failed, framed
from chappie.journal.journal import write_whole
from chappie.model.records import Kept


class KeptLog:
    """Appends durable records to one file. Owned by the one trader that holds the lock."""

    def __init__(self, path: Path) -> None:
        """Read what is there, cut a torn tail, open for appending. Raises `JournalError`.

        ``records`` is what earlier runs kept; ``cut`` is what a power loss tore off, if anything:
        the caller must say so loudly.
        """
        self.path = path
        self._encoder = msgspec.msgpack.Encoder()
        try:
            new = not path.exists()
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            if new:
                sync_folder(path.parent)
            self.records, self.cut, self._size = self._load()
            if self.cut is not None:
                os.ftruncate(self._fd, self._size)
                os.fdatasync(self._fd)
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
