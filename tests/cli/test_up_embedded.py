import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chappie.cli import embedded
from chappie.cli.embedded import EmbeddedVenue
from chappie.guardian.venue import VenueFailedError
from tests.conftest import ROOT

pytestmark = pytest.mark.processes
COMMAND = (sys.executable, "-m", "tests.cli.fake_venue")


@pytest.fixture
def venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedVenue]:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    made = EmbeddedVenue(tmp_path, COMMAND)
    yield made
    made.stop(0.1)


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ended; a zombie did, whoever forgot to reap it."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_it_says_where_it_is_and_its_key_lies_in_files_of_the_owner_alone(
    venue: EmbeddedVenue, tmp_path: Path
) -> None:
    assert venue.ensure() is True
    assert venue.ensure() is False
    assert (venue.rest_url, venue.ws_url) == (
        "http://127.0.0.1:9/api/v1",
        "ws://127.0.0.1:9/realtime",
    )
    env = venue.trader_env()
    assert env["CHAPPIE_GIVEN__VENUE__REST_URL"] == f"embedded venue={venue.rest_url}"
    for name, text in (
        ("CHAPPIE_API_KEY_FILE", "KEY-KEY-KEY"),
        ("CHAPPIE_API_SECRET_FILE", "SECRET-SECRET-SECRET"),
    ):
        path = Path(env[name])
        assert path.read_text() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "SECRET" not in (tmp_path / "venue" / "venue.log").read_text()


def test_it_never_sees_credentials_or_settings_of_ours(
    venue: EmbeddedVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAPPIE_API_KEY", "real")
    monkeypatch.setenv("CHAPPIE_API_SECRET_FILE", "/real")
    monkeypatch.setenv("CHAPPIE_BOT__ID", "x")
    venue.ensure()
    assert json.loads((tmp_path / "venue" / "seen.json").read_text())["names"] == []


def killed(venue: EmbeddedVenue) -> None:
    assert venue.is_running
    venue.kill()
    assert venue._process is not None
    venue._process.wait(5)
    assert not venue.is_running


def port_taken(folder: Path) -> object:
    return json.loads((folder / "venue" / "seen.json").read_text())["port"]


def test_one_that_died_is_started_anew_on_its_port(venue: EmbeddedVenue, tmp_path: Path) -> None:
    venue.ensure()
    first = venue.pid
    assert port_taken(tmp_path) == 0
    killed(venue)
    assert venue.ensure() is True
    assert venue.pid != first
    assert port_taken(tmp_path) == 9


def test_where_its_port_is_taken_the_start_after_picks_another(
    venue: EmbeddedVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VENUE", "taken")
    venue.ensure()
    killed(venue)
    with pytest.raises(VenueFailedError):
        venue.ensure()
    assert venue.ensure() is True
    assert port_taken(tmp_path) == 0


def test_at_the_end_it_is_not_started_again(venue: EmbeddedVenue) -> None:
    venue.ensure()
    venue.stop(1.0)
    with pytest.raises(VenueFailedError, match="we are ending"):
        venue.ensure()


def test_one_that_dies_at_start_is_one_clear_line(
    venue: EmbeddedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VENUE", "die")
    with pytest.raises(VenueFailedError) as failed:
        venue.ensure()
    line = str(failed.value)
    assert line.startswith("the embedded venue ended at start with code 3: the store is broken")
    assert "\n" not in line
    assert "\x1b" not in line


def test_one_that_cannot_be_started_says_why_although_its_log_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    (tmp_path / "venue" / "venue.sqlite").mkdir(parents=True)
    (tmp_path / "venue" / "venue.log").symlink_to("/dev/full")
    venue = EmbeddedVenue(tmp_path)
    with pytest.raises(VenueFailedError) as failed:
        venue.ensure()
    assert str(failed.value).startswith("the embedded venue cannot be started: account file ")
    assert "unable to open database file" in str(failed.value)
    assert not venue.is_running
    venue.stop()


def test_a_broken_ready_line_is_refused(
    venue: EmbeddedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VENUE", "babble")
    with pytest.raises(VenueFailedError, match="said a broken ready line"):
        venue.ensure()
    assert venue.pid is not None
    assert not venue.is_running


def test_the_wait_for_it_is_bounded(venue: EmbeddedVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VENUE", "mute")
    monkeypatch.setattr(embedded, "READY_WITHIN_S", 0.5)
    with pytest.raises(VenueFailedError, match=r"not ready within 0\.5 s"):
        venue.ensure()


def test_a_command_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    venue = EmbeddedVenue(tmp_path, ("/nonexistent/python",))
    with pytest.raises(VenueFailedError, match="cannot be started"):
        venue.ensure()
    venue.stop()


def test_a_deaf_one_is_killed(venue: EmbeddedVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VENUE", "deaf")
    venue.ensure()
    assert venue.pid is not None
    began = time.monotonic()
    venue.stop(0.3)
    assert gone(venue.pid)
    assert time.monotonic() - began < 2.0
    venue.stop(0.3)


def test_it_lives_until_the_last_of_its_starters_is_gone(venue: EmbeddedVenue) -> None:
    venue.ensure()
    assert venue.pid is not None
    assert venue._process is not None
    trader = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=venue.inherited()
    )
    # The guardian is killed: its end of the lifeline closes, the trader's is still open, and
    # the trader has orders to cancel there.
    venue._drop_lifeline()
    with pytest.raises(subprocess.TimeoutExpired):
        venue._process.wait(0.5)
    trader.communicate(b"\n")
    assert venue._process.wait(5) == 0


def test_its_log_is_bounded(venue: EmbeddedVenue, tmp_path: Path) -> None:
    log = tmp_path / "venue" / "venue.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * 5_000_000)
    venue.ensure()
    assert log.stat().st_size == 0
