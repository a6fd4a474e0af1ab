import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from chappie.guardian import keeper as keeper_module
from chappie.guardian.keeper import Keeper
from chappie.guardian.outlet import Outlet
from chappie.guardian.venue import VenueFailedError
from chappie.model.config import SupervisorConfig
from tests.guardian.rig import Screen

LIMITS = SupervisorConfig(backoff_initial_s=1.0, backoff_max_s=4.0)


class Mortal:
    """A venue that dies when told to, and starts unless it is told not to."""

    rest_url = "http://127.0.0.1:9/api/v1"

    def __init__(self) -> None:
        self.pid: int | None = None
        self.is_running = False
        self.fails = False
        self.starts = 0

    def ensure(self) -> bool:
        if self.is_running:
            return False
        self.starts += 1
        if self.fails:
            raise VenueFailedError("no venue today")
        self.pid = self.starts
        self.is_running = True
        return True

    def stop(self, within_s: float) -> None:
        self.is_running = False

    def kill(self) -> None:
        self.is_running = False

    def trader_env(self) -> dict[str, str]:
        return {}

    def inherited(self) -> tuple[int, ...]:
        return ()

    def upkeep(self) -> None:
        return


class Stage:
    """A keeper, its venue, and a clock that is set by hand."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_s = 1000.0
        monkeypatch.setattr(keeper_module, "now_s", lambda: self.at_s)
        self.venue = Mortal()
        self.changes = 0
        self.outlet = Outlet(folder, Screen(), lambda: None)
        self.keeper = Keeper(self.venue, LIMITS, self.outlet, self.changed)

    def changed(self) -> None:
        self.changes += 1

    async def after(self, seconds: float) -> int:
        """Let the time pass, look once, and count the starts so far."""
        self.at_s += seconds
        self.keeper.tend()
        if self.keeper._start is not None:
            await asyncio.wait({self.keeper._start})
        return self.venue.starts

    def said(self) -> list[str]:
        lines = list(self.outlet._waiting)
        return [line.split('"event":"')[1].split('"')[0] for line in lines]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def played(scene: Callable[[], object]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def test_one_that_lives_is_left_alone(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keeper.ensure()
        await stage.keeper.ensure()
        assert await stage.after(0.25) == 1
        assert (stage.said(), stage.changes) == (["venue_started"], 1)

    played(scene)


def test_one_that_died_is_started_at_once_and_told(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keeper.ensure()
        stage.venue.kill()
        assert await stage.after(0.25) == 2
        assert stage.said() == ["venue_started", "venue_died", "venue_started"]
        assert (stage.changes, stage.venue.pid) == (2, 2)

    played(scene)


def test_one_that_dies_again_and_again_is_started_ever_more_rarely(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keeper.ensure()
        starts = 1
        for wait_s in (0.0, 1.0, 2.0, 4.0, 4.0):
            stage.venue.kill()
            if wait_s:
                assert await stage.after(wait_s - 0.1) == starts
            starts += 1
            assert await stage.after(0.1) == starts

    played(scene)


def test_after_a_long_life_the_back_off_is_forgotten(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keeper.ensure()
        for _ in range(4):
            stage.venue.kill()
            await stage.after(4.0)
        await stage.after(5.0)
        stage.venue.kill()
        before = stage.venue.starts
        assert await stage.after(0.1) == before + 1
        stage.venue.kill()
        assert await stage.after(1.0) == before + 2

    played(scene)


def test_a_start_that_fails_is_told_and_tried_again_later(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keeper.ensure()
        stage.venue.kill()
        stage.venue.fails = True
        assert await stage.after(0.1) == 2
        assert await stage.after(0.5) == 2
        assert await stage.after(0.5) == 3
        stage.venue.fails = False
        assert await stage.after(2.0) == 4
        # The death is told once, each failure once.
        assert stage.said() == [
            "venue_started",
            "venue_died",
            "venue_not_started",
            "venue_not_started",
            "venue_started",
        ]

    played(scene)


def test_a_bug_in_a_start_surfaces_in_the_watch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        await stage.keeper.ensure()
        stage.venue.kill()

        def broken() -> bool:
            raise KeyError("planted")

        monkeypatch.setattr(stage.venue, "ensure", broken)
        await stage.after(0.1)
        with pytest.raises(KeyError):
            stage.keeper.tend()

    played(scene)
