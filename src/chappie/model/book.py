"""The order book of one instrument, by price level: what the mirror of a feed maintains.

Levels of both sides live in one shape: a *key* is the price in ticks for bids and its negative
for asks, so that the best level of either side is its largest key, at the end of a sorted list,
where inserting and deleting is cheap.
"""

from bisect import bisect_left, insort

from chappie.model.enums import Side
from chappie.model.units import Contracts, Ticks


class Book:
    """Price levels of both sides. Owned and changed by one mirror, read by everybody."""

    __slots__ = ("_asks", "_bids", "_sizes")

    def __init__(self) -> None:
        self._bids: list[int] = []
        self._asks: list[int] = []
        self._sizes: dict[int, int] = {}

    def clear(self) -> None:
        self._bids.clear()
        self._asks.clear()
        self._sizes.clear()

    def load(self, sizes: dict[int, int]) -> None:
        """Replace everything; ``sizes`` maps key to contracts."""
        self._sizes = sizes
        self._bids = sorted(key for key in sizes if key > 0)
        self._asks = sorted(key for key in sizes if key < 0)

    def __contains__(self, key: int) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, key: int, size: int) -> None:
        """A new level; the caller has checked that it is not there."""
        insort(self._bids if key > 0 else self._asks, key)
        self._sizes[key] = size

    def resize(self, key: int, size: int) -> None:
        """Change a level that is there."""
        self._sizes[key] = size

    def remove(self, key: int) -> None:
        """Drop a level that is there."""
        del self._sizes[key]
        keys = self._bids if key > 0 else self._asks
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]

    @property
    def best_bid(self) -> Ticks | None:
        return Ticks(self._bids[-1]) if self._bids else None

    @property
    def best_ask(self) -> Ticks | None:
        return Ticks(-self._asks[-1]) if self._asks else None

    @property
    def is_crossed(self) -> bool:
        """The best bid at or above the best ask: impossible at a matching venue."""
        return bool(self._bids) and bool(self._asks) and self._bids[-1] + self._asks[-1] >= 0

    def size(self, side: Side, ticks: Ticks) -> Contracts:
        """Contracts resting at a price; 0 where there is no level."""
        return Contracts(self._sizes.get(ticks if side is Side.BUY else -ticks, 0))

    def levels(self, side: Side, count: int) -> list[tuple[Ticks, Contracts]]:
        """Up to ``count`` levels of a side (Buy: bids), the best first."""
        keys = self._bids if side is Side.BUY else self._asks
        best = reversed(keys[max(0, len(keys) - count) :])
        return [(Ticks(abs(key)), Contracts(self._sizes[key])) for key in best]
