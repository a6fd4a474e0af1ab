"""An order as three independent parts, and the pure steps between its values.

What we asked for, what the venue last said of it, and which request of ours is outstanding.
*In doubt* is a state of the request, not of the order, and no timer turns it into a refusal: only
a definite answer, or absence shown by a query begun after the request could no longer arrive.
"""

from enum import Enum

import msgspec

from chappie.model.enums import OrdStatus, OrdType, TimeInForce
from chappie.model.orders import NewOrder
from chappie.model.reports import OrderSaid
from chappie.model.units import Contracts

# How an order ended that the venue did not end itself, as its `end` says it.
NEVER_ARRIVED = "never arrived at the venue"
VANISHED = "the venue knows no such order"


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
    """One order of ours. ``said`` is None until the venue spoke of it.

    An ``orphan`` is wanted by nobody any more: its run is dead, or it was held for ended and works
    all the same. It counts like any other, and is only ever asked about and cancelled.
    """

    asked: NewOrder
    decision: int
    born_ns: int
    said: Said | None = None
    request: Outstanding | None = None
    ended_ns: int | None = None
    end: str = ""
    orphan: bool = False
    # When the venue last said something of it that was news.
    heard_ns: int | None = None
    # Since when a query finds nothing of it; None once the venue spoke of it again.
    absent_since_ns: int | None = None
    # Contracts of it that are in the ledger.
    booked_qty: int = 0

    @property
    def is_live(self) -> bool:
        """It works, or may work, or may yet arrive."""
        return self.ended_ns is None

    @property
    def cum_qty(self) -> int:
        """Contracts that the venue said are filled."""
        return 0 if self.said is None else self.said.cum_qty

    @property
    def unbooked_qty(self) -> int:
        """Contracts that the venue called filled and the ledger does not have."""
        return max(0, self.cum_qty - self.booked_qty)

    @property
    def is_settled(self) -> bool:
        """It is over, and all of it is in the ledger: nothing about it is open any more."""
        return not self.is_live and self.unbooked_qty == 0

    @property
    def leaves_worst(self) -> int:
        """Contracts that may still fill, at worst."""
        if not self.is_live:
            return 0
        return self.asked.qty if self.said is None else self.said.leaves_qty

    @property
    def is_amended(self) -> bool:
        """It works, and not for the quantity that we asked for: another hand changed it."""
        said = self.said
        if said is None or not self.is_live:
            return False
        return said.cum_qty + said.leaves_qty != self.asked.qty

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


def rank(status: OrdStatus) -> int:
    """How far an order of this status has come; none goes back."""
    return _STATUS_ORDER[status]


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
    return msgspec.structs.replace(
        order,
        said=said,
        request=request,
        # Taken for dead, and it lives: the venue's word counts, and nobody wants it any more.
        ended_ns=ended if status.is_terminal else None,
        orphan=order.orphan or (ended is not None and not status.is_terminal),
        end=status.value if status.is_terminal else "",
        heard_ns=now_ns,
        absent_since_ns=None,
    )


def revived(order: Order, row: OrderSaid) -> Order:
    """The venue lists an ended order as working, in a list asked for after we knew of its end.

    A word of the stream alone may be old; such a list is not. Somebody amended it, or it was
    accepted late.
    """
    assert not order.is_live, "only an ended order can live again"
    known = order.said
    status = OrdStatus.NEW if row.ord_status is None else row.ord_status
    cum = max(order.cum_qty, row.cum_qty or 0)
    leaves = max(0, order.asked.qty - cum) if row.leaves_qty is None else row.leaves_qty
    text = row.text or ("" if known is None else known.text)
    said = Said(row.order_id, status, Contracts(leaves), Contracts(cum), text)
    return msgspec.structs.replace(
        order, said=said, ended_ns=None, end="", orphan=True, absent_since_ns=None
    )


def adopted(row: OrderSaid, now_ns: int) -> Order | None:
    """An order that nothing but the venue remembers: of ours by its name, an orphan.

    None when the row lacks what such an order is counted by.
    """
    if row.cl_ord_id is None or row.side is None or row.qty is None:
        return None
    asked = NewOrder(
        cl_ord_id=row.cl_ord_id,
        symbol=row.symbol or "",
        side=row.side,
        qty=row.qty,
        ord_type=OrdType.MARKET if row.price is None else OrdType.LIMIT,
        price=row.price,
        time_in_force=TimeInForce.GTC,
        post_only=False,
        reduce_only=False,
    )
    return told(Order(asked, 0, now_ns, orphan=True), row, now_ns)


def executed(order: Order, order_id: str, booked: int, now_ns: int) -> Order:
    """``booked`` contracts of the order are in the ledger: an execution is the venue's word too,
    and it may come before the order table says the same.
    """
    order = msgspec.structs.replace(order, booked_qty=booked)
    if order.cum_qty >= booked:
        return order
    said = order.said
    qty = said.cum_qty + said.leaves_qty if said and order.is_amended else order.asked.qty
    left = qty - booked
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

    That proves something only when nothing of it could arrive any more by then, and only the
    second time: a read may be stale. An order that was once seen does not end by it (`vanished`).
    """
    request = order.request
    if not order.is_live or (request is not None and asked_ns < request.fence_ns):
        return order
    if order.heard_ns is not None and asked_ns <= order.heard_ns:
        return order
    if order.absent_since_ns is None or asked_ns < order.absent_since_ns:
        return msgspec.structs.replace(order, absent_since_ns=order.absent_since_ns or now_ns)
    if order.said is not None or request is None:
        return order
    return msgspec.structs.replace(order, request=None, ended_ns=now_ns, end=NEVER_ARRIVED)


def vanished(order: Order, now_ns: int) -> Order:
    """The venue, which once spoke of it, shows it nowhere any more, and no position (O7)."""
    assert order.absent_since_ns is not None, "only what a query did not find can have vanished"
    return msgspec.structs.replace(order, request=None, ended_ns=now_ns, end=VANISHED)


def cancelling(order: Order, request: Outstanding) -> Order:
    assert request.kind is RequestKind.CANCEL
    return msgspec.structs.replace(order, request=request)
