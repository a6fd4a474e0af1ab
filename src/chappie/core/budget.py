"""The venue's request budget in both layers: its headers, corrected by our own count (L3, L4).

The minute layer locks and unlocks; the second layer, of requests that enter or cancel orders, only
paces (protocol section 3). Lanes close from below: orders first, then reads are spaced; a cancel
waits for nothing but the time that the venue itself told us to wait.
"""

from chappie.core.pacing import Pace
from chappie.model.config import RateLimitConfig
from chappie.model.enums import Lane
from chappie.model.records import Waits
from chappie.model.reports import BudgetSeen
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, At

# Until a header says otherwise (protocol section 3, authenticated).
_PER_MINUTE = 120
_PER_SECOND = 10
# Of a second's requests, so many are left to the lanes above: to cancels, and to what reduces.
_SECOND_LEAVE = {Lane.REDUCE: 3, Lane.OPEN: 5}
# Of the reserve, reads leave this part to cancels and the dead man's switch.
_READS_LEAVE = 3
# The wait after failing answers, doubled while they go on.
_FAILING_FIRST_NS = SECOND_NS // 2
_FAILING_MAX_NS = 4 * SECOND_NS
# A 429 that does not say for how long (protocol section 3: `retry in 1 seconds`).
_LIMITED_S = 1.0
# A ban that does not say so lasts an hour; none is longer than a week (protocol section 3).
_BAN_S = 3600.0
_WAIT_MAX_S = 7 * 86_400.0
# A wait that a restart would forget before it is over is kept on disk.
_KEPT_FROM_S = 5.0
# Two waits that end so close together are the same.
_SAME_END_NS = SECOND_NS


class Layer:
    """One bucket that refills continuously. Every send is counted at once, so answers that are
    still under way cannot hide what was spent; a header replaces the estimate.
    """

    def __init__(self, limit: int, period_ns: int, level: int) -> None:
        self.limit = limit
        self._period_ns = period_ns
        self._level = float(level)
        self._at_ns = 0
        self._in_flight = 0

    def begin(self, now_ns: int) -> None:
        """Count from here; nothing was gained before."""
        self._at_ns = now_ns

    def sent(self, now_ns: int) -> None:
        self._refill(now_ns)
        self._level -= 1
        self._in_flight += 1

    def ended(self) -> None:
        self._in_flight = max(0, self._in_flight - 1)

    def heard(self, now_ns: int, limit: int | None, remaining: int | None) -> None:
        """Headers of an answer; what is in flight was not yet counted by them."""
        if limit is not None and limit > 0:
            self.limit = limit
        if remaining is not None:
            self._level = float(remaining - self._in_flight)
            self._at_ns = now_ns

    def left(self, now_ns: int) -> int:
        self._refill(now_ns)
        return int(self._level)

    def _refill(self, now_ns: int) -> None:
        gained = (now_ns - self._at_ns) * self.limit / self._period_ns
        if gained > 0:
            self._level = min(float(self.limit), self._level + gained)
            self._at_ns = now_ns


