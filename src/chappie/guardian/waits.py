"""The wait that an earlier run was told and kept: a ban binds whoever comes after it, too."""

from pathlib import Path

import msgspec

from chappie.journal.framing import FrameReader, JournalError
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
