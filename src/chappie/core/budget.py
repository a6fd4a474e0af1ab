"""The venue's request budget: its headers, corrected by our own count (control L3)."""

from chappie.core.pacing import Pace
from chappie.model.config import RateLimitConfig
from chappie.model.reports import BudgetSeen
from chappie.model.units import SECOND_NS

# Until a header says otherwise (protocol section 3: authenticated, per minute).
_DEFAULT_LIMIT = 120
# The wait after failing answers, doubled while they go on.
_FAILING_FIRST_NS = SECOND_NS // 2
_FAILING_MAX_NS = 4 * SECOND_NS


class Budget:
    """How many requests may still be sent; locked while it is low.

    The bucket refills continuously over a minute. Every send is counted at once, so answers that
    are still under way cannot hide what was spent; a header replaces the estimate.
    """

    def __init__(self, config: RateLimitConfig) -> None:
        self._config = config
        self.limit = _DEFAULT_LIMIT
        self.heard: int | None = None
        self.locked = False
        self._level = float(_DEFAULT_LIMIT)
        self._at_ns = 0
        self._in_flight = 0
        # Until when the venue asked us to send nothing.
        self._told_until_ns = 0
        self._failing = Pace(_FAILING_FIRST_NS, _FAILING_MAX_NS)

    def sent(self, now_ns: int) -> None:
        self._refill(now_ns)
        self._level -= 1
        self._in_flight += 1

    def ended(self) -> None:
        """A request got its answer, or never will."""
        self._in_flight = max(0, self._in_flight - 1)

    def seen(self, now_ns: int, budget: BudgetSeen) -> None:
        """Headers of an answer; what is in flight was not yet counted by them."""
        if budget.limit is not None and budget.limit > 0:
            self.limit = budget.limit
        if budget.remaining is not None:
            self.heard = budget.remaining
            self._level = float(budget.remaining - self._in_flight)
            self._at_ns = now_ns

    def shut(self, now_ns: int, retry_after_s: float) -> None:
        """The venue asked us to wait."""
        self._told_until_ns = max(self._told_until_ns, now_ns + round(retry_after_s * SECOND_NS))

    @property
    def shut_until_ns(self) -> int:
        """Until when nothing is sent that can wait: the venue asked for it, or keeps failing."""
        return max(self._told_until_ns, self._failing.until_ns)

    def failed(self, now_ns: int) -> None:
        """The venue is not itself; what fails while we wait already is the same failure."""
        if now_ns >= self.shut_until_ns:
            self._failing.failed(now_ns)

    def served(self) -> None:
        """A request was answered as it should be: the next failure is not one of a series."""
        self._failing.settled()

    def remaining(self, now_ns: int) -> int:
        self._refill(now_ns)
        return int(self._level)

    def judge(self, now_ns: int) -> bool:
        """Lock or unlock with hysteresis; returns whether the venue itself keeps us waiting.

        A pause of our own after a failed answer is no fault: what failed has one where it matters.
        """
        left = self.remaining(now_ns)
        if left < self._config.lock_below:
            self.locked = True
        elif left > self._config.unlock_above:
            self.locked = False
        return self.locked or now_ns < self._told_until_ns

    def is_shut(self, now_ns: int) -> bool:
        """Locked, asked by the venue to wait, or waiting because it fails."""
        return self.locked or now_ns < self.shut_until_ns

    def words(self, now_ns: int) -> str:
        """Why no order is sent now, for people."""
        left = f"{self.remaining(now_ns)} requests left"
        wait_s = (self._told_until_ns - now_ns) / SECOND_NS
        return (
            left if wait_s <= 0 else f"no request for {wait_s:.1f} s, as the venue wants it; {left}"
        )

    def _refill(self, now_ns: int) -> None:
        gained = (now_ns - self._at_ns) * self.limit / (60 * SECOND_NS)
        if gained > 0:
            self._level = min(float(self.limit), self._level + gained)
            self._at_ns = now_ns
