"""`chappie simulate` from outside: what it prints, and its exit codes."""

import pytest

from chappie.cli.main import main
from chappie.simulation.invariants import Witness

SHORT = ["--hours", "0.01"]


def test_a_campaign_reports_and_ends_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "1..2", *SHORT, "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("seeds            2, 0 failed\n")
    for word in ("x real time per core", "orders", "fills", "slowest calm", "request_lost"):
        assert word in out


def test_a_replay_shows_the_night_and_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--replay", "3", *SHORT, "--verbose"]) == 0
    first = capsys.readouterr().out
    assert "*** everything heals" in first
    assert "order_sent" in first
    assert "seed 3: all invariants hold" in first.splitlines()[-1]
    assert main(["simulate", "--replay", "3", *SHORT, "--verbose"]) == 0
    assert capsys.readouterr().out == first


def test_a_failure_is_one_line_that_replays_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Witness, "books_agree", lambda self, process: "a fill is missing")
    assert main(["simulate", "--seeds", "4..4", *SHORT, "--jobs", "1"]) == 1
    line = capsys.readouterr().out.splitlines()[0]
    again = "chappie simulate --replay 4 --hours 0.01"
    assert line.startswith("FAILED at ")
    assert line.endswith(f"books_agree: a fill is missing: {again}")
    assert main([*again.split()[1:]]) == 1
    assert "*** VIOLATED books_agree: a fill is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "7"], "is no range such as 1..200"),
        (["--seeds", "9..1"], "the smaller number first"),
        (["--replay", "x"], "is no whole number"),
        (["--seeds", "1..2", "--jobs", "0"], "a whole number from 1 on"),
        (["--seeds", "1..2", "--hours", "0"], "is no number of hours above 0"),
        (["--seeds", "1..2", "--hours", "nan"], "is no number of hours above 0"),
    ],
)
def test_bad_arguments_end_with_64_in_words(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 64
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--seeds", "1..2", "--replay", "1"]])
def test_seeds_and_replay_exclude_each_other_and_one_is_needed(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *arguments])
    assert ended.value.code == 64
