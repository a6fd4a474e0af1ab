"""Public market data: trades, quotes, bins and the moving columns of the instrument rows."""

from collections import deque
from collections.abc import Iterable

import msgspec

from chappie.simvenue.changes import Change, Row
from chappie.simvenue.contract import (
    PPM,
    SATOSHI,
    Contract,
    index_columns,
    price_of_value,
    static_columns,
)
from chappie.simvenue.funding import Funding
from chappie.simvenue.ids import NO_ID
from chappie.simvenue.rows import Match, compact, trade_row
from chappie.simvenue.stamps import DAY_NS, MINUTE_NS, stamp

TRADES_MAX = 5_000
QUOTES_MAX = 5_000
FUNDINGS_MAX = 1_000
#: One-minute bins kept: seven days.
BINS_MAX = 7 * 24 * 60
#: What the rest of the world holds, so that open interest has a realistic size.
_OPEN_INTEREST_BASE_QTY = 411_000_000

Top = tuple[int | None, int, int | None, int]


class Bin(msgspec.Struct):
    """One minute of trading, prices in ticks; bins without a trade carry the last close."""

    end_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    trades: int = 0
    volume: int = 0
    turnover: int = 0
    last_qty: int = 0

    def add(self, ticks: int, qty: int, value: int) -> None:
        self.high_ticks = max(self.high_ticks, ticks) if self.trades else ticks
        self.low_ticks = min(self.low_ticks, ticks) if self.trades else ticks
        self.close_ticks = ticks
        self.trades += 1
        self.volume += qty
        self.turnover += value
        self.last_qty = qty


