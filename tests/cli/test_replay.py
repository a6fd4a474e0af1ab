"""`chappie replay` on runs that real processes recorded over real sockets."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from chappie.cli.main import main
from chappie.core.ledger import Ledger
from chappie.journal.journal import segments
from chappie.journal.reader import read
from chappie.journal.records import Digest, Record
from chappie.model.events import Answered, PolicyDecided, Ticked
from chappie.model.records import Fill
from tests.replay.runs import change
from tests.system.rig import TRADING, Bot, a_venue

pytestmark = pytest.mark.processes
# Small enough that the run has several segments, and none of them is dropped.
SETS = (*TRADING, "policy.cycle.period_s=0.5", "state.max_bytes=2000000")
STEPS = 1100
RATE = 300.0


class Runs:
    """The state folders of two runs, one ended in order and one killed, and what was said of the
    first while it still ran.
    """

    def __init__(self, ended: Bot, killed: Bot, live: tuple[int, str]) -> None:
        self.ended = ended
        self.killed = killed
        self.live = live


def journalled(bot: Bot) -> int:
    folder = bot.state / "journal"
    return sum(1 for path in segments(folder) for _ in read(path)) if folder.is_dir() else 0


def asked_from_outside(bot: Bot) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "chappie", "replay"],
        cwd=bot.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("runs")
    ended, killed = Bot(folder / "ended"), Bot(folder / "killed")
    try:
        with a_venue(seats=2, rate=RATE) as venue:
            for bot in (ended, killed):
                bot.start("trade", *SETS, seat=venue.seat())
            for bot in (ended, killed):
                bot.until(lambda bot=bot: len(bot.fills()) > 3 and journalled(bot) > STEPS, 60.0)
            live = asked_from_outside(ended)
            assert ended.stop() == 0
            assert killed.process is not None
            killed.process.send_signal(signal.SIGKILL)
            killed.process.wait(5)
        yield Runs(ended, killed, live)
    finally:
        ended.kill()
        killed.kill()


@pytest.fixture
def copy(runs: Runs, tmp_path: Path) -> Path:
    """The journal of the run that ended, to be changed."""
    shutil.copytree(runs.ended.state / "journal", tmp_path / "journal")
    return tmp_path / "journal"


def replay(capsys: pytest.CaptureFixture[str], path: Path, *args: str) -> tuple[int, list[str]]:
    code = main(["replay", str(path), *args])
    shown = capsys.readouterr()
    return code, (shown.out + shown.err).splitlines()


def test_a_run_of_several_segments_that_traded_replays_identically(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(segments(runs.ended.state / "journal")) > 1
    code, lines = replay(capsys, runs.ended.state)
    assert (code, len(lines)) == (0, 2)
    assert lines[1].startswith("identical: ")
    assert "no digest" not in lines[1]


def test_a_killed_run_replays_and_says_how_far_it_could_be_compared(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = replay(capsys, runs.killed.state)
    assert code == 0
    assert lines[-1].startswith("identical: ")
    assert "no digest was recorded of the last" in lines[-1]


def test_a_run_can_be_replayed_while_it_is_being_written(runs: Runs) -> None:
    code, out = runs.live
    assert code == 0
    assert out.splitlines()[-1].startswith("identical: ")


def altered(folder: Path, edit: Callable[[Record], Record | None]) -> int:
    """Change the first record that ``edit`` changes (None drops it); the number of its step."""
    step = 0
    for path in segments(folder):
        records = list(read(path))
        for position, record in enumerate(records):
            step += not isinstance(record[1], Digest) and position > 0
            other = edit(record)
            if other is not record:
                records[position : position + 1] = [] if other is None else [other]
                change(path, lambda _, new=records: new)
                return step
    raise AssertionError("there is no such record")


def range_of(line: str) -> tuple[int, int]:
    words = line.replace(",", "").split()
    assert words[0] == "diverged"
    if words[2] == "step":
        return int(words[3].rstrip(":")), int(words[3].rstrip(":"))
    return int(words[3]), int(words[5])


def test_a_changed_answer_of_the_policy_is_found(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(record: Record) -> Record | None:
        at, entry = record
        if isinstance(entry, PolicyDecided) and entry.target > 0:
            return at, msgspec.structs.replace(entry, target=-entry.target)
        return record

    step = altered(copy, edit)
    code, lines = replay(capsys, copy)
    assert code == 1
    first, last = range_of(lines[1])
    assert first <= step <= last
    assert "the first command of that range" in lines[-1]


def test_a_changed_digest_is_found_with_both_values(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(record: Record) -> Record | None:
        at, entry = record
        return (at, Digest(entry.steps, 1)) if isinstance(entry, Digest) else record

    altered(copy, edit)
    code, lines = replay(capsys, copy)
    assert code == 1
    assert range_of(lines[1]) == (1, 1000)
    assert lines[1].endswith("where the recorded run has 00000001")


@pytest.mark.parametrize("kind", [Ticked, Answered])
def test_a_dropped_event_is_found(
    copy: Path, capsys: pytest.CaptureFixture[str], kind: type
) -> None:
    step = altered(copy, lambda record: None if isinstance(record[1], kind) else record)
    code, lines = replay(capsys, copy)
    assert code == 1
    first, last = range_of(lines[1])
    assert first <= step <= last


def test_an_answer_to_what_was_never_asked_is_found_at_its_step(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(record: Record) -> Record | None:
        at, entry = record
        if isinstance(entry, Answered):
            return at, msgspec.structs.replace(entry, request_id=4711)
        return record

    step = altered(copy, edit)
    code, lines = replay(capsys, copy)
    assert code == 1
    assert f"the core broke at step {step} (InvariantViolated" in lines[1]
    assert "and the recorded run went on" in lines[1]


def test_a_core_that_decides_otherwise_is_found(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Ledger.book

    def forgets_what_it_held(self: Ledger, fill: Fill) -> bool:
        booked = real(self, fill)
        self.qty = type(self.qty)(0)
        return booked

    monkeypatch.setattr(Ledger, "book", forgets_what_it_held)
    code, lines = replay(capsys, runs.ended.state)
    assert code == 1
    assert lines[1].startswith("diverged in steps 1 to ")


def test_until_stops_the_replay_there(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = replay(capsys, runs.ended.state, "--until", "1000")
    assert code == 0
    assert lines[-1].startswith("identical: 1,000 steps, ")
    assert "no digest" not in lines[-1]


def rows(lines: list[str]) -> list[list[str]]:
    """The lines of the table: time, step, words."""
    return [line.split(maxsplit=2) for line in lines[1:-1]]


def test_orders_are_shown_from_their_request_to_their_end(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = replay(capsys, runs.ended.state, "--show", "orders")
    shown = [words for _, _, words in rows(lines)]
    assert code == 0
    fill = runs.ended.fills()[0]
    told = [
        words.split(" clOrdID")[0].split(" side")[0] for words in shown if fill.cl_ord_id in words
    ]
    assert told[0] == "order sent"
    assert "fill" in told
    assert any("ordStatus=" in words for words in shown)
    times = [time for time, _, _ in rows(lines)]
    assert times == sorted(times)


def test_faults_are_shown_as_they_are_raised_and_cleared(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = replay(capsys, runs.ended.state, "--show", "faults")[1]
    shown = [words for _, _, words in rows(lines)]
    assert any(words.startswith("raised  unreconciled: ") for words in shown)
    assert "cleared unreconciled" in shown
    assert sum(words.startswith("raised") for words in shown) == sum(
        words.startswith("cleared") for words in shown
    )


def test_decisions_are_shown_with_what_became_of_them(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = replay(capsys, runs.ended.state, "--show", "decisions")[1]
    shown = [words for _, _, words in rows(lines)]
    assert shown[0] == "1: target +100"
    sent = [words.split()[2] for words in shown if ": sends " in words]
    assert runs.ended.fills()[0].cl_ord_id in sent, "an order before it may have been repriced"
    assert any(words.endswith("on target") for words in shown)


def test_a_torn_tail_is_told_and_no_difference(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = segments(copy)[-1]
    last.write_bytes(last.read_bytes()[:-5])
    code, lines = replay(capsys, copy)
    assert code == 0
    assert "ends within a record" in lines[1]
    assert lines[-1].startswith("identical: ")


def test_what_cannot_be_read_is_one_sentence_and_code_1(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segments(copy)[0].unlink()
    code, lines = replay(capsys, copy)
    assert (code, len(lines)) == (1, 1)
    assert "cannot be stepped from its middle" in lines[0]


@pytest.mark.parametrize(
    "args", [["--until", "0"], ["--until", "x"], ["--epoch", "-1"], ["--show", "money"], ["a", "b"]]
)
def test_what_cannot_be_asked_is_one_line_and_64(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["replay", *args])
    assert caught.value.code == 64
    assert capsys.readouterr().err.count("\n") == 1


def test_a_path_that_is_not_there_is_one_line_and_64(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = replay(capsys, tmp_path / "none")
    assert (code, len(lines)) == (64, 1)
    assert "does not exist; accepted is" in lines[0]


def test_a_reader_that_has_seen_enough_is_no_accident(runs: Runs) -> None:
    command = f"{sys.executable} -m chappie replay state --show decisions | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=runs.ended.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("run ")
