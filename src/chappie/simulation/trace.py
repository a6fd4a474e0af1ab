"""The trace of a night: events, faults and commands in the order in which they happened."""

import json
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from chappie.model.commands import (
    CloseStream,
    Command,
    DropOrders,
    Log,
    OpenStream,
    SayHalted,
    SendCall,
    SendOrder,
    SetLatch,
    Stop,
)
from chappie.model.events import Answered, Event, FrameReceived, Ticked
from chappie.simulation.process import Process

if TYPE_CHECKING:
    from chappie.simulation.night import Night

_KEPT = 120
_WIDE = 240
_ROWS_MAX = 6
# What of a row tells the story.
_COLUMNS = (
    "clOrdID", "ordStatus", "leavesQty", "cumQty", "execType", "execID", "lastQty", "currentQty",
    "now", "cancelTime", "error",
)  # fmt: skip
_MARKET = (b'{"table":"quote"', b'{"table":"orderBook', b'{"table":"trade"', b'{"table":"instr')


class Trace:
    """The last lines, or all of them when somebody wants to read all."""

    def __init__(self, night: "Night", verbose: bool) -> None:
        self.verbose = verbose
        self._night = night
        self._lines: deque[tuple[float, int, Event | Command | str]] = deque(
            maxlen=None if verbose else _KEPT
        )

    def note(self, words: str) -> None:
        self._lines.append((self._night.now_s, 0, words))

    def guarded(self, command: Command) -> None:
        """The guardian does something."""
        self._lines.append((self._night.now_s, 0, command))

    def stepped(self, process: Process, event: Event, commands: Sequence[Command]) -> None:
        kind = type(event)
        if kind is FrameReceived:
            if not event.payload.startswith(_MARKET):  # type: ignore[union-attr]
                self._lines.append((self._night.now_s, process.epoch, event))
        elif kind is not Ticked:
            self._lines.append((self._night.now_s, process.epoch, event))
        for command in commands:
            self._lines.append((self._night.now_s, process.epoch, command))

    def lines(self) -> list[str]:
        """In words, the oldest first."""
        found = []
        for at_s, epoch, what in self._lines:
            words = _words(what)
            if words:
                who = f"run {epoch}" if epoch else "     "
                found.append(f"{at_s:9.3f} {who} {words}"[:_WIDE])
        return found


def _words(what: Event | Command | str) -> str:
    match what:
        case str():
            return f"*** {what}"
        case SendOrder() | SendCall():
            call = what.call
            return f"-> {what.request_id} {call.method} {unquote(call.path)} {call.body.decode()}"
        case Answered():
            return f"<- {what.request_id} {what.status} {_json_words(what.body)}"
        case FrameReceived():
            return f"<~ {_json_words(what.payload)}"
        case Log():
            if what.level == "debug":
                return ""
            return f"   {what.event} " + " ".join(f"{k}={v}" for k, v in what.fields.items())
        case OpenStream() | CloseStream() | DropOrders() | SetLatch() | SayHalted() | Stop():
            return f"-> {what}"
    return "" if type(what).__name__ in ("Keep", "AskPolicy", "SendFrame") else f"<- {what}"


def _json_words(text: bytes) -> str:
    """A message of the venue, cut down to the columns that tell the story."""
    try:
        message = json.loads(text)
    except ValueError:
        return repr(text)
    if isinstance(message, dict) and "table" in message:
        return f"{message['table']} {message['action']} {_rows_words(message.get('data', []))}"
    return _rows_words(message if isinstance(message, list) else [message])


def _rows_words(rows: list[Any]) -> str:
    told = []
    for row in rows[:_ROWS_MAX]:
        told.append(" ".join(f"{name}={row[name]}" for name in _COLUMNS if name in row))
    more = f" and {len(rows) - _ROWS_MAX} more" if len(rows) > _ROWS_MAX else ""
    return f"[{'; '.join(told)}]{more}"
