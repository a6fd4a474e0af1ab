"""One run of the trader, from a locked state folder to its one stop: the parts put together."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import FrameType

import msgspec
import uvloop

from chappie.journal.framing import JournalError
from chappie.journal.journal import Journal
from chappie.journal.kept import KeptLog
from chappie.live import clock, latch
from chappie.live.halts import Halts
from chappie.live.link import GuardianLink
from chappie.live.log import Log
from chappie.live.notify import Notify, Told
from chappie.live.policies import PolicyRunner
from chappie.live.rest import RestClient
from chappie.live.state_dir import LastStop, RunFile, StateDir
from chappie.live.stream import Streams
from chappie.live.trader import CoreLike, Ended, Trader, trace_of
from chappie.live.watchdog import Watchdog
from chappie.model.config import Config
from chappie.model.events import Started
from chappie.model.faults import StopReason
from chappie.model.state import State
from chappie.venues.registry import VENUES

_TURN_EVERY_S = 0.5
_WARM_AFTER_S = 10.0
_CLOSE_WITHIN_S = 0.3
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Plan(msgspec.Struct, frozen=True):
    """What a run needs to be told.

    ``effective`` is each configuration key with its value and source, secrets excluded; it goes
    to the log, and as ``journal_config`` to the head of each journal segment.
    """

    config: Config
    config_hash: str
    effective: dict[str, object]
    warnings: tuple[str, ...]
    version: str
    key: str
    secret: str
    guardian_fd: int | None
    make_core: Callable[[Config, float], CoreLike]
    notify: Notify

    # The generated one would print the secret wherever a plan is shown.
    def __repr__(self) -> str:
        return "Plan(***)"


def run(plan: Plan, state: StateDir, policy: PolicyRunner, log: Log) -> LastStop:
    """Run until the one stop; returns it, already in `last_stop.json` but not yet in the log.

    Raises `OtherIdentityError` before anything was touched.
    """
    try:
        state.bind(plan.config, plan.key)
        # Before anything else may fail: the last line of the log is the stop.
        log.attach(state.log_path)
        state.reserve_last_stop()
        latch.reserve(state.path)
        epoch = state.next_epoch(time.time_ns())
        kept = KeptLog(state.kept_path)
        journal = Journal(
            state.journal_path,
            epoch=epoch,
            version=plan.version,
            config=msgspec.json.encode(plan.effective),
            policy_period_s=policy.period_s,
            max_bytes=plan.config.state.max_bytes,
        )
        if plan.guardian_fd is None:
            # Under a guardian, run.json is the guardian's: it is whom an operator asks.
            state.write_run(_run_file(plan.config, epoch))
    except JournalError as error:
        stop = stop_of(Ended(StopReason.JOURNAL_FAILED, str(error), False), None)
        state.write_last_stop(stop)
        return stop
    _announce(plan, log, epoch, kept)
    _bridge_library_logs(log)
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_drive(plan, state, policy, log, epoch, journal, kept))
    # A bug outside the loop's own edge: while the parts are put together or taken apart.
    except Exception as error:  # noqa: BLE001
        stop = crash_stop(error, log)
        state.write_last_stop(stop)
        return stop
    finally:
        journal.close()
        kept.close()


def signals_to_obey() -> list[signal.Signals]:
    """The signals that ask for a stop; under nohup a hang-up is ignored on purpose."""
    hang_up_counts = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [number for number in _SIGNALS if hang_up_counts or number is not signal.SIGHUP]


def crash_stop(error: BaseException, log: Log) -> LastStop:
    """The stop that a bug outside the decision loop makes; where it was goes to the log."""
    detail = log.redactor.text(f"{type(error).__name__}: {error}")
    log.error("internal_error", detail=detail, trace=trace_of(error))
    return stop_of(Ended(StopReason.INTERNAL_ERROR, detail, False), None)


def stop_of(ended: Ended, last: State | None) -> LastStop:
    """A stop as the contract's `last_stop.json` spells it."""
    return LastStop(
        reason=ended.reason.word,
        code=ended.reason.value,
        detail=ended.detail,
        at=_iso_now(),
        orders=[msgspec.to_builtins(order) for order in last.orders] if last is not None else [],
        position=last.position.qty if last is not None else None,
        known=ended.known,
    )


def stop_fields(stop: LastStop) -> dict[str, object]:
    """A stop as the fields of its log line; the line has its own time."""
    fields: dict[str, object] = msgspec.structs.asdict(stop)
    del fields["at"]
    return fields


def _announce(plan: Plan, log: Log, epoch: int, kept: KeptLog) -> None:
    log.info(
        "started",
        version=plan.version,
        pid=os.getpid(),
        epoch=epoch,
        venue=plan.config.venue.kind,
        symbol=plan.config.venue.symbol,
        policy=plan.config.bot.policy,
        allow_trade=plan.config.bot.allow_trade,
        kept=len(kept.records),
    )
    log.info("configuration", hash=plan.config_hash, values=plan.effective)
    for warning in plan.warnings:
        log.warning("configuration_doubtful", detail=warning)
    if kept.rolled is not None:
        log.info("kept_log_rolled", aside=str(kept.rolled), goes_on_with=len(kept.records))
    if kept.cut is not None:
        log.error("kept_log_cut", detail=str(kept.cut))


