"""What `docs/safety.md` promises by hand: every row names tests that exist, and keys that exist."""

import re
from pathlib import Path

import pytest

from chappie.cli import settings
from chappie.model.faults import StopReason
from tests.docs.named import missing

ROOT = Path(__file__).parents[2]
HEAD = "| what happens | what notices it | within | our orders | what you do | shown by |"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
KEY = re.compile(r"`([a-z_]+\.[a-z_]+)` \(([0-9.]+) s\)")


def rows() -> list[list[str]]:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    lines = text.partition(HEAD)[2].splitlines()[2:]
    table = lines[: lines.index("")] if "" in lines else lines
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
    for key, default in KEY.findall(" ".join(row)):
        assert settings.KEYS[key].default == float(default)


def test_what_it_calls_a_stop_is_one_of_the_contract_or_the_fault_before_it() -> None:
    words = {reason.word for reason in StopReason} | {"crash_loop", "budget_low", "clock_skewed"}
    for row in ROWS:
        assert set(re.findall(r"`([a-z]+_[a-z_]+)`", row[1])) <= words
