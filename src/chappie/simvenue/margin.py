"""Margin arithmetic: what orders and positions need, and where a position is liquidated.

Sources: protocol section 7. An isolated position locks its margin; a cross position locks its
maintenance margin and shares the whole wallet (upgrade of 2024-03).
"""

from collections.abc import Iterable

import msgspec

from chappie.simvenue.account import Account, Position, price_cents_of, unrealised_pnl
from chappie.simvenue.contract import PPM, Contract, fee, order_margin
from chappie.simvenue.orders import Order


class OpenOrders(msgspec.Struct, frozen=True):
    """What the working orders of one account add up to. Buy costs are negative."""

    buy_qty: int
    buy_cost: int
    sell_qty: int
    sell_cost: int


class Needs(msgspec.Struct, frozen=True):
    """The margin columns of a position."""

    pos_init: int
    pos_comm: int
    pos_margin: int
    pos_maint: int
    #: What the position takes from the account's available margin, beside its unrealised loss.
    locked: int


class Balance(msgspec.Struct, frozen=True):
    """The margin columns of an account."""

    init_margin: int
    maint_margin: int
    unrealised_pnl: int
    margin_balance: int
    available: int


def init_ppm(position: Position, contract: Contract) -> int:
    """Initial margin rate: the risk limit's, or the chosen leverage's when that asks for more."""
    base = contract.init_margin_ppm + _risk_steps(position, contract) * contract.maint_margin_ppm
    if position.cross:
        return base
    return max(base, -(-100 * PPM // position.leverage_centi))


def maint_ppm(position: Position, contract: Contract) -> int:
    return contract.maint_margin_ppm * (1 + _risk_steps(position, contract))


def _risk_steps(position: Position, contract: Contract) -> int:
    return max(0, -(-(position.risk_limit - contract.risk_limit) // contract.risk_step))


def open_orders(orders: Iterable[Order], contract: Contract, market_cents: int) -> OpenOrders:
    """Sum of the working orders; a stop that waits needs nothing (protocol section 5)."""
    buy_qty = buy_cost = sell_qty = sell_cost = 0
    for order in orders:
        if order.waits or not order.leaves_qty:
            continue
        cents = market_cents
        if order.price_ticks is not None:
            cents = contract.cents(order.price_ticks)
        value = contract.value(cents, order.leaves_qty)
        if order.side == "Buy":
            buy_qty += order.leaves_qty
            buy_cost -= value
        else:
            sell_qty += order.leaves_qty
            sell_cost += value
    return OpenOrders(buy_qty, buy_cost, sell_qty, sell_cost)


def orders_margin(position: Position, load: OpenOrders, contract: Contract) -> int:
    """Initial margin of the open orders: the dearer side; what only closes needs none."""
    rate = init_ppm(position, contract)

    def side(qty: int, cost: int, covered: int) -> int:
        opening = max(0, qty - covered)
        if not opening:
            return 0
        return order_margin(abs(cost) * opening // qty, rate, contract.taker_fee_ppm)

    return max(
        side(load.buy_qty, load.buy_cost, max(0, -position.qty)),
        side(load.sell_qty, load.sell_cost, max(0, position.qty)),
    )


def needs(position: Position, contract: Contract, funding_ppm: int) -> Needs:
    """Margins of a position from its cost (the algebra verified on a captured position)."""
    if not position.qty:
        return Needs(0, 0, 0, 0, 0)
    cost = abs(position.cost)
    pos_init = cost * init_ppm(position, contract) // PPM
    pos_comm = fee(cost + pos_init, contract.taker_fee_ppm)
    maint = -(-cost * maint_ppm(position, contract) // PPM)
    paid_ppm = funding_ppm if position.qty > 0 else -funding_ppm
    pos_maint = maint + pos_comm + max(0, cost * paid_ppm // PPM)
    pos_margin = pos_init + pos_comm + position.extra_margin
    return Needs(
        pos_init=pos_init,
        pos_comm=pos_comm,
        pos_margin=pos_maint if position.cross else pos_margin,
        pos_maint=pos_maint,
        locked=pos_maint if position.cross else pos_margin,
    )


def balance(account: Account, contract: Contract, mark_cents: int, funding_ppm: int) -> Balance:
    """An account's margin at the present mark price."""
    position = account.position
    load = open_orders(account.open_orders.values(), contract, mark_cents)
    init = orders_margin(position, load, contract)
    pnl = unrealised_pnl(position, contract, mark_cents)
    need = needs(position, contract, funding_ppm)
    # An isolated position's own result stays inside it: maintMargin is posMargin + unrealised.
    maint = need.locked if position.cross else need.locked + pnl
    total = account.wallet + pnl
    return Balance(
        init_margin=init,
        maint_margin=maint,
        unrealised_pnl=pnl,
        margin_balance=total,
        available=max(0, total - init - maint),
    )


def backing(account: Account, need: Needs) -> int:
    """The satoshi that stand behind a position: the wallet (cross) or its margin (isolated)."""
    return account.wallet if account.position.cross else need.pos_margin


def must_liquidate(account: Account, contract: Contract, mark_cents: int, funding_ppm: int) -> bool:
    """Whether what stands behind the position has fallen to its maintenance margin."""
    if not account.position.qty:
        return False
    need = needs(account.position, contract, funding_ppm)
    pnl = unrealised_pnl(account.position, contract, mark_cents)
    return backing(account, need) + pnl <= need.pos_maint


def exit_cents(position: Position, contract: Contract, loss: int) -> int | None:
    """The price at which the position has lost `loss`; None when no price does that."""
    cost = abs(position.cost)
    value = cost + loss if position.qty > 0 else cost - loss
    if value <= 0:
        return None
    cents = price_cents_of(value, position.qty)
    return min(max(cents, contract.tick_cents), contract.price_max_cents)
