"""What the table "What happens when …" promises: every row names tests that exist, and keys that
exist; what `chappie whatif` says is the same with the times of one configuration.
"""

import re
from pathlib import Path

import pytest

from chappie.cli import settings
from chappie.cli.consequences import WHAT_IF, WhatIf, keys_of
from chappie.model.faults import StopReason
from tests.docs.named import missing
from tests.docs.shown_by import SHOWN_BY

ROOT = Path(__file__).parents[2]
HEAD = "| what happens | what notices it | within | our orders | what you do | shown by |"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
KEY = re.compile(r"`([a-z_]+\.[a-z_]+)`(?: \(([0-9.]+)( s)?\))?")


def rows() -> list[list[str]]:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    lines = text.partition(HEAD)[2].splitlines()[2:]
    table = lines[: lines.index("<!-- end -->")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


ROWS = rows()


def test_the_table_is_there_and_whole() -> None:
    assert len(ROWS) >= 15
    assert all(len(row) == 6 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_names_tests_that_exist(row: list[str]) -> None:
    named = TEST.findall(row[5])
    assert named
    assert TEST.sub("", row[5]).replace("<br>", "") == ""
    assert missing(tuple(f"{file}::{test}" for file, test in named)) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_time_is_a_key_with_its_default(row: list[str]) -> None:
    for key, default, unit in KEY.findall(" ".join(row)):
        assert settings.KEYS[key].default == float(default)
        assert bool(unit) is key.endswith("_s")


def test_what_it_calls_a_stop_is_one_of_the_contract_or_the_fault_before_it() -> None:
    words = {reason.word for reason in StopReason} | {"crash_loop", "budget_low", "clock_skewed"}
    for row in ROWS:
        assert set(re.findall(r"`([a-z]+_[a-z_]+)`", row[1])) <= words


def test_the_tests_that_are_named_are_those_of_the_rows() -> None:
    assert list(SHOWN_BY) == [row.happens for row in WHAT_IF]


@pytest.mark.parametrize("row", WHAT_IF, ids=lambda row: row.happens)
def test_every_row_can_be_read_alone_and_names_keys_that_exist(row: WhatIf) -> None:
    assert all(row.cells)
    assert "as above" not in " ".join(row.cells)
    for cell in row.cells:
        for key in keys_of(cell):
            assert key in settings.KEYS
