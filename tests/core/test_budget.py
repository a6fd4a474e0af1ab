"""The request budget: own count, refill, hysteresis, what is in flight, waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.budget import Budget
from chappie.model.config import RateLimitConfig
from chappie.model.reports import BudgetSeen
from chappie.model.units import SECOND_NS


def seen(remaining: int | None, limit: int | None = 120) -> BudgetSeen:
    return BudgetSeen(limit, remaining, None, None)


def budget(remaining: int = 120) -> Budget:
    made = Budget(RateLimitConfig(lock_below=10, unlock_above=20))
    made.seen(0, seen(remaining))
    return made


def test_every_send_is_counted_at_once() -> None:
    spent = budget()
    for _ in range(7):
        spent.sent(0)
    assert spent.remaining(0) == 113


def test_the_bucket_refills_continuously_and_never_beyond_its_limit() -> None:
    spent = budget(0)
    assert spent.remaining(SECOND_NS // 2) == 1
    assert spent.remaining(30 * SECOND_NS) == 60
    assert spent.remaining(1000 * SECOND_NS) == 120


def test_a_header_replaces_the_estimate_less_what_is_in_flight() -> None:
    spent = budget()
    spent.sent(0)
    spent.sent(0)
    spent.ended()
    spent.seen(0, seen(50))
    assert spent.remaining(0) == 49
    assert spent.heard == 50


def test_an_answer_without_headers_leaves_the_own_count() -> None:
    spent = budget()
    spent.sent(0)
    spent.ended()
    spent.seen(0, seen(None, None))
    assert spent.remaining(0) == 119


def test_the_end_of_more_requests_than_were_sent_is_no_credit() -> None:
    spent = budget(50)
    spent.ended()
    spent.seen(0, seen(50))
    assert spent.remaining(0) == 50


@pytest.mark.parametrize(
    ("levels", "locked"),
    [
        ([10], False),
        ([9], True),
        ([9, 15], True),
        ([9, 20], True),
        ([9, 21], False),
        ([9, 21, 15], False),
        ([9, 21, 9], True),
    ],
)
def test_it_locks_below_and_unlocks_only_well_above(levels: list[int], locked: bool) -> None:
    spent = budget()
    for level in levels:
        spent.seen(0, seen(level))
        spent.judge(0)
    assert spent.locked is locked
    assert spent.is_shut(0) is locked


def test_a_wait_that_the_venue_asked_for_is_kept_to_its_end() -> None:
    asked = budget()
    asked.shut(0, 3.0)
    asked.shut(0, 1.0)
    assert asked.is_shut(3 * SECOND_NS - 1)
    assert not asked.is_shut(3 * SECOND_NS)


def test_failing_answers_make_us_wait_longer_and_longer_within_a_bound() -> None:
    failing, now_ns, waits = budget(), 0, []
    for _ in range(6):
        failing.failed(now_ns)
        failing.failed(now_ns)
        waits.append((failing.shut_until_ns - now_ns) / SECOND_NS)
        now_ns = failing.shut_until_ns
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    failing.served()
    failing.failed(now_ns)
    assert failing.shut_until_ns - now_ns == SECOND_NS // 2


@given(st.lists(st.tuples(st.integers(0, 5 * SECOND_NS), st.booleans()), max_size=300))
def test_our_own_count_never_allows_more_than_the_venue_does(
    steps: list[tuple[int, bool]],
) -> None:
    """Against a bucket of exact fractions that refills like the venue's."""
    ours, now_ns = budget(), 0
    venue = 120 * 60 * SECOND_NS
    for wait_ns, send in steps:
        now_ns += wait_ns
        venue = min(120 * 60 * SECOND_NS, venue + wait_ns * 120)
        if send and ours.remaining(now_ns) >= 1:
            ours.sent(now_ns)
            venue -= 60 * SECOND_NS
        assert venue >= -60 * SECOND_NS // 1000, "one thousandth of a request, for the float"


def test_a_pause_of_our_own_blocks_orders_and_is_no_low_budget() -> None:
    failing = budget()
    failing.failed(0)
    assert failing.is_shut(0)
    assert not failing.judge(0)
    failing.shut(0, 2.0)
    assert failing.judge(0)
    assert failing.words(0) == "no request for 2.0 s, as the venue wants it; 120 requests left"
