"""Frames on disk: length, checksum, payload; and finding where a file stops being true.

A frame is a little-endian u32 length, the CRC-32 of the payload, then the payload. A process
that is killed loses nothing that was written; only power loss can tear the last frames off, and
`FrameReader` then says where and how much.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size
FRAME_BYTES_MAX = 64 * 1024 * 1024
"""No frame is longer: a longer length on disk is damage, not data."""

_SEARCH_BYTES = 1024 * 1024


class JournalError(Exception):
    """The disk did not take what must be kept; the message names the path and the cause."""


def failed(path: Path, error: OSError) -> JournalError:
    """The failure in words that an operator can act on."""
    return JournalError(f"{path}: {error.strerror or error}")


def framed(payload: bytes) -> bytes:
    """The payload with its head before it. One copy is cheaper than two writes or a gather."""
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


class Torn(msgspec.Struct, frozen=True):
    """Where a file stopped being true.

    ``at_tail`` is False when whole frames follow the damage: then it is not the mark of a power
    loss but of a disk or a hand, and cutting there would lose acknowledged records.
    """

    path: str
    offset: int
    lost_bytes: int
    detail: str
    at_tail: bool

    def __str__(self) -> str:
        return f"{self.path}: {self.detail} at byte {self.offset}, {self.lost_bytes} bytes cut off"


class FrameReader:
    """Iterates over the payloads of a file; afterwards ``torn`` tells whether it ended badly.

    ``end`` is the offset after the last good frame. A file may be read while it is written: the
    frame being written then looks torn, and reading again later finds it whole.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        """``data`` is the file's content where it is at hand already."""
        self.path = path
        self.torn: Torn | None = None
        self.end = 0
        self._data = data

    def __iter__(self) -> Iterator[memoryview]:
        data = self.path.read_bytes() if self._data is None else self._data
        view = memoryview(data)
        offset = 0
        self.torn = None
        self.end = 0
        while offset < len(data):
            payload, complaint = _frame_at(view, offset)
            if payload is None:
                self._tear(data, offset, complaint)
                return
            offset += HEAD_BYTES + len(payload)
            # Before the yield, so that a caller who stops here reads a true offset.
            self.end = offset
            yield payload

    def reject(self, offset: int, detail: str) -> None:
        """A whole frame whose payload makes no sense: nothing after it is believed either."""
        self.end = offset
        size = self.path.stat().st_size if self._data is None else len(self._data)
        self.torn = Torn(str(self.path), offset, size - offset, detail, at_tail=False)

    def _tear(self, data: bytes, offset: int, detail: str) -> None:
        self.torn = Torn(
            str(self.path),
            offset,
            len(data) - offset,
            detail,
            at_tail=not _whole_frame_after(memoryview(data), offset + 1),
        )


def _frame_at(view: memoryview, offset: int) -> tuple[memoryview | None, str]:
    """The payload of the frame at ``offset``, or why there is none."""
    left = len(view) - offset
    if left < HEAD_BYTES:
        return None, "an incomplete frame head"
    length, crc = _HEAD.unpack_from(view, offset)
    # Zero bytes are what a crash leaves where a file grew but its data never arrived.
    if length == 0:
        return None, "a frame of length zero"
    if length > FRAME_BYTES_MAX or length > left - HEAD_BYTES:
        return None, "a frame longer than the file"
    payload = view[offset + HEAD_BYTES : offset + HEAD_BYTES + length]
    if zlib.crc32(payload) != crc:
        return None, "a frame whose checksum does not match"
    return payload, ""


def _whole_frame_after(view: memoryview, start: int) -> bool:
    """Whether a valid frame begins anywhere in the next megabyte."""
    for offset in range(start, min(len(view) - HEAD_BYTES, start + _SEARCH_BYTES)):
        if _frame_at(view, offset)[0] is not None:
            return True
    return False
