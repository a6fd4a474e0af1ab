"""The crowd: a seeded synthetic order flow of anonymous makers and takers.

A reference price wanders; makers keep levels round it, takers hit the touch, and whatever the
reference leaves behind is taken or withdrawn. Everything is decided by one seeded generator, so
a seed and the acts of the clients decide the whole market. The numbers are chosen to look like
XBTUSD: a spread of mostly one to a few ticks, a few hundred levels a side, sizes that are
log-normal in lots, calm minutes and short bursts.
"""

import math
import random

from chappie.simvenue.contract import Contract
from chappie.simvenue.market import MarketFloor
from chappie.simvenue.orders import opposite
from chappie.simvenue.stamps import SECOND_NS

#: Events a second; an event changes one to a few levels, one in twelve or so also trades.
DEFAULT_RATE = 25.0
RATE_MIN = 0.1
RATE_MAX = 2_000.0

_LEVELS_WANTED = 260
_EXTEND_MAX = 12
#: Levels further from the reference than this are withdrawn now and then.
_FAR_TICKS = 600
_TIDY_EVERY = 50
#: The reference steps in this share of the events, by this standard deviation in ticks.
_STEP_CHANCE = 0.3
_STEP_TICKS = 1.5
_BURST_STEP_CHANCE = 0.8
_BURST_STEP = 2.0
_BURST_CHANCE = 0.0008
_BURST_EVENTS_MEAN = 120
#: The reference is pulled towards the book when clients' orders hold the book elsewhere.
_PULL_TICKS = 12.0
_PULL = 0.15
_STRIKE_STALE_CHANCE = 0.15
_TRADE_CHANCE = 0.085
_NEAR_CHANCE = 0.7
#: No single taker is larger than this, so that a wall of a client is eaten and not jumped.
_TAKER_MAX_QTY = 200_000


