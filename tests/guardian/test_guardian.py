import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest

from chappie.guardian.burial import fate
from chappie.guardian.instance import read_run
from chappie.guardian.venue import VenueFailedError
from chappie.live import latch
from chappie.live.state_dir import StateDir
from chappie.model.config import BotConfig, OrdersConfig
from chappie.model.faults import StopReason
from chappie.model.state import Mode
from tests.guardian.rig import plan, quick, running

pytestmark = pytest.mark.processes


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_starts_the_trader_and_shows_what_it_beats(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 0, "forever")) as rig:
            starting = rig.guardian.look()
            assert (starting.mode, starting.known) == (Mode.STARTING, False)
            shown = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert shown.trader.pid is not None
            assert is_alive(shown.trader.pid)
            assert (await rig.get("/readyz"))[0] == 200
            await rig.until(lambda _: "first_decision" in rig.screen.names())
            # What the trader prints reaches the display as well.
            assert "fake_trader_started" in rig.screen.names()
            found = read_run(tmp_path)
            assert found is not None
            assert (found.pid, found.trader_pid) == (os.getpid(), shown.trader.pid)
            assert found.operator == rig.url
        assert not is_alive(shown.trader.pid)
        assert read_run(tmp_path) is None
        assert rig.screen.closed
        assert rig.guardian.look().mode is Mode.STOPPED

    asyncio.run(scene())


def test_the_operator_s_end_reaches_the_trader_in_words_and_the_exit_code_is_0(
    tmp_path: Path,
) -> None:
    notes = tmp_path / "notes"

    async def scene() -> None:
        async with running(plan(tmp_path, 0, "forever", FAKE_NOTES=str(notes))) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            os.kill(os.getpid(), signal.SIGTERM)
            ended = await asyncio.wait_for(rig.running, 5.0)
            assert ended.code == 0
            stop = rig.guardian.look().trader.last_stop
            assert stop is not None
            assert (stop.reason, stop.code) == ("operator", 0)

    asyncio.run(scene())
    told = msgspec.json.decode(notes.read_text().splitlines()[1].removeprefix("told "))
    assert told == {"type": "end", "reason": "operator", "detail": "signal SIGTERM"}


def test_a_deaf_trader_is_killed_and_everything_is_gone_within_5_s(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 0, "deaf")) as rig:
            shown = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            began = time.monotonic()
            rig.guardian.ask_to_end("enough")
            ended = await rig.running
            assert time.monotonic() - began < 5.0
            assert ended.code == 0
            assert shown.trader.pid is not None
            assert not is_alive(shown.trader.pid)
            stop = rig.guardian.look().trader.last_stop
            assert stop is not None
            assert (stop.reason, stop.known) == ("operator", False)

    asyncio.run(scene())


def test_a_second_request_to_end_hurries(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 0, "deaf")) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            began = time.monotonic()
            rig.guardian.ask_to_end("enough")
            rig.guardian.ask_to_end("now")
            await rig.running
            assert time.monotonic() - began < 2.0

    asyncio.run(scene())


def test_a_trader_that_ends_with_a_restartable_reason_is_started_again(tmp_path: Path) -> None:
    async def scene() -> None:
        what = plan(tmp_path, 2, "exit", "feed_stale", 10)
        async with running(what) as rig:
            shown = await rig.until(lambda shown: shown.trader.restarts >= 1)
            stop = shown.trader.last_stop
            assert stop is not None
            assert (stop.reason, stop.code, stop.detail) == ("feed_stale", 10, "fake feed_stale")
            written = msgspec.json.decode((tmp_path / "last_stop.json").read_bytes())
            assert written["reason"] == "feed_stale"
            assert written["known"] is False

    asyncio.run(scene())


