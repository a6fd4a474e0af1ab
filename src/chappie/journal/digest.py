"""A running checksum of everything that the core commanded: where two runs first differ."""

import zlib
from collections.abc import Sequence

import msgspec

from chappie.journal.records import Digest
from chappie.model.commands import Command
from chappie.model.orders import Approved

EVERY_STEPS = 1000
"""How often a run writes one down: a divergence is found to within so many steps."""


class CommandDigest:
    """Counts steps and sums up their commands, in a run as in its replay."""

    def __init__(self) -> None:
        self.steps = 0
        self._crc = 0
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_plain)

    def add(self, commands: Sequence[Command]) -> int:
        """Take one step's commands, of which most steps have none; returns the steps so far."""
        self.steps += 1
        for command in commands:
            # Commands carry no tag: without their names, two kinds could look alike.
            named = zlib.crc32(type(command).__name__.encode(), self._crc)
            self._crc = zlib.crc32(self._encoder.encode(command), named)
        return self.steps

    def entry(self) -> Digest:
        return Digest(self.steps, self._crc)


def _plain(value: object) -> object:
    """What msgpack lacks: the gate's wrapper, and odd values in a log line's fields."""
    return value.value if isinstance(value, Approved) else repr(value)
