"""The table of reported failures is whole, and every test that it names is there."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.failures.table import FAILURES, Reported

CANNOT_OCCUR_MAX = 5


def test_every_reported_failure_has_its_row() -> None:
    assert [row.number for row in FAILURES] == list(range(1, 29))
    assert all(row.failure and row.rule and row.tests for row in FAILURES)


def test_few_are_called_impossible() -> None:
    assert sum(not row.occurs for row in FAILURES) <= CANNOT_OCCUR_MAX


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The tests that pytest finds in the files that are named, without their parameters."""
    files = sorted({test.partition("::")[0] for row in FAILURES for test in row.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return {line.partition("[")[0] for line in run.stdout.splitlines() if "::" in line}


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: str(row.number))
def test_every_test_that_is_named_exists(row: Reported, collected: set[str]) -> None:
    assert [test for test in row.tests if test not in collected] == []


def test_every_scenario_written_for_the_table_is_in_it(collected: set[str]) -> None:
    here = {test for test in collected if test.startswith("tests/failures/test_scenarios.py")}
    assert here <= {test for row in FAILURES for test in row.tests}
