"""The wait that an earlier run was told and kept: a ban binds whoever comes after it, too, until a
person says that it is over.
"""

import contextlib
from pathlib import Path

import msgspec

from chappie.journal.framing import FrameReader, JournalError
from chappie.journal.kept import KeptLog
from chappie.model.records import Carried, Kept, Waits


def last_waits(kept_path: Path) -> Waits | None:
    """The last one in a kept log, read beside whoever owns it; None where there is none.

    What cannot be read tells nothing: a start finds that out, and a ban is told again.
    """
    decoder = msgspec.msgpack.Decoder(Kept)
    found: Waits | None = None
    try:
        for payload in FrameReader(kept_path):
            match decoder.decode(payload):
                case Waits() as waits:
                    found = waits
                case Carried(waits=waits):
                    found = waits
                case _:
                    pass
    except (OSError, JournalError, msgspec.DecodeError):
        return found
    return found


def lift_ban(kept_path: Path, wall_ns: int) -> bool:
    """A person says that a ban is over before its time: try again. False where none is recorded.

    The caller holds the trader's lock. Raises `JournalError`.
    """
    waits = last_waits(kept_path)
    if waits is None or not waits.banned or waits.until_wall_ns <= wall_ns:
        return False
    with contextlib.closing(KeptLog(kept_path)) as kept:
        kept.append(Waits(wall_ns, wall_ns, banned=False))
    return True
