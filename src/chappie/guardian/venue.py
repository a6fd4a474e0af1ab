"""What the guardian needs of an embedded venue; the command line knows how to make one."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class VenueFailedError(Exception):
    """The embedded venue did not start; the message is the line for the operator."""


class Venue(Protocol):
    """A venue process, started as often as it dies."""

    @property
    def pid(self) -> int | None: ...

    @property
    def rest_url(self) -> str: ...

    @property
    def is_running(self) -> bool:
        """Whether the process that was last started lives. Never blocks."""
        ...

    def ensure(self) -> bool:
        """Start it if it does not run and wait until it serves; True when it was started.

        One that died comes back where it was, so that a trader finds it again.

        Blocks, at most some ten seconds. Raises `VenueFailedError`.
        """
        ...

    def stop(self, within_s: float) -> None:
        """End it; also ends a waiting `ensure` of another thread. Blocks at most so long."""
        ...

    def kill(self) -> None: ...

    def trader_env(self) -> Mapping[str, str]:
        """What points a trader at it."""
        ...

    def inherited(self) -> Sequence[int]:
        """Descriptors that a trader keeps open: the venue lives while one of us does."""
        ...

    def upkeep(self) -> None:
        """Keep its log bounded."""
        ...
