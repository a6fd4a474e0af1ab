"""Halts from outside: the file and the signals, latched before they are obeyed."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from chappie.journal.framing import JournalError
from chappie.live import halts as halts_module
from chappie.live import latch
from chappie.live.halts import Halts, hold_early_signals
from chappie.live.log import Log
from chappie.live.watchdog import Watchdog
from chappie.model.events import Event, HaltAsked


class Rig:
    """What arrives, and what the log says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.watchdog = Watchdog(1000.0, lambda reason, detail: None)
        log = Log(fd=os.open(os.devnull, os.O_WRONLY))
        log.attach(folder / "log")
        self.halts = Halts(
            folder, log, self.watchdog, self.events.put_nowait, asyncio.get_running_loop()
        )

    async def event(self) -> Event:
        return await asyncio.wait_for(self.events.get(), 10)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in halts_module.SIGNALS}
    yield
    for number, action in before.items():
        signal.signal(number, action)


def in_loop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(test())


def test_a_file_that_appears_is_a_halt_told_once_in_its_own_words(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        rig.halts.watch_file(0.001)
        await asyncio.sleep(0.01)
        assert rig.events.empty()
        (tmp_path / "HALT").write_text("by hand\n")
        assert await rig.event() == HaltAsked("by hand")
        await asyncio.sleep(0.01)
        assert rig.events.empty()

    in_loop(test)


@pytest.mark.parametrize(("number", "flatten"), [(signal.SIGUSR1, False), (signal.SIGUSR2, True)])
def test_a_signal_latches_before_the_loop_takes_notice(
    tmp_path: Path, number: signal.Signals, flatten: bool
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        rig.halts.obey_signals()
        signal.raise_signal(number)
        halt = latch.read(tmp_path)
        assert halt is not None
        assert halt.words == number.name
        assert rig.watchdog._end_by is not None, "bounded from here on, should the loop hang"
        assert await rig.event() == HaltAsked(number.name, flatten)

    in_loop(test)


def test_a_signal_from_before_the_loop_waits_for_it(tmp_path: Path) -> None:
    async def test() -> None:
        hold_early_signals()
        signal.raise_signal(signal.SIGUSR2)
        rig = Rig(tmp_path)
        rig.halts.obey_signals()
        assert latch.read(tmp_path) is not None
        assert await rig.event() == HaltAsked("SIGUSR2", flatten=True)

    in_loop(test)


def test_a_disk_that_refuses_the_latch_keeps_no_halt_from_being_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(folder: Path, words: str) -> None:
        raise JournalError("state/HALT: Read-only file system")

    async def test() -> None:
        monkeypatch.setattr(latch, "set_", refuses)
        rig = Rig(tmp_path)
        rig.halts.obey_signals()
        signal.raise_signal(signal.SIGUSR1)
        assert await rig.event() == HaltAsked("SIGUSR1")
        rig.halts.set_latch("liquidated")
        assert rig.log().count('"event":"latch_failed"') == 2
        assert "holds for this process only" in rig.log()

    in_loop(test)


def test_a_signal_after_the_loop_is_gone_still_latches(tmp_path: Path) -> None:
    async def test() -> None:
        Rig(tmp_path).halts.obey_signals()

    in_loop(test)
    signal.raise_signal(signal.SIGUSR1)
    assert latch.read(tmp_path) is not None
