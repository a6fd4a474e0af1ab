"""How old the market is when we handle it: of the newest quote, and of our own steps (control F9).

A feed that falls behind is never silent and never contradicts itself; only the venue's own stamps
show it. What counts is a quote's age at the moment it was handled: in a quiet market the last one
grows old, and nothing lags.
"""

from chappie.model.reports import QuoteSeen
from chappie.model.timestamps import iso_ns
from chappie.model.units import SECOND_NS, seconds_ns

# A quote this old on a connection that just told its time is no late one: whoever publishes it
# stamps it with another time than now, as one that plays a recording does.
_NOT_OF_NOW_NS = 3600 * SECOND_NS
# So many late steps within so long, and it is no accident: the process is too slow.
_LATE_STEPS = 3
_LATE_WITHIN_NS = 10 * SECOND_NS


class Lag:
    """The age of the newest quote when it was handled, and the steps that came late.

    The limit is never below twice the tolerated skew, and lag is over halfway between the two: a
    clock that is off by what is tolerated neither looks like lag nor keeps one from ending.
    """

    def __init__(self, max_lag_s: float, max_skew_s: float) -> None:
        skew_ns = seconds_ns(max_skew_s)
        self.limit_ns = max(seconds_ns(max_lag_s), 2 * skew_ns)
        self.over_ns = (self.limit_ns + skew_ns) // 2
        # When the age of a quote was last known.
        self.known_ns = 0
        # The newest age of a quote when it was handled, for people; None until one was known.
        self.newest_ns: int | None = None
        # Whether stamps were seen that are of no use here.
        self.not_of_now = False
        self._judged: QuoteSeen | None = None
        self._stated_ns = 0
        self._late: list[int] = []

    def imaged(self, quote: QuoteSeen | None) -> None:
        """This one is of an image, which shows the last change, whenever that was."""
        self._judged = quote

    def age_ns(
        self, quote: QuoteSeen, handled_wall_ns: int, offset_ns: int, now_ns: int
    ) -> int | None:
        """Its age when it was handled; None for one that says nothing, or was looked at before.

        A stamp that does not move on says nothing either: it is not the time of this quote.

        ``offset_ns`` is the venue's clock minus ours.
        """
        if quote is self._judged:
            return None
        self._judged = quote
        stated_ns = None if quote.stamp is None else iso_ns(quote.stamp)
        if stated_ns is None or stated_ns == self._stated_ns:
            return None
        self._stated_ns = stated_ns
        age_ns = handled_wall_ns + offset_ns - stated_ns
        if age_ns > _NOT_OF_NOW_NS:
            self.not_of_now = True
            return None
        self.known_ns = now_ns
        self.newest_ns = age_ns
        return age_ns

    def stepped_late(self, now_ns: int) -> None:
        """A step came long after it was due."""
        self._late = [*self._late[1 - _LATE_STEPS :], now_ns]

    def steps_lag(self, now_ns: int) -> bool:
        """Late again and again."""
        return len(self._late) == _LATE_STEPS and now_ns - self._late[0] <= _LATE_WITHIN_NS
