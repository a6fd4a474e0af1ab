"""What people are told by a guardian over real traders, whatever becomes of those."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from chappie.guardian import last_stop, run_file
from chappie.guardian.restarts import CRASH_LOOP
from chappie.journal.framing import JournalError
from chappie.model.state import Mode
from tests.guardian.receivers import Receiver, never_answering, nobody, receiving
from tests.guardian.rig import plan, quick, running

pytestmark = pytest.mark.processes


async def told(receiver: Receiver, part: str) -> dict[str, Any]:
    """The first alert with this in its title; the guardian runs on meanwhile."""
    return await asyncio.to_thread(receiver.until_title, part)


def test_a_start_and_an_end_in_order_are_told(tmp_path: Path) -> None:
    async def scene(receiver: Receiver) -> None:
        async with running(plan(tmp_path, 0, "forever"), urls=[receiver.url]) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
        told = [title.partition(": ")[2] for title in receiver.titles()]
        # What is critical may overtake what is not.
        assert ("started" in told, told[-1]) == (True, "ended")
        assert "Position: 0 XBTUSD." in receiver.got[-1]["message"]

    with receiving() as receiver:
        asyncio.run(scene(receiver))


def test_a_killed_trader_is_told_although_another_receiver_never_answers(tmp_path: Path) -> None:
    async def scene(receiver: Receiver, silent: str) -> None:
        urls = [silent, nobody(), receiver.url]
        async with running(plan(tmp_path, 0, "forever"), urls=urls) as rig:
            shown = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert shown.trader.pid is not None
            os.kill(shown.trader.pid, signal.SIGKILL)
            alert = await told(receiver, "trader stopped: killed")
            assert alert["type"] == "failure"
            assert "Next step: " in alert["message"]
            assert "runs again" in (await told(receiver, "runs again"))["title"]
            assert "alert_failed" in rig.screen.names()

    with receiving() as receiver, never_answering() as silent:
        asyncio.run(scene(receiver, silent))


def test_a_stopped_trader_is_killed_although_nobody_ever_answers_an_alert(tmp_path: Path) -> None:
    async def scene(silent: str) -> None:
        async with running(plan(tmp_path, 0, "forever"), urls=[silent, silent]) as rig:
            first = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert first.trader.pid is not None
            os.kill(first.trader.pid, signal.SIGSTOP)
            await rig.until(lambda shown: shown.trader.restarts == 1)
            stop = rig.guardian.look().trader.last_stop
            assert stop is not None
            assert stop.reason == "loop_stalled"
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert "alert_delivered" not in rig.screen.names()

    with never_answering() as silent:
        asyncio.run(scene(silent))


def test_a_stalled_trader_is_told_once_with_the_age_of_what_is_known(tmp_path: Path) -> None:
    async def scene(receiver: Receiver) -> None:
        what = plan(tmp_path, 0, "forever", config=quick(heartbeat_timeout_s=2.5))
        async with running(what, urls=[receiver.url]) as rig:
            shown = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert shown.trader.pid is not None
            os.kill(shown.trader.pid, signal.SIGSTOP)
            alert = await told(receiver, "trader hangs, killed: loop_stalled")
            assert "s old: the trader has not spoken since" in alert["message"]
            await told(receiver, "runs again")
        assert len([title for title in receiver.titles() if "loop_stalled" in title]) == 1

    with receiving() as receiver:
        asyncio.run(scene(receiver))


def test_a_crash_loop_is_told_as_what_it_is(tmp_path: Path) -> None:
    async def scene(receiver: Receiver) -> None:
        what = plan(tmp_path, 2, "exit", "feed_stale", 10, config=quick(max_restarts=1))
        async with running(what, urls=[receiver.url]) as rig:
            await rig.until(
                lambda shown: (
                    shown.trader.last_stop is not None
                    and shown.trader.last_stop.reason == CRASH_LOOP
                )
            )
            alert = await told(receiver, "CRASH LOOP")
            assert (alert["type"], "restarts within" in alert["message"]) == ("failure", True)
        # The stop behind it came twice and was told once.
        assert len([title for title in receiver.titles() if "feed_stale" in title]) == 1

    with receiving() as receiver:
        asyncio.run(scene(receiver))


def test_a_trader_that_is_never_started_again_is_told_with_the_way_out(tmp_path: Path) -> None:
    async def scene(receiver: Receiver) -> None:
        what = plan(tmp_path, 2, "exit", "halted", 20)
        async with running(what, urls=[receiver.url]):
            alert = await told(receiver, "trader stopped: halted")
            assert "chappie resume --reason TEXT" in alert["message"]

    with receiving() as receiver:
        asyncio.run(scene(receiver))


def test_a_start_into_a_halt_that_stands_is_told(tmp_path: Path) -> None:
    (tmp_path / "HALT").write_text("of yesterday")

    async def scene(receiver: Receiver) -> None:
        async with running(plan(tmp_path, 0, "forever"), urls=[receiver.url]):
            alert = await told(receiver, "HALTED")
            assert "of yesterday" in alert["message"]

    with receiving() as receiver:
        asyncio.run(scene(receiver))


def test_alerts_leave_although_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise JournalError("No space left on device")

    monkeypatch.setattr(last_stop, "write", full)
    monkeypatch.setattr(run_file, "write_run", full)

    async def scene(receiver: Receiver) -> None:
        async with running(plan(tmp_path, 2, "signal", 9), urls=[receiver.url]):
            alert = await told(receiver, "disk full or unwritable")
            assert "No space left on device" in alert["message"]
            await told(receiver, "trader stopped: killed")

    with receiving() as receiver:
        asyncio.run(scene(receiver))


def test_a_guardian_that_cannot_go_on_says_so_before_it_ends(tmp_path: Path) -> None:
    async def scene(receiver: Receiver) -> None:
        what = plan(tmp_path, 0, "exit", "config", 64)
        async with running(what, urls=[receiver.url]) as rig:
            assert (await rig.running).code == 64
        alert = receiver.until_title("GUARDIAN ENDED")
        assert alert["type"] == "failure"

    with receiving() as receiver:
        asyncio.run(scene(receiver))
