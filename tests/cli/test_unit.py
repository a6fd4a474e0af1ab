"""`chappie unit`: its rules against every way in which a run can end, as systemd applies them."""

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from chappie.cli import unit as unit_module
from chappie.cli.main import main
from chappie.model.faults import StopReason

REAL = (
    "venue.kind=bitmex",
    "venue.rest_url=https://there/api/v1",
    "venue.ws_url=wss://there/realtime",
)
# systemd.service(5): these are clean, like exit code 0.
CLEAN_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


class Unit:
    """A unit as systemd reads it: settings by section, a list where one may come again."""

    def __init__(self, text: str) -> None:
        self.settings: dict[tuple[str, str], list[str]] = {}
        section = ""
        for line in text.splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                key, mark, value = line.partition("=")
                assert mark, line
                self.settings.setdefault((section, key), []).append(value)

    def one(self, key: str, section: str = "Service") -> str:
        (value,) = self.settings[section, key]
        return value

    def restarts(self, *, code: int | None = None, by: signal.Signals | None = None) -> bool:
        """What systemd does after this end of the main process."""
        assert self.one("Restart") == "on-failure"
        prevented = self.one("RestartPreventExitStatus").split()
        if code is not None:
            return str(code) not in prevented and code != 0
        assert by is not None
        return by.name not in prevented and by not in CLEAN_SIGNALS


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["unit", *args]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CHAPPIE_")]:
        monkeypatch.delenv(name)


def sets(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--set", text)]


@pytest.mark.parametrize("reason", [r for r in StopReason if r is not StopReason.KILLED])
@pytest.mark.parametrize("how", [(), ("--trade",), ("--user",)])
def test_it_restarts_after_exactly_the_codes_of_the_table(
    capsys: pytest.CaptureFixture[str], reason: StopReason, how: tuple[str, ...]
) -> None:
    found = Unit(printed(capsys, *how))
    assert found.restarts(code=reason.value) is reason.restarts


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL]
)
def test_whoever_is_killed_is_started_again_and_so_is_who_misses_the_watchdog(
    capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    # The watchdog of systemd ends a service by SIGABRT.
    assert Unit(printed(capsys)).restarts(by=number) is StopReason.KILLED.restarts


def test_a_signal_that_asks_for_the_end_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not Unit(printed(capsys)).restarts(by=signal.SIGTERM)


def test_a_crash_loop_ends_after_as_many_starts_as_the_guardian_would_make(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = sets("supervisor.max_restarts=3", "supervisor.window_s=300")
    found = Unit(printed(capsys, *given))
    assert found.one("StartLimitBurst", "Unit") == "3"
    assert found.one("StartLimitIntervalSec", "Unit") == "300"


@pytest.mark.parametrize("heartbeat_s", [1.0, 5.0, 60.0])
def test_our_own_watchdogs_act_before_systemds(
    capsys: pytest.CaptureFixture[str], heartbeat_s: float
) -> None:
    found = Unit(printed(capsys, *sets(f"supervisor.heartbeat_timeout_s={heartbeat_s}")))
    assert float(found.one("WatchdogSec")) >= max(20.0, 2 * heartbeat_s)
    assert found.one("Type") == "notify"


def test_the_command_is_that_of_this_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "my bot.toml").write_text("[state]\ndir = '50% mine'\n")
    given = ["--config", "my bot.toml", *sets("bot.policy=mine:My$Policy")]
    found = Unit(printed(capsys, *given))
    words = shlex.split(found.one("ExecStart").replace("$$", "$").replace("%%", "%"))
    assert words[1:4] == ["-m", "chappie", "up"]
    assert words[4:6] == ["--config", str(tmp_path / "my bot.toml")]
    assert words[6:] == ["--set", "bot.policy=mine:My$Policy"]
    assert found.one("ReadWritePaths") == f"{tmp_path}/50%% mine"
    assert Unit(printed(capsys, "--trade")).one("ExecStart").endswith("chappie trade")


def test_with_a_real_venue_the_trader_is_asked_to_end_and_the_key_is_a_credential(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Unit(printed(capsys, *sets(*REAL)))
    # All of it gets the signal: a trader whose guardian died still cancels.
    assert found.one("KillMode") == "control-group"
    assert found.settings["Service", "LoadCredential"] == [
        "api-key:/etc/chappie/api-key",
        "api-secret:/etc/chappie/api-secret",
    ]
    assert "CHAPPIE_API_KEY_FILE=%d/api-key" in found.settings["Service", "Environment"]
    monkeypatch.setenv("CHAPPIE_API_KEY_FILE", "/secrets/the-key")
    found = Unit(printed(capsys, *sets(*REAL)))
    assert found.settings["Service", "LoadCredential"][0] == "api-key:/secrets/the-key"


def test_the_embedded_venue_outlives_the_cancels(capsys: pytest.CaptureFixture[str]) -> None:
    found = Unit(printed(capsys))
    assert found.one("KillMode") == "mixed"
    assert ("Service", "LoadCredential") not in found.settings


def test_for_a_users_manager_nothing_is_asked_that_it_cannot_give(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Unit(printed(capsys, "--user"))
    assert ("Service", "User") not in found.settings
    assert ("Service", "ProtectSystem") not in found.settings
    assert found.one("WantedBy", "Install") == "default.target"
    assert found.one("NoNewPrivileges") == "yes"


def test_a_secret_in_a_flag_is_refused_and_what_the_environment_says_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["unit", *sets('alerts.urls=["json://secret/"]')]) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert "json://secret" not in said.err
    monkeypatch.setenv("CHAPPIE_BOT__ID", "other")
    assert main(["unit"]) == 0
    assert "bot.id comes from the environment" in capsys.readouterr().err


def test_root_is_no_user_for_a_bot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_module.os, "getuid", lambda: 0)
    assert unit_module._user() == "chappie"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("how", [(), ("--trade",), tuple(sets(*REAL))])
def test_systemd_understands_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, how: tuple[str, ...]
) -> None:
    file = tmp_path / "chappie.service"
    file.write_text(printed(capsys, *how))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
