"""`chappie why`: every shut gate with since when and what would open it, in plain words."""

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chappie.cli import gates
from chappie.cli.main import main
from chappie.guardian import last_stop
from chappie.guardian.shown import HaltState, Setting, Shown, TraderState, merge
from chappie.live.state_dir import LastStop, StateDir
from chappie.model.config import Config
from chappie.model.faults import FAULTS, Fault
from chappie.model.state import FaultState, Mode, State
from tests.cli.test_status import guardian_in
from tests.guardian.states import faulted, healthy

SETTING = Setting(True, "cycle", "simulated", "XBTUSD", "c0ffee")
STOP = LastStop("feed_stale", 10, "silence", "2026-01-01T00:00:00Z", [], 0, False)


def shown(state: State, running: bool = True, **trader: Any) -> Shown:
    given: dict[str, Any] = {"pid": 7, "beat_age_s": 0.1, **trader}
    return merge(SETTING, state, 0.1, running, TraderState(**given))


def trading() -> State:
    return msgspec.structs.replace(healthy(), allow_trade=True, mode=Mode.TRADING)


def why(folder: Path, *args: str) -> int:
    return main(["why", "--set", f"state.dir={folder}", *args])


def test_a_bot_that_trades_has_every_gate_open() -> None:
    found = gates.of_instance(shown(trading()), Config())
    assert [gate.gate for gate in found] == ["process", "halt", "faults", "allow_trade", "policy"]
    assert not any(gate.shut for gate in found)
    assert gates.headline(found, Mode.TRADING) == "trading: every gate is open"


def test_observe_only_is_one_shut_gate_that_names_the_key() -> None:
    found = gates.of_instance(shown(healthy()), Config())
    (shut,) = [gate for gate in found if gate.shut]
    assert shut.gate == "allow_trade"
    assert "bot.allow_trade = true" in shut.opens
    assert gates.headline(found, Mode.OBSERVING) == "observing: 1 gate is shut"


def test_a_fault_says_what_clears_it_and_when_it_ends_the_run() -> None:
    found = gates.of_instance(shown(faulted()), Config())
    book = next(gate for gate in found if gate.gate == "stream_unsynced orderBook")
    assert book.shut
    assert (book.why, book.opens) == ("unknown id 8799", "a new image")
    assert book.since_s == pytest.approx(3.1)
    assert book.ends == "after 150 s (feed.sync_fault_after_s) it ends the run: feed_unsynced"
    budget = next(gate for gate in found if gate.gate == "budget_low")
    assert budget.ends == ""


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_of_the_table_is_put_into_words(fault: Fault) -> None:
    state = msgspec.structs.replace(
        trading(), faults=[FaultState(fault.value, "", 1.0, "", FAULTS[fault].clears)]
    )
    gate = gates.of_instance(shown(state), Config())[2]
    assert gate.shut
    assert gate.opens
    assert gate.allows
    assert bool(gate.ends) is (FAULTS[fault].stop is not None)


def test_a_fault_of_a_newer_version_is_shown_as_it_came() -> None:
    state = msgspec.structs.replace(
        trading(), faults=[FaultState("moon_is_full", "x", 1.0, "night", "dawn")]
    )
    gate = gates.of_instance(shown(state), Config())[2]
    assert (gate.gate, gate.why, gate.opens) == ("moon_is_full x", "night", "dawn")


def test_a_trader_that_waits_for_its_restart_says_how_long() -> None:
    now = shown(faulted(), running=False, last_stop=STOP, next_start_s=12.0)
    found = gates.of_instance(now, Config())
    assert found[0].shut
    assert "feed_stale (silence, the account was not verified)" in found[0].why
    assert found[0].opens == "the guardian starts it again in 12 s"
    assert not any(gate.gate.startswith("stream_unsynced") for gate in found)


def test_a_trader_that_stays_down_says_what_a_person_does() -> None:
    stop = msgspec.structs.replace(STOP, reason="crash_loop", code=10)
    found = gates.of_instance(shown(faulted(), running=False, last_stop=stop), Config())
    assert "chappie resume" in found[0].opens


def test_a_beat_that_is_overdue_shuts_the_first_gate() -> None:
    found = gates.of_instance(shown(trading(), beat_age_s=3.0), Config())
    assert found[0].shut
    assert "3.0 s ago" in found[0].why


def test_a_halt_is_opened_by_resume_alone() -> None:
    halt = HaltState("too hot", "2026-01-01T00:00:00Z")
    found = gates.of_instance(msgspec.structs.replace(shown(trading()), halt=halt), Config())
    assert (found[1].shut, found[1].since) == (True, halt.since)
    assert found[1].opens == "chappie resume --reason TEXT"


def test_people_read_it_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with guardian_in(tmp_path, shown(faulted())):
        assert why(tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith("faulted: 3 gates are shut\n")
    assert "  SHUT  stream_unsynced orderBook: unknown id 8799\n        since 20" in out
    assert "opens: a new image" in out
    assert "  open  halt: none is latched" in out


def test_programs_read_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with guardian_in(tmp_path, shown(faulted())):
        assert why(tmp_path, "--json") == 0
    body = msgspec.json.decode(capsys.readouterr().out)
    assert body["mode"] == "faulted"
    assert [gate["gate"] for gate in body["gates"] if gate["shut"]] == [
        "stream_unsynced orderBook",
        "budget_low",
        "allow_trade",
    ]
    assert body["gates"][2]["since"].endswith("Z")


def test_where_nobody_runs_the_folder_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last_stop.write(tmp_path, STOP)
    (tmp_path / "HALT").write_text("too hot")
    assert why(tmp_path) == 1
    said = capsys.readouterr()
    assert said.err == f"nothing runs in {tmp_path}\n"
    assert "the last run stopped: feed_stale (silence, the account was not verified)" in said.out
    assert "SHUT  halt: halted: too hot" in said.out
    assert "chappie up starts it" in said.out


def test_of_a_trader_alone_the_stop_before_it_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last_stop.write(tmp_path, STOP)
    with contextlib.closing(StateDir(tmp_path)):
        assert why(tmp_path, "--json") == 1
    assert "feed_stale" not in capsys.readouterr().out


def test_a_wrong_configuration_is_64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert why(tmp_path, "--set", "nonsense=1") == 64
    assert "nonsense" in capsys.readouterr().err
