"""Pauses: when a thing that came to nothing may be done again.

Everything that is repeated has one, so that a venue that refuses or falls silent is not stormed:
many errors in a short time are a ban (protocol section 3).
"""


class Pace:
    """Not before ``until_ns``; every failure in a row waits twice as long, up to a bound."""

    __slots__ = ("_first_ns", "_most_ns", "_next_ns", "until_ns")

    def __init__(self, first_ns: int, most_ns: int | None = None) -> None:
        """Without ``most_ns`` every pause is as long as the first."""
        self._first_ns = self._next_ns = first_ns
        self._most_ns = first_ns if most_ns is None else most_ns
        self.until_ns = 0

    def is_due(self, now_ns: int) -> bool:
        return now_ns >= self.until_ns

    def failed(self, now_ns: int) -> None:
        """Wait, and longer the next time."""
        self.until_ns = now_ns + self._next_ns
        self._next_ns = min(2 * self._next_ns, self._most_ns)

    def succeeded(self, now_ns: int) -> None:
        """Wait once; the next failure is not one of a series."""
        self.until_ns = now_ns + self._first_ns
        self._next_ns = self._first_ns

    def settled(self) -> None:
        """The next failure is not one of a series; a pause that was begun goes on."""
        self._next_ns = self._first_ns

    def hold(self, until_ns: int) -> None:
        """Wait at least until then."""
        self.until_ns = max(self.until_ns, until_ns)

    def release(self) -> None:
        """There is nothing to wait for any more."""
        self.until_ns = 0
