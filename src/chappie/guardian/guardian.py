"""The guardian: start the trader, watch it, decide what follows its end, serve the operator."""

import asyncio
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from chappie.guardian import last_stop
from chappie.guardian.api import Api, Operator
from chappie.guardian.clock import iso_now, now_s
from chappie.guardian.halting import Bounds, Halting
from chappie.guardian.instance import Run, forget_run, trader_is_there, write_run
from chappie.guardian.keeper import Keeper
from chappie.guardian.last_resort import LastResort
from chappie.guardian.outlet import Outlet
from chappie.guardian.process import Trader
from chappie.guardian.restarts import History, Restart, StayDown, judge
from chappie.guardian.shown import (
    Setting,
    Shown,
    TraderState,
    faults_in_words,
    merge,
    why_stopped,
)
from chappie.guardian.venue import Venue, VenueFailedError
from chappie.guardian.ward import Alert, Hand
from chappie.journal.framing import JournalError
from chappie.live.state_dir import LastStop
from chappie.model.config import Config
from chappie.model.faults import StopReason
from chappie.model.state import Mode

_TICK_S = 0.25
_ORPHAN_ENDS_WITHIN_S = 6.0
_TRADER_ENDS_WITHIN_S = 4.0
"""Longer than the trader allows itself: the more time, the surer its cancels are verified."""
_VENUE_ENDS_BY_S = 4.5
_VENUE_ENDS_WITHIN_S = 1.0
_VENUE_GETS_AT_LEAST_S = 0.2
_OUTLET_ENDS_WITHIN_S = 0.2
_NEVER_OURS = (StopReason.NOT_ALONE, StopReason.CONFIG)
"""Such a trader never ran here: the state folder's last stop is another's."""


class Plan(msgspec.Struct, frozen=True):
    """What to run. ``env`` is the trader's, without what the venue adds; ``for_s`` ends the run
    by itself; ``effective`` is the configuration with each value's source, for the log.
    """

    config: Config
    config_hash: str
    state_dir: Path
    command: tuple[str, ...]
    env: dict[str, str]
    for_s: float | None = None
    effective: dict[str, object] = {}
    warnings: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """How the guardian itself ended: the exit code and, unless in order, one line why."""

    code: int
    line: str = ""


