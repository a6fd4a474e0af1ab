"""The dead man's switch: the venue cancels for us when we can no longer ask it to (promise 7).

Armed before the first order, by the venue's own answer read back; refreshed only by healthy steps,
with a missed renewal named; disarmed once a reconciliation shows zero orders of ours.
"""

from chappie.core.pacing import Pace
from chappie.model.config import DeadManConfig
from chappie.model.reports import SwitchArmed
from chappie.model.units import SECOND_NS, At, seconds_ns

# A request about it that failed is not repeated sooner: a venue that refuses is not stormed.
_RETRY_NS = SECOND_NS
_RETRY_MAX_NS = 4 * SECOND_NS
# So much later than its time limit a request may still arrive and start the timer.
_LATE_NS = 10 * SECOND_NS


class Switch:
    """What we know of the timer at the venue."""

    def __init__(
        self, config: DeadManConfig, answer_s: float = 3.0, tolerance_s: float = 1.0
    ) -> None:
        """``answer_s`` is a request's time limit, ``tolerance_s`` how far the time that the venue
        states may be from what was asked for.
        """
        self.timeout_s = config.timeout_s
        self._tolerance_ns = seconds_ns(tolerance_s)
        # A renewal that is later than this, counted from the last one, is missed.
        self._late_ns = seconds_ns(config.refresh_every_s) + seconds_ns(answer_s)
        self._refresh_ns = seconds_ns(config.refresh_every_s)
        # Until when it stands, at least, on the core's clock; None when not armed by us.
        self.armed_until_ns: int | None = None
        self.fires_wall_ns: int | None = None
        # Since when, on the wall clock, a renewal is missed while orders rely on it.
        self.missed_wall_ns: int | None = None
        # When it was asked for what was last proven; None when it need not stand.
        self._proven_ns: int | None = None
        # When it was last asked to stand; an order wanted since then may not be out yet.
        self.armed_ns = 0
        # Until when it may stand for all we know; None once the venue called it disarmed.
        self._stands_until_ns: int | None = None
        self._asked_ns: int | None = None
        self._last_ns: int | None = None
        self._retry = Pace(_RETRY_NS, _RETRY_MAX_NS)
        # What was asked for last, and until when that may still arrive if it got no answer.
        self._asked_disarm = False
        self._fence_ns = 0
        self._stray_until_ns = 0

    @property
    def may_stand(self) -> bool:
        """Whether it can be armed at the venue, proven or not: then it must be disarmed."""
        return self._stands_until_ns is not None

    @property
    def pending(self) -> bool:
        """A request about it is under way."""
        return self._asked_ns is not None

    def holds(self, until_ns: int) -> bool:
        """Armed beyond a moment, by the venue's own answer."""
        return self.armed_until_ns is not None and self.armed_until_ns > until_ns

    def may_ask(self, now_ns: int) -> bool:
        """Nothing under way, and no failure so recent that asking again would be a storm."""
        return not self.pending and self._retry.is_due(now_ns)

    def may_ask_for(self, now_ns: int, disarm: bool) -> bool:
        """`may_ask`, and no unanswered request for the opposite that may arrive after this one: a
        stray disarm would take the switch from under the orders that rely on it.
        """
        stray = self._asked_disarm is not disarm and now_ns < self._stray_until_ns
        return self.may_ask(now_ns) and not stray

    def refresh_due(self, now_ns: int) -> bool:
        if not self.may_ask_for(now_ns, disarm=False):
            return False
        last_ns = self._last_ns or 0
        pause_ns = _RETRY_NS if self.armed_until_ns is None else self._refresh_ns
        return now_ns - last_ns >= pause_ns

    def inherited(self, now_ns: int, fence_ns: int) -> None:
        """A dead process may have armed it, and its last request, maybe a disarm, may arrive until
        the fence.
        """
        self.armed_ns = self._stray_until_ns = fence_ns
        self._asked_disarm = True
        self._stands_until_ns = now_ns + seconds_ns(self.timeout_s) + _LATE_NS

    def asked(self, now_ns: int, disarm: bool, fence_ns: int) -> None:
        """A request leaves; after ``fence_ns`` it can no longer arrive."""
        self._asked_ns = self._last_ns = now_ns
        self._asked_disarm, self._fence_ns = disarm, fence_ns
        if disarm:
            # No order may rely on it from here on, whatever becomes of the request.
            self.armed_until_ns = None
            return
        if self.armed_until_ns is None:
            self.armed_ns = now_ns
        self._stands_until_ns = now_ns + seconds_ns(self.timeout_s) + _LATE_NS

    def answered(self, armed: SwitchArmed) -> bool:
        """The venue's answer, read back; False when it is not what was asked for: then nothing is
        proven. The time left is counted from when we asked, so never too long.
        """
        assert self._asked_ns is not None, "an answer that nobody asked for"
        asked_ns = self._asked_ns
        if not self._is_what_was_asked(armed):
            # It replaced the timer with we know not what: no order may rely on that.
            self.armed_until_ns = self.fires_wall_ns = None
            self.unanswered()
            return False
        if armed.fires_ns is None:
            self.armed_until_ns = self.fires_wall_ns = self._stands_until_ns = None
            self._proven_ns = None
        else:
            self.armed_until_ns = asked_ns + (armed.fires_ns - armed.venue_ns)
            self.fires_wall_ns = armed.fires_ns
            self._proven_ns = asked_ns
        self._asked_ns = None
        self._retry.release()
        self._retry.settled()
        return True

    def _is_what_was_asked(self, armed: SwitchArmed) -> bool:
        """Both times are the venue's own, so its clock does not matter here."""
        if armed.fires_ns is None or self._asked_disarm:
            return self._asked_disarm and armed.fires_ns is None
        left_ns = armed.fires_ns - armed.venue_ns
        return abs(left_ns - seconds_ns(self.timeout_s)) <= self._tolerance_ns

    def unanswered(self) -> None:
        """No proof of anything new: it may stand, and what was proven before still does."""
        assert self._asked_ns is not None, "the end of a request that nobody sent"
        self._retry.failed(self._asked_ns)
        self._stray_until_ns = self._fence_ns
        self._asked_ns = None

    def is_missed(self, at: At, relied_on: bool) -> bool:
        """Whether the last renewal is later than its period and a request's time limit, while
        orders rely on it; True once, when that begins.
        """
        proven_ns = self._proven_ns
        if proven_ns is None or not relied_on or at.now_ns <= proven_ns + self._late_ns:
            self.missed_wall_ns = None
            return False
        begins = self.missed_wall_ns is None
        if begins:
            self.missed_wall_ns = at.wall_ns - (at.now_ns - proven_ns - self._refresh_ns)
        return begins

    def runs_out(self, until_ns: int) -> bool:
        """A renewal is missed, and it may fire before ``until_ns``."""
        return self.missed_wall_ns is not None and not self.holds(until_ns)

    def lapse(self, now_ns: int) -> None:
        """Past its time it protects nothing."""
        if self.armed_until_ns is not None and now_ns >= self.armed_until_ns:
            self.armed_until_ns = self.fires_wall_ns = None
        if self._stands_until_ns is not None and now_ns >= self._stands_until_ns:
            self._stands_until_ns = self.fires_wall_ns = None
