"""Order entry: submitting, amending and cancelling, with the rules and texts of the venue.

Each act belongs to the pit's present turn, which the exchange publishes afterwards. An act that
raises a Refusal has changed nothing. Sources: protocol sections 4 and 5.
"""

from collections.abc import Sequence

import msgspec

from chappie.simvenue import orders as rules
from chappie.simvenue.account import Account
from chappie.simvenue.changes import Refusal, Row
from chappie.simvenue.contract import Contract
from chappie.simvenue.orders import AmendRequest, Order, OrderRequest, opposite
from chappie.simvenue.pit import Pit, reduce_refusal
from chappie.simvenue.risk import Conditions, check_margin, rejection
from chappie.simvenue.rows import compact
from chappie.simvenue.stamps import SECOND_NS, stamp

#: A leavesQty amend may revive a Filled order for so long after its fill (protocol section 5).
REVIVE_NS = 60 * SECOND_NS

_UNCHANGED = "Invalid amend: orderQty, leavesQty, price, stopPx, or pegOffsetValue unchanged"
_REPLACE = msgspec.structs.replace


def _refuse(message: str) -> Refusal:
    return Refusal(400, message)


def conditions(pit: Pit, side: str) -> Conditions:
    """The market for a risk check: a market order is valued at the best opposite price."""
    best = pit.book.best(opposite(side))
    market = pit.funding.mark_cents if best is None else pit.contract.cents(best)
    return Conditions(pit.funding.mark_cents, market, pit.funding.rate_ppm)


def cancel_text(text: str) -> str:
    """The text of a row that its owner cancelled (captures of 2024)."""
    return f"Canceled\n{text or 'Canceled via API.'}"


# --- submitting ----------------------------------------------------------------------------


def submit(pit: Pit, owner: Account, request: OrderRequest) -> str:
    """Admit, check and work a new order; returns its orderID."""
    contract = pit.contract
    order = rules.admit(
        request,
        contract,
        order_id=pit.ids.order(),
        account=owner.number,
        position_qty=owner.position.qty,
        at_ns=pit.now_ns,
    )
    if pit.ticker.state != "Open":
        raise _refuse("Market is not open")
    _check_unique(owner, order.cl_ord_id)
    _check_caps(owner, order, contract)
    if order.reduces and not order.waits:
        room = pit.reducible(order)
        if not room:
            return _reject(pit, order, reduce_refusal(order, owner.position.qty))
        qty = min(order.order_qty or room, room)
        order = _REPLACE(order, order_qty=qty, leaves_qty=qty)
    now = conditions(pit, order.side)
    check_margin(owner, contract, order, None, now)
    reason = rejection(owner, contract, order, now)
    if reason is not None:
        return _reject(pit, order, reason)
    if "Close" in order.exec_inst and not order.waits:
        _make_room_for_close(pit, owner, order)
    pit.put(order)
    pit.tell(order, "New")
    if not order.waits:
        pit.execute(order)
    return order.order_id


def _reject(pit: Pit, order: Order, reason: str) -> str:
    """A risk rejection: HTTP 200 with a row of ordStatus Rejected (protocol section 4)."""
    order = _REPLACE(
        order,
        ord_status="Rejected",
        ord_rej_reason=reason,
        text=f"Rejected: {reason}\n{order.text}",
        leaves_qty=0,
        working=False,
    )
    pit.put(order)
    pit.tell(order, "Rejected")
    return order.order_id


def _check_unique(owner: Account, cl_ord_id: str) -> None:
    """clOrdIDs are unique among open orders only, and reusable afterwards (section 5)."""
    if cl_ord_id and any(order.cl_ord_id == cl_ord_id for order in owner.open_orders.values()):
        raise _refuse("Duplicate clOrdID")


def _check_caps(owner: Account, order: Order, contract: Contract) -> None:
    if len(owner.open_orders) >= contract.open_orders_max:
        raise _refuse("Too many open orders")
    if order.waits:
        stops = sum(1 for kept in owner.open_orders.values() if kept.waits)
        if stops >= contract.stop_orders_max:
            raise _refuse("Too many stop orders")


