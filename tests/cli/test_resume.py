"""`chappie resume`: the way out of a halt and of an unexplained position, and only when asked."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chappie.cli import resume as resume_module
from chappie.cli.main import main
from chappie.core.carried import carried
from chappie.guardian import last_stop
from chappie.guardian.instance import Lock
from chappie.guardian.waits import last_waits
from chappie.journal.kept import KeptLog
from chappie.live import latch
from chappie.live.state_dir import LastStop, StateDir
from chappie.model.records import Adjusted, Kept, Opening, Waits
from chappie.model.reports import Outcome, PositionRead, PositionSaid, Unknown
from chappie.model.units import Contracts, Minor
from tests.system.rig import SHORT, TRADING, Bot, Seat, Venue, a_venue

REASON = ("--reason", "looked at it")
URLS = ("--set", "venue.rest_url=http://127.0.0.1:9", "--set", "venue.ws_url=ws://127.0.0.1:9")


def resume(capsys: pytest.CaptureFixture[str], folder: Path, *args: str) -> tuple[int, list[str]]:
    code = main(["resume", "--set", f"state.dir={folder}", *args])
    shown = capsys.readouterr()
    return code, (shown.out + shown.err).splitlines()


def records(folder: Path) -> tuple[Kept, ...]:
    with contextlib.closing(KeptLog(folder / "kept.log")) as log:
        return log.records


def said(folder: Path) -> str:
    return (folder / "trader.log").read_text()


# --- the latch


def test_a_latched_halt_is_cleared_and_why_is_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "HALT").write_text("the cat sat on the keyboard\n")
    code, lines = resume(capsys, tmp_path, *REASON)
    assert (code, lines[0]) == (0, "the halt is cleared: the cat sat on the keyboard")
    assert not (tmp_path / "HALT").exists()
    assert '"reason":"looked at it","halt":"the cat sat on the keyboard"' in said(tmp_path)


def test_a_halt_that_is_latched_meanwhile_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "HALT").write_text("one")
    real = latch.clear

    def late(state_dir: Path, halt: latch.Latch) -> bool:
        (tmp_path / "HALT").write_text("another")
        return real(state_dir, halt)

    monkeypatch.setattr(latch, "clear", late)
    code, lines = resume(capsys, tmp_path, *REASON)
    assert (code, len(lines)) == (1, 1)
    assert "another halt was latched meanwhile" in lines[0]
    assert (tmp_path / "HALT").read_text() == "another"


def test_a_latch_that_cannot_be_removed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "HALT").mkdir()
    code, lines = resume(capsys, tmp_path, *REASON)
    assert (code, len(lines)) == (1, 1)
    assert "HALT" in lines[0]


def test_without_a_halt_there_is_nothing_to_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = resume(capsys, tmp_path, *REASON)
    assert code == 0
    assert lines == [f"no halt is latched in {tmp_path}: there is nothing to clear"]


def test_a_ban_is_lifted_where_no_halt_stands_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wall_ns = time.time_ns()
    hour_ns = 3_600_000_000_000
    with contextlib.closing(KeptLog(tmp_path / "kept.log")) as kept:
        kept.append(Waits(wall_ns, wall_ns + hour_ns, banned=True))
    (tmp_path / "HALT").touch()
    assert resume(capsys, tmp_path, *REASON)[0] == 0
    found = last_waits(tmp_path / "kept.log")
    assert found is not None
    assert found.banned, "only the halt was resumed from"
    code, lines = resume(capsys, tmp_path, *REASON)
    assert (code, "taken for lifted" in lines[0]) == (0, True)
    found = last_waits(tmp_path / "kept.log")
    assert found is not None
    assert (found.banned, found.until_wall_ns <= time.time_ns()) == (False, True)
    assert "nothing to clear" in resume(capsys, tmp_path, *REASON)[1][0]


def test_after_a_position_mismatch_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = "REST 300, websocket 300, ledger 100"
    last_stop.write(tmp_path, LastStop("position_mismatch", 13, detail, "", [], 300, False))
    code, lines = resume(capsys, tmp_path, *REASON)
    assert code == 0
    assert lines[1].endswith(detail)
    assert "--accept-position" in lines[2]


# --- who is at work


def test_a_folder_that_is_not_there_is_told_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = resume(capsys, tmp_path / "none", *REASON)
    assert (code, len(lines)) == (1, 1)
    assert not (tmp_path / "none").exists()


def test_while_a_trader_holds_the_folder_nothing_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "HALT").touch()
    with contextlib.closing(StateDir(tmp_path)):
        code, lines = resume(capsys, tmp_path, *REASON)
    assert (code, len(lines)) == (1, 1)
    assert "a trader runs in this state folder" in lines[0]
    assert (tmp_path / "HALT").exists()


def test_while_a_guardian_that_cannot_be_asked_is_there_nothing_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "HALT").touch()
    lock = Lock(tmp_path)
    lock.take()
    code, lines = resume(capsys, tmp_path, *REASON)
    lock.close()
    assert (code, len(lines)) == (1, 1)
    assert "a guardian runs here, and run.json does not say where to ask it" in lines[0]
    assert (tmp_path / "HALT").exists()


def test_afterwards_both_locks_are_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume(capsys, tmp_path, *REASON)
    StateDir(tmp_path).close()
    lock = Lock(tmp_path)
    lock.take()
    lock.close()


# --- what is asked


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--reason", " "],
        ["--reason", "x" * 301],
        [*REASON, "--accept-position", "all"],
        [*REASON, "--accept-position", "1.5"],
        [*REASON, "--accept-position"],
    ],
)
def test_what_cannot_be_asked_is_one_line_and_64(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["resume", *args])
    assert caught.value.code == 64
    assert capsys.readouterr().err.count("\n") == 1


def test_a_position_needs_credentials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = resume(capsys, tmp_path, *REASON, *URLS, "--accept-position", "0")
    assert (code, len(lines)) == (64, 1)
    assert "CHAPPIE_API_KEY" in lines[0]


# --- the position, by what two reads say


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAPPIE_API_KEY", "a-key-for-this-test")
    monkeypatch.setenv("CHAPPIE_API_SECRET", "a-secret-for-this-test")
    monkeypatch.setattr(resume_module, "_APART_S", 0.0)


def position(qty: int) -> PositionRead:
    return PositionRead(PositionSaid(Contracts(qty), Minor(0), None, None, None))


def venue_says(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> None:
    answers = iter(outcomes)
    monkeypatch.setattr(resume_module, "read_position", lambda *given: next(answers))


@pytest.mark.parametrize("accepted", ["300", "+300"])
def test_a_position_that_two_reads_agree_on_is_kept_as_an_adjustment(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keyed: None,
    accepted: str,
) -> None:
    with contextlib.closing(KeptLog(tmp_path / "kept.log")) as log:
        log.append(Opening(1, Contracts(0), Minor(0)))
    venue_says(monkeypatch, position(300), position(300))
    before_ns = time.time_ns()
    args = (*REASON, *URLS, "--accept-position", accepted)
    code, lines = resume(capsys, tmp_path, *args)
    assert (code, lines[0]) == (0, "the ledger had +0 and goes on from +300, as the venue has it")
    adjusted = records(tmp_path)[-1]
    assert isinstance(adjusted, Adjusted)
    assert (adjusted.qty, adjusted.reason) == (300, "looked at it")
    assert before_ns <= adjusted.wall_ns <= time.time_ns()
    assert '"ledger":0,"position":300' in said(tmp_path)


@pytest.mark.parametrize(
    ("first", "second"), [(300, 300), (-200, 300), (300, -200), (0, 0), (200, 200)]
)
def test_a_position_that_a_read_contradicts_is_refused_with_what_was_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keyed: None,
    first: int,
    second: int,
) -> None:
    (tmp_path / "HALT").touch()
    venue_says(monkeypatch, position(first), position(second))
    code, lines = resume(capsys, tmp_path, *REASON, *URLS, "--accept-position", "-200")
    assert (code, len(lines)) == (1, 1)
    assert f"two reads found {first:+d} and {second:+d}" in lines[0]
    assert (tmp_path / "HALT").exists()
    assert not (tmp_path / "kept.log").exists()


@pytest.mark.parametrize("good", [0, 1])
def test_a_failed_read_is_never_a_position_of_zero(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keyed: None,
    good: int,
) -> None:
    venue_says(monkeypatch, *[position(0)] * good, Unknown(503, "Service unavailable"))
    code, lines = resume(capsys, tmp_path, *REASON, *URLS, "--accept-position", "0")
    assert (code, len(lines)) == (1, 1)
    assert "could not be read: Service unavailable; nothing was changed" in lines[0]
    assert not (tmp_path / "kept.log").exists()


def test_the_folder_of_another_account_is_left_alone(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keyed: None,
) -> None:
    venue_says(monkeypatch, *[position(0)] * 4)
    args = (*REASON, *URLS, "--accept-position", "0")
    assert resume(capsys, tmp_path, *args)[0] == 0
    monkeypatch.setenv("CHAPPIE_API_KEY", "another-key-for-this-test")
    code, lines = resume(capsys, tmp_path, *args)
    assert (code, len(lines)) == (64, 1)
    assert "made with another API key" in lines[0]
    assert sum(isinstance(record, Adjusted) for record in records(tmp_path)) == 1


def test_a_venue_that_does_not_answer_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keyed: None
) -> None:
    code, lines = resume(capsys, tmp_path, *REASON, *URLS, "--accept-position", "0")
    assert (code, len(lines)) == (1, 1)
    assert "the venue's position could not be read: " in lines[0]


# --- real processes at a real venue


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    with a_venue(seats=2) as made:
        yield made


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = Bot(tmp_path / "bot")
    yield made
    made.kill()


def resumed(bot: Bot, seat: Seat | None, *args: str) -> tuple[int, str]:
    before = len(bot.said)
    code = bot.start("resume", *SHORT, seat=seat, args=[*REASON, *args]).ends()
    return code, bot.said[before:]


@pytest.mark.processes
def test_after_a_position_that_nobody_explains_resume_is_the_way_on(bot: Bot, venue: Venue) -> None:
    seat = venue.seat()
    sets = (*SHORT, *TRADING)
    bot.start("trade", *sets, seat=seat)
    bot.until(lambda: bot.fills())
    seat.place(side="Buy", orderQty=500, ordType="Market")
    assert bot.ends(30.0) == 13
    held = seat.position_qty()
    assert bot.start("trade", *sets, seat=seat).ends(30.0) == 13

    code, words = resumed(bot, seat, "--accept-position", str(held + 100))
    assert code == 1
    assert f"two reads found {held:+d} and {held:+d}" in words
    assert resumed(bot, seat, "--accept-position", str(held))[0] == 0
    adjusted = records(bot.state)[-1]
    assert isinstance(adjusted, Adjusted)
    assert adjusted.qty == held

    known = len(bot.fills())
    bot.start("trade", *sets, seat=seat)
    bot.until(lambda: len(bot.fills()) > known + 1)
    assert bot.stop() == 0
    stop = bot.last_stop()
    assert (stop["known"], stop["position"]) == (True, seat.position_qty())
    assert carried(records(bot.state), "").qty == seat.position_qty()
    # All three starts are one history: what it trades now replays too.
    assert main(["replay", str(bot.state)]) == 0


@pytest.mark.processes
def test_a_latched_halt_needs_no_network_to_end_and_then_it_starts(bot: Bot, venue: Venue) -> None:
    seat = venue.seat()
    bot.state.mkdir(parents=True)
    (bot.state / "HALT").write_text("by hand")
    assert bot.start("trade", *SHORT, seat=seat).ends() == 20
    asked = len(seat.requests())
    assert resumed(bot, None)[0] == 0
    assert len(seat.requests()) == asked
    bot.start("trade", *SHORT, "bot.policy=cycle", seat=seat)
    bot.until_decides()
    assert bot.stop() == 0


@pytest.mark.processes
def test_the_embedded_venue_is_started_for_its_reads(bot: Bot) -> None:
    bot.start("trade", *SHORT, "bot.policy=cycle")
    bot.until_decides()
    assert bot.stop() == 0
    code, words = resumed(bot, None, "--accept-position", "0")
    assert code == 0, words
    assert isinstance(records(bot.state)[-1], Adjusted)


def test_the_words_of_a_venue_cannot_move_the_cursor(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    keyed: None,
) -> None:
    venue_says(monkeypatch, Unknown(200, "\x1b[2J"))
    code, lines = resume(capsys, tmp_path, *REASON, *URLS, "--accept-position", "0")
    assert code == 1
    assert "\x1b" not in lines[0]
