"""An account: wallet, position and what belongs to it; and how a fill changes a position."""

from collections import deque

import msgspec

from chappie.simvenue.changes import Row
from chappie.simvenue.contract import SATOSHI, Contract
from chappie.simvenue.orders import Order

#: Scale of the harmonic weights: qty / price in cents, kept as an integer.
_WEIGHT = 10**18

EXECUTIONS_MAX = 10_000
HISTORY_MAX = 10_000
DEAD_ORDERS_MAX = 5_000


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A position of one account in the contract. Costs are signed: a long has cost < 0.

    `current_*` and `realised_cost` cover the time since the position was last flat; when it gets
    flat its result moves to `prev_realised_pnl` (capture of 2025-01-09).
    """

    qty: int = 0
    cost: int = 0
    weight: int = 0
    current_cost: int = 0
    current_comm: int = 0
    prev_realised_pnl: int = 0
    cross: bool = True
    leverage_centi: int = 10_000
    #: Margin that the owner moved into an isolated position beyond its initial margin.
    extra_margin: int = 0
    risk_limit: int = 0

    @property
    def realised_cost(self) -> int:
        return self.current_cost - self.cost

    @property
    def realised_pnl(self) -> int:
        return -self.realised_cost - self.current_comm

    @property
    def avg_entry_price(self) -> float | None:
        return average_price(abs(self.qty), self.weight)


def weight_of(cents: int, qty: int) -> int:
    """The part of one fill in a harmonic average."""
    return qty * _WEIGHT // cents


def average_price(qty: int, weight: int) -> float | None:
    """Harmonic average price in USD with four decimals; None for nothing."""
    if not qty or not weight:
        return None
    return ((2 * qty * _WEIGHT * 100 + weight) // (2 * weight)) / 10_000


def fill(
    position: Position, side: str, qty: int, exec_cost: int, comm: int, weight: int
) -> tuple[Position, int]:
    """The position after an execution, and the change of the wallet (realised result and fee).

    A fill through zero is split: the closing part ends the old position with its share of the
    fee, the rest opens a new one. All parts are integers that add up exactly.
    """
    signed = qty if side == "Buy" else -qty
    held = position.qty
    if held == 0 or (held > 0) == (signed > 0):
        grown = msgspec.structs.replace(
            position,
            qty=held + signed,
            cost=position.cost + exec_cost,
            weight=position.weight + weight,
            current_cost=position.current_cost + exec_cost,
            current_comm=position.current_comm + comm,
        )
        return grown, -comm
    closed = min(abs(held), qty)
    whole = closed == abs(held)
    cost_part = position.cost if whole else _share(position.cost, closed, abs(held))
    weight_part = position.weight if whole else position.weight * closed // abs(held)
    exec_part = exec_cost if closed == qty else _share(exec_cost, closed, qty)
    comm_part = comm if closed == qty else _share(comm, closed, qty)
    realised = -(cost_part + exec_part)
    if not whole:
        shrunk = msgspec.structs.replace(
            position,
            qty=held + signed,
            cost=position.cost - cost_part,
            weight=position.weight - weight_part,
            current_cost=position.current_cost + exec_cost,
            current_comm=position.current_comm + comm,
            extra_margin=position.extra_margin - _share(position.extra_margin, closed, abs(held)),
        )
        return shrunk, realised - comm
    rest_cost = exec_cost - exec_part
    rest_comm = comm - comm_part
    turned = msgspec.structs.replace(
        position,
        qty=held + signed,
        cost=rest_cost,
        weight=weight * (qty - closed) // qty,
        current_cost=rest_cost,
        current_comm=rest_comm,
        prev_realised_pnl=position.realised_pnl + realised_step(cost_part, exec_part, comm_part),
        extra_margin=0,
    )
    return turned, realised - comm


def realised_step(cost_part: int, exec_part: int, comm_part: int) -> int:
    """What a closing part adds to the realised result of its position."""
    return -(cost_part + exec_part) - comm_part


def _share(total: int, part: int, whole: int) -> int:
    """`total * part / whole`, truncated towards zero, so that no side of zero is favoured."""
    share = abs(total) * part // whole
    return share if total >= 0 else -share


def unrealised_pnl(position: Position, contract: Contract, mark_cents: int) -> int:
    if not position.qty:
        return 0
    return mark_value(position, contract, mark_cents) - position.cost


def mark_value(position: Position, contract: Contract, mark_cents: int) -> int:
    """Signed like the cost: negative for a long."""
    value = contract.value(mark_cents, abs(position.qty))
    return -value if position.qty > 0 else value


def price_cents_of(value: int, qty: int) -> int:
    """The price at which `qty` contracts are worth `value` satoshi, to the nearest cent."""
    return (2 * abs(qty) * SATOSHI * 100 + value) // (2 * value)


class Account:
    """Owner of everything that belongs to one account number.

    `internal` marks the venue's own (the crowd behind anonymous liquidity, and the liquidation
    engine, whose wallet is the insurance fund): no margin checks, no fees, no private tables.
    """

    def __init__(self, number: int, contract: Contract, *, internal: bool = False) -> None:
        self.number = number
        self.internal = internal
        self.wallet = 0
        self.deposited = 0
        self.position = Position(risk_limit=contract.risk_limit)
        self.has_position_row = False
        self.orders: dict[str, Order] = {}
        self.open_orders: dict[str, Order] = {}
        self.executions: deque[Row] = deque(maxlen=EXECUTIONS_MAX)
        self.history: deque[Row] = deque(maxlen=HISTORY_MAX)
        self.cancel_at_ns: int | None = None
        self.wallet_changed_ns = 0
        # What was last told of each table, to tell only differences.
        self.told_position: Row = {}
        self.told_margin: Row = {}
        self.told_wallet: Row = {}

    def keep(self, order: Order) -> None:
        """Store an order's present state; the oldest dead orders are forgotten at the bound."""
        self.orders[order.order_id] = order
        if order.open:
            self.open_orders[order.order_id] = order
            return
        self.open_orders.pop(order.order_id, None)
        if len(self.orders) > DEAD_ORDERS_MAX + len(self.open_orders):
            oldest = next(key for key, kept in self.orders.items() if not kept.open)
            del self.orders[oldest]

    def find(self, order_id: str | None, cl_ord_id: str | None) -> Order | None:
        """By orderID; or by clOrdID, open orders first, then the latest dead one."""
        if order_id:
            return self.orders.get(order_id)
        if not cl_ord_id:
            return None
        for order in self.open_orders.values():
            if order.cl_ord_id == cl_ord_id:
                return order
        for order in reversed(self.orders.values()):
            if order.cl_ord_id == cl_ord_id:
                return order
        return None
