"""Finding a run on disk, and saying in one sentence why it cannot be stepped."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chappie.cli import settings
from chappie.journal.framing import framed
from chappie.journal.journal import segments
from chappie.journal.reader import read
from chappie.journal.records import FORMAT, Header, Record
from chappie.model.events import FrameReceived
from chappie.model.units import At
from chappie.replay.recording import Recorded, Recording, UnreadableError, find
from tests.replay.runs import EchoCore, a_journal, change, frames, record


def a_run(folder: Path, epoch: int = 7, count: int = 100, max_bytes: int = 10**9) -> None:
    record(frames(count), EchoCore().step, a_journal(folder / "journal", epoch, max_bytes))


def in_segments(folder: Path, epoch: int = 7) -> list[Path]:
    """A run of several segments, none of them dropped."""
    a_run(folder, epoch, 100, max_bytes=8 * 1500)
    found = segments(folder / "journal", epoch)
    assert len(found) > 2
    return found


def payloads(recording: Recording) -> list[bytes]:
    return [e.payload for _, e in recording if isinstance(e, FrameReceived)]


WHOLE = [str(number).encode() for number in range(100)]


@pytest.mark.parametrize("name", ["", "journal"])
def test_a_state_folder_and_its_journal_lead_to_the_newest_run(tmp_path: Path, name: str) -> None:
    for epoch in (8, 12, 9):
        a_run(tmp_path, epoch)
    assert find(tmp_path / name).header.epoch == 12
    assert find(tmp_path / name, 9).header.epoch == 9


def test_a_segment_leads_to_its_run_and_its_later_segments_follow_in_order(tmp_path: Path) -> None:
    first, *_ = in_segments(tmp_path)
    in_segments(tmp_path, epoch=8)
    recording = find(first)
    assert payloads(recording) == WHOLE
    assert recording.torn is None


def test_a_segment_under_another_name_can_be_read_alone(tmp_path: Path) -> None:
    first, *_ = in_segments(tmp_path)
    copy = tmp_path / "sent-by-a-user.bin"
    copy.write_bytes(first.read_bytes())
    found = payloads(find(copy))
    assert found == WHOLE[: len(found)]
    assert found


def unreadable(path: Path, epoch: int | None = None) -> str:
    with pytest.raises(UnreadableError) as caught:
        list(find(path, epoch))
    return str(caught.value)


def test_an_unknown_epoch_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    a_run(tmp_path, 7)
    a_run(tmp_path, 8)
    assert "no run of epoch 9; there are 7, 8" in unreadable(tmp_path, 9)
    assert "of epoch 7, not 8" in unreadable(segments(tmp_path / "journal", 7)[0], 8)


def test_a_folder_without_a_journal_is_told(tmp_path: Path) -> None:
    assert "no run is recorded here" in unreadable(tmp_path)


@pytest.mark.parametrize("by_file", [True, False])
def test_a_run_whose_oldest_segments_were_dropped_cannot_be_stepped(
    tmp_path: Path, by_file: bool
) -> None:
    first, second, *_ = in_segments(tmp_path)
    first.unlink()
    words = unreadable(second if by_file else tmp_path)
    assert "this is segment 2 of its run, and a run cannot be stepped from its middle" in words


def test_a_segment_missing_in_the_middle_is_named(tmp_path: Path) -> None:
    in_segments(tmp_path)[1].unlink()
    assert "segment 2 of this run is missing" in unreadable(tmp_path)


def test_a_segment_that_says_to_be_another_is_not_taken(tmp_path: Path) -> None:
    first, second, *_ = in_segments(tmp_path)
    second.write_bytes(first.read_bytes())
    assert "its head says segment 1 of epoch 7, not 2 of 7" in unreadable(tmp_path)


def test_a_torn_tail_is_told_and_what_is_before_it_is_read(tmp_path: Path) -> None:
    last = in_segments(tmp_path)[-1]
    whole = len(list(find(tmp_path)))
    last.write_bytes(last.read_bytes()[:-3])
    recording = find(tmp_path)
    assert len(list(recording)) == whole - 1
    assert recording.torn is not None


def drain(recording: Recording, seen: list[Recorded]) -> None:
    for entry in recording:
        seen.append(entry)


def test_a_run_is_read_to_damage_in_its_middle_and_no_further(tmp_path: Path) -> None:
    first, second, *_ = in_segments(tmp_path)
    before = len(list(read(first))) - 1
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    seen: list[Recorded] = []
    with pytest.raises(UnreadableError, match="the run cannot be read beyond it"):
        drain(find(tmp_path), seen)
    assert len(seen) > before


def test_a_torn_segment_with_others_after_it_is_damage(tmp_path: Path) -> None:
    second = in_segments(tmp_path)[1]
    second.write_bytes(second.read_bytes()[:-3])
    assert "the run cannot be read beyond it" in unreadable(tmp_path)


def other_head(path: Path, **values: Any) -> None:
    def edit(records: list[Record]) -> list[Record]:
        (moment, header), *rest = records
        assert isinstance(header, Header)
        return [(moment, msgspec.structs.replace(header, **values)), *rest]

    change(path, edit)


def test_another_format_is_told(tmp_path: Path) -> None:
    a_run(tmp_path)
    other_head(segments(tmp_path / "journal")[0], format=FORMAT + 1)
    assert re.search(f"format {FORMAT + 1}; this version reads {FORMAT}", unreadable(tmp_path))


def test_an_event_that_this_version_lacks_is_told(tmp_path: Path) -> None:
    a_run(tmp_path)
    path = segments(tmp_path / "journal")[0]
    unheard = framed(msgspec.msgpack.encode([At(1, 1), ["Unheard", 1]]))
    path.write_bytes(path.read_bytes() + unheard)
    assert "a record that this version cannot read" in unreadable(tmp_path)


@pytest.mark.parametrize("data", [b"", b"not a journal at all"])
def test_a_file_that_is_no_segment_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(data)
    assert str(path) in unreadable(path)


def test_the_configuration_of_the_run_comes_back_from_its_head(tmp_path: Path) -> None:
    sets = [
        "bot.allow_trade=true",
        "bot.id=other",
        "policy.cycle.period_s=2.5",
        "orders.style=limit",
    ]
    chosen = settings.load(None, sets, {}, tmp_path)
    a_run(tmp_path)
    other_head(segments(tmp_path / "journal")[0], config=msgspec.json.encode(chosen.effective()))
    assert find(tmp_path).config == chosen.config


@pytest.mark.parametrize(
    "config", [b"{", b'{"bot.unheard":{"value":1}}', b'{"bot.id":{"value":1}}']
)
def test_a_configuration_that_this_version_lacks_is_told(tmp_path: Path, config: bytes) -> None:
    a_run(tmp_path)
    other_head(segments(tmp_path / "journal")[0], config=config, version="9.9.9")
    with pytest.raises(UnreadableError, match=r"recorded by chappie 9\.9\.9 with a configuration"):
        assert find(tmp_path).config
