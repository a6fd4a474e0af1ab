"""What is wrong, and what that allows: faults, postures and the one table between them.

A fault is a fact of the world. The posture is always computed as the maximum that the active
faults demand, never assigned. The table in `docs/safety.md` is generated from `FAULTS`.
"""

from enum import Enum, IntEnum

import msgspec

from chappie.model.units import SECOND_NS

# How long a stop may take until it is said, verified or not: to cancel and to read once more; at a
# start into a halt also to find what a dead run left; with a flatten also to close the position
# and to learn the fate of an order whose answer is lost. The shell ends by force a little later.
STOP_WINDOW_NS = 3 * SECOND_NS
HALT_WINDOW_NS = 10 * SECOND_NS
FLATTEN_WINDOW_NS = 20 * SECOND_NS


class Posture(IntEnum):
    """What we may do; the highest demanded wins."""

    ACTIVE = 0
    REDUCE_ONLY = 1
    CANCEL_ONLY = 2
    HALTED = 3


class StopReason(Enum):
    """The reasons of the contract; the value is the exit code of `chappie trade`."""

    OPERATOR = 0
    FEED_STALE = 10
    FEED_UNSYNCED = 11
    ORDER_UNRESOLVED = 12
    POSITION_MISMATCH = 13
    VENUE_REFUSED = 14
    CLOCK_SKEW = 15
    INVARIANT_VIOLATED = 16
    LOOP_STALLED = 17
    JOURNAL_FAILED = 18
    VENUE_DEGRADED = 19
    HALTED = 20
    NOT_ALONE = 21
    KILLED = 22
    GUARDIAN_LOST = 23
    CONFIG = 64
    INTERNAL_ERROR = 70

    @property
    def word(self) -> str:
        """The reason as logs, files and the API spell it."""
        return self.name.lower()

    @property
    def restarts(self) -> bool:
        """Whether the guardian starts the trader again by itself."""
        return self not in _NOT_RESTARTED


_NOT_RESTARTED = frozenset(
    {
        StopReason.OPERATOR,
        StopReason.VENUE_REFUSED,
        StopReason.INVARIANT_VIOLATED,
        StopReason.JOURNAL_FAILED,
        StopReason.HALTED,
        StopReason.NOT_ALONE,
        StopReason.GUARDIAN_LOST,
        StopReason.CONFIG,
    }
)


class Fault(Enum):
    """Facts that limit what we may do, in the order in which ties are broken."""

    # Looked up at every step, and Enum's own hash is a call into Python.
    __hash__ = object.__hash__

    VENUE_REFUSED = "venue_refused"
    OPERATOR_STOP = "operator_stop"
    HALT_LATCHED = "halt_latched"
    NOT_ALONE = "not_alone"
    POLICY_FAILED = "policy_failed"
    STREAM_DOWN = "stream_down"
    STREAM_UNSYNCED = "stream_unsynced"
    MARKET_STALE = "market_stale"
    FEED_LAGS = "feed_lags"
    FEED_FLAPS = "feed_flaps"
    WIRE_REFUSED = "wire_refused"
    INSTRUMENT_UNKNOWN = "instrument_unknown"
    INSTRUMENT_NOT_OPEN = "instrument_not_open"
    CLOCK_SKEWED = "clock_skewed"
    BUDGET_LOW = "budget_low"
    UNRECONCILED = "unreconciled"
    LIQUIDATED = "liquidated"
    LIMIT_HALTED = "limit_halted"
    LIMIT_REACHED = "limit_reached"
    MARKET_UNFIT = "market_unfit"
    POSITION_DISAGREES = "position_disagrees"
    ORDER_IN_DOUBT = "order_in_doubt"
    LEFTOVER_ORDERS = "leftover_orders"


class After(Enum):
    """Which configured time turns a lasting fault into a stop."""

    NEVER = "never"
    AT_ONCE = "at once"
    FEED_FAULT = "feed.fault_after_s"
    FEED_SYNC = "feed.sync_fault_after_s"
    ORDER_RESOLVE = "orders.resolve_within_s"
    RECONCILE = "reconcile.fault_after_s"


class FaultRow(msgspec.Struct, frozen=True):
    """One row of the table: what a fault demands, what ends it, when it stops the process.

    ``decides``: whether the policy is still asked, because what it sees is still true.
    ``rests``: whether our resting orders may stay. A low budget only blocks new ones: a resting
    order costs nothing, its cancel would. An unknown fate of one order says nothing of another.
    """

    posture: Posture
    clears: str
    after: After = After.NEVER
    stop: StopReason | None = None
    latches: bool = False
    decides: bool = False
    rests: bool = False


