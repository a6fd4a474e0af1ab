"""A guardian that is halted over each of its paths, over fake traders that obey or do not."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from chappie.guardian.plan import Plan
from chappie.guardian.waits import last_waits
from chappie.journal.kept import KeptLog
from chappie.live import latch
from chappie.model.config import BotConfig, OrdersConfig
from chappie.model.records import Waits
from chappie.model.state import Mode
from tests.guardian.rig import Rig, plan, quick, running
from tests.guardian.test_halting import FakeHand, Found

pytestmark = pytest.mark.processes


def obedient(folder: Path, *fake: object, **env: str) -> Plan:
    paths = {"FAKE_STOP": str(folder / "last_stop.json"), "FAKE_NOTES": str(folder / "notes")}
    return plan(folder, *(fake or (0, "forever")), **paths, **env)


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text().splitlines()


async def halted(rig: Rig) -> None:
    await rig.until(lambda shown: shown.halt is not None and shown.trader.pid is None)
    await rig.until(lambda _: "halt_done" in rig.screen.names())


async def dropped(rig: Rig) -> None:
    (rig.state_dir / "HALT").write_text("enough")


async def signalled(rig: Rig) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


async def posted(rig: Rig) -> None:
    status, body = await rig.post("/api/halt", reason="enough")
    assert status == 200, body
    assert body == {
        "latched": True,
        "acknowledged": True,
        "verified": True,
        "flattened": None,
        "orders": 0,
        "position": 5,
        "missing": [],
    }


@pytest.mark.parametrize("path", [dropped, signalled, posted])
def test_over_each_path_the_trader_is_told_and_stays_down_until_somebody_resumes(
    tmp_path: Path, path: object
) -> None:
    async def scene() -> None:
        async with running(obedient(tmp_path), hand=FakeHand()) as rig:
            first = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            await path(rig)  # type: ignore[operator]
            await halted(rig)
            shown = rig.guardian.look()
            assert shown.mode is Mode.STOPPED
            assert shown.trader.last_stop is not None
            assert shown.trader.last_stop.reason == "halted"
            assert latch.read(tmp_path) is not None
            status, body = await rig.post("/api/resume", reason="looked")
            assert (status, body["done"]) == (200, True), body
            again = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert again.trader.pid != first.trader.pid
            assert again.halt is None
        assert latch.read(tmp_path) is None

    asyncio.run(scene())
    assert '"type":"halt"' in notes(tmp_path)[1]


def test_a_trader_that_does_not_hear_the_halt_is_killed_and_not_started_again(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        hand = FakeHand(Found(position=100))
        async with running(obedient(tmp_path, FAKE_HALT="mute"), hand=hand) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            status, body = await rig.post("/api/halt", reason="enough")
            assert (status, body["acknowledged"], body["position"]) == (200, True, 100)
            assert hand.swept == 2
            for _ in range(10):
                await asyncio.sleep(0.05)
                assert rig.guardian.look().trader.pid is None

    asyncio.run(scene())
    assert [line for line in notes(tmp_path) if line.startswith("started")] != []
    assert len([line for line in notes(tmp_path) if line.startswith("started")]) == 1


def test_what_could_not_be_verified_is_504_in_words_and_the_halt_holds(tmp_path: Path) -> None:
    async def scene() -> None:
        hand = FakeHand(Found(verified=False, ours=1, position=None, detail="503"))
        async with running(obedient(tmp_path, 0, "deaf"), hand=hand) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            status, body = await rig.post("/api/halt", reason="enough")
            assert (status, body["verified"], body["orders"]) == (504, False, 1)
            assert body["missing"] == ["no read shows that none of our orders works: 503"]
            assert rig.guardian.look().halt is not None

    asyncio.run(scene())


def test_a_flatten_in_observe_only_is_409_in_words_and_the_halt_holds(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(obedient(tmp_path), hand=FakeHand()) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            status, body = await rig.post("/api/halt", reason="enough", flatten=True)
            assert (status, body["flattened"]) == (409, False)
            assert "bot.allow_trade is off" in str(body["missing"])
            assert rig.guardian.look().halt is not None

    asyncio.run(scene())


def test_a_flatten_by_signal_reaches_a_trader_that_may_trade(tmp_path: Path) -> None:
    async def scene() -> None:
        what = obedient(tmp_path)
        config = msgspec.structs.replace(quick(), bot=BotConfig(allow_trade=True))
        hand = FakeHand(closes=Found(position=0))
        what = msgspec.structs.replace(what, config=config)
        async with running(what, hand=hand) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            os.kill(os.getpid(), signal.SIGUSR2)
            await halted(rig)
            # The trader's stop said 5 contracts: what it left is closed once it is dead.
            assert hand.closed == 1

    asyncio.run(scene())
    assert '"flatten":true' in notes(tmp_path)[1]


def test_with_the_latch_set_no_trader_is_started_at_all(tmp_path: Path) -> None:
    (tmp_path / "HALT").touch()

    async def scene() -> None:
        async with running(obedient(tmp_path), hand=FakeHand()) as rig:
            await rig.until(lambda shown: shown.halt is not None)
            assert (await rig.get("/readyz"))[0] == 503
            assert not (tmp_path / "notes").exists()
            assert (await rig.post("/api/resume", reason="go"))[0] == 200
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)

    asyncio.run(scene())


def test_a_halt_while_a_restart_is_waited_for_keeps_it_from_coming(tmp_path: Path) -> None:
    async def scene() -> None:
        what = obedient(tmp_path, 2, "exit", "feed_stale", 10)
        config = quick(backoff_initial_s=1.0, backoff_max_s=1.0)
        what = msgspec.structs.replace(what, config=config)
        async with running(what, hand=FakeHand()) as rig:
            await rig.until(lambda shown: shown.trader.next_start_s is not None)
            assert (await rig.post("/api/halt", reason="enough"))[0] == 200
            await rig.until(lambda shown: shown.trader.next_start_s is None)
            await asyncio.sleep(0.3)
            assert rig.guardian.look().trader.pid is None
            assert len([line for line in notes(tmp_path) if "started" in line]) == 1

    asyncio.run(scene())


def test_a_halt_ends_the_wait_for_a_restart_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        what = obedient(tmp_path, 2, "exit", "feed_stale", 10)
        config = quick(backoff_initial_s=60.0, backoff_max_s=60.0)
        what = msgspec.structs.replace(what, config=config)
        async with running(what, hand=FakeHand()) as rig:
            await rig.until(lambda shown: shown.trader.next_start_s is not None)
            assert (await rig.post("/api/halt", reason="enough"))[0] == 200
            await rig.until(lambda shown: shown.trader.next_start_s is None)
            await rig.until(lambda _: rig.guardian.down_for == "halted")

    asyncio.run(scene())


def test_a_resume_starts_nobody_before_the_dead_one_s_last_request_can_have_arrived(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        what = obedient(tmp_path, 1, "signal", 9)
        bot = BotConfig(allow_trade=True)
        config = msgspec.structs.replace(
            quick(max_restarts=0), bot=bot, orders=OrdersConfig(expires_after_s=3.0)
        )
        what = msgspec.structs.replace(what, config=config)
        async with running(what, hand=FakeHand()) as rig:
            await rig.until(lambda _: rig.guardian.down_for == "crash_loop")
            assert (await rig.post("/api/resume", reason="too quick"))[0] == 200
            assert rig.guardian.may_arrive_s > 1.0
            await asyncio.sleep(0.5)
            assert len([line for line in notes(tmp_path) if "started" in line]) == 1

    asyncio.run(scene())


def test_a_person_s_resume_ends_a_crash_loop(tmp_path: Path) -> None:
    async def scene() -> None:
        what = obedient(tmp_path, 2, "exit", "internal_error", 70)
        config = quick(max_restarts=1)
        what = msgspec.structs.replace(what, config=config)
        async with running(what, hand=FakeHand()) as rig:
            await rig.until(lambda _: rig.guardian.down_for == "crash_loop")
            restarts = rig.guardian.look().trader.restarts
            status, body = await rig.post("/api/resume", reason="mended")
            assert (status, body["halt"]) == (200, None)
            await rig.until(lambda shown: shown.trader.restarts > restarts)

    asyncio.run(scene())


def test_a_resume_from_a_refusal_takes_a_ban_for_lifted(tmp_path: Path) -> None:
    wall_ns = time.time_ns()
    with contextlib.closing(KeptLog(tmp_path / "kept.log")) as kept:
        kept.append(Waits(wall_ns, wall_ns + 3_600_000_000_000, banned=True))

    async def scene() -> None:
        what = obedient(tmp_path, 2, "exit", "venue_refused", 14)
        async with running(what, hand=FakeHand()) as rig:
            await rig.until(lambda _: rig.guardian.down_for == "venue_refused")
            first = rig.guardian.look().trader.restarts
            assert (await rig.post("/api/resume", reason="the venue says so"))[0] == 200
            await rig.until(lambda shown: shown.trader.restarts > first)
            found = last_waits(tmp_path / "kept.log")
            assert found is not None
            assert not found.banned

    asyncio.run(scene())
