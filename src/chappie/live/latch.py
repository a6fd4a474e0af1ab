"""The latch: the file `HALT` in the state folder, a halt that holds until somebody resumes.

Whoever drops such a file halts the bot, whatever it holds. A latch that cannot be read is a halt.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from chappie.journal.files import sync_folder, write_atomically
from chappie.journal.framing import JournalError, failed

FILE = "HALT"
_RESERVE = ".halt.reserve"
_RESERVE_BYTES = 1024
_WORDS = 300


class Latch(msgspec.Struct, frozen=True):
    """A halt that holds until somebody resumes: why, and which file says so."""

    words: str
    inode: int
    mtime_ns: int

    @property
    def is_there(self) -> bool:
        """The file itself was seen; else it could not be looked for, which is a halt as well."""
        return self.inode != 0


def read(state_dir: Path) -> Latch | None:
    """The halt that is latched, if any."""
    path = state_dir / FILE
    inode = mtime_ns = 0
    try:
        found = path.stat()
        inode, mtime_ns = found.st_ino, found.st_mtime_ns
        text = path.read_bytes()[:_WORDS].decode(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        text = f"the latch cannot be read: {error.strerror}"
    return Latch(text or f"the file {FILE} is there", inode, mtime_ns)


def set_(state_dir: Path, words: str) -> Latch:
    """Halt, durably; a halt that is latched already stays as it is. Raises `JournalError`.

    Needs no free space where `reserve` was called before: the reserve becomes the latch.
    """
    path = state_dir / FILE
    standing = read(state_dir)
    if standing is not None and standing.is_there:
        return standing
    try:
        _put(state_dir / _RESERVE, path, words.encode()[:_WORDS] or b"halted")
        sync_folder(state_dir)
    except OSError as error:
        # Somebody else may have set it meanwhile; where nobody can look, nothing is proven.
        found = read(state_dir)
        if found is None or not found.is_there:
            raise failed(path, error) from error
    latched = read(state_dir)
    assert latched is not None, "a latch that was just set"
    return latched


def _put(spare: Path, path: Path, words: bytes) -> None:
    """Into the reserve and rename; without one, or where that fails, a new file as far as it goes:
    an empty one halts as well.
    """
    try:
        with spare.open("r+b", buffering=0) as file:
            file.write(words)
            file.truncate(len(words))
            os.fsync(file.fileno())
        spare.rename(path)
    except OSError:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with contextlib.suppress(OSError):
                os.write(fd, words)
        finally:
            os.close(fd)


def clear(state_dir: Path, latch: Latch) -> bool:
    """End this halt, durably; False when another one is latched by now, which then stays.

    Raises `JournalError` when the latch cannot be removed.
    """
    if read(state_dir) != latch:
        return False
    path = state_dir / FILE
    try:
        path.unlink()
        sync_folder(state_dir)
    except OSError as error:
        raise failed(path, error) from error
    with contextlib.suppress(JournalError):
        reserve(state_dir)
    return True


def reserve(state_dir: Path) -> None:
    """Take the space for a latch now: the disk may be full when it is needed.

    Raises `JournalError`.
    """
    path = state_dir / _RESERVE
    if not path.exists():
        write_atomically(path, b" " * _RESERVE_BYTES)
