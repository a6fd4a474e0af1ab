"""The simulated driver does what the live one does, in the same order."""

import asyncio
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chappie.journal.framing import JournalError
from chappie.live.trader import Trader
from chappie.model.commands import (
    AskPolicy,
    CloseStream,
    Command,
    DropOrders,
    HttpCall,
    Keep,
    Log,
    OpenStream,
    SayHalted,
    SendCall,
    SendFrame,
    SetLatch,
    Stop,
)
from chappie.model.enums import Lane
from chappie.model.events import Event, PolicyDecided, Started, StopAsked, Ticked
from chappie.model.records import Stopped
from chappie.model.units import SECOND_NS, At
from chappie.model.view import View
from chappie.simulation.process import Process
from chappie.simulation.world import World
from chappie.simvenue.market import Still
from tests.core.parts import config

VIEW = View(0.0, "XBTUSD", (), (), None, None, None, None, 0, None, None, 0, 100)
CALL = SendCall(1, Lane.CANCEL, HttpCall("DELETE", "/order", b"{}"), 2_000_000_000, 10**9)
RECORD = Stopped(1, "operator", "kept by the core")

# What the core commands on its first, second, third ... event.
SCRIPT: tuple[tuple[Command, ...], ...] = (
    (Log("info", "a", {}), OpenStream(1, 10**9), Keep(RECORD), CALL),
    (AskPolicy(1, VIEW), SendFrame(1, b"ping")),
    (Log("info", "answered", {}),),
    (CloseStream(1, "done"),),
    (SetLatch("liquidated"), DropOrders(), SayHalted("enough"), CALL),
    (Stop("operator", "", True), Log("info", "never", {})),
)


class Diary:
    """What a driver did, in order."""

    def __init__(self, journal_fails: bool = False) -> None:
        self.lines: list[str] = []
        self._script: Iterator[tuple[Command, ...]] = iter(SCRIPT)
        self._journal_fails = journal_fails

    def note(self, what: str) -> None:
        self.lines.append(what)

    # The core.

    def step(self, at: At, event: Event) -> tuple[Command, ...]:
        self.note(f"step {type(event).__name__}")
        if isinstance(event, StopAsked):
            return (Stop(event.reason, event.detail, False),)
        return next(self._script, ())

    def next_deadline(self) -> int | None:
        return None

    def snapshot(self, at: At) -> Any:
        return None

    def rest(self, at: At) -> tuple[int, bool]:
        return 0, False

    # The disk.

    def journal(self, entry: object) -> None:
        if self._journal_fails and isinstance(entry, PolicyDecided):
            raise JournalError("full")
        self.note(f"journal {type(entry).__name__}")

    def kept(self, record: object) -> None:
        self.note(f"keep {type(record).__name__}")


class Scribe:
    """Stands for journal, kept log, log, watchdog, streams and REST of the live driver."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self.redactor = SimpleNamespace(text=lambda text: text)

    def open(self, conn: int, within_ns: int) -> None:
        self._diary.note("open")

    def close(self, conn: int, why: str) -> None:
        self._diary.note("close")

    def send(self, *what: object) -> None:
        self._diary.note("say" if len(what) == 2 else "call")

    def send_order(self, command: object) -> None:
        self._diary.note("order")

    def drop_orders(self) -> None:
        self._diary.note("drop orders")

    def ask(self, decision: int, view: View) -> PolicyDecided:
        self._diary.note("ask")
        return PolicyDecided(decision, 0)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **fields: None


class _Zero:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    def decide(self, view: View) -> int:
        self._diary.note("ask")
        return 0


class _Journal:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self._taken: list[object] = []

    def append(self, at: At, entry: object) -> None:
        self._taken.append(entry)

    def flush(self, at: At) -> None:
        while self._taken:
            self._diary.journal(self._taken.pop(0))


class _Kept:
    def __init__(self, diary: Diary) -> None:
        self.append = diary.kept


EVENTS: tuple[Event, ...] = (Started(1), Ticked(), Ticked(), Ticked(), Ticked(), Ticked())


async def _live(diary: Diary) -> None:
    scribe = Scribe(diary)
    moments = count(SECOND_NS, SECOND_NS)
    trader = Trader(
        core=diary,
        journal=cast(Any, _Journal(diary)),
        kept=cast(Any, _Kept(diary)),
        policy=scribe,
        log=cast(Any, scribe),
        watchdog=cast(Any, scribe),
        # No two events are so near to each other that they share a write.
        clock=lambda: At(next(moments), 1),
        loop=asyncio.get_running_loop(),
        epoch=1,
        last_words=lambda ended, state: diary.note(f"ended {ended.reason.word}"),
        set_latch=lambda words: diary.note("latch"),
    )
    trader.connect(cast(Any, scribe), cast(Any, scribe), None)
    for event in EVENTS:
        trader.deliver(event)


def _simulated(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = _Zero(diary)
    world = World(config(), policy, Still())
    process = Process(world, 1)
    monkeypatch.setattr(process, "core", diary)
    monkeypatch.setattr(process, "sockets", _sockets(diary))
    monkeypatch.setattr(world.disk, "append", lambda epoch, at, entry: diary.journal(entry))
    monkeypatch.setattr(world.disk, "append_kept", diary.kept)
    monkeypatch.setattr(world.disk, "set_latch", lambda words: diary.note("latch"))
    monkeypatch.setattr(world, "ended", lambda _, end: diary.note(f"ended {end.reason.word}"))
    for event in EVENTS:
        process.deliver(event)


def _sockets(diary: Diary) -> Any:
    return SimpleNamespace(
        open=lambda conn, within_ns: diary.note("open"),
        close=lambda conn: diary.note("close"),
        say=lambda conn, payload: diary.note("say"),
        send=lambda command: diary.note("call"),
        drop_orders=lambda: diary.note("drop orders") or [],
        break_all=lambda: None,
    )


@pytest.mark.parametrize("journal_fails", [False, True])
def test_both_drivers_do_the_same_in_the_same_order(
    journal_fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, simulated = Diary(journal_fails), Diary(journal_fails)
    asyncio.run(_live(live))
    _simulated(simulated, monkeypatch)
    # Last words are for people; when they are written differs.
    assert _without_end(simulated.lines) == _without_end(live.lines)
    assert _ends(simulated.lines) == _ends(live.lines)
    assert {"ask", "latch", "drop orders"} <= set(live.lines) or journal_fails
    assert (live.lines[-1] == "keep Stopped") is False, "the core kept its own stop"


def _without_end(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("ended")]


def _ends(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("ended")]
