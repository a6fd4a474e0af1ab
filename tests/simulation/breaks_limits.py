"""The patches that take a limit on money or behaviour away (`core/limits*.py`)."""

from chappie.core import gate as gate_module
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
