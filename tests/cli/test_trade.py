"""`chappie trade` as a process: one reason for every end, said three times and in time."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chappie.journal.journal import segments
from chappie.journal.reader import read
from chappie.journal.records import Header
from chappie.model.events import Started, StopAsked
from tests.conftest import ROOT

pytestmark = pytest.mark.processes

KEY = "LAqUlngMIQkIUjXMUreyu3qn"
SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"
# Nobody listens on port 1: the fake core asks for nothing there.
URLS = ("venue.rest_url=http://127.0.0.1:1/api/v1", "venue.ws_url=ws://127.0.0.1:1/realtime")


class Trade:
    """One `chappie trade` over the fake core, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *sets: str) -> list[str]:
        flags = [flag for value in (*URLS, *sets) for flag in ("--set", value)]
        return [sys.executable, "-m", "tests.cli.trade_with_fake_core", *flags]

    def env(self, **extra: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CHAPPIE_")}
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(self.folder)])
        credentials = {"CHAPPIE_API_KEY": KEY, "CHAPPIE_API_SECRET": SECRET}
        return {**inherited, **credentials, "PYTHONPATH": path, **extra}

    def start(self, *sets: str, how: str = "obeys", **options: Any) -> None:
        """Start it and wait until its loop runs."""
        env = self.env(FAKE_CORE=how, **options.pop("env", {}))
        self.process = subprocess.Popen(
            self.command(*sets),
            cwd=self.folder,
            env=env,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            **options,
        )
        self.await_line('"ready"')

    def await_line(self, words: str, within_s: float = 20.0) -> None:
        until = time.monotonic() + within_s
        while words not in self.log():
            assert time.monotonic() < until, f"no {words} in the log: {self.log()}"
            assert self.process is not None
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def log(self) -> str:
        path = self.state / "trader.log"
        return path.read_text() if path.exists() else ""

    def ended(self, within_s: float = 5.0) -> tuple[int, bytes, bytes]:
        assert self.process is not None
        out, err = self.process.communicate(timeout=within_s)
        return self.process.returncode, out or b"", err or b""

    def run(self, *sets: str, within_s: float = 20.0, **env: str) -> tuple[int, str, str]:
        done = subprocess.run(
            self.command(*sets),
            cwd=self.folder,
            env=self.env(**env),
            capture_output=True,
            text=True,
            timeout=within_s,
        )
        return done.returncode, done.stdout, done.stderr

    def last_stop(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "last_stop.json").read_bytes())
        return found


@pytest.fixture
def trade(tmp_path: Path) -> Iterator[Trade]:
    found = Trade(tmp_path)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.kill()
        found.process.communicate()


def last_line(text: bytes | str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def assert_stopped(trade: Trade, code: int, reason: str, out: bytes, err: bytes) -> None:
    """The stop is the same in all the places that the contract names."""
    for line in (last_line(out), last_line(err), last_line(trade.log())):
        assert line["event"] == "stopped"
        assert (line["reason"], line["code"]) == (reason, code)
    stop = trade.last_stop()
    assert set(stop) == {"reason", "code", "detail", "at", "orders", "position", "known"}
    assert (stop["reason"], stop["code"]) == (reason, code)


def test_under_nohup_a_hang_up_is_no_reason_to_end(trade: Trade) -> None:
    trade.start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None)
    assert trade.process is not None
    trade.process.send_signal(signal.SIGHUP)
    trade.process.send_signal(signal.SIGTERM)
    assert trade.ended()[0] == 0
    assert trade.last_stop()["detail"] == "SIGTERM"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_the_operators_wish_and_ends_it_with_zero(
    trade: Trade, number: signal.Signals
) -> None:
    trade.start()
    assert trade.process is not None
    trade.process.send_signal(number)
    code, out, err = trade.ended()
    assert code == 0
    assert_stopped(trade, 0, "operator", out, err)
    stop = trade.last_stop()
    assert stop["detail"] == number.name
    assert stop["known"] is True
    assert stop["position"] == 100
    assert stop["orders"][0]["clOrdID"] == "c-1"
    assert not (trade.state / "run.json").exists()


def test_a_core_that_cannot_finish_is_gone_within_five_seconds_all_the_same(
    trade: Trade,
) -> None:
    trade.start(how="deaf")
    assert trade.process is not None
    trade.process.terminate()
    code, out, err = trade.ended(within_s=5.0)
    assert code == 0
    assert_stopped(trade, 0, "operator", out, err)
    assert trade.last_stop()["known"] is False


