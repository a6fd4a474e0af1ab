"""The end of a run: nothing new, cancel what is ours, see it gone, and say how it ended.

Every stop runs through here, a halt too; a halt may first close the position (`flatten.py`).
"""

from collections.abc import Callable

from chappie.core.desk import Desk
from chappie.core.faults import ActiveFaults, StopDue
from chappie.core.feed import Feed
from chappie.core.flatten import Flatten
from chappie.core.market import Market
from chappie.core.orders import Order, RequestKind
from chappie.core.outbox import Outbox
from chappie.core.reconcile import Reconciler
from chappie.model.commands import DropOrders, Keep, SayHalted, Stop
from chappie.model.events import HaltAsked
from chappie.model.faults import (
    FLATTEN_WINDOW_NS,
    HALT_WINDOW_NS,
    STOP_WINDOW_NS,
    Fault,
    StopReason,
)
from chappie.model.records import Stopped
from chappie.model.units import At


class Stopping:
    """Why we stop, once we do, and how far that is."""

    def __init__(
        self,
        outbox: Outbox,
        faults: ActiveFaults,
        market: Market,
        feed: Feed,
        desk: Desk,
        reconciler: Reconciler,
        flatten: Flatten,
        read_terms: Callable[[At], None],
    ) -> None:
        """``read_terms`` asks the venue for the instrument, which every other read needs."""
        self.due: StopDue | None = None
        self.is_over = False
        self._outbox = outbox
        self._faults = faults
        self._market = market
        self._feed = feed
        self._desk = desk
        self._reconciler = reconciler
        self._flatten = flatten
        self._read_terms = read_terms
        self._began_ns = 0
        self._by_ns = 0
        # A halt that was asked for and not yet said to be obeyed.
        self._unsaid: str | None = None

    def begin(self, at: At, due: StopDue) -> None:
        """From here on nothing new; the first reason stays."""
        if due.reason is StopReason.JOURNAL_FAILED:
            self._flatten.refused = "no intent can be written any more"  # control O2
        if self.due is not None:
            return
        self.due = due
        self._began_ns = at.now_ns
        at_start = due.reason is StopReason.HALTED and not self._reconciler.ever_clean
        self._by_ns = at.now_ns + (HALT_WINDOW_NS if at_start else STOP_WINDOW_NS)
        # What waits for its turn would only leave behind the stop.
        self._outbox.put(DropOrders())
        self._outbox.log("warning", "stopping", reason=due.reason.word, detail=due.detail)
        if due.reason is StopReason.HALTED:
            self._reconciler.hurry(at)

    def halt(self, at: At, asked: HaltAsked) -> None:
        """Halt; where a stop is under way already, its reason stays, and a flatten is added."""
        self._faults.raise_(Fault.HALT_LATCHED, at, asked.detail)
        self.begin(at, StopDue(StopReason.HALTED, asked.detail))
        self._unsaid = asked.detail
        if asked.flatten and not self._flatten.wanted:
            self._flatten.want()
            self._by_ns = at.now_ns + FLATTEN_WINDOW_NS
            self._reconciler.hurry(at)
            self._outbox.log("warning", "flattening", position=self._desk.account.ledger.qty)

    def step(self, at: At, *, banned: bool) -> None:
        """One look at how far it is. On a ban nobody sends before its end (control L4): orders
        rest until the switch fires.
        """
        due = self.due
        assert due is not None, "only a stop that began can go on"
        self._say_halted(at)
        in_time = at.now_ns < self._by_ns and not banned
        if in_time and not self._is_done(at, due):
            return
        if not in_time:
            self._flatten.give_up("the venue refuses us" if banned else "no time is left")
        detail = due.detail
        if self._flatten.words:
            detail += f"; {self._flatten.words}"
        live = self._desk.account.blotter.live()
        known = not live and self._account_is_known(due)
        self.is_over = True
        self._outbox.put(Keep(Stopped(at.wall_ns, due.reason.word, detail)))
        self._outbox.put(Stop(due.reason.word, detail, known))

    def _is_done(self, at: At, due: StopDue) -> bool:
        """Cancel, ask, read, close: whatever comes next; True when nothing does."""
        live = self._desk.account.blotter.live()
        # Even those whose cancel is under way: an answer that is late must not leave an order.
        unwanted = [order for order in live if not self._flatten.awaits(order, at.now_ns)]
        self._desk.cancel(at, unwanted, f"stopping: {due.reason.word}")
        if self._is_halt(due) and self._market.instrument is None:
            # At a start into a halt; what is asked of an order means nothing without them either.
            self._read_terms(at)
            return False
        self._desk.ask_about_doubts(at)
        if live:
            return False
        if self._reads(due) and not self._account_is_known(due):
            # Before the first image REST alone has to do.
            synced = self._feed.all_synced or not self._reconciler.ever_clean
            self._reconciler.verify(at, synced)
            return False
        if not self._flatten.is_done(at, verified=self._account_is_known(due)):
            return False
        # Of two instances one goes on, and the switch is then its own.
        return due.reason is StopReason.NOT_ALONE or self._desk.arming.disarmed(at)

    def _say_halted(self, at: At) -> None:
        """Once no order that was sent before can arrive any more, whatever became of its answer."""
        if self._unsaid is None or any(
            _may_arrive(order, at.now_ns) for order in self._desk.account.blotter.live()
        ):
            return
        self._outbox.put(SayHalted(self._unsaid))
        self._unsaid = None

    def _reads(self, due: StopDue) -> bool:
        """Whether reading the account once more can make the ledger whole, or find an order."""
        if due.reason in (StopReason.VENUE_REFUSED, StopReason.NOT_ALONE):
            return False
        if self._faults.has(Fault.NOT_ALONE):
            return False
        halting = self._is_halt(due)
        if self._faults.has(Fault.POSITION_DISAGREES):
            # What is held stays in dispute; what works must be seen gone all the same.
            return halting and not self._reconciler.contradicted_since(self._since_ns(due))
        return halting or self._reconciler.ever_clean

    def _is_halt(self, due: StopDue) -> bool:
        return due.reason is StopReason.HALTED or self._flatten.wanted

    def _since_ns(self, due: StopDue) -> int:
        """What was read before this says nothing of how the account is left."""
        ended_ns = self._desk.account.last_ended_ns
        # Where streams are gone, nobody told us what the venue did since the last read.
        if self._is_halt(due) or not self._feed.all_synced:
            return max(ended_ns, self._began_ns)
        return ended_ns

    def _account_is_known(self, due: StopDue) -> bool:
        """REST agreed with us after the last order ended and the last connection was lost."""
        return (
            self._reconciler.knows_since(self._since_ns(due))
            and not self._desk.account.fills_missing
            and not self._faults.has(Fault.POSITION_DISAGREES)
            and not self._faults.has(Fault.NOT_ALONE)
        )


def _may_arrive(order: Order, now_ns: int) -> bool:
    request = order.request
    return request is not None and request.kind is RequestKind.NEW and now_ns < request.fence_ns