class Crowd:
    """A `Market`. `rate` is events a second of virtual time."""

    def __init__(
        self,
        at_ns: int,
        *,
        seed: int,
        rate: float = DEFAULT_RATE,
        contract: Contract | None = None,
        start_price: float = 60_000.0,
    ) -> None:
        if not RATE_MIN <= rate <= RATE_MAX:
            raise ValueError(f"a crowd's rate is {RATE_MIN:g} to {RATE_MAX:g} a second, not {rate}")
        contract = contract or Contract()
        self._rate = rate
        self._random = random.Random(f"crowd:{seed}")
        self._tick_cents = contract.tick_cents
        self._lot_qty = contract.lot_qty
        self.first_ticks = round(start_price * 100) // contract.tick_cents
        self._reference = float(self.first_ticks)
        self._basis = 0.0
        self._burst_left = 0
        self._mood = 0.0
        self._events = 0
        self._due_ns = at_ns + self._wait_ns()

    @property
    def index_cents(self) -> int:
        """The index follows the reference with a small, slow difference."""
        return max(1, round((self._reference + self._basis) * self._tick_cents))

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        """Build the book: a dense middle and an ever thinner far end."""
        self._reference = float(floor.last_ticks)
        bid = math.floor(self._reference)
        for distance in range(_LEVELS_WANTED + 60):
            # Beyond the first fifty ticks some prices stay empty, as in a real book.
            if distance > 50 and self._random.random() < 0.2:
                continue
            floor.set_level("Buy", bid - distance, self._depth(distance))
            floor.set_level("Sell", bid + 1 + distance, self._depth(distance))

    def next_deadline(self) -> int:
        return self._due_ns

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        """One event of the flow."""
        self._due_ns = at_ns + self._wait_ns()
        self._events += 1
        self._wander(floor)
        bid = math.floor(self._reference)
        if self._follow("Buy", bid, floor) or self._follow("Sell", bid + 1, floor):
            return
        draw = self._random.random()
        if draw < _TRADE_CHANCE:
            self._take(floor)
        elif draw < _TRADE_CHANCE + _NEAR_CHANCE:
            self._make(floor, self._near_distance(), withdraw=0.3)
        else:
            self._make(floor, self._random.randrange(12, _LEVELS_WANTED + 60), withdraw=0.15)
        if self._events % _TIDY_EVERY == 0:
            self._tidy(floor)

    def _wait_ns(self) -> int:
        return max(1, int(self._random.expovariate(self._rate) * SECOND_NS))

    def _wander(self, floor: MarketFloor) -> None:
        """Move the reference: calm steps, bursts, and a pull towards where the book is."""
        rng = self._random
        if self._burst_left:
            self._burst_left -= 1
        elif rng.random() < _BURST_CHANCE:
            self._burst_left = 1 + int(rng.expovariate(1 / _BURST_EVENTS_MEAN))
            self._mood = rng.uniform(-0.6, 0.6)
        if self._burst_left:
            if rng.random() < _BURST_STEP_CHANCE:
                self._reference += rng.gauss(self._mood, _STEP_TICKS * _BURST_STEP)
        elif rng.random() < _STEP_CHANCE:
            self._reference += rng.gauss(0.0, _STEP_TICKS)
        self._basis += rng.gauss(0.0, 0.3) - 0.001 * self._basis
        bid, ask = floor.book.best("Buy"), floor.book.best("Sell")
        if bid is not None and ask is not None:
            away = (bid + ask) / 2 - self._reference
            if abs(away) > _PULL_TICKS:
                self._reference += _PULL * away
        self._reference = max(self._reference, float(_FAR_TICKS + _LEVELS_WANTED))

    def _follow(self, side: str, touch: int, floor: MarketFloor) -> bool:
        """Bring one side of the book along with the reference; true when that was the event.

        What the other side still offers at a price that this side now bids is stale: it is
        taken, or, where only strangers stand, sometimes withdrawn.
        """
        other = opposite(side)
        best = floor.book.best(other)
        stale = best is not None and (best <= touch if side == "Buy" else best >= touch)
        if best is not None and stale:
            standing = floor.book.size(other, best)
            clients = standing > floor.book.anonymous(other, best)
            if clients or self._random.random() < _STRIKE_STALE_CHANCE:
                floor.strike(side, best, min(standing, self._taker_max()))
            else:
                floor.set_level(other, best, 0)
            return True
        own = floor.book.best(side)
        gap = touch - own if own is not None and side == "Buy" else 0
        if own is not None and side == "Sell":
            gap = own - touch
        if own is None or gap > 0:
            if self._random.random() < 0.25:
                return False
            # A wide gap is closed from where the side stands, in steps, as makers do.
            inner = self._random.randrange(min(gap, 3)) if gap > 1 else 0
            price = touch - inner if side == "Buy" else touch + inner
            floor.set_level(side, price, self._depth(inner))
            return True
        return False

    def _make(self, floor: MarketFloor, distance: int, *, withdraw: float) -> None:
        """One maker changes one level at a distance from the reference."""
        side = "Buy" if self._random.random() < 0.5 else "Sell"
        bid = math.floor(self._reference)
        ticks = bid - distance if side == "Buy" else bid + 1 + distance
        present = floor.book.anonymous(side, ticks)
        if floor.book.level_count(side) < _LEVELS_WANTED:
            self._extend(side, floor)
        elif present and self._random.random() < withdraw:
            floor.set_level(side, ticks, 0)
            return
        size = self._depth(distance)
        if present:
            # Mostly an order is added or leaves; seldom is a level made anew.
            change = self._lots(7.0, 1.0)
            size = present + change if self._random.random() < 0.5 else present - change
        floor.set_level(side, ticks, max(size, self._lot_qty))

    def _extend(self, side: str, floor: MarketFloor) -> None:
        """Lengthen a side that the wandering reference has eaten up, at its far end."""
        prices = floor.book.prices(side)
        bid = math.floor(self._reference)
        end = bid if side == "Buy" else bid + 1
        if prices:
            end = prices[0] if side == "Buy" else prices[-1]
        missing = _LEVELS_WANTED - floor.book.level_count(side)
        for step in range(1, 1 + min(missing, _EXTEND_MAX)):
            ticks = end - step if side == "Buy" else end + step
            floor.set_level(side, ticks, self._depth(abs(ticks - bid)))

    def _take(self, floor: MarketFloor) -> None:
        """A taker: mostly small, sometimes the whole touch and more."""
        rng = self._random
        side = (
            "Buy" if rng.random() < 0.5 + 0.3 * (self._mood if self._burst_left else 0) else "Sell"
        )
        other = opposite(side)
        best = floor.book.best(other)
        if best is None:
            return
        touch = floor.book.size(other, best)
        qty = self._lots(7.3, 1.3)
        if rng.random() < 0.55:
            qty = max(qty, int(touch * rng.uniform(0.4, 1.6)))
        reach = 4 if side == "Buy" else -4
        floor.strike(side, best + reach, self._whole(min(qty, self._taker_max())))

    def _tidy(self, floor: MarketFloor) -> None:
        """Withdraw a few anonymous levels that the reference has left far behind."""
        lowest, highest = floor.book.prices("Buy")[:3], floor.book.prices("Sell")[-3:]
        for ticks in lowest:
            if self._reference - ticks > _FAR_TICKS:
                floor.set_level("Buy", ticks, 0)
        for ticks in highest:
            if ticks - self._reference > _FAR_TICKS:
                floor.set_level("Sell", ticks, 0)

    def _near_distance(self) -> int:
        """Makers crowd near the touch: geometric with a mean of about five ticks."""
        return int(self._random.expovariate(0.2))

    def _depth(self, distance: int) -> int:
        """A level's size: thin at the touch, thickest some way off, then thinner again."""
        hump = 8.3 + 1.6 * math.exp(-(((distance - 40) / 45) ** 2))
        return self._lots(hump if distance > 2 else 8.0, 0.9)

    def _lots(self, mu: float, sigma: float) -> int:
        return self._whole(int(self._random.lognormvariate(mu, sigma)))

    def _whole(self, qty: int) -> int:
        return max(self._lot_qty, qty // self._lot_qty * self._lot_qty)

    def _taker_max(self) -> int:
        return self._whole(_TAKER_MAX_QTY)
