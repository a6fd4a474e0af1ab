"""The kill switch over each of its paths, with an order in flight: after its acknowledgement no
request creates an order, it holds through kill -9 and a new start, and only a resume ends it.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat
from tests.system.test_full_disk import disk, fill, small  # noqa: F401

pytestmark = pytest.mark.processes
RESTING = (
    *SHORT,
    *FREE,
    *TRADING,
    "orders.style=post_only",
    "policy.cycle.period_s=1.0",
    # A stall of this length would be the watchdog's, not the halt's.
    "supervisor.heartbeat_timeout_s=30",
)


def command(bot: Bot, seat: Seat, *args: str, sets: tuple[str, ...] = ()) -> tuple[int, str]:
    """Another chappie command in the folder of this bot; its code and all that it said."""
    urls = (f"venue.rest_url={seat.venue.rest_url}", f"venue.ws_url={seat.venue.ws_url}")
    name, *rest = args
    flags = [part for text in (*urls, *sets) for part in ("--set", text)]
    done = subprocess.run(
        [sys.executable, "-m", "chappie", name, *flags, *rest],
        cwd=bot.folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(bot.folder / "home"),
            "PYTHONPATH": str(ROOT / "src"),
            "CHAPPIE_API_KEY_FILE": bot.private("key", seat.key),
            "CHAPPIE_API_SECRET_FILE": bot.private("secret", seat.secret),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.returncode, done.stdout + done.stderr


def post(bot: Bot, path: str, **body: object) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(bot.run_file()["operator"])
    bearer = (bot.state / "operator.token").read_text().strip()
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=90)
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def guardian_says(bot: Bot, event: str) -> list[dict[str, Any]]:
    path = bot.state / "guardian.log"
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if line["event"] == event]


def is_halted(bot: Bot) -> bool:
    shown = bot.shown()
    return shown["mode"] in ("halted", "stopped") and shown["halt"] is not None


# --- each path


def by_command(bot: Bot, seat: Seat) -> None:
    code, said = command(bot, seat, "halt", "--reason", "the test")
    assert code == 0, said
    assert "verified: a read shows no order of ours" in said


def by_api(bot: Bot, seat: Seat) -> None:
    status, done = post(bot, "/api/halt", reason="the test")
    assert (status, done["missing"]) == (200, []), done


def by_signal(bot: Bot, seat: Seat) -> None:
    assert bot.process is not None
    bot.process.send_signal(signal.SIGUSR1)
    bot.until(lambda: guardian_says(bot, "halt_done"))


def by_file(bot: Bot, seat: Seat) -> None:
    (bot.state / "HALT").touch()
    bot.until(lambda: guardian_says(bot, "halt_done"))


PATHS: dict[str, Callable[[Bot, Seat], None]] = {
    "command": by_command,
    "API": by_api,
    "signal": by_signal,
    "file": by_file,
}
IN_FLIGHT: tuple[tuple[str, int], ...] = (("delay_answer", 1500), ("queue", 500))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("fault", "ms"), IN_FLIGHT)
def test_after_the_acknowledgement_no_order_is_created_and_it_holds_until_resumed(
    bot: Bot, seat: Seat, path: str, fault: str, ms: int
) -> None:
    bot.start("up", *RESTING, seat=seat)
    bot.until(lambda: seat.new_orders())
    before = len(seat.new_orders())
    seat.arm(fault, route="/order", method="POST", count=1, ms=ms)
    bot.until(lambda: len(seat.new_orders()) > before, every_s=0.01)
    PATHS[path](bot, seat)
    acknowledged = len(seat.changes())
    bot.until(lambda: is_halted(bot))
    assert seat.open_orders() == []
    assert (bot.state / "HALT").exists()
    assert guardian_says(bot, "halt_done")[0]["verified"] is True
    # Through kill -9 of everything, and a new start.
    assert bot.shown()["trader"]["pid"] is None
    bot.kill()
    bot.start("up", *RESTING, seat=seat)
    bot.until(lambda: bot.run_file().get("pid") == getattr(bot.process, "pid", 0))
    bot.until(lambda: is_halted(bot))
    assert seat.open_orders() == []
    new = [row for row in seat.changes()[acknowledged:] if row["path"] == "/api/v1/order"]
    assert new == []
    # Only this brings it back.
    code, said = command(bot, seat, "resume", "--reason", "looked at it")
    assert code == 0, said
    bot.until(lambda: [r for r in seat.changes()[acknowledged:] if r["path"] == "/api/v1/order"])
    assert bot.stop() == 0
    assert not (bot.state / "HALT").exists()


# --- with something broken


def test_with_a_hung_trader_it_is_killed_and_what_it_left_is_cancelled(
    bot: Bot, seat: Seat
) -> None:
    bot.start("up", *RESTING, seat=seat)
    bot.until(lambda: seat.open_orders())
    trader = bot.run_file()["trader_pid"]
    os.kill(trader, signal.SIGSTOP)
    code, said = command(bot, seat, "halt", "--reason", "it hangs")
    assert code == 0, said
    assert seat.open_orders() == []
    assert not Path(f"/proc/{trader}").exists()
    assert guardian_says(bot, "trader_killed")[0]["pid"] == trader
    assert is_halted(bot)
    assert bot.stop() == 0


def test_with_a_hung_guardian_the_command_does_it_alone(bot: Bot, seat: Seat) -> None:
    bot.start("up", *RESTING, seat=seat)
    bot.until(lambda: seat.open_orders())
    run = bot.run_file()
    os.kill(run["pid"], signal.SIGSTOP)
    # So hangs its trader too: the worst of both.
    os.kill(run["trader_pid"], signal.SIGSTOP)
    code, said = command(bot, seat, "halt")
    assert code == 0, said
    assert "does not answer" in said
    assert "it is killed" in said
    assert seat.open_orders() == []
    # Awake again, the guardian finds the latch and starts nothing.
    os.kill(run["pid"], signal.SIGCONT)
    bot.until(lambda: is_halted(bot))
    assert bot.shown()["trader"]["pid"] is None
    assert bot.stop() == 0


def test_with_guardian_and_trader_dead_what_is_left_is_cancelled(bot: Bot, seat: Seat) -> None:
    bot.start("up", *RESTING, seat=seat)
    bot.until(lambda: seat.open_orders())
    run = bot.run_file()
    # The trader first: an orphan would cancel its orders by itself.
    os.kill(run["pid"], signal.SIGSTOP)
    os.kill(run["trader_pid"], signal.SIGKILL)
    bot.kill()
    assert seat.open_orders() != []
    code, said = command(bot, seat, "halt")
    assert code == 0, said
    assert seat.open_orders() == []


def test_a_trader_alone_is_halted_by_the_file_that_the_command_sets(bot: Bot, seat: Seat) -> None:
    bot.start("trade", *RESTING, seat=seat)
    bot.until(lambda: seat.open_orders())
    code, said = command(bot, seat, "halt", "--reason", "alone")
    assert code == 0, said
    assert seat.open_orders() == []
    bot.ends()


def test_a_broken_configuration_halts_all_the_same(bot: Bot, seat: Seat) -> None:
    bot.start("up", *RESTING, seat=seat)
    bot.until(lambda: seat.open_orders())
    (bot.folder / "chappie.toml").write_text('[state]\ndir = "state"\n[bot]\nallow_trade = ?\n')
    code, said = command(bot, seat, "halt", "--set", "no.such=key")
    assert code == 0, said
    assert "the configuration is broken" in said
    assert seat.open_orders() == []
    assert is_halted(bot)
    assert bot.stop() == 0


def test_on_a_full_disk_it_latches_and_verifies(
    disk: Path,  # noqa: F811
    small: Bot,  # noqa: F811
    seat: Seat,
) -> None:
    where = f"state.dir={small.state}"
    small.start("up", *RESTING, where, seat=seat)
    small.until(lambda: seat.open_orders())
    fill(disk)
    code, said = command(small, seat, "halt", "--reason", "full", sets=(where,))
    assert code == 0, said
    assert (small.state / "HALT").read_text() == "full"
    assert seat.open_orders() == []
    assert is_halted(small)
    assert small.stop() == 0


def test_in_observe_only_a_flatten_is_refused_in_words_and_the_halt_holds(
    bot: Bot, seat: Seat
) -> None:
    seat.place(side="Buy", orderQty=100, ordType="Market", clOrdID="by-hand")
    bot.start("up", *SHORT, *FREE, seat=seat)
    bot.until(lambda: bot.shown())
    code, said = command(bot, seat, "halt", "--flatten")
    assert code == 1
    assert "the flatten is refused: bot.allow_trade is off; the halt holds" in said
    assert is_halted(bot)
    assert seat.position_qty() == 100
    assert bot.stop() == 0
    assert seat.changes() == [row for row in seat.changes() if "by-hand" in row["clOrdID"]]


# --- resume beside a guardian


def test_an_unexplained_position_is_taken_over_while_the_guardian_lives(
    bot: Bot, seat: Seat
) -> None:
    seat.place(side="Buy", orderQty=100, ordType="Market", clOrdID="by-hand")
    bot.start("up", *SHORT, *FREE, "supervisor.backoff_initial_s=0.1", seat=seat)
    bot.until(lambda: guardian_says(bot, "staying_down"), 40.0)
    assert bot.shown()["trader"]["last_stop"]["reason"] == "position_mismatch"
    code, said = command(bot, seat, "resume", "--reason", "mine", "--accept-position", "200")
    assert code == 1
    assert "the venue's position is not +200" in said
    assert bot.shown()["trader"]["pid"] is None
    code, said = command(bot, seat, "resume", "--reason", "mine", "--accept-position", "100")
    assert code == 0, said
    assert "goes on from +100" in said
    bot.until_mode("observing")
    assert bot.shown()["position"]["qty"] == 100
    assert "mine" in str(guardian_says(bot, "resumed")[-1]["reason"])
    code, said = command(bot, seat, "resume", "--reason", "again")
    assert code == 1
    assert "nothing to resume" in said
    assert bot.stop() == 0


def test_on_the_embedded_venue_too_it_halts_reads_and_resumes(bot: Bot) -> None:
    sets = (*FREE, "bot.allow_trade=true", "policy.cycle.period_s=1.0", "bot.policy=cycle")
    bot.start("up", *sets)
    bot.until(lambda: bot.shown().get("orders"), 40.0)
    environ = {"PATH": os.environ["PATH"], "HOME": str(bot.folder), "PYTHONPATH": str(ROOT / "src")}

    def beside(*args: str) -> tuple[int, str]:
        line = [sys.executable, "-m", "chappie", *args]
        done = subprocess.run(
            line, cwd=bot.folder, env=environ, capture_output=True, text=True, timeout=90
        )
        return done.returncode, done.stdout + done.stderr

    run = bot.run_file()
    os.kill(run["trader_pid"], signal.SIGSTOP)
    code, said = beside("halt", "--reason", "hung")
    assert code == 0, said
    assert "verified: a read shows no order of ours" in said
    code, said = beside("status")
    assert code == 0
    assert "hung" in said
    # Guardian and venue gone: the account is served from the state folder once more.
    bot.kill()
    os.kill(run["venue_pid"], signal.SIGKILL)
    code, said = beside("halt")
    assert code == 0, said
    assert "verified: a read shows no order of ours" in said
    code, said = beside("resume", "--reason", "seen")
    assert code == 0, said
    assert not (bot.state / "HALT").exists()


# --- flatten

HOLDING = (
    *SHORT,
    *FREE,
    *TRADING,
    "orders.style=market",
    "policy.cycle.period_s=30",
    "supervisor.heartbeat_timeout_s=30",
)


def test_a_flatten_closes_the_position_with_one_reduce_only_order(bot: Bot, seat: Seat) -> None:
    bot.start("up", *HOLDING, seat=seat)
    bot.until(lambda: bot.shown().get("position", {}).get("qty"), 40.0)
    before = len(seat.new_orders())
    code, said = command(bot, seat, "halt", "--flatten", sets=("bot.allow_trade=true",))
    assert code == 0, said
    assert "flattened: the position is closed" in said
    assert seat.position_qty() == 0
    (closing,) = seat.new_orders()[before:]
    assert "ReduceOnly" in closing["body"]
    assert bot.stop() == 0


def test_a_hung_trader_s_position_is_closed_by_the_guardian_and_the_next_ledger_owns_the_fill(
    bot: Bot, seat: Seat
) -> None:
    bot.start("up", *HOLDING, seat=seat)
    bot.until(lambda: bot.shown().get("position", {}).get("qty"), 40.0)
    before = len(seat.new_orders())
    os.kill(bot.run_file()["trader_pid"], signal.SIGSTOP)
    status, done = post(bot, "/api/halt", flatten=True, reason="hung")
    assert (status, done["flattened"], done["position"]) == (200, True, 0), done
    assert seat.position_qty() == 0
    assert len(seat.new_orders()) == before + 1
    assert post(bot, "/api/resume", reason="looked")[0] == 200
    bot.until(lambda: len(seat.new_orders()) > before + 1, 40.0)
    assert bot.stop() == 0


def test_with_nobody_there_the_command_closes_the_position_itself(bot: Bot, seat: Seat) -> None:
    bot.start("up", *HOLDING, seat=seat)
    bot.until(lambda: bot.shown().get("position", {}).get("qty"), 40.0)
    run = bot.run_file()
    os.kill(run["pid"], signal.SIGSTOP)
    os.kill(run["trader_pid"], signal.SIGKILL)
    bot.kill()
    code, said = command(bot, seat, "halt", "--flatten", sets=("bot.allow_trade=true",))
    assert code == 0, said
    assert seat.position_qty() == 0
