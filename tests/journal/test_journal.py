"""The journal of a run: everything that `flush` returned from can be read back."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chappie.journal.framing import JournalError
from chappie.journal.journal import Journal, segments
from chappie.journal.reader import read
from chappie.journal.records import Digest, Entry, Header
from chappie.model.enums import OrdType, Side, TimeInForce
from chappie.model.events import (
    Answered,
    Event,
    FrameReceived,
    PolicyDecided,
    PolicyFailed,
    Started,
    StopAsked,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    Ticked,
    Unanswered,
)
from chappie.model.orders import NewOrder
from chappie.model.records import Fill, Intent
from chappie.model.units import At, Contracts, Minor, Ticks

ORDER = NewOrder(
    "chappie-1-1", "XBTUSD", Side.BUY, Contracts(100), OrdType.LIMIT, Ticks(500_000),
    TimeInForce.GTC, True, False,
)  # fmt: skip
FILL = Fill("e1", "o1", "c1", Side.SELL, Contracts(100), Ticks(1), Minor(-2), Minor(3), 4)
EVENTS: tuple[Event, ...] = (
    Started(7, (Intent(1, ORDER, 2), FILL), None),
    StreamOpened(1),
    StreamRefused(1, 401, "no"),
    FrameReceived(1, b'{"table":"quote"}\xff\x00'),
    StreamClosed(1, 1006, "gone"),
    Answered(3, 200, {"x-ratelimit-remaining": "119"}, b"[]"),
    Unanswered(4, False, "no connection"),
    PolicyDecided(5, -100, "slow"),
    PolicyFailed(6, "ValueError: no"),
    Ticked(),
    StopAsked("operator", "SIGTERM"),
)


def journal(folder: Path, epoch: int = 1, max_bytes: int = 10**9) -> Journal:
    return Journal(
        folder, epoch=epoch, version="1.2.3", config=b"{}", policy_period_s=1.0, max_bytes=max_bytes
    )


def write(log: Journal, at: At, entry: Entry) -> None:
    log.append(at, entry)
    log.flush(at)


def fill(log: Journal, numbers: Iterator[int]) -> None:
    for number in numbers:
        write(log, At(number, number), FrameReceived(number, bytes(500)))


def entries(path: Path) -> list[Entry]:
    segment = read(path)
    found = [entry for _, entry in segment]
    assert segment.torn is None
    return found


def test_every_kind_of_event_comes_back_as_it_was_written(tmp_path: Path) -> None:
    log = journal(tmp_path, epoch=42)
    for number, event in enumerate(EVENTS):
        write(log, At(number, 10**18 + number), event)
    write(log, At(99, 99), Digest(11, 4711))
    found = list(read(log.path))
    assert found[0][1] == Header(1, 42, 1, "1.2.3", b"{}", 1.0)
    assert found[1:-1] == [(At(n, 10**18 + n), event) for n, event in enumerate(EVENTS)]
    assert found[-1] == (At(99, 99), Digest(11, 4711))


@given(payload=st.binary(max_size=2000), conn=st.integers(0, 2**40), now=st.integers(0, 2**62))
@settings(max_examples=50, deadline=None)
def test_any_payload_survives_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes, conn: int, now: int
) -> None:
    log = journal(tmp_path_factory.mktemp("journal"))
    write(log, At(now, now), FrameReceived(conn, payload))
    assert list(read(log.path))[1] == (At(now, now), FrameReceived(conn, payload))
    log.close()


def test_a_large_record_between_small_ones_is_kept_whole(tmp_path: Path) -> None:
    log = journal(tmp_path)
    large = FrameReceived(1, os.urandom(10 * 1024 * 1024))
    for event in (Ticked(), large, Ticked()):
        write(log, At(1, 1), event)
    assert entries(log.path)[1:] == [Ticked(), large, Ticked()]


def test_it_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    log = journal(tmp_path)
    write(log, At(1, 1), Ticked())
    assert entries(log.path)[1:] == [Ticked()]
    write(log, At(2, 2), StreamOpened(1))
    assert entries(log.path)[1:] == [Ticked(), StreamOpened(1)]


def test_what_was_taken_together_is_written_together_and_read_one_by_one(tmp_path: Path) -> None:
    log = journal(tmp_path)
    for number, event in enumerate(EVENTS):
        log.append(At(number, number), event)
    assert len(entries(log.path)) == 1
    log.flush(At(99, 99))
    assert entries(log.path)[1:] == list(EVENTS)


def test_segments_keep_their_total_below_the_bound_and_drop_the_oldest(tmp_path: Path) -> None:
    bound = 40_000
    log = journal(tmp_path, max_bytes=bound)
    for number in range(2000):
        write(log, At(number, number), FrameReceived(number, bytes(100)))
        if number % 50 == 0:
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bound + 200
    kept = [entry for path in segments(tmp_path) for entry in entries(path)]
    frames = [entry.conn for entry in kept if isinstance(entry, FrameReceived)]
    assert frames == list(range(frames[0], 2000))
    assert frames[0] > 0


def test_every_segment_begins_with_the_header_that_a_replay_needs(tmp_path: Path) -> None:
    log = journal(tmp_path, epoch=5, max_bytes=8_000)
    for number in range(100):
        write(log, At(number, number), FrameReceived(number, bytes(100)))
    paths = segments(tmp_path, epoch=5)
    assert len(paths) > 1
    for path in paths:
        header = entries(path)[0]
        assert isinstance(header, Header)
        assert header.epoch == 5
        assert path.name.endswith(f"-{header.segment:06d}.journal")


def test_segments_of_earlier_runs_count_against_the_bound_and_go_first(tmp_path: Path) -> None:
    first = journal(tmp_path, epoch=1, max_bytes=10**6)
    for _ in range(300):
        write(first, At(1, 1), FrameReceived(1, bytes(100)))
    first.close()
    second = journal(tmp_path, epoch=2, max_bytes=20_000)
    assert segments(tmp_path, epoch=1) == []
    assert segments(tmp_path) == [second.path]


def test_two_runs_never_write_the_same_segment(tmp_path: Path) -> None:
    journal(tmp_path, epoch=1)
    with pytest.raises(JournalError, match="File exists"):
        journal(tmp_path, epoch=1)


def test_a_record_of_another_format_is_refused_in_words(tmp_path: Path) -> None:
    log = journal(tmp_path)
    write(log, At(1, 1), Header(99, 1, 1, "", b"", 1.0))
    write(log, At(1, 1), Ticked())
    segment = read(log.path)
    assert len(list(segment)) == 1
    assert segment.torn is not None
    assert "format 99" in str(segment.torn)


def test_a_folder_that_cannot_be_made_is_a_journal_failure_naming_it(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(JournalError, match=r"file/journal: Not a directory"):
        journal(blocker / "journal")


# A child process with a limit on file sizes: the kernel then refuses to write beyond it, as a
# full disk does, and the write before is a partial one.
FILLING = """
import resource, sys
from pathlib import Path
from chappie.journal.framing import JournalError
from chappie.journal.journal import Journal
from chappie.model.events import FrameReceived
from chappie.model.units import At

resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
log = Journal(
    Path(sys.argv[1]), epoch=1, version="", config=b"", policy_period_s=1.0, max_bytes=10**9
)
number = 0
try:
    while True:
        log.append(At(number, number), FrameReceived(number, bytes(100)))
        log.flush(At(number, number))
        number += 1
except JournalError as error:
    print(number, error)
"""


def test_a_disk_that_fills_loses_nothing_acknowledged_and_names_path_and_cause(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    number, _, message = done.stdout.partition(" ")
    (path,) = segments(tmp_path)
    assert message.strip() == f"{path}: File too large"
    frames = [entry for entry in entries(path) if isinstance(entry, FrameReceived)]
    assert [frame.conn for frame in frames] == list(range(int(number)))
    assert int(number) > 10


def test_a_full_disk_is_a_journal_failure_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        log = journal(tmp_path)
        numbers = count()
        with pytest.raises(JournalError, match="No space left on device"):
            fill(log, numbers)
        number = next(numbers) - 1
        segment = read(log.path)
        assert [entry.conn for _, entry in segment if isinstance(entry, FrameReceived)] == list(
            range(number)
        )
        assert number > 50
    finally:
        log.close()
        subprocess.run(["umount", str(tmp_path)], check=True)


KILLED = """
import sys
from pathlib import Path
from chappie.journal.journal import Journal
from chappie.model.events import FrameReceived
from chappie.model.units import At

log = Journal(
    Path(sys.argv[1]), epoch=1, version="", config=b"", policy_period_s=1.0, max_bytes=10**9
)
number = 0
while True:
    log.append(At(number, number), FrameReceived(number, bytes(300)))
    log.flush(At(number, number))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


@pytest.mark.processes
def test_kill_minus_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    for _ in range(500):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    acknowledged = 500 + len(child.stdout.read().split(b"\n")) - 1
    child.wait()
    (path,) = segments(tmp_path)
    frames = [entry for _, entry in read(path) if isinstance(entry, FrameReceived)]
    assert [frame.conn for frame in frames[:acknowledged]] == list(range(acknowledged))
