"""Why the trader stopped last: `last_stop.json`, written by the trader or, for deaths that it
could not write, by the guardian.
"""

from pathlib import Path

import msgspec

from chappie.journal.files import write_atomically
from chappie.live.state_dir import LastStop
from chappie.model.state import OrderState, State

FILE = "last_stop.json"


class Stamp(msgspec.Struct, frozen=True):
    """Which version of the file this is; it is replaced whole, so the inode changes with it."""

    inode: int
    mtime_ns: int


def stamp(state_dir: Path) -> Stamp | None:
    """The present version, or None when there is no file."""
    try:
        found = (state_dir / FILE).stat()
    except OSError:
        return None
    return Stamp(found.st_ino, found.st_mtime_ns)


def read(state_dir: Path) -> LastStop | None:
    """The last stop on disk; None when there is none or it cannot be read."""
    try:
        return msgspec.json.decode((state_dir / FILE).read_bytes(), type=LastStop)
    except (OSError, msgspec.MsgspecError):
        return None


def write(state_dir: Path, stop: LastStop) -> None:
    """Replace the file whole. Raises `JournalError`."""
    write_atomically(state_dir / FILE, msgspec.json.encode(stop) + b"\n")


def witnessed(reason: str, code: int, detail: str, at: str, last: State | None) -> LastStop:
    """A stop that the trader could not write: orders and position are those of its last beat,
    and nobody verified them since.
    """
    orders: list[OrderState] = last.orders if last is not None else []
    return LastStop(
        reason=reason,
        code=code,
        detail=detail,
        at=at,
        orders=[msgspec.to_builtins(order) for order in orders],
        position=last.position.qty if last is not None else None,
        known=False,
    )
