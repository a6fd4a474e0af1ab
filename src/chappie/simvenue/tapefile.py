"""Reading recorded captures: a raw websocket capture or a CSV of trades, as one list of steps.

Formats: lines `<local epoch seconds>: <json>` with lines of the connection in between, and the
column layout of the public trade dumps. Either may be compressed with xz or gzip.
"""

import csv
import gzip
import lzma
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TextIO

import msgspec

from chappie.simvenue.stamps import SECOND_NS, from_stamp

#: More steps than this do not fit into a venue's memory comfortably.
STEPS_MAX = 5_000_000
_COLUMNS = ("timestamp", "symbol", "side", "size", "price")


class TapeError(Exception):
    """A tape that cannot be replayed; the message names the file and, if any, the line."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        where = f"{path}, line {line}" if line else f"{path}"
        super().__init__(f"tape {where}: {reason}")


class LevelStep(msgspec.Struct, frozen=True, gc=False):
    """The anonymous size of one price becomes `size`."""

    at_ns: int
    side: str
    cents: int
    size: int


class ImageStep(msgspec.Struct, frozen=True):
    """A whole book replaces what was there: (side, cents, size)."""

    at_ns: int
    levels: list[tuple[str, int, int]]


class TradeStep(msgspec.Struct, frozen=True, gc=False):
    """A stranger of `side` traded `size` at a price."""

    at_ns: int
    side: str
    cents: int
    size: int


Step = LevelStep | ImageStep | TradeStep


class _LevelRow(msgspec.Struct):
    symbol: str
    side: str
    id: int | None = None
    size: int | None = None
    price: Decimal | None = None


class _TradeRow(msgspec.Struct):
    symbol: str
    side: str
    size: int
    price: Decimal


class _Frame(msgspec.Struct):
    """Only what the tape uses; a frame without a table is an answer of the venue."""

    table: str = ""
    action: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


def read_tape(path: Path, symbol: str) -> list[Step]:
    """All steps of one symbol in the file's order. TapeError when it is no tape of this symbol."""
    try:
        with _open(path) as lines:
            first = lines.readline()
            lines.seek(0)
            if first.startswith("timestamp,"):
                steps = list(_trades(path, lines, symbol))
            else:
                steps = list(_capture(path, lines, symbol))
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise TapeError(path, None, f"cannot be read: {error}") from error
    if not steps:
        raise TapeError(path, None, f"holds nothing of {symbol}")
    return steps


def _open(path: Path) -> TextIO:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _cents(path: Path, line: int, price: Decimal) -> int:
    cents = price * 100
    if not cents.is_finite() or cents != int(cents) or cents <= 0:
        raise TapeError(path, line, f"the price {price} is no whole number of cents")
    return int(cents)


def _side(path: Path, line: int, side: str) -> str:
    if side not in ("Buy", "Sell"):
        raise TapeError(path, line, f"the side {side!r} is neither Buy nor Sell")
    return side


def _trades(path: Path, lines: TextIO, symbol: str) -> Iterator[Step]:
    reader = csv.DictReader(lines)
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise TapeError(path, 1, f"the columns {', '.join(missing)} are missing")
    for number, row in enumerate(reader, start=2):
        _check_count(path, number)
        if row["symbol"] != symbol:
            continue
        try:
            at_ns = from_stamp(row["timestamp"])
            size = int(row["size"])
            price = Decimal(row["price"])
        except (TypeError, ValueError, InvalidOperation) as error:
            raise TapeError(path, number, f"is no trade: {error}") from error
        if size <= 0:
            raise TapeError(path, number, f"a trade of size {size}")
        cents = _cents(path, number, price)
        yield TradeStep(at_ns, _side(path, number, row["side"]), cents, size)


def _check_count(path: Path, number: int) -> None:
    if number > STEPS_MAX:
        raise TapeError(path, number, f"longer than {STEPS_MAX} lines")


def _capture(path: Path, lines: TextIO, symbol: str) -> Iterator[Step]:
    #: Price of each level id: captures before April 2023 have it only on insert.
    prices: dict[int, int] = {}
    imaged = False
    for number, line in enumerate(lines, start=1):
        _check_count(path, number)
        head, _, text = line.partition(": ")
        if "<-" in head or not line.strip() or head.startswith("configuration"):
            continue
        try:
            at_ns = int(Decimal(head) * SECOND_NS)
            frame = msgspec.json.decode(text, type=_Frame)
        except (InvalidOperation, msgspec.DecodeError) as error:
            raise TapeError(path, number, f"is no frame of a capture: {error}") from error
        if frame.table not in ("orderBookL2", "trade") or symbol not in text:
            continue
        try:
            if frame.table == "trade":
                trades = msgspec.json.decode(frame.data, type=list[_TradeRow])
                if frame.action == "insert":
                    yield from _trade_steps(path, number, at_ns, trades, symbol)
                continue
            rows = msgspec.json.decode(frame.data, type=list[_LevelRow])
        except msgspec.DecodeError as error:
            raise TapeError(path, number, f"is no {frame.table} message: {error}") from error
        rows = [row for row in rows if row.symbol == symbol]
        if not rows:
            continue
        if frame.action == "partial":
            imaged = True
            prices.clear()
            image: list[tuple[str, int, int]] = []
            for row in rows:
                level = _level(path, number, at_ns, row, prices)
                image.append((level.side, level.cents, level.size))
            yield ImageStep(at_ns, image)
        elif imaged:
            # Changes before the image belong to a book that nobody has seen (section 6).
            for row in rows:
                level = _level(path, number, at_ns, row, prices)
                gone = frame.action == "delete"
                yield LevelStep(at_ns, level.side, level.cents, 0) if gone else level


def _level(
    path: Path, number: int, at_ns: int, row: _LevelRow, prices: dict[int, int]
) -> LevelStep:
    cents = None if row.price is None else _cents(path, number, row.price)
    if cents is None and row.id is not None:
        cents = prices.get(row.id)
    if cents is None:
        raise TapeError(path, number, f"a level without a price (id {row.id})")
    if row.id is not None:
        prices[row.id] = cents
    return LevelStep(at_ns, _side(path, number, row.side), cents, max(0, row.size or 0))


def _trade_steps(
    path: Path, number: int, at_ns: int, rows: list[_TradeRow], symbol: str
) -> Iterator[Step]:
    for row in rows:
        if row.symbol == symbol and row.size > 0:
            cents = _cents(path, number, row.price)
            yield TradeStep(at_ns, _side(path, number, row.side), cents, row.size)
