"""One question at a time to the venue, for the guardian that acts where no trader does.

Pure: answers come in as events, time as an argument, and what to send comes out as commands. It
knows what the venue told us to wait for, and outlives the errands that ask through it.
"""

import msgspec

from chappie.core.budget import Budget
from chappie.core.outbox import Outbox
from chappie.core.pacing import Pace
from chappie.core.requests import ForRead, ForSwitch, Purpose, Requests
from chappie.model.commands import Command, HttpCall
from chappie.model.config import Config
from chappie.model.enums import Lane
from chappie.model.events import Answered, Unanswered
from chappie.model.instrument import Instrument
from chappie.model.orders import Approved, NewOrder
from chappie.model.reports import (
    BudgetSeen,
    InstrumentRead,
    KeyRefused,
    NeverSent,
    NotAccepted,
    Outcome,
    Rejected,
    RequestExpired,
    Unknown,
)
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At
from chappie.venues.interface import Dialect

Event = Answered | Unanswered

# After an answer that helped nobody: so long, then twice as long, up to the bound.
_AGAIN_NS = 250 * MILLISECOND_NS
_AGAIN_MOST_NS = 4 * SECOND_NS
# A 429 that does not say for how long, and a ban (protocol section 3).
_LIMITED_S = 1.0
_BANNED_NS = 3600 * SECOND_NS


class Heard(msgspec.Struct, frozen=True):
    """What became of the request under way: what it was for, when it was sent, the answer."""

    purpose: Purpose
    sent_ns: int
    outcome: Outcome


class Asking:
    """The guardian's side of its own connection."""

    def __init__(self, config: Config, dialect: Dialect) -> None:
        self.config = config
        self.dialect = dialect
        self.outbox = Outbox()
        # Read before anything else: without its tick the prices of orders mean nothing.
        self.instrument: Instrument | None = None
        self.banned = False
        # Until when the venue told us to send nothing.
        self._rest_until_ns = 0
        # Until when a switch request of ours that got no answer may still arrive.
        self.stray_until_ns = 0
        self._budget = Budget(config.rate_limit)
        max_skew_s = config.clock.max_skew_s
        self._requests = Requests(config.orders, self._budget, self.outbox, max_skew_s)
        self._pace = Pace(_AGAIN_NS, _AGAIN_MOST_NS)
        self._under_way: int | None = None
        # By so much the venue's clock is ahead of ours, once it refused us for that.
        self._ahead_ns = 0

    def take_over(
        self,
        at: At,
        limit: int | None,
        remaining: int | None,
        rest_until_wall_ns: int,
        banned: bool,
    ) -> None:
        """Begin where the last beat of a dead trader left the account's budget and waits."""
        self._budget.seen(at.now_ns, BudgetSeen(limit, remaining, None, None))
        if rest_until_wall_ns > at.wall_ns:
            self._rest(at.now_ns + rest_until_wall_ns - at.wall_ns)
            self.banned = self.banned or banned

    def lift_ban(self) -> None:
        """A person says that it is over: try again."""
        if self.banned:
            self.banned = False
            self._rest_until_ns = 0

    @property
    def is_waiting(self) -> bool:
        """A request is under way."""
        return self._under_way is not None

    def due_ns(self, at: At, lane: Lane) -> int:
        """When the next request of a lane may leave. Reads keep one request back for a cancel."""
        due_ns = max(self._pace.until_ns, self._rest_until_ns)
        if lane is not Lane.CANCEL and self._budget.remaining(at.now_ns) < 2:
            due_ns = max(due_ns, at.now_ns + SECOND_NS)
        return due_ns

    def drop(self) -> None:
        """Nobody listens any more to what is under way; its answer will be nobody's."""
        if self._under_way is not None:
            self._requests.ended(self._under_way)
            self._under_way = None

    def fence_ns(self, at: At) -> int:
        """When a request sent now can no longer arrive."""
        return self._requests.fence_ns(at)

    def ask(self, at: At, lane: Lane, call: HttpCall, purpose: Purpose) -> None:
        """Send a read, a cancel or the switch. A venue whose clock is ahead of ours gets an expiry
        by its own, or nothing of ours would be heard; a stray switch must expire by ours.
        """
        ahead_ns = 0 if isinstance(purpose, ForSwitch) else self._ahead_ns
        by_the_venue = At(at.now_ns, at.wall_ns + ahead_ns)
        self._under_way = self._requests.call(by_the_venue, lane, call, purpose)

    def order(self, at: At, order: Approved[NewOrder], instrument: Instrument) -> None:
        """Send an order that the gate approved."""
        call = self.dialect.new_order(order, instrument)
        self._under_way = self._requests.order(at, Lane.REDUCE, order, call, at.now_ns)

    def hear(self, at: At, event: Event) -> Heard | None:
        """What an event says; None when it answers nothing that is still asked."""
        if event.request_id != self._under_way:
            return None
        self._under_way = None
        known = self._requests.ended(event.request_id)
        assert known is not None, "what is under way was asked for"
        purpose, sent_ns = known
        if isinstance(event, Unanswered):
            outcome = Unknown(0, event.detail) if event.sent else NeverSent(event.detail)
            self._failed(at, outcome)
            return Heard(purpose, sent_ns, outcome)
        read = purpose.read if isinstance(purpose, ForRead) else None
        answer, budget = self.dialect.understand(read, event, self.instrument)
        self._budget.seen(at.now_ns, budget)
        self._failed(at, answer)
        if isinstance(answer, InstrumentRead):
            self.instrument = answer.seen.instrument
        return Heard(purpose, sent_ns, answer)

    def _failed(self, at: At, outcome: Outcome) -> None:
        """What an answer means for the next request."""
        match outcome:
            case NotAccepted():
                self._pace.failed(at.now_ns)
                wait_s = outcome.retry_after_s
                if wait_s is None and outcome.status == 429:
                    wait_s = _LIMITED_S
                if wait_s is not None:
                    self._rest(at.now_ns + round(wait_s * SECOND_NS))
            case KeyRefused():
                self._pace.failed(at.now_ns)
                if outcome.banned:
                    self.banned = True
                    self._rest(at.now_ns + _BANNED_NS)
            case RequestExpired():
                self._pace.failed(at.now_ns)
                if outcome.venue_ns is not None:
                    self._ahead_ns = max(0, outcome.venue_ns - at.wall_ns)
            case Unknown():
                self._pace.failed(at.now_ns)
                if outcome.status == 200:
                    # Perhaps the contract's terms changed, and its orders are read with others.
                    self.instrument = None
            case NeverSent() | Rejected():
                self._pace.failed(at.now_ns)
            case _:
                self.banned = False
                self._pace.settled()
                self._pace.release()

    def _rest(self, until_ns: int) -> None:
        self._rest_until_ns = max(self._rest_until_ns, until_ns)

    def take(self) -> list[Command]:
        """Everything that is to be done now, in order."""
        return self.outbox.take()
