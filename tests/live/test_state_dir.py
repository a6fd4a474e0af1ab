"""The state folder: one owner, one identity, a number for every run, a last stop."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chappie.journal.framing import JournalError
from chappie.live.state_dir import (
    LastStop,
    OtherIdentityError,
    RunFile,
    StateDir,
    StateTakenError,
)
from chappie.model.config import BotConfig, Config, VenueConfig
from chappie.model.units import SECOND_NS

KEY = "LAqUlngMIQkIUjXMUreyu3qn"
LOCAL = VenueConfig(rest_url="http://127.0.0.1:9000/api/v1", ws_url="ws://127.0.0.1:9000/r")
FAR = VenueConfig(kind="bitmex", rest_url="https://a.example/api/v1", ws_url="wss://a.example/r")
STOP = LastStop("feed_stale", 10, "silent", "2023-11-14T22:13:20Z", [], None, known=False)


def test_two_traders_cannot_share_it(tmp_path: Path) -> None:
    first = StateDir(tmp_path)
    with pytest.raises(StateTakenError, match="another trader holds this state folder"):
        StateDir(tmp_path)
    first.close()
    StateDir(tmp_path).close()


def test_the_lock_falls_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path; from chappie.live.state_dir import StateDir;"
        "StateDir(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env).returncode == -9
    StateDir(tmp_path).close()


def test_the_same_identity_is_welcome_again(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.bind(Config(venue=FAR), KEY)
    state.bind(Config(venue=FAR), KEY)


@pytest.mark.parametrize(
    ("config", "key", "word"),
    [
        (Config(venue=FAR, bot=BotConfig(id="other")), KEY, "bot.id"),
        (Config(venue=FAR), "another-key-altogether", "account"),
        (Config(venue=LOCAL), KEY, "venue"),
        (
            Config(
                venue=VenueConfig(
                    kind="bitmex", rest_url="https://b.example/api/v1", ws_url="wss://b.example/r"
                )
            ),
            KEY,
            "venue",
        ),
        (
            Config(
                venue=VenueConfig(
                    kind="bitmex",
                    rest_url="https://a.example/api/v1",
                    ws_url="wss://a.example/r",
                    symbol="ETHUSD",
                )
            ),
            KEY,
            "symbol",
        ),
    ],
)
def test_another_identity_is_refused_naming_what_differs(
    tmp_path: Path, config: Config, key: str, word: str
) -> None:
    state = StateDir(tmp_path)
    state.bind(Config(venue=FAR), KEY)
    with pytest.raises(OtherIdentityError, match=f"bound to another {word}"):
        state.bind(config, key)


def test_a_simulated_venue_on_this_machine_may_change_its_port(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.bind(Config(venue=LOCAL), KEY)
    moved = VenueConfig(rest_url="http://localhost:9001/api/v1", ws_url="ws://localhost:9001/r")
    state.bind(Config(venue=moved), KEY)
    state.bind(Config(), KEY)


def test_the_identity_on_disk_does_not_hold_the_key(tmp_path: Path) -> None:
    StateDir(tmp_path).bind(Config(venue=FAR), KEY)
    assert KEY.encode() not in (tmp_path / "identity.json").read_bytes()


def test_an_identity_that_cannot_be_read_is_nobodys(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    (tmp_path / "identity.json").write_text('{"venue":')
    with pytest.raises(OtherIdentityError, match="unknown"):
        state.bind(Config(venue=FAR), KEY)


def test_each_epoch_exceeds_the_wall_clock_and_every_epoch_before(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert state.next_epoch(SECOND_NS) == 1000
    assert state.next_epoch(SECOND_NS) == 1001
    # A clock set back must not bring an old number again.
    assert state.next_epoch(5) == 1002
    assert state.next_epoch(2 * SECOND_NS) == 2000


def test_an_epoch_is_durable_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateDir(tmp_path)

    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(JournalError, match="epoch: Input/output error"):
        state.next_epoch(1)


def test_a_last_stop_replaces_the_one_before(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    for detail in ("first, and rather longer than the second", "second"):
        state.reserve_last_stop()
        state.write_last_stop(LastStop("operator", 0, detail, "", [{"a": 1}], 5, known=True))
    assert json.loads(state.last_stop_path.read_bytes()) == {
        "reason": "operator",
        "code": 0,
        "detail": "second",
        "at": "",
        "orders": [{"a": 1}],
        "position": 5,
        "known": True,
    }


def test_a_last_stop_can_be_written_on_a_full_disk(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "none", str(tmp_path)], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        state = StateDir(tmp_path)
        state.reserve_last_stop()
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "filler").write_bytes(bytes(64 * 1024))
        state.write_last_stop(STOP)
        assert json.loads(state.last_stop_path.read_bytes())["reason"] == "feed_stale"
        state.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_last_stop_that_nothing_can_hold_does_not_hold_up_the_end(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    for path in (tmp_path / "state").iterdir():
        path.unlink()
    (tmp_path / "state").rmdir()
    state.write_last_stop(STOP)


def test_a_folder_that_cannot_be_made_is_a_journal_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="Not a directory"):
        StateDir(tmp_path / "file" / "state")


def test_the_running_instance_can_be_found_and_is_gone_afterwards(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write_run(RunFile(12, 34, "2023-11-14T22:13:20Z"))
    assert json.loads((tmp_path / "run.json").read_bytes())["pid"] == 12
    state.forget_run()
    assert not (tmp_path / "run.json").exists()


def test_the_latch_is_any_file_of_that_name_and_an_unreadable_one_is_a_halt(
    tmp_path: Path,
) -> None:
    state = StateDir(tmp_path)
    assert state.halted() is None
    latch = tmp_path / "HALT"
    latch.write_text("margin call\n")
    assert state.halted() == "margin call"
    latch.write_bytes(b"\xff")
    assert state.halted()
    latch.write_bytes(b"")
    assert state.halted()
    latch.unlink()
    latch.mkdir()
    assert "cannot be read" in str(state.halted())