class Guardian:
    """One run of `chappie up`. Call `run` once, in a loop of its own, in the main thread."""

    def __init__(
        self,
        plan: Plan,
        api: Callable[[Callable[[], Shown], Operator], Api],
        outlet: Outlet,
        venue: Venue | None,
        hand: Hand | None = None,
        alert: Alert = lambda kind, words: None,
    ) -> None:
        self._plan = plan
        self._limits = plan.config.supervisor
        self._outlet = outlet
        self._venue = venue
        self._keeper = Keeper(venue, self._limits, outlet, self._write_run) if venue else None
        orders = plan.config.orders
        self.halting = Halting(
            plan.state_dir,
            self,
            hand,
            outlet,
            Bounds(fence_s=orders.expires_after_s + 1.0),
            allow_trade=plan.config.bot.allow_trade,
            alert=alert,
        )
        self._api: Api = api(self.look, self.halting)
        outlet.heard = self._api.feed.log
        self._trader: Trader | None = None
        self._down_for: str | None = None
        self._before: Trader | None = None
        self._starting = True
        self._next_start_s: float | None = None
        self._history = History()
        self._stamp = last_stop.stamp(plan.state_dir)
        self._last_stop = last_stop.read(plan.state_dir)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._why = ""
        self._asked_s = 0.0
        self._last_resort = LastResort(self._kill_everything)
        self._mode: Mode | None = None
        self._decided = False
        self._started_at = iso_now()
        self._setting = Setting(
            allow_trade=plan.config.bot.allow_trade,
            policy=plan.config.bot.policy,
            venue=plan.config.venue.kind,
            symbol=plan.config.venue.symbol,
            config_hash=plan.config_hash,
        )

    def ask_to_end(self, why: str) -> None:
        """End in order; asked again, without waiting for the trader. Loop's thread only."""
        if self._stop.is_set():
            self._hurry.set()
            return
        self._why = why
        self._asked_s = now_s()
        self._outlet.event("info", "ending", why=why)
        self._stop.set()
        self._last_resort.start()

    def look(self) -> Shown:
        """The picture of this moment."""
        trader = self._trader
        # A trader that is down is shown by its last words, ageing; a new one knows nothing yet.
        source = trader if trader is not None else self._before
        age_s = source.beat_age_s if source is not None else None
        next_start_s = self._next_start_s
        shown = merge(
            self._setting,
            source.state if source is not None else None,
            age_s or 0.0,
            trader is not None or self._starting,
            TraderState(
                pid=trader.pid if trader is not None else None,
                restarts=self._history.restarts,
                last_stop=self._last_stop,
                beat_age_s=None if age_s is None else round(age_s, 3),
                next_start_s=None if next_start_s is None else max(0.0, next_start_s - now_s()),
            ),
        )
        return msgspec.structs.replace(shown, halt=self.halting.standing)

    @property
    def trader(self) -> Trader | None:
        return self._trader

    @property
    def last_stop(self) -> LastStop | None:
        return self._last_stop

    @property
    def down_for(self) -> str | None:
        return self._down_for

    def start_again(self, why: str) -> None:
        """A person resumed: end the staying down, with a history that starts anew."""
        self._history = History(restarts=self._history.restarts)
        self._down_for = None

    def obey(self, number: signal.Signals) -> None:
        """SIGUSR1 halts, SIGUSR2 halts and flattens."""
        by = f"signal {number.name}"
        self.halting.begin(f"halted by {by}", number is signal.SIGUSR2, by)

    async def _stay_down(self, reason: str) -> None:
        """Until somebody resumes, or we are to end."""
        self._down_for, self._next_start_s, self._starting = reason, None, False
        while self.down_for is not None and not self._stop.is_set():
            await self._idle(_TICK_S)

    async def run(self) -> Ended:
        """Everything, until asked to end or until there is nothing that a restart could mend."""
        self._listen_to_signals()
        self._outlet.start()
        ended = Ended(0)
        try:
            await self._api.start()
            self._announce()
            ended = await self._supervise()
        # The outermost edge of the guardian: its own bug still ends trader and venue in order.
        except Exception as error:  # noqa: BLE001
            ended = Ended(
                StopReason.INTERNAL_ERROR.value, f"a bug in the guardian ended it: {error!r}"
            )
            trace = "".join(traceback.format_exception(error))
            self._outlet.event("error", "internal_error", detail=repr(error), trace=trace)
        finally:
            await self._end(ended)
        return ended

    async def _supervise(self) -> Ended:
        while not self._stop.is_set():
            self._starting = True
            if not await self._folder_is_free() and self._before is None:
                return Ended(
                    StopReason.NOT_ALONE.value,
                    f"another trader runs in {self._plan.state_dir}; one folder, one bot",
                )
            if await self.halting.holds_now():
                await self._stay_down(StopReason.HALTED.word)
                continue
            try:
                await self._start_trader()
            except (VenueFailedError, OSError) as error:
                if self._stop.is_set():
                    break
                if self._before is None:
                    return Ended(StopReason.INTERNAL_ERROR.value, str(error))
                # It worked before and may again: a start that fails counts as a stop.
                await self._follow(StopReason.INTERNAL_ERROR, self._not_started(str(error)))
                continue
            self._starting = False
            if self._trader is None:
                continue
            stalled = await self._watch()
            if self._stop.is_set():
                break
            trader, stop, reason = await self._bury(stalled)
            if reason is StopReason.CONFIG and trader.beats == 0:
                # Nothing ever ran, and only a person can mend it: say so and go (exit 64).
                return Ended(reason.value, stop.detail or "the trader refused its configuration")
            await self._follow(reason, stop)
        return Ended(0)

    async def _folder_is_free(self) -> bool:
        """Wait for the orphan of a killed guardian to end; False when somebody stays."""
        until_s = now_s() + _ORPHAN_ENDS_WITHIN_S
        said = False
        while trader_is_there(self._plan.state_dir) and not self._stop.is_set():
            if now_s() > until_s:
                return False
            if not said:
                self._outlet.event("warning", "waiting_for_another_trader_to_end")
                said = True
            await asyncio.sleep(_TICK_S)
        return True

    def _not_started(self, detail: str) -> LastStop:
        self._starting = False
        reason = StopReason.INTERNAL_ERROR
        state = self._before.state if self._before is not None else None
        stop = last_stop.witnessed(reason.word, reason.value, detail, iso_now(), state)
        self._last_stop = stop
        self._write_stop(stop)
        self._outlet.event("error", "trader_not_started", detail=detail)
        return stop

    async def _start_trader(self) -> None:
        env = dict(self._plan.env)
        inherited: Sequence[int] = ()
        if self._venue is not None and self._keeper is not None:
            await self._keeper.ensure()
            env |= self._venue.trader_env()
            inherited = self._venue.inherited()
        if self._stop.is_set() or self.halting.holds:
            return
        self._stamp = last_stop.stamp(self._plan.state_dir)
        self._next_start_s = None
        self._trader = await Trader.start(self._plan.command, env, inherited, self._outlet.tape.fd)
        self._outlet.event(
            "info", "trader_started", pid=self._trader.pid, restarts=self._history.restarts
        )
        self._write_run()

    async def _watch(self) -> bool:
        """Until the trader is gone or we are to end; True when it stalled and was killed."""
        trader = self._trader
        turned_s = now_s()
        beats = 0
        while trader is not None and not self._stop.is_set():
            if await trader.exited(_TICK_S):
                return False
            lived_s = now_s() - turned_s
            turned_s += lived_s
            # Time in which we ourselves were stopped or suspended proves nothing about it.
            trader.be_silent(min(lived_s, 2 * _TICK_S))
            if trader.beats != beats:
                if beats == 0:
                    self._write_run()
                beats = trader.beats
                self._tell_of(trader)
            self._outlet.tape.upkeep()
            self.halting.look()
            if self._keeper is not None:
                self._keeper.tend()
            self._show()
            patience_s = (
                self._limits.heartbeat_timeout_s
                if trader.reconciled
                else self._limits.startup_timeout_s
            )
            if trader.silence_s > patience_s:
                self._outlet.event("error", "trader_stalled", pid=trader.pid, silent_s=patience_s)
                trader.kill()
                return True
        return False

    async def _bury(self, stalled: bool) -> tuple[Trader, LastStop, StopReason]:
        """Reap it and find out why it ended; what it could not write is written for it."""
        trader = self._trader
        assert trader is not None
        code = await trader.reaped()
        self._trader, self._before = None, trader
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
            stop = written
        else:
            stop = last_stop.witnessed(reason.word, reason.value, detail, iso_now(), trader.state)
            if reason not in _NEVER_OURS:
                self._write_stop(stop)
        self._last_stop = stop
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
        return trader, stop, reason

    async def _follow(self, reason: StopReason, stop: LastStop) -> None:
        """Restart after the back-off, or stay down until asked to end."""
        orders = self._plan.config.orders
        # In observe-only nothing can be on its way to the venue, so nothing is waited for.
        may_arrive = self._plan.config.bot.allow_trade and not stop.known
        quiet_s = orders.expires_after_s + 1.0 if may_arrive else 0.0
        self._history, verdict = judge(self._history, reason, now_s(), self._limits, quiet_s)
        match verdict:
            case Restart() if self.halting.holds:
                await self._stay_down(StopReason.HALTED.word)
            case Restart(delay_s=delay_s):
                self._next_start_s = now_s() + delay_s
                self._outlet.event(
                    "warning", "restarting", reason=reason.word, delay_s=round(delay_s, 3)
                )
                await self._idle(delay_s)
            case StayDown(reason=word, detail=detail):
                if word != reason.word:
                    self._last_stop = msgspec.structs.replace(
                        stop, reason=word, detail=f"{detail} ({stop.detail})", at=iso_now()
                    )
                    self._write_stop(self._last_stop)
                self._outlet.event("error", "staying_down", reason=word, detail=detail)
                await self._stay_down(word)

    async def _idle(self, for_s: float) -> None:
        until_s = now_s() + for_s
        while not self._stop.is_set() and now_s() < until_s:
            self._show()
            self.halting.look()
            rest_s = min(_TICK_S, max(0.0, until_s - now_s()))
            try:
                await asyncio.wait_for(self._stop.wait(), rest_s)
            except TimeoutError:
                continue

    async def _end(self, ended: Ended) -> None:
        """Trader first (it still needs its venue), then the venue, then what people look at."""
        if not self._stop.is_set():
            self.ask_to_end(ended.line or "nothing left to do")
        if self._trader is not None:
            await self._end_trader(self._trader)
        self._starting = False
        self._show()
        if self._keeper is not None:
            left_s = self._asked_s + _VENUE_ENDS_BY_S - now_s()
            within_s = max(_VENUE_GETS_AT_LEAST_S, min(_VENUE_ENDS_WITHIN_S, left_s))
            await self._keeper.stop(within_s)
        await self._api.stop()
        try:
            forget_run(self._plan.state_dir)
        except OSError as error:
            self._outlet.event("warning", "run_file_left", detail=str(error))
        self._outlet.event("info", "guardian_ended", code=ended.code, why=ended.line or self._why)
        self._outlet.close(_OUTLET_ENDS_WITHIN_S)
        self._last_resort.dismiss()

    async def _end_trader(self, trader: Trader) -> None:
        trader.ask_to_end(StopReason.OPERATOR.word, self._why)
        hurry = asyncio.create_task(self._hurry.wait())
        gone = asyncio.create_task(trader.exited(_TRADER_ENDS_WITHIN_S))
        await asyncio.wait({hurry, gone}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if trader.returncode is None:
            self._outlet.event("error", "trader_killed", pid=trader.pid, why="it did not end")
            trader.kill()
        await self._bury(stalled=False)
        # A death by our own hand at the operator's word is the operator's stop.
        if self._last_stop is not None and self._last_stop.reason == StopReason.KILLED.word:
            self._last_stop = msgspec.structs.replace(
                self._last_stop,
                reason=StopReason.OPERATOR.word,
                code=StopReason.OPERATOR.value,
                detail=f"{self._why}; killed, for it did not end by itself",
            )
            self._write_stop(self._last_stop)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup a hang-up is ignored on purpose; keep it so.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, self.ask_to_end, f"signal {number.name}")
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, self.obey, number)
        if self._plan.for_s is not None:
            loop.call_later(self._plan.for_s, self.ask_to_end, f"--for {self._plan.for_s:g}")

    def _announce(self) -> None:
        self._outlet.event(
            "info",
            "guardian_started",
            pid=os.getpid(),
            operator=self._api.url,
            state_dir=str(self._plan.state_dir),
            config_hash=self._plan.config_hash,
        )
        self._outlet.event(
            "info", "configuration", hash=self._plan.config_hash, values=self._plan.effective
        )
        for warning in self._plan.warnings:
            self._outlet.event("warning", "configuration_doubtful", detail=warning)
        self._write_run()
        self._show()

    def _show(self) -> None:
        shown = self.look()
        self._outlet.shown = shown
        if shown.mode is not self._mode:
            was = self._mode.value if self._mode is not None else None
            because = why_stopped(shown)
            why: dict[str, object] = {"reason": because} if because else {}
            if words := faults_in_words(shown):
                why["faults"] = words
            self._outlet.event("info", "mode", mode=shown.mode.value, was=was, **why)
            self._mode = shown.mode

    def _tell_of(self, trader: Trader) -> None:
        """The first decision is what an operator waits for after a start: say it loudly."""
        state = trader.state
        if self._decided or state is None or state.decision is None:
            return
        self._decided = True
        decision = state.decision
        self._outlet.event(
            "info",
            "first_decision",
            number=decision.number,
            target=decision.target,
            order=decision.order,
            allow_trade=state.allow_trade,
            **({"note": decision.note} if decision.note else {}),
        )

    def _written_by_trader(self) -> LastStop | None:
        """Its own `last_stop.json`, if it wrote one in this run."""
        if last_stop.stamp(self._plan.state_dir) == self._stamp:
            return None
        return last_stop.read(self._plan.state_dir)

    def _write_stop(self, stop: LastStop) -> None:
        try:
            last_stop.write(self._plan.state_dir, stop)
        except JournalError as error:
            # A full disk must not take the guardian along; the API still tells.
            self._outlet.event("error", "last_stop_not_written", detail=str(error))

    def _write_run(self) -> None:
        trader = self._trader
        config = self._plan.config
        run = Run(
            pid=os.getpid(),
            started=self._started_at,
            operator=self._api.url,
            trader_pid=trader.pid if trader is not None else None,
            venue_pid=self._venue.pid if self._venue is not None else None,
            epoch=trader.epoch if trader is not None else None,
            venue_kind=config.venue.kind,
            rest_url=self._venue.rest_url if self._venue is not None else config.venue.rest_url,
            symbol=config.venue.symbol,
            bot=config.bot.id,
            expires_after_s=config.orders.expires_after_s,
        )
        try:
            write_run(self._plan.state_dir, run)
        except JournalError as error:
            self._outlet.event("error", "run_file_not_written", detail=str(error))

    def _kill_everything(self) -> None:
        if self._trader is not None:
            self._trader.kill()
        if self._venue is not None:
            self._venue.kill()


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
