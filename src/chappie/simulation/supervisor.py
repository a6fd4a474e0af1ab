"""The supervisor and the machine under it: what follows when a process ends, hangs or sleeps.

Restarts are judged by the guardian's own rules. Where those say stay down, a person comes after a
while, mends the cause and starts the bot again.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from chappie.guardian.restarts import History, Restart, judge
from chappie.model.events import HaltAsked, Started, StopAsked
from chappie.model.faults import StopReason
from chappie.model.units import SECOND_NS
from chappie.simulation.invariants import BUGS
from chappie.simulation.process import End, Process

if TYPE_CHECKING:
    from chappie.simulation.night import Night

# A person looks after the bot this long after it stayed down, in seconds.
_PERSON_S = (10, 60)
_BOOT_S = (5, 60)
# Another supervisor than ours starts the trader again this soon, knowing nothing of fences.
_AT_ONCE_S = (0.05, 1.0)
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

    def start(self) -> None:
        """Start a process on whatever the disk holds."""
        night = self._night
        self.start_due_ns = None
        self.down = None
        epoch = night.disk.epoch + 1
        night.begin(Process(night, epoch), Started(epoch, night.disk.kept(), night.disk.latch))

    def follow(self, end: End) -> None:
        """A process is gone: start another one after a while, or leave it to a person."""
        night = self._night
        word = end.reason.word
        self.restarts[word] = self.restarts.get(word, 0) + 1
        night.note(f"ended: {word}: {end.detail}")
        if end.reason in BUGS:
            night.violated("no_bug", f"{word}: {end.detail}")
            return
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
        else:
            self.down = verdict.reason
            night.note(f"stays down: {verdict.reason}: {verdict.detail}")
            self._in(self._chance.uniform(*_PERSON_S), self.mend)

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
        night.hand.trade_back()
        self._history = History()
        self.start()

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
        self.restarts["power_loss"] = self.restarts.get("power_loss", 0) + 1
        self._history = History()
        self._start_in(chance.uniform(*_BOOT_S))

    def _start_in(self, seconds: float) -> None:
        self.start_due_ns = self._night.now_ns + round(seconds * SECOND_NS)
        self._in(seconds, self.start)

    def _in(self, seconds: float, what: Callable[[], None]) -> None:
        """Only the latest plan counts."""
        self._plan += 1
        plan = self._plan

        def act() -> None:
            if plan == self._plan:
                what()

        self._night.later(round(seconds * SECOND_NS), act)
