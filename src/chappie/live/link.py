"""The trader's end of the socket pair to the guardian: beats up, orders to end down."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec

from chappie.live.log import Log
from chappie.model.events import Event, HaltAsked, StopAsked
from chappie.model.link import Beat, Downward, Ending, EndNow, HaltNow, HaltSeen, Upward

FD_VARIABLE = "CHAPPIE_GUARDIAN_FD"
_LINE_MAX = 64 * 1024


class GuardianLink:
    """Never blocks: what the pipe does not take is dropped, for a newer beat says more."""

    def __init__(self, fd: int, deliver: Callable[[Event], None], log: Log) -> None:
        """Take the inherited descriptor over; raises `OSError` when it is no socket."""
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        os.set_inheritable(fd, False)
        self._deliver = deliver
        self._log = log
        self._decoder = msgspec.json.Decoder(Downward)
        self._encoder = msgspec.json.Encoder()
        self._received = bytearray()
        self._unsent = b""
        self._gone = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self._socket, self._readable, loop)

    def beat(self, beat: Beat) -> None:
        """Tell the guardian that the loop turns."""
        self._send(beat)

    def halt_seen(self, seen: HaltSeen) -> None:
        """Tell the guardian that its halt is obeyed."""
        self._send(seen)

    def ending(self, ending: Ending) -> None:
        """Tell the guardian why we are about to exit."""
        self._send(ending)

    def close(self) -> None:
        self._gone = True
        with contextlib.suppress(OSError):
            self._socket.close()

    def _send(self, message: Upward) -> None:
        if self._gone:
            return
        try:
            if self._unsent:
                # The rest of a line comes first: half a line would spoil the next.
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            if not self._unsent:
                line = self._encoder.encode(message) + b"\n"
                self._unsent = line[self._socket.send(line) :]
        except BlockingIOError:
            return
        except OSError:
            # The reader sees the end of the link and says so.
            return

    def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            data = self._socket.recv(_LINE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(self._socket)
            self._gone = True
            self._deliver(StopAsked("guardian_lost", "the link to the guardian ended"))
            return
        self._received += data
        while (end := self._received.find(b"\n")) >= 0:
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            self._obey(line)
        if len(self._received) > _LINE_MAX:
            self._log.error("guardian_line_refused", detail=f"no end after {_LINE_MAX} bytes")
            self._received.clear()

    def _obey(self, line: bytes) -> None:
        try:
            order = self._decoder.decode(line)
        except msgspec.DecodeError as error:
            self._log.error("guardian_line_refused", detail=str(error), line=line)
            return
        match order:
            case EndNow():
                self._deliver(StopAsked(order.reason, order.detail))
            case HaltNow():
                self._deliver(HaltAsked(order.detail, order.flatten))
            case _:
                assert_never(order)


def descriptor(environ: Mapping[str, str]) -> int | None:
    """The descriptor that the guardian passed on, if there is a guardian."""
    text = environ.get(FD_VARIABLE, "")
    return int(text) if text.isdecimal() else None
