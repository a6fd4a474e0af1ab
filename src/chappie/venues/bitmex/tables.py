"""Table mirrors: image, insert, update, delete, exactly as protocol section 6 describes them.

A mirror drops deltas that come before its image, takes its keys from the image, lets a later
image replace everything, and says at once when it can no longer be true (control F5).
"""

from chappie.model.book import Book
from chappie.model.enums import Stream
from chappie.model.instrument import Instrument, OffTickError
from chappie.model.reports import (
    Advanced,
    EarlyDropped,
    ImageApplied,
    Inconsistent,
    Refused,
    Report,
    WireRefusal,
)
from chappie.venues.bitmex.columns import RowRefusedError
from chappie.venues.bitmex.wire import L2Frame, Row

BOOK_ADVANCED = (Advanced(Stream.BOOK),)
BOOK_IMAGE = ImageApplied(Stream.BOOK)
BOOK_EARLY = (EarlyDropped(Stream.BOOK),)

# An id names a level within a symbol; a level that changes side is deleted and inserted anew.
_L2_KEYS = ({"symbol", "id", "side"}, {"symbol", "id"})

# A product of a price and ticks-per-unit that is whole but for float noise: three roundings of
# 2**-53 each stay below 4e-5 up to 1e11 ticks, which no listed contract comes near.
_OFF_TICK = 1e-4
_TICKS_MAX = 1e11


class TickScale:
    """Wire prices to ticks on the hot path, off-tick prices found."""

    __slots__ = ("_instrument", "per_unit")

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self.per_unit = float(1 / instrument.tick_size)

    def ticks(self, price: float) -> int:
        """Raises `OffTickError`."""
        steps = price * self.per_unit
        if 0.5 < steps < _TICKS_MAX:
            whole = round(steps)
            if abs(steps - whole) <= _OFF_TICK:
                return whole
        raise OffTickError(
            f"{self._instrument.symbol}: price {price} is no positive multiple of "
            f"{self._instrument.tick_size}"
        )


class L2Mirror:
    """orderBookL2 of one symbol, kept as a `Book`.

    Ids are arbitrary since 2023: they only find the level again, prices order it.
    """

    __slots__ = ("_level", "_scale", "_symbol", "book")

    def __init__(self, instrument: Instrument) -> None:
        self.book = Book()
        self._symbol = instrument.symbol
        self._scale = TickScale(instrument)
        # id -> key of the book (ticks of a bid, negative ticks of an ask); None before the image.
        self._level: dict[int, int] | None = None

    def forget(self) -> None:
        """Drop the image: nothing is true until the next one."""
        self._level = None
        self.book.clear()

    def apply(self, frame: L2Frame) -> tuple[Report]:
        """Apply one frame; after `Inconsistent` or `Refused` the image is gone."""
        if frame.action == "partial":
            return (self._image(frame),)
        if self._level is None:
            return BOOK_EARLY
        try:
            wrong = self._delta(frame, self._level)
        except OffTickError as error:
            self.forget()
            return (Refused(WireRefusal.OFF_TICK, Stream.BOOK, str(error)),)
        if wrong is not None:
            self.forget()
            return (Inconsistent(Stream.BOOK, wrong),)
        return BOOK_ADVANCED

    def _image(self, frame: L2Frame) -> Report:
        self.forget()
        if frame.keys is not None and set(frame.keys) not in _L2_KEYS:
            return Refused(WireRefusal.UNKNOWN_KEYS, Stream.BOOK, f"keys {frame.keys}")
        level: dict[int, int] = {}
        sizes: dict[int, int] = {}
        try:
            for row in frame.data:
                if row.price is None or row.size is None:
                    return Refused(
                        WireRefusal.SHAPE, Stream.BOOK, f"image row {row.id} lacks price or size"
                    )
                if row.price <= 0 or row.size <= 0:
                    return Inconsistent(
                        Stream.BOOK, f"level {row.id}: price {row.price} size {row.size}"
                    )
                ticks = self._scale.ticks(row.price)
                key = ticks if row.side == "Buy" else -ticks
                if row.id in level or key in sizes:
                    return Inconsistent(Stream.BOOK, f"level {row.id} twice in one image")
                level[row.id] = key
                sizes[key] = row.size
        except OffTickError as error:
            return Refused(WireRefusal.OFF_TICK, Stream.BOOK, str(error))
        self.book.load(sizes)
        if self.book.is_crossed:
            self.book.clear()
            return Inconsistent(Stream.BOOK, "crossed image")
        self._level = level
        return BOOK_IMAGE

    def _delta(self, frame: L2Frame, level: dict[int, int]) -> str | None:
        """Apply the rows in order; what is wrong, in words, or None."""
        book = self.book
        if frame.action == "update":
            per_unit = self._scale.per_unit
            for row in frame.data:
                key = level.get(row.id)
                if key is None:
                    return f"update of unknown level {row.id}"
                size = row.size
                if size is None or size <= 0:
                    return f"update of level {row.id} to size {size}"
                if (key > 0) is not (row.side == "Buy"):
                    return f"level {row.id} changed side in an update"
                price = row.price
                # Off-tick prices fail here as well: no level stands between two ticks.
                if price is not None and abs(price * per_unit - abs(key)) > _OFF_TICK:
                    return f"level {row.id} changed price in an update"
                book.resize(key, size)
        elif frame.action == "insert":
            for row in frame.data:
                if row.price is None or row.size is None or row.price <= 0 or row.size <= 0:
                    return f"insert of level {row.id}: price {row.price} size {row.size}"
                ticks = self._scale.ticks(row.price)
                key = ticks if row.side == "Buy" else -ticks
                if row.id in level:
                    return f"insert of level {row.id} that is there"
                if key in book:
                    return f"insert of a second level at {row.price}"
                level[row.id] = key
                book.add(key, row.size)
            # Only a new level can cross a book that was not crossed.
            if book.is_crossed:
                return f"crossed: bid {book.best_bid} ask {book.best_ask} ticks"
        else:
            for row in frame.data:
                key = level.pop(row.id, None)
                if key is None:
                    return f"delete of unknown level {row.id}"
                book.remove(key)
        return None


