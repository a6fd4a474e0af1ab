"""The kept log: durable before the next command, whole after any crash, never silently cut."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import msgspec
import pytest

from chappie.core.carried import settled
from chappie.core.recovery import recover
from chappie.journal import kept as kept_module
from chappie.journal.framing import HEAD_BYTES, JournalError, framed
from chappie.journal.kept import KeptLog, put_aside
from chappie.model.enums import OrdStatus, OrdType, Side, TimeInForce
from chappie.model.orders import NewOrder
from chappie.model.records import (
    Carried,
    Ended,
    Fill,
    FundingPaid,
    Intent,
    Kept,
    Opening,
    Stopped,
)
from chappie.model.units import At, Contracts, Minor, Ticks

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


# --- rolling


def a_long_log(path: Path, orders: int = 20) -> tuple[Kept, ...]:
    """Settled orders an hour apart, then one whose fate is not known."""
    records: list[Kept] = [Opening(1, Contracts(0), Minor(0))]
    for number in range(orders):
        name, wall_ns = f"chp-a-1-{number}", 3_600_000_000_000 * (number + 1)
        side = (Side.BUY, Side.SELL)[number % 2]
        records += [
            Intent(wall_ns, order(name, side), number),
            Fill(f"e{number}", "o", name, side, Contracts(100), Ticks(7), Minor(-8), Minor(1),
                 wall_ns),
            Ended(wall_ns, name, OrdStatus.FILLED, Contracts(100)),
        ]  # fmt: skip
    records.append(Intent(3_600_000_000_000 * (orders + 1), order("chp-a-1-z", Side.BUY), orders))
    encoder = msgspec.msgpack.Encoder()
    path.write_bytes(b"".join(framed(encoder.encode(record)) for record in records))
    return tuple(records)


def order(name: str, side: Side) -> NewOrder:
    return NewOrder(
        name, "XBTUSD", side, Contracts(100), OrdType.LIMIT, Ticks(7), TimeInForce.GTC, False, False
    )


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is rolled when ten records are settled, and the five newest never are."""
    monkeypatch.setattr(kept_module, "ROLL_FROM", 10)
    monkeypatch.setattr(kept_module, "settled", lambda records: settled(records, newest=5))


def start(records: Sequence[Kept]) -> tuple[dict[str, object], list[str]]:
    """What a start makes of the records: its books, and the orders not proven over."""
    recovered = recover(tuple(records), At(0, 0), lambda at, wall_ns: 0)
    totals = {k: v for k, v in vars(recovered.ledger).items() if not k.startswith("_")}
    return totals, [order.asked.cl_ord_id for order in recovered.orders]


def test_a_log_with_a_long_settled_beginning_is_put_aside_and_carried(
    tmp_path: Path, soon: None
) -> None:
    path = tmp_path / "kept.log"
    records = a_long_log(path, orders=60)
    whole = path.read_bytes()
    log = kept(path)
    assert log.rolled == tmp_path / "kept.000001.log"
    assert log.rolled.read_bytes() == whole
    carried = log.records[0]
    assert isinstance(carried, Carried)
    assert (carried.file, carried.records) == ("kept.000001.log", len(records) - 24 * 3 - 1 - 3)
    assert log.records[1:] == records[carried.records :]
    assert start(log.records) == start(records)


def test_what_is_kept_after_a_roll_is_in_the_new_log(tmp_path: Path, soon: None) -> None:
    path = tmp_path / "kept.log"
    a_long_log(path, orders=60)
    log = kept(path, RECORDS[1:])
    before = log.records
    log.close()
    again = kept(path)
    assert again.records == (*before, *RECORDS[1:])
    assert again.rolled is None


def test_a_second_roll_goes_under_the_next_name_and_the_books_go_on(
    tmp_path: Path, soon: None
) -> None:
    path = tmp_path / "kept.log"
    a_long_log(path, orders=60)
    first = kept(path)
    more = [
        record
        for number in range(60)
        for record in (
            Fill(f"f{number}", "o", "", Side.BUY, Contracts(1), Ticks(7), Minor(-8), Minor(1),
                 3_600_000_000_000 * (200 + number)),
            Stopped(number, "operator", ""),
        )
    ]  # fmt: skip
    # The order in doubt would hold everything after it back.
    end = Ended(1, "chp-a-1-z", None, Contracts(0))
    for record in (end, *more):
        first.append(record)
    first.close()
    second = kept(path)
    assert second.rolled == tmp_path / "kept.000002.log"
    assert put_aside(path) == [tmp_path / "kept.000001.log", tmp_path / "kept.000002.log"]
    assert start(second.records) == start((*first.records, end, *more))
    assert len(second.records) < 80


def test_a_short_log_is_left_as_it_is(tmp_path: Path, soon: None) -> None:
    path = tmp_path / "kept.log"
    records = a_long_log(path, orders=20)
    log = kept(path)
    assert log.rolled is None
    assert log.records == records
    assert put_aside(path) == []


def test_files_of_a_person_beside_the_log_are_not_taken_for_old_ones(
    tmp_path: Path, soon: None
) -> None:
    path = tmp_path / "kept.log"
    for name in ("kept.old.log", "kept.2.log", "kept.000009.log.bak"):
        (tmp_path / name).write_text("mine")
    a_long_log(path, orders=60)
    assert kept(path).rolled == tmp_path / "kept.000001.log"
    assert (tmp_path / "kept.2.log").read_text() == "mine"


class Died(BaseException):
    """The process ended on this line."""


SYSTEM_CALLS = ("open", "write", "fsync", "fdatasync", "replace", "close", "ftruncate")


def dies_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The process dies before its so many-th call that touches a file."""
    numbers = count(1)

    def mortal(real: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            if next(numbers) >= call:
                raise Died
            return real(*args, **kwargs)

        return run

    for name in SYSTEM_CALLS:
        monkeypatch.setattr(os, name, mortal(getattr(os, name)))


def test_both_logs_are_on_the_platter_before_they_have_their_names(
    tmp_path: Path, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.log"
    a_long_log(path, orders=60)
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(fd: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).name}")
        sync(fd)

    def replaced(here: Path, there: Path) -> None:
        done.append(f"name {there.name}")
        replace(here, there)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    kept(path)
    assert done == [
        "sync .kept.000001.log.new",
        "name kept.000001.log",
        f"sync {tmp_path.name}",
        "sync .kept.log.new",
        "name kept.log",
        f"sync {tmp_path.name}",
    ]


def test_a_death_on_any_line_of_a_roll_loses_nothing_and_the_next_start_rolls(
    tmp_path: Path, soon: None
) -> None:
    for call in count(1):
        path = tmp_path / str(call) / "kept.log"
        path.parent.mkdir()
        records = a_long_log(path, orders=60)
        with pytest.MonkeyPatch.context() as patch:
            dies_at(patch, call)
            try:
                KeptLog(path)
            except Died:
                pass
            else:
                break
        log = kept(path)
        assert start(log.records) == start(records)
        # Whatever the dead one had done, the whole log stands aside once, and only once.
        assert put_aside(path) == [path.with_name("kept.000001.log")]
        assert start(kept(path.with_name("kept.000001.log")).records) == start(records)
        log.append(RECORDS[1])
        log.close()
        assert kept(path).records == (*log.records, RECORDS[1])
    assert call > 10
