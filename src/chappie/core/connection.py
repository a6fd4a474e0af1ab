"""The websocket's life: when to open it, when it counts as usable, how long to wait after a loss.

Reconnecting is bounded by back-off here; what is wrong meanwhile is the faults' matter.
"""

from chappie.core.pacing import Pace
from chappie.model.units import SECOND_NS

_BACKOFF_FIRST_NS = SECOND_NS // 2
_BACKOFF_MAX_NS = 10 * SECOND_NS
_WELCOME_WITHIN_NS = 10 * SECOND_NS
_SETTLED_AFTER_NS = 60 * SECOND_NS
CONNECT_WITHIN_NS = 10 * SECOND_NS


class Connection:
    """One connection at a time, numbered; frames of any other number are not for us."""

    def __init__(self) -> None:
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

    def open_due(self, now_ns: int) -> bool:
        return not self._opening and self._opened_ns is None and self._pace.is_due(now_ns)

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
