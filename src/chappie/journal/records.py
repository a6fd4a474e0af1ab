"""What a frame of the journal holds: a moment and an event, a segment's header, or a digest."""

from typing import TypeAlias

import msgspec

from chappie.model.events import Event
from chappie.model.units import At

FORMAT = 1
"""Raised when an older reader could misread what is written; readers refuse what they lack."""


class Header(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The first record of every segment: what a replay needs beside the events.

    ``config`` is the effective configuration as JSON, secrets excluded; ``policy_period_s`` is
    how often the policy wanted to be asked.
    """

    format: int
    epoch: int
    segment: int
    version: str
    config: bytes
    policy_period_s: float


class Digest(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What the steps so far commanded: ``crc`` runs over every command of the run.

    A replay that computes another value has diverged since the digest before.
    """

    steps: int
    crc: int


Entry: TypeAlias = Event | Header | Digest
Record: TypeAlias = tuple[At, Entry]
