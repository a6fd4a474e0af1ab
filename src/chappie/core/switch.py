"""The dead man's switch: the venue cancels for us when we can no longer ask it to (promise 7).

Armed before the first order, by the venue's own answer; refreshed only by healthy steps; disarmed
once a reconciliation shows zero orders of ours.
"""

from chappie.model.config import DeadManConfig
from chappie.model.reports import SwitchArmed
from chappie.model.units import SECOND_NS, seconds_ns

# A request about it that failed is not repeated sooner: a venue that refuses is not stormed.
_RETRY_NS = SECOND_NS
# So much later than its time limit a request may still arrive and start the timer.
_LATE_NS = 10 * SECOND_NS


class Switch:
    """What we know of the timer at the venue."""

    def __init__(self, config: DeadManConfig) -> None:
        self.timeout_s = config.timeout_s
        self._refresh_ns = seconds_ns(config.refresh_every_s)
        # Until when it stands, at least, on the core's clock; None when not armed by us.
        self.armed_until_ns: int | None = None
        self.fires_wall_ns: int | None = None
        # When it was last asked to stand; an order wanted since then may not be out yet.
        self.armed_ns = 0
        # Until when it may stand for all we know; None once the venue called it disarmed.
        self._stands_until_ns: int | None = None
        self._asked_ns: int | None = None
        self._last_ns: int | None = None
        self._failed = False

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
        recently = self._last_ns is not None and now_ns - self._last_ns < _RETRY_NS
        return not self.pending and not (self._failed and recently)

    def refresh_due(self, now_ns: int) -> bool:
        if not self.may_ask(now_ns):
            return False
        last_ns = self._last_ns or 0
        pause_ns = _RETRY_NS if self.armed_until_ns is None else self._refresh_ns
        return now_ns - last_ns >= pause_ns

    def inherited(self, now_ns: int, fence_ns: int) -> None:
        """A dead process may have armed it, and its last request may arrive until the fence."""
        self.armed_ns = fence_ns
        self._stands_until_ns = now_ns + seconds_ns(self.timeout_s) + _LATE_NS

    def asked(self, now_ns: int, disarm: bool) -> None:
        self._asked_ns = self._last_ns = now_ns
        if disarm:
            # No order may rely on it from here on, whatever becomes of the request.
            self.armed_until_ns = None
            return
        if self.armed_until_ns is None:
            self.armed_ns = now_ns
        self._stands_until_ns = now_ns + seconds_ns(self.timeout_s) + _LATE_NS

    def answered(self, armed: SwitchArmed) -> None:
        """The venue's answer; the time left is counted from when we asked, so never too long."""
        assert self._asked_ns is not None, "an answer that nobody asked for"
        if armed.fires_ns is None:
            self.armed_until_ns = self.fires_wall_ns = self._stands_until_ns = None
        else:
            self.armed_until_ns = self._asked_ns + (armed.fires_ns - armed.venue_ns)
            self.fires_wall_ns = armed.fires_ns
        self._asked_ns = None
        self._failed = False

    def unanswered(self) -> None:
        """No proof of anything new: it may stand, and what was proven before still does."""
        self._asked_ns = None
        self._failed = True

    def lapse(self, now_ns: int) -> None:
        """Past its time it protects nothing."""
        if self.armed_until_ns is not None and now_ns >= self.armed_until_ns:
            self.armed_until_ns = self.fires_wall_ns = None
        if self._stands_until_ns is not None and now_ns >= self._stands_until_ns:
            self._stands_until_ns = self.fires_wall_ns = None
