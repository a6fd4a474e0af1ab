"""Burying a trader: why it ended, said once and written for those that could not write it."""

import signal
from pathlib import Path

import msgspec

from chappie.guardian import last_stop
from chappie.guardian.clock import iso_now
from chappie.guardian.outlet import Outlet
from chappie.guardian.process import Trader
from chappie.guardian.sweep import Left
from chappie.journal.framing import JournalError
from chappie.live.state_dir import LastStop
from chappie.model.faults import StopReason
from chappie.model.state import State

_NEVER_OURS = (StopReason.NOT_ALONE, StopReason.CONFIG)
"""Such a trader never ran here: the state folder's last stop is another's."""


class Burial:
    """Owns what the guardian knows of the last stop. Call `expect` before each start."""

    def __init__(self, state_dir: Path, outlet: Outlet) -> None:
        self._state_dir = state_dir
        self._outlet = outlet
        self._stamp = last_stop.stamp(state_dir)
        self.last_stop = last_stop.read(state_dir)

    def expect(self) -> None:
        """A trader starts: what is written from here on is its word."""
        self._stamp = last_stop.stamp(self._state_dir)

    async def bury(self, trader: Trader, stalled: bool) -> tuple[LastStop, StopReason]:
        """Reap it and find out why it ended; what it could not write is written for it."""
        code = await trader.reaped()
        written = self._written_by_trader()
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
                self.write(stop)
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

    def not_started(self, detail: str, last: State | None) -> LastStop:
        """A start that failed counts as a stop; ``last`` is what the trader before it knew."""
        reason = StopReason.INTERNAL_ERROR
        stop = last_stop.witnessed(reason.word, reason.value, detail, iso_now(), last)
        self.write(stop)
        self._outlet.event("error", "trader_not_started", detail=detail)
        return stop

    def killed_at_the_operator_s_word(self, why: str) -> None:
        """A death by our own hand at the operator's word is the operator's stop."""
        if self.last_stop is not None and self.last_stop.reason == StopReason.KILLED.word:
            self.write(
                msgspec.structs.replace(
                    self.last_stop,
                    reason=StopReason.OPERATOR.word,
                    code=StopReason.OPERATOR.value,
                    detail=f"{why}; killed, for it did not end by itself",
                )
            )

    def verified(self, left: Left) -> None:
        """What the trader could not verify, the guardian read at the venue."""
        if self.last_stop is not None:
            self.write(
                msgspec.structs.replace(
                    self.last_stop, orders=[], position=left.position, known=True
                )
            )

    def write(self, stop: LastStop) -> None:
        """This is the last stop from now on."""
        self.last_stop = stop
        try:
            last_stop.write(self._state_dir, stop)
        except JournalError as error:
            # A full disk must not take the guardian along; the API still tells.
            self._outlet.event("error", "last_stop_not_written", detail=str(error))

    def _written_by_trader(self) -> LastStop | None:
        """Its own `last_stop.json`, if it wrote one in this run."""
        if last_stop.stamp(self._state_dir) == self._stamp:
            return None
        return last_stop.read(self._state_dir)


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
