"""The digest of commands: equal for equal runs, different for any difference."""

from chappie.journal.digest import CommandDigest
from chappie.journal.records import Digest
from chappie.model.commands import CloseStream, Command, Log, OpenStream, SendFrame
from tests.live.fakes import send_order


def digest(*steps: list[Command]) -> Digest:
    found = CommandDigest()
    for commands in steps:
        found.add(commands)
    return found.entry()


ORDER = send_order(send_by_ns=1, expires_s=2)


def test_equal_steps_have_equal_digests() -> None:
    steps: list[list[Command]] = [[], [OpenStream(1, 2), ORDER], [Log("info", "x", {"a": 1})]]
    assert digest(*steps) == digest(*steps)
    assert digest(*steps).steps == 3


def test_every_difference_shows() -> None:
    seen = [
        digest([OpenStream(1, 2)]),
        digest([OpenStream(1, 3)]),
        digest([OpenStream(1, 2), SendFrame(1, b"")]),
        digest([SendFrame(1, b""), OpenStream(1, 2)]),
        digest([SendFrame(1, b"x")]),
        digest([CloseStream(1, "x")]),
        digest([ORDER]),
        digest([send_order(2, send_by_ns=1, expires_s=2)]),
        digest([]),
    ]
    assert len({entry.crc for entry in seen}) == len(seen)
