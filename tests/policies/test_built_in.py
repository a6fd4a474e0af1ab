"""The built-in policies, as functions of what they see."""

import msgspec

from chappie.model.view import Policy
from chappie.policies.cycle import Cycle
from chappie.policies.hold import Hold
from tests.live.fakes import VIEW


def test_hold_wants_what_it_has() -> None:
    assert Hold().decide(VIEW) == VIEW.position
    assert isinstance(Hold(), Policy)


def targets(cycle: Cycle, *seconds: float) -> list[int]:
    return [cycle.decide(msgspec.structs.replace(VIEW, at=VIEW.at + s)) for s in seconds]


def test_cycle_steps_once_each_period_and_goes_round() -> None:
    assert targets(Cycle(200, 5.0), 0, 5, 10, 15, 20, 25) == [200, 0, -200, 0, 200, 0]


def test_cycle_keeps_its_step_within_a_period_and_skips_what_it_was_not_asked() -> None:
    assert targets(Cycle(200, 5.0), 0, 1, 4.9, 10.2, 21) == [200, 200, 200, -200, 200]


def test_cycle_forgives_a_question_that_comes_a_hair_early_and_a_clock_set_back() -> None:
    assert targets(Cycle(200, 5.0), 0, 4.99, -3) == [200, 0, 200]
