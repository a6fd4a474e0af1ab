"""The position machine, explored whole: every state against everything that can be observed."""

import itertools

import pytest

from chappie.core.position import TRANSITIONS, PositionMachine, PositionState, state_of
from chappie.model.invariant import InvariantViolated

S = PositionState
SITUATIONS = list(itertools.product((-100, 0, 100), (False, True), (False, True)))

# Written out by hand, so that a changed table has to be changed twice.
LEGAL = {
    (S.CLOSED, S.CLOSED),
    (S.CLOSED, S.OPENING),
    (S.OPENING, S.OPENING),
    (S.OPENING, S.OPEN),
    (S.OPENING, S.CLOSED),
    (S.OPEN, S.OPEN),
    (S.OPEN, S.OPENING),
    (S.OPEN, S.CLOSING),
    (S.CLOSING, S.CLOSING),
    (S.CLOSING, S.OPEN),
    (S.CLOSING, S.CLOSED),
}


@pytest.mark.parametrize(
    ("qty", "increasing", "reducing", "state"),
    [
        (0, False, False, S.CLOSED),
        (0, True, False, S.OPENING),
        (100, False, False, S.OPEN),
        (-100, False, False, S.OPEN),
        (100, True, False, S.OPENING),
        (-100, True, False, S.OPENING),
        (100, False, True, S.CLOSING),
        (-100, False, True, S.CLOSING),
        (100, True, True, S.CLOSING),
    ],
)
def test_the_state_follows_from_what_is_held_and_what_works(
    qty: int, increasing: bool, reducing: bool, state: PositionState
) -> None:
    assert state_of(qty, increasing, reducing) is state


@pytest.mark.parametrize("origin", list(S))
@pytest.mark.parametrize(("qty", "increasing", "reducing"), SITUATIONS)
def test_legal_steps_arrive_and_illegal_steps_are_violations(
    origin: PositionState, qty: int, increasing: bool, reducing: bool
) -> None:
    machine = PositionMachine()
    machine.state = origin
    to = state_of(qty, increasing, reducing)
    if (origin, to) in LEGAL:
        machine.observe(qty, increasing, reducing)
        assert machine.state is to
    else:
        with pytest.raises(InvariantViolated, match=f"from {origin.value} to {to.value}"):
            machine.observe(qty, increasing, reducing)
        assert machine.state is origin


def test_the_table_is_the_one_that_was_argued() -> None:
    assert {(a, b) for a, ends in TRANSITIONS.items() for b in ends} == LEGAL


def test_every_state_is_reached_from_flat_and_leads_back_to_flat() -> None:
    machine = PositionMachine()
    machine.begin(0, False, False)
    for step in ((0, True, False), (100, False, False), (100, False, True), (0, False, False)):
        machine.observe(*step)
    assert machine.state is S.CLOSED


@pytest.mark.parametrize(("qty", "increasing", "reducing"), SITUATIONS)
def test_before_the_first_reconciliation_nothing_is_a_violation(
    qty: int, increasing: bool, reducing: bool
) -> None:
    machine = PositionMachine()
    machine.observe(qty, increasing, reducing)
    assert machine.state is None
    machine.begin(qty, increasing, reducing)
    assert machine.state is state_of(qty, increasing, reducing)
    machine.forget()
    assert machine.state is None
