"""Burying a trader: why it ended, said once and written for those that could not write it."""

import signal
from pathlib import Path

import msgspec

from chappie.guardian import last_stop
from chappie.guardian.aside import aside
from chappie.guardian.clock import iso_now
from chappie.guardian.errands.sweep import Left
from chappie.guardian.outlet import Outlet
from chappie.guardian.process import Trader
from chappie.journal.framing import JournalError
from chappie.live.state_dir import LastStop
from chappie.model.faults import StopReason
from chappie.model.state import State

_DISK_WITHIN_S = 1.0
_NEVER_OURS = (StopReason.NOT_ALONE, StopReason.CONFIG)
"""Such a trader never ran here: the state folder's last stop is another's."""


class Burial:
    """Owns what the guardian knows of the last stop. Call `expect` before each start.

    Every look at the disk is aside and bounded: one that hangs costs a line, never the guardian.
    """

    def __init__(self, state_dir: Path, outlet: Outlet) -> None:
        self._state_dir = state_dir
        self._outlet = outlet
        self._stamp = last_stop.stamp(state_dir)
        self.last_stop = last_stop.read(state_dir)

    async def expect(self) -> None:
        """A trader starts: what is written from here on is its word."""
        try:
            self._stamp = await aside(lambda: last_stop.stamp(self._state_dir), _DISK_WITHIN_S)
        except TimeoutError:
            # Then what was there before is told from a new word by what it says.
            self._stamp = None

    async def bury(self, trader: Trader, stalled: bool) -> tuple[LastStop, StopReason]:
        """Reap it and find out why it ended; what it could not write is written for it."""
        code = await trader.reaped()
        written = await self._written_by_trader()
        if stalled:
            reason = StopReason.LOOP_STALLED
            detail = f"no beat for {trader.silence_s:.1f} s; killed by the guardian"
            written = None
        else:
            reason, detail = fate(code, trader.ending.reason if trader.ending else None)
            if written is not None and code < 0:
                # Its own stop was decided and written before the signal took it.
                reason = _named(written.reason) or reason
            if trader.ending is not None and trader.ending.reason == reason.word:
                detail = trader.ending.detail
            elif code > 0:
                # It ended before it could speak to us: what it told people is all there is.
                detail = self._outlet.tape.last_plain_line() or detail
        if written is not None and written.reason == reason.word:
            stop = self.last_stop = written
        else:
            stop = last_stop.witnessed(reason.word, reason.value, detail, iso_now(), trader.state)
            self.last_stop = stop
            if reason not in _NEVER_OURS:
                await self.write(stop)
        level = "info" if reason is StopReason.OPERATOR else "error"
        self._outlet.event(
            level,
            "trader_stopped",
            pid=trader.pid,
            reason=reason.word,
            code=reason.value,
            detail=stop.detail,
            known=stop.known,
            **({"garbled": trader.garbled} if trader.garbled else {}),
        )
        return stop, reason

    async def not_started(self, detail: str, last: State | None) -> LastStop:
        """A start that failed counts as a stop; ``last`` is what the trader before it knew."""
        reason = StopReason.INTERNAL_ERROR
        stop = last_stop.witnessed(reason.word, reason.value, detail, iso_now(), last)
        await self.write(stop)
        self._outlet.event("error", "trader_not_started", detail=detail)
        return stop

    async def killed_at_the_operator_s_word(self, why: str) -> None:
        """A death by our own hand at the operator's word is the operator's stop."""
        if self.last_stop is not None and self.last_stop.reason == StopReason.KILLED.word:
            await self.write(
                msgspec.structs.replace(
                    self.last_stop,
                    reason=StopReason.OPERATOR.word,
                    code=StopReason.OPERATOR.value,
                    detail=f"{why}; killed, for it did not end by itself",
                )
            )

    async def verified(self, left: Left) -> None:
        """What the trader could not verify, the guardian read at the venue."""
        if self.last_stop is not None:
            await self.write(
                msgspec.structs.replace(
                    self.last_stop, orders=[], position=left.position, known=True
                )
            )

    async def write(self, stop: LastStop) -> None:
        """This is the last stop from now on."""
        self.last_stop = stop
        try:
            await aside(lambda: last_stop.write(self._state_dir, stop), _DISK_WITHIN_S)
        except (JournalError, TimeoutError) as error:
            # A full disk must not take the guardian along; the API still tells.
            words = str(error) or "the disk does not answer"
            self._outlet.event("error", "last_stop_not_written", detail=words)

    async def _written_by_trader(self) -> LastStop | None:
        """Its own `last_stop.json`, if it wrote one in this run."""

        def found() -> LastStop | None:
            if last_stop.stamp(self._state_dir) == self._stamp:
                return None
            return last_stop.read(self._state_dir)

        try:
            written = await aside(found, _DISK_WITHIN_S)
        except TimeoutError:
            return None
        # A write of ours that a slow disk finished late is not its word.
        return None if written == self.last_stop else written


def fate(returncode: int, said: str | None) -> tuple[StopReason, str]:
    """The reason behind an exit code of the contract, a signal, or an exit nobody planned."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        return StopReason.KILLED, f"killed by {name}, which nobody here sent"
    try:
        return StopReason(returncode), f"exit code {returncode}"
    except ValueError:
        detail = f"exit code {returncode}, which is none of the contract's"
        return StopReason.INTERNAL_ERROR, f"{detail}; it said {said}" if said else detail


def _named(word: str) -> StopReason | None:
    for reason in StopReason:
        if reason.word == word:
            return reason
    return None
