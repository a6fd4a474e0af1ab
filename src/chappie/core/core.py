"""The core: `step(at, event) -> commands` and `next_deadline()`, and nothing else.

A step observes, judges, repairs, trades, in this order, so that a fault raised by what was just
observed blocks the orders of that same step. Increments of the market, by far the most frequent
events, end after observing unless the periodic check is due.
"""

from collections.abc import Sequence
from typing import assert_never

from chappie.core.blotter import Naming
from chappie.core.budget import Budget
from chappie.core.desk import Desk
from chappie.core.faults import ActiveFaults, StopDue
from chappie.core.flatten import Flatten
from chappie.core.limits import Limits
from chappie.core.market import Market
from chappie.core.outbox import Outbox
from chappie.core.pacing import Pace
from chappie.core.reconcile import Reconciler
from chappie.core.requests import ForCancel, ForNew, ForRead, ForSwitch, Purpose, Requests
from chappie.core.skew import Skew
from chappie.core.snapshot import describe
from chappie.core.stopping import Stopping
from chappie.core.streams import Streams
from chappie.core.trading import Trading
from chappie.model.commands import Command, Keep
from chappie.model.config import Config
from chappie.model.enums import Lane, Stream
from chappie.model.events import (
    Answered,
    Event,
    FrameReceived,
    HaltAsked,
    PolicyDecided,
    PolicyFailed,
    Started,
    StopAsked,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    Ticked,
    Unanswered,
)
from chappie.model.faults import FAULTS, Fault, Posture, StopReason
from chappie.model.invariant import InvariantViolated
from chappie.model.reports import (
    Filled,
    FillsRead,
    Funded,
    InstrumentRead,
    KeyRead,
    KeyRefused,
    MarginRead,
    MarginSaid,
    NeverSent,
    NotAccepted,
    OrderSaid,
    OrdersRead,
    Outcome,
    PositionRead,
    PositionSaid,
    Read,
    RequestExpired,
    SwitchArmed,
    Unknown,
)
from chappie.model.state import State
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, At, seconds_ns
from chappie.venues.interface import Dialect

_NOTHING: tuple[Command, ...] = ()
_KEY = "key"
_TERMS_RETRY_NS = SECOND_NS
_REOPENED_NS = 10 * SECOND_NS
# A step that comes this much later than the check it was due for: nobody was there.
_GAP_NS = SECOND_NS
_LIMITED = 429
# After the venue refused our key: every further error makes a ban longer (protocol section 3).
_REFUSED_PAUSE_S = 60.0


