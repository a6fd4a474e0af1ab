import msgspec
import pytest

from chappie.core.blotter import Blotter
from chappie.core.fates import Fate, fate
from chappie.core.orders import Order, Outstanding, RequestKind, absent, refused, told, vanished
from chappie.model.enums import OrdStatus, OrdType, Side, TimeInForce
from chappie.model.orders import NewOrder
from chappie.model.reports import OrderSaid
from chappie.model.units import Contracts, Ticks

FENCE_NS = 10
ASKED = NewOrder(
    cl_ord_id="chp-a-1-1",
    symbol="XBTUSD",
    side=Side.BUY,
    qty=Contracts(100),
    ord_type=OrdType.LIMIT,
    price=Ticks(100),
    time_in_force=TimeInForce.GTC,
    post_only=True,
    reduce_only=False,
)
SENT = Order(ASKED, 1, 0, request=Outstanding(RequestKind.NEW, 1, 0, FENCE_NS))


def said(status: OrdStatus) -> OrderSaid:
    return OrderSaid(
        order_id="o1",
        cl_ord_id=ASKED.cl_ord_id,
        symbol="XBTUSD",
        side=Side.BUY,
        ord_status=status,
        price=Ticks(100),
        qty=Contracts(100),
        leaves_qty=None,
        cum_qty=None,
        text=None,
        venue_ns=None,
    )


def never_found(order: Order) -> Order:
    return absent(absent(order, FENCE_NS, 20), 25, 30)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (told(SENT, said(OrdStatus.FILLED), 1), Fate.FILLED),
        (told(SENT, said(OrdStatus.CANCELED), 1), Fate.CANCELED),
        (told(SENT, said(OrdStatus.REJECTED), 1), Fate.REJECTED),
        (told(SENT, said(OrdStatus.EXPIRED), 1), Fate.EXPIRED),
        (refused(SENT, 1, "Invalid price tickSize"), Fate.REFUSED),
        (refused(SENT, 1, ""), Fate.REFUSED),
        (never_found(SENT), Fate.NEVER_ARRIVED),
        (vanished(absent(told(SENT, said(OrdStatus.NEW), 1), 20, 21), 40), Fate.VANISHED),
    ],
)
def test_an_ended_order_has_the_fate_that_ended_it(order: Order, expected: Fate) -> None:
    assert fate(order) is expected


def test_an_order_that_lives_has_none() -> None:
    with pytest.raises(AssertionError):
        fate(SENT)


def test_each_end_is_counted_once_and_that_of_an_order_that_lived_again_once_more() -> None:
    blotter = Blotter()
    ended = told(SENT, said(OrdStatus.CANCELED), 1)
    for order in (SENT, ended, msgspec.structs.replace(ended, booked_qty=0), SENT, ended):
        blotter.put(order)
    assert blotter.ended[Fate.CANCELED] == 2
    assert sum(blotter.ended.values()) == 2