def test_a_closed_terminal_ends_it(trade: Trade) -> None:
    ours, theirs = pty.openpty()
    trade.start(
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: (
            os.login_tty(os.dup(theirs)) if hasattr(os, "login_tty") else os.setsid()
        ),
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    assert '{"at"' not in shown
    assert "started" in shown
    assert trade.process is not None
    os.close(ours)
    # A terminal hangs up whoever leads its session; without one we play the kernel.
    if not hasattr(os, "login_tty"):
        trade.process.send_signal(signal.SIGHUP)
    assert trade.ended()[0] == 0
    assert trade.last_stop()["detail"] == "SIGHUP"


def test_started_without_standard_streams_it_writes_into_none_of_its_files(trade: Trade) -> None:
    trade.start(preexec_fn=lambda: os.closerange(0, 3))
    assert trade.process is not None
    trade.process.terminate()
    trade.ended()
    assert trade.last_stop()["reason"] == "operator"
    assert (trade.state / "trader.lock").read_bytes() == b""
    (path,) = segments(trade.state / "journal")
    segment = read(path)
    assert len(list(segment)) > 2
    assert segment.torn is None


def test_the_end_of_the_link_to_the_guardian_is_guardian_lost(trade: Trade) -> None:
    ours, theirs = socket.socketpair()
    trade.start(env={"CHAPPIE_GUARDIAN_FD": str(theirs.fileno())}, pass_fds=(theirs.fileno(),))
    theirs.close()
    beat = json.loads(ours.recv(1 << 20).splitlines()[0])
    assert beat["type"] == "beat"
    assert beat["state"]["position"]["qty"] == 100
    assert not (trade.state / "run.json").exists()
    ours.close()
    code, out, err = trade.ended()
    assert code == 23
    assert_stopped(trade, 23, "guardian_lost", out, err)


def test_the_guardians_order_to_end_gives_its_reason_and_is_confirmed(trade: Trade) -> None:
    ours, theirs = socket.socketpair()
    trade.start(env={"CHAPPIE_GUARDIAN_FD": str(theirs.fileno())}, pass_fds=(theirs.fileno(),))
    theirs.close()
    ours.send(b'{"type":"end","reason":"halted","detail":"the latch"}\n')
    code, out, err = trade.ended()
    assert code == 20
    assert_stopped(trade, 20, "halted", out, err)
    last = json.loads(ours.makefile("rb").read().splitlines()[-1])
    assert last == {"type": "ending", "reason": "halted", "code": 20, "detail": "the latch"}


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_halt_by_signal_is_latched_and_ends_it_with_twenty(
    trade: Trade, number: signal.Signals
) -> None:
    trade.start()
    assert trade.process is not None
    trade.process.send_signal(number)
    code, out, err = trade.ended()
    assert code == 20
    assert_stopped(trade, 20, "halted", out, err)
    assert trade.last_stop()["detail"] == number.name
    assert (trade.state / "HALT").read_text() == number.name


def test_a_file_named_halt_ends_it_with_twenty_and_its_own_words(trade: Trade) -> None:
    trade.start()
    (trade.state / "HALT").write_text("by hand\n")
    code, out, err = trade.ended()
    assert code == 20
    assert_stopped(trade, 20, "halted", out, err)
    assert trade.last_stop()["detail"] == "by hand"


def test_the_guardians_halt_is_confirmed_before_the_end(trade: Trade) -> None:
    ours, theirs = socket.socketpair()
    trade.start(env={"CHAPPIE_GUARDIAN_FD": str(theirs.fileno())}, pass_fds=(theirs.fileno(),))
    theirs.close()
    ours.send(b'{"type":"halt","detail":"enough","flatten":false}\n')
    _, out, err = trade.ended()
    assert_stopped(trade, 20, "halted", out, err)
    words = [json.loads(line) for line in ours.makefile("rb").read().splitlines()]
    seen, last = [word for word in words if word["type"] != "beat"]
    assert seen == {"type": "halt_seen", "detail": "enough"}
    assert (last["type"], last["code"]) == ("ending", 20)


SLEEPER = "import time\nclass Sleeper:\n    def decide(self, view):\n        time.sleep(30)\n"


def test_a_loop_that_does_not_turn_is_ended_by_the_watchdog(trade: Trade) -> None:
    (trade.folder / "sleeper.py").write_text(SLEEPER)
    began = time.monotonic()
    trade.start("bot.policy=sleeper:Sleeper", "supervisor.heartbeat_timeout_s=1.0", how="asks")
    code, out, err = trade.ended(within_s=10)
    assert code == 17
    assert_stopped(trade, 17, "loop_stalled", out, err)
    assert trade.last_stop()["known"] is False
    # Orders and position as they were last known, from the beat before.
    assert trade.last_stop()["position"] == 100
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("number", "code", "reason"), [(signal.SIGTERM, 0, "operator"), (signal.SIGUSR2, 20, "halted")]
)
def test_a_stop_asked_of_a_loop_that_does_not_turn_is_over_within_five_seconds(
    trade: Trade, number: signal.Signals, code: int, reason: str
) -> None:
    (trade.folder / "sleeper.py").write_text(SLEEPER)
    trade.start("bot.policy=sleeper:Sleeper", "supervisor.heartbeat_timeout_s=25", how="asks")
    assert trade.process is not None
    time.sleep(0.5)
    trade.process.send_signal(number)
    ended, out, err = trade.ended(within_s=5.0)
    assert ended == code
    assert_stopped(trade, code, reason, out, err)
    assert trade.last_stop()["known"] is False
    assert (trade.state / "HALT").exists() is (reason == "halted")


