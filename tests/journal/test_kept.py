"""The kept log: durable before the next command, whole after any crash, never silently cut."""

import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from chappie.journal.framing import HEAD_BYTES, JournalError, framed
from chappie.journal.kept import KeptLog
from chappie.model.enums import OrdType, Side, TimeInForce
from chappie.model.orders import NewOrder
from chappie.model.records import Fill, FundingPaid, Intent, Kept, Opening, Stopped
from chappie.model.units import Contracts, Minor, Ticks

RECORDS: tuple[Kept, ...] = (
    Opening(1, Contracts(-100), Minor(5)),
    Intent(
        2,
        NewOrder("a-1", "XBTUSD", Side.SELL, Contracts(100), OrdType.MARKET, None,
                 TimeInForce.IOC, False, True),
        9,
    ),
    Fill("e", "o", "c", Side.BUY, Contracts(100), Ticks(7), Minor(-8), Minor(9), 10),
    FundingPaid("f", Minor(-3), 11),
    Stopped(12, "operator", "SIGTERM"),
)  # fmt: skip


def kept(path: Path, records: tuple[Kept, ...] = ()) -> KeptLog:
    log = KeptLog(path)
    for record in records:
        log.append(record)
    return log


def fill(log: KeptLog, numbers: Iterator[int]) -> None:
    for number in numbers:
        log.append(Stopped(number, "operator", "x" * 900))


def test_what_was_kept_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "kept.log"
    kept(path, RECORDS[:3]).close()
    kept(path, RECORDS[3:]).close()
    log = kept(path)
    assert log.records == RECORDS
    assert log.cut is None


def test_each_append_reaches_the_platter_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = kept(tmp_path / "kept.log")
    seen: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (seen.append(os.fstat(fd).st_size), real(fd)))
    log.append(RECORDS[0])
    assert seen == [(tmp_path / "kept.log").stat().st_size]


def test_a_failed_sync_is_a_failure_even_though_the_write_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = kept(tmp_path / "kept.log")

    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(JournalError, match=r"kept\.log: Input/output error"):
        log.append(RECORDS[0])


def test_a_torn_tail_is_cut_and_told_and_writing_goes_on_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.log"
    kept(path, RECORDS).close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    log = kept(path)
    assert log.records == RECORDS
    assert log.cut is not None
    assert log.cut.lost_bytes == 20
    log.append(RECORDS[0])
    log.close()
    assert kept(path).records == (*RECORDS, RECORDS[0])


def test_damage_before_whole_records_refuses_to_start_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kept.log"
    kept(path, RECORDS).close()
    data = bytearray(path.read_bytes())
    data[HEAD_BYTES + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match="the file was damaged, not torn"):
        KeptLog(path)
    assert path.read_bytes() == bytes(data)


def test_a_record_of_a_newer_version_refuses_to_start_rather_than_forget_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "kept.log"
    path.write_bytes(framed(b"\x92\xa7Unheard\x01"))
    with pytest.raises(JournalError, match="newer version"):
        KeptLog(path)


def test_a_full_disk_keeps_what_was_acknowledged_and_takes_no_half_record(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path)], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        path = tmp_path / "kept.log"
        log = kept(path)
        numbers = count()
        with pytest.raises(JournalError, match="No space left on device"):
            fill(log, numbers)
        number = next(numbers) - 1
        log.close()
        again = KeptLog(path)
        assert len(again.records) == number > 5
        assert again.cut is None
        again.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
