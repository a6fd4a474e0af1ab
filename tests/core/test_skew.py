"""A wrong clock is found, and a slow answer is none."""

import pytest

from chappie.core.skew import Skew
from chappie.model.units import SECOND_NS, At

NOW = At(100 * SECOND_NS, 1_764_000_000 * SECOND_NS)


def measured(ahead_s: float, took_s: float, *, whole_seconds: bool = False) -> Skew:
    """The offset found when the venue stated a time so far ahead of our clock at arrival."""
    skew = Skew(1.0)
    venue_ns = NOW.wall_ns + round(ahead_s * SECOND_NS)
    if whole_seconds:
        venue_ns -= venue_ns % SECOND_NS
    asked_ns = NOW.now_ns - round(took_s * SECOND_NS)
    skew.measured(venue_ns, NOW, asked_ns, whole_seconds=whole_seconds)
    return skew


@pytest.mark.parametrize(
    ("ahead_s", "took_s", "too_large"),
    [
        (0.0, 0.01, False),
        (-1.5, 0.01, True),
        (-1.5, 2.0, False),
        (-3.5, 2.0, True),
        (1.5, 0.01, True),
        (1.5, 2.0, True),
        (0.9, 2.0, False),
    ],
)
def test_only_what_lies_outside_of_question_and_answer_counts(
    ahead_s: float, took_s: float, too_large: bool
) -> None:
    assert measured(ahead_s, took_s).is_too_large is too_large


def test_a_time_cut_to_seconds_is_no_late_clock() -> None:
    assert not measured(-0.9, 0.0, whole_seconds=True).is_too_large
    assert measured(-3.0, 0.0, whole_seconds=True).is_too_large


def test_a_clock_that_was_set_is_not_sure_before_it_is_measured_again() -> None:
    skew = Skew(1.0)
    assert skew.is_sure, "nothing speaks against it"
    skew.doubt()
    assert not skew.is_sure
    skew.measured(NOW.wall_ns, NOW, NOW.now_ns)
    assert skew.is_sure
    skew.measured(NOW.wall_ns + 5 * SECOND_NS, NOW, NOW.now_ns)
    assert not skew.is_sure
