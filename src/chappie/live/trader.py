"""The driver: get an event, write it down, step, perform the commands.

Everything happens in the callback that brought the event, on one thread. Nothing that adds risk
leaves before the event that caused it is in the journal. In a burst, events that led to nothing
wait for the next that does, or for a tick, and share its write.
"""

import asyncio
import contextlib
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from chappie.journal.digest import EVERY_STEPS, CommandDigest
from chappie.journal.framing import JournalError
from chappie.journal.journal import Journal
from chappie.journal.kept import KeptLog
from chappie.live.log import Log
from chappie.live.watchdog import Watchdog
from chappie.model.commands import (
    AskPolicy,
    CloseStream,
    Command,
    DropOrders,
    Keep,
    OpenStream,
    SayHalted,
    SendCall,
    SendFrame,
    SendOrder,
    SetLatch,
    Stop,
)
from chappie.model.commands import Log as LogCommand
from chappie.model.events import (
    Event,
    HaltAsked,
    PolicyDecided,
    PolicyFailed,
    Started,
    StopAsked,
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
from chappie.model.link import Beat, Ending, HaltSeen
from chappie.model.records import Stopped
from chappie.model.state import State
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At
from chappie.model.view import View

PENDING_MAX = 10_000
# Four times a second; a little less, for the check that carries a beat is as long as that.
_BEAT_AFTER_NS = 240 * MILLISECOND_NS
_TICK_AT_LEAST_S = 0.001
# Events that come so soon after the last write are a burst, which shares its writes.
_BURST_NS = MILLISECOND_NS // 2
# So much longer than its window a core may take to stop.
_END_BY_FORCE_AFTER_S = 0.8
_TRACE_LINES = 12


class CoreLike(Protocol):
    """The core, as the driver needs it."""

    def step(self, at: At, event: Event) -> Sequence[Command]: ...

    def next_deadline(self) -> int | None:
        """Once there is one, later steps only move it later."""
        ...

    def snapshot(self, at: At) -> State: ...

    def rest(self, at: At) -> tuple[int, bool]: ...


class StreamsLike(Protocol):
    def open(self, conn: int, within_ns: int) -> None: ...

    def send(self, conn: int, payload: bytes) -> None: ...

    def close(self, conn: int, why: str) -> None: ...


class RestLike(Protocol):
    def send(self, command: SendCall) -> None: ...

    def send_order(self, command: SendOrder) -> None: ...

    def drop_orders(self) -> None: ...


class PolicyLike(Protocol):
    def ask(self, decision: int, view: View) -> PolicyDecided | PolicyFailed: ...


class LinkLike(Protocol):
    def beat(self, beat: Beat) -> None: ...

    def halt_seen(self, seen: HaltSeen) -> None: ...

    def ending(self, ending: Ending) -> None: ...


class Ended(msgspec.Struct, frozen=True):
    """How the run ended."""

    reason: StopReason
    detail: str
    known: bool


class Trader:
    """One core, driven. `deliver` is the only way in; ``ended`` resolves when it is over."""

    def __init__(
        self,
        *,
        core: CoreLike,
        journal: Journal,
        kept: KeptLog,
        policy: PolicyLike,
        log: Log,
        watchdog: Watchdog,
        clock: Callable[[], At],
        loop: asyncio.AbstractEventLoop,
        epoch: int,
        last_words: Callable[[Ended, State | None], None],
        set_latch: Callable[[str], None],
    ) -> None:
        """``last_words`` writes `last_stop.json` as soon as the end is decided; ``set_latch``
        latches a halt on disk, and never raises.
        """
        self._core = core
        self._journal = journal
        self._kept = kept
        self._policy = policy
        self._log = log
        self._watchdog = watchdog
        self._clock = clock
        self._loop = loop
        self._epoch = epoch
        self._last_words = last_words
        self._set_latch = set_latch
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self.last_state: State | None = None
        self._streams: StreamsLike
        self._rest: RestLike
        self._link: LinkLike | None = None
        self._pending: deque[Event] = deque()
        self._stepping = False
        self._over = False
        # Why nothing is written any more; from then on we only wind down.
        self._journal_error: str | None = None
        self._kept_stop = False
        self._stop_asked = False
        # Who asked us to end first, and when patience with that ends.
        self._asked: tuple[StopReason, str] | None = None
        self._forced: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._beat_ns = 0
        self._written_ns = 0
        self._digest = CommandDigest()
        self._perform: dict[type, Callable[[Any], None]] = {
            OpenStream: self._open_stream,
            CloseStream: self._close_stream,
            SendFrame: self._send_frame,
            SendCall: self._send_call,
            SendOrder: self._send_order,
            DropOrders: self._drop_orders,
            Keep: self._keep,
            SetLatch: self._latch,
            SayHalted: self._say_halted,
            AskPolicy: self._ask_policy,
            LogCommand: self._write_log,
            Stop: self._stop,
        }

    def connect(self, streams: StreamsLike, rest: RestLike, link: LinkLike | None) -> None:
        """Give the driver its hands; they were made with `deliver`, so they come second."""
        self._streams = streams
        self._rest = rest
        self._link = link

    # --- events in

    def deliver(self, event: Event) -> None:
        """Take one event to its end, or queue it while another is on its way. Never raises."""
        if self._over:
            return
        if self._stepping:
            if len(self._pending) >= PENDING_MAX:
                self._end(StopReason.LOOP_STALLED, f"{PENDING_MAX} events wait", known=False)
                return
            self._pending.append(event)
            return
        self._stepping = True
        try:
            self._step(event)
            while self._pending and not self._over:
                self._step(self._pending.popleft())
            # One that fires before the deadline, which only moves later, is set again.
            if self._timer is None and not self._over:
                self._arm_timer()
        # The outermost edge of the trader: whatever a bug raises ends the process by the table.
        except Exception as error:  # noqa: BLE001
            self.crashed(error)
        finally:
            self._stepping = False

    def crashed(self, error: BaseException) -> None:
        """A bug of ours surfaced: say where in one record, and end."""
        violated = isinstance(error, (InvariantViolated, AssertionError))
        reason = StopReason.INVARIANT_VIOLATED if violated else StopReason.INTERNAL_ERROR
        detail = type(error).__name__
        # Out of memory even the words may fail; the core that broke must not be stepped again.
        with contextlib.suppress(Exception):
            detail = self._log.redactor.text(f"{detail}: {error}")
            self._log.error(reason.word, detail=detail, trace=trace_of(error))
        self._end(reason, detail, known=False)

    def ask_to_stop(self, reason: str, detail: str) -> None:
        """Someone outside wants the process to end: the core winds down, within bounds."""
        self.deliver(StopAsked(reason, detail))

    # --- one step

    def _step(self, event: Event) -> None:
        if type(event) is StopAsked:
            if self._stop_asked:
                # The first who asked gives the reason; asking again changes nothing.
                return
            self._stop_asked = True
        self._bound_the_end(event)
        at = self._clock()
        if self._journal_error is None:
            self._journal.append(at, event)
            if at.now_ns - self._written_ns > _BURST_NS:
                self._write_down(at)
        commands = self._core.step(at, event)
        steps = self._digest.add(commands)
        if commands:
            # Nothing leaves before the events that caused it are in the journal.
            self._write_down(at)
            for command in commands:
                self._perform[type(command)](command)
                if self._over:
                    return
        if steps % EVERY_STEPS == 0:
            self._write_digest(at)
        # After any step: under a busy feed the core's checks ride on frames and nothing ticks.
        if at.now_ns - self._beat_ns >= _BEAT_AFTER_NS:
            self._beat(at)

    def _write_digest(self, at: At) -> None:
        if self._journal_error is None:
            self._journal.append(at, self._digest.entry())
            self._write_down(at)

    def _write_down(self, at: At) -> None:
        self._written_ns = at.now_ns
        if self._journal_error is None:
            try:
                self._journal.flush(at)
            except JournalError as error:
                self._journal_failed(error)

    def _journal_failed(self, error: JournalError) -> None:
        """From here on nothing may add risk; taking our orders away never waits for a disk."""
        self._journal_error = str(error)
        self._log.error("journal_failed", detail=str(error))
        self._pending.appendleft(StopAsked("journal_failed", str(error)))

    def _bound_the_end(self, event: Event) -> None:
        """Whoever asks for an end gets one, whatever becomes of the core; a flatten asked for
        later may take longer than the stop that it joins.
        """
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
        self._log.info("stop_asked", reason=reason.word, detail=detail)
        self._watchdog.end_within_bounds(reason, detail, window_ns)
        self._asked = self._asked or (reason, detail)
        due = self._loop.time() + window_ns / SECOND_NS + _END_BY_FORCE_AFTER_S
        if self._forced is not None:
            due = max(due, self._forced.when())
            self._forced.cancel()
        self._forced = self._loop.call_at(due, self._end, *self._asked, False)

    # --- commands out

    def _open_stream(self, command: OpenStream) -> None:
        self._streams.open(command.conn, command.within_ns)

    def _close_stream(self, command: CloseStream) -> None:
        self._streams.close(command.conn, command.why)

    def _send_frame(self, command: SendFrame) -> None:
        self._streams.send(command.conn, command.payload)

    def _send_call(self, command: SendCall) -> None:
        self._rest.send(command)

    def _send_order(self, command: SendOrder) -> None:
        if self._journal_error is not None:
            self.deliver(Unanswered(command.request_id, False, "not sent: the journal failed"))
            return
        self._rest.send_order(command)

    def _drop_orders(self, command: DropOrders) -> None:
        self._rest.drop_orders()

    def _latch(self, command: SetLatch) -> None:
        self._log.error("halt_latched", detail=command.words)
        self._set_latch(command.words)

    def _say_halted(self, command: SayHalted) -> None:
        self._log.info("halt_obeyed", detail=command.detail)
        if self._link is not None:
            self._link.halt_seen(HaltSeen(command.detail))

    def _keep(self, command: Keep) -> None:
        self._kept_stop = self._kept_stop or isinstance(command.record, Stopped)
        if self._journal_error is None:
            try:
                self._kept.append(command.record)
            except JournalError as error:
                self._journal_failed(error)

    def _ask_policy(self, command: AskPolicy) -> None:
        self.deliver(self._policy.ask(command.decision, command.view))

    def _write_log(self, command: LogCommand) -> None:
        self._log.write(command.level, command.event, command.fields)

    def _stop(self, command: Stop) -> None:
        self._end(_reason(command.reason), command.detail, command.known)

    # --- time

    def _arm_timer(self) -> None:
        """Set the one timer; deadlines only move later, so it never fires too late."""
        deadline_ns = self._core.next_deadline()
        if deadline_ns is None:
            return
        delay_s = max(_TICK_AT_LEAST_S, (deadline_ns - self._clock().now_ns) / SECOND_NS)
        self._timer = self._loop.call_later(delay_s, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        if self._over:
            return
        deadline_ns = self._core.next_deadline()
        # Clocks are compared, not timer fires: a timer may fire early, or for an old deadline.
        if deadline_ns is not None and self._clock().now_ns >= deadline_ns:
            self.deliver(Ticked())
        else:
            self._arm_timer()

    def _beat(self, at: At) -> None:
        """Proof to the guardian that decisions turn, with what we know now."""
        self._beat_ns = at.now_ns
        self.last_state = self._core.snapshot(at)
        self._tell(at, self.last_state)

    def _tell(self, at: At, state: State) -> None:
        if self._link is not None:
            until_ns, banned = self._core.rest(at)
            self._link.beat(Beat(self._epoch, state, until_ns, banned))

    # --- the end

    def _end(self, reason: StopReason, detail: str, known: bool) -> None:
        if self._over:
            return
        self._over = True
        self._watchdog.decided(reason, detail)
        for timer in (self._timer, self._forced):
            if timer is not None:
                timer.cancel()
        at = self._clock()
        try:
            self.last_state = self._core.snapshot(at)
            # The guardian's own requests go on from here: a ban is told before we are gone.
            self._tell(at, self.last_state)
        # A core that broke may break again; the state of the last beat then has to do.
        except Exception as error:  # noqa: BLE001
            with contextlib.suppress(Exception):
                self._log.error("snapshot_failed", detail=f"{type(error).__name__}: {error}")
        ended = Ended(reason, detail, known)
        # What cannot be said, for want of memory, must not keep the process from ending.
        with contextlib.suppress(Exception):
            self._last_words(ended, self.last_state)
            self._keep_the_end(at, ended)
            if self._link is not None:
                self._link.ending(Ending(reason.word, reason.value, detail))
        if not self.ended.done():
            self.ended.set_result(ended)

    def _keep_the_end(self, at: At, ended: Ended) -> None:
        if self._journal_error is not None:
            return
        try:
            self._journal.append(at, self._digest.entry())
            self._journal.flush(at)
            if not self._kept_stop:
                self._kept.append(Stopped(at.wall_ns, ended.reason.word, ended.detail))
        except JournalError as error:
            self._log.error("journal_failed", detail=str(error))


def trace_of(error: BaseException) -> str:
    """Where a bug was, for one field of one log record."""
    return "".join(traceback.format_exception(error)[-_TRACE_LINES:])


def _reason(word: str) -> StopReason:
    """The stop reason that a word of the contract names; another word is a bug of ours."""
    try:
        return StopReason[word.upper()]
    except KeyError:
        raise InvariantViolated(f"{word!r} is no stop reason of the contract") from None
