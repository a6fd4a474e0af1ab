"""Values that the tests of the core are made of: an instrument, orders, words of the venue."""

from decimal import Decimal

import msgspec

from chappie.core.orders import Order, Outstanding, RequestKind
from chappie.core.outbox import Outbox
from chappie.model.config import Config
from chappie.model.enums import InstrumentState, OrdStatus, OrdType, Side, TimeInForce
from chappie.model.instrument import Instrument
from chappie.model.orders import NewOrder
from chappie.model.records import Fill
from chappie.model.reports import OrderSaid
from chappie.model.units import SECOND_NS, At, Contracts, Minor, Ticks

WALL_NS = 1_764_000_000 * SECOND_NS
NAME = "chp-test-1-1"

INSTRUMENT = Instrument(
    symbol="XBTUSD",
    state=InstrumentState.OPEN,
    tick_size=Decimal("0.1"),
    lot_size=100,
    multiplier=-100_000_000,
    is_inverse=True,
    settl_currency="XBt",
    max_order_qty=10_000_000,
    max_price=Decimal(1_000_000),
    maker_fee=Decimal("0.0005"),
    taker_fee=Decimal("0.0005"),
)


def at(seconds: float) -> At:
    """A moment: seconds on the core's clock, and the wall time that goes with it."""
    ns = round(seconds * SECOND_NS)
    return At(ns, WALL_NS + ns)


def config(**sections: dict[str, object]) -> Config:
    """The default configuration with some keys changed, as in ``config(bot={"id": "x"})``."""
    return msgspec.convert(sections, Config)


def outbox() -> Outbox:
    return Outbox()


def asked(
    side: Side = Side.BUY,
    qty: int = 100,
    price: int | None = 600_000,
    *,
    name: str = NAME,
    reduce_only: bool = False,
) -> NewOrder:
    return NewOrder(
        cl_ord_id=name,
        symbol="XBTUSD",
        side=side,
        qty=Contracts(qty),
        ord_type=OrdType.MARKET if price is None else OrdType.LIMIT,
        price=None if price is None else Ticks(price),
        time_in_force=TimeInForce.GTC,
        post_only=False,
        reduce_only=reduce_only,
    )


def sent(order: NewOrder, *, fence_ns: int = 10 * SECOND_NS, doubt: bool = False) -> Order:
    """An order whose request is outstanding."""
    request = Outstanding(RequestKind.NEW, 1, 0, fence_ns, doubt)
    return Order(order, 1, 0, request=request)


def said(
    status: OrdStatus | None = OrdStatus.NEW,
    cum: int | None = 0,
    leaves: int | None = None,
    *,
    name: str | None = NAME,
    order_id: str = "venue-1",
    text: str | None = None,
) -> OrderSaid:
    return OrderSaid(
        order_id=order_id,
        cl_ord_id=name,
        symbol="XBTUSD",
        side=Side.BUY,
        ord_status=status,
        price=None,
        qty=None,
        leaves_qty=None if leaves is None else Contracts(leaves),
        cum_qty=None if cum is None else Contracts(cum),
        text=text,
        venue_ns=None,
    )


def fill(
    exec_id: str,
    side: Side = Side.BUY,
    qty: int = 100,
    price: int = 600_000,
    *,
    fee: int = 8,
    name: str = NAME,
    kind: str = "Trade",
) -> Fill:
    """An execution at the instrument's own value of it, signed as the venue signs it."""
    value = INSTRUMENT.value(Contracts(qty), Ticks(price))
    return Fill(
        exec_id=exec_id,
        order_id="venue-1",
        cl_ord_id=name,
        side=side,
        qty=Contracts(qty),
        price=Ticks(price),
        cost=Minor(-side.sign * value),
        fee=Minor(fee),
        venue_ns=WALL_NS,
        kind=kind,
    )
