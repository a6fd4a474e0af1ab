import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chappie.cli.main import main
from chappie.guardian.instance import Run, write_run
from chappie.guardian.operator.api import Api, bind
from chappie.guardian.shown import Setting, Shown, TraderState, merge
from tests.guardian.states import healthy

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee")


@contextlib.contextmanager
def guardian_in(folder: Path, shown: Shown | None = None) -> Iterator[str]:
    """An operator API in a thread of its own, found by `run.json`."""
    state = shown or merge(SETTING, healthy(), 0.1, True, TraderState(pid=7, beat_age_s=0.1))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    api = Api(bind("127.0.0.1", 0), lambda: state, 5.0)
    asyncio.run_coroutine_threadsafe(api.start(), loop).result(5)
    write_run(folder, Run(pid=os.getpid(), operator=api.url))
    try:
        yield api.url
    finally:
        asyncio.run_coroutine_threadsafe(api.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def status(folder: Path, *args: str) -> int:
    return main(["status", "--set", f"state.dir={folder}", *args])


def test_json_is_the_body_of_the_api_whatever_proxy_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with guardian_in(tmp_path):
        assert status(tmp_path, "--json") == 0
    body = msgspec.json.decode(capsys.readouterr().out)
    assert (body["mode"], body["config_hash"]) == ("observing", "c0ffee")


def test_for_people_it_draws_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with guardian_in(tmp_path):
        assert status(tmp_path) == 0
    out = capsys.readouterr().out
    assert "OBSERVING" in out
    assert "none working" in out
    assert "chappie why" in out
    assert "\x1b" not in out


def test_nothing_running_is_a_line_and_1_with_the_last_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(tmp_path) == 1
    said = capsys.readouterr()
    assert said.err == f"nothing runs in {tmp_path}\n"
    assert said.out == "what it takes to trade again: chappie why\n"
    (tmp_path / "last_stop.json").write_text(
        '{"reason":"feed_stale","code":10,"detail":"silence","at":"2026-01-01T00:00:00Z",'
        '"orders":[],"position":-5,"known":false}'
    )
    assert status(tmp_path) == 1
    out = capsys.readouterr().out
    assert "last stop: feed_stale (code 10) at 2026-01-01T00:00:00Z: silence" in out
    assert "position -5, 0 working orders, not verified" in out


def test_json_of_nothing_running_is_the_same_body_with_mode_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(tmp_path, "--json") == 1
    body = msgspec.json.decode(capsys.readouterr().out)
    assert body["mode"] == "stopped"
    assert body["position"]["qty"] is None


def test_a_process_that_died_without_cleaning_up_is_not_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, Run(pid=2**22 - 3, operator="http://127.0.0.1:9"))
    assert status(tmp_path) == 1
    assert "nothing runs" in capsys.readouterr().err


def test_a_guardian_that_does_not_answer_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with bind("127.0.0.1", 0) as silent:
        port = silent.getsockname()[1]
    write_run(tmp_path, Run(pid=os.getpid(), operator=f"http://127.0.0.1:{port}"))
    assert status(tmp_path) == 1
    said = capsys.readouterr().err
    assert f"the guardian (pid {os.getpid()}) does not answer at http://127.0.0.1:{port}" in said


def test_a_trader_alone_is_named_with_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, Run(pid=os.getpid()))
    assert status(tmp_path) == 1
    assert "a trader runs alone" in capsys.readouterr().err


def test_a_wrong_configuration_is_64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(tmp_path, "--set", "nonsense=1") == 64
    assert "nonsense" in capsys.readouterr().err


def test_a_probe_is_the_answer_of_the_guardian(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(tmp_path, "--probe", "live") == 1
    with guardian_in(tmp_path):
        assert status(tmp_path, "--probe", "live") == 0
        assert status(tmp_path, "--probe", "ready") == 0
    stopped = merge(SETTING, None, 0.0, running=False, trader=TraderState())
    with guardian_in(tmp_path, stopped):
        assert status(tmp_path, "--probe", "live") == 0
        capsys.readouterr()
        assert status(tmp_path, "--probe", "ready") == 1
    assert "mode is stopped" in capsys.readouterr().out
