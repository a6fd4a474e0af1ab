"""Keeps `run.json` up to date without ever waiting for the disk."""

import asyncio
from pathlib import Path

from chappie.guardian.aside import aside
from chappie.guardian.hand import Says
from chappie.guardian.instance import Run, forget_run, write_run
from chappie.journal.framing import JournalError

_WITHIN_S = 2.0
_FORGOTTEN_WITHIN_S = 0.3


class RunFile:
    """The newest `Run` gets written, one write at a time; those in between may be skipped."""

    def __init__(self, state_dir: Path, says: Says) -> None:
        self._state_dir = state_dir
        self._says = says
        self._newest: Run | None = None
        self._writing: asyncio.Task[None] | None = None

    def put(self, run: Run) -> None:
        """This is who runs here, from now on."""
        self._newest = run
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def forget(self) -> None:
        """At an ordinary end nobody should find us any more."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=_FORGOTTEN_WITHIN_S)
            self._writing.cancel()
        try:
            await aside(lambda: forget_run(self._state_dir), _FORGOTTEN_WITHIN_S)
        except (OSError, TimeoutError) as error:
            self._says("warning", "run_file_left", detail=_words(error))

    async def _write(self) -> None:
        while self._newest is not None:
            run, self._newest = self._newest, None
            try:
                await aside(lambda run=run: write_run(self._state_dir, run), _WITHIN_S)  # type: ignore[misc]
            except (JournalError, TimeoutError) as error:
                self._says("error", "run_file_not_written", detail=_words(error))


def _words(error: Exception) -> str:
    return str(error) or "the disk does not answer"
