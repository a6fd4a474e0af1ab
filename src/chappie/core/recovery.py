"""What earlier runs wrote down for good, read back: the ledger, and the orders not proven over.

An intent without its end is in doubt, whatever the dead process may have known of it: its request
may still be on its way (controls O4 and O13).
"""

from collections.abc import Callable
from typing import assert_never

import msgspec

from chappie.core.ledger import Ledger
from chappie.core.orders import Order, Outstanding, RequestKind, Said
from chappie.model.enums import OrdStatus
from chappie.model.records import (
    Adjusted,
    Carried,
    Connected,
    Ended,
    Fill,
    FundingPaid,
    Intent,
    Kept,
    LossBase,
    Opening,
    Stopped,
    Waits,
)
from chappie.model.units import At, Contracts

# A request of a dead process has no number among ours.
_NO_REQUEST = 0


class Recovered(msgspec.Struct):
    """Where the new run begins.

    ``whole_until_ns`` is the venue's time up to which the ledger can lack nothing but what the
    overlap of reads covers; None for a folder without a history. ``from_ns`` is the wall time at
    which the ledger begins (an opening or an adjustment), and ``asked`` names the orders that were
    asked for since: an older execution of any other is in the position that it began with.
    ``waits`` is until when the venue told us to send nothing, by its last word; ``loss_base`` is
    what the loss limits are measured from.
    """

    ledger: Ledger
    orders: list[Order]
    whole_until_ns: int | None
    from_ns: int
    asked: dict[str, Intent]
    waits: Waits | None
    loss_base: LossBase | None


def recover(kept: tuple[Kept, ...], at: At, fence_ns: Callable[[At, int], int]) -> Recovered:
    """Rebuild from the kept log; ``fence_ns`` says when a request sent at a wall time can no
    longer arrive, on this process's clock.
    """
    ledger = Ledger()
    intents: dict[str, Intent] = {}
    ends: dict[str, Ended] = {}
    from_ns = 0
    waits: Waits | None = None
    loss_base: LossBase | None = None
    for record in kept:
        match record:
            case Fill():
                ledger.book(record)
            case FundingPaid():
                ledger.pay(record)
            case Opening():
                ledger.open_with(record)
                from_ns = record.wall_ns
            case Adjusted():
                ledger.adjust(record)
                from_ns = record.wall_ns
                intents.clear()
            case Carried():
                ledger.go_on_from(record)
                from_ns = record.from_ns
                waits, loss_base = record.waits, record.loss_base
            case Intent():
                name = record.order.cl_ord_id
                intents[name] = record
                ends.pop(name, None)
            case Ended():
                ends[record.cl_ord_id] = record
            case Waits():
                waits = record
            case LossBase():
                loss_base = record
            case Stopped() | Connected():
                pass
            case _:
                assert_never(record)
    whole_ns = max(from_ns, ledger.last_fill_ns) or None
    orders = []
    for name, intent in intents.items():
        order = _order(intent, ends.get(name), ledger.booked(name), at, fence_ns)
        if order is not None:
            orders.append(order)
            whole_ns = intent.wall_ns if whole_ns is None else min(whole_ns, intent.wall_ns)
    return Recovered(ledger, orders, whole_ns, from_ns, intents, waits, loss_base)


def _order(
    intent: Intent, end: Ended | None, booked: int, at: At, fence_ns: Callable[[At, int], int]
) -> Order | None:
    """An order that is not done with: in doubt, or over with fills that the ledger lacks."""
    if end is None:
        if booked >= intent.order.qty:
            return None
        request = Outstanding(
            RequestKind.NEW, _NO_REQUEST, at.now_ns, fence_ns(at, intent.wall_ns), in_doubt=True
        )
        return Order(intent.order, intent.decision, at.now_ns, request=request, orphan=True)
    if end.cum_qty <= booked:
        return None
    status = OrdStatus.CANCELED if end.ord_status is None else end.ord_status
    said = Said("", status, Contracts(0), end.cum_qty, "")
    return Order(
        intent.order,
        intent.decision,
        at.now_ns,
        said=said,
        ended_ns=at.now_ns,
        end=status.value,
        orphan=True,
    )
