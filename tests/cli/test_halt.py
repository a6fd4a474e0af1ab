"""`chappie halt`: it latches whatever is broken, finds who runs, and says what is missing."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chappie.cli import halt as halt_module
from chappie.cli.main import main
from chappie.guardian import last_stop
from chappie.guardian.instance import Lock, Run, write_run
from chappie.guardian.operator import token
from chappie.guardian.operator.api import Api, bind
from chappie.guardian.shown import Setting, TraderState, merge
from chappie.guardian.ward import HaltDone, Resumed
from chappie.journal.framing import JournalError
from chappie.live import latch
from chappie.live.state_dir import LastStop, StateDir
from tests.guardian.states import healthy
from tests.system.rig import Seat, Venue, a_venue

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee")
# Holds the trader's lock, and does as it is told: obey (end with a verified stop), end in doubt,
# leave an order behind, or hang.
TRADER = """
import signal, sys, time
from pathlib import Path
from chappie.guardian import last_stop
from chappie.live.state_dir import LastStop, StateDir
state = StateDir(Path(sys.argv[1]))
if sys.argv[2] == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while sys.argv[2] == "hang" or not (Path(sys.argv[1]) / "HALT").exists():
    time.sleep(0.02)
orders = [{}] if sys.argv[2] == "leave" else []
known = sys.argv[2] != "doubt"
last_stop.write(Path(sys.argv[1]), LastStop("halted", 20, "", "", orders, 300, known))
"""


def halt(
    capsys: pytest.CaptureFixture[str], folder: Path, *args: str
) -> tuple[int, list[str], list[str]]:
    code = main(["halt", "--set", f"state.dir={folder}", *args])
    shown = capsys.readouterr()
    return code, shown.out.splitlines(), shown.err.splitlines()


class FakeOperator:
    """What a guardian answers."""

    def __init__(self, done: HaltDone) -> None:
        self.done = done
        self.asked: list[tuple[str, bool]] = []

    async def halt(self, reason: str, flatten: bool, by: str) -> HaltDone:
        self.asked.append((reason, flatten))
        return self.done

    async def resume(self, reason: str, by: str) -> Resumed:
        raise NotImplementedError


@contextlib.contextmanager
def guardian_in(folder: Path, operator: FakeOperator) -> Iterator[None]:
    """A lock, an operator API in a thread of its own, and `run.json`."""
    lock = Lock(folder)
    lock.take()
    state = merge(SETTING, healthy(), 0.1, True, TraderState(pid=7, beat_age_s=0.1))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    api = Api(bind("127.0.0.1", 0), lambda: state, 5.0, operator, lambda: token.ensure(folder))
    asyncio.run_coroutine_threadsafe(api.start(), loop).result(5)
    write_run(folder, Run(pid=os.getpid(), operator=api.url))
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(api.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
        lock.close()


@contextlib.contextmanager
def trader_in(folder: Path, how: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", TRADER, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    with a_venue(seats=6) as made:
        yield made


@pytest.fixture
def seat(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> Seat:
    """An account, with its credentials in the environment."""
    seat = venue.seat()
    monkeypatch.setenv("CHAPPIE_API_KEY", seat.key)
    monkeypatch.setenv("CHAPPIE_API_SECRET", seat.secret)
    return seat


def at(seat: Seat) -> tuple[str, ...]:
    urls = (f"venue.rest_url={seat.venue.rest_url}", f"venue.ws_url={seat.venue.ws_url}")
    return tuple(part for url in urls for part in ("--set", url))


def rest(seat: Seat, name: str) -> None:
    seat.place(side="Buy", orderQty=100, price=30_000, clOrdID=name)


def rest_late(seat: Seat) -> None:
    """An order that is under way for 2.5 s after the one that rests was cancelled."""
    while len(seat.open_orders()) > 1:
        time.sleep(0.02)
    time.sleep(2.5)
    rest(seat, "chp-chappie-abc-2")


# --- with a guardian


def test_with_a_guardian_it_does_the_rest_and_what_it_did_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = FakeOperator(HaltDone(True, True, True, True, 0, 0, []))
    with guardian_in(tmp_path, operator):
        code, out, err = halt(capsys, tmp_path, "--reason", "too hot", "--flatten")
    assert (code, err) == (0, [])
    assert operator.asked == [("too hot", True)]
    assert out[0] == f"latched: too hot ({tmp_path / 'HALT'})"
    assert "verified: a read shows no order of ours; position +0" in out
    assert "flattened: the position is closed" in out


def test_what_the_guardian_misses_is_one_line_each_and_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["no read shows that none of our orders works: 503", "not flattened: 503"]
    operator = FakeOperator(HaltDone(True, True, False, False, None, None, missing))
    with guardian_in(tmp_path, operator):
        code, _, err = halt(capsys, tmp_path)
    assert code == 1
    assert err == [f"missing: {words}" for words in missing]


def test_a_guardian_that_hangs_is_gone_around(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt_module, "_HEALTHY_WITHIN_S", 0.2)
    with bind("127.0.0.1", 0) as deaf, contextlib.closing(Lock(tmp_path)) as lock:
        lock.take()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        write_run(tmp_path, Run(pid=os.getpid(), operator=url))
        with trader_in(tmp_path, "obey"):
            code, out, err = halt(capsys, tmp_path)
    assert code == 0
    assert "does not answer" in err[0]
    assert "verified: a read shows no order of ours; position +300" in out


def test_without_a_token_it_goes_on_without_the_guardian(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = FakeOperator(HaltDone(True, True, True, None, 0, 0, []))
    with guardian_in(tmp_path, operator):
        (tmp_path / token.FILE).unlink()
        with trader_in(tmp_path, "obey"):
            code, _, err = halt(capsys, tmp_path)
    assert (code, operator.asked) == (0, [])
    assert "operator.token cannot be read" in err[0]


# --- a trader alone


def test_a_trader_alone_sees_the_latch_and_its_verified_end_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with trader_in(tmp_path, "obey"):
        code, out, err = halt(capsys, tmp_path)
    assert (code, err) == (0, [])
    assert "verified: a read shows no order of ours; position +300" in out


@pytest.mark.parametrize("how", ["doubt", "leave"])
def test_an_end_that_is_not_verified_is_read_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    with trader_in(tmp_path, how):
        code, _, err = halt(capsys, tmp_path)
    assert code == 1
    assert "no read shows that none of our orders works" in err[0]


def test_a_stop_from_before_verifies_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last_stop.write(tmp_path, LastStop("operator", 0, "", "", [], 0, True))
    code, out, err = halt(capsys, tmp_path)
    assert code == 1
    assert "no trader runs here" in out
    assert "no read shows that none of our orders works" in err[0]


def test_a_trader_that_hangs_is_killed_and_the_account_is_read_after_the_fence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    seat: Seat,
) -> None:
    monkeypatch.setattr(halt_module, "_TRADER_ENDS_WITHIN_S", 0.3)
    rest(seat, "chp-chappie-abc-1")
    rest(seat, "somebody-elses-1")
    with trader_in(tmp_path, "hang") as trader:
        # The number in this file is another process's: the lock alone tells who the trader is.
        write_run(tmp_path, Run(pid=os.getpid()))
        # Its last order reaches the venue long after the first read, just before the fence.
        late = threading.Thread(target=rest_late, args=(seat,))
        late.start()
        code, out, err = halt(capsys, tmp_path, *at(seat), "--set", "orders.expires_after_s=2")
        late.join()
        assert trader.wait(5) == -signal.SIGKILL
    assert code == 0
    assert "did not end: it is killed" in err[0]
    assert "verified: a read shows no order of ours; position +0" in out
    assert [row["clOrdID"] for row in seat.open_orders()] == ["somebody-elses-1"]


# --- nobody


def test_what_a_run_that_died_before_sent_last_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seat: Seat
) -> None:
    # Nobody took it away, so whoever wrote it was killed, perhaps a moment ago.
    write_run(tmp_path, Run(pid=2**22 + 1))
    late = threading.Thread(target=rest_late, args=(seat,))
    late.start()
    code, out, _ = halt(capsys, tmp_path, *at(seat), "--set", "orders.expires_after_s=2")
    late.join()
    assert (code, out[1]) == (0, "no trader runs here")
    assert seat.open_orders() == []


def test_in_a_folder_that_nobody_may_look_into_nothing_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt_module, "_TRADER_ENDS_WITHIN_S", 0.3)
    real_open, real_stat = os.open, Path.stat

    def no_open(path: object, *rest: object, **more: object) -> int:
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *rest, **more)  # type: ignore[call-overload, no-any-return]

    def no_stat(path: Path, **more: bool) -> os.stat_result:
        if path.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real_stat(path, **more)

    monkeypatch.setattr(os, "open", no_open)
    monkeypatch.setattr(Path, "stat", no_stat)
    code, out, err = halt(capsys, tmp_path)
    assert code == 1
    assert out == []
    assert "the latch could not be written" in err[0]
    assert any("missing: the latch is not on disk" in line for line in err)
    assert any("neither ended nor is it proven dead" in line for line in err)


def test_with_nobody_there_what_is_ours_is_cancelled_by_id_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seat: Seat
) -> None:
    for name in ("chp-chappie-abc-1", "chp-chappie2-abc-1", "mine"):
        rest(seat, name)
    code, out, err = halt(capsys, tmp_path, *at(seat))
    assert (code, err) == (0, [])
    assert "no trader runs here" in out
    left = sorted(row["clOrdID"] for row in seat.open_orders())
    assert left == ["chp-chappie2-abc-1", "mine"]
    assert [row["method"] for row in seat.requests() if row["path"].endswith("/all")] == []


def test_a_failed_read_is_not_an_empty_one(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(halt_module, "_SWEEP_S", 0.5)
    monkeypatch.setenv("CHAPPIE_API_KEY", "k")
    monkeypatch.setenv("CHAPPIE_API_SECRET", "s")
    nowhere = ("--set", "venue.rest_url=http://127.0.0.1:9/api/v1", "--set", "venue.ws_url=ws://x")
    code, out, err = halt(capsys, tmp_path, *nowhere)
    assert code == 1
    assert "no read shows that none of our orders works" in err[0]
    assert not any("verified" in line for line in out)


# --- what is broken


@pytest.mark.parametrize(
    "broken",
    [
        'nonsense = "here"\n[state]\ndir = "{dir}"\n',
        '[state]\ndir = "{dir}"\n[bot\nid = \n',
        '[state]\ndir = "{dir}"\n[orders]\nack_timeout_s = "soon"\n',
    ],
)
def test_a_broken_file_still_halts_where_it_says(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    state = tmp_path / "elsewhere"
    state.mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chappie.toml").write_text(broken.replace("{dir}", str(state)))
    with trader_in(state, "obey"):
        code = main(["halt", "--reason", "broken"])
    err = capsys.readouterr().err.splitlines()
    assert code == 0
    assert len(err) == 1
    assert err[0].startswith("warning: the configuration is broken")
    found = latch.read(state)
    assert found is not None
    assert found.words == "broken"


def test_flags_and_environment_go_before_a_broken_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chappie.toml").write_text('[state]\ndir = "file"\n[[[')
    monkeypatch.setenv("CHAPPIE_STATE__DIR", "environment")
    main(["halt"])
    main(["halt", "--set", "state.dir=flag", "--set", "no.such=key"])
    assert [name for name in ("file", "environment", "flag") if (tmp_path / name).exists()] == [
        "environment",
        "flag",
    ]
    capsys.readouterr()


def test_a_latch_that_cannot_be_written_is_told_and_the_rest_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, words: str) -> latch.Latch:
        raise JournalError("HALT: no space left on device")

    monkeypatch.setattr(latch, "set_", full)
    operator = FakeOperator(HaltDone(False, True, True, None, 0, 0, ["the latch is not on disk"]))
    with guardian_in(tmp_path, operator):
        code, out, err = halt(capsys, tmp_path)
    assert code == 1
    assert operator.asked
    assert "no space left" in err[0]
    assert err[-1] == "missing: the latch is not on disk"
    assert not any(line.startswith("it holds") for line in out)


def test_a_folder_that_was_not_there_holds_the_latch_for_the_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = halt(capsys, tmp_path / "new")
    assert code == 1
    assert "there was no state folder" in err[0]
    assert latch.read(tmp_path / "new") is not None


def test_a_flatten_without_authority_is_refused_in_words_and_the_halt_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with trader_in(tmp_path, "obey"):
        code, out, err = halt(capsys, tmp_path, "--flatten")
    assert code == 1
    assert err == ["missing: the flatten is refused: bot.allow_trade is off; the halt holds"]
    assert "verified: a read shows no order of ours; position +300" in out


def test_a_process_without_the_lock_is_nobody_s_trader(tmp_path: Path) -> None:
    from chappie.guardian.holder import holder_of

    (tmp_path / "trader.lock").touch()
    assert holder_of(tmp_path / "trader.lock") is None
    with contextlib.closing(StateDir(tmp_path)):
        holder = holder_of(tmp_path / "trader.lock")
        assert holder is not None
        assert holder.pid == os.getpid()
        holder.close()
