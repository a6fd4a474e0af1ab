"""From a target position to the next step of working orders: pure arithmetic, no state.

One order works at a time. A target on the other side is reached through flat, so that a position
is seen to close before another opens.
"""

from typing import TypeAlias

import msgspec

from chappie.core.orders import Order
from chappie.model.enums import OrdType, Side, TimeInForce
from chappie.model.units import SECOND_NS, Contracts, Ticks

# A resting order off the touch is left this long before it is repriced (cancel and new): the
# request budget allows no more.
REPRICE_AFTER_NS = 2 * SECOND_NS


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """An order that would bring us closer to the target; not yet named, not yet approved."""

    side: Side
    qty: Contracts
    ord_type: OrdType
    price: Ticks | None
    time_in_force: TimeInForce
    post_only: bool
    reduce_only: bool


class Place(msgspec.Struct, frozen=True, gc=False):
    wanted: Wanted


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    cl_ord_id: str
    why: str


class Rest(msgspec.Struct, frozen=True, gc=False):
    """Nothing to do, and why."""

    why: str


Plan: TypeAlias = Place | Withdraw | Rest


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What limits an order's size, shape and time; an age of 0 is no limit."""

    style: str
    order_qty: int
    lot_size: int
    max_age_ns: int = 0
    # False once another order would not be sent: then the one that works stays where it is.
    reprices: bool = True


def plan(
    target: int,
    qty: int,
    live: list[Order],
    best_bid: Ticks | None,
    best_ask: Ticks | None,
    terms: Terms,
    now_ns: int,
) -> Plan:
    """The next step from ``qty`` held towards ``target``, given the orders at work."""
    wanted = _next_order(target, qty, best_bid, best_ask, terms)
    for order in live:
        if order.request is not None:
            return Rest(f"{order.asked.cl_ord_id} has a request outstanding")
    if not live:
        return _nothing_to_do(target, qty, terms) if wanted is None else Place(wanted)
    if wanted is None or len(live) > 1:
        return Withdraw(live[0].asked.cl_ord_id, "no longer wanted")
    order = live[0]
    if order.asked.side is not wanted.side or order.leaves_worst > wanted.qty:
        return Withdraw(order.asked.cl_ord_id, "the target moved")
    age_ns = now_ns - order.born_ns
    if terms.max_age_ns and age_ns >= terms.max_age_ns:
        return Withdraw(order.asked.cl_ord_id, "not filled within limits.max_order_age_s")
    stale = order.asked.price != wanted.price and age_ns > REPRICE_AFTER_NS
    if wanted.price is not None and stale and (terms.reprices or order.asked.reduce_only):
        return Withdraw(order.asked.cl_ord_id, "repriced to the touch")
    return Rest(f"{order.asked.cl_ord_id} works")


def _nothing_to_do(target: int, qty: int, terms: Terms) -> Rest:
    """On target, or no lot fits in between, or there is no price."""
    if qty == target:
        return Rest("on target")
    size = min(abs(target - qty), terms.order_qty)
    if size >= terms.lot_size:
        return Rest("the book has no price on one side")
    return Rest(f"{size} contracts towards {target} are less than a lot of {terms.lot_size}")


def _next_order(
    target: int, qty: int, best_bid: Ticks | None, best_ask: Ticks | None, terms: Terms
) -> Wanted | None:
    goal = 0 if qty * target < 0 else target
    change = goal - qty
    size = min(abs(change), terms.order_qty) // terms.lot_size * terms.lot_size
    if size == 0 or best_bid is None or best_ask is None:
        return None
    side = Side.BUY if change > 0 else Side.SELL
    join, cross = (best_bid, best_ask) if side is Side.BUY else (best_ask, best_bid)
    price = {"post_only": join, "limit": cross, "market": None}[terms.style]
    return Wanted(
        side=side,
        qty=Contracts(size),
        ord_type=OrdType.MARKET if price is None else OrdType.LIMIT,
        price=price,
        time_in_force=TimeInForce.IOC if price is None else TimeInForce.GTC,
        post_only=terms.style == "post_only",
        reduce_only=abs(goal) < abs(qty),
    )
