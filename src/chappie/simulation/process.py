"""The process: one core, driven as `chappie.live.trader` drives it, killable between any two acts.

Get an event, write it down, step, perform the commands. `tests/simulation` holds this driver
against the live one, so that what is simulated is what runs.
"""

import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from chappie.core.core import Core
from chappie.journal.digest import EVERY_STEPS, CommandDigest
from chappie.journal.framing import JournalError
from chappie.model.commands import (
    AskPolicy,
    CloseStream,
    Command,
    DropOrders,
    Keep,
    Log,
    OpenStream,
    SayHalted,
    SendCall,
    SendFrame,
    SendOrder,
    SetLatch,
    Stop,
)
from chappie.model.events import (
    Event,
    HaltAsked,
    PolicyDecided,
    Started,
    StopAsked,
    StreamClosed,
    Ticked,
    Unanswered,
)
from chappie.model.faults import (
    FLATTEN_WINDOW_NS,
    HALT_WINDOW_NS,
    STOP_WINDOW_NS,
    StopReason,
)
from chappie.model.invariant import InvariantViolated
from chappie.model.records import Stopped
from chappie.model.units import MILLISECOND_NS, At
from chappie.simulation.sockets import Sockets
from chappie.venues.bitmex.dialect import BitmexDialect

if TYPE_CHECKING:
    from chappie.simulation.world import World

# As the live driver: so much longer than its window a core may take to stop.
_END_BY_FORCE_NS = 800 * MILLISECOND_NS
_TRACE_LINES = 8


class Killed(Exception):
    """The process is gone, in the middle of whatever it did."""


class End(msgspec.Struct, frozen=True):
    """How a process ended, as its supervisor sees it."""

    reason: StopReason
    detail: str
    known: bool