def test_a_disk_that_hangs_at_the_end_does_not_keep_the_process(trade: Trade) -> None:
    trade.start(env={"FAKE_DISK": "hangs"})
    (trade.state / "HALT").touch()
    code, out, err = trade.ended(within_s=6.0)
    assert code == 20
    assert_stopped(trade, 20, "halted", out, err)


def test_a_policy_that_hangs_in_what_it_prints_is_halted_all_the_same(trade: Trade) -> None:
    (trade.folder / "talker.py").write_text(
        "class Talker:\n    def decide(self, view):\n        print('x' * 5000, end='')\n"
        "        return 0\n"
    )
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(theirs, b"x" * 4096)
    os.set_blocking(theirs, True)
    trade.start("bot.policy=talker:Talker", how="asks", stdout=theirs)
    os.close(theirs)
    assert trade.process is not None
    trade.process.send_signal(signal.SIGUSR1)
    code, _, _ = trade.ended(within_s=6.0)
    os.close(ours)
    assert code == 20
    assert trade.last_stop()["reason"] == "halted"
    assert (trade.state / "HALT").exists()


def test_a_thread_that_a_policy_left_behind_does_not_keep_the_process(trade: Trade) -> None:
    (trade.folder / "threads.py").write_text(
        "import threading, time\nclass Threads:\n"
        "    def __init__(self):\n        threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    def decide(self, view):\n        return 0\n"
    )
    trade.start("bot.policy=threads:Threads")
    assert trade.process is not None
    trade.process.terminate()
    assert trade.ended(within_s=6.0)[0] == 0


@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [("breaks", 70, "internal_error"), ("violates", 16, "invariant_violated")],
)
def test_a_bug_is_one_record_of_the_log_and_no_traceback_on_the_terminal(
    trade: Trade, how: str, code: int, reason: str
) -> None:
    found, out, err = trade.run(FAKE_CORE=how)
    assert found == code
    assert_stopped(trade, code, reason, out.encode(), err.encode())
    records = [json.loads(line) for line in err.splitlines()]
    (bug,) = (record for record in records if record["event"] == reason)
    assert "trade_with_fake_core.py" in bug["trace"]


def test_a_second_trader_in_the_same_folder_is_not_alone_and_disturbs_nothing(
    trade: Trade,
) -> None:
    trade.start()
    before = (trade.log(), sorted(path.name for path in trade.state.iterdir()))
    code, _, err = trade.run()
    assert code == 21
    assert last_line(err)["reason"] == "not_alone"
    assert before == (trade.log(), sorted(path.name for path in trade.state.iterdir()))


def test_a_run_can_be_found_while_it_lives(trade: Trade) -> None:
    trade.start()
    run = json.loads((trade.state / "run.json").read_bytes())
    assert trade.process is not None
    assert run["pid"] == trade.process.pid


def test_kill_minus_nine_and_a_new_start_with_a_higher_epoch(trade: Trade) -> None:
    trade.start()
    first = json.loads((trade.state / "run.json").read_bytes())["epoch"]
    assert trade.process is not None
    trade.process.kill()
    trade.ended()
    (trade.state / "trader.log").unlink()
    trade.start()
    assert json.loads((trade.state / "run.json").read_bytes())["epoch"] > first


def test_another_bots_folder_is_a_configuration_error(trade: Trade) -> None:
    trade.start()
    assert trade.process is not None
    trade.process.terminate()
    trade.ended()
    stop = trade.last_stop()
    code, _, err = trade.run("bot.id=other")
    assert code == 64
    assert err.count("\n") == 1
    assert "bound to another bot.id" in err
    assert trade.last_stop() == stop


