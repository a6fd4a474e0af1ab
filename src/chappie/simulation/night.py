"""One night: a bot trades, a seed breaks things, everything heals, and all must be well again."""

from collections.abc import Sequence
from random import Random

import msgspec

from chappie.model.commands import Command
from chappie.model.events import Event, Started
from chappie.model.faults import StopReason
from chappie.model.units import MILLISECOND_NS, SECOND_NS
from chappie.simulation.faults import FaultKind
from chappie.simulation.hand import Hand
from chappie.simulation.invariants import Witness
from chappie.simulation.network import Network
from chappie.simulation.process import End, Process
from chappie.simulation.replaying import divergence
from chappie.simulation.scenario import Scenario, Wishes, scenario, shares
from chappie.simulation.supervisor import Supervisor
from chappie.simulation.trace import Trace
from chappie.simulation.world import World
from chappie.simvenue.contract import Contract
from chappie.simvenue.crowd import Crowd
from chappie.simvenue.options import Limits

# 2025-11-24 20:00 UTC, when funding is paid.
FUNDING_NS = 1_764_014_400 * SECOND_NS
HOURS = 1 / 6
_CALM_WITHIN_S = 240.0
_AGREE_WITHIN_S = 120.0
_LOOK_EVERY_NS = SECOND_NS // 2


class Violation(msgspec.Struct, frozen=True):
    invariant: str
    words: str
    at_s: float


class Result(msgspec.Struct, frozen=True):
    """What a night came to. Equal for equal seeds, whatever the machine."""

    seed: int
    violations: tuple[Violation, ...]
    virtual_s: float
    orders: int
    fills: int
    fired: dict[str, int]
    restarts: dict[str, int]
    calm_s: float
    digest: int
    trace: tuple[str, ...] = ()


class Broken(BaseException):
    """An invariant does not hold; the night is over. No outermost edge of a process takes it."""


_KILLED = End(StopReason.KILLED, "killed", False)


