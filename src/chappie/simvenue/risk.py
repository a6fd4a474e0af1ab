"""Margin and risk checks before an order may add exposure (protocol section 4)."""

import msgspec

from chappie.simvenue.account import Account, Position
from chappie.simvenue.changes import Refusal
from chappie.simvenue.contract import PPM, Contract
from chappie.simvenue.margin import (
    balance,
    exit_cents,
    init_ppm,
    maint_ppm,
    needs,
    open_orders,
    orders_margin,
)
from chappie.simvenue.orders import Order

LIMIT_TEXT = "Value of position and orders exceeds position Risk Limit"
AT_ONCE_TEXT = "Executing at order price would lead to immediate liquidation"


class Conditions(msgspec.Struct, frozen=True):
    """The market as far as a risk check looks at it, in cents."""

    mark_cents: int
    market_cents: int
    funding_ppm: int


def insufficient(required: int) -> Refusal:
    return Refusal(
        400,
        f"Account has insufficient Available Balance, {required} XBt required",
        "CodedHTTPError",
        "19000",
    )


def check_margin(
    account: Account, contract: Contract, order: Order, replaced: Order | None, now: Conditions
) -> None:
    """Refuse an order (or an amended one, in the place of `replaced`) that cannot be paid."""
    if order.reduces or order.waits:
        return
    position = account.position
    others = [
        kept
        for kept in account.open_orders.values()
        if replaced is None or kept.order_id != replaced.order_id
    ]
    before = orders_margin(
        position, open_orders(account.open_orders.values(), contract, now.market_cents), contract
    )
    after = orders_margin(
        position, open_orders([*others, order], contract, now.market_cents), contract
    )
    required = after - before
    if required <= 0:
        return
    state = balance(account, contract, now.mark_cents, now.funding_ppm)
    free = state.margin_balance - state.init_margin - state.maint_margin
    if required > free:
        raise insufficient(required)


def rejection(account: Account, contract: Contract, order: Order, now: Conditions) -> str | None:
    """Why the engine rejects an order that is otherwise well-formed; None to accept it."""
    if order.reduces or order.waits:
        return None
    position = account.position
    opening = order.leaves_qty - min(order.leaves_qty, _covered(position, order.side))
    if not opening:
        return None
    cents = now.market_cents if order.price_ticks is None else contract.cents(order.price_ticks)
    load = open_orders(account.open_orders.values(), contract, now.market_cents)
    same_side = abs(load.buy_cost if order.side == "Buy" else load.sell_cost)
    held = abs(position.cost) if (position.qty > 0) == (order.side == "Buy") else 0
    value = contract.value(cents, opening)
    if held + same_side + value > position.risk_limit:
        return LIMIT_TEXT
    if order.price_ticks is not None:
        text = _beyond_liquidation(account, contract, order, now)
        if text is not None:
            return text
        mark_value = contract.value(now.mark_cents, opening)
        loss = mark_value - value if order.side == "Buy" else value - mark_value
        if loss > 0 and _would_liquidate(account, contract, value, loss, now):
            return AT_ONCE_TEXT
    return None


def _covered(position: Position, side: str) -> int:
    """What an order of this side closes before it opens."""
    return max(0, -position.qty if side == "Buy" else position.qty)


def _would_liquidate(
    account: Account, contract: Contract, value: int, loss: int, now: Conditions
) -> bool:
    position = account.position
    maint = value * maint_ppm(position, contract) // PPM
    if not position.cross:
        return value * init_ppm(position, contract) // PPM - loss <= maint
    state = balance(account, contract, now.mark_cents, now.funding_ppm)
    return state.margin_balance - state.maint_margin - loss <= maint


def _beyond_liquidation(
    account: Account, contract: Contract, order: Order, now: Conditions
) -> str | None:
    position = account.position
    if not position.qty or order.price_ticks is None:
        return None
    need = needs(position, contract, now.funding_ppm)
    behind = account.wallet if position.cross else need.pos_margin
    cents = exit_cents(position, contract, behind - need.pos_maint)
    if cents is None:
        return None
    limit_cents = contract.cents(order.price_ticks)
    if position.qty > 0 and order.side == "Buy" and limit_cents < cents:
        return "Order price is below the liquidation price of current long position"
    if position.qty < 0 and order.side == "Sell" and limit_cents > cents:
        return "Order price is above the liquidation price of current short position"
    return None
