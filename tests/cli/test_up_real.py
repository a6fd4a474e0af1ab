"""`chappie up` with the real trader on the real embedded venue, every process its own."""

import http.client
import json
import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chappie.cli.main import main
from tests.cli.test_up import FREE, Up
from tests.cli.test_up_embedded import gone

pytestmark = pytest.mark.processes
REAL = ("chappie", "up")


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        assert made.process.wait(6) == 0


def get(bot: Up, path: str) -> tuple[int, Any]:
    parts = urlsplit(str(bot.run()["operator"]))
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def mode(bot: Up) -> object:
    # After a kill the file of the one before lies there until the next one serves.
    if not (bot.state / "run.json").exists() or bot.run()["pid"] != bot.process.pid:
        return None
    return get(bot, "/api/state")[1]["mode"]


def test_within_10_s_of_its_start_it_decides_and_shows_that_it_is_ready(bot: Up) -> None:
    began = time.monotonic()
    bot.start(*FREE, module=REAL)
    bot.until(lambda: "first_decision" in bot.names())
    assert time.monotonic() - began < 10.0
    bot.until(lambda: get(bot, "/readyz")[0] == 200)
    status, state = get(bot, "/api/state")
    assert (status, state["mode"], state["allow_trade"]) == (200, "observing", False)
    assert state["policy"] == "cycle"
    assert all(stream["synced"] for stream in state["streams"].values())
    assert state["trader"]["pid"] == bot.run()["trader_pid"]
    assert main(["status", "--set", f"state.dir={bot.state}"]) == 0


def test_the_last_line_of_the_trader_s_log_is_its_stop(bot: Up) -> None:
    bot.start(*FREE, module=REAL)
    bot.until(lambda: mode(bot) == "observing")
    bot.process.terminate()
    assert bot.ends() == 0
    last = json.loads((bot.state / "trader.log").read_text().splitlines()[-1])
    assert (last["event"], last["reason"], last["known"]) == ("stopped", "operator", True)
    assert json.loads((bot.state / "last_stop.json").read_text())["reason"] == "operator"
    assert "stopped" in bot.names()


def test_after_kill_9_of_the_guardian_the_real_trader_and_venue_are_gone(bot: Up) -> None:
    bot.start(*FREE, module=REAL)
    bot.until(lambda: mode(bot) == "observing")
    run = bot.run()
    bot.process.kill()
    bot.ends()
    assert gone(run["trader_pid"])
    assert gone(run["venue_pid"])
    assert json.loads((bot.state / "last_stop.json").read_text())["reason"] == "guardian_lost"


def test_a_guardian_started_at_once_after_a_kill_waits_for_the_orphan_and_runs(bot: Up) -> None:
    bot.start(*FREE, module=REAL)
    bot.until(lambda: mode(bot) == "observing")
    bot.process.kill()
    bot.ends()
    bot.start(*FREE, module=REAL)
    bot.until(lambda: mode(bot) == "observing")


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "killed"), (signal.SIGSTOP, "loop_stalled")]
)
def test_a_dead_or_stopped_trader_is_started_again_and_recovers(
    bot: Up, number: signal.Signals, reason: str
) -> None:
    bot.start(
        *(*FREE, "--set", "supervisor.heartbeat_timeout_s=1.5"),
        *("--set", "supervisor.backoff_initial_s=0.2"),
        module=REAL,
    )
    bot.until(lambda: mode(bot) == "observing")
    first = bot.run()["trader_pid"]
    os.kill(first, number)
    bot.until(lambda: bot.run()["trader_pid"] not in (first, None) and mode(bot) == "observing")
    trader = get(bot, "/api/state")[1]["trader"]
    assert (trader["restarts"], trader["last_stop"]["reason"]) == (1, reason)


def test_a_folder_of_another_bot_is_one_line_and_64(bot: Up) -> None:
    bot.start(*FREE, "--for", "4", module=REAL)
    assert bot.ends(15.0) == 0
    bot.start(*FREE, "--set", "bot.id=other", module=REAL)
    assert bot.ends(15.0) == 64
    last = bot.text().splitlines()[-1]
    assert "is bound to another bot.id" in last
    assert "Traceback" not in bot.text()


def test_a_closed_terminal_ends_the_real_ones_too(bot: Up) -> None:
    ours, theirs = pty.openpty()
    bot.start(*FREE, module=REAL, terminal=theirs)
    os.close(theirs)
    bot.until(lambda: mode(bot) == "observing")
    run = bot.run()
    os.close(ours)
    assert bot.ends() == 0
    assert gone(run["trader_pid"], 0.1)
    assert gone(run["venue_pid"], 0.1)
