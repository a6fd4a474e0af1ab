"""The websocket's life: when to open it, when it counts as usable, how long to wait after a loss.

Reconnecting is bounded here by back-off, by what the venue asks for, and by a budget for each hour
that outlives the process (control F8); what is wrong meanwhile is the faults' matter.
"""

from collections.abc import Iterable

from chappie.core.pacing import Pace
from chappie.model.records import Connected, Kept
from chappie.model.units import SECOND_NS, At

_BACKOFF_FIRST_NS = SECOND_NS // 2
_BACKOFF_MAX_NS = 10 * SECOND_NS
_WELCOME_WITHIN_NS = 10 * SECOND_NS
_SETTLED_AFTER_NS = 60 * SECOND_NS
CONNECT_WITHIN_NS = 10 * SECOND_NS
BUDGET_NS = 3600 * SECOND_NS


class Connection:
    """One connection at a time, numbered; frames of any other number are not for us."""

    def __init__(self, max_per_hour: int) -> None:
        self._max_per_hour = max_per_hour
        # When each of the last connects reached the venue, the oldest first.
        self._reached_ns: list[int] = []
        self.conn = 0
        self.began_ns = 0
        self.welcomed = False
        self._opened_ns: int | None = None
        self._opening = False
        self._pace = Pace(_BACKOFF_FIRST_NS, _BACKOFF_MAX_NS)

    @property
    def is_up(self) -> bool:
        """Open as far as the socket goes."""
        return self._opened_ns is not None

    @property
    def is_opening(self) -> bool:
        """An upgrade is under way."""
        return self._opening

    def open_due(self, now_ns: int) -> bool:
        return (
            not self._opening
            and self._opened_ns is None
            and self._pace.is_due(now_ns)
            and not self.budget_wait_ns(now_ns)
        )

    def restore(self, at: At, kept: Iterable[Kept]) -> None:
        """Count what earlier runs did. One that lies in the future, as the wall clock goes, counts
        from now on: it cannot be older.
        """
        for record in kept:
            if isinstance(record, Connected):
                self._reached(at.now_ns - max(0, at.wall_ns - record.wall_ns))

    def reached(self, at: At) -> Connected:
        """The venue answered a connect; the record of it, to be kept."""
        self._reached(at.now_ns)
        return Connected(at.wall_ns)

    def _reached(self, now_ns: int) -> None:
        self._reached_ns.append(now_ns)
        self._reached_ns.sort()
        del self._reached_ns[: -self._max_per_hour]

    def budget_wait_ns(self, now_ns: int) -> int:
        """How long until the budget of the hour allows another connect; 0 while it does."""
        if len(self._reached_ns) < self._max_per_hour:
            return 0
        return max(0, self._reached_ns[0] + BUDGET_NS - now_ns)

    def hold(self, now_ns: int, wait_s: float) -> None:
        """The venue asks us to come back later; an hour is the longest that it can mean."""
        self._pace.hold(now_ns + min(BUDGET_NS, round(wait_s * SECOND_NS)))

    def opening(self, now_ns: int) -> int:
        """Begin a new connection; returns its number."""
        self.conn += 1
        self.began_ns = now_ns
        self._opening = True
        return self.conn

    def opened(self, now_ns: int) -> None:
        self._opening = False
        self._opened_ns = now_ns
        self.welcomed = False

    def welcome(self) -> None:
        self.welcomed = True

    def settled(self, now_ns: int) -> None:
        """Everything is synced, and for a while: the next loss is not one of a series."""
        if self._opened_ns is not None and now_ns - self._opened_ns > _SETTLED_AFTER_NS:
            self._pace.settled()

    def lost(self, now_ns: int) -> None:
        """Closed by either side, or refused: wait before the next one, longer each time."""
        self._opening = False
        self._opened_ns = None
        self.welcomed = False
        self._pace.failed(now_ns)

    def welcome_overdue(self, now_ns: int) -> bool:
        """Open, and the venue has not said a word."""
        return (
            self._opened_ns is not None
            and not self.welcomed
            and now_ns - self._opened_ns > _WELCOME_WITHIN_NS
        )
