"""The offset between the venue's clock and ours, from the times that it states (control F10)."""

from chappie.model.units import SECOND_NS, At, seconds_ns


class Skew:
    """The offset, venue minus local, in nanoseconds of wall time, as small as what was stated
    allows.
    """

    def __init__(self, max_skew_s: float) -> None:
        self._max_ns = seconds_ns(max_skew_s)
        self.offset_ns: int | None = None
        # Whether it was ever measured within the limit.
        self.was_right = False
        # Whether our clock was set since it was last measured.
        self._doubted = False

    def measured(self, venue_ns: int, at: At, asked_ns: int, whole_seconds: bool = False) -> None:
        """The venue stated its time in an answer to what was asked at ``asked_ns``.

        It was stated somewhere in between, so it bounds the offset and no more: a slow answer is no
        wrong clock. ``whole_seconds``: the time was cut to seconds. What was known moves only as
        far as the bounds demand, so a coarse answer does not undo a fine one, and a clock that
        drifts is followed.
        """
        least_ns = venue_ns - at.wall_ns
        most_ns = venue_ns - (at.wall_ns - (at.now_ns - asked_ns))
        if whole_seconds:
            most_ns += SECOND_NS
        known_ns = 0 if self._doubted or self.offset_ns is None else self.offset_ns
        self.offset_ns = min(max(known_ns, least_ns), most_ns)
        self.was_right = self.was_right or not self.is_too_large
        self._doubted = False

    def doubt(self) -> None:
        """Our clock was set: what was measured says nothing of it any more."""
        self._doubted = True

    @property
    def is_sure(self) -> bool:
        """Whether a request signed now expires when we think it does."""
        return not self._doubted and not self.is_too_large

    @property
    def is_too_large(self) -> bool:
        return self.offset_ns is not None and abs(self.offset_ns) > self._max_ns

    @property
    def words(self) -> str:
        if self.offset_ns is None:
            return "never measured"
        return f"the venue's clock is {self.offset_ns / SECOND_NS:+.3f} s from ours"
