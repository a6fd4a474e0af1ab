"""Each safety property, taken away on purpose, is missed by the simulation's invariants."""

import msgspec
import pytest

from chappie.model.config import Config
from chappie.simulation.invariants import INVARIANTS
from chappie.simulation.night import Night, Violation
from chappie.simulation.scenario import Scenario, scenario
from tests.simulation.sabotages import SABOTAGES, Sabotage

SEEDS = range(1, 13)
MINUTES = 4


def nights_of(sabotage: Sabotage, seed: int) -> Scenario:
    """A night of the seed in which only what the sabotage needs goes wrong, and often."""
    plan = scenario(seed)
    config = msgspec.to_builtins(plan.config)
    config["orders"]["style"] = sabotage.style
    config["bot"]["max_position"] = max(config["bot"]["order_qty"], plan.qty - 100)
    return msgspec.structs.replace(
        plan,
        config=msgspec.convert(config, Config),
        kinds=sabotage.kinds,
        pace_s=4.0,
        period_s=2.0,
        per_minute=300,
    )


def first_caught(sabotage: Sabotage) -> Violation | None:
    for seed in SEEDS:
        result = Night(nights_of(sabotage, seed)).whole(MINUTES / 60)
        if result.violations:
            return result.violations[0]
    return None


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name)
def test_every_sabotage_is_caught(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage.apply(monkeypatch.setattr)
    violation = first_caught(sabotage)
    assert violation is not None, f"{sabotage.what}, and nobody noticed"
    assert violation.invariant in sabotage.caught_by, violation


def test_every_invariant_that_a_sabotage_names_exists() -> None:
    for sabotage in SABOTAGES:
        assert set(sabotage.caught_by) <= set(INVARIANTS)