def _make_room_for_close(pit: Pit, owner: Account, closing: Order) -> None:
    """Close cancels same-side orders that together exceed the position (section 5)."""
    same = [
        order
        for order in owner.open_orders.values()
        if order.side == closing.side and not order.waits
    ]
    same.sort(key=lambda order: order.price_ticks or 0, reverse=closing.side == "Sell")
    total = closing.leaves_qty + sum(order.leaves_qty for order in same)
    for order in same:
        if total <= abs(owner.position.qty):
            break
        total -= order.leaves_qty
        pit.cancel(order, f"Canceled: Order had execInst of Close\n{order.text}")


# --- amending ------------------------------------------------------------------------------


def amend(pit: Pit, owner: Account, request: AmendRequest) -> str:
    """Change an open order, or revive a just filled one; returns its orderID."""
    if not request.order_id and not request.orig_cl_ord_id:
        raise _refuse("orderID or origClOrdID must be sent.")
    order = owner.find(request.order_id, request.orig_cl_ord_id)
    if order is None:
        raise _refuse("Invalid orderID" if request.order_id else "Invalid origClOrdID")
    amended, names = _amended(pit, owner, order, request)
    check_margin(owner, pit.contract, amended, order, conditions(pit, order.side))
    head = "Amended " + " ".join(names) + (f": {request.text}" if request.text else "")
    tail = order.text.partition("\n")[2] if order.text.startswith("Amended") else order.text
    amended = _REPLACE(
        amended, text=f"{head}\n{tail}", transact_ns=pit.now_ns, timestamp_ns=pit.now_ns
    )
    in_book = order.working and order.open
    # Only a pure decrease keeps the place in the queue.
    keeps_place = (
        in_book
        and amended.price_ticks == order.price_ticks
        and amended.leaves_qty <= order.leaves_qty
    )
    if in_book:
        assert order.price_ticks is not None, "only limits rest in the book"
        if keeps_place:
            pit.book.reduce(order.side, order.price_ticks, order.order_id, amended.leaves_qty)
        else:
            pit.book.remove(order.side, order.price_ticks, order.order_id)
    pit.put(amended)
    pit.tell(amended, "Replaced")
    if not keeps_place and not amended.waits:
        pit.execute(amended)
    return order.order_id


def _amended(
    pit: Pit, owner: Account, order: Order, request: AmendRequest
) -> tuple[Order, list[str]]:
    """The order as it is asked to be, and the names of the columns that changed."""
    revives = (
        order.ord_status == "Filled"
        and bool(request.leaves_qty)
        and order.price_ticks is not None
        and pit.now_ns - order.filled_ns <= REVIVE_NS
    )
    if not order.open and not revives:
        raise _refuse(f"Invalid ordStatus: {order.ord_status}")
    if request.peg_offset_value is not None:
        raise _refuse("Invalid pegOffsetValue")
    amended = order
    names: list[str] = []
    if request.cl_ord_id and request.cl_ord_id != order.cl_ord_id:
        if not request.orig_cl_ord_id:
            raise _refuse("Invalid origClOrdID")
        _check_unique(owner, rules.check_cl_ord_id(request.cl_ord_id))
        amended = _REPLACE(amended, cl_ord_id=request.cl_ord_id)
        names.append("clOrdID")
    qty = _amended_qty(pit, order, request)
    if qty is not None and qty != order.order_qty:
        amended = _REPLACE(
            amended,
            order_qty=qty,
            leaves_qty=qty - order.cum_qty,
            ord_status="PartiallyFilled" if order.cum_qty else "New",
            working=order.working or revives,
        )
        names.append("orderQty" if request.leaves_qty is None else "leavesQty")
    if request.price is not None:
        if order.ord_type not in rules.LIMIT_TYPES:
            raise _refuse("Invalid price")
        ticks = rules.limit_ticks(pit.contract, request.price)
        if ticks != order.price_ticks:
            amended = _REPLACE(amended, price_ticks=ticks)
            names.append("price")
    if request.stop_px is not None:
        if not order.waits:
            raise _refuse("Invalid stopPx for ordType")
        ticks = rules.stop_ticks(pit.contract, request.stop_px)
        if ticks != order.stop_ticks:
            amended = _REPLACE(amended, stop_ticks=ticks)
            names.append("stopPx")
    if not names:
        raise _refuse(_UNCHANGED)
    return amended, names


