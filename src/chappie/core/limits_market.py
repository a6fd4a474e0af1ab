"""Whether the market, and our place in it, are fit for new exposure (control L7).

Each gate shuts at once and opens by itself, `limits.reopen_after_s` after it last had a reason to
be shut, so that a market at the edge does not make it flap. Off with 0.
"""

from collections import deque

import msgspec

from chappie.core.market import Market
from chappie.model.config import LimitsConfig
from chappie.model.enums import Side
from chappie.model.reports import PositionSaid
from chappie.model.timestamps import iso_ns
from chappie.model.units import SECOND_NS, At, Ticks, seconds_ns

_MILLION = 1_000_000
_PPM_PER_PCT = 10_000
# The window of the move in so many parts: what is remembered of each is its range.
_PARTS = 60
# After a gap of this share of the window the market is watched anew.
_GAP_PARTS = 6


class _Part(msgspec.Struct):
    """The range of twice the mid price within one part of the window."""

    since_ns: int
    low: int
    high: int


class Move:
    """How far the mid price ranged within a window, in parts per million of its lowest."""

    def __init__(self, window_s: float) -> None:
        self._window_ns = seconds_ns(window_s)
        self._part_ns = max(1, self._window_ns // _PARTS)
        self._parts: deque[_Part] = deque()
        self._began_ns = 0
        self._last_ns: int | None = None

    def see(self, now_ns: int, bid: Ticks, ask: Ticks) -> None:
        """The touch at this moment."""
        mid = bid + ask
        if self._last_ns is None or now_ns - self._last_ns > _GAP_PARTS * self._part_ns:
            self._began_ns = now_ns
        self._last_ns = now_ns
        last = self._parts[-1] if self._parts else None
        if last is None or now_ns - last.since_ns >= self._part_ns:
            self._parts.append(_Part(now_ns, mid, mid))
        else:
            last.low, last.high = min(last.low, mid), max(last.high, mid)
        while now_ns - self._parts[0].since_ns > self._window_ns + self._part_ns:
            self._parts.popleft()

    def ppm(self) -> int:
        low = min((part.low for part in self._parts), default=0)
        high = max((part.high for part in self._parts), default=0)
        return (high - low) * _MILLION // low if low else 0

    def watched_ns(self, now_ns: int) -> int:
        """For how long, without a gap; a whole window at most."""
        if self._last_ns is None:
            return 0
        return min(self._window_ns, now_ns - self._began_ns)

    def is_whole(self, now_ns: int) -> bool:
        return self.watched_ns(now_ns) >= self._window_ns


class Health:
    """The gates on the market, by their key of the configuration."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._move = Move(config.move_window_s)
        self._reopen_ns = seconds_ns(config.reopen_after_s)
        # By gate, since when it has no reason to be shut any more, and what the reason was.
        self._shut: dict[str, tuple[int, str]] = {}
        self._funding: tuple[str, int | None] = ("", None)
        self._is_on = bool(
            config.max_spread_ticks
            or config.max_spread_pct
            or config.min_depth_qty
            or config.max_move_pct
            or config.no_opening_before_funding_s
            or config.min_liquidation_distance_pct
        )

    def judge(self, at: At, market: Market, said: PositionSaid | None) -> dict[str, str]:
        """The gates that are shut, and why; to be called at each periodic check."""
        if not self._is_on:
            return {}
        for key, words in self._reasons(at, market, said).items():
            if words is not None:
                self._shut[key] = at.now_ns, words
        for key, (last_ns, _) in list(self._shut.items()):
            if at.now_ns - last_ns >= self._reopen_ns:
                del self._shut[key]
        return {key: words for key, (_, words) in self._shut.items()}

    def _reasons(self, at: At, market: Market, said: PositionSaid | None) -> dict[str, str | None]:
        reasons: dict[str, str | None] = {}
        bid, ask = market.book.best_bid, market.book.best_ask
        # With a side empty, or the book unsynced, nothing is decided at all.
        if bid is not None and ask is not None:
            reasons["max_spread_ticks"], reasons["max_spread_pct"] = self._spread(bid, ask)
            reasons["min_depth_qty"] = self._depth(market)
            reasons["max_move_pct"] = self._moved(at, bid, ask)
        reasons["no_opening_before_funding_s"] = self._before_funding(at, market)
        reasons["min_liquidation_distance_pct"] = self._near_liquidation(market, said)
        return reasons

    def _spread(self, bid: Ticks, ask: Ticks) -> tuple[str | None, str | None]:
        c, wide = self._config, ask - bid
        ticks = f"{wide} ticks wide" if c.max_spread_ticks and wide > c.max_spread_ticks else None
        most_ppm = round(c.max_spread_pct * _PPM_PER_PCT)
        ppm = 2 * wide * _MILLION // (bid + ask)
        # Exact, while what is shown is cut.
        beyond = 2 * wide * _MILLION > most_ppm * (bid + ask)
        return ticks, f"{ppm / _PPM_PER_PCT:g} % wide" if most_ppm and beyond else None

    def _depth(self, market: Market) -> str | None:
        least = self._config.min_depth_qty
        if not least:
            return None
        for side, name in ((Side.BUY, "bid"), (Side.SELL, "ask")):
            levels = market.book.levels(side, self._config.depth_levels)
            depth = sum(size for _, size in levels)
            if depth < least:
                return f"{depth} contracts on the best {len(levels)} {name} levels"
        return None

    def _moved(self, at: At, bid: Ticks, ask: Ticks) -> str | None:
        c = self._config
        if not c.max_move_pct:
            return None
        self._move.see(at.now_ns, bid, ask)
        ppm = self._move.ppm()
        if ppm > round(c.max_move_pct * _PPM_PER_PCT):
            return f"the mid price ranged over {ppm / _PPM_PER_PCT:g} % in {c.move_window_s:g} s"
        if not self._move.is_whole(at.now_ns):
            # What happened before a start, or in a gap, nobody here saw.
            watched_s = self._move.watched_ns(at.now_ns) // SECOND_NS
            return f"watched for {watched_s} of {c.move_window_s:g} s"
        return None

    def _before_funding(self, at: At, market: Market) -> str | None:
        before_s = self._config.no_opening_before_funding_s
        stamp = None if market.seen is None else market.seen.funding_stamp
        if not before_s or stamp is None:
            return None
        if stamp != self._funding[0]:
            self._funding = stamp, iso_ns(stamp)
        due_ns = self._funding[1]
        if due_ns is None or not 0 <= due_ns - at.wall_ns <= seconds_ns(before_s):
            return None
        return f"funding is due at {stamp}"

    def _near_liquidation(self, market: Market, said: PositionSaid | None) -> str | None:
        least_pct = self._config.min_liquidation_distance_pct
        if not least_pct or said is None or not said.qty or said.liquidation_price is None:
            return None
        mark = None if market.seen is None else market.seen.mark_price
        if mark is None or mark <= 0:
            return "a position is held, and the mark is not known"
        sign = 1 if said.qty > 0 else -1
        away_pct = sign * (mark - said.liquidation_price) / mark * 100
        return None if away_pct >= least_pct else f"{away_pct:.2f} % from liquidation"