def test_what_the_trader_wrote_about_its_end_is_not_overwritten(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "last_stop.json"
        async with running(plan(tmp_path, 1, "exit", "venue_refused", 14, path)) as rig:
            shown = await rig.until(lambda shown: shown.mode is Mode.STOPPED)
            stop = shown.trader.last_stop
            assert stop is not None
            assert (stop.detail, stop.position) == ("written by the trader", 5)
            assert shown.known is True
            assert msgspec.json.decode(path.read_bytes())["detail"] == "written by the trader"
            await rig.until(lambda _: "staying_down" in rig.screen.names())
            # Down, and still serving.
            assert (await rig.get("/healthz"))[0] == 200
            assert (await rig.get("/readyz"))[0] == 503
            status, state = await rig.get("/api/state")
            assert (status, state["mode"]) == (200, "stopped")
            assert rig.guardian.look().trader.restarts == 0

    asyncio.run(scene())


def test_past_max_restarts_it_stays_down_as_a_crash_loop_and_keeps_serving(tmp_path: Path) -> None:
    async def scene() -> None:
        what = plan(tmp_path, 0, "exit", "internal_error", 70, config=quick(max_restarts=2))
        async with running(what) as rig:
            shown = await rig.until(
                lambda shown: (
                    shown.trader.last_stop is not None
                    and shown.trader.last_stop.reason == "crash_loop"
                )
            )
            assert (shown.mode, shown.trader.restarts) == (Mode.STOPPED, 2)
            written = msgspec.json.decode((tmp_path / "last_stop.json").read_bytes())
            assert written["reason"] == "crash_loop"
            await asyncio.sleep(0.5)
            assert rig.guardian.look().trader.restarts == 2
            assert (await rig.get("/api/state"))[0] == 200

    asyncio.run(scene())


def test_a_trader_killed_from_outside_is_restarted_and_the_reason_is_killed(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 0, "forever")) as rig:
            shown = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert shown.trader.pid is not None
            os.kill(shown.trader.pid, signal.SIGKILL)
            shown = await rig.until(
                lambda shown: shown.trader.restarts == 1 and shown.mode is Mode.OBSERVING
            )
            stop = shown.trader.last_stop
            assert stop is not None
            assert (stop.reason, stop.code, stop.known) == ("killed", 22, False)

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["hang", "stop"])
def test_a_trader_that_no_longer_beats_is_killed_and_the_stop_is_loop_stalled(
    tmp_path: Path, how: str
) -> None:
    async def scene() -> None:
        what = plan(tmp_path, 3, "hang") if how == "hang" else plan(tmp_path, 0, "forever")
        async with running(what) as rig:
            shown = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            pid = shown.trader.pid
            assert pid is not None
            if how == "stop":
                os.kill(pid, signal.SIGSTOP)
            shown = await rig.until(lambda shown: shown.trader.last_stop is not None)
            assert not is_alive(pid)
            stop = shown.trader.last_stop
            assert stop is not None
            assert (stop.reason, stop.code) == ("loop_stalled", 17)
            await rig.until(lambda shown: shown.trader.restarts == 1)

    asyncio.run(scene())


def test_before_the_first_clean_reconciliation_the_patience_is_the_startup_timeout(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        config = quick(heartbeat_timeout_s=0.3, startup_timeout_s=1.5)
        async with running(plan(tmp_path, 0, "hang", config=config)) as rig:
            began = time.monotonic()
            shown = await rig.until(lambda shown: shown.trader.last_stop is not None)
            assert time.monotonic() - began > 1.0
            assert shown.trader.last_stop is not None
            assert shown.trader.last_stop.reason == "loop_stalled"

    asyncio.run(scene())


def test_a_configuration_that_the_trader_refuses_at_once_ends_the_guardian_with_64(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 0, "exit", "config", 64)) as rig:
            ended = await rig.running
            assert (ended.code, ended.line) == (64, "fake config")

    asyncio.run(scene())


def test_where_a_dead_trader_s_request_may_still_arrive_the_next_start_waits_for_it(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        config = msgspec.structs.replace(
            quick(),
            bot=BotConfig(allow_trade=True),
            orders=OrdersConfig(expires_after_s=1.0),
        )
        what = plan(tmp_path, 1, "signal", 9, config=config)
        async with running(what) as rig:
            shown = await rig.until(lambda shown: shown.trader.next_start_s is not None)
            assert shown.trader.next_start_s is not None
            assert shown.trader.next_start_s > 1.5

    asyncio.run(scene())


def test_a_bug_of_its_own_ends_the_trader_in_order_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 0, "forever")) as rig:
            shown = await rig.until(lambda shown: shown.mode is Mode.OBSERVING)

            def broken(_: object) -> None:
                raise KeyError("planted")

            monkeypatch.setattr(rig.guardian._picture, "first_decision", broken)
            ended = await rig.running
            assert ended.code == 70
            assert ended.line == "a bug in the guardian ended it: KeyError('planted')"
            assert shown.trader.pid is not None
            assert not is_alive(shown.trader.pid)

    asyncio.run(scene())


class StubbornVenue:
    """A venue that starts the first time and never again."""

    pid = 1
    rest_url = ""
    is_running = True

    def __init__(self) -> None:
        self.asked = 0

    def ensure(self) -> bool:
        self.asked += 1
        if self.asked > 1:
            raise VenueFailedError("no venue today")
        return True

    def stop(self, within_s: float) -> None:
        return

    def kill(self) -> None:
        return

    def trader_env(self) -> dict[str, str]:
        return {}

    def inherited(self) -> tuple[int, ...]:
        return ()

    def upkeep(self) -> None:
        return


def test_a_later_start_that_fails_counts_as_a_stop_and_does_not_end_the_guardian(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        venue = StubbornVenue()
        what = plan(tmp_path, 1, "exit", "feed_stale", 10, config=quick(max_restarts=2))
        async with running(what, venue) as rig:
            shown = await rig.until(
                lambda shown: (
                    shown.trader.last_stop is not None
                    and shown.trader.last_stop.reason == "crash_loop"
                )
            )
            assert "no venue today" in shown.trader.last_stop.detail  # type: ignore[union-attr]
            assert (await rig.get("/healthz"))[0] == 200
            assert venue.asked == 3

    asyncio.run(scene())


def test_the_orphan_of_a_killed_guardian_is_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        orphan = StateDir(tmp_path)
        async with running(plan(tmp_path, 0, "forever")) as rig:
            await asyncio.sleep(0.6)
            assert rig.guardian.look().trader.pid is None
            orphan.close()
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)

    asyncio.run(scene())


