"""Asking a policy: whatever it does, one event comes back."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chappie.live import policies
from chappie.live.policies import PolicyRunner
from chappie.live.redact import Redactor
from chappie.model.config import BotConfig, Config, ConfigError
from chappie.model.events import PolicyDecided, PolicyFailed
from chappie.model.view import View
from tests.live.fakes import VIEW


class Answers:
    """A policy that answers, or raises, what it is given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def decide(self, view: View) -> int:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # wrong answers are the point


class Index:
    """An integer of a foreign kind, as numpy's are."""

    def __index__(self) -> int:
        return -300


SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"
scrub = Redactor(SECRET).text


def ask(answer: object, took_s: float = 0.0) -> PolicyDecided | PolicyFailed:
    times = iter([10.0, 10.0 + took_s])
    runner = PolicyRunner(Answers(answer), 1.0, 1000, lambda: next(times), scrub)
    return runner.ask(7, VIEW)


@pytest.mark.parametrize(("answer", "target"), [(0, 0), (1000, 1000), (-1000, -1000)])
def test_an_integer_within_the_limit_is_a_decision(answer: int, target: int) -> None:
    assert ask(answer) == PolicyDecided(7, target)


def test_an_integer_of_another_library_is_a_decision() -> None:
    assert ask(Index()) == PolicyDecided(7, -300)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (True, "True, not a whole number"),
        (None, "None, not a whole number"),
        (100.0, "100.0, not a whole number"),
        ("100", "'100', not a whole number"),
        (1001, "beyond bot.max_position = 1000"),
        (-1001, "beyond bot.max_position = 1000"),
        (ValueError("no model"), "decide raised ValueError: no model"),
        (AssertionError(), "decide raised AssertionError"),
        (SystemExit(1), "decide raised SystemExit"),
        (RecursionError(), "decide raised RecursionError"),
    ],
)
def test_anything_else_is_a_failure_that_says_what_it_was(answer: object, words: str) -> None:
    event = ask(answer)
    assert isinstance(event, PolicyFailed)
    assert event.decision == 7
    assert words in event.detail


def test_a_slow_answer_counts_and_is_noted() -> None:
    event = ask(100, took_s=0.6)
    assert event == PolicyDecided(7, 100, "slow: decide took 0.6 s of a period of 1 s")
    assert ask(100, took_s=0.4) == PolicyDecided(7, 100)


@pytest.mark.parametrize(
    "answer",
    [ValueError("x" * 270 + SECRET), ValueError(SECRET), SECRET, "x" * 40 + SECRET],
)
def test_a_secret_in_the_policys_words_is_starred_even_where_they_are_cut(answer: object) -> None:
    event = ask(answer)
    assert isinstance(event, PolicyFailed)
    assert SECRET[:12] not in event.detail


def named(name: str) -> Config:
    return Config(bot=BotConfig(policy=name))


def test_the_built_in_policies_are_found_by_name() -> None:
    assert policies.load(named("hold"), scrub).ask(1, VIEW) == PolicyDecided(1, 300)
    cycle = policies.load(named("cycle"), scrub)
    assert cycle.period_s == 5.0
    assert cycle.ask(1, VIEW) == PolicyDecided(1, 100)


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mine.py").write_text(
        "class Good:\n"
        "    period_s = 2\n"
        "    def decide(self, view):\n        return 42\n"
        "class Bare:\n    def decide(self, view):\n        return 1\n"
        "class Frantic(Good):\n    period_s = 0\n"
        "class Odd(Good):\n    period_s = 'often'\n"
        "class Never(Good):\n    period_s = float('nan')\n"
        "class Mute:\n    pass\n"
        "class Raises(Good):\n    def __init__(self):\n        raise OSError('no weights')\n"
        "instance = Good()\n"
    )
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    (tmp_path / "quits.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    for name in ("mine", "broken", "quits"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("user_module")
def test_a_class_of_the_user_is_loaded_from_the_working_folder() -> None:
    runner = policies.load(named("mine:Good"), scrub)
    assert runner.period_s == 2.0
    assert runner.ask(1, VIEW) == PolicyDecided(1, 42)
    assert policies.load(named("mine:Bare"), scrub).period_s == 1.0


@pytest.mark.usefixtures("user_module")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("trend", "none of: hold, cycle"),
        ("mine.Good", "none of: hold, cycle"),
        ("no_such_module:A", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("broken:A", "broken cannot be imported"),
        ("quits:A", "quits cannot be imported: SystemExit"),
        ("mine:Absent", "has no class Absent"),
        ("mine:instance", "has no class instance"),
        ("mine:Mute", "no method decide"),
        ("mine:Raises", "mine:Raises() raised OSError: no weights"),
        ("mine:Frantic", "period_s = 0"),
        ("mine:Odd", "period_s = 'often'"),
        ("mine:Never", "period_s = nan"),
    ],
)
def test_a_policy_that_cannot_run_is_an_error_of_the_configuration(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policies.load(named(name), scrub)
    assert caught.value.key == "bot.policy"
    assert words in caught.value.accepted