FAULTS: dict[Fault, FaultRow] = {
    Fault.VENUE_REFUSED: FaultRow(
        Posture.HALTED,
        "a new start with a key that the venue accepts",
        After.AT_ONCE,
        StopReason.VENUE_REFUSED,
        latches=True,
    ),
    Fault.OPERATOR_STOP: FaultRow(
        Posture.CANCEL_ONLY, "never: the process ends", After.AT_ONCE, StopReason.OPERATOR, True
    ),
    Fault.HALT_LATCHED: FaultRow(
        Posture.HALTED, "resume", After.AT_ONCE, StopReason.HALTED, latches=True
    ),
    Fault.NOT_ALONE: FaultRow(
        Posture.CANCEL_ONLY,
        "never: the other instance goes on",
        After.AT_ONCE,
        StopReason.NOT_ALONE,
        latches=True,
    ),
    Fault.POLICY_FAILED: FaultRow(
        Posture.CANCEL_ONLY, "the policy's next good answer", decides=True
    ),
    Fault.STREAM_DOWN: FaultRow(
        Posture.CANCEL_ONLY,
        "the websocket is open and welcomed",
        After.FEED_FAULT,
        StopReason.FEED_STALE,
    ),
    Fault.STREAM_UNSYNCED: FaultRow(
        Posture.CANCEL_ONLY,
        "image and consistent increments of that stream",
        After.FEED_SYNC,
        StopReason.FEED_UNSYNCED,
    ),
    Fault.MARKET_STALE: FaultRow(
        Posture.CANCEL_ONLY,
        "an increment of quote or book",
        After.FEED_FAULT,
        StopReason.FEED_STALE,
    ),
    Fault.FEED_LAGS: FaultRow(
        Posture.CANCEL_ONLY,
        "a quote that was young when it was handled, and steps that come in time",
        After.FEED_FAULT,
        StopReason.FEED_STALE,
    ),
    Fault.FEED_FLAPS: FaultRow(
        Posture.CANCEL_ONLY,
        "never: reconnecting does not help",
        After.AT_ONCE,
        StopReason.FEED_STALE,
        latches=True,
    ),
    Fault.WIRE_REFUSED: FaultRow(
        Posture.CANCEL_ONLY, "ten seconds without another undecodable message"
    ),
    Fault.INSTRUMENT_UNKNOWN: FaultRow(
        Posture.CANCEL_ONLY,
        "the venue's instrument row",
        After.RECONCILE,
        StopReason.VENUE_DEGRADED,
    ),
    Fault.INSTRUMENT_NOT_OPEN: FaultRow(Posture.CANCEL_ONLY, "the venue says state Open"),
    Fault.CLOCK_SKEWED: FaultRow(
        Posture.CANCEL_ONLY,
        "the measured offset is back within clock.max_skew_s",
        After.FEED_FAULT,
        StopReason.CLOCK_SKEW,
    ),
    Fault.BUDGET_LOW: FaultRow(
        Posture.CANCEL_ONLY, "more than rate_limit.unlock_above remain", decides=True, rests=True
    ),
    Fault.UNRECONCILED: FaultRow(
        Posture.CANCEL_ONLY,
        "a clean reconciliation",
        After.RECONCILE,
        StopReason.VENUE_DEGRADED,
    ),
    Fault.LIQUIDATED: FaultRow(
        Posture.HALTED,
        "resume, by somebody who looked at the account",
        After.AT_ONCE,
        StopReason.HALTED,
        latches=True,
    ),
    Fault.LIMIT_HALTED: FaultRow(
        Posture.HALTED,
        "resume, by somebody who looked at what happened",
        After.AT_ONCE,
        StopReason.HALTED,
        latches=True,
    ),
    Fault.LIMIT_REACHED: FaultRow(
        Posture.REDUCE_ONLY,
        "the day or the hour is over, or resume, as docs/limits.md says for each",
        decides=True,
    ),
    Fault.MARKET_UNFIT: FaultRow(
        Posture.REDUCE_ONLY,
        "no reason of it for limits.reopen_after_s",
        decides=True,
    ),
    Fault.POSITION_DISAGREES: FaultRow(
        Posture.CANCEL_ONLY,
        "fills, websocket and REST agree",
        After.RECONCILE,
        StopReason.POSITION_MISMATCH,
    ),
    Fault.ORDER_IN_DOUBT: FaultRow(
        Posture.CANCEL_ONLY,
        "the venue shows what became of the order",
        After.ORDER_RESOLVE,
        StopReason.ORDER_UNRESOLVED,
        decides=True,
        rests=True,
    ),
    Fault.LEFTOVER_ORDERS: FaultRow(
        Posture.CANCEL_ONLY,
        "no order of ours works that nobody wants: of a dead run, or held for ended",
        After.RECONCILE,
        StopReason.VENUE_DEGRADED,
        decides=True,
        rests=True,
    ),
}
