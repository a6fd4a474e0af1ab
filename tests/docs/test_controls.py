"""The table of controls is whole, and every test that it names is there."""

import pytest

from tests.docs.controls import CONTROLS, Control
from tests.docs.named import missing

# K7 is about supervisors other than ours, L5 to L9 about limits: they have pages of their own.
IDS = (
    *(f"F{n}" for n in range(1, 13)),
    *(f"O{n}" for n in range(1, 15)),
    *(f"L{n}" for n in range(1, 5)),
    *(f"K{n}" for n in (1, 2, 3, 4, 5, 6, 8, 9, 10)),
    "E1",
    *(f"promise {n}" for n in range(1, 11)),
)


def test_every_control_and_promise_has_its_row() -> None:
    assert tuple(row.id for row in CONTROLS) == IDS
    assert all(row.rule and row.tests for row in CONTROLS)


@pytest.mark.parametrize("row", CONTROLS, ids=lambda row: row.id)
def test_every_test_that_shows_a_control_exists(row: Control) -> None:
    assert missing(row.tests) == []


def test_a_test_that_is_not_there_is_found_out() -> None:
    gone = ("tests/docs/test_controls.py::test_nothing", "tests/docs/none.py::test_nothing")
    assert missing(gone) == list(gone)