def test_a_trader_that_stays_in_the_folder_is_not_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chappie.guardian.guardian._ORPHAN_ENDS_WITHIN_S", 0.3)

    async def scene() -> None:
        other = StateDir(tmp_path)
        async with running(plan(tmp_path, 0, "forever")) as rig:
            ended = await rig.running
            assert ended.code == 21
            assert "another trader runs in" in ended.line
        other.close()

    asyncio.run(scene())


def test_a_full_disk_does_not_take_the_guardian_along(tmp_path: Path) -> None:
    async def scene() -> None:
        what = plan(tmp_path / "gone", 1, "exit", "feed_stale", 10)
        (tmp_path / "gone").mkdir()
        async with running(what) as rig:
            # A folder in the way of the file fails every write of it, as a full disk does.
            (tmp_path / "gone" / "last_stop.json").mkdir()
            (tmp_path / "gone" / "last_stop.json" / "x").touch()
            shown = await rig.until(lambda shown: shown.trader.restarts >= 1)
            assert shown.trader.last_stop is not None
            assert "last_stop_not_written" in rig.screen.names()

    asyncio.run(scene())


def test_a_disk_that_hangs_stops_neither_the_watch_nor_what_follows_a_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    hanging = (
        "run_file.write_run",
        "burial.last_stop.write",
        "burial.last_stop.stamp",
        "guardian.trader_is_there",
    )

    async def scene() -> None:
        async with running(plan(tmp_path, 3, "hang")) as rig:
            await rig.until(lambda shown: shown.trader.pid is not None)
            for name in hanging:
                monkeypatch.setattr(f"chappie.guardian.{name}", lambda *args: hangs.wait())
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert (await rig.get("/healthz"))[0] == 200
            # The trader hangs, too: it is seen and killed at its time, and another one follows.
            shown = await rig.until(lambda shown: shown.trader.restarts >= 1)
            assert shown.trader.last_stop is not None
            assert shown.trader.last_stop.reason == "loop_stalled"
            assert "last_stop_not_written" in rig.screen.names()
            hangs.set()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("reason", "code", "restarts"), [("invariant_violated", 16, 0), ("position_mismatch", 13, 1)]
)
def test_what_a_person_has_to_look_at_latches_a_halt_and_a_resume_starts_again(
    tmp_path: Path, reason: str, code: int, restarts: int
) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 1, "exit", reason, code)) as rig:
            await rig.until(lambda _: rig.guardian.down_for == reason)
            await rig.until(lambda _: not rig.guardian.halting.is_under_way())
            shown = rig.guardian.look()
            assert shown.trader.restarts == restarts
            await rig.until(lambda _: latch.read(tmp_path) is not None)
            halt = latch.read(tmp_path)
            assert halt is not None
            assert reason in halt.words
            # While it is latched nobody starts, whoever asks.
            rig.guardian.start_again("without a resume")
            await rig.until(lambda _: rig.guardian.down_for == "halted")
            await rig.until(lambda _: not rig.guardian.halting.is_under_way())
            assert (await rig.guardian.halting.resume("looked at it", "a test")).done
            await rig.until(lambda _: rig.screen.names().count("trader_started") == restarts + 2)

    asyncio.run(scene())


def test_a_latch_that_is_there_at_the_start_starts_nobody_until_it_is_cleared(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        latch.set_(tmp_path, "looked wrong")
        async with running(plan(tmp_path, 0, "forever")) as rig:
            await rig.until(lambda _: rig.guardian.down_for == "halted")
            assert (await rig.get("/healthz"))[0] == 200
            assert rig.guardian.trader is None
            await rig.until(lambda _: not rig.guardian.halting.is_under_way())
            assert (await rig.guardian.halting.resume("looked at it", "a test")).done
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            assert rig.guardian.down_for is None

    asyncio.run(scene())


def test_a_latch_that_appears_while_the_trader_lives_ends_its_restarts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(plan(tmp_path, 20, "exit", "feed_stale", 10)) as rig:
            await rig.until(lambda shown: shown.mode is Mode.OBSERVING)
            latch.set_(tmp_path, "by hand")
            await rig.until(lambda _: rig.guardian.down_for == "halted")
            assert rig.screen.names().count("trader_started") == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("returncode", "reason"),
    [
        (0, StopReason.OPERATOR),
        (10, StopReason.FEED_STALE),
        (64, StopReason.CONFIG),
        (1, StopReason.INTERNAL_ERROR),
        (2, StopReason.INTERNAL_ERROR),
        (-9, StopReason.KILLED),
        (-11, StopReason.KILLED),
    ],
)
def test_every_way_to_end_has_one_reason(returncode: int, reason: StopReason) -> None:
    assert fate(returncode, None)[0] is reason
