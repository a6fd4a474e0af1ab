"""The tape: a market that replays a recorded capture, against which clients' orders match.

Levels of the tape are anonymous liquidity, its trades anonymous aggressors. A trade eats the
queue from the front and the tape's level is then restored behind what is left, so a client's
order is filled once the size that was ahead of it has traded, and the outside sees the
recorded sizes. A CSV of trades has no book: one is made up round each print.
"""

import random
from pathlib import Path

from chappie.simvenue.contract import Contract
from chappie.simvenue.market import MarketFloor
from chappie.simvenue.orders import crosses, opposite
from chappie.simvenue.stamps import SECOND_NS
from chappie.simvenue.tapefile import ImageStep, Step, TapeError, TradeStep, read_tape

#: The pause between the end of a looping tape and its next start.
_LOOP_PAUSE_NS = SECOND_NS
#: Levels of a made-up book, and how thick they are.
_MADE_LEVELS = 60
_MADE_MU = 9.5
_MADE_SIGMA = 1.0


class Tape:
    """A `Market`. Prices of the tape must lie on the contract's ticks.

    `speed` 2 plays twice as fast. Sizes are rounded up to whole lots, for tapes of the time when
    the lot was one contract.
    """

    def __init__(
        self,
        at_ns: int,
        path: Path,
        *,
        contract: Contract | None = None,
        symbol: str | None = None,
        speed: float = 1.0,
        loop: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 < speed <= 1_000_000:
            raise ValueError(f"a tape's speed is above 0 and at most 1000000, not {speed}")
        self._contract = contract or Contract()
        self._steps = read_tape(path, symbol or self._contract.symbol)
        self._check_ticks(path)
        self._speed = speed
        self._loop = loop
        self._random = random.Random(f"tape:{seed}")
        self._place = 0
        self._began_ns = at_ns
        #: Anonymous sizes as the tape has them, by side and ticks.
        self._sizes: dict[tuple[str, int], int] = {}
        self._made_up = not any(isinstance(step, ImageStep) for step in self._steps)
        self.ended = False
        first = self._first_price()
        self.first_ticks = first // self._contract.tick_cents
        self._index_cents = first

    def _check_ticks(self, path: Path) -> None:
        tick = self._contract.tick_cents
        for step in self._steps:
            levels = step.levels if isinstance(step, ImageStep) else [("", step.cents, 0)]
            for _, cents, _ in levels:
                if cents % tick:
                    raise TapeError(
                        path, None, f"the price {cents / 100} is not on a tick of {tick / 100}"
                    )

    def _first_price(self) -> int:
        """The first trade's price, or the middle of the first image."""
        for step in self._steps:
            if isinstance(step, TradeStep):
                return step.cents
            if isinstance(step, ImageStep):
                bids = [cents for side, cents, _ in step.levels if side == "Buy"]
                asks = [cents for side, cents, _ in step.levels if side == "Sell"]
                if bids and asks:
                    tick = self._contract.tick_cents
                    return (max(bids) + min(asks)) // 2 // tick * tick
        step = self._steps[0]
        return step.levels[0][1] if isinstance(step, ImageStep) else step.cents

    @property
    def index_cents(self) -> int:
        """Recordings hold no index; the middle of the book stands in for it."""
        return self._index_cents

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        """Show the first image at once, so that the venue opens with a book."""
        if self._made_up:
            self._make_book(self.first_ticks, self.first_ticks + 1, floor)
        elif isinstance(self._steps[0], ImageStep):
            self._play(self._steps[0], floor)
            self._place = 1
        self._follow_middle(floor)

    def next_deadline(self) -> int | None:
        if self._place >= len(self._steps):
            return None
        return self._due_ns(self._steps[self._place])

    def _due_ns(self, step: Step) -> int:
        since = step.at_ns - self._steps[0].at_ns
        # A tape whose own clock steps back plays the late line at once.
        return self._began_ns + int(max(0, since) / self._speed)

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        """Play every step that carries this instant: one message of the recording."""
        stamped = self._steps[self._place].at_ns
        while self._place < len(self._steps) and self._steps[self._place].at_ns == stamped:
            self._play(self._steps[self._place], floor)
            self._place += 1
        self._follow_middle(floor)
        if self._place < len(self._steps):
            return
        if self._loop:
            self._place = 0
            self._began_ns = at_ns + _LOOP_PAUSE_NS
        else:
            self.ended = True

    def _follow_middle(self, floor: MarketFloor) -> None:
        bid, ask = floor.book.best("Buy"), floor.book.best("Sell")
        if bid is not None and ask is not None:
            self._index_cents = (bid + ask) * self._contract.tick_cents // 2

    def _play(self, step: Step, floor: MarketFloor) -> None:
        tick = self._contract.tick_cents
        if isinstance(step, ImageStep):
            self._replace(step, floor)
        elif isinstance(step, TradeStep):
            self._trade(step.side, step.cents // tick, self._lots(step.size), floor)
        else:
            self._set(step.side, step.cents // tick, self._lots(step.size), floor)

    def _lots(self, size: int) -> int:
        lot = self._contract.lot_qty
        return -(-size // lot) * lot

    def _set(self, side: str, ticks: int, size: int, floor: MarketFloor) -> None:
        if size:
            self._sizes[side, ticks] = size
        else:
            self._sizes.pop((side, ticks), None)
        floor.set_level(side, ticks, size)

    def _replace(self, step: ImageStep, floor: MarketFloor) -> None:
        tick = self._contract.tick_cents
        wanted = {(side, cents // tick): self._lots(size) for side, cents, size in step.levels}
        for side, ticks in list(self._sizes):
            if (side, ticks) not in wanted:
                self._set(side, ticks, 0, floor)
        for (side, ticks), size in wanted.items():
            self._set(side, ticks, size, floor)

    # --- trades ----------------------------------------------------------------------------

    def _trade(self, side: str, ticks: int, size: int, floor: MarketFloor) -> None:
        """One recorded trade: what it meets trades with it, the rest prints among strangers."""
        if self._made_up:
            bid = ticks - 1 if side == "Buy" else ticks
            self._make_book(bid, bid + 1, floor)
        other = opposite(side)
        met = self._within(other, side, ticks, floor)
        done = 0
        if any(floor.book.size(other, p) > floor.book.anonymous(other, p) for p in met):
            done = floor.strike(side, ticks, size)
        if done < size:
            floor.print_trade(side, ticks, size - done)
        for level in met:
            # The recording's own level changes tell what this trade took from it.
            floor.set_level(other, level, self._sizes.get((other, level), 0))

    def _within(self, other: str, side: str, ticks: int, floor: MarketFloor) -> list[int]:
        """Prices of the other side that a trade at this price can touch, best first."""
        prices = floor.book.prices(other)
        found: list[int] = []
        for price in prices if other == "Sell" else reversed(prices):
            if not crosses(side, ticks, price):
                break
            found.append(price)
        return found

    def _make_book(self, bid: int, ask: int, floor: MarketFloor) -> None:
        """Move a made-up book so that these two prices are its touch."""
        stale = [
            (side, ticks)
            for side, ticks in self._sizes
            if ((ticks > bid or ticks <= bid - 3 * _MADE_LEVELS) and side == "Buy")
            or ((ticks < ask or ticks >= ask + 3 * _MADE_LEVELS) and side == "Sell")
        ]
        for side, ticks in stale:
            self._set(side, ticks, 0, floor)
        for distance in range(_MADE_LEVELS):
            for side, ticks in (("Buy", bid - distance), ("Sell", ask + distance)):
                if (side, ticks) not in self._sizes and ticks > 0:
                    drawn = self._random.lognormvariate(_MADE_MU, _MADE_SIGMA)
                    self._set(side, ticks, self._lots(max(1, int(drawn))), floor)