def _amended_qty(pit: Pit, order: Order, request: AmendRequest) -> int | None:
    """The total quantity that the amend asks for; leavesQty counts from the fills on."""
    if request.leaves_qty is not None:
        if request.order_qty is not None:
            raise _refuse("Invalid orderQty")
        if request.leaves_qty <= 0:
            raise _refuse("Invalid leavesQty")
        if request.leaves_qty % pit.contract.lot_qty:
            raise _refuse("Invalid leavesQty for lotSize")
        qty = order.cum_qty + request.leaves_qty
    elif request.order_qty is not None:
        qty = abs(request.order_qty)
    else:
        return None
    rules.checked_qty(pit.contract, qty)
    if order.reduces and not order.waits:
        qty = min(qty, order.cum_qty + pit.reducible(order))
    if qty <= order.cum_qty:
        raise _refuse("Invalid orderQty")
    return qty


# --- cancelling ----------------------------------------------------------------------------


def cancel(
    pit: Pit, owner: Account, order_ids: Sequence[str], cl_ord_ids: Sequence[str], text: str
) -> tuple[list[str], dict[str, Row]]:
    """Cancel by id. Returns the ids asked for, in order, and the error rows of those that failed.

    An id is an orderID where the order is known. Every unknown one is told as a CancelReject.
    """
    asked = [(key, "") for key in order_ids] + [("", key) for key in cl_ord_ids]
    if not asked:
        raise _refuse("orderID or clOrdID must be sent.")
    ids: list[str] = []
    errors: dict[str, Row] = {}
    for order_id, cl_ord_id in asked:
        order = owner.find(order_id, cl_ord_id)
        if order is None:
            ids.append(order_id or cl_ord_id)
            errors[ids[-1]] = _cancel_reject(pit, owner, order_id, cl_ord_id)
            continue
        if order.order_id in ids:
            # One order named twice, by orderID and by clOrdID, is one request.
            continue
        ids.append(order.order_id)
        if order.open:
            pit.cancel(order, cancel_text(text))
        else:
            errors[ids[-1]] = _dead_row(order)
    return ids, errors


def _dead_row(order: Order) -> Row:
    return compact(
        {
            "orderID": order.order_id,
            "clOrdID": order.cl_ord_id,
            "account": order.account,
            "symbol": order.symbol,
            "workingIndicator": False,
            "error": "Unable to cancel order due to existing state",
        }
    )


def _cancel_reject(pit: Pit, owner: Account, order_id: str, cl_ord_id: str) -> Row:
    """An unknown id: a CancelReject on the execution feed (capture of 2025-09-05)."""
    reason = "Invalid orderID" if order_id else "Invalid clOrdID"
    time = stamp(pit.now_ns)
    ids: Row = {"orderID": order_id, "clOrdID": cl_ord_id, "account": owner.number}
    row: Row = {
        "execID": pit.ids.execution(),
        **ids,
        "execType": "CancelReject",
        "ordStatus": "Rejected",
        "workingIndicator": False,
        "ordRejReason": reason,
        "text": reason,
        "transactTime": time,
        "timestamp": time,
    }
    pit.turn.executions.setdefault(owner.number, []).append(compact(row))
    return compact({**ids, "workingIndicator": False, "error": reason})


def cancel_all(
    pit: Pit, owner: Account, *, symbol: str | None, side: str | None, text: str
) -> list[str]:
    """Cancel what is open and chosen; returns the orderIDs. `text` becomes the rows' text."""
    chosen = [
        order
        for order in owner.open_orders.values()
        if symbol in (None, order.symbol) and side in (None, order.side)
    ]
    return [pit.cancel(order, text).order_id for order in chosen]
