"""What a guardian is to run, and how its own run ended."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from chappie.guardian.hand import Access
from chappie.model.config import Config


def _no_access() -> Access | str:
    return "the guardian was given no credentials"


class Plan(msgspec.Struct, frozen=True):
    """What to run. ``env`` is the trader's, without what the venue adds; ``for_s`` ends the run
    by itself; ``effective`` is the configuration with each value's source, for the log; ``access``
    is what opens the account to the guardian itself, or the words why nothing does.
    """

    config: Config
    config_hash: str
    state_dir: Path
    command: tuple[str, ...]
    env: dict[str, str]
    for_s: float | None = None
    effective: dict[str, object] = {}
    warnings: tuple[str, ...] = ()
    access: Callable[[], Access | str] = _no_access


class Ended(msgspec.Struct, frozen=True):
    """How the guardian itself ended: the exit code and, unless in order, one line why."""

    code: int
    line: str = ""