class Budget:
    """How many requests may still be sent, and which of them now."""

    def __init__(self, config: RateLimitConfig) -> None:
        self._config = config
        # Whether a header ever told what is left.
        self.was_heard = False
        # A process before this one may have spent all but the reserve: assumed until a header
        # says more, or the bucket refilled by itself.
        self.locked = True
        self._minute = Layer(_PER_MINUTE, 60 * SECOND_NS, min(config.lock_below, _PER_MINUTE))
        self._second = Layer(_PER_SECOND, SECOND_NS, 0)
        # Until when the venue told us to send nothing at all; on the wall clock for a restart.
        self._told_until_ns = 0
        self.told_until_wall_ns = 0
        self.banned = False
        self._kept_until_wall_ns = 0
        # Pauses of our own after answers that failed.
        self._failing = Pace(_FAILING_FIRST_NS, _FAILING_MAX_NS)

    def begin(self, at: At, waits: Waits | None) -> None:
        """The process starts; ``waits`` is what an earlier one was told."""
        self._minute.begin(at.now_ns)
        self._second.begin(at.now_ns)
        if waits is None or waits.until_wall_ns <= at.wall_ns:
            return
        # A wall clock that was set back makes no wait longer than it was told.
        left_ns = min(waits.until_wall_ns - at.wall_ns, waits.until_wall_ns - waits.wall_ns)
        self._kept_until_wall_ns = waits.until_wall_ns
        self._told(at, left_ns, waits.banned)

    # --- observe

    def sent(self, now_ns: int, *, enters: bool = False) -> None:
        """A request leaves; ``enters``: it enters or cancels orders, so the second layer counts it
        too. What comes back does not matter: a 429 or 503 has cost its token like any other.
        """
        self._minute.sent(now_ns)
        if enters:
            self._second.sent(now_ns)

    def ended(self, *, enters: bool = False) -> None:
        """A request got its answer, or never will."""
        self._minute.ended()
        if enters:
            self._second.ended()

    def seen(self, now_ns: int, budget: BudgetSeen) -> None:
        """The headers of an answer."""
        self.was_heard = self.was_heard or budget.remaining is not None
        self._minute.heard(now_ns, budget.limit, budget.remaining)
        self._second.heard(now_ns, budget.limit_1s, budget.remaining_1s)

    def limited(self, at: At, retry_after_s: float | None, headers: BudgetSeen) -> None:
        """A 429: nobody sends before its end."""
        if headers.remaining is None and headers.remaining_1s is None:
            self._minute.heard(at.now_ns, None, 0)
        wait_s = _LIMITED_S if retry_after_s is None else retry_after_s
        self._told(at, _bounded_ns(wait_s), banned=False)

    def ban(self, at: At, for_s: float | None) -> None:
        """The venue talks to nobody at this address: every request would make it longer."""
        self._told(at, _bounded_ns(_BAN_S if for_s is None else for_s), banned=True)

    def _told(self, at: At, wait_ns: int, banned: bool) -> None:
        self._told_until_ns = max(self._told_until_ns, at.now_ns + wait_ns)
        self.told_until_wall_ns = max(self.told_until_wall_ns, at.wall_ns + wait_ns)
        self.banned = self.banned or banned

    def take_record(self, at: At) -> Waits | None:
        """What a start must know of a wait that it may see the end of; once for each."""
        until_ns = self.told_until_wall_ns
        long = until_ns - at.wall_ns >= _KEPT_FROM_S * SECOND_NS
        if not long or until_ns <= self._kept_until_wall_ns + _SAME_END_NS:
            return None
        self._kept_until_wall_ns = until_ns
        return Waits(at.wall_ns, until_ns, self.banned)

    def failed(self, now_ns: int) -> None:
        """The venue is not itself; what fails while we wait already is the same failure."""
        if self._failing.is_due(now_ns):
            self._failing.failed(now_ns)

    def pause(self, now_ns: int, seconds: float) -> None:
        """Whatever can wait does."""
        self._failing.hold(now_ns + round(seconds * SECOND_NS))

    @property
    def pauses_until_ns(self) -> int:
        """Until when whatever can wait does."""
        return max(self._told_until_ns, self._failing.until_ns)

    def served(self) -> None:
        """A request was answered as it should be: the next failure is not one of a series."""
        self._failing.settled()

    # --- judge

    @property
    def limit(self) -> int:
        """Requests a minute, by the venue's headers."""
        return self._minute.limit

    def remaining(self, now_ns: int) -> int:
        return self._minute.left(now_ns)

    def judge(self, now_ns: int) -> bool:
        """Lock or unlock with hysteresis; returns whether the venue itself keeps us waiting.

        A pause of our own after a failed answer is no fault: what failed has one where it matters.
        """
        left = self.remaining(now_ns)
        if left < self._config.lock_below:
            self.locked = True
        elif left > min(self._config.unlock_above, self.limit - 1):
            # A full bucket unlocks though the venue grants less than the configuration asks for.
            self.locked = False
        return self.is_locked(now_ns)

    def is_locked(self, now_ns: int) -> bool:
        """Low, or told to wait."""
        return self.locked or now_ns < self._told_until_ns

    def is_open(self, lane: Lane, now_ns: int, requests: int = 1) -> bool:
        """Whether so many requests of a lane may leave now.

        A cancel is never counted out: the reserve is for it, and one refused costs less than an
        order that stays.
        """
        if now_ns < self._told_until_ns:
            return False
        if lane is Lane.CANCEL:
            return True
        if not self._failing.is_due(now_ns):
            return False
        left = self.remaining(now_ns)
        if lane is Lane.RECONCILE:
            kept = self._config.lock_below // _READS_LEAVE
            return left >= min(requests + kept, self.limit)
        return not self.locked

    def paces(self, lane: Lane, now_ns: int) -> bool:
        """An order waits for the next second: what is left of this one is for lanes above it."""
        leave = min(_SECOND_LEAVE[lane], self._second.limit - 1)
        return self._second.left(now_ns) < 1 + leave

    def words(self, at: At) -> str:
        """Why no order is sent now, for people."""
        left = f"{self.remaining(at.now_ns)} requests left"
        wait_s = (self._told_until_ns - at.now_ns) / SECOND_NS
        if wait_s <= 0:
            return left
        until = ns_iso(at.wall_ns + self._told_until_ns - at.now_ns)
        return f"no request for {wait_s:.1f} s, until {until}, as the venue wants it; {left}"


def _bounded_ns(seconds: float) -> int:
    return round(min(max(0.0, seconds), _WAIT_MAX_S) * SECOND_NS)
