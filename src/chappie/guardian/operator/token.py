"""The operator's token: who may read the state folder may halt and resume.

It is made at the first start, in a file that only its owner can read, and never logged. A file
that others could have read or written is no secret any more, and is made anew.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from chappie.journal.files import sync_folder
from chappie.journal.framing import failed

FILE = "operator.token"
_BYTES = 32
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")
_MODE = 0o600


def read(state_dir: Path) -> str | None:
    """The token in the folder; None when there is none or it cannot be trusted."""
    try:
        fd = os.open(state_dir / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        if stat.S_IMODE(found.st_mode) != _MODE:
            return None
        text = os.read(fd, 256).decode("ascii", "replace").strip()
    except OSError:
        return None
    finally:
        os.close(fd)
    return text if _SHAPE.fullmatch(text) else None


def ensure(state_dir: Path) -> str:
    """The token that is there, or a new one. Raises `JournalError` when it cannot be kept."""
    there = read(state_dir)
    if there is not None:
        return there
    made = secrets.token_urlsafe(_BYTES)
    path = state_dir / FILE
    beside = state_dir / f".{FILE}.new"
    try:
        beside.unlink(missing_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            os.fchmod(fd, _MODE)
            line = f"{made}\n".encode()
            if os.write(fd, line) != len(line):
                raise OSError(None, "the file took a part of the token only")
            os.fsync(fd)
        finally:
            os.close(fd)
        beside.rename(path)
        sync_folder(state_dir)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise failed(path, error) from error
    return made


def same(given: str, token: str) -> bool:
    """Compared in a time that tells nothing of where they differ, nor of the length."""
    return hmac.compare_digest(_digest(given), _digest(token))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
