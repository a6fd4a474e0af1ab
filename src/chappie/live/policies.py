"""Loads the policy and asks it: whatever it does, one event comes back and nothing escapes."""

import importlib
import math
import operator
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chappie.model.config import Config, ConfigError
from chappie.model.events import PolicyDecided, PolicyFailed
from chappie.model.view import Policy, View
from chappie.policies.cycle import Cycle
from chappie.policies.hold import Hold

PERIOD_S_DEFAULT = 1.0
_PERIOD_S_MAX = 86_400.0
_DETAIL_MAX = 300
_CLASS_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

_BUILT_IN: dict[str, Callable[[Config], Policy]] = {
    "hold": lambda config: Hold(),
    "cycle": lambda config: Cycle(config.policy.cycle.qty, config.policy.cycle.period_s),
}


class PolicyRunner:
    """Asks one policy, in the decision loop's own thread.

    A policy that does not return is the watchdog's case: the loop no longer turns.
    """

    def __init__(
        self,
        policy: Policy,
        period_s: float,
        max_position: int,
        timer: Callable[[], float],
        scrub: Callable[[str], str],
    ) -> None:
        """``scrub`` takes secrets out of the policy's own words, which are journalled."""
        self._policy = policy
        self._scrub = scrub
        self.period_s = period_s
        self._max_position = max_position
        self._timer = timer

    def ask(self, decision: int, view: View) -> PolicyDecided | PolicyFailed:
        """The policy's answer as an event. Never raises."""
        began = self._timer()
        try:
            answer = self._policy.decide(view)
        # The edge to code that is not ours: its bug makes the bot observe, not crash.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            return PolicyFailed(decision, f"decide raised {_words(error, self._scrub)}")
        took_s = self._timer() - began
        target = _as_target(answer)
        if target is None:
            return PolicyFailed(
                decision,
                f"decide answered {_short(answer, self._scrub)}, not a whole number of contracts",
            )
        if abs(target) > self._max_position:
            return PolicyFailed(
                decision,
                f"decide answered {target}, beyond bot.max_position = {self._max_position}",
            )
        note = ""
        if took_s > self.period_s / 2:
            note = f"slow: decide took {took_s:.3g} s of a period of {self.period_s:g} s"
        return PolicyDecided(decision, target, note)


def load(
    config: Config,
    scrub: Callable[[str], str],
    timer: Callable[[], float] = time.perf_counter,
) -> PolicyRunner:
    """The policy that `bot.policy` names. Raises `ConfigError` when there is none to run."""
    name = config.bot.policy
    make = _BUILT_IN.get(name)
    policy = make(config) if make is not None else _load_class(name, scrub)
    period_s = getattr(policy, "period_s", PERIOD_S_DEFAULT)
    if (
        isinstance(period_s, bool)
        or not isinstance(period_s, (int, float))
        or not math.isfinite(period_s)
        or not 0 < period_s <= _PERIOD_S_MAX
    ):
        raise ConfigError(
            "bot.policy",
            f"{name}: period_s = {_short(period_s, scrub)} is not a number of seconds above 0",
        )
    return PolicyRunner(policy, float(period_s), config.bot.max_position, timer, scrub)


def _load_class(name: str, scrub: Callable[[str], str]) -> Policy:
    if _CLASS_PATH.fullmatch(name) is None:
        raise ConfigError(
            "bot.policy", f'{name!r} is none of: {", ".join(_BUILT_IN)}, "package.module:Class"'
        )
    module_name, _, class_name = name.partition(":")
    here = str(Path.cwd())
    # A console script does not search the working folder, where a user's module usually is.
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            "bot.policy", f"{module_name} cannot be imported: {_words(error, scrub)}"
        ) from error
    made = getattr(module, class_name, None)
    if not isinstance(made, type):
        raise ConfigError("bot.policy", f"module {module_name} has no class {class_name}")
    try:
        policy: object = made()
    except (Exception, SystemExit) as error:
        raise ConfigError("bot.policy", f"{name}() raised {_words(error, scrub)}") from error
    if not isinstance(policy, Policy) or not callable(policy.decide):
        raise ConfigError("bot.policy", f"{name} has no method decide(view) -> int")
    return policy


def _as_target(answer: object) -> int | None:
    """An integer of any kind (numpy's too), but no truth value and no float."""
    if isinstance(answer, bool):
        return None
    try:
        return operator.index(answer)  # type: ignore[arg-type]  # anything may come: hence the try
    except (TypeError, ValueError):
        return None


def _short(value: object, scrub: Callable[[str], str]) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (code that is not ours again)
        text = f"a {type(value).__name__}"
    # Scrubbed before it is cut: half a secret is still one.
    text = scrub(text)
    return text if len(text) <= 60 else text[:60] + "…"


def _words(error: BaseException, scrub: Callable[[str], str]) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (code that is not ours again)
        text = ""
    return scrub(f"{type(error).__name__}: {text}")[:_DETAIL_MAX]
