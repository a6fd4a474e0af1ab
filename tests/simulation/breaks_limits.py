"""The patches that take a limit on money or behaviour away (`core/limits*.py`)."""

from typing import Any

from chappie.core import gate as gate_module
from chappie.core import trading as trading_module
from chappie.core.executor import Terms
from chappie.core.limits import Limits
from chappie.core.limits_loss import Losses
from chappie.core.limits_market import Health
from chappie.core.limits_orders import OrderCounts
from tests.simulation.breaks import Patch


def counts_forgotten_at_a_start(patch: Patch) -> None:
    patch(OrderCounts, "restore", lambda self, at, kept: None)


def order_limits_not_asked(patch: Patch) -> None:
    patch(gate_module, "_exceeded", lambda order, c: None)


def losses_forgotten_at_a_start(patch: Patch) -> None:
    patch(Losses, "restore", lambda self, at, kept, halted: None)


def losses_not_measured(patch: Patch) -> None:
    patch(Losses, "is_measured", property(lambda self: False))


def unfit_market_traded(patch: Patch) -> None:
    patch(Health, "judge", lambda self, at, market, said: {})


def tries_not_counted(patch: Patch) -> None:
    patch(Limits, "tried", lambda self: None)


def unfilled_orders_left_to_rest(patch: Patch) -> None:
    def ageless(style: str, order_qty: int, lot_size: int, age_ns: int, **rest: Any) -> Terms:
        return Terms(style, order_qty, lot_size, 0, **rest)

    patch(trading_module, "Terms", ageless)


def positions_held_for_ever(patch: Patch) -> None:
    patch(Limits, "held_too_long", lambda self, at: False)
