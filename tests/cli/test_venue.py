"""`chappie venue` as a process: it says where it is, and ends with whoever started it."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes


class Venue:
    def __init__(self, folder: Path, *arguments: str) -> None:
        ready, ready_there = os.pipe()
        lifeline_there, self.lifeline = os.pipe()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "chappie", "venue", *arguments),
                *("--ready-fd", str(ready_there), "--lifeline-fd", str(lifeline_there)),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=(ready_there, lifeline_there),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(ready_there)
        os.close(lifeline_there)
        with open(ready, encoding="utf-8") as pipe:
            line = pipe.readline()
        self.ready: dict[str, str] = json.loads(line) if line else {}

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=5)
        return self.process.returncode, out, err


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    found = Venue(tmp_path, "--state", "venue")
    yield found
    if found.process.poll() is None:
        found.process.kill()
        found.process.communicate()


def test_it_says_where_it_is_and_serves_there(venue: Venue, tmp_path: Path) -> None:
    url = f"{venue.ready['rest_url']}/instrument/active"
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert "XBTUSD" in {row["symbol"] for row in json.load(answer)}
    venue.process.send_signal(signal.SIGTERM)
    code, out, err = venue.ended()
    assert code == 0
    assert err == ""
    for value in venue.ready.values():
        assert value in out
    # The key outlives the venue where it was told to keep it, for its owner only.
    files = [path for path in (tmp_path / "venue").rglob("*") if path.is_file()]
    holding = [path for path in files if venue.ready["secret"].encode() in path.read_bytes()]
    assert holding
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holding)


def test_it_ends_with_its_lifeline(venue: Venue) -> None:
    os.close(venue.lifeline)
    assert venue.ended()[0] == 0


def test_a_port_that_is_taken_is_one_line_and_64(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = Venue(tmp_path, "--port", str(taken.getsockname()[1]))
        code, _, err = other.ended()
    assert code == 64
    assert err.count("\n") == 1
    assert "address already in use" in err


def test_a_tape_that_is_not_there_is_one_line_and_64(tmp_path: Path) -> None:
    code, _, err = Venue(tmp_path, "--tape", "nowhere.tape").ended()
    assert code == 64
    assert err.count("\n") == 1
    assert "nowhere.tape" in err
