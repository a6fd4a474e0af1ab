"""What a halt needs of everything around it, and what it answers: the shapes, no deeds."""

from typing import Protocol

import msgspec

from chappie.live.state_dir import LastStop
from chappie.model.link import HaltSeen


class HaltDone(msgspec.Struct, frozen=True):
    """What holds after a halt, as `POST /api/halt` answers it.

    ``acknowledged``: the trader obeys, or is proven dead. ``verified``: a read at the venue shows
    no order of ours. ``flattened`` is null where no flatten was asked for; ``orders`` is how many
    of ours work and ``position`` the contracts held, null when unknown. ``missing`` says in words
    what does not hold.
    """

    latched: bool
    acknowledged: bool
    verified: bool
    flattened: bool | None
    orders: int | None
    position: int | None
    missing: list[str]


class Resumed(msgspec.Struct, frozen=True):
    """What a resume did; ``halt`` is the one that it cleared, null where none was latched."""

    done: bool
    halt: str | None
    words: str


class Left(Protocol):
    """What a sweep at the venue found in the end."""

    @property
    def verified(self) -> bool: ...

    @property
    def ours(self) -> int | None: ...

    @property
    def position(self) -> int | None: ...

    @property
    def detail(self) -> str: ...


class Flattened(Protocol):
    """What became of the closing order."""

    @property
    def done(self) -> bool: ...

    @property
    def position(self) -> int | None: ...

    @property
    def detail(self) -> str: ...


class Hand(Protocol):
    """The guardian's own reach to the venue."""

    async def leave_nothing(self, within_s: float, *, whole: bool = False) -> Left:
        """Cancel what is ours until a read shows none of it; ``whole``: of the last trader too,
        although it was not buried yet.
        """
        ...

    async def flatten(self, within_s: float) -> Flattened:
        """Close the position with one reduce-only order; the trader must be dead by now."""
        ...


class TraderLike(Protocol):
    """The trader process, as far as a halt deals with it."""

    pid: int
    beats: int
    halt_seen: HaltSeen | None

    @property
    def returncode(self) -> int | None: ...

    async def exited(self, within_s: float) -> bool: ...

    def ask_to_halt(self, detail: str, flatten: bool) -> None: ...

    def kill(self) -> None: ...


class Ward(Protocol):
    """The guardian, which starts traders and buries them."""

    @property
    def trader(self) -> TraderLike | None:
        """The one that lives, or is dead and not buried yet."""
        ...

    @property
    def last_stop(self) -> LastStop | None: ...

    @property
    def may_arrive_s(self) -> float:
        """So long a request of a dead trader may still arrive at the venue."""
        ...

    @property
    def down_for(self) -> str | None:
        """The reason for which no trader is started until a person resumes."""
        ...

    def start_again(self, why: str) -> None:
        """A person resumed: end the staying down."""
        ...


class Events(Protocol):
    """The guardian's log."""

    def event(self, level: str, event: str, **fields: object) -> None: ...