def _bin_end(at_ns: int, bin_ns: int) -> int:
    return (at_ns // bin_ns + 1) * bin_ns


class Ticker:
    """Owner of the public histories of one contract and its index."""

    def __init__(self, at_ns: int, contract: Contract, last_ticks: int) -> None:
        self._contract = contract
        self._static = static_columns(contract)
        self._index_static = index_columns(contract)
        self.state = "Open"
        self.last_ticks = last_ticks
        self._direction = "ZeroPlusTick"
        self.trades: deque[Row] = deque(maxlen=TRADES_MAX)
        self.index_trades: deque[Row] = deque(maxlen=TRADES_MAX)
        self.quotes: deque[Row] = deque(maxlen=QUOTES_MAX)
        self.fundings: deque[Row] = deque(maxlen=FUNDINGS_MAX)
        self._bins: deque[Bin] = deque(maxlen=BINS_MAX)
        self._bins.append(self._fresh_bin(at_ns))
        self._total_volume = 0
        self._total_turnover = 0
        self._day_volume = 0
        self._day_turnover = 0
        self._told_top: Top = (None, 0, None, 0)
        self._told_instrument: Row = {}
        self._told_index: Row = {}

    def _fresh_bin(self, at_ns: int) -> Bin:
        last = self.last_ticks
        return Bin(_bin_end(at_ns, MINUTE_NS), last, last, last, last)

    # --- trades and quotes -----------------------------------------------------------------

    def record(self, at_ns: int, matches: Iterable[Match]) -> list[Row]:
        """Book the matches of one event; returns their public rows."""
        rows: list[Row] = []
        self.roll(at_ns)
        for match in matches:
            if match.ticks != self.last_ticks:
                self._direction = "PlusTick" if match.ticks > self.last_ticks else "MinusTick"
            elif not self._direction.startswith("Zero"):
                self._direction = "Zero" + self._direction
            self.last_ticks = match.ticks
            value = self._contract.value(self._contract.cents(match.ticks), match.qty)
            self._bins[-1].add(match.ticks, match.qty, value)
            self._total_volume += match.qty
            self._total_turnover += value
            self._day_volume += match.qty
            self._day_turnover += value
            rows.append(trade_row(match, self._contract, at_ns, self._direction))
        self.trades.extend(rows)
        return rows

    def roll(self, at_ns: int) -> None:
        """Close minutes that have passed; a minute without trades is a bin as well."""
        while self._bins[-1].end_ns <= at_ns:
            end_ns = self._bins[-1].end_ns
            if at_ns - end_ns > BINS_MAX * MINUTE_NS:
                # After so long a sleep nothing of the old week would remain.
                self._bins.clear()
                self._bins.append(self._fresh_bin(at_ns))
                break
            self._bins.append(self._fresh_bin(end_ns))
            day = end_ns + MINUTE_NS - DAY_NS
            kept = [entry for entry in self._bins if entry.end_ns > day]
            self._day_volume = sum(entry.volume for entry in kept)
            self._day_turnover = sum(entry.turnover for entry in kept)

    def quote(self, at_ns: int, top: Top) -> Row | None:
        """The quote row when the top of the book changed."""
        if top == self._told_top:
            return None
        self._told_top = top
        bid, bid_size, ask, ask_size = top
        row = compact(
            {
                "timestamp": stamp(at_ns),
                "symbol": self._contract.symbol,
                "bidSize": bid_size if bid is not None else None,
                "bidPrice": None if bid is None else self._contract.price(bid),
                "askPrice": None if ask is None else self._contract.price(ask),
                "askSize": ask_size if ask is not None else None,
            }
        )
        self.quotes.append(row)
        return row

    def index_print(self, at_ns: int, index_cents: int) -> Row:
        """Index symbols post a trade of size 0 every minute (protocol section 5)."""
        row: Row = {
            "timestamp": stamp(at_ns),
            "symbol": self._contract.index_symbol,
            "side": "Buy",
            "size": 0,
            "price": index_cents / 100,
            "tickDirection": "PlusTick",
            "trdMatchID": NO_ID,
            "grossValue": 0,
            "homeNotional": 0.0,
            "foreignNotional": 0.0,
            "trdType": "Referential",
        }
        self.index_trades.append(row)
        return row

    def funding(self, at_ns: int, rate_ppm: int) -> Row:
        row: Row = {
            "timestamp": stamp(at_ns),
            "symbol": self._contract.symbol,
            "fundingInterval": "2000-01-01T08:00:00.000Z",
            "fundingRate": rate_ppm / PPM,
            "fundingRateDaily": 3 * rate_ppm / PPM,
        }
        self.fundings.append(row)
        return row

    # --- instrument ------------------------------------------------------------------------

    def instrument_row(self, at_ns: int, funding: Funding, top: Top, long_qty: int) -> Row:
        contract = self._contract
        bid, _, ask, _ = top
        mid_cents = None if bid is None or ask is None else contract.cents(bid + ask) // 2
        day = [entry for entry in self._bins if entry.trades][-24 * 60 :]
        first = self._bins[0].open_ticks
        last = self.last_ticks
        interest = _OPEN_INTEREST_BASE_QTY + long_qty
        row = dict(self._static)
        row.update(
            {
                "state": self.state,
                "fundingTimestamp": stamp(funding.due_ns),
                "fundingRate": funding.rate_ppm / PPM,
                "indicativeFundingRate": funding.indicative_ppm / PPM,
                "prevTotalVolume": 0,
                "totalVolume": self._total_volume,
                "volume": self._total_volume,
                "volume24h": self._day_volume,
                "prevTotalTurnover": 0,
                "totalTurnover": self._total_turnover,
                "turnover": self._total_turnover,
                "turnover24h": self._day_turnover,
                "homeNotional24h": self._day_turnover / SATOSHI,
                "foreignNotional24h": float(self._day_volume),
                "prevPrice24h": contract.price(first),
                "vwap": price_of_value(self._day_turnover, self._day_volume),
                "highPrice": contract.price(max((b.high_ticks for b in day), default=last)),
                "lowPrice": contract.price(min((b.low_ticks for b in day), default=last)),
                "lastPrice": contract.price(last),
                "lastPriceProtected": contract.price(last),
                "lastTickDirection": self._direction,
                "lastChangePcnt": round((last - first) / first, 4),
                "bidPrice": None if bid is None else contract.price(bid),
                "midPrice": None if mid_cents is None else mid_cents / 100,
                "askPrice": None if ask is None else contract.price(ask),
                "impactBidPrice": None if bid is None else contract.price(bid),
                "impactMidPrice": None if mid_cents is None else mid_cents / 100,
                "impactAskPrice": None if ask is None else contract.price(ask),
                "hasLiquidity": bid is not None and ask is not None,
                "openInterest": interest,
                "openValue": contract.value(funding.mark_cents, interest),
                "fairBasisRate": 3 * 365 * funding.rate_ppm / PPM,
                "fairBasis": funding.basis_cents / 100,
                "fairPrice": funding.mark_cents / 100,
                "markPrice": funding.mark_cents / 100,
                "indicativeSettlePrice": funding.index_cents / 100,
                "timestamp": stamp(at_ns),
            }
        )
        return compact(row)

    def index_row(self, at_ns: int, index_cents: int) -> Row:
        row = dict(self._index_static)
        row["lastPrice"] = index_cents / 100
        row["markPrice"] = index_cents / 100
        row["timestamp"] = stamp(at_ns)
        return compact(row)

    def instrument_changes(
        self, at_ns: int, funding: Funding, top: Top, long_qty: int
    ) -> list[Change]:
        """Updates of both instrument rows since they were last told."""
        changes: list[Change] = []
        now = self.instrument_row(at_ns, funding, top, long_qty)
        index = self.index_row(at_ns, funding.index_cents)
        for before, after in ((self._told_instrument, now), (self._told_index, index)):
            row = _moved(before, after)
            if row is not None:
                changes.append(Change("instrument", "update", [row], str(after["symbol"])))
        self._told_instrument, self._told_index = now, index
        return changes

    # --- bins ------------------------------------------------------------------------------

    def bins(self, bin_ns: int) -> list[Row]:
        """Bins of a whole number of minutes, the unfinished one last; stamped with their END."""
        merged: list[Bin] = []
        for minute in self._bins:
            end_ns = _bin_end(minute.end_ns - 1, bin_ns)
            if not merged or merged[-1].end_ns != end_ns:
                opened = minute.open_ticks
                merged.append(Bin(end_ns, opened, opened, opened, opened))
            whole = merged[-1]
            if not minute.trades:
                continue
            if whole.trades:
                whole.high_ticks = max(whole.high_ticks, minute.high_ticks)
                whole.low_ticks = min(whole.low_ticks, minute.low_ticks)
            else:
                whole.high_ticks, whole.low_ticks = minute.high_ticks, minute.low_ticks
            whole.close_ticks = minute.close_ticks
            whole.trades += minute.trades
            whole.volume += minute.volume
            whole.turnover += minute.turnover
            whole.last_qty = minute.last_qty
        return [self._bin_row(entry) for entry in merged]

    def _bin_row(self, entry: Bin) -> Row:
        price = self._contract.price
        return compact(
            {
                "timestamp": stamp(entry.end_ns),
                "symbol": self._contract.symbol,
                "open": price(entry.open_ticks),
                "high": price(entry.high_ticks),
                "low": price(entry.low_ticks),
                "close": price(entry.close_ticks),
                "trades": entry.trades,
                "volume": entry.volume,
                "vwap": price_of_value(entry.turnover, entry.volume),
                "lastSize": entry.last_qty if entry.trades else None,
                "turnover": entry.turnover,
                "homeNotional": entry.turnover / SATOSHI,
                "foreignNotional": float(entry.volume),
            }
        )


def _moved(before: Row, after: Row) -> Row | None:
    """Update row of an instrument: symbol, changed columns, timestamp; None at the first look."""
    if not before:
        return None
    changed: Row = {name: value for name, value in after.items() if before.get(name) != value}
    changed.update({name: None for name in before if name not in after})
    changed.pop("timestamp", None)
    if not changed:
        return None
    return {"symbol": after["symbol"], **changed, "timestamp": after["timestamp"]}
