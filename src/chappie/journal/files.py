"""Files replaced as a whole: a reader, or a start after a crash, sees the old or the new one."""

import os
from pathlib import Path

from chappie.journal.framing import failed


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file as a whole. Raises `JournalError`."""
    _replace(path, data, durable=False)


def write_durably(path: Path, data: bytes) -> None:
    """`write_atomically`, and on the platter when it returns. Raises `JournalError`."""
    _replace(path, data, durable=True)


def sync_folder(folder: Path) -> None:
    """Make a new, renamed or removed name in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(path: Path, data: bytes, *, durable: bool) -> None:
    fresh = path.with_name(f".{path.name}.new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.write(fd, data[written:])
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise failed(path, error) from error
