"""The offset between the venue's clock and ours, from the times that it states (control F10)."""

from chappie.model.units import SECOND_NS, seconds_ns


class Skew:
    """The last measured offset, venue minus local, in nanoseconds of wall time."""

    def __init__(self, max_skew_s: float) -> None:
        self._max_ns = seconds_ns(max_skew_s)
        self.offset_ns: int | None = None

    def measured(self, venue_ns: int, wall_ns: int) -> None:
        """The venue stated its time in a message that arrived at ``wall_ns``."""
        self.offset_ns = venue_ns - wall_ns

    @property
    def is_too_large(self) -> bool:
        return self.offset_ns is not None and abs(self.offset_ns) > self._max_ns

    @property
    def words(self) -> str:
        if self.offset_ns is None:
            return "never measured"
        return f"the venue's clock is {self.offset_ns / SECOND_NS:+.3f} s from ours"
