"""An order before the venue has seen it, and the one proof that it may go there."""

from enum import Enum
from typing import Generic, TypeVar

import msgspec

from chappie.model.enums import OrdType, Side, TimeInForce
from chappie.model.units import Contracts, Ticks


class NewOrder(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What we ask for. ``price`` is None exactly for a market order."""

    cl_ord_id: str
    symbol: str
    side: Side
    qty: Contracts
    ord_type: OrdType
    price: Ticks | None
    time_in_force: TimeInForce
    post_only: bool
    reduce_only: bool


class GateStamp(Enum):
    """What only `chappie.core.gate` holds; an architecture test finds any other user."""

    PASSED = "passed"


T = TypeVar("T")


class Approved(Generic[T]):
    """A value that passed the gate (control L1).

    The sender of order-creating requests takes nothing else, and only the gate has the stamp, so
    a path round `allow_trade` does not type-check.
    """

    __slots__ = ("value",)

    def __init__(self, value: T, stamp: GateStamp) -> None:
        assert stamp is GateStamp.PASSED
        self.value = value

    def __repr__(self) -> str:
        return f"Approved({self.value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Approved) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]  # values are compared, never looked up
