"""The guardian's own hand on virtual time: the errands of `chappie.guardian`, driven as its shell
drives them, over the same network as everything else.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from chappie.guardian.errands.asking import Asking
from chappie.guardian.errands.closing import Closing, Flattened
from chappie.guardian.errands.sweep import Left, Sweep
from chappie.model.commands import Command, Keep, SendCall, SendOrder
from chappie.model.events import Answered, Event, Unanswered
from chappie.model.state import State
from chappie.model.units import seconds_ns
from chappie.simulation.sockets import Sockets
from chappie.venues.bitmex.dialect import BitmexDialect

if TYPE_CHECKING:
    from chappie.simulation.world import World

# No process of a bot ever has it.
_EPOCH = 10**9


class Guard:
    """One errand at a time; what it came to is told to whoever asked for it."""

    def __init__(self, world: "World") -> None:
        self.epoch = _EPOCH
        self.asking = Asking(world.config, BitmexDialect(world.config.venue.symbol))
        self.sockets = Sockets(world, self)
        self._world = world
        self._errand: Sweep | Closing | None = None
        self._closing: Closing | None = None
        self._over: Callable[[], None] = lambda: None
        self._turn = 0

    @property
    def is_busy(self) -> bool:
        return self._errand is not None

    def take_over(self, last: State | None, rest_until_wall_ns: int, banned: bool) -> None:
        """A trader is dead; ``last`` is what it knew, and the wait that it was told."""
        budget = None if last is None else last.rate_limit
        self.asking.take_over(
            self._world.at(),
            None if budget is None else budget.limit,
            None if budget is None else budget.remaining,
            rest_until_wall_ns,
            banned,
        )

    def sweep(
        self, below_epoch: int, within_s: float, tell: Callable[[Left], None], *, disarm: bool
    ) -> None:
        """Cancel what is of an older epoch until reads show none of it."""
        at = self._world.at()
        until_ns = at.now_ns + seconds_ns(within_s)
        sweep = Sweep(self.asking, below_epoch, at, until_ns, disarm=disarm)

        def over() -> None:
            assert sweep.left is not None, "an errand runs to its end"
            tell(sweep.left)

        self._begin(sweep, over)

    def flatten(self, epoch: int, within_s: float, tell: Callable[[Flattened], None]) -> None:
        """Close the position with one reduce-only order."""
        at = self._world.at()
        until_ns = at.now_ns + seconds_ns(within_s)
        closing = self._closing
        if closing is not None and closing.in_doubt:
            closing.go_on(at, until_ns)
        else:
            closing = self._closing = Closing(self.asking, epoch, at, until_ns)

        def over() -> None:
            assert closing.flattened is not None, "an errand runs to its end"
            tell(closing.flattened)

        self._begin(closing, over)

    def give_up(self) -> None:
        """Whatever is under way is nobody's business any more."""
        self._errand = None
        self.asking.drop()

    def _begin(self, errand: Sweep | Closing, over: Callable[[], None]) -> None:
        assert self._errand is None, "one errand at a time"
        self._errand, self._over = errand, over
        self._step(None)

    def deliver(self, event: Event) -> None:
        """An answer, or that there is none."""
        if self._errand is not None and isinstance(event, Answered | Unanswered):
            self._step(event)

    def _step(self, event: Answered | Unanswered | None) -> None:
        world, errand = self._world, self._errand
        if errand is None:
            return
        for command in errand.step(world.at(), event):
            world.watch.guarding(command)
            self._perform(command)
        if self._errand is not errand:
            return
        if self._is_over(errand):
            self._errand = None
            self._over()
            return
        self._turn += 1
        turn = self._turn

        def tick() -> None:
            if turn == self._turn:
                self._step(None)

        at = world.at()
        world.later(max(1, errand.next_deadline(at) - at.now_ns), tick)

    @staticmethod
    def _is_over(errand: Sweep | Closing) -> bool:
        done = errand.left if isinstance(errand, Sweep) else errand.flattened
        return done is not None

    def _perform(self, command: Command) -> None:
        match command:
            case SendCall() | SendOrder():
                self.sockets.send(command)
            case Keep(record=record):
                # As in the shell: a broken disk keeps no position open.
                if not self._world.disk.full:
                    self._world.disk.append_kept(record)
            case _:
                raise AssertionError(f"an errand does not ask for {type(command).__name__}")
