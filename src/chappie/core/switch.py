"""The dead man's switch: the venue cancels for us when we can no longer ask it to (promise 7).

Armed before the first order, by the venue's own answer; refreshed only by healthy steps; disarmed
once a reconciliation shows zero orders of ours.
"""

from chappie.model.config import DeadManConfig
from chappie.model.reports import SwitchArmed
from chappie.model.units import SECOND_NS, seconds_ns

_RETRY_NS = SECOND_NS


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
        self._asked_ns: int | None = None
        self._last_ns: int | None = None
        self.disarm_asked = False

    @property
    def is_armed(self) -> bool:
        return self.armed_until_ns is not None

    @property
    def pending(self) -> bool:
        """A request about it is under way."""
        return self._asked_ns is not None

    def holds(self, until_ns: int) -> bool:
        """Armed beyond a moment, by the venue's own answer."""
        return self.armed_until_ns is not None and self.armed_until_ns > until_ns

    def refresh_due(self, now_ns: int) -> bool:
        if self.pending or (self._last_ns is not None and now_ns - self._last_ns < _RETRY_NS):
            return False
        if self.armed_until_ns is None:
            return True
        return now_ns - (self._last_ns or 0) >= self._refresh_ns

    def asked(self, now_ns: int, disarm: bool) -> None:
        self._asked_ns = self._last_ns = now_ns
        self.disarm_asked = disarm
        if disarm:
            self.armed_until_ns = self.fires_wall_ns = None
        elif self.armed_until_ns is None:
            self.armed_ns = now_ns

    def answered(self, armed: SwitchArmed) -> None:
        """The venue's answer; the time left is counted from when we asked, so never too long."""
        assert self._asked_ns is not None, "an answer that nobody asked for"
        if armed.fires_ns is None:
            self.armed_until_ns = self.fires_wall_ns = None
        else:
            self.armed_until_ns = self._asked_ns + (armed.fires_ns - armed.venue_ns)
            self.fires_wall_ns = armed.fires_ns
        self._asked_ns = None

    def unanswered(self) -> None:
        """No proof that it was renewed: what was proven before still stands."""
        self._asked_ns = None

    def lapse(self, now_ns: int) -> None:
        """Past its time it protects nothing."""
        if self.armed_until_ns is not None and now_ns >= self.armed_until_ns:
            self.armed_until_ns = self.fires_wall_ns = None
