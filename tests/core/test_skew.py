"""A wrong clock is found, and a slow answer is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_coarse_answer_does_not_undo_what_a_fine_one_found() -> None:
    skew = Skew(1.0)
    skew.measured(NOW.wall_ns + 1_200_000_000, NOW, NOW.now_ns)
    assert skew.is_too_large
    # The Date of the same venue clock, cut to a second, would fit a right clock as well.
    skew.measured(NOW.wall_ns + SECOND_NS, NOW, NOW.now_ns, whole_seconds=True)
    assert skew.is_too_large
    skew.measured(NOW.wall_ns, NOW, NOW.now_ns)
    assert not skew.is_too_large


@given(
    st.floats(-3, 3),
    st.lists(
        st.tuples(st.integers(0, 3 * SECOND_NS), st.integers(0, 10**9), st.integers(0, 10**9)),
        min_size=1,
        max_size=50,
    ),
)
def test_answers_however_slow_and_coarse_never_accuse_a_clock_that_is_right(
    offset_s: float, answers: list[tuple[int, int, int]]
) -> None:
    """Whatever the ways there and back took, the true offset is never overstated."""
    skew, offset_ns, now_ns = Skew(1.0), round(offset_s * SECOND_NS), NOW.now_ns
    for pause_ns, there_ns, back_ns in answers:
        asked_ns = now_ns + pause_ns
        now_ns = asked_ns + there_ns + back_ns
        at = At(now_ns, NOW.wall_ns + now_ns)
        stated_ns = NOW.wall_ns + asked_ns + there_ns + offset_ns
        skew.measured(stated_ns - stated_ns % SECOND_NS, at, asked_ns, whole_seconds=True)
        assert skew.offset_ns is not None
        assert abs(skew.offset_ns) <= abs(offset_ns)
    if abs(offset_s) <= 1.0:
        assert not skew.is_too_large


def test_a_clock_that_drifts_is_found_by_answers_that_state_whole_seconds() -> None:
    skew, found_s = Skew(1.0), None
    for tick in range(3000):
        ago_ns = tick * SECOND_NS // 10
        at = At(NOW.now_ns + ago_ns, NOW.wall_ns + ago_ns)
        stated_ns = at.wall_ns + ago_ns // 100  # ten milliseconds a second
        skew.measured(stated_ns - stated_ns % SECOND_NS, at, at.now_ns, whole_seconds=True)
        if skew.is_too_large:
            found_s = (stated_ns - at.wall_ns) / SECOND_NS
            break
    assert found_s is not None
    assert 1.0 < found_s < 1.2
