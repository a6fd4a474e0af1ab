"""The disk forgets what was not durable, and nothing else."""

from random import Random

import pytest

from chappie.journal.framing import JournalError
from chappie.model.events import Ticked
from chappie.model.records import Stopped
from chappie.model.units import At
from chappie.simulation.disk import Disk


def written(records: int = 3, events: int = 10_000) -> Disk:
    disk = Disk()
    disk.begin(1)
    for number in range(records):
        disk.append_kept(Stopped(number, "operator", ""))
    for number in range(events):
        disk.append(1, At(number, number), Ticked())
    return disk


def test_a_kill_loses_nothing() -> None:
    disk = written()
    assert len(disk.kept()) == 3
    assert len(list(disk.journal(1))) == 10_000


def test_a_power_loss_keeps_every_kept_record_and_loses_a_tail_of_the_journal() -> None:
    lost, cut = [], 0
    for seed in range(20):
        disk = written()
        disk.lose_power(Random(seed))
        assert len(disk.kept()) == 3
        cut += disk.cut
        found = list(disk.journal(1))
        assert [at.now_ns for at, _ in found] == list(range(len(found)))
        lost.append(10_000 - len(found))
    assert 0 < max(lost) < 10_000
    assert cut > 10, "a torn record is cut off, and seen"


def test_what_follows_a_torn_record_is_read_after_the_cut() -> None:
    disk = written()
    disk.lose_power(Random(1))
    disk.kept()
    disk.append_kept(Stopped(9, "killed", ""))
    assert [record.wall_ns for record in disk.kept() if isinstance(record, Stopped)][-1] == 9


def test_a_full_disk_takes_nothing() -> None:
    disk = written()
    disk.full = True
    with pytest.raises(JournalError, match="No space left"):
        disk.append(1, At(0, 0), Ticked())
    with pytest.raises(JournalError, match="No space left"):
        disk.append_kept(Stopped(0, "", ""))
    assert disk.refused == 2
    assert len(disk.kept()) == 3
