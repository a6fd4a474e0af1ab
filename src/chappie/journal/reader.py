"""Reading the journal back: records in order, and loudly where a segment was cut short."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from chappie.journal.framing import FrameReader, Torn
from chappie.journal.records import FORMAT, Header, Record


class Segment:
    """Iterates over the records of one segment; afterwards ``torn`` says what was cut, if any."""

    def __init__(self, path: Path) -> None:
        self._frames = FrameReader(path)
        self._decoder = msgspec.msgpack.Decoder(Record)

    @property
    def torn(self) -> Torn | None:
        return self._frames.torn

    def __iter__(self) -> Iterator[Record]:
        start = 0
        for payload in self._frames:
            try:
                record: Record = self._decoder.decode(payload)
            except msgspec.DecodeError as error:
                self._frames.reject(start, f"a record that this version cannot read ({error})")
                return
            if isinstance(record[1], Header) and record[1].format != FORMAT:
                self._frames.reject(
                    start, f"format {record[1].format}; this version reads {FORMAT}"
                )
                return
            yield record
            start = self._frames.end


def read(path: Path) -> Segment:
    """The records of one segment, in the order in which they were written."""
    return Segment(path)
