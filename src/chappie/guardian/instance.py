"""The running instance on disk: the lock that makes it the only one, and `run.json`, by which
other commands find it.
"""

import fcntl
import os
from pathlib import Path

import msgspec

from chappie.journal.files import write_atomically

LOCK_FILE = "guardian.lock"
TRADER_LOCK_FILE = "trader.lock"
RUN_FILE = "run.json"


class NotAloneError(Exception):
    """Another guardian holds this state folder."""


class Run(msgspec.Struct, frozen=True):
    """Who runs in this state folder. ``pid`` is the process to ask, ``operator`` where it
    listens; without an operator url the trader runs alone.
    """

    pid: int
    started: str = ""
    operator: str | None = None
    trader_pid: int | None = None
    venue_pid: int | None = None
    epoch: int | None = None
    # Whom to ask what is left of ours, when nobody is there to be asked.
    venue_kind: str = ""
    rest_url: str = ""
    symbol: str = ""
    bot: str = ""
    expires_after_s: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the process is there; a process of another user counts as there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class Lock:
    """An advisory lock on the state folder, dropped by the kernel when the process ends."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / LOCK_FILE
        self._fd: int | None = None

    def take(self) -> None:
        """Raises `NotAloneError`, or OSError when the folder cannot be written."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise NotAloneError(
                f"another guardian (pid {holder or 'unknown'}) runs in {self._path.parent}"
            ) from None
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError:
            # The number is a courtesy to people; the lock holds without it on a full disk.
            pass
        self._fd = fd

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def trader_is_there(state_dir: Path) -> bool:
    """Whether a trader holds the folder: one alone, or the orphan of a guardian that was killed,
    which takes up to five seconds to cancel and end.
    """
    return _is_held(state_dir / TRADER_LOCK_FILE)


def guardian_is_there(state_dir: Path) -> bool:
    """Whether a guardian holds the folder, one that hangs included."""
    return _is_held(state_dir / LOCK_FILE)


def _is_held(path: Path) -> bool:
    """One that cannot be looked at counts as held: nobody is proven to be gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def read_run(state_dir: Path) -> Run | None:
    """Who says to run here; None when nobody does or the file cannot be read."""
    try:
        return msgspec.json.decode((state_dir / RUN_FILE).read_bytes(), type=Run)
    except (OSError, msgspec.MsgspecError):
        return None


def write_run(state_dir: Path, run: Run) -> None:
    """Replace `run.json` whole. Raises `JournalError`."""
    write_atomically(state_dir / RUN_FILE, msgspec.json.encode(run) + b"\n")


def forget_run(state_dir: Path) -> None:
    """Remove `run.json` at an ordinary end."""
    (state_dir / RUN_FILE).unlink(missing_ok=True)
