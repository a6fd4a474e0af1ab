"""What systemd is told: ready, alive, what we do, and that we end (control K7).

Its protocol is one datagram of lines to the socket that the environment names; without that
variable nobody is told. Telling never blocks and never fails: it must not cost a step.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterable, MutableMapping
from typing import Protocol, Self

from chappie.live.log import printable
from chappie.model.link import Beat, Ending, HaltSeen
from chappie.model.state import FaultState, Mode

_SOCKET, _PERIOD, _PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
# A sign of life is due every period; three lost ones are not yet a death.
_SIGNS_PER_PERIOD = 4
_STATUS_EVERY_S = 1.0
_STATUS_MAX = 200
_FAULTS_MAX = 3


class Notify:
    """Tells the supervisor of this process. Owned by one thread."""

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        """``address`` None: nobody listens. ``watchdog_s``: how long we may be silent."""
        self._address = address
        if address is not None and address.startswith("@"):
            # An abstract socket: no file, and a zero byte where people write an at sign.
            self._address = "\0" + address[1:]
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self._alive_every_s = None if watchdog_s is None else watchdog_s / _SIGNS_PER_PERIOD
        self._ready = False
        self._ending = False
        self._alive_s = 0.0
        self._status = ""
        self._status_s = 0.0

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Self:
        """From the environment, which is then without it: our children are not the service."""
        address = environ.pop(_SOCKET, None)
        period, pid = environ.pop(_PERIOD, ""), environ.pop(_PID, "")
        ours = pid in ("", str(os.getpid()))
        watchdog_s = int(period) / 1e6 if period.isdecimal() and ours else None
        if address is None or not address.startswith(("/", "@")):
            address = None
        return cls(address, watchdog_s or None)

    def turned(self, status: str) -> None:
        """What decides has turned once more: we are ready, alive, and do what ``status`` says."""
        if self._socket is None:
            return
        now_s = time.monotonic()
        lines = []
        if not self._ready:
            self._ready = True
            lines.append("READY=1")
        if self._alive_every_s is not None and now_s - self._alive_s >= self._alive_every_s:
            self._alive_s = now_s
            lines.append("WATCHDOG=1")
        if status != self._status and now_s - self._status_s >= _STATUS_EVERY_S:
            self._status, self._status_s = status, now_s
            lines.append(f"STATUS={status}")
        self._send(lines)

    def ending(self, why: str) -> None:
        """The end has begun; said once."""
        if not self._ending:
            self._ending = True
            self._send(["STOPPING=1", f"STATUS={_short(f'ending: {why}')}"])

    def _send(self, lines: list[str]) -> None:
        if self._socket is not None and self._address is not None and lines:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)


def status_of(mode: Mode, faults: Iterable[FaultState]) -> str:
    """The mode, and in a few words why; one line."""
    kinds = list(dict.fromkeys(fault.fault for fault in faults))
    more = len(kinds) - _FAULTS_MAX
    named = ", ".join(kinds[:_FAULTS_MAX]) + (f" and {more} more" if more > 0 else "")
    return _short(f"{mode.value}: {named}" if named else mode.value)


def _short(text: str) -> str:
    return printable(" ".join(text.split()))[:_STATUS_MAX]


class Link(Protocol):
    """Who else hears the trader's beats: the link to a guardian."""

    def beat(self, beat: Beat) -> None: ...

    def halt_seen(self, seen: HaltSeen) -> None: ...

    def ending(self, ending: Ending) -> None: ...


class Told:
    """The trader's beats, told to systemd and to the guardian, if there is one. A beat is a step
    of the decision loop, so a loop that hangs falls silent to both.
    """

    def __init__(self, notify: Notify, link: Link | None) -> None:
        self._notify = notify
        self._link = link

    def beat(self, beat: Beat) -> None:
        self._notify.turned(status_of(beat.state.mode, beat.state.faults))
        if self._link is not None:
            self._link.beat(beat)

    def halt_seen(self, seen: HaltSeen) -> None:
        self._notify.ending(seen.detail)
        if self._link is not None:
            self._link.halt_seen(seen)

    def ending(self, ending: Ending) -> None:
        self._notify.ending(f"{ending.reason}: {ending.detail}")
        if self._link is not None:
            self._link.ending(ending)
