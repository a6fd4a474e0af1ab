"""Stepping a recorded run, and comparing what it commands with what the run's digests say.

The digests are all that a run keeps of its commands (see `chappie.journal.digest`), so a
difference is found to within the steps between two of them. Some differences show at their own
step: the core breaks, it stops earlier, or the run holds an answer to what nobody asked.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from chappie.journal.digest import CommandDigest
from chappie.journal.records import Digest
from chappie.model.commands import AskPolicy, Command, Stop
from chappie.model.events import Event, PolicyDecided, PolicyFailed
from chappie.model.units import At
from chappie.replay.recording import Recorded

StepCore: TypeAlias = Callable[[At, Event], Sequence[Command]]


class Step(msgspec.Struct, frozen=True):
    """One step of the replay. ``broke`` says how the core failed at it, which ends a run."""

    number: int
    at: At
    event: Event
    commands: Sequence[Command]
    broke: str | None = None


class Diverged(msgspec.Struct, frozen=True):
    """The first difference: it arose after step ``after`` and showed at step ``step``.

    ``first`` is the first step of that range that commanded anything, for orientation.
    """

    after: int
    step: int
    at: At
    detail: str
    first: Step | None


class Replay:
    """A run so far: how many steps, how many commands, and how far the digests agreed."""

    def __init__(self, step: StepCore, see: Callable[[Step], None] = lambda step: None) -> None:
        """``step`` is a fresh core's; ``see`` is shown every step."""
        self.steps = 0
        self.commands = 0
        self.agreed = 0
        self.broke: str | None = None
        self._step = step
        self._see = see
        self._digest = CommandDigest()
        self._asked = 0
        self._over: str | None = None
        self._first: Step | None = None

    @property
    def digest(self) -> Digest:
        """Of every command so far."""
        return self._digest.entry()

    def follow(self, records: Iterable[Recorded], until: int | None = None) -> Diverged | None:
        """Step through the records, at most to step ``until``; the first difference, if any.

        Raises what the records raise when they cannot be read further.
        """
        for at, entry in records:
            if isinstance(entry, Digest):
                showed = max(self.steps, entry.steps)
                difference = self._compare(entry)
                if difference is None:
                    self.agreed = entry.steps
                    self._first = None
            elif self.steps == until:
                return None
            else:
                showed = self.steps + 1
                difference = self._take(at, entry)
            if difference is not None:
                step = max(showed, self.agreed + 1)
                return Diverged(self.agreed, step, at, difference, self._first)
        return None

    def _take(self, at: At, event: Event) -> str | None:
        """Step once, as the live driver does; a difference in words."""
        if self._over is not None:
            return f"{self._over}, and the recorded run went on with {type(event).__name__}"
        if isinstance(event, PolicyDecided | PolicyFailed) and event.decision > self._asked:
            return (
                f"the recorded run holds an answer to question {event.decision} to the policy, "
                "which this replay has not asked"
            )
        number = self.steps + 1
        try:
            commands = self._step(at, event)
        # As in the live driver: whatever a bug raises ends the run, and that replays too.
        except Exception as error:  # noqa: BLE001
            self.broke = f"{type(error).__name__}: {error}"
            self._over = f"the core broke at step {number} ({self.broke})"
            self._see(Step(number, at, event, (), self.broke))
            return None
        self.steps = number
        self.commands += len(commands)
        self._digest.add(commands)
        step = Step(number, at, event, commands)
        if commands and self._first is None:
            self._first = step
        for command in commands:
            if isinstance(command, AskPolicy):
                self._asked = command.decision
            elif isinstance(command, Stop):
                self._over = f"the replay stopped at step {number} ({command.reason})"
        self._see(step)
        return None

    def _compare(self, recorded: Digest) -> str | None:
        ours = self.digest
        if recorded == ours:
            return None
        if self._over is not None and self.broke is not None and recorded.steps > ours.steps:
            return f"{self._over}, and the recorded run did not"
        if recorded.steps == ours.steps - 1:
            return f"the recorded run broke at step {ours.steps}, and this replay did not"
        if recorded.steps != ours.steps:
            return (
                f"the recorded run counted {recorded.steps} steps here and this replay "
                f"{ours.steps}: records are missing or were added"
            )
        return f"digest {ours.crc:08x} where the recorded run has {recorded.crc:08x}"
