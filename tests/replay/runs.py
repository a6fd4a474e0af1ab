"""Runs to replay: written to disk as the live driver does, and files of them changed by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from chappie.journal.digest import EVERY_STEPS, CommandDigest
from chappie.journal.framing import framed
from chappie.journal.journal import Journal
from chappie.journal.reader import read
from chappie.journal.records import Record
from chappie.model.commands import AskPolicy, Command, SendFrame, Stop
from chappie.model.events import Event, FrameReceived, PolicyDecided, StopAsked, Ticked
from chappie.model.units import At
from tests.live.fakes import VIEW

Step = Callable[[At, Event], Sequence[Command]]


def at(number: int) -> At:
    return At(number * 1_000, 1_700_000_000_000_000_000 + number * 1_000_000_000)


class EchoCore:
    """Echoes frames, asks the policy at every tenth tick, stops when asked to."""

    def __init__(self) -> None:
        self.asked = 0
        self.ticks = 0

    def step(self, at: At, event: Event) -> Sequence[Command]:
        match event:
            case FrameReceived(payload=b"break"):
                raise AssertionError("never so")
            case FrameReceived():
                return [SendFrame(event.conn, event.payload)]
            case Ticked():
                self.ticks += 1
                if self.ticks % 10 == 0:
                    self.asked += 1
                    return [AskPolicy(self.asked, VIEW)]
            case StopAsked():
                return [Stop("operator", "enough", True)]
            case PolicyDecided():
                return [SendFrame(1, str(event.target).encode())]
            case _:
                pass
        return []


def frames(count: int) -> list[Event]:
    return [FrameReceived(1, str(number).encode()) for number in range(count)]


def record(
    events: Sequence[Event], step: Step, journal: Journal | None = None, *, killed: bool = False
) -> list[Record]:
    """What the live driver writes down of a run with these events, beside the heads."""
    digest = CommandDigest()
    written: list[Record] = []

    def append(entry: Record) -> None:
        written.append(entry)
        if journal is not None:
            journal.append(*entry)
            journal.flush(entry[0])

    for number, event in enumerate(events, start=1):
        append((at(number), event))
        try:
            digest.add(step(at(number), event))
        except AssertionError:
            break
        if digest.steps % EVERY_STEPS == 0:
            append((at(number), digest.entry()))
    if not killed:
        append((at(len(events)), digest.entry()))
    return written


def a_journal(folder: Path, epoch: int = 7, max_bytes: int = 10**9) -> Journal:
    return Journal(
        folder, epoch=epoch, version="0.1.0", config=b"{}", policy_period_s=1.0, max_bytes=max_bytes
    )


def change(path: Path, edit: Callable[[list[Record]], list[Record]]) -> None:
    """Rewrite a segment with other records."""
    encoder = msgspec.msgpack.Encoder()
    path.write_bytes(b"".join(framed(encoder.encode(entry)) for entry in edit(list(read(path)))))
