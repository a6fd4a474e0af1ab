"""The dead man's switch: what is proven, what may stand, when it is asked for again."""

import pytest

from chappie.core.switch import Switch
from chappie.model.config import DeadManConfig
from chappie.model.reports import SwitchArmed
from chappie.model.units import SECOND_NS, At

FENCE_NS = 24 * SECOND_NS
VENUE_NS = 1_764_000_000 * SECOND_NS


def s(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def switch() -> Switch:
    return Switch(DeadManConfig(timeout_s=60.0, refresh_every_s=15.0))


def stands(for_s: float = 60.0) -> SwitchArmed:
    """The venue's answer, on its own clock."""
    return SwitchArmed(VENUE_NS, VENUE_NS + s(for_s))


def armed(asked_at: float = 10.0) -> Switch:
    made = switch()
    made.asked(s(asked_at), False, FENCE_NS)
    made.answered(stands())
    return made


def test_asking_is_not_standing() -> None:
    made = switch()
    made.asked(s(10), False, FENCE_NS)
    assert not made.holds(s(11))
    assert made.pending


def test_the_time_left_counts_from_the_asking_and_not_from_the_answer() -> None:
    made = armed(10.0)
    assert made.holds(s(70) - 1)
    assert not made.holds(s(70))


@pytest.mark.parametrize("for_s", [0.06, 5.0, 58.9, 61.1, 600.0])
def test_an_answer_with_another_time_than_was_asked_for_proves_nothing(for_s: float) -> None:
    made = armed(10.0)
    made.asked(s(20), False, FENCE_NS)
    assert not made.answered(stands(for_s))
    assert not made.holds(s(20)), "it replaced the timer that was proven"
    assert made.may_stand
    assert not made.pending
    assert not made.may_ask(s(21) - 1)


@pytest.mark.parametrize("for_s", [59.1, 60.9])
def test_what_the_clocks_may_differ_by_is_tolerated_and_the_venues_own_time_counts(
    for_s: float,
) -> None:
    made = switch()
    made.asked(0, False, FENCE_NS)
    assert made.answered(stands(for_s))
    assert made.holds(s(for_s) - 1)
    assert not made.holds(s(for_s))


def test_an_arming_that_is_answered_as_disarmed_and_the_reverse_prove_nothing() -> None:
    made = armed(10.0)
    made.asked(s(20), False, FENCE_NS)
    assert not made.answered(SwitchArmed(VENUE_NS, None))
    assert not made.holds(s(20))
    made = armed(10.0)
    made.asked(s(20), True, FENCE_NS)
    assert not made.answered(stands())
    assert made.may_stand


# --- a missed renewal


def at_s(seconds: float) -> At:
    return At(s(seconds), VENUE_NS + s(seconds))


def test_a_renewal_is_missed_after_its_period_and_a_requests_time_and_told_once() -> None:
    made = armed(10.0)
    assert not made.is_missed(at_s(28), relied_on=True)
    assert made.missed_wall_ns is None
    assert made.is_missed(at_s(28.001), relied_on=True)
    assert made.missed_wall_ns == VENUE_NS + s(25), "when it was due"
    assert not made.is_missed(at_s(29), relied_on=True)
    assert made.missed_wall_ns == VENUE_NS + s(25)
    made.asked(s(29), False, FENCE_NS)
    made.answered(stands())
    assert not made.is_missed(at_s(29), relied_on=True)
    assert made.missed_wall_ns is None


def test_what_nothing_relies_on_is_not_missed() -> None:
    made = armed(10.0)
    assert not made.is_missed(at_s(100), relied_on=False)
    assert made.is_missed(at_s(101), relied_on=True)
    assert not made.is_missed(at_s(102), relied_on=False)
    assert made.missed_wall_ns is None
    assert not switch().is_missed(at_s(1000), relied_on=True), "never armed by us"


def test_it_runs_out_only_when_a_renewal_is_missed_and_the_time_is_nearly_over() -> None:
    made = armed(10.0)
    assert not made.runs_out(s(70)), "not missed yet"
    made.is_missed(at_s(50), relied_on=True)
    assert not made.runs_out(s(70) - 1)
    assert made.runs_out(s(70))
    made.lapse(s(71))
    assert made.runs_out(s(71)), "past its time as well"


def test_a_refresh_is_due_after_its_period_and_not_while_one_is_under_way() -> None:
    made = armed(10.0)
    assert not made.refresh_due(s(25) - 1)
    assert made.refresh_due(s(25))
    made.asked(s(25), False, FENCE_NS)
    assert not made.refresh_due(s(50))


def test_a_refresh_without_an_answer_proves_nothing_new() -> None:
    made = armed(10.0)
    made.asked(s(25), False, FENCE_NS)
    made.unanswered()
    assert made.holds(s(69))
    assert not made.holds(s(70))


def test_what_failed_is_not_asked_again_within_a_second() -> None:
    made = switch()
    made.asked(s(10), False, FENCE_NS)
    made.unanswered()
    assert not made.may_ask(s(11) - 1)
    assert made.may_ask(s(11))


def test_no_order_may_rely_on_it_once_a_disarm_is_asked_for() -> None:
    made = armed(10.0)
    made.asked(s(20), True, FENCE_NS)
    assert not made.holds(s(20))
    assert made.may_stand
    made.unanswered()
    assert not made.holds(s(21))
    assert made.may_stand, "a lost disarm leaves it standing for all we know"


def test_only_the_venues_word_calls_it_disarmed() -> None:
    made = armed(10.0)
    made.asked(s(20), True, FENCE_NS)
    made.answered(SwitchArmed(VENUE_NS, None))
    assert not made.may_stand


def test_past_its_time_it_protects_nothing() -> None:
    made = armed(10.0)
    made.lapse(s(70) - 1)
    assert made.holds(s(60))
    made.lapse(s(70))
    assert made.armed_until_ns is None


def test_an_arming_that_got_no_answer_may_stand() -> None:
    made = switch()
    assert not made.may_stand
    made.asked(s(10), False, FENCE_NS)
    made.unanswered()
    assert made.may_stand
    made.lapse(s(10_000))
    assert not made.may_stand


def test_an_unanswered_disarm_keeps_the_next_arming_waiting_until_it_cannot_arrive() -> None:
    made = armed(10.0)
    made.asked(s(20), True, FENCE_NS)
    assert not made.may_ask_for(s(20), disarm=False)
    made.unanswered()
    assert not made.may_ask_for(s(24) - 1, disarm=False)
    assert not made.refresh_due(s(24) - 1)
    assert made.may_ask_for(s(22), disarm=True), "the same again does no harm"
    assert made.may_ask_for(s(24), disarm=False)


def test_an_answered_disarm_keeps_nobody_waiting() -> None:
    made = armed(10.0)
    made.asked(s(20), True, FENCE_NS)
    made.answered(SwitchArmed(VENUE_NS, None))
    assert made.may_ask_for(s(20), disarm=False)


def test_a_dead_process_may_have_disarmed_so_nothing_is_armed_before_that_can_arrive() -> None:
    made = switch()
    made.inherited(s(10), s(14))
    assert not made.may_ask_for(s(14) - 1, disarm=False)
    assert made.may_ask_for(s(14), disarm=False)
    assert made.may_ask_for(s(11), disarm=True)
