"""Index, mark price and funding rate of the perpetual (protocol section 7)."""

from chappie.simvenue.contract import PPM
from chappie.simvenue.stamps import HOUR_NS

INTERVAL_NS = 8 * HOUR_NS
#: Funding falls at 04:00, 12:00 and 20:00 UTC.
_OFFSET_NS = 4 * HOUR_NS
#: I = (quote - base) / 3 with base 0.0003 and quote 0.0006.
INTEREST_PPM = 100
CLAMP_PPM = 500


def next_funding(at_ns: int) -> int:
    """The first funding instant after `at_ns`."""
    passed = (at_ns - _OFFSET_NS) // INTERVAL_NS
    return (passed + 1) * INTERVAL_NS + _OFFSET_NS


def rate_of(premium_ppm: int) -> int:
    """F = P + clamp(I - P, +-0.05 %)."""
    return premium_ppm + max(-CLAMP_PPM, min(CLAMP_PPM, INTEREST_PPM - premium_ppm))


class Funding:
    """The index as told by the market, the fair price built on it, and the running premium."""

    def __init__(self, at_ns: int, index_cents: int) -> None:
        self.due_ns = next_funding(at_ns)
        self.rate_ppm = INTEREST_PPM
        self.index_cents = index_cents
        self.mark_cents = index_cents
        self._premium_sum_ppm = 0
        self._premium_count = 0
        self.update(at_ns, index_cents, None)

    @property
    def indicative_ppm(self) -> int:
        if not self._premium_count:
            return INTEREST_PPM
        # Truncation towards zero, so that long and short premiums are treated alike.
        size = abs(self._premium_sum_ppm) // self._premium_count
        return rate_of(size if self._premium_sum_ppm >= 0 else -size)

    @property
    def basis_cents(self) -> int:
        return self.mark_cents - self.index_cents

    def update(self, at_ns: int, index_cents: int, mid_cents: int | None) -> None:
        """Take a new index price, sample the premium, and move the mark price."""
        self.index_cents = index_cents
        if mid_cents is not None:
            self._premium_sum_ppm += (mid_cents - index_cents) * PPM // index_cents
            self._premium_count += 1
        left_ns = max(0, self.due_ns - at_ns)
        # index * (1 + rate * timeToFunding / interval), rounded to the cent.
        scale = PPM * INTERVAL_NS
        self.mark_cents = (index_cents * (scale + self.rate_ppm * left_ns) * 2 + scale) // (
            2 * scale
        )

    def roll(self) -> None:
        """After a funding instant: the indicative rate becomes the rate of the next interval."""
        self.rate_ppm = self.indicative_ppm
        self._premium_sum_ppm = 0
        self._premium_count = 0
        self.due_ns += INTERVAL_NS
