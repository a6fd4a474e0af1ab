"""The position machine: closed, opening, open, closing (control O1).

The state follows from what is held and what works; the table says which steps between states can
happen, and anything else is a bug of ours.
"""

from enum import Enum

from chappie.model.invariant import InvariantViolated


class PositionState(Enum):
    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"


_S = PositionState

# From each state, where one change (an order sent or ended, a fill) can lead.
TRANSITIONS: dict[PositionState, tuple[PositionState, ...]] = {
    _S.CLOSED: (_S.CLOSED, _S.OPENING),
    _S.OPENING: (_S.OPENING, _S.OPEN, _S.CLOSED),
    _S.OPEN: (_S.OPEN, _S.OPENING, _S.CLOSING),
    _S.CLOSING: (_S.CLOSING, _S.OPEN, _S.CLOSED),
}


def state_of(qty: int, increasing: bool, reducing: bool) -> PositionState:
    """The state of a net quantity with orders at work that increase or reduce it.

    An order from flat increases. A reducing order makes it closing, whatever else works.
    """
    if qty == 0:
        return _S.OPENING if increasing or reducing else _S.CLOSED
    if reducing:
        return _S.CLOSING
    return _S.OPENING if increasing else _S.OPEN


class PositionMachine:
    """Holds the state once it is known, and lets only the table's steps happen."""

    def __init__(self) -> None:
        self.state: PositionState | None = None

    def begin(self, qty: int, increasing: bool, reducing: bool) -> None:
        """Enter at whatever a reconciliation found."""
        self.state = state_of(qty, increasing, reducing)

    def forget(self) -> None:
        """Nothing is known any more; the next reconciliation begins anew."""
        self.state = None

    def observe(self, qty: int, increasing: bool, reducing: bool) -> None:
        """Follow one change; raises `InvariantViolated` for a step that cannot happen."""
        if self.state is None:
            return
        to = state_of(qty, increasing, reducing)
        if to not in TRANSITIONS[self.state]:
            raise InvariantViolated(
                f"position went from {self.state.value} to {to.value}"
                f" (qty {qty}, increasing {increasing}, reducing {reducing})"
            )
        self.state = to
