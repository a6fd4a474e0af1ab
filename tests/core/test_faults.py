"""Active faults: the posture is their maximum, the first deadline stops, ties go by the table."""

import itertools

import pytest

from chappie.core.faults import ActiveFaults, StopDue
from chappie.model.faults import FAULTS, After, Fault, Posture, StopReason
from chappie.model.units import SECOND_NS
from tests.core.parts import at, config, outbox

SHORT = config(
    feed={"fault_after_s": 20.0, "sync_fault_after_s": 150.0},
    orders={"resolve_within_s": 15.0},
    reconcile={"fault_after_s": 60.0},
)
AFTER_S = {
    After.AT_ONCE: 0.0,
    After.FEED_FAULT: 20.0,
    After.FEED_SYNC: 150.0,
    After.ORDER_RESOLVE: 15.0,
    After.RECONCILE: 60.0,
}


def active(*raised: tuple[Fault, float]) -> ActiveFaults:
    faults = ActiveFaults(SHORT, outbox())
    for fault, seconds in raised:
        faults.raise_(fault, at(seconds), fault.value)
    return faults


def test_with_nothing_wrong_everything_is_allowed() -> None:
    assert active().posture is Posture.ACTIVE
    assert active().decides
    assert not active().wants_withdrawal
    assert active().stop_due(10**18) is None


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(Fault, 2)))
def test_the_posture_is_the_highest_that_any_fault_demands(one: Fault, other: Fault) -> None:
    both = active((one, 0), (other, 0))
    assert both.posture is max(FAULTS[one].posture, FAULTS[other].posture)
    assert both.decides == (FAULTS[one].decides and FAULTS[other].decides)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_fault_stops_exactly_at_its_own_deadline(fault: Fault) -> None:
    row = FAULTS[fault]
    faults = active((fault, 100))
    if row.stop is None:
        assert faults.stop_due(10**18) is None
        return
    due_ns = at(100 + AFTER_S[row.after]).now_ns
    assert faults.stop_due(due_ns) == StopDue(row.stop, fault.value)
    if row.after is not After.AT_ONCE:
        assert faults.stop_due(due_ns - 1) is None


def test_the_earliest_deadline_counts_and_not_the_earliest_fault() -> None:
    faults = active((Fault.UNRECONCILED, 0), (Fault.MARKET_STALE, 30))
    assert faults.stop_due(at(61).now_ns) == StopDue(StopReason.FEED_STALE, "market_stale")


def test_ties_go_by_the_order_of_the_table() -> None:
    pair = [(Fault.UNRECONCILED, 0.0), (Fault.POSITION_DISAGREES, 0.0)]
    due = StopDue(StopReason.VENUE_DEGRADED, "unreconciled")
    assert active(*pair).stop_due(at(60).now_ns) == due
    assert active(*reversed(pair)).stop_due(at(60).now_ns) == due


def test_raising_again_keeps_the_earlier_beginning() -> None:
    faults = active((Fault.MARKET_STALE, 10))
    assert not faults.raise_(Fault.MARKET_STALE, at(15), "still")
    assert faults.since_ns(Fault.MARKET_STALE) == 10 * SECOND_NS
    faults.raise_(Fault.MARKET_STALE, at(16), "since long", since_ns=7 * SECOND_NS)
    assert faults.since_ns(Fault.MARKET_STALE) == 7 * SECOND_NS


def test_subjects_are_faults_of_their_own() -> None:
    faults = active()
    faults.raise_(Fault.STREAM_UNSYNCED, at(0), "no image", "order")
    faults.raise_(Fault.STREAM_UNSYNCED, at(50), "no image", "quote")
    assert faults.clear(Fault.STREAM_UNSYNCED, "order")
    assert faults.has(Fault.STREAM_UNSYNCED, "quote")
    due = faults.stop_due(at(200).now_ns)
    assert due == StopDue(StopReason.FEED_UNSYNCED, "quote: no image")


@pytest.mark.parametrize("fault", list(Fault))
def test_only_a_fault_that_does_not_latch_can_be_cleared(fault: Fault) -> None:
    faults = active((fault, 0))
    assert faults.clear(fault) is not FAULTS[fault].latches
    assert faults.has(fault) is FAULTS[fault].latches


def test_clearing_what_is_not_there_is_not_told() -> None:
    box = outbox()
    faults = ActiveFaults(SHORT, box)
    assert not faults.clear(Fault.MARKET_STALE)
    assert box.take() == []


@pytest.mark.parametrize("fault", [Fault.BUDGET_LOW, Fault.ORDER_IN_DOUBT])
def test_what_blocks_new_orders_only_leaves_resting_ones_alone(fault: Fault) -> None:
    assert not active((fault, 0)).wants_withdrawal
    assert active((fault, 0), (Fault.MARKET_STALE, 0)).wants_withdrawal
