"""What drives prices: the protocol of a market, and the floor on which it acts."""

from typing import Protocol

from chappie.simvenue.contract import Contract
from chappie.simvenue.orderbook import Book


class MarketFloor(Protocol):
    """What a market may do to the exchange. All acts of one `advance` are one event."""

    contract: Contract
    book: Book

    @property
    def last_ticks(self) -> int: ...

    def set_level(self, side: str, ticks: int, size: int) -> None:
        """Make the anonymous quantity of a level `size`; growth that crosses trades first."""

    def strike(self, side: str, limit_ticks: int | None, qty: int) -> int:
        """An anonymous aggressor of `side` up to the limit; returns the quantity traded."""

    def print_trade(self, side: str, ticks: int, qty: int) -> None:
        """A trade between two strangers that moved no quantity of the book."""


class Market(Protocol):
    """A source of anonymous liquidity, trades and the index price."""

    @property
    def first_ticks(self) -> int:
        """Where the price starts when the exchange remembers none."""

    @property
    def index_cents(self) -> int:
        """The index price at present."""

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        """Set up the book round `floor.last_ticks`; called once."""

    def next_deadline(self) -> int | None: ...

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        """Do what is due at `at_ns`, which is the last deadline that was given."""


class Still:
    """A market in which nothing moves by itself: an empty book and a fixed index."""

    def __init__(self, first_ticks: int = 600_000, index_cents: int = 6_000_000) -> None:
        self.first_ticks = first_ticks
        self.index_cents = index_cents

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        """Nothing to set up."""

    def next_deadline(self) -> int | None:
        return None

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        """Nothing is ever due."""