@pytest.mark.parametrize(
    ("sets", "env", "words"),
    [
        (["bot.order_qty=none"], {}, "--set: bot.order_qty = 'none'"),
        (["bot.policy=nowhere:Policy"], {}, "--set: bot.policy"),
        ([], {"CHAPPIE_BOT__QTY": "1"}, "environment CHAPPIE_BOT__QTY: unknown key bot.qty"),
        ([], {"CHAPPIE_API_SECRET_FILE": "x"}, "both given"),
        (["venue.kind=bitmex", "venue.rest_url=", "venue.ws_url="], {}, "venue.kind"),
    ],
)
def test_a_configuration_that_cannot_run_is_one_line_and_64(
    trade: Trade, sets: list[str], env: dict[str, str], words: str
) -> None:
    code, out, err = trade.run(*sets, **env)
    assert code == 64
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert not trade.state.exists()


def test_a_state_folder_that_cannot_be_written_is_journal_failed(trade: Trade) -> None:
    (trade.folder / "file").write_text("")
    code, _, err = trade.run("state.dir=file/state")
    assert code == 18
    assert last_line(err)["detail"] == "file/state: Not a directory"


def test_a_disk_that_fills_while_running_is_journal_failed_and_named(
    trade: Trade, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        trade.state = disk / "state"
        # Twenty ticks a second alone would take hours to fill it.
        env = trade.env(FAKE_CORE="obeys")
        trade.process = subprocess.Popen(
            trade.command(f"state.dir={trade.state}"),
            cwd=trade.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        trade.await_line('"ready"')
        with pytest.raises(OSError, match="No space left"):
            (disk / "filler").write_bytes(bytes(1 << 20))
        code, out, err = trade.ended(within_s=30)
        assert code == 18
        for text in (out, err):
            assert last_line(text)["reason"] == "journal_failed"
            assert "No space left on device" in last_line(text)["detail"]
            assert "/journal/" in last_line(text)["detail"]
        assert trade.last_stop()["code"] == 18
        whole = [entry for path in segments(trade.state / "journal") for _, entry in read(path)]
        assert isinstance(whole[1], Started)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_journal_tells_the_run_from_its_start_to_who_ended_it(trade: Trade) -> None:
    trade.start("bot.order_qty=200")
    assert trade.process is not None
    trade.process.terminate()
    trade.ended()
    (path,) = segments(trade.state / "journal")
    entries = [entry for _, entry in read(path)]
    header, started = entries[:2]
    assert isinstance(header, Header)
    assert json.loads(header.config)["bot.order_qty"] == {"value": 200, "source": "--set"}
    assert isinstance(started, Started)
    assert StopAsked("operator", "SIGTERM") in entries


def test_the_effective_configuration_is_logged_with_the_source_of_each_value(
    trade: Trade,
) -> None:
    (trade.folder / "chappie.toml").write_text("[bot]\nallow_trade = 'maybe'\nid = 'seven'\n")
    trade.start("bot.order_qty=200", env={"CHAPPIE_FEED__CHECK_EVERY_S": "0.5"})
    records = [json.loads(line) for line in trade.log().splitlines()]
    (shown,) = (record for record in records if record["event"] == "configuration")
    values = shown["values"]
    assert values["bot.order_qty"] == {"value": 200, "source": "--set"}
    assert values["bot.id"] == {"value": "seven", "source": "chappie.toml"}
    assert values["feed.check_every_s"]["source"] == "environment CHAPPIE_FEED__CHECK_EVERY_S"
    assert values["dead_man.timeout_s"] == {"value": 60.0, "source": "default"}
    assert values["bot.allow_trade"] == {"value": False, "source": "chappie.toml"}
    assert any("counts as false" in str(record.get("detail")) for record in records)


def test_no_secret_is_in_any_file_or_line_or_in_the_process_list(trade: Trade) -> None:
    (trade.folder / "leaky.py").write_text(
        "import os\nclass Leaky:\n    def decide(self, view):\n"
        "        raise ValueError(os.environ['CHAPPIE_API_SECRET'])\n"
    )
    trade.start("bot.policy=leaky:Leaky", how="asks")
    assert trade.process is not None
    cmdline = Path(f"/proc/{trade.process.pid}/cmdline").read_bytes()
    time.sleep(0.3)
    trade.process.terminate()
    _, out, err = trade.ended()
    files = [path for path in trade.state.rglob("*") if path.is_file()]
    assert len(files) > 5
    places = [cmdline, out, err, *(path.read_bytes() for path in files)]
    for secret in (KEY.encode(), SECRET.encode()):
        assert [place for place in places if secret in place] == []
    # The leak did reach the journal, with stars.
    journals = [path for path in files if path.suffix == ".journal"]
    assert any(b"decide raised ValueError: ***" in path.read_bytes() for path in journals)
