"""A guardian in this process over fake traders of their own, and the words to steer it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec

from chappie.guardian import last_resort
from chappie.guardian.alerts.alerting import Alerts
from chappie.guardian.alerts.channel import open_channels
from chappie.guardian.alerts.herald import Herald
from chappie.guardian.guardian import Guardian
from chappie.guardian.operator import token
from chappie.guardian.operator.api import Api, Operator, bind
from chappie.guardian.outlet import Outlet
from chappie.guardian.plan import Ended, Plan
from chappie.guardian.shown import Shown
from chappie.guardian.venue import Venue
from chappie.guardian.ward import Hand
from chappie.model.config import Config, SupervisorConfig
from tests.conftest import ROOT

# Its last resort ends the process that it lives in, and here that is the one that runs the tests: a
# loaded machine must not cost them. What it does is shown with a process of its own.
last_resort._GONE_WITHIN_S = 60.0

PATIENCE_S = 15.0


class Screen:
    """A display that remembers."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.closed = False

    def open(self) -> None:
        return

    def lines(self, lines: list[str]) -> None:
        self.seen += lines

    def show(self, shown: Shown) -> None:
        self.shown = shown

    def close(self) -> None:
        self.closed = True

    def events(self) -> list[dict[str, object]]:
        return [msgspec.json.decode(line, type=dict[str, object]) for line in self.seen]

    def names(self) -> list[str]:
        return [str(record["event"]) for record in self.events()]


class Rig:
    """One guardian and what it shows."""

    def __init__(self, guardian: Guardian, screen: Screen, url: str, state_dir: Path) -> None:
        self.guardian = guardian
        self.screen = screen
        self.url = url
        self.state_dir = state_dir
        self.running: asyncio.Task[Ended]

    async def until(self, holds: "Condition") -> Shown:
        """Wait until the picture is so, or fail with what it is instead."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(shown := self.guardian.look()):
                assert not self.running.done(), self.running.result()
                await asyncio.sleep(0.02)
        return shown

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, object]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + path, headers=headers) as answer,
        ):
            body = msgspec.json.decode(await answer.read(), type=dict[str, object])
            return answer.status, body

    async def post(self, path: str, **body: object) -> tuple[int, dict[str, object]]:
        """As the operator, who can read the token."""
        bearer = {"Authorization": f"Bearer {token.read(self.state_dir)}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, headers=bearer, json=body) as answer,
        ):
            found = msgspec.json.decode(await answer.read(), type=dict[str, object])
            return answer.status, found


class Condition:
    def __call__(self, shown: Shown) -> bool: ...


def plan(state_dir: Path, *fake: object, config: Config | None = None, **env: str) -> Plan:
    """Fake traders under quick limits; ``fake`` are their arguments."""
    command = (sys.executable, "-m", "tests.guardian.fake_trader", *map(str, fake))
    paths = f"{ROOT / 'src'}:{ROOT}"
    return Plan(
        config=config or quick(),
        config_hash="c0ffee",
        state_dir=state_dir,
        command=command,
        env={"PYTHONPATH": paths, **env},
    )


def quick(**supervisor: float) -> Config:
    limits = {
        "backoff_initial_s": 0.05,
        "backoff_max_s": 0.2,
        "heartbeat_timeout_s": 1.0,
        "startup_timeout_s": 5.0,
        **supervisor,
    }
    return Config(supervisor=SupervisorConfig(**limits))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def running(
    what: Plan, venue: Venue | None = None, urls: Sequence[str] = (), hand: Hand | None = None
) -> AsyncIterator[Rig]:
    """A guardian for the length of the block, ended and checked at its end; alerts to ``urls``."""
    listening = bind("127.0.0.1", 0)
    screen = Screen()
    outlet = Outlet(what.state_dir, screen, lambda: None)
    api: list[Api] = []

    def make_api(look: Callable[[], Shown], operator: Operator) -> Api:
        made = Api(listening, look, 1.0, operator, lambda: token.ensure(what.state_dir))
        api.append(made)
        return made

    alerts = Alerts(what.config, Herald(open_channels(urls), outlet.event), outlet.event)
    guardian = Guardian(what, make_api, outlet, venue, alerts, hand)
    rig = Rig(guardian, screen, api[0].url, what.state_dir)
    rig.running = asyncio.create_task(guardian.run())
    try:
        yield rig
    finally:
        if not rig.running.done():
            guardian.ask_to_end("the test is over")
        async with asyncio.timeout(5.0):
            await rig.running
