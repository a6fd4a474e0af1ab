"""The request budget: own count, refill, hysteresis, what is in flight, waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.budget import Budget
from chappie.model.config import RateLimitConfig
from chappie.model.enums import Lane
from chappie.model.records import Waits
from chappie.model.reports import BudgetSeen
from chappie.model.units import SECOND_NS, At
from tests.core.parts import WALL_NS, at


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
    assert spent.was_heard


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
    spent = budget(21)
    spent.judge(0)
    for level in levels:
        spent.seen(0, seen(level))
        spent.judge(0)
    assert spent.locked is locked
    assert spent.is_open(Lane.OPEN, 0) is not locked
    assert spent.is_open(Lane.CANCEL, 0)


def test_a_full_bucket_unlocks_though_the_venue_grants_less_than_is_configured() -> None:
    spent = Budget(RateLimitConfig(lock_below=10, unlock_above=200))
    spent.seen(0, seen(59, limit=60))
    spent.judge(0)
    assert spent.locked
    spent.seen(0, seen(60, limit=60))
    spent.judge(0)
    assert not spent.locked


def test_a_wait_that_the_venue_asked_for_is_kept_to_its_end() -> None:
    asked = budget()
    asked.limited(at(0), 3.0, seen(50))
    asked.limited(at(0), 1.0, seen(50))
    asked.judge(0)
    for lane in Lane:
        assert not asked.is_open(lane, 3 * SECOND_NS - 1)
        assert asked.is_open(lane, 3 * SECOND_NS)


def test_failing_answers_make_us_wait_longer_and_longer_within_a_bound() -> None:
    failing, now_ns, waits = budget(), 0, []
    for _ in range(6):
        failing.failed(now_ns)
        failing.failed(now_ns)
        waits.append((failing.pauses_until_ns - now_ns) / SECOND_NS)
        now_ns = failing.pauses_until_ns
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    failing.served()
    failing.failed(now_ns)
    assert failing.pauses_until_ns - now_ns == SECOND_NS // 2


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
    assert not failing.judge(0)
    failing.failed(0)
    assert not failing.is_open(Lane.OPEN, 0)
    assert not failing.is_open(Lane.RECONCILE, 0)
    assert failing.is_open(Lane.CANCEL, 0)
    assert not failing.judge(0)
    failing.limited(at(0), 2.0, seen(120))
    assert failing.judge(0)
    assert failing.words(at(0)) == (
        "no request for 2.0 s, until 2025-11-24T16:00:02.000Z, as the venue wants it; "
        "120 requests left"
    )


# --- a process that begins


def test_a_new_process_assumes_only_the_reserve_until_it_hears_more() -> None:
    begun = Budget(RateLimitConfig(lock_below=10, unlock_above=20))
    begun.begin(At(1000 * SECOND_NS, WALL_NS), None)
    assert begun.judge(1000 * SECOND_NS)
    assert begun.remaining(1000 * SECOND_NS) == 10
    assert begun.is_open(Lane.RECONCILE, 1000 * SECOND_NS, 4)
    assert not begun.is_open(Lane.OPEN, 1000 * SECOND_NS)
    begun.seen(1000 * SECOND_NS, seen(100))
    assert not begun.judge(1000 * SECOND_NS)
    assert begun.is_open(Lane.OPEN, 1000 * SECOND_NS)


def test_a_venue_that_never_tells_its_budget_is_unlocked_by_our_own_count() -> None:
    begun = Budget(RateLimitConfig(lock_below=10, unlock_above=20))
    begun.begin(At(1000 * SECOND_NS, WALL_NS), None)
    assert begun.judge(1005 * SECOND_NS)
    assert not begun.judge(1006 * SECOND_NS)
    assert not begun.was_heard


def test_reads_leave_a_part_of_the_reserve_to_cancels() -> None:
    low = budget(4)
    assert low.is_open(Lane.RECONCILE, 0)
    assert not low.is_open(Lane.RECONCILE, 0, 2)
    low.sent(0)
    assert not low.is_open(Lane.RECONCILE, 0)
    assert low.is_open(Lane.CANCEL, 0)
    assert low.is_open(Lane.RECONCILE, SECOND_NS // 2)


# --- the second layer


def test_an_order_waits_for_the_next_second_and_a_cancel_never_for_an_order() -> None:
    paced = budget()
    paced.begin(At(0, WALL_NS), None)
    assert paced.paces(Lane.REDUCE, 0), "an earlier process may have spent it"
    assert not paced.paces(Lane.OPEN, SECOND_NS)
    waits = []
    for _ in range(10):
        paced.sent(SECOND_NS, enters=True)
        waits.append((paced.paces(Lane.OPEN, SECOND_NS), paced.paces(Lane.REDUCE, SECOND_NS)))
    assert waits == 4 * [(False, False)] + 2 * [(True, False)] + 4 * [(True, True)]
    assert paced.is_open(Lane.CANCEL, SECOND_NS)
    assert not paced.paces(Lane.REDUCE, SECOND_NS * 14 // 10)
    assert paced.paces(Lane.OPEN, SECOND_NS * 14 // 10)
    assert not paced.paces(Lane.OPEN, SECOND_NS * 16 // 10)


def test_the_second_layer_follows_its_own_headers_and_not_those_of_reads() -> None:
    paced = budget()
    paced.seen(SECOND_NS, BudgetSeen(120, 100, None, 2, 10))
    assert paced.paces(Lane.REDUCE, SECOND_NS)
    paced.seen(SECOND_NS, seen(100))
    assert paced.paces(Lane.REDUCE, SECOND_NS)
    paced.seen(SECOND_NS, BudgetSeen(120, 100, None, 1, 1))
    assert not paced.paces(Lane.OPEN, SECOND_NS), "a venue with one a second leaves no reserve"


# --- waits that a restart must not forget


def test_a_429_without_words_is_an_empty_bucket_and_a_second_of_silence() -> None:
    limited = budget()
    limited.limited(at(0), None, seen(None, None))
    assert limited.judge(0)
    assert not limited.is_open(Lane.CANCEL, SECOND_NS - 1)
    assert limited.is_open(Lane.CANCEL, SECOND_NS)
    assert limited.remaining(0) == 0


def test_a_long_wait_is_kept_once_and_binds_the_next_process() -> None:
    told = budget()
    told.limited(at(0), 2.0, seen(50))
    assert told.take_record(at(0)) is None, "over before anybody could start"
    told.limited(at(0), 60.0, seen(50))
    record = told.take_record(at(0))
    assert record == Waits(WALL_NS, WALL_NS + 60 * SECOND_NS, False)
    told.limited(at(1), 59.0, seen(50))
    assert told.take_record(at(1)) is None
    later = Budget(RateLimitConfig())
    later.begin(At(5, WALL_NS + 20 * SECOND_NS), record)
    later.seen(5, seen(100))
    assert not later.is_open(Lane.CANCEL, 40 * SECOND_NS)
    assert later.is_open(Lane.CANCEL, 40 * SECOND_NS + 5)
    assert not later.banned
    assert later.take_record(At(5, WALL_NS + 20 * SECOND_NS)) is None


def test_a_ban_lasts_an_hour_unless_the_venue_says_otherwise_and_never_beyond_a_week() -> None:
    for said_s, lasts_s in ((None, 3600), (120.0, 120), (1e12, 7 * 86_400), (-1.0, 0)):
        banned = budget()
        banned.ban(at(0), said_s)
        assert banned.banned
        assert not banned.is_open(Lane.CANCEL, lasts_s * SECOND_NS - 1)
        assert banned.is_open(Lane.CANCEL, lasts_s * SECOND_NS)


def test_a_wait_that_is_over_binds_nobody_and_a_clock_set_back_makes_it_no_longer() -> None:
    record = Waits(WALL_NS, WALL_NS + 3600 * SECOND_NS, True)
    over = Budget(RateLimitConfig())
    over.begin(At(0, record.until_wall_ns), record)
    assert not over.banned
    back = Budget(RateLimitConfig())
    back.begin(At(0, WALL_NS - 86_400 * SECOND_NS), record)
    assert back.banned
    assert not back.is_open(Lane.CANCEL, 3600 * SECOND_NS - 1)
    assert back.is_open(Lane.CANCEL, 3600 * SECOND_NS)