class _Bridge(logging.Handler):
    """Lines of the libraries below us become lines of our log, scrubbed like any other."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.write(level, "library", {"library": record.name, "detail": record.getMessage()})


def _bridge_library_logs(log: Log) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Bridge(log)]
    root.setLevel(logging.WARNING)


async def _drive(
    plan: Plan,
    state: StateDir,
    policy: PolicyRunner,
    log: Log,
    epoch: int,
    journal: Journal,
    kept: KeptLog,
) -> LastStop:
    loop = asyncio.get_running_loop()
    config = plan.config
    stops: list[LastStop] = []

    def last_words(ended: Ended, last: State | None) -> None:
        stops.append(stop_of(ended, last))
        state.write_last_stop(stops[0])

    def watchdogs_words(reason: StopReason, detail: str) -> None:
        if not stops:
            log.error(reason.word, detail=detail)
            last_words(Ended(reason, detail, False), trader.last_state)
        log.stopped(stop_fields(stops[0]))
        if reason is StopReason.LOOP_STALLED:
            # What the loop hangs on may be the last of a burst, not written yet. After the words,
            # for a disk that takes no more must not cost them.
            journal.flush(clock.now())

    watchdog = Watchdog(config.supervisor.heartbeat_timeout_s, watchdogs_words)
    halts = Halts(state.path, log, watchdog, lambda event: trader.deliver(event), loop)
    trader = Trader(
        core=plan.make_core(config, policy.period_s),
        journal=journal,
        kept=kept,
        policy=policy,
        log=log,
        watchdog=watchdog,
        clock=clock.now,
        loop=loop,
        epoch=epoch,
        last_words=last_words,
        set_latch=halts.set_latch,
    )
    loop.set_exception_handler(lambda _, context: _surfaced(context, trader, log))
    venue = VENUES[config.venue.kind]
    signer = venue.signer(plan.key, plan.secret)
    streams = Streams(
        config.venue.ws_url, signer, log.redactor, trader.deliver, trader.crashed, clock.now
    )
    rest = RestClient(
        config.venue.rest_url,
        signer,
        log.redactor,
        trader.deliver,
        trader.crashed,
        clock.now,
        creates_or_amends=venue.creates_or_amends,
        allow_trade=config.bot.allow_trade,
    )
    link = None
    if plan.guardian_fd is not None:
        link = GuardianLink(plan.guardian_fd, trader.deliver, log)
    trader.connect(streams, rest, Told(plan.notify, link))
    _obey_signals(trader, watchdog, loop)
    halts.obey_signals()
    watchdog.start()
    _turn(loop, watchdog, min(_TURN_EVERY_S, config.supervisor.heartbeat_timeout_s / 5))
    # What lives by now lives long: without it, a full collection is short again.
    loop.call_later(_WARM_AFTER_S, gc.freeze)
    halted = state.halted()
    trader.deliver(Started(epoch, kept.records, halted))
    if halted is None:
        halts.watch_file(config.feed.check_every_s)
    if link is not None:
        link.start(loop)
    await trader.ended
    streams.drop_all()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(rest.close(), _CLOSE_WITHIN_S)
    if link is None:
        state.forget_run()
    else:
        link.close()
    # The end is under way and bounded; a further signal could only tear it.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    return stops[0]


def _obey_signals(trader: Trader, watchdog: Watchdog, loop: asyncio.AbstractEventLoop) -> None:
    def asked(number: int, frame: FrameType | None) -> None:
        detail = signal.Signals(number).name
        # The bound runs from here, not from when the loop takes notice: it may be stuck.
        watchdog.end_within_bounds(StopReason.OPERATOR, detail)
        loop.call_soon_threadsafe(trader.ask_to_stop, StopReason.OPERATOR.word, detail)

    for number in signals_to_obey():
        signal.signal(number, asked)


def _turn(loop: asyncio.AbstractEventLoop, watchdog: Watchdog, every_s: float) -> None:
    watchdog.turned()
    loop.call_later(every_s, _turn, loop, watchdog, every_s)


def _surfaced(context: Mapping[str, object], trader: Trader, log: Log) -> None:
    """What the loop reports: a bug in a callback ends the process like one in a step.

    The rest is a socket or a future of a library below us; our own tasks tell of their end, and
    a lost connection is an event.
    """
    error = context.get("exception")
    if "handle" in context and isinstance(error, BaseException):
        trader.crashed(error)
    else:
        detail = f"{context.get('message')}: {type(error).__name__}: {error}"
        log.warning("library", library="asyncio", detail=detail)


def _run_file(config: Config, epoch: int) -> RunFile:
    return RunFile(
        pid=os.getpid(),
        epoch=epoch,
        started=_iso_now(),
        venue_kind=config.venue.kind,
        rest_url=config.venue.rest_url,
        symbol=config.venue.symbol,
        bot=config.bot.id,
        expires_after_s=config.orders.expires_after_s,
    )


def _iso_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
