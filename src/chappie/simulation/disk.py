"""The disk: what a process wrote, and what of it is still there after a kill or a power loss.

The kept log is durable when `append_kept` returns; the journal is only in the kernel's hands, so
a kill loses none of it and a power loss its tail, torn in the middle of a frame. Framing and
records are the real ones, on bytes in memory.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from chappie.journal.framing import FrameReader, JournalError, framed
from chappie.journal.records import Entry, Record
from chappie.model.records import Kept
from chappie.model.units import At

# So much of the journal may not have reached the platter yet: a few seconds of a busy feed.
_UNSYNCED_BYTES = 64 * 1024
_KEPT = Path("kept")


class Disk:
    """The state folder of one bot; outlives every process."""

    def __init__(self) -> None:
        self.full = False
        # How often a full disk refused a record.
        self.refused = 0
        self.cut = 0
        # Why the bot is halted, until somebody resumes; needs no free space, and survives all.
        self.latch: str | None = None
        self._kept = bytearray()
        self._journals: dict[int, bytearray] = {}
        self._encoder = msgspec.msgpack.Encoder()

    @property
    def epoch(self) -> int:
        """The greatest epoch that ever began here; 0 before the first."""
        return max(self._journals, default=0)

    def begin(self, epoch: int) -> None:
        """A new run opens its journal."""
        self._journals.setdefault(epoch, bytearray())

    def append(self, epoch: int, at: At, entry: Entry) -> None:
        """Write one journal record. Raises `JournalError`."""
        self._check()
        self._journals[epoch] += framed(self._encoder.encode((at, entry)))

    def append_kept(self, record: Kept) -> None:
        """Write one record for good. Raises `JournalError`."""
        self._check()
        self._kept += framed(self._encoder.encode(record))

    def _check(self) -> None:
        if self.full:
            self.refused += 1
            raise JournalError(f"{_KEPT}: No space left on device")

    def set_latch(self, words: str) -> None:
        """Halt for good; a halt that is latched already stays as it is."""
        if self.latch is None:
            self.latch = words

    def lose_power(self, chance: Random) -> None:
        """The running journal's tail never reached the platter; the write under way is torn."""
        journal = self._journals[self.epoch]
        keep = chance.randint(max(0, len(journal) - _UNSYNCED_BYTES), len(journal))
        del journal[keep:]
        torn = framed(bytes(chance.randrange(8, 200)))
        self._kept += torn[: chance.randrange(len(torn))]

    def kept(self) -> tuple[Kept, ...]:
        """What was written for good, read as a start reads it: a torn tail is cut off."""
        decoder = msgspec.msgpack.Decoder(Kept)
        frames = FrameReader(_KEPT, bytes(self._kept))
        records = tuple(decoder.decode(payload) for payload in frames)
        if frames.torn is not None:
            assert frames.torn.at_tail, f"only a tail can be torn here: {frames.torn}"
            self.cut += 1
            del self._kept[frames.end :]
        return records

    def journal(self, epoch: int) -> Iterator[Record]:
        """The records of one run, up to where its journal was torn off."""
        decoder = msgspec.msgpack.Decoder(Record)
        for payload in FrameReader(Path(f"{epoch}.journal"), bytes(self._journals[epoch])):
            yield decoder.decode(payload)
