"""`chappie whatif`: the table of docs/safety.md with the times of one configuration."""

import msgspec
import pytest

from chappie.cli import whatif
from chappie.cli.consequences import WHAT_IF
from chappie.cli.main import main


def test_the_times_are_those_of_this_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", "of both", "--set", "dead_man.timeout_s=33"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("kill -9 of both\n")
    assert "within  33 s (dead_man.timeout_s)" in out
    assert "`" not in out


def test_without_a_word_every_row_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif"]) == 0
    out = capsys.readouterr().out
    for row in WHAT_IF:
        assert row.happens.replace("`", "") in out
    assert max(len(line) for line in out.splitlines()) <= 100


def test_programs_get_the_values_by_their_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", "of both", "--json", "--set", "dead_man.timeout_s=33"]) == 0
    (row,) = msgspec.json.decode(capsys.readouterr().out)
    assert row["values"] == {"dead_man.timeout_s": 33.0}
    assert row["within"] == "33 s (dead_man.timeout_s)"


def test_a_word_that_no_row_holds_is_1_and_says_which_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["whatif", "volcano"]) == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_wrong_configuration_is_64(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", "--set", "nonsense=1"]) == 64
    assert "nonsense" in capsys.readouterr().err


def test_the_documentation_shows_the_defaults() -> None:
    text = "after `dead_man.timeout_s`, `supervisor.max_restarts` times"
    assert whatif.with_defaults(text) == (
        "after `dead_man.timeout_s` (60 s), `supervisor.max_restarts` (5) times"
    )
