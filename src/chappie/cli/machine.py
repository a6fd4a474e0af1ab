"""What the machine under us says of itself: its clock, and the room on its disks."""

import ctypes
import os
import tempfile
from pathlib import Path

_TIMEX_BYTES = 512
_UNSYNCHRONISED = 5


def clock_is_synchronised() -> bool | None:
    """Whether the kernel is told the time by somebody (NTP); None where that cannot be told."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        return None
    # All zero means to change nothing; the kernel fills in a little less than half of it.
    state = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else bool(state != _UNSYNCHRONISED)


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the one in which it would be made."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def why_not_writable(folder: Path) -> str | None:
    """None when a file can be made, written and synced there; it leaves nothing behind."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor.") as file:
            file.write(b"chappie")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or type(error).__name__
    return None
