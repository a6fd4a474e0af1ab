"""What a policy sees and what it answers: the whole protocol between a user's model and us."""

from typing import Protocol, runtime_checkable

import msgspec


class Level(msgspec.Struct, frozen=True, gc=False):
    """A price level; price in quote currency, size in contracts."""

    price: float
    size: int


class View(msgspec.Struct, frozen=True, gc=False):
    """One look at the market and at ourselves, taken only from synced, fresh streams.

    Prices are in the quote currency, quantities in contracts, ``at`` is UNIX seconds. ``bids``
    and ``asks`` hold up to ten levels, the best first. ``position`` is signed (long positive).
    """

    at: float
    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    last_price: float | None
    mark_price: float | None
    index_price: float | None
    funding_rate: float | None
    position: int
    avg_entry_price: float | None
    unrealised: float | None
    max_position: int
    lot_size: int


@runtime_checkable
class Policy(Protocol):
    """A trading policy: a view in, a target position out.

    ``period_s`` (optional class attribute, default 1.0) says how often it is asked.
    """

    def decide(self, view: View) -> int:
        """The position wanted now, in contracts, long positive.

        Called once per period, in order, only while market data is fresh. It must return within
        a fraction of the period; an exception or anything but an integer puts the bot into
        observe-only, loudly.
        """
        ...
