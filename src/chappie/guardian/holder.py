"""Which process holds a lock file, found out by the kernel's word and not by a number in a file.

A process number read from a file may be another process's by now. Here the process is held by a
descriptor first and checked afterwards, so that a signal cannot reach anybody else.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

_LOCKS = Path("/proc/locks")
_TRIES = 5
# Longer than anybody holds it who only looks whether it is taken.
_APART_S = 0.05


class Holder:
    """A process that has the lock's file open, as long as this is not closed."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    def send(self, number: signal.Signals) -> None:
        """The dead are not an error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        os.close(self._pidfd)


def holder_of(lock: Path) -> Holder | None:
    """Who holds the lock; None when nobody does or the system does not tell. Blocks a moment."""
    try:
        found = lock.stat()
        for _ in range(_TRIES):
            before = _who_locks(found.st_ino)
            time.sleep(_APART_S)
            # Twice: a list that is read while it changes may lack one, or hold one who only looks.
            for pid in _who_locks(found.st_ino):
                if pid in before and (holder := _held(pid, found)) is not None:
                    return holder
    except (OSError, ValueError):
        return None
    return None


def _held(pid: int, lock: os.stat_result) -> Holder | None:
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None
    if _has_open(pid, lock.st_dev, lock.st_ino):
        return Holder(pid, pidfd)
    os.close(pidfd)
    return None


def _who_locks(inode: int) -> list[int]:
    """`/proc/locks`: number, FLOCK, ADVISORY, WRITE, pid, major:minor:inode, start, end.

    Device numbers there differ from those of `stat` on some file systems: the inode narrows it
    down, and the open file decides.
    """
    pids: list[int] = []
    for line in _LOCKS.read_text().splitlines():
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK":
            continue
        if words[5].rpartition(":")[2] == str(inode) and int(words[4]) > 0:
            pids.append(int(words[4]))
    return pids


def _has_open(pid: int, device: int, inode: int) -> bool:
    folder = Path(f"/proc/{pid}/fd")
    try:
        descriptors = list(folder.iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) == (device, inode):
                return True
    return False