class Process:
    """One run of the bot on a machine's disk. `deliver` is the only way in."""

    def __init__(self, world: "World", epoch: int) -> None:
        self.world = world
        self.epoch = epoch
        self.begun_ns = world.now_ns
        self.core = Core(world.config, BitmexDialect(world.config.venue.symbol), world.period_s)
        self.digest = CommandDigest()
        # The digest after each step, for a replay to find the first one that differs.
        self.marks: list[int] = []
        self.stop: Stop | None = None
        self.end: End | None = None
        self.dead = False
        # Frozen until then: events wait, as they do in the sockets of a process that hangs.
        self.hangs_until_ns = 0
        # Acts that are still done before a kill strikes; None: none is due.
        self.doom: int | None = None
        # A kill waits for the next step that sends an order, to strike amid its commands.
        self.doomed_amid_order = False
        # Done when the next order has left.
        self.after_order: Callable[[], None] | None = None
        self.sockets = Sockets(world, self)
        self._journal_error: str | None = None
        self._kept_stop = False
        self._stop_asked = False
        self._asked: tuple[StopReason, str] | None = None
        self._forced_ns = 0
        self._stepping = False
        self._pending: deque[Event] = deque()
        self._asleep: list[Event] = []

    @property
    def alive(self) -> bool:
        return not self.dead and self.end is None

    # --- events in

    def at(self) -> At:
        return self.world.at()

    def next_deadline_ns(self) -> int | None:
        """When this process wants to be called, on the world's clock."""
        if not self.alive:
            return None
        if self.hangs_until_ns > self.world.now_ns:
            return self.hangs_until_ns
        due_ns = self.core.next_deadline()
        return None if due_ns is None else due_ns + self.world.boot_ns

    def tick(self) -> None:
        """The core's deadline, or the end of a hang, has come."""
        waiting, self._asleep = self._asleep, []
        for event in waiting:
            self.deliver(event)
        self.deliver(Ticked())

    def deliver(self, event: Event) -> None:
        if not self.alive:
            return
        if self.hangs_until_ns > self.world.now_ns:
            self._asleep.append(event)
            return
        self._pending.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._pending and self.end is None:
                self._step(self._pending.popleft())
        except Killed:
            self.world.killed(self)
        except Exception as error:  # noqa: BLE001  as the live driver does: a bug ends by the table
            self._crashed(error)
        finally:
            self._stepping = False

    def die(self) -> None:
        """Gone without a word: the kernel closes its sockets, nothing more is heard."""
        self.dead = True
        self.sockets.break_all()

    # --- one step, in the live driver's order

    def _step(self, event: Event) -> None:
        if type(event) is StopAsked:
            if self._stop_asked:
                return
            self._stop_asked = True
        self._bound_the_end(event)
        at = self.at()
        self._act()
        if self._journal_error is None:
            try:
                self.world.disk.append(self.epoch, at, event)
            except JournalError as error:
                self._journal_failed(error)
        self._act()
        commands = self.core.step(at, event)
        self.digest.add(commands)
        self.marks.append(self.digest.entry().crc)
        self.world.watch.stepped(self, at, event, commands)
        if self.doomed_amid_order and any(type(one) is SendOrder for one in commands):
            self.doom = self.world.draw_kill(len(commands))
        for command in commands:
            self._act()
            self.world.watch.performing(self, command)
            self._perform(command)
            if self.end is not None:
                return
        if self.digest.steps % EVERY_STEPS == 0 and self._journal_error is None:
            try:
                self.world.disk.append(self.epoch, at, self.digest.entry())
            except JournalError as error:
                self._journal_failed(error)

    def _bound_the_end(self, event: Event) -> None:
        """Whoever asks for an end gets one; the latest bound counts, and the first reason."""
        match event:
            case StopAsked():
                reason, detail, window_ns = _reason(event.reason), event.detail, STOP_WINDOW_NS
            case HaltAsked(detail=detail, flatten=flatten):
                reason = StopReason.HALTED
                window_ns = FLATTEN_WINDOW_NS if flatten else HALT_WINDOW_NS
            case Started(halted=str() as detail):
                reason, window_ns = StopReason.HALTED, HALT_WINDOW_NS
            case _:
                return
        self._asked = self._asked or (reason, detail)
        self._forced_ns = max(self._forced_ns, self.world.now_ns + window_ns + _END_BY_FORCE_NS)
        self.world.at_ns(self._forced_ns, self._end_by_force)

    def _end_by_force(self) -> None:
        if self.world.now_ns >= self._forced_ns and self._asked is not None:
            self._over(*self._asked, False)

    def _act(self) -> None:
        """Between any two acts a kill may strike."""
        if self.doom is None:
            return
        if self.doom <= 0:
            raise Killed
        self.doom -= 1

    def _journal_failed(self, error: JournalError) -> None:
        self._journal_error = str(error)
        self._pending.appendleft(StopAsked("journal_failed", str(error)))

    def _crashed(self, error: Exception) -> None:
        violated = isinstance(error, (InvariantViolated, AssertionError))
        reason = StopReason.INVARIANT_VIOLATED if violated else StopReason.INTERNAL_ERROR
        where = "".join(traceback.format_exception(error)[-_TRACE_LINES:])
        self._over(reason, f"{type(error).__name__}: {error}\n{where}", False)

    # --- commands out

    def _perform(self, command: Command) -> None:
        match command:
            case OpenStream():
                self.sockets.open(command.conn, command.within_ns)
            case CloseStream():
                if self.sockets.close(command.conn):
                    self._pending.append(StreamClosed(command.conn, 0, command.why))
            case SendFrame():
                self.sockets.say(command.conn, command.payload)
            case SendCall():
                self.sockets.send(command)
            case SendOrder():
                assert self.world.config.bot.allow_trade, "the shell's fuse (promise 1)"
                if self._journal_error is not None:
                    self._pending.append(
                        Unanswered(command.request_id, False, "not sent: the journal failed")
                    )
                else:
                    self.sockets.send(command)
                    self._order_left()
            case DropOrders():
                self._pending.extend(self.sockets.drop_orders())
            case SetLatch():
                self.world.disk.set_latch(command.words)
            case SayHalted():
                self.world.watch.halt_said(self)
            case AskPolicy():
                target = self.world.policy.decide(command.view)
                self._pending.append(PolicyDecided(command.decision, target))
            case Keep():
                self._keep(command)
            case Stop():
                self.stop = command
                self._over(_reason(command.reason), command.detail, command.known)
            case Log():
                pass

    def _order_left(self) -> None:
        then, self.after_order = self.after_order, None
        if then is not None:
            then()

    def _keep(self, command: Keep) -> None:
        self._kept_stop = self._kept_stop or isinstance(command.record, Stopped)
        if self._journal_error is None:
            try:
                self.world.disk.append_kept(command.record)
            except JournalError as error:
                self._journal_failed(error)

    # --- the end

    def _over(self, reason: StopReason, detail: str, known: bool) -> None:
        if self.end is not None or self.dead:
            return
        self.end = End(reason, detail, known)
        if self._journal_error is None:
            try:
                self.world.disk.append(self.epoch, self.at(), self.digest.entry())
                if not self._kept_stop:
                    stopped = Stopped(self.at().wall_ns, reason.word, detail)
                    self.world.disk.append_kept(stopped)
            except JournalError as error:
                self._journal_error = str(error)
        self.sockets.break_all()
        self.world.ended(self, self.end)


def _reason(word: str) -> StopReason:
    return StopReason[word.upper()]