class Night(World):
    """A world in which a seed decides what goes wrong."""

    def __init__(self, plan: Scenario, *, verbose: bool = False) -> None:
        self.plan = plan
        self.chance = Random(f"night:{plan.seed}")
        self.begin_ns = FUNDING_NS - plan.before_funding_s * SECOND_NS
        policy = Wishes(plan.seed, plan.qty, plan.period_s)
        contract = Contract(tick_cents=plan.tick_cents)
        super().__init__(
            plan.config,
            policy,
            Crowd(self.begin_ns, seed=plan.seed, rate=plan.rate, contract=contract),
            network=Network(Random(f"network:{plan.seed}"), round(plan.delay_ms * MILLISECOND_NS)),
            limits=Limits(per_minute=plan.per_minute),
            contract=contract,
            seed=plan.seed,
            begin_ns=self.begin_ns,
        )
        self.wishes = policy
        self.trace = Trace(self, verbose)
        self.supervisor: Supervisor = Supervisor(self, Random(f"supervisor:{plan.seed}"))
        self.hand: Hand = Hand(self)
        self.witness: Witness = Witness(self)
        self.watch = self.witness
        self.violations: list[Violation] = []
        # Every clOrdID that was ever sent, and the epoch that sent it.
        self.names: dict[str, int] = {}
        self.processes: list[Process] = []
        # A read may lie now; until then no other one may.
        self.lies_until_ns = 0
        self.orders_before_dawn = 0
        self._ours = f"chp-{plan.config.bot.id}-"
        self._striking = ""
        self._armed: dict[int, str] = {}
        self._stormy = True

    # --- the night

    def whole(self, hours: float = HOURS) -> Result:
        """Let it all happen."""
        calm_s = 0.0
        try:
            self._look()
            self.supervisor.start()
            self._next_strike()
            self.run(hours * 3600)
            calm_s = self._dawn()
        except Broken:
            pass
        self._count_struck()
        if not self.violations:
            self._replay()
        return self._result(calm_s)

    def _dawn(self) -> float:
        """Everything heals: calm within bounds, then both sides agree."""
        self.heal()
        healed_ns = self.now_ns
        if not self.run(_CALM_WITHIN_S, self._is_calm):
            self.violated("calm", f"not calm {_CALM_WITHIN_S:.0f} s after: {self._condition()}")
        calm_s = (self.now_ns - healed_ns) / SECOND_NS
        self.note(f"calm after {calm_s:.1f} s")
        self.wishes.fixed = self.chance.choice((-1, 0, 1)) * self.plan.qty
        if not self.run(_AGREE_WITHIN_S, self._agrees):
            process = self.process
            assert process is not None
            words = self.witness.sides_agree(process) or self._condition()
            self.violated("sides_agree", words)
        assert self.process is not None
        books = self.witness.books_agree(self.process)
        if books:
            self.violated("books_agree", books)
        return calm_s

    def heal(self) -> None:
        """All faults off; whoever is down is started again."""
        self.note("everything heals")
        self._stormy = False
        self._count_struck()
        self.clear()
        self.venue.throttle.lift_bans()
        self.network.heal()
        self.disk.full = False
        self.wall_offset_ns = 0
        self.orders_before_dawn = self.witness.orders_sent
        process = self.process
        if process is not None:
            process.doom, process.doomed_amid_order = None, False
            process.after_order = None
            process.hangs_until_ns = min(process.hangs_until_ns, self.now_ns)
        self.hand.trade_back()
        self.supervisor.hurry()

    def _is_calm(self) -> bool:
        process = self.process
        return (
            process is not None
            and process.alive
            and process.core.stopping is None
            and not process.core.faults
            and (
                self.witness.orders_sent > self.orders_before_dawn
                or not self.config.bot.allow_trade
            )
        )

    def _agrees(self) -> bool:
        process = self.process
        return (
            self._is_calm()
            and process is not None
            and process.sockets.idle
            and not self.witness.sides_agree(process)
        )

    def _condition(self) -> str:
        process = self.process
        if process is None or not process.alive:
            return f"no process; down: {self.supervisor.down}"
        faults = [f"{f.fault.value} {f.subject} {f.detail}" for f in process.core.faults.all()]
        sent = self.witness.orders_sent - self.orders_before_dawn
        return f"{'; '.join(faults) or 'no fault'}; {sent} orders since"

    def _replay(self) -> None:
        for process in self.processes:
            words = divergence(self.config, self.period_s, self.disk, process)
            if words:
                self.violations.append(Violation("replay", words, self.now_s))

    # --- what goes wrong

    def _next_strike(self) -> None:
        self.later(round(self.chance.expovariate(1 / self.plan.pace_s) * SECOND_NS), self._strike)

    def _strike(self) -> None:
        if not self._stormy:
            return
        kinds, weights = shares(self.plan.kinds)
        (kind,) = self.chance.choices(kinds, weights)
        self.strike(kind)
        self._next_strike()

    def strike(self, kind: FaultKind) -> None:
        """Make one thing go wrong now."""
        self._striking = kind.name
        self.note(f"strike: {kind.name}")
        kind.strike(self, self.chance)

    def fired(self) -> None:
        """What strikes now really struck."""
        self.network.count(self._striking)

    def arm_fault(self, fault: str, **fields: object) -> None:
        """Switch on one of the venue's own faults, for the kind that strikes now."""
        given = {name: value for name, value in fields.items() if value is not None}
        body = {"fault": fault, **given}
        self.note(f"venue: {body}")
        (number,) = self.ask("POST", "/control/faults", body)["numbers"]
        self._armed[number] = self._striking

    def arm_fault_later(self, after_ns: int, fault: str, **fields: object) -> None:
        """A later step of what strikes now, unless everything was healed before."""
        kind = self._striking

        def arm() -> None:
            if self._stormy:
                self._striking = kind
                self.arm_fault(fault, **fields)

        self.later(after_ns, arm)

    def _count_struck(self) -> None:
        struck = self.venue.faults.struck
        while struck:
            kind = self._armed.get(struck.popleft())
            if kind is not None:
                self.network.count(kind)

    def draw_kill(self, commands: int) -> int:
        self.network.count("kill_amid_order")
        return self.chance.randrange(commands + 1)

    # --- processes

    def begin(self, process: Process, started: Started) -> None:
        self.processes.append(process)
        super().begin(process, started)

    def killed(self, process: Process) -> None:
        super().killed(process)
        self.supervisor.follow(_KILLED)

    def ended(self, process: Process, end: End) -> None:
        self.witness.ended(process, end)
        self.supervisor.follow(end)

    # --- who looks on

    @property
    def now_s(self) -> float:
        return (self.now_ns - self.begin_ns) / SECOND_NS

    def is_ours(self, cl_ord_id: str | None) -> bool:
        return cl_ord_id is not None and cl_ord_id.startswith(self._ours)

    def stepped(self, process: Process, event: Event, commands: Sequence[Command]) -> None:
        self.trace.stepped(process, event, commands)

    def note(self, words: str) -> None:
        self.trace.note(words)

    def violated(self, invariant: str, words: str) -> None:
        self.note(f"VIOLATED {invariant}: {words}")
        self.violations.append(Violation(invariant, words, round(self.now_s, 3)))
        raise Broken

    def _look(self) -> None:
        self._count_struck()
        self.witness.look()
        self.later(_LOOK_EVERY_NS, self._look)

    def _result(self, calm_s: float) -> Result:
        fired = dict(sorted(self.network.fired.items()))
        if self.disk.refused:
            fired["disk_full"] = self.disk.refused
        digest = 0
        for process in self.processes:
            digest = digest * 31 + process.digest.entry().crc + process.digest.steps
        return Result(
            seed=self.plan.seed,
            violations=tuple(self.violations),
            virtual_s=self.now_s,
            orders=self.witness.orders_sent,
            fills=len(self.witness.truth.fills),
            fired=fired,
            restarts=dict(sorted(self.supervisor.restarts.items())),
            calm_s=calm_s,
            digest=digest % (1 << 64),
            trace=tuple(self.trace.lines()) if self.violations or self.trace.verbose else (),
        )


def night(seed: int, hours: float = HOURS, *, verbose: bool = False) -> Result:
    """The night of a seed."""
    return Night(scenario(seed), verbose=verbose).whole(hours)
