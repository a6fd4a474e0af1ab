"""The supervisor and the machine under it: what follows when a process ends, hangs or sleeps.

Restarts are judged by the guardian's own rules. Where those say stay down, a person comes after a
while, mends the cause and starts the bot again.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from chappie.guardian.errands.sweep import Left
from chappie.guardian.errands.vigil import LOOK_NS, Vigil
from chappie.guardian.restarts import History, Restart, judge
from chappie.model.events import HaltAsked, Started, StopAsked
from chappie.model.faults import StopReason
from chappie.model.records import Waits
from chappie.model.units import SECOND_NS
from chappie.simulation.guard import Guard
from chappie.simulation.invariants import BUGS
from chappie.simulation.process import End, Process

if TYPE_CHECKING:
    from chappie.simulation.night import Night

# A person looks after the bot this long after it stayed down, in seconds.
_PERSON_S = (10, 60)
_BOOT_S = (5, 60)
# Another supervisor than ours starts the trader again this soon, knowing nothing of fences.
_AT_ONCE_S = (0.05, 1.0)
# The guardian looks for so long before each start.
_BEFORE_START_S = 5.0
# The rules know no back-off this long: what is due later than this is due to a bug of ours.
_START_WITHIN_S = 120.0


class Supervisor:
    """Starts processes of one bot on one machine, one at a time."""

    def __init__(self, night: "Night", chance: Random) -> None:
        self.restarts: dict[str, int] = {}
        # When the next start is due; None while a process runs or nobody will start one.
        self.start_due_ns: int | None = None
        # Why it stays down until a person comes.
        self.down: str | None = None
        self._night = night
        self._chance = chance
        self._history = History()
        self._plan = 0
        # The guardian's own hand, and when it looks; another supervisor has neither.
        self._guard = Guard(night) if night.plan.guardian else None
        night.guard = self._guard
        self._vigil = Vigil(night.config, night.at())
        # A start is due, and held back for what a dead process left until then.
        self._held_until_ns: int | None = None

    def start(self) -> None:
        """Start a process on whatever the disk holds, once the guardian looked at the venue."""
        guard = self._guard
        if guard is None or self._vigil.are_none:
            self._begin()
            return
        self.start_due_ns = self._night.now_ns
        self.down = None
        guard.give_up()

        asked = self._night.at()

        def looked(left: Left) -> None:
            self._vigil.looked_before_start(asked, left)
            self._begin()

        guard.sweep(self._night.disk.epoch + 1, _BEFORE_START_S, looked, disarm=False)

    def _begin(self) -> None:
        night = self._night
        self.start_due_ns = self._held_until_ns = None
        self.down = None
        if self._guard is not None:
            self._guard.give_up()
            self._vigil.started()
        epoch = night.disk.epoch + 1
        night.begin(Process(night, epoch), Started(epoch, night.disk.kept(), night.disk.latch))

    # --- what a dead process left

    def _bury(self, end: End) -> None:
        """It is dead: look at what it left, and go on until nothing can be left any more."""
        night = self._night
        if self._guard is None:
            return
        process = night.process
        assert process is not None, "something died"
        at = night.at()
        self._guard.take_over(process.core.snapshot(at), *process.core.rest(at))
        lives_on = end.reason is StopReason.NOT_ALONE
        self._vigil.ended(night.at(), verified=end.known, lives_on=lives_on)

    def _clear(self) -> None:
        night, guard, down = self._night, self._guard, self.down is not None
        process = night.process
        if guard is None or guard.is_busy or (process is not None and process.alive):
            return
        look, asked = self._vigil.next(down), night.at()
        if look is None:
            self._start_held_back()
        elif asked.now_ns < look.due_ns:
            night.later(look.due_ns - asked.now_ns, self._clear)
        else:

            def looked(left: Left) -> None:
                if self._vigil.looked(asked, night.at(), look, left, self.down is not None):
                    night.witness.swept(left)
                self._clear()

            night.note(f"the guardian looks{' and disarms' if look.disarm else ''}")
            below, within_s = night.disk.epoch + 1, LOOK_NS / SECOND_NS
            guard.sweep(below, within_s, looked, disarm=look.disarm)

    def _start_when_clear(self) -> None:
        """The back-off is over; the look after the fence may not be."""
        if self._guard is None or self._vigil.are_none:
            self.start()
            return
        held_ns = self._vigil.bound_ns(self._night.at())
        self._held_until_ns = self._night.now_ns + held_ns
        self._in(held_ns / SECOND_NS, self.start)

    def _start_held_back(self) -> None:
        if self._held_until_ns is not None:
            self._held_until_ns = None
            self._in(0.0, self.start)

    def follow(self, end: End) -> None:
        """A process is gone: start another one after a while, or leave it to a person."""
        night = self._night
        word = end.reason.word
        self.restarts[word] = self.restarts.get(word, 0) + 1
        night.note(f"ended: {word}: {end.detail}")
        if end.reason in BUGS:
            night.violated("no_bug", f"{word}: {end.detail}")
            return
        self._bury(end)
        if not night.plan.guardian and end.reason.restarts:
            self._start_in(self._chance.uniform(*_AT_ONCE_S))
            return
        now_s = night.now_ns / SECOND_NS
        orders = night.config.orders
        # As the guardian: nothing of the dead process may still be on its way (promise 6).
        quiet_s = 0.0 if end.known else orders.expires_after_s + 1.0
        self._history, verdict = judge(
            self._history, end.reason, now_s, night.config.supervisor, quiet_s
        )
        if isinstance(verdict, Restart):
            assert verdict.delay_s <= _START_WITHIN_S, verdict
            self._start_in(verdict.delay_s)
            self._clear()
        else:
            self.down = verdict.reason
            night.note(f"stays down: {verdict.reason}: {verdict.detail}")
            self._in(self._chance.uniform(*_PERSON_S), self.mend)
            self._clear()

    def mend(self) -> None:
        """A person mends what made it stay down, and starts it again."""
        if self.down is None:
            return
        night = self._night
        night.note("a person comes")
        night.disk.full = False
        self.resume()
        night.clear("ban_403")
        night.venue.throttle.lift_bans()
        self._lift_the_wait()
        night.hand.trade_back()
        self._history = History()
        self.start()

    def _lift_the_wait(self) -> None:
        """The ban is over before its time, and only a person can know that."""
        disk, wall_ns = self._night.disk, self._night.at().wall_ns
        told = [record for record in disk.kept() if isinstance(record, Waits)]
        if told and told[-1].until_wall_ns > wall_ns:
            disk.append_kept(Waits(wall_ns, wall_ns, banned=False))

    def resume(self) -> None:
        """A person ends a halt."""
        if self._night.disk.latch is not None:
            self._night.note(f"resumed: {self._night.disk.latch}")
            self._night.disk.latch = None

    def halt(self, flatten: bool) -> None:
        """The operator halts the bot: latched on disk, obeyed by whoever runs, or starts."""
        night, process = self._night, self._night.process
        words = "halt and flatten" if flatten else "halt"
        night.note(words)
        night.disk.set_latch(words)
        if process is not None and process.alive:
            process.deliver(HaltAsked(words, flatten))

    def halt_amid_order(self, delay_ns: int, flatten: bool) -> None:
        """The same, so long after the next order left."""
        night, process = self._night, self._night.process
        if process is not None and process.alive:
            process.after_order = lambda: night.later(delay_ns, lambda: self.halt(flatten))

    def hurry(self) -> None:
        """Everything is well again: whoever waits does not have to wait long."""
        if self.down is not None:
            self.mend()
        elif self.start_due_ns is not None and self.start_due_ns > self._night.now_ns + SECOND_NS:
            self._start_in(1.0)

    def kill(self, reason: StopReason, detail: str) -> None:
        """End the process from outside."""
        process = self._night.process
        if process is not None and process.alive:
            process.die()
            self.follow(End(reason, detail, False))

    def ask_to_stop(self, detail: str) -> None:
        """The operator stops the bot; a person starts it again."""
        process = self._night.process
        if process is not None and process.alive:
            self._night.fired()
            process.deliver(StopAsked(StopReason.OPERATOR.word, detail))

    def hang(self, for_ns: int) -> None:
        """The process takes no step; past the heartbeat's patience it is killed."""
        night, process = self._night, self._night.process
        if process is None or not process.alive:
            return
        night.fired()
        process.hangs_until_ns = max(process.hangs_until_ns, night.now_ns + for_ns)
        limits = night.config.supervisor
        patience_s = limits.heartbeat_timeout_s
        if not process.core.reconciler.ever_clean:
            patience_s = limits.startup_timeout_s
        due_ns = night.now_ns + round(patience_s * SECOND_NS)
        if process.hangs_until_ns > due_ns:
            night.at_ns(due_ns, lambda: self._stalled(process))

    def _stalled(self, process: Process) -> None:
        if process is self._night.process and process.hangs_until_ns > self._night.now_ns:
            self.kill(StopReason.LOOP_STALLED, "no beat; killed by the supervisor")

    def suspend(self, for_ns: int) -> None:
        """The machine sleeps: nobody on it acts, and its connections die without a word."""
        night, process = self._night, self._night.process
        if process is None or not process.alive:
            return
        night.fired()
        process.hangs_until_ns = night.now_ns + for_ns
        process.sockets.go_dark()

    def lose_power(self, chance: Random) -> None:
        """The machine dies and boots again."""
        night, process = self._night, self._night.process
        if process is None or not process.alive:
            return
        night.fired()
        process.sockets.go_dark()
        process.die()
        night.disk.lose_power(chance)
        night.note("the power is off")
        # The guardian died with it, and begins anew.
        self._vigil = Vigil(night.config, night.at())
        self.restarts["power_loss"] = self.restarts.get("power_loss", 0) + 1
        self._history = History()
        self._start_in(chance.uniform(*_BOOT_S))

    def _start_in(self, seconds: float) -> None:
        self.start_due_ns = self._night.now_ns + round(seconds * SECOND_NS)
        self._in(seconds, self._start_when_clear)

    def _in(self, seconds: float, what: Callable[[], None]) -> None:
        """Only the latest plan counts."""
        self._plan += 1
        plan = self._plan

        def act() -> None:
            if plan == self._plan:
                what()

        self._night.later(round(seconds * SECOND_NS), act)
