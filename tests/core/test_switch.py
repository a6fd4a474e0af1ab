"""The dead man's switch: what is proven, what may stand, when it is asked for again."""

from chappie.core.switch import Switch
from chappie.model.config import DeadManConfig
from chappie.model.reports import SwitchArmed
from chappie.model.units import SECOND_NS

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


def test_the_venues_own_answer_counts_and_not_what_was_asked_for() -> None:
    made = switch()
    made.asked(0, False, FENCE_NS)
    made.answered(stands(5.0))
    assert not made.holds(s(5))


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
