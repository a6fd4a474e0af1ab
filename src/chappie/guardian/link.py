"""The guardian's end of the socket pair to the trader: words in, one word out, never blocking."""

import asyncio
from collections.abc import Callable

import msgspec

from chappie.model.link import Downward, Upward

_LONGEST_LINE = 4 << 20
"""A beat holds the whole state; one longer than this is broken and dropped."""


class Link(asyncio.Protocol):
    """Splits lines and decodes them. A torn or foreign line is counted, not believed."""

    def __init__(self, heard: Callable[[Upward], None]) -> None:
        self._heard = heard
        self._decoder = msgspec.json.Decoder(Upward)
        self._unfinished = b""
        self._transport: asyncio.Transport | None = None
        self.ended = asyncio.Event()
        self.garbled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            try:
                word = self._decoder.decode(line)
            except msgspec.MsgspecError:
                self.garbled += 1
                continue
            self._heard(word)
        if len(self._unfinished) > _LONGEST_LINE:
            self.garbled += 1
            self._unfinished = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def say(self, word: Downward) -> None:
        """Send without waiting; a trader that is gone or does not read is dealt with by time."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(msgspec.json.encode(word) + b"\n")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
