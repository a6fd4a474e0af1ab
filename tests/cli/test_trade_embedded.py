"""`chappie trade` whole: the real core against its embedded venue, and its journal replayed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chappie.cli.main import main
from chappie.journal.kept import KeptLog
from chappie.model.records import Fill, Intent

pytestmark = pytest.mark.processes


class Run:
    def __init__(self, folder: Path, *sets: str) -> None:
        self.state = folder / "state"
        flags = [flag for value in sets for flag in ("--set", value)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chappie", "trade", *flags],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def records(self) -> list[dict[str, Any]]:
        path = self.state / "trader.log"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def await_events(self, event: str, count: int, within_s: float) -> None:
        until = time.monotonic() + within_s
        while sum(record["event"] == event for record in self.records()) < count:
            assert time.monotonic() < until, f"not {count} of {event}: {self.records()[-5:]}"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)

    def stop(self) -> dict[str, Any]:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=5)
        found: dict[str, Any] = json.loads((self.state / "last_stop.json").read_bytes())
        assert found["code"] == self.process.returncode
        return found


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        if run.process.poll() is None:
            run.process.kill()
            run.process.communicate()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_it_decides_within_ten_seconds_and_ends_with_its_venue(
    tmp_path: Path, runs: list[Run]
) -> None:
    run = Run(tmp_path)
    runs.append(run)
    run.await_events("decision", 1, within_s=10)
    (venue,) = children(run.process.pid)
    stop = run.stop()
    assert (stop["reason"], stop["code"], stop["known"]) == ("operator", 0, True)
    assert stop["orders"] == []
    assert not alive(venue)


def test_killed_without_a_word_it_leaves_no_venue_behind(tmp_path: Path, runs: list[Run]) -> None:
    run = Run(tmp_path)
    runs.append(run)
    run.await_events("decision", 1, within_s=10)
    (venue,) = children(run.process.pid)
    run.process.kill()
    run.process.communicate()
    until = time.monotonic() + 5
    while alive(venue):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_run_that_traded_replays_to_the_same_commands(tmp_path: Path, runs: list[Run]) -> None:
    run = Run(
        tmp_path,
        "bot.allow_trade=true",
        "bot.policy=cycle",
        "orders.style=market",
        "policy.cycle.period_s=1",
    )
    runs.append(run)
    run.await_events("fill", 4, within_s=30)
    assert run.stop()["known"] is True
    assert main(["replay", str(run.state)]) == 0
    # Every order was an intent on disk, and every fill is kept with it.
    kept = KeptLog(run.state / "kept.log").records
    asked = [record.order.cl_ord_id for record in kept if isinstance(record, Intent)]
    filled = {record.cl_ord_id for record in kept if isinstance(record, Fill)}
    assert len(asked) == len(set(asked)) >= 4
    assert filled <= set(asked)


def test_without_allow_trade_no_intent_is_ever_kept(tmp_path: Path, runs: list[Run]) -> None:
    run = Run(tmp_path, "bot.allow_trade=maybe", "bot.policy=cycle", "policy.cycle.period_s=0.5")
    runs.append(run)
    run.await_events("decision", 4, within_s=15)
    run.stop()
    kept = KeptLog(run.state / "kept.log").records
    assert [record for record in kept if isinstance(record, Intent)] == []
    started = next(record for record in run.records() if record["event"] == "started")
    assert started["allow_trade"] is False
