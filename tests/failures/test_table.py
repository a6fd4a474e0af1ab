"""The table of reported failures is whole, and every test that it names is there."""

import pytest

from tests.docs.named import missing, names_in
from tests.failures.table import FAILURES, Reported

CANNOT_OCCUR_MAX = 5


def test_every_reported_failure_has_its_row() -> None:
    assert [row.number for row in FAILURES] == list(range(1, 29))
    assert all(row.failure and row.rule and row.tests for row in FAILURES)


def test_few_are_called_impossible() -> None:
    assert sum(not row.occurs for row in FAILURES) <= CANNOT_OCCUR_MAX


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: str(row.number))
def test_every_test_that_is_named_exists(row: Reported) -> None:
    assert missing(row.tests) == []


def test_every_scenario_written_for_the_table_is_in_it() -> None:
    scenarios = "tests/failures/test_scenarios.py"
    here = {f"{scenarios}::{name}" for name in names_in(scenarios)}
    assert here
    assert here <= {test for row in FAILURES for test in row.tests}
