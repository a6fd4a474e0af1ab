"""The examples of README and docs run."""

import asyncio
import re
import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest

from chappie.cli import settings
from chappie.guardian.alerts.channel import open_channels
from chappie.guardian.alerts.happenings import About, TraderStopped
from chappie.guardian.alerts.words import alert
from chappie.guardian.operator import token
from chappie.guardian.operator.api import Api, bind
from chappie.guardian.shown import Setting, TraderState, merge
from chappie.live.state_dir import LastStop
from chappie.model.state import DeadManState, PositionState
from chappie.model.view import Level, Policy, View
from tests.guardian.operator.test_api_posts import SETTING, FakeOperator
from tests.guardian.states import healthy, order

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(page.read_text()) if found == language]


def test_the_first_command_of_the_readme_runs_and_the_second_tests() -> None:
    commands = [body.strip() for _, body in FENCE.findall((ROOT / "README.md").read_text())][:2]
    assert commands == ["bin/chappie up", "bin/test"]
    for command in commands:
        program = ROOT / command.split()[0]
        assert program.stat().st_mode & 0o111, f"{program.name} is not executable"


def test_the_configuration_in_the_readme_is_valid(tmp_path: Path) -> None:
    examples = blocks(ROOT / "README.md", "toml")
    assert examples
    for example in examples:
        assert tomllib.loads(example)
        file = tmp_path / "chappie.toml"
        file.write_text(example)
        assert settings.load(str(file), [], {}).config.bot.policy == "cycle"


def test_the_channels_that_are_shown_are_ones_that_apprise_knows(tmp_path: Path) -> None:
    examples = blocks(ROOT / "docs/alerts.md", "toml")
    assert examples
    for example in examples:
        file = tmp_path / "chappie.toml"
        file.write_text(example)
        found = settings.load(str(file), [], {}).config.alerts
        assert len(open_channels(found.urls)) == len(found.urls) > 0


def test_the_example_of_an_alert_is_one(tmp_path: Path) -> None:
    stop = LastStop(
        "killed",
        22,
        "killed by SIGKILL, which nobody here sent",
        "2026-11-22T03:12:07.400Z",
        [msgspec.to_builtins(order(1))],
        100,
        False,
    )
    state = msgspec.structs.replace(
        healthy(),
        orders=[order(1)],
        position=PositionState("XBTUSD", 100, 50_000.5),
        dead_man=DeadManState("2026-11-22T03:13:05.000Z"),
    )
    setting = Setting(True, "cycle", "simulated", "XBTUSD", "c0ffee")
    shown = merge(setting, state, 0.0, False, TraderState(last_stop=stop))
    about = About("demo", "XBTUSD", "simulated", "2026-11-22T03:12:07.412Z", shown)
    made = alert(TraderStopped(stop.reason, stop.detail, stop.known), about)
    assert made is not None
    (example,) = blocks(ROOT / "docs/alerts.md", "text")
    assert example == f"{made.title}\n\n{made.body}\n"


VIEW = View(
    at=0.0,
    symbol="XBTUSD",
    bids=(Level(99.0, 100),),
    asks=(Level(100.0, 100),),
    last_price=101.0,
    mark_price=100.0,
    index_price=101.0,
    funding_rate=None,
    position=0,
    avg_entry_price=None,
    unrealised=None,
    max_position=300,
    lot_size=100,
)


@pytest.mark.parametrize(("page", "wanted"), [("README.md", 100), ("docs/policies.md", 300)])
def test_the_policies_that_are_shown_decide(page: str, wanted: int) -> None:
    for example in blocks(ROOT / page, "python"):
        names: dict[str, object] = {}
        exec(example, names)
        made = [
            value() for value in names.values() if isinstance(value, type) and value is not View
        ]
        assert len(made) == 1
        policy = made[0]
        assert isinstance(policy, Policy)
        assert policy.decide(VIEW) == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`((?:core|live|model|venues|simvenue)/[\w/]+\.py)`", page.read_text()):
        assert (ROOT / "src/chappie" / name).exists(), f"{page.name} names {name}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl")
def test_the_curl_calls_of_the_operator_api_are_answered(tmp_path: Path) -> None:
    calls = [
        line
        for block in blocks(ROOT / "docs/operating.md", "sh")
        for line in block.splitlines()
        if line.startswith("curl")
    ]
    assert len(calls) == 4
    (tmp_path / "state").mkdir()

    async def scene() -> None:
        operator = FakeOperator()
        api = Api(
            bind("127.0.0.1", 0),
            lambda: merge(SETTING, healthy(), 0.0, True, TraderState()),
            5.0,
            operator,
            lambda: token.ensure(tmp_path / "state"),
        )
        await api.start()
        for call in calls:
            line = call.replace("http://127.0.0.1:8642", api.url)
            # The one that streams ends when its time is over.
            line = line.replace("curl", "curl --silent --fail --noproxy '*' --max-time 2", 1)
            process = await asyncio.create_subprocess_shell(
                line, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
            assert process.returncode == (28 if " -N " in line else 0), call
            assert said
        await api.stop()
        assert operator.asked == [("halt", "too hot", False), ("resume", "looked at it")]

    asyncio.run(scene())
