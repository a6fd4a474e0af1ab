"""Tables that are made of other tables: the throttled books and the bins."""

from __future__ import annotations

from collections.abc import Sequence

from chappie.simvenue.changes import Change
from chappie.simvenue.envelopes import Json, parse_iso
from chappie.simvenue.stamps import stamp

Row = dict[str, Json]


def top(levels: Sequence[Row], depth: int) -> list[Row]:
    """The best `depth` levels of each side, in the order of the book: asks down, bids down."""
    sells = [row for row in levels if row["side"] == "Sell"]
    buys = [row for row in levels if row["side"] == "Buy"]
    if depth <= 0:
        return [*sells, *buys]
    return [*sells[-depth:], *buys[:depth]]


def book10(symbol: str, levels: Sequence[Row], at_ns: int) -> Row:
    """The one row of orderBook10: ten `[price, size]` of each side, best first."""
    best = top(levels, 10)
    asks = [[row["price"], row["size"]] for row in best if row["side"] == "Sell"]
    asks.reverse()
    bids = [[row["price"], row["size"]] for row in best if row["side"] == "Buy"]
    return {"symbol": symbol, "bids": bids, "asks": asks, "timestamp": stamp(at_ns)}


class ThrottledBook:
    """What was last published of one contract's orderBookL2_25 and orderBook10.

    All subscribers share one published state, so an image and the changes after it agree.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._l25: dict[tuple[Json, Json], Row] = {}
        self._ten: Row = {}

    def compare(self, levels: Sequence[Row], at_ns: int) -> list[Change]:
        """Publish the present book; the changes that lead to it come back in order."""
        now = stamp(at_ns)
        new: dict[tuple[Json, Json], Row] = {
            (row["id"], row["side"]): {**row, "timestamp": now} for row in top(levels, 25)
        }
        gone = [
            {name: row[name] for name in ("symbol", "id", "side", "price") if name in row}
            | {"timestamp": now}
            for key, row in self._l25.items()
            if key not in new
        ]
        changed = [
            row
            for key, row in new.items()
            if key in self._l25 and self._l25[key]["size"] != row["size"]
        ]
        come = [row for key, row in new.items() if key not in self._l25]
        self._l25 = new
        changes = [
            Change("orderBookL2_25", action, rows, self.symbol)
            for action, rows in (("delete", gone), ("update", changed), ("insert", come))
            if rows
        ]
        ten = book10(self.symbol, levels, at_ns)
        if ten["bids"] != self._ten.get("bids") or ten["asks"] != self._ten.get("asks"):
            self._ten = ten
            changes.append(Change("orderBook10", "update", [ten], self.symbol))
        return changes

    def image25(self) -> list[Row]:
        """The published levels; asks down, bids down."""
        sells = [row for row in self._l25.values() if row["side"] == "Sell"]
        buys = [row for row in self._l25.values() if row["side"] == "Buy"]
        sells.sort(key=lambda row: -row["price"])
        buys.sort(key=lambda row: -row["price"])
        return sells + buys

    def image10(self) -> list[Row]:
        """The published row."""
        return [self._ten] if self._ten else []


def complete_bins(bins: Sequence[Row], at_ns: int) -> list[Row]:
    """Only the bins that have ended; a bin carries the time of its end."""
    now = stamp(at_ns)
    return [row for row in bins if row["timestamp"] <= now]


def quote_bins(quotes: Sequence[Row], bin_ns: int, at_ns: int) -> list[Row]:
    """The last quote of every bin that has ended, stamped with the bin's end."""
    bins: dict[int, Row] = {}
    for row in quotes:
        end_ns = -(-parse_iso(row["timestamp"]) // bin_ns) * bin_ns
        if end_ns <= at_ns:
            bins[end_ns] = {**row, "timestamp": stamp(end_ns)}
    return [bins[end_ns] for end_ns in sorted(bins)]
