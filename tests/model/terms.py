"""Instruments of several shapes, for tests of the arithmetic."""

from decimal import Decimal

from chappie.model.enums import InstrumentState
from chappie.model.instrument import Instrument

TICK_SIZES = ("0.1", "0.5", "0.01", "0.05", "0.00000001")


def terms(
    tick_size: str = "0.5",
    *,
    lot_size: int = 100,
    multiplier: int = -100_000_000,
    is_inverse: bool = True,
) -> Instrument:
    return Instrument(
        symbol="XBTUSD",
        state=InstrumentState.OPEN,
        tick_size=Decimal(tick_size),
        lot_size=lot_size,
        multiplier=multiplier,
        is_inverse=is_inverse,
        settl_currency="XBt",
        max_order_qty=10_000_000,
        max_price=Decimal(1_000_000),
        maker_fee=Decimal("-0.0001"),
        taker_fee=Decimal("0.0005"),
    )
