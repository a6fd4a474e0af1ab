"""What `GET /api/events` tells: the guardian's log and the picture, to a few who listen.

Who comes is first told the picture and, as `past`, the newest lines of the log.

Bounded in every direction: so many listeners, so many waiting events for each, and one that reads
too slowly is let go, for nobody waits for a reader.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from chappie.guardian.clock import now_s
from chappie.guardian.shown import Shown

LISTENERS_MAX = 16
RETRY_MS = 2_000
_WAITING_MAX = 256
_PAST_LINES = 60
_PAST_LINE_BYTES = 2_000
_LOOK_EVERY_S = 0.25
_STATE_EVERY_S = 1.0


class Listener:
    """One who listens. `next` returns what to send, and None at the end."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_MAX)
        self._over = asyncio.Event()

    async def next(self) -> bytes | None:
        """The next event as it goes over the wire; None once it was let go or all is over."""
        if self._over.is_set():
            return None
        over = asyncio.create_task(self._over.wait())
        event = asyncio.create_task(self._waiting.get())
        try:
            await asyncio.wait({over, event}, return_when=asyncio.FIRST_COMPLETED)
            return event.result() if event.done() else None
        finally:
            over.cancel()
            event.cancel()

    def put(self, event: bytes) -> None:
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        self._over.set()

    @property
    def is_over(self) -> bool:
        return self._over.is_set()


class Feed:
    """Numbers events and hands them out. `listen`, `leave` and `close` in the loop's thread."""

    def __init__(self, look: Callable[[], Shown]) -> None:
        self._look = look
        self._listeners: list[Listener] = []
        self._number = 0
        self._past: deque[bytes] = deque(maxlen=_PAST_LINES)
        self._pump: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self) -> Listener | None:
        """A new listener, who first gets the picture; None when there are too many."""
        self._listeners = [one for one in self._listeners if not one.is_over]
        if len(self._listeners) >= LISTENERS_MAX:
            return None
        self._loop = asyncio.get_running_loop()
        made = Listener()
        made.put(f"retry: {RETRY_MS}\n\n".encode() + self._framed("state", _encoded(self._look())))
        # A copy: whoever logs meanwhile may be another thread.
        made.put(self._framed("past", b"[" + b",".join(self._past.copy()) + b"]"))
        self._listeners.append(made)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._tell_the_state())
        return made

    def leave(self, listener: Listener) -> None:
        listener.end()
        with contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def log(self, line: bytes) -> None:
        """One line of the guardian's log; any thread may call this."""
        if len(line) <= _PAST_LINE_BYTES:
            self._past.append(line)
        if self._loop is not None:
            # A loop that is closed has nobody who listens.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell, "log", line)

    def close(self) -> None:
        for one in self._listeners:
            one.end()
        self._listeners = []
        if self._pump is not None:
            self._pump.cancel()

    async def _tell_the_state(self) -> None:
        """The picture when it changes, and each second, for as long as anybody listens."""
        key: object = None
        told_s = 0.0
        while self._listeners:
            shown = self._look()
            if (now := _key(shown)) != key or now_s() - told_s >= _STATE_EVERY_S:
                key, told_s = now, now_s()
                self._tell("state", _encoded(shown))
            await asyncio.sleep(_LOOK_EVERY_S)

    def _tell(self, kind: str, data: bytes) -> None:
        if not self._listeners:
            return
        event = self._framed(kind, data)
        for one in self._listeners:
            one.put(event)
        self._listeners = [one for one in self._listeners if not one.is_over]

    def _framed(self, kind: str, data: bytes) -> bytes:
        """``data`` is one line: JSON has no raw line ends."""
        self._number += 1
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self._number, kind.encode(), data)


def _encoded(shown: Shown) -> bytes:
    return msgspec.json.encode(shown)


def _key(shown: Shown) -> object:
    """What counts as a change; ages change always."""
    faults = [(fault.fault, fault.subject) for fault in shown.faults]
    return (
        shown.mode,
        shown.halt,
        shown.known,
        shown.position.qty,
        shown.trader.pid,
        shown.trader.last_stop,
        shown.orders,
        faults,
    )
