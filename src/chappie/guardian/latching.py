"""The guardian's own halt, latched aside, so that a disk that hangs delays nobody for long."""

from pathlib import Path

from chappie.guardian.aside import aside
from chappie.guardian.hand import Says
from chappie.journal.framing import JournalError
from chappie.live import latch

_DISK_WITHIN_S = 2.0
_NO_ANSWER = "the disk does not answer"


async def halt(state_dir: Path, words: str, says: Says) -> None:
    """Latch a halt; one that cannot be written is told, and holds as long as the guardian lives."""
    try:
        await aside(lambda: latch.set_(state_dir, words), _DISK_WITHIN_S)
    except (JournalError, TimeoutError) as error:
        says("error", "halt_not_latched", detail=str(error) or _NO_ANSWER)
    else:
        says("error", "halted", detail=words)
