"""What it costs to write one event down: a framed append, SQLite, LMDB, and the syncs.

Run it with `python bench/journal.py [records]`. The ratios are between columns of one run on one
machine; the absolute figures are that machine's. LMDB is measured where it is installed.
"""

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from chappie.journal.journal import Journal
from chappie.journal.kept import KeptLog
from chappie.model.enums import Side
from chappie.model.events import FrameReceived
from chappie.model.records import Fill
from chappie.model.units import At, Contracts, Minor, Ticks

RECORDS = 100_000
SYNCED = 500
BATCH = 64
AT = At(1_234_567_890_123, 1_700_000_000_123_456_789)
# Framed, this makes 200 bytes: a quote row's size on the wire.
EVENT = FrameReceived(1, b"q" * 153)
FILL = Fill(
    "0193e879-cb6f-2891-d099-2c4eb40fee21",
    "0193e879-cb6f-2891-d099-2c4eb40fee22",
    "chp-chappie-tox1ic-8",
    Side.BUY,
    Contracts(100),
    Ticks(600_059),
    Minor(-166_650),
    Minor(83),
    1_700_000_000_123_456_789,
)


def framed(folder: Path) -> Callable[[], None]:
    journal = Journal(
        folder, epoch=1, version="", config=b"{}", policy_period_s=1.0, max_bytes=5_000_000_000
    )

    def append() -> None:
        journal.append(AT, EVENT)
        journal.flush(AT)

    return append


def burst(folder: Path) -> Callable[[], None]:
    journal = Journal(
        folder, epoch=1, version="", config=b"{}", policy_period_s=1.0, max_bytes=5_000_000_000
    )
    numbers = iter(range(1 << 60))

    def append() -> None:
        journal.append(AT, EVENT)
        if next(numbers) % BATCH == 0:
            journal.flush(AT)

    return append


def raw(folder: Path) -> Callable[[], None]:
    fd = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    data = bytes(200)

    def append() -> None:
        os.write(fd, data)

    return append


def sqlite(folder: Path, synchronous: str) -> Callable[[], None]:
    database = sqlite3.connect(folder / "journal.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {synchronous}")
    database.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, record BLOB NOT NULL)")
    encoder = msgspec.msgpack.Encoder()

    def append() -> None:
        database.execute("INSERT INTO event (record) VALUES (?)", (encoder.encode((AT, EVENT)),))

    return append


def lmdb(folder: Path) -> Callable[[], None]:
    import lmdb as library

    environment = library.open(str(folder / "lmdb"), map_size=1 << 32, sync=False)
    encoder = msgspec.msgpack.Encoder()
    numbers = iter(range(1 << 60))

    def append() -> None:
        with environment.begin(write=True) as transaction:
            transaction.put(next(numbers).to_bytes(8, "big"), encoder.encode((AT, EVENT)))

    return append


def kept(folder: Path) -> Callable[[], None]:
    log = KeptLog(folder / "kept.log")
    return lambda: log.append(FILL)


def batched(folder: Path) -> Callable[[], None]:
    append = framed(folder / "journal")
    fd = os.open(next((folder / "journal").iterdir()), os.O_WRONLY)
    written = 0

    def append_and_sometimes_sync() -> None:
        nonlocal written
        append()
        written += 1
        if written % BATCH == 0:
            os.fdatasync(fd)

    return append_and_sometimes_sync


WAYS: tuple[tuple[str, Callable[[Path], Callable[[], None]], bool], ...] = (
    ("framed append, written each (chosen)", framed, False),
    (f"the same, {BATCH} share a write (chosen)", burst, False),
    ("bare os.write of 200 bytes", raw, False),
    ("SQLite WAL, NORMAL, commit each", lambda folder: sqlite(folder, "NORMAL"), False),
    ("LMDB without sync, commit each", lmdb, False),
    (f"framed, fdatasync every {BATCH}", batched, True),
    ("kept log: fdatasync each (chosen)", kept, True),
    ("SQLite WAL, FULL, commit each", lambda folder: sqlite(folder, "FULL"), True),
)


def measure(append: Callable[[], None], count: int) -> Iterator[float]:
    """Microseconds a record, in five parts, so that a disturbed one can be told apart."""
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count // 5):
            append()
        yield (time.perf_counter() - began) / (count // 5) * 1e6


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    first = 0.0
    print(f"{'':40}{'µs/record':>10}{'ratio':>8}   ({records} records, {os.cpu_count()} cores)")
    for name, make, synced in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                append = make(Path(folder))
            except ImportError:
                print(f"{name:40}{'not installed':>18}")
                continue
            cost = sorted(measure(append, SYNCED if synced else records))[2]
        first = first or cost
        print(f"{name:40}{cost:10.2f}{cost / first:8.1f}")


if __name__ == "__main__":
    main()
