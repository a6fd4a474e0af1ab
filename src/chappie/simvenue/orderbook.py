"""The price-time book: levels, their queues, and the level changes since the last look.

Liquidity is either a client's (an order id) or anonymous (the empty id). Anonymous liquidity
that leaves a level without trading leaves from the back of the queue, so a client's place only
improves by trades: the cautious reading of a feed that shows sizes of levels and not orders.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

import msgspec

ANONYMOUS = ""


class Hit(msgspec.Struct, frozen=True, gc=False):
    """One resting quantity that an aggressor took."""

    ticks: int
    order_id: str
    qty: int


class LevelChange(msgspec.Struct, frozen=True, gc=False):
    """What happened to one level since the last look; `size` is 0 for a delete."""

    action: str
    side: str
    ticks: int
    size: int
    level_id: int


class _Entry:
    __slots__ = ("order_id", "qty")

    def __init__(self, order_id: str, qty: int) -> None:
        self.order_id = order_id
        self.qty = qty


class Level:
    """One price of one side: a first-in first-out queue."""

    __slots__ = ("changed_ns", "level_id", "queue", "size")

    def __init__(self, level_id: int) -> None:
        self.level_id = level_id
        self.size = 0
        self.queue: list[_Entry] = []
        self.changed_ns = 0

    def anonymous(self) -> int:
        return sum(entry.qty for entry in self.queue if entry.order_id == ANONYMOUS)


class Book:
    """Both sides of one contract. Callers keep it uncrossed by taking before resting."""

    def __init__(self, next_level_id: Callable[[], int]) -> None:
        self._next_level_id = next_level_id
        self._levels: dict[str, dict[int, Level]] = {"Buy": {}, "Sell": {}}
        self._prices: dict[str, list[int]] = {"Buy": [], "Sell": []}
        #: Levels touched since the last look, with their id and size at that look.
        self._before: dict[tuple[str, int], tuple[int, int]] = {}

    # --- reading ---------------------------------------------------------------------------

    def best(self, side: str) -> int | None:
        prices = self._prices[side]
        if not prices:
            return None
        return prices[-1] if side == "Buy" else prices[0]

    def size(self, side: str, ticks: int) -> int:
        level = self._levels[side].get(ticks)
        return level.size if level else 0

    def anonymous(self, side: str, ticks: int) -> int:
        level = self._levels[side].get(ticks)
        return level.anonymous() if level else 0

    def level_count(self, side: str) -> int:
        return len(self._prices[side])

    def prices(self, side: str) -> list[int]:
        """Prices in ascending order; the caller must not change the list."""
        return self._prices[side]

    def levels(self, side: str) -> Iterator[tuple[int, Level]]:
        """From the highest price to the lowest, on both sides."""
        levels = self._levels[side]
        for ticks in reversed(self._prices[side]):
            yield ticks, levels[ticks]

    def top(self) -> tuple[int | None, int, int | None, int]:
        """Bid, bid size, ask, ask size."""
        bid, ask = self.best("Buy"), self.best("Sell")
        return (
            bid,
            0 if bid is None else self._levels["Buy"][bid].size,
            ask,
            0 if ask is None else self._levels["Sell"][ask].size,
        )

    def available(self, side: str, limit_ticks: int | None, enough: int) -> int:
        """Quantity on `side` within the aggressor's limit, counted up to `enough`."""
        total = 0
        prices = self._prices[side]
        for ticks in prices if side == "Sell" else reversed(prices):
            if limit_ticks is not None and (
                ticks > limit_ticks if side == "Sell" else ticks < limit_ticks
            ):
                break
            total += self._levels[side][ticks].size
            if total >= enough:
                break
        return total

    # --- changing --------------------------------------------------------------------------

    def rest(self, side: str, ticks: int, order_id: str, qty: int) -> None:
        """Put a quantity at the back of its level's queue."""
        level = self._open(side, ticks)
        last = level.queue[-1] if level.queue else None
        if last is not None and order_id == ANONYMOUS and last.order_id == ANONYMOUS:
            last.qty += qty
        else:
            level.queue.append(_Entry(order_id, qty))
        level.size += qty

    def reduce(self, side: str, ticks: int, order_id: str, qty: int) -> None:
        """A pure decrease of a client's order to `qty`, which keeps its place in the queue."""
        level = self._open(side, ticks)
        for entry in level.queue:
            if entry.order_id == order_id:
                assert 0 < qty <= entry.qty, "a decrease that is none"
                level.size += qty - entry.qty
                entry.qty = qty
                return
        raise AssertionError(f"order {order_id} does not rest at {side} {ticks}")

    def remove(self, side: str, ticks: int, order_id: str) -> None:
        level = self._open(side, ticks)
        for place, entry in enumerate(level.queue):
            if entry.order_id == order_id:
                level.size -= entry.qty
                del level.queue[place]
                self._close(side, ticks, level)
                return
        raise AssertionError(f"order {order_id} does not rest at {side} {ticks}")

    def set_anonymous(self, side: str, ticks: int, qty: int) -> None:
        """Make the anonymous part of a level this large; growth and decrease at the back."""
        present = self.anonymous(side, ticks)
        if qty > present:
            self.rest(side, ticks, ANONYMOUS, qty - present)
        elif qty < present:
            level = self._open(side, ticks)
            excess = present - qty
            for place in range(len(level.queue) - 1, -1, -1):
                entry = level.queue[place]
                if entry.order_id != ANONYMOUS:
                    continue
                gone = min(excess, entry.qty)
                entry.qty -= gone
                level.size -= gone
                excess -= gone
                if not entry.qty:
                    del level.queue[place]
                if not excess:
                    break
            self._close(side, ticks, level)

    def take(self, side: str, limit_ticks: int | None, qty: int) -> list[Hit]:
        """Remove up to `qty` from `side` in price-time order, within the aggressor's limit."""
        hits: list[Hit] = []
        while qty > 0:
            ticks = self.best(side)
            if ticks is None:
                break
            if limit_ticks is not None and (
                ticks > limit_ticks if side == "Sell" else ticks < limit_ticks
            ):
                break
            level = self._open(side, ticks)
            while qty > 0 and level.queue:
                entry = level.queue[0]
                part = min(qty, entry.qty)
                hits.append(Hit(ticks, entry.order_id, part))
                entry.qty -= part
                level.size -= part
                qty -= part
                if not entry.qty:
                    del level.queue[0]
            self._close(side, ticks, level)
        return hits

    def _open(self, side: str, ticks: int) -> Level:
        """The level, made if need be, with its state before this event remembered."""
        levels = self._levels[side]
        level = levels.get(ticks)
        key = (side, ticks)
        if level is None:
            before = self._before.get(key)
            # A level that vanished and came back within one event never died for the outside.
            level = Level(before[0] if before and before[1] else self._next_level_id())
            levels[ticks] = level
            insort(self._prices[side], ticks)
        if key not in self._before:
            self._before[key] = (level.level_id, level.size)
        return level

    def _close(self, side: str, ticks: int, level: Level) -> None:
        if level.queue:
            return
        assert level.size == 0, "an empty queue with a size"
        del self._levels[side][ticks]
        prices = self._prices[side]
        del prices[bisect_left(prices, ticks)]

    # --- telling ---------------------------------------------------------------------------

    def changes(self, at_ns: int) -> list[LevelChange]:
        """Level changes since the last call: deletes, then updates, then inserts.

        In this order a reader that applies message by message never sees a crossed book.
        """
        if not self._before:
            return []
        deletes: list[LevelChange] = []
        updates: list[LevelChange] = []
        inserts: list[LevelChange] = []
        for (side, ticks), (level_id, before) in self._before.items():
            level = self._levels[side].get(ticks)
            if level is None:
                if before:
                    deletes.append(LevelChange("delete", side, ticks, 0, level_id))
                continue
            if not before:
                inserts.append(LevelChange("insert", side, ticks, level.size, level.level_id))
            elif level.size != before:
                updates.append(LevelChange("update", side, ticks, level.size, level.level_id))
            else:
                continue
            level.changed_ns = at_ns
        self._before.clear()
        return deletes + updates + inserts
