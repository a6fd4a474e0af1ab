"""The market as the streams show it: book, quote, instrument; and the policy's view of it."""

from chappie.core.account import Account
from chappie.model.book import Book
from chappie.model.enums import Side
from chappie.model.instrument import Instrument
from chappie.model.reports import InstrumentSeen, QuoteSeen, TradeSeen
from chappie.model.units import SECOND_NS, At, Ticks
from chappie.model.view import Level, View

_VIEW_LEVELS = 10
_PRICE_MAX = 1e12  # beyond any market, and what follows from it is still a number


class Market:
    """What was last seen of the one instrument that we trade."""

    def __init__(self) -> None:
        self.seen: InstrumentSeen | None = None
        self.book = Book()
        self.quote: QuoteSeen | None = None
        # Our wall time when it was handled.
        self.quote_wall_ns = 0
        self.trade: TradeSeen | None = None

    @property
    def instrument(self) -> Instrument | None:
        return None if self.seen is None else self.seen.instrument

    @property
    def mark(self) -> Ticks | None:
        """The mark price in whole ticks: the venue's float between two of them."""
        seen = self.seen
        if seen is None or seen.mark_price is None or not 0 < seen.mark_price < _PRICE_MAX:
            return None
        return Ticks(round(seen.mark_price / float(seen.instrument.tick_size)))

    def agrees(self) -> bool:
        """Whether the top of the book shows the prices of the quote."""
        quote, book = self.quote, self.book
        return quote is not None and quote.bid == book.best_bid and quote.ask == book.best_ask

    def disagreement(self) -> str:
        """Both tops in words."""
        quote, book = self.quote, self.book
        shown = "no quote" if quote is None else f"quote {quote.bid}/{quote.ask}"
        return f"book {book.best_bid}/{book.best_ask} against {shown} (ticks)"

    def levels(self, side: Side, count: int) -> list[tuple[float, int]]:
        """Up to ``count`` levels in quote currency and contracts, the best first."""
        instrument = self.instrument
        if instrument is None:
            return []
        return [(float(instrument.price(t)), size) for t, size in self.book.levels(side, count)]

    def price(self, ticks: Ticks | None) -> float | None:
        """A price for people."""
        if ticks is None or self.instrument is None:
            return None
        return float(self.instrument.price(ticks))

    def view(self, at: At, account: Account, max_position: int) -> View:
        """What the policy is shown."""
        seen = self.seen
        assert seen is not None, "no decision before the instrument is known"
        unrealised = None
        if account.said is not None and account.said.unrealised is not None:
            unrealised = float(account.said.unrealised)
        return View(
            at=at.wall_ns / SECOND_NS,
            symbol=seen.instrument.symbol,
            bids=tuple(Level(p, s) for p, s in self.levels(Side.BUY, _VIEW_LEVELS)),
            asks=tuple(Level(p, s) for p, s in self.levels(Side.SELL, _VIEW_LEVELS)),
            last_price=self.price(self.trade.price) if self.trade else seen.last_price,
            mark_price=seen.mark_price,
            index_price=seen.index_price,
            funding_rate=seen.funding_rate,
            position=account.expected_qty,
            avg_entry_price=account.ledger.average_entry(seen.instrument),
            unrealised=unrealised,
            max_position=max_position,
            lot_size=seen.instrument.lot_size,
        )
