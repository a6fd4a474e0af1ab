"""What became of an order, in a word: the fates that ended orders are counted by."""

from enum import Enum

from chappie.core.orders import NEVER_ARRIVED, VANISHED, Order
from chappie.model.enums import OrdStatus


class Fate(Enum):
    """How an order ended. The venue's word where it spoke of the order, else ours."""

    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REFUSED = "refused"
    NEVER_ARRIVED = "never_arrived"
    VANISHED = "vanished"


_OF_VENUE = {
    OrdStatus.FILLED: Fate.FILLED,
    OrdStatus.CANCELED: Fate.CANCELED,
    OrdStatus.REJECTED: Fate.REJECTED,
    OrdStatus.EXPIRED: Fate.EXPIRED,
}
_OF_OURS = {NEVER_ARRIVED: Fate.NEVER_ARRIVED, VANISHED: Fate.VANISHED}


def fate(order: Order) -> Fate:
    """The fate of an ended order. ``REFUSED``: a definite refusal, or no byte of it left."""
    assert not order.is_live, "only an ended order has a fate"
    if order.said is not None and order.end != VANISHED:
        of_venue = _OF_VENUE.get(order.said.ord_status)
        if of_venue is not None:
            return of_venue
    return _OF_OURS.get(order.end, Fate.REFUSED)
