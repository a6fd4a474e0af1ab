"""The network between bot and venue: TCP's promises and no others.

Frames of one websocket arrive in order or not at all; requests travel by kept connections of
their own, so they keep no order among each other. What is lost, late or broken is decided here,
per request, by whatever is spoiled at that moment.
"""

from random import Random

import msgspec

from chappie.model.units import MILLISECOND_NS

STEADY_NS = 5 * MILLISECOND_NS


class Trip(msgspec.Struct, frozen=True):
    """What becomes of one request: ``None`` where it never arrives, or is never answered.

    ``cut_ns``: the client sees its connection break after this long; None: it sees nothing.
    """

    up_ns: int | None
    down_ns: int | None
    cut_ns: int | None = None


class Spoil(msgspec.Struct, frozen=True):
    """A way in which requests go wrong for a while."""

    kind: str
    until_ns: int
    chance: float
    method: str | None = None


class Line:
    """One websocket's connection: in order both ways, or dead without either side knowing."""

    def __init__(self) -> None:
        self.dead = False
        self.stalled_ns = 0
        self._up_ns = 0
        self._down_ns = 0

    def up(self, now_ns: int, delay_ns: int) -> int | None:
        """When something sent now reaches the venue."""
        if self.dead:
            return None
        self._up_ns = max(now_ns + delay_ns, self._up_ns, self.stalled_ns)
        return self._up_ns

    def down(self, now_ns: int, delay_ns: int) -> int | None:
        """When something that the venue sends now reaches us."""
        if self.dead:
            return None
        self._down_ns = max(now_ns + delay_ns, self._down_ns, self.stalled_ns)
        return self._down_ns


class Network:
    """Delays, and what is spoiled at present. Without a seed it is steady and spoils nothing."""

    def __init__(self, chance: Random | None = None, mean_ns: int = STEADY_NS) -> None:
        self.fired: dict[str, int] = {}
        self.unreachable_until_ns = 0
        self._chance = chance
        self._mean_ns = mean_ns
        self._spoils: list[Spoil] = []

    def spoil(self, spoil: Spoil) -> None:
        self._spoils.append(spoil)

    def heal(self) -> None:
        self._spoils.clear()
        self.unreachable_until_ns = 0

    def reachable(self, now_ns: int) -> bool:
        """Whether a new connection comes about."""
        if now_ns >= self.unreachable_until_ns:
            return True
        self.count("unreachable")
        return False

    def delay_ns(self) -> int:
        """One way, now."""
        if self._chance is None:
            return STEADY_NS
        return self._mean_ns // 2 + int(self._chance.expovariate(2.0 / self._mean_ns))

    def trip(self, now_ns: int, method: str) -> Trip:
        """The fate of a request that leaves now."""
        up_ns, down_ns = self.delay_ns(), self.delay_ns()
        kind = self._spoiled(now_ns, method) if self._spoils else None
        if kind is None or self._chance is None:
            return Trip(up_ns, down_ns)
        self.count(kind)
        late_ns = int(self._chance.uniform(300, 8_000)) * MILLISECOND_NS
        match kind:
            case "request_lost":
                return Trip(None, None)
            case "request_late":
                return Trip(late_ns, down_ns)
            case "answer_lost":
                return Trip(up_ns, None)
            case "answer_late":
                return Trip(up_ns, late_ns)
            case "request_cut":
                # Whether it still arrives the client cannot know.
                cut_ns = int(self._chance.uniform(0, 50)) * MILLISECOND_NS
                arrives = self._chance.random() < 0.5
                return Trip(late_ns // 4 if arrives else None, None, cut_ns)
        raise AssertionError(kind)

    def _spoiled(self, now_ns: int, method: str) -> str | None:
        self._spoils = [spoil for spoil in self._spoils if spoil.until_ns > now_ns]
        assert self._chance is not None
        for spoil in self._spoils:
            if spoil.method in (None, method) and self._chance.random() < spoil.chance:
                return spoil.kind
        return None

    def count(self, kind: str) -> None:
        self.fired[kind] = self.fired.get(kind, 0) + 1
