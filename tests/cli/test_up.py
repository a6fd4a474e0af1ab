import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chappie.cli import settings, up
from tests.cli.test_up_embedded import gone
from tests.conftest import ROOT

PATIENCE_S = 20.0


class Up:
    """One `chappie up` as a process, its folder, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.said = folder / "said"
        self.process: subprocess.Popen[bytes]

    def start(
        self,
        *args: str,
        terminal: int | None = None,
        module: tuple[str, ...] = ("tests.cli.up_with_fakes",),
        **env: str,
    ) -> "Up":
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "FAKE_COMMANDS": str(self.folder / "commands"),
            "TERM": "xterm-256color",
            **env,
        }
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *module, *args],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=said if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # The terminal becomes the controlling one, as a shell would have it.
                preexec_fn=None if terminal is None else take_terminal,
            )
        return self

    def until(self, holds: Callable[[], object]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until_s, self.text()
            time.sleep(0.05)

    def until_observing(self) -> tuple[int, int]:
        """Wait for the first decision; the pids of trader and venue."""
        self.until(lambda: (self.state / "run.json").exists() and self.run()["trader_pid"])
        self.until(lambda: self.run()["epoch"] == 7)
        run = self.run()
        return run["trader_pid"], run["venue_pid"]

    def run(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.state / "run.json").read_text())
        return found

    def text(self) -> str:
        return self.said.read_text(errors="replace")

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def names(self) -> list[object]:
        return [record["event"] for record in self.events()]

    def ends(self, within_s: float = 5.0) -> int:
        return self.process.wait(within_s)


def take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


FREE = ("--set", "operator.port=0")


@pytest.mark.processes
def test_bare_it_runs_cycle_observe_only_on_an_embedded_venue_and_says_so(bot: Up) -> None:
    bot.start(*FREE)
    bot.until(lambda: "first_decision" in bot.names())
    configuration = next(r for r in bot.events() if r["event"] == "configuration")
    values = configuration["values"]
    assert isinstance(values, dict)
    assert values["bot.policy"] == {"value": "cycle", "source": "default of up"}
    assert values["bot.allow_trade"] == {"value": False, "source": "default"}
    command = json.loads((bot.folder / "commands").read_text())
    assert command == ["trade", "--set", "operator.port=0"]
    assert "venue_started" in bot.names()
    # Every line is one JSON object: the trader's, the guardian's and the status.
    assert len(bot.events()) == len(bot.text().splitlines())
    assert {"fake_trader_started", "status", "mode"} <= set(bot.names())


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_within_5_s_with_0(bot: Up, number: signal.Signals) -> None:
    bot.start(*FREE)
    trader, venue = bot.until_observing()
    os.kill(bot.process.pid, number)
    assert bot.ends() == 0
    assert gone(trader, 0.1)
    assert gone(venue, 0.1)
    assert not (bot.state / "run.json").exists()
    assert bot.names()[-1] == "guardian_ended"


@pytest.mark.processes
def test_under_nohup_a_hang_up_is_no_reason_to_end(bot: Up) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        bot.start(*FREE)
    finally:
        signal.signal(signal.SIGHUP, before)
    bot.until_observing()
    os.kill(bot.process.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert bot.process.poll() is None
    bot.process.terminate()
    assert bot.ends() == 0


def test_a_child_of_tests_that_run_under_nohup_has_default_signals() -> None:
    asks = "import signal; print(signal.getsignal(signal.SIGHUP).name)"
    starts = (
        "import subprocess, sys; from tests.conftest import give_children_default_signals as give;"
        f"give(); subprocess.run([sys.executable, '-c', {asks!r}], check=True)"
    )
    told = subprocess.run(
        [sys.executable, "-c", starts],
        env={"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None,
        capture_output=True,
        text=True,
    )
    assert told.stdout == "SIG_DFL\n"


@pytest.mark.processes
def test_a_deaf_trader_and_a_deaf_venue_are_gone_within_5_s_too(bot: Up) -> None:
    bot.start(*FREE, FAKE_TRADER="0 deaf", FAKE_VENUE="deaf")
    trader, venue = bot.until_observing()
    bot.process.terminate()
    # In order, so before its last resort, which ends it after 4.8 s with another code.
    assert bot.ends(10.0) == 0
    assert gone(trader, 0.1)
    assert gone(venue, 0.1)


@pytest.mark.processes
def test_after_kill_9_of_the_guardian_trader_and_venue_are_gone_within_5_s(bot: Up) -> None:
    notes = bot.folder / "notes"
    bot.start(*FREE, FAKE_NOTES=str(notes))
    trader, venue = bot.until_observing()
    bot.process.kill()
    bot.ends()
    assert gone(trader)
    assert gone(venue)
    assert "guardian_lost" in notes.read_text()


@pytest.mark.processes
def test_a_closed_terminal_ends_everything_within_5_s(bot: Up) -> None:
    ours, theirs = pty.openpty()
    bot.start(*FREE, terminal=theirs)
    os.close(theirs)
    drawn = bytearray()
    os.set_blocking(ours, False)

    def is_drawn() -> bool:
        with contextlib.suppress(BlockingIOError):
            drawn.extend(os.read(ours, 65_536))
        return b"OBSERVING" in drawn

    bot.until(is_drawn)
    trader, venue = bot.until_observing()
    os.close(ours)
    assert bot.ends() == 0
    assert gone(trader, 0.1)
    assert gone(venue, 0.1)


@pytest.mark.processes
def test_on_a_terminal_ctrl_c_ends_it_and_the_screen_is_given_back(bot: Up) -> None:
    ours, theirs = pty.openpty()
    bot.start(*FREE, terminal=theirs)
    os.close(theirs)
    drawn = bytearray()
    os.set_blocking(ours, False)

    def read() -> bytearray:
        with contextlib.suppress(OSError):
            drawn.extend(os.read(ours, 65_536))
        return drawn

    bot.until(lambda: b"OBSERVING" in read())
    os.write(ours, b"\x03")
    bot.until(lambda: (read(), bot.process.poll() is not None)[1])
    assert bot.ends() == 0
    text = read().decode(errors="replace")
    # The alternate screen is left after it was entered, and the cursor is shown again.
    assert text.rindex("\x1b[?1049l") > text.rindex("\x1b[?1049h")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "chappie ended. Trader: operator" in text
    os.close(ours)


@pytest.mark.processes
def test_a_terminal_that_takes_nothing_stops_neither_the_watch_nor_the_end(bot: Up) -> None:
    ours, theirs = pty.openpty()
    bot.start(*FREE, terminal=theirs)
    os.close(theirs)
    # Nobody reads the terminal: its buffer fills and every write to it waits.
    trader, venue = bot.until_observing()
    time.sleep(2.0)
    os.kill(trader, signal.SIGKILL)
    bot.until(lambda: bot.run()["trader_pid"] not in (trader, None))
    bot.process.terminate()
    assert bot.ends() == 0
    assert gone(venue, 0.1)
    os.close(ours)


@pytest.mark.processes
def test_a_reader_that_went_away_costs_the_lines_only(bot: Up) -> None:
    read_end, write_end = os.pipe()
    bot.process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.up_with_fakes", *FREE],
        cwd=bot.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=write_end,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(write_end)
    os.close(read_end)
    bot.until_observing()
    time.sleep(1.0)
    assert bot.process.poll() is None
    bot.process.terminate()
    assert bot.ends() == 0


@pytest.mark.processes
def test_a_second_one_on_the_same_folder_is_one_line_and_21(bot: Up) -> None:
    bot.start(*FREE)
    bot.until_observing()
    other = Up(bot.folder)
    other.said = bot.folder / "said too"
    other.start(*FREE)
    assert other.ends(10.0) == 21
    assert other.text().startswith(f"another guardian (pid {bot.process.pid}) runs in")
    assert len(other.text().splitlines()) == 1
    assert bot.process.poll() is None


@pytest.mark.processes
def test_a_port_in_use_is_one_line_that_names_it_and_64(bot: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bot.start("--set", f"operator.port={port}")
        assert bot.ends(10.0) == 64
    assert bot.text().startswith(f"--set: operator.port: 127.0.0.1:{port} cannot be used")
    assert len(bot.text().splitlines()) == 1


@pytest.mark.processes
@pytest.mark.parametrize(
    ("args", "names"),
    [
        (("--set", "bot.polcy=hold"), "bot.policy"),
        (("--set", "state.dir=/proc/nowhere"), "state.dir"),
        (("--config", "missing.toml"), "missing.toml"),
    ],
)
def test_a_configuration_that_cannot_run_is_one_line_and_64(
    bot: Up, args: tuple[str, ...], names: str
) -> None:
    bot.start(*FREE, *args)
    assert bot.ends(10.0) == 64
    assert names in bot.text()
    assert len(bot.text().splitlines()) == 1


@pytest.mark.processes
def test_a_venue_that_dies_at_start_is_one_line(bot: Up) -> None:
    bot.start(*FREE, FAKE_VENUE="die")
    assert bot.ends(15.0) == 70
    last = bot.text().splitlines()[-1]
    assert last.startswith("the embedded venue ended at start with code 3: the store is broken")


@pytest.mark.processes
def test_for_seconds_it_ends_by_itself_with_0(bot: Up) -> None:
    bot.start(*FREE, "--for", "1.5")
    assert bot.ends(15.0) == 0
    assert bot.events()[-1]["why"] == "--for 1.5"


@pytest.mark.processes
def test_a_venue_that_died_is_started_again_beside_its_trader(bot: Up) -> None:
    bot.start(*FREE)
    trader, venue = bot.until_observing()
    os.kill(venue, signal.SIGKILL)
    bot.until(lambda: bot.names().count("venue_started") == 2)
    bot.until(lambda: bot.run()["venue_pid"] not in (venue, None))
    (died,) = [line for line in bot.events() if line["event"] == "venue_died"]
    assert died["pid"] == venue
    assert bot.run()["trader_pid"] == trader


@pytest.mark.processes
def test_a_venue_and_a_trader_that_died_together_are_both_there_again(bot: Up) -> None:
    bot.start(*FREE, "--set", "supervisor.backoff_initial_s=0.1")
    trader, venue = bot.until_observing()
    os.kill(venue, signal.SIGKILL)
    os.kill(trader, signal.SIGKILL)
    bot.until(lambda: bot.names().count("trader_started") == 2)
    bot.until(lambda: bot.run()["venue_pid"] not in (venue, None))


@pytest.mark.processes
def test_no_secret_is_in_its_folder_its_lines_or_its_arguments(bot: Up) -> None:
    bot.start(*FREE, CHAPPIE_API_KEY="REALKEYREALKEY", CHAPPIE_API_SECRET="REALSECRETREAL")
    trader, venue = bot.until_observing()
    arguments = b"".join(
        Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (bot.process.pid, trader, venue)
    )
    # The embedded venue and its trader do not even have them in their environment.
    environments = b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in (trader, venue))
    bot.process.terminate()
    bot.ends()
    for secret in (b"REALKEYREALKEY", b"REALSECRETREAL", b"SECRET-SECRET-SECRET"):
        assert secret not in arguments
        assert secret not in environments
        assert secret not in bot.text().encode()
        holders = [
            path.name
            for path in bot.folder.rglob("*")
            if path.is_file() and secret in path.read_bytes()
        ]
        assert holders == (["demo.secret"] if secret.startswith(b"SECRET") else [])


# --- what the trader is told


def choose(*sets: str) -> settings.Settings:
    return settings.load_for_up(None, sets, {})


def told(chosen: settings.Settings) -> dict[str, str]:
    return up._trader_env(os.environ, chosen)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("empty_folder")
def test_who_chose_a_policy_keeps_it() -> None:
    assert choose("bot.policy=hold").config.bot.policy == "hold"
    assert choose().config.bot.policy == "cycle"
    assert choose("bot.allow_trade=true").config.bot.policy == "cycle"


@pytest.mark.usefixtures("empty_folder")
def test_on_a_venue_that_is_not_our_own_the_default_stays_hold() -> None:
    urls = ("venue.rest_url=http://127.0.0.1:9/api/v1", "venue.ws_url=ws://127.0.0.1:9/realtime")
    for kind in ("simulated", "bitmex"):
        chosen = choose(*urls, f"venue.kind={kind}", "bot.allow_trade=true")
        assert chosen.config.bot.policy == "hold"
        assert "CHAPPIE_GIVEN__BOT__POLICY" not in told(chosen)


def test_with_a_file_the_default_stays_hold(empty_folder: Path) -> None:
    (empty_folder / "chappie.toml").write_text("[bot]\nid = 'b'\n")
    assert choose().config.bot.policy == "hold"


@pytest.mark.usefixtures("empty_folder")
def test_real_credentials_reach_the_trader_of_a_real_venue_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHAPPIE_API_KEY", "real")
    monkeypatch.setenv("CHAPPIE_API_SECRET_FILE", "/real")
    urls = ("venue.rest_url=http://127.0.0.1:9/api/v1", "venue.ws_url=ws://127.0.0.1:9/realtime")
    assert told(choose(*urls))["CHAPPIE_API_KEY"] == "real"
    assert not [name for name in told(choose()) if name.startswith("CHAPPIE_API")]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_for_takes_a_number_of_seconds_above_0(text: str) -> None:
    with pytest.raises(up.argparse.ArgumentTypeError, match="not a number of seconds"):
        up._seconds(text)
