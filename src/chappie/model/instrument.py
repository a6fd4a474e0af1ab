"""The contract as the venue describes it, and the arithmetic that its rules prescribe."""

from decimal import Decimal

import msgspec

from chappie.model.enums import InstrumentState
from chappie.model.units import Contracts, Minor, Ticks


class OffTickError(ValueError):
    """A price that is no multiple of the instrument's tick size."""


class Instrument(msgspec.Struct, frozen=True):
    """Terms of one contract, from the venue's own instrument row (control F11).

    ``multiplier`` is minor units per contract per unit of price (inverse: divided by price);
    ``max_price`` and ``max_order_qty`` are the venue's limits. Fees are fractions of value.
    """

    symbol: str
    state: InstrumentState
    tick_size: Decimal
    lot_size: int
    multiplier: int
    is_inverse: bool
    settl_currency: str
    max_order_qty: int
    max_price: Decimal
    maker_fee: Decimal
    taker_fee: Decimal

    def ticks(self, price: float | Decimal) -> Ticks:
        """A wire price in ticks; raises `OffTickError` when it lies between two ticks."""
        # str() of a float is the shortest decimal that reads back as it: what the wire said.
        steps = Decimal(str(price)) / self.tick_size
        whole = int(steps)
        if steps != whole:
            raise OffTickError(f"{self.symbol}: price {price} is no multiple of {self.tick_size}")
        return Ticks(whole)

    def price(self, ticks: int) -> Decimal:
        """A price in ticks as the exact decimal that goes on the wire."""
        return (ticks * self.tick_size).normalize()

    def value(self, qty: Contracts, ticks: Ticks) -> Minor:
        """Unsigned value of `qty` contracts at a price, in minor units.

        XBTUSD rounds per lot (protocol section 7: the only rule that matches every captured
        trade), so a fill's value does not depend on how it was split into lots.
        """
        price = ticks * self.tick_size
        lots, odd = divmod(abs(qty), self.lot_size)
        size = abs(self.multiplier)
        if self.is_inverse:
            per_lot = _round_half_up(self.lot_size * size / price)
            rest = _round_half_up(odd * size / price)
        else:
            per_lot = _round_half_up(self.lot_size * size * price)
            rest = _round_half_up(odd * size * price)
        return Minor(per_lot * lots + rest)


def _round_half_up(value: Decimal) -> int:
    return int(value + Decimal("0.5"))
