"""An order as three independent parts, and the pure steps between its values.

What we asked for, what the venue last said of it, and which request of ours is outstanding.
*In doubt* is a state of the request, not of the order, and no timer turns it into a refusal: only
a definite answer, or absence shown by a query begun after the request could no longer arrive.
"""

from enum import Enum

import msgspec

from chappie.model.enums import OrdStatus
from chappie.model.orders import NewOrder
from chappie.model.reports import OrderSaid
from chappie.model.units import Contracts


class RequestKind(Enum):
    NEW = "new"
    CANCEL = "cancel"


class Outstanding(msgspec.Struct, frozen=True, gc=False):
    """A request of ours without an outcome. After ``fence_ns`` it can no longer arrive."""

    kind: RequestKind
    request_id: int
    sent_ns: int
    fence_ns: int
    in_doubt: bool = False


class Said(msgspec.Struct, frozen=True, gc=False):
    """The venue's last word on an order."""

    order_id: str
    ord_status: OrdStatus
    leaves_qty: Contracts
    cum_qty: Contracts
    text: str


class Order(msgspec.Struct, frozen=True, gc=False):
    """One order of ours. ``said`` is None until the venue spoke of it."""

    asked: NewOrder
    decision: int
    born_ns: int
    said: Said | None = None
    request: Outstanding | None = None
    ended_ns: int | None = None
    end: str = ""

    @property
    def is_live(self) -> bool:
        """It works, or may work, or may yet arrive."""
        return self.ended_ns is None

    @property
    def cum_qty(self) -> int:
        """Contracts that the venue said are filled."""
        return 0 if self.said is None else self.said.cum_qty

    @property
    def leaves_worst(self) -> int:
        """Contracts that may still fill, at worst."""
        if not self.is_live:
            return 0
        return self.asked.qty if self.said is None else self.said.leaves_qty

    @property
    def in_doubt(self) -> bool:
        return self.request is not None and self.request.in_doubt

    @property
    def status(self) -> str:
        """For people: the venue's word, or ours where it has not spoken."""
        if self.in_doubt:
            return "Unknown"
        if self.said is not None:
            return self.said.ord_status.value
        return "PendingNew" if self.is_live else self.end


_STATUS_ORDER = {
    OrdStatus.PENDING_NEW: 0,
    OrdStatus.NEW: 1,
    OrdStatus.PENDING_REPLACE: 1,
    OrdStatus.PENDING_CANCEL: 1,
    OrdStatus.PARTIALLY_FILLED: 2,
    OrdStatus.FILLED: 3,
    OrdStatus.CANCELED: 3,
    OrdStatus.REJECTED: 3,
    OrdStatus.EXPIRED: 3,
}


def told(order: Order, row: OrderSaid, now_ns: int) -> Order:
    """The venue spoke of the order, on any channel, in any order.

    A word that is older than what is known (fewer filled, or alive after the end) changes
    nothing: REST and the streams are not ordered among each other.
    """
    status = row.ord_status
    known = order.said
    if status is None:
        status = known.ord_status if known is not None else OrdStatus.NEW
    cum = row.cum_qty if row.cum_qty is not None else (known.cum_qty if known else Contracts(0))
    leaves = row.leaves_qty
    if leaves is None:
        gone = status.is_terminal
        leaves = Contracts(0) if gone else Contracts(order.asked.qty - cum)
    if known is not None and known.ord_status.is_terminal and not status.is_terminal:
        if cum <= known.cum_qty:
            return order
        # It ended with more filled than we were told: only the quantity is news.
        status, leaves = known.ord_status, known.leaves_qty
    if known is not None and (
        (cum, _STATUS_ORDER[status]) < (known.cum_qty, _STATUS_ORDER[known.ord_status])
    ):
        return order
    said = Said(row.order_id, status, leaves, cum, row.text or (known.text if known else ""))
    request = order.request
    if request is not None and request.kind is RequestKind.NEW:
        request = None  # it arrived
    ended = order.ended_ns
    if status.is_terminal:
        request = None
        ended = now_ns if ended is None else ended
    elif ended is not None:
        ended = None  # we took it for dead, and it lives: the venue's word counts
    return msgspec.structs.replace(
        order,
        said=said,
        request=request,
        ended_ns=ended,
        end=status.value if status.is_terminal else "",
    )


def executed(order: Order, order_id: str, booked: int, now_ns: int) -> Order:
    """``booked`` contracts of the order are in the ledger: an execution is the venue's word too,
    and it may come before the order table says the same.
    """
    if order.cum_qty >= booked:
        return order
    left = order.asked.qty - booked
    row = OrderSaid(
        order_id=order_id,
        cl_ord_id=order.asked.cl_ord_id,
        symbol=order.asked.symbol,
        side=order.asked.side,
        ord_status=OrdStatus.FILLED if left <= 0 else OrdStatus.PARTIALLY_FILLED,
        price=order.asked.price,
        qty=order.asked.qty,
        leaves_qty=Contracts(max(0, left)),
        cum_qty=Contracts(booked),
        text=None,
        venue_ns=None,
    )
    return told(order, row, now_ns)


def doubted(order: Order) -> Order:
    """The outstanding request got no answer that proves anything."""
    if order.request is None:
        return order
    request = msgspec.structs.replace(order.request, in_doubt=True)
    return msgspec.structs.replace(order, request=request)


def refused(order: Order, now_ns: int, why: str) -> Order:
    """The outstanding request changed nothing, by a definite refusal or because it never left."""
    if order.request is None:
        return order
    if order.request.kind is RequestKind.NEW and order.said is None:
        return msgspec.structs.replace(order, request=None, ended_ns=now_ns, end=why)
    return msgspec.structs.replace(order, request=None)


def absent(order: Order, asked_ns: int, now_ns: int) -> Order:
    """A targeted query, sent at ``asked_ns``, found no such order.

    Proof only when nothing of it could arrive any more by then.
    """
    if order.said is not None or order.request is None or asked_ns < order.request.fence_ns:
        return order
    return msgspec.structs.replace(
        order, request=None, ended_ns=now_ns, end="never arrived at the venue"
    )


def cancelling(order: Order, request: Outstanding) -> Order:
    assert request.kind is RequestKind.CANCEL
    return msgspec.structs.replace(order, request=request)