class Core:
    """Everything that is decided. Owned by one driver; no clock, no I/O."""

    def __init__(self, config: Config, dialect: Dialect, policy_period_s: float = 1.0) -> None:
        self.config = config
        self.outbox = Outbox()
        self.faults = ActiveFaults(config, self.outbox)
        self.budget = Budget(config.rate_limit)
        self.skew = Skew(config.clock.max_skew_s)
        self.market = Market()
        self._dialect = dialect
        self._requests = Requests(config.orders, self.budget, self.outbox, config.clock.max_skew_s)
        shared = (dialect, self.outbox, self.faults, self._requests, self.budget)
        self.desk = Desk(config, *shared, self.market, self.skew)
        self.reconciler = Reconciler(config.reconcile, *shared, self.desk)
        self.streams = Streams(
            config,
            *shared,
            self.market,
            self.reconciler,
            self.skew,
        )
        self.limits = Limits(
            config.limits,
            self.outbox,
            self.faults,
            self.market,
            self.desk.account,
            self.reconciler,
        )
        self.trading = Trading(
            config,
            self.outbox,
            self.faults,
            self._requests,
            self.budget,
            self.market,
            self.streams.feed,
            self.desk,
            self.reconciler,
            self.limits,
            policy_period_s,
        )
        flatten = Flatten(
            self.faults, self._requests, self.budget, self.market, self.desk, self.trading
        )
        self._stop = Stopping(
            self.outbox,
            self.faults,
            self.market,
            self.streams.feed,
            self.desk,
            self.reconciler,
            flatten,
            self._repair_terms,
        )
        self._check_ns = seconds_ns(config.feed.check_every_s)
        self._next_check_ns = 0
        self._terms = Pace(_TERMS_RETRY_NS)
        self._began_ns = 0
        # Wall time minus elapsed time, as of the last step that looked.
        self._drift_ns: int | None = None
        self._key_judged = False
        self._started = False

    # --- the two answers

    def step(self, at: At, event: Event) -> Sequence[Command]:
        """Take one event at its moment; the commands, in the order to perform them."""
        late = self._started and at.now_ns > self._next_check_ns + _GAP_NS
        if late:
            self._woke(at)
        if type(event) is FrameReceived:
            said = self.streams.receive(at, event.conn, event.payload)
            if said is None:
                if at.now_ns < self._next_check_ns:
                    return _NOTHING
            else:
                for report in said:
                    assert isinstance(report, (OrderSaid, Filled, Funded, PositionSaid, MarginSaid))
                    self.desk.hear(at, report)
        else:
            self._observe(at, event)
        if at.now_ns >= self._next_check_ns:
            self._next_check_ns = at.now_ns + self._check_ns
        self._compare_clocks(at)
        if self._started and not self._stop.is_over:
            self._judge(at)
            self._repair(at)
            # What came meanwhile lies in the socket: nothing is sent before it is read.
            if not late:
                self._trade(at)
        return self.outbox.take()

    def next_deadline(self) -> int | None:
        """When, on the clock of `At.now_ns`, a `Ticked` is wanted; None before the start."""
        return self._next_check_ns if self._started and not self._stop.is_over else None

    @property
    def stopping(self) -> StopDue | None:
        """Why the run ends, once it does."""
        return self._stop.due

    def rest(self, at: At) -> tuple[int, bool]:
        """Until which wall time nobody may send to the venue (0: at once), and whether by a ban."""
        until_ns = self.budget.told_until_wall_ns
        return (until_ns, self.budget.banned) if until_ns > at.wall_ns else (0, False)

    def snapshot(self, at: At) -> State:
        """What the operator is shown of this moment."""
        return describe(self, at)

    # --- our own clocks

    def _woke(self, at: At) -> None:
        """No step for long: the machine slept, the loop hung, or the policy took its time. What
        waited in the socket since then is old, so silence is judged before any of it counts as
        news.
        """
        late_s = (at.now_ns - self._next_check_ns) / SECOND_NS
        self.outbox.log("warning", "woke_late", seconds=round(late_s, 3))
        self.streams.lag.stepped_late(at.now_ns)
        self.streams.judge(at)

    def _compare_clocks(self, at: At) -> None:
        """Wall time that moved apart from elapsed time makes every stamp and expiry doubtful."""
        drift_ns = at.wall_ns - at.now_ns
        before_ns, self._drift_ns = self._drift_ns, drift_ns
        if before_ns is not None and abs(drift_ns - before_ns) > SECOND_NS:
            jump_s = (drift_ns - before_ns) / SECOND_NS
            self.skew.doubt()
            self.streams.distrust(at, f"the wall clock jumped by {jump_s:+.3f} s")

    # --- observe

    def _observe(self, at: At, event: Event) -> None:
        match event:
            case Ticked():
                pass
            case Answered():
                self._answered(at, event)
            case Unanswered():
                self._unanswered(at, event)
            case PolicyDecided():
                self.trading.decided(at, event.decision, event.target, event.note)
            case PolicyFailed():
                self.trading.failed(at, event.decision, event.detail)
            case StreamOpened():
                self.streams.opened(at, event.conn)
            case StreamRefused():
                refusal = self.streams.refused(at, event)
                if refusal is not None:
                    self._hear_venue(at, refusal, self.streams.connection.began_ns)
            case StreamClosed():
                self.streams.closed(at, event.conn, event.code, event.detail)
            case HaltAsked():
                self._stop.halt(at, event)
            case StopAsked():
                self._stop.begin(at, StopDue(StopReason[event.reason.upper()], event.detail))
            case Started():
                self._start(at, event)
            case FrameReceived():
                raise InvariantViolated("frames take the hot path")
            case _:
                assert_never(event)

    def _start(self, at: At, event: Started) -> None:
        """Start is recovery: every knowledge fault holds until it is disproved (design 7)."""
        if self._started:
            raise InvariantViolated("started twice")
        self._started = True
        self._began_ns = at.now_ns
        account = self.desk.account
        account.naming = Naming(self.config.bot.id, event.epoch)
        self.budget.begin(at, self.desk.restore(at, event.kept))
        self.limits.restore(at, event.kept, halted=event.halted is not None)
        self.streams.begin(at, event.kept)
        self.reconciler.begin(at)
        words = "its permissions are not read yet"
        self.faults.raise_(Fault.UNRECONCILED, at, words, _KEY, level="info")
        words = "the venue has not told its budget yet"
        self.faults.raise_(Fault.BUDGET_LOW, at, words, told=False)
        if self.budget.banned:
            # The start stops without a request: any would make the ban longer (control L4).
            until = ns_iso(self.budget.told_until_wall_ns)
            words = f"banned until {until}, as an earlier run was told; nobody sends before"
            self.faults.raise_(Fault.VENUE_REFUSED, at, words)
        if event.halted is not None:
            self.faults.raise_(Fault.HALT_LATCHED, at, event.halted)
        self.outbox.log(
            "info", "core_started", epoch=event.epoch, ledger_position=account.ledger.qty
        )

    def _answered(self, at: At, event: Answered) -> None:
        known = self._requests.ended(event.request_id)
        if known is None:
            raise InvariantViolated(f"an answer to request {event.request_id}, never sent")
        purpose, sent_ns = known
        read = purpose.read if isinstance(purpose, ForRead) else None
        outcome, budget = self._dialect.understand(read, event, self.market.instrument)
        self.budget.seen(at.now_ns, budget)
        stated_ns = self._dialect.stated_time(event)
        if stated_ns is not None:
            self.skew.measured(stated_ns, at, sent_ns, whole_seconds=True)
        if isinstance(outcome, NotAccepted) and outcome.status == _LIMITED:
            self.budget.limited(at, outcome.retry_after_s, budget)
        if not isinstance(outcome, Unknown):
            self.streams.probe.rest_answered()
        self._hear_venue(at, outcome, sent_ns)
        self._settle(at, purpose, outcome)

    def _unanswered(self, at: At, event: Unanswered) -> None:
        known = self._requests.ended(event.request_id)
        if known is None:
            raise InvariantViolated(f"the end of request {event.request_id}, never sent")
        purpose, _ = known
        self.outbox.log("warning", "unanswered", detail=event.detail, sent=event.sent)
        # Status 0 stands for no answer.
        outcome = Unknown(0, event.detail) if event.sent else NeverSent(event.detail)
        self._settle(at, purpose, outcome)

    def _hear_venue(self, at: At, outcome: Outcome, asked_ns: int) -> None:
        """What an outcome says of key, budget and clock, whatever was asked."""
        if isinstance(outcome, Unknown | NotAccepted):
            self.budget.failed(at.now_ns)
        elif not isinstance(outcome, KeyRefused):
            self.budget.served()
        if isinstance(outcome, KeyRefused):
            words = f"{outcome.status} {outcome.detail}"
            if outcome.banned:
                self.budget.ban(at, outcome.retry_after_s)
                words = f"{words}, until {ns_iso(self.budget.told_until_wall_ns)}"
            self.budget.pause(at.now_ns, _REFUSED_PAUSE_S)
            self.faults.raise_(Fault.VENUE_REFUSED, at, words)
        elif isinstance(outcome, SwitchArmed | RequestExpired) and outcome.venue_ns is not None:
            # The refusal states whole seconds (protocol section 2).
            cut = isinstance(outcome, RequestExpired)
            self.skew.measured(outcome.venue_ns, at, asked_ns, whole_seconds=cut)

    def _settle(self, at: At, purpose: Purpose, outcome: Outcome) -> None:
        match purpose:
            case ForRead():
                self._read_settled(at, purpose, outcome)
            case ForNew():
                self.desk.new_settled(at, purpose.cl_ord_id, outcome)
            case ForCancel():
                self.desk.cancel_settled(at, purpose, outcome)
            case ForSwitch():
                self.desk.arming.settled(purpose, outcome)
            case _:
                assert_never(purpose)

    def _read_settled(self, at: At, purpose: ForRead, outcome: Outcome) -> None:
        match outcome:
            case InstrumentRead():
                self.streams.instrument_read(at, outcome.seen)
            case KeyRead():
                self._judge_key(at, outcome)
            case MarginRead():
                self.desk.margin_read(at, outcome.margin)
            case OrdersRead() if purpose.cl_ord_id is not None:
                self.desk.order_found(at, purpose, outcome)
            case OrdersRead() | FillsRead() | PositionRead():
                self.reconciler.read(at, purpose, outcome)
            case _:
                detail = getattr(outcome, "detail", "an answer to something else")
                self.outbox.log("warning", "read_failed", read=purpose.read.value, detail=detail)
                self.reconciler.failed(at, purpose.round)

    def _judge_key(self, at: At, key: KeyRead) -> None:
        """A key that can move money away is refused, whatever else is right (control K10)."""
        self._key_judged = True
        self.faults.clear(Fault.UNRECONCILED, _KEY)
        if key.can_withdraw:
            self.faults.raise_(Fault.VENUE_REFUSED, at, "the key can withdraw: use one that cannot")
        elif self.config.bot.allow_trade and not key.can_trade:
            self.faults.raise_(Fault.VENUE_REFUSED, at, "the key has no permission to trade")

    # --- judge

    def _judge(self, at: At) -> None:
        self.streams.judge(at)
        self.reconciler.judge(at)
        lacks = self.reconciler.take_overdue()
        if lacks is not None:
            self.streams.overdue(at, Stream.POSITION, lacks)
        for stream, words in self.desk.overdue.judge(self.streams.feed, at.now_ns):
            self.streams.overdue(at, stream, words)
        self.desk.judge(at)
        if self.stopping is None:
            self.limits.judge(at)
        record = self.budget.take_record(at)
        if record is not None:
            self.outbox.put(Keep(record))
        if self.budget.judge(at.now_ns):
            self.faults.raise_(Fault.BUDGET_LOW, at, self.budget.words(at))
        else:
            self.faults.clear(Fault.BUDGET_LOW)
        if self.skew.is_too_large:
            # A clock never seen right was wrong before we began, and the login and the reads that
            # fail by it are its effects: the stop must name the cause.
            since_ns = at.now_ns if self.skew.was_right else self._began_ns - 1
            self.faults.raise_(Fault.CLOCK_SKEWED, at, self.skew.words, since_ns=since_ns)
        else:
            self.faults.clear(Fault.CLOCK_SKEWED)
        due = self.faults.stop_due(at.now_ns)
        if due is not None:
            self._stop.begin(at, due)

    # --- repair

    def _repair(self, at: At) -> None:
        if self.stopping is not None:
            self._stop.step(at, banned=self.budget.banned)
            return
        self._repair_terms(at)
        self.streams.repair(at)
        self.desk.repair(at, self._is_healthy())
        if self.market.instrument is not None:
            self.reconciler.repair(at, self.streams.feed.all_synced)

    def _repair_terms(self, at: At) -> None:
        """Without the venue's own terms nothing can be read, let alone traded (control F11)."""
        unknown = self.faults.has(Fault.INSTRUMENT_UNKNOWN)
        # The word that it opens again may be lost, and a quiet table is no sign of anything.
        closed = self.faults.has(Fault.INSTRUMENT_NOT_OPEN)
        if self._key_judged and not unknown and not closed:
            return
        due = self._terms.is_due(at.now_ns) and self.budget.is_open(Lane.RECONCILE, at.now_ns, 2)
        if not due or self._requests.any_for(ForRead):
            return
        missing = unknown or not self._key_judged
        self._terms.hold(at.now_ns + (_TERMS_RETRY_NS if missing else _REOPENED_NS))
        if not self._key_judged:
            self._requests.read(at, Read.KEY, self._dialect.read_key())
        if unknown or closed:
            self._requests.read(at, Read.INSTRUMENT, self._dialect.read_instrument())

    def _is_healthy(self) -> bool:
        """Proof enough to hold the dead man's switch off: nothing wrong, and REST agreed.

        A low budget is not wrong: what is left of it is the switch's own reserve (control L3). Nor
        is a limit that still lets reducing orders pass: they need the switch like any other.
        """
        wrong = any(
            active.fault is not Fault.BUDGET_LOW
            and FAULTS[active.fault].posture >= Posture.CANCEL_ONLY
            for active in self.faults.all()
        )
        return not wrong and bool(self.reconciler.last_was_clean)

    # --- trade

    def _trade(self, at: At) -> None:
        if self.stopping is None:
            self.trading.trade(at)
