"""The latch on disk: it needs no space, whatever is in it is a halt, and it ends only by name."""

from pathlib import Path

import pytest

from chappie.journal.framing import JournalError
from chappie.live import latch


def test_what_is_latched_is_read_back(tmp_path: Path) -> None:
    latch.reserve(tmp_path)
    halt = latch.set_(tmp_path, "the operator: enough")
    assert halt.words == "the operator: enough"
    assert latch.read(tmp_path) == halt


def test_the_reserve_becomes_the_latch_so_a_full_disk_does_not_keep_it_off(tmp_path: Path) -> None:
    latch.reserve(tmp_path)
    (spare,) = tmp_path.iterdir()
    inode = spare.stat().st_ino
    assert latch.set_(tmp_path, "full").inode == inode


def test_without_a_reserve_it_is_set_all_the_same(tmp_path: Path) -> None:
    assert latch.set_(tmp_path, "no reserve").words == "no reserve"


def test_a_halt_that_stands_keeps_its_own_words(tmp_path: Path) -> None:
    first = latch.set_(tmp_path, "first")
    assert latch.set_(tmp_path, "second") == first


def test_any_file_and_any_folder_of_that_name_is_a_halt(tmp_path: Path) -> None:
    (tmp_path / "HALT").mkdir()
    halt = latch.read(tmp_path)
    assert halt is not None
    assert "cannot be read" in halt.words


def test_where_nobody_can_look_it_is_a_halt_to_who_asks_and_not_one_that_was_set(
    tmp_path: Path,
) -> None:
    # A file in the place of the folder fails every look, as a folder of somebody else does.
    folder = tmp_path / "not a folder"
    folder.touch()
    halt = latch.read(folder)
    assert halt is not None
    assert not halt.is_there
    with pytest.raises(JournalError):
        latch.set_(folder, "enough")


def test_an_empty_file_is_a_halt(tmp_path: Path) -> None:
    (tmp_path / "HALT").touch()
    assert latch.read(tmp_path) is not None


def test_only_the_halt_that_was_named_is_cleared(tmp_path: Path) -> None:
    old = latch.set_(tmp_path, "old")
    assert latch.clear(tmp_path, old)
    assert latch.read(tmp_path) is None
    new = latch.set_(tmp_path, "new")
    assert not latch.clear(tmp_path, old)
    assert latch.read(tmp_path) == new
