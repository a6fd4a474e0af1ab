import json
import subprocess
import sys
from pathlib import Path

import pytest

from chappie.cli.main import main
from tests.conftest import ROOT
from tests.guardian.receivers import nobody, receiving


def alert(folder: Path, urls: list[str], *arguments: str) -> int:
    file = folder / "alerts.toml"
    file.write_text(f"[alerts]\nurls = {json.dumps(urls)}\n")
    return main(["alert", "--config", str(file), *arguments])


def test_a_test_alert_reaches_every_channel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiving() as one, receiving() as two:
        assert alert(tmp_path, [one.url, two.url], "--message", "hear me") == 0
        for receiver in (one, two):
            (got,) = receiver.got
            assert got["title"] == "chappie chappie XBTUSD: test alert"
            assert "hear me" in got["message"]
        assert capsys.readouterr().out.splitlines() == [
            f"channel 1 (json://127.0.0.1:{one.port}): delivered",
            f"channel 2 (json://127.0.0.1:{two.port}): delivered",
        ]


def test_a_channel_that_does_not_take_it_is_named_with_why_and_without_its_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiving() as takes, receiving(403) as refuses:
        urls = [takes.url, f"json://u:hunter2@127.0.0.1:{refuses.port}/t0k3n", nobody() + "t0k3n"]
        assert alert(tmp_path, urls) == 1
    out, err = capsys.readouterr()
    first, second, third = out.splitlines()
    assert first.endswith(": delivered")
    assert "NOT delivered" in second
    assert "403" in second
    assert "NOT delivered" in third
    assert "t0k3n" not in out + err
    assert "hunter2" not in out + err


@pytest.mark.parametrize(
    ("command", "urls", "said"),
    [
        ("alert", [], "alerts.urls is empty"),
        ("alert", ["nope://t0k3n"], "channel 1 (nope://) is no URL"),
        ("up", ["nope://t0k3n"], "channel 1 (nope://) is no URL"),
    ],
)
def test_what_cannot_be_sent_to_is_a_matter_of_configuration(
    tmp_path: Path, command: str, urls: list[str], said: str
) -> None:
    file = tmp_path / "alerts.toml"
    state = tmp_path / "state"
    file.write_text(f"[alerts]\nurls = {json.dumps(urls)}\n[state]\ndir = '{state}'\n")
    # In a process of its own, for `up` takes the signals of its process.
    ran = subprocess.run(
        [sys.executable, "-m", "chappie", command, "--config", str(file)],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 64
    assert said in ran.stderr
    assert "alerts.urls" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "t0k3n" not in ran.stdout + ran.stderr
    # Nothing was begun.
    assert not state.exists()


def test_without_apprise_it_is_said_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert alert(tmp_path, ["json://127.0.0.1:1/"]) == 64
    assert capsys.readouterr().err == (
        "alerts.urls is set but Apprise is not installed: install chappie[alerts]\n"
    )
