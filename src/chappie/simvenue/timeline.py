"""The venue's time and outbox: what is due when, and what the shell has to do about it.

Everything that happens later is a call in one heap, so the same venue runs on the real clock
and on virtual time. Frames of one connection never overtake each other.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from chappie.simvenue.envelopes import Effect


class Timeline:
    """One venue's clock, agenda and outbox."""

    def __init__(self, at_ns: int) -> None:
        self.now_ns = at_ns
        self.skew_ns = 0
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self._effects: list[Effect] = []

    @property
    def wall_ns(self) -> int:
        """What the venue believes the time to be; a fault may set it wrong."""
        return self.now_ns + self.skew_ns

    def move(self, at_ns: int) -> None:
        """Let time pass; it never goes back."""
        self.now_ns = max(self.now_ns, at_ns)

    def later(self, due_ns: int, do: Callable[[], None]) -> None:
        """Do something when its time has come; equal times keep their order."""
        self._numbers += 1
        heapq.heappush(self._agenda, (due_ns, self._numbers, do))

    def next_due(self) -> int | None:
        """When the next thing is due."""
        return self._agenda[0][0] if self._agenda else None

    def pop_due(self, at_ns: int) -> tuple[int, Callable[[], None]] | None:
        """Take the next thing that is due by then."""
        if not self._agenda or self._agenda[0][0] > at_ns:
            return None
        due_ns, _, do = heapq.heappop(self._agenda)
        return due_ns, do

    def emit(self, effect: Effect) -> None:
        """Put something into the outbox."""
        self._effects.append(effect)

    def take_effects(self) -> list[Effect]:
        """Empty the outbox."""
        effects = self._effects
        self._effects = []
        return effects
