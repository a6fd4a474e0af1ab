import re
import tomllib

import pytest

from tests.architecture.syntax import ROOT

LOCKS = ROOT / "locks"
PACKAGES_MAX = 20
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)")


def pins(name: str) -> dict[str, str]:
    """Package to version, as one lock pins them."""
    lines = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return {found[1]: found[2] for line in lines if (found := PIN.match(line))}


def project() -> dict[str, list[str]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = table["optional-dependencies"]
    runtime = table["dependencies"]
    # Each lock holds what the ones before it hold.
    alerts = runtime + extras["alerts"]
    return {"runtime": runtime, "alerts": alerts, "dev": alerts + extras["dev"]}


def names_of(requirements: list[str]) -> list[str]:
    return [re.split(r"[<>=!~ \[;]", requirement, maxsplit=1)[0] for requirement in requirements]


def test_the_trader_runs_on_at_most_twenty_packages() -> None:
    assert 0 < len(pins("runtime")) <= PACKAGES_MAX


@pytest.mark.parametrize("name", ["runtime", "alerts", "dev", "clients"])
def test_every_pin_of_a_lock_carries_hashes(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(name))
    bare = [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry]
    assert bare == []


@pytest.mark.parametrize("name", ["runtime", "alerts", "dev", "clients"])
def test_a_lock_names_no_host_and_no_place_on_a_disk(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    assert re.findall(r"\S*(?:://|file:|--(?:extra-)?index|--find-links|(?<=\s)/)\S*", text) == []


@pytest.mark.parametrize("name", ["runtime", "alerts", "dev"])
def test_every_direct_dependency_is_locked(name: str) -> None:
    wanted = names_of(project()[name])
    assert [package for package in wanted if package not in pins(name)] == []


@pytest.mark.parametrize(("whole", "part"), [("alerts", "runtime"), ("dev", "alerts")])
def test_the_tests_run_on_the_versions_that_the_processes_run_on(whole: str, part: str) -> None:
    found = pins(whole)
    assert {name: found.get(name) for name in pins(part)} == pins(part)


def test_the_alert_channels_are_no_part_of_what_the_trader_needs() -> None:
    assert "apprise" not in pins("runtime")


def test_the_foreign_clients_are_the_ones_we_promised() -> None:
    locked = pins("clients")
    named = {name: locked[name] for name in ("ccxt", "bitmex-ws", "aiohttp")}
    assert named == {"ccxt": "4.5.82", "bitmex-ws": "1.5.0", "aiohttp": "3.14.3"}