class TableMirror:
    """Any keyed table, rows merged by the keys that its image named.

    Tables without keys (trade, quote, execution) only ever insert; for them this only tells
    images from increments. Finished rows are kept until there are ``bound`` of them.
    """

    __slots__ = ("_bound", "_keys", "_rows", "stream")

    def __init__(self, stream: Stream, bound: int = 2_000) -> None:
        self.stream = stream
        self._bound = bound
        self._keys: tuple[str, ...] | None = None
        self._rows: dict[tuple[object, ...], Row] = {}

    def forget(self) -> None:
        """Drop the image: nothing is true until the next one."""
        self._keys = None
        self._rows.clear()

    def apply(
        self, action: str, keys: list[str] | None, rows: list[Row]
    ) -> tuple[Report | None, list[Row]]:
        """What happened to the table, and the full rows after it.

        The report is None for an increment without rows: it is no evidence of anything. Raises
        `RowRefusedError` for a row that has no usable key.
        """
        if action == "partial":
            self.forget()
            self._keys = tuple(keys or ())
            for row in rows:
                self._rows[self._key(row)] = row
            if not self._keys:
                self._rows.clear()
            return ImageApplied(self.stream), rows
        if self._keys is None:
            return EarlyDropped(self.stream), []
        if not rows:
            return None, []
        if not self._keys:
            if action != "insert":
                # Without keys there is no row to merge it into, and alone it would be read as a
                # whole row: a position without currentQty as a position of zero.
                self.forget()
                return Inconsistent(self.stream, f"{action} in a table without keys"), []
            return Advanced(self.stream), rows
        full = []
        for row in rows:
            key = self._key(row)
            known = self._rows.get(key)
            if action == "insert":
                merged = row
            elif known is None:
                self.forget()
                return Inconsistent(self.stream, f"{action} of an unknown row {key}"), []
            else:
                merged = {**known, **row}
            if action == "delete":
                del self._rows[key]
            else:
                self._rows[key] = merged
            full.append(merged)
        if len(self._rows) > self._bound:
            self._prune()
        return Advanced(self.stream), full

    def _key(self, row: Row) -> tuple[object, ...]:
        assert self._keys is not None
        key = tuple(row.get(name) for name in self._keys)
        if key and (
            all(value is None for value in key)
            or any(isinstance(value, (list, dict)) for value in key)
        ):
            raise RowRefusedError(
                WireRefusal.UNKNOWN_KEYS, f"{self.stream.value} row with keys {key} at {self._keys}"
            )
        return key

    def _prune(self) -> None:
        """Forget the oldest finished rows: the venue never deletes terminal orders, and no
        execution ever changes.
        """
        excess = len(self._rows) - self._bound // 2
        finished = [
            key
            for key, row in self._rows.items()
            if self.stream is Stream.EXECUTION or row.get("leavesQty") == 0
        ]
        for key in finished[:excess]:
            del self._rows[key]
