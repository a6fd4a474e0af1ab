"""The one table between faults, postures and stops."""

from hypothesis import given
from hypothesis import strategies as st

from chappie.core.faults import ActiveFaults
from chappie.core.outbox import Outbox
from chappie.model.config import Config
from chappie.model.faults import FAULTS, After, Fault, Posture, StopReason
from chappie.model.units import At

# Of the contract, by hand: (code, reason, whether the guardian starts the trader again).
CONTRACT = (
    (0, "operator", False),
    (10, "feed_stale", True),
    (11, "feed_unsynced", True),
    (12, "order_unresolved", True),
    (13, "position_mismatch", True),
    (14, "venue_refused", False),
    (15, "clock_skew", True),
    (16, "invariant_violated", False),
    (17, "loop_stalled", True),
    (18, "journal_failed", False),
    (19, "venue_degraded", True),
    (20, "halted", False),
    (21, "not_alone", False),
    (22, "killed", True),
    (23, "guardian_lost", False),
    (64, "config", False),
    (70, "internal_error", True),
)

AT = At(1_000_000_000, 0)


def test_stop_reasons_are_those_of_the_contract() -> None:
    ours = [(reason.value, reason.word, reason.restarts) for reason in StopReason]
    assert ours == list(CONTRACT)


def test_every_fault_has_a_row_in_the_order_in_which_ties_are_broken() -> None:
    assert list(FAULTS) == list(Fault)


def test_every_fault_limits_what_we_may_do() -> None:
    assert [fault for fault, row in FAULTS.items() if row.posture is Posture.ACTIVE] == []


def test_a_fault_stops_the_process_exactly_where_a_time_and_a_reason_are_given() -> None:
    halves = [f for f, row in FAULTS.items() if (row.after is After.NEVER) != (row.stop is None)]
    assert halves == []


def test_every_fault_says_in_words_what_clears_it() -> None:
    assert [fault for fault, row in FAULTS.items() if not row.clears.strip()] == []


def test_a_latched_fault_that_stops_does_so_at_once() -> None:
    """Nothing inside the process could clear it, so waiting would be for nothing."""
    after = [row.after for row in FAULTS.values() if row.latches and row.stop is not None]
    assert set(after) == {After.AT_ONCE}


def test_the_policy_is_not_asked_while_what_it_would_see_is_not_true() -> None:
    blind = (
        Fault.STREAM_DOWN,
        Fault.STREAM_UNSYNCED,
        Fault.MARKET_STALE,
        Fault.WIRE_REFUSED,
        Fault.INSTRUMENT_UNKNOWN,
        Fault.POSITION_DISAGREES,
        Fault.UNRECONCILED,
    )
    assert [fault for fault in blind if FAULTS[fault].decides] == []


def test_postures_grow_stricter() -> None:
    assert Posture.ACTIVE < Posture.REDUCE_ONLY < Posture.CANCEL_ONLY < Posture.HALTED


def test_without_faults_everything_is_allowed() -> None:
    assert ActiveFaults(Config(), Outbox()).posture is Posture.ACTIVE


@given(faults=st.lists(st.sampled_from(Fault), unique=True))
def test_the_posture_is_the_strictest_that_any_active_fault_demands(faults: list[Fault]) -> None:
    active = ActiveFaults(Config(), Outbox())
    for fault in faults:
        active.raise_(fault, AT, "test")
    demanded = [FAULTS[fault].posture for fault in faults]
    assert active.posture == max(demanded, default=Posture.ACTIVE)


@given(faults=st.permutations(list(Fault)), kept=st.integers(0, len(Fault)))
def test_the_posture_follows_when_faults_clear(faults: list[Fault], kept: int) -> None:
    active = ActiveFaults(Config(), Outbox())
    for fault in faults:
        active.raise_(fault, AT, "test")
    for fault in faults[kept:]:
        active.clear(fault)
    still = [f for f in faults if f in faults[:kept] or FAULTS[f].latches]
    demanded = [FAULTS[fault].posture for fault in still]
    assert active.posture == max(demanded, default=Posture.ACTIVE)
