"""The guardian: start the trader, watch it, decide what follows its end, serve the operator."""

import asyncio
import contextlib
import os
import signal
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from chappie.guardian.alerts.alerting import Alerts
from chappie.guardian.alerts.happenings import GuardianEnds
from chappie.guardian.alerts.herald import Herald
from chappie.guardian.aside import aside
from chappie.guardian.burial import Burial
from chappie.guardian.clock import iso_now, now_s
from chappie.guardian.errands.vigil import fence_s
from chappie.guardian.halting import Bounds, Halting
from chappie.guardian.hand import Hand
from chappie.guardian.instance import Run, trader_is_there
from chappie.guardian.keeper import Keeper
from chappie.guardian.last_resort import LastResort
from chappie.guardian.leftovers import Leftovers
from chappie.guardian.operator.api import Api, Operator
from chappie.guardian.outlet import Outlet
from chappie.guardian.picture import Picture
from chappie.guardian.plan import Ended, Plan
from chappie.guardian.process import Trader
from chappie.guardian.restarts import History, Restart, StayDown, judge
from chappie.guardian.run_file import RunFile
from chappie.guardian.shown import Shown
from chappie.guardian.venue import Venue, VenueFailedError
from chappie.guardian.ward import Hand as HaltsHand
from chappie.live.state_dir import LastStop
from chappie.model.faults import StopReason

_TICK_S = 0.25
_ORPHAN_ENDS_WITHIN_S = 6.0
_TRADER_ENDS_WITHIN_S = 4.0
"""Longer than the trader allows itself: the more time, the surer its cancels are verified."""
_VENUE_ENDS_BY_S = 4.5
_VENUE_ENDS_WITHIN_S = 1.0
_VENUE_GETS_AT_LEAST_S = 0.2
_OUTLET_ENDS_WITHIN_S = 0.2
_ALERTS_END_BY_S = 4.6
_ALERTS_END_WITHIN_S = 1.0


_DISK_WITHIN_S = 2.0
_HURRIED_S = 0.5


class Guardian:
    """One run of `chappie up`. Call `run` once, in a loop of its own, in the main thread."""

    def __init__(
        self,
        plan: Plan,
        api: Callable[[Callable[[], Shown], Operator], Api],
        outlet: Outlet,
        venue: Venue | None,
        alerting: Alerts | None = None,
        hand: HaltsHand | None = None,
    ) -> None:
        self._plan = plan
        self._limits = plan.config.supervisor
        self._outlet = outlet
        self._venue = venue
        self._alerts = alerting or Alerts(plan.config, Herald((), outlet.event), outlet.event)
        self._run_file = RunFile(plan.state_dir, outlet.event)
        self._keeper = Keeper(venue, self._limits, outlet, self._write_run) if venue else None
        self.hand = Hand(plan.config, plan.state_dir, plan.access, outlet.event)
        self.halting = Halting(
            plan.state_dir,
            self,
            hand or self.hand,
            outlet,
            Bounds(fence_s=fence_s(plan.config)),
            allow_trade=plan.config.bot.allow_trade,
        )
        self._api: Api = api(self.look, self.halting)
        outlet.listeners = (
            lambda event, fields, line: self._alerts.heard(event, fields, self.look),
            lambda event, fields, line: self._api.heard(event, fields, line),
        )
        self._trader: Trader | None = None
        self._before: Trader | None = None
        self._picture = Picture(plan, outlet.event)
        self._history = History()
        # Why no trader is started until a person resumes.
        self.down_for: str | None = None
        self._again = asyncio.Event()
        self._burial = Burial(plan.state_dir, outlet)
        self._leftovers = Leftovers(plan.config, self.hand, outlet.event, self._burial.verified)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._why = ""
        self._asked_s = 0.0
        self._last_resort = LastResort(self._kill_everything)
        self._started_at = iso_now()

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

    @property
    def trader(self) -> Trader | None:
        """The one that lives, or is dead and not buried yet."""
        return self._trader

    @property
    def last_stop(self) -> LastStop | None:
        return self._burial.last_stop

    @property
    def may_arrive_s(self) -> float:
        """So long a request of a dead trader may still arrive at the venue."""
        return self._leftovers.quiet_s

    def start_again(self, why: str) -> None:
        """A person resumed: whoever stays down starts again, and its restarts are forgotten."""
        if self.down_for is not None:
            self._outlet.event("info", "starting_again", why=why, was=self.down_for)
            self._again.set()

    def look(self) -> Shown:
        """The picture of this moment."""
        return self._picture.look(
            self._trader,
            self._before,
            self._history.restarts,
            self._burial.last_stop,
            self.halting.standing,
        )

    def obey(self, number: signal.Signals) -> None:
        """SIGUSR1 halts, SIGUSR2 halts and flattens."""
        by = f"signal {number.name}"
        self.halting.begin(f"halted by {by}", number is signal.SIGUSR2, by)

    async def run(self) -> Ended:
        """Everything, until asked to end or until there is nothing that a restart could mend."""
        self._listen_to_signals()
        self._outlet.start()
        self._alerts.start()
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
            self._picture.starting = True
            if not await self._folder_is_free() and self._before is None:
                return Ended(
                    StopReason.NOT_ALONE.value,
                    f"another trader runs in {self._plan.state_dir}; one folder, one bot",
                )
            try:
                if self._keeper is not None:
                    await self._keeper.ensure()
                await self._or_stop(self._leftovers.before_start())
                if await self.halting.holds_now():
                    if self._before is None:
                        # It was latched before we came, so nobody was told of it by us.
                        self._outlet.event("warning", "halt_stands", reason=self.halting.words)
                    await self._stay_down(StopReason.HALTED.word, self.halting.words)
                    continue
                await self._start_trader()
            except (VenueFailedError, OSError) as error:
                if self._stop.is_set():
                    break
                if self._before is None:
                    return Ended(StopReason.INTERNAL_ERROR.value, str(error))
                # It worked before and may again: a start that fails counts as a stop.
                self._picture.starting = False
                last = self._before.state
                stop = await self._burial.not_started(str(error), last)
                await self._follow(StopReason.INTERNAL_ERROR, stop)
                continue
            self._picture.starting = False
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
        while not self._stop.is_set() and await self._somebody_is_there():
            if now_s() > until_s:
                return False
            if not said:
                self._outlet.event("warning", "waiting_for_another_trader_to_end")
                said = True
            await asyncio.sleep(_TICK_S)
        return True

    async def _somebody_is_there(self) -> bool:
        try:
            return await aside(lambda: trader_is_there(self._plan.state_dir), _DISK_WITHIN_S)
        except TimeoutError:
            # The trader takes the folder's lock itself, or does not run.
            return False

    async def _start_trader(self) -> None:
        env = dict(self._plan.env)
        inherited: Sequence[int] = ()
        if self._venue is not None:
            env |= self._venue.trader_env()
            inherited = self._venue.inherited()
        await self._burial.expect()
        if self._stop.is_set() or self.halting.holds:
            return
        self._leftovers.started()
        self._picture.next_start_s = None
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
                self._picture.first_decision(trader)
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
        trader = self._trader
        assert trader is not None
        stop, reason = await self._burial.bury(trader, stalled)
        self._trader, self._before = None, trader
        self._leftovers.ended(trader, stop, reason)
        return trader, stop, reason

    async def _follow(self, reason: StopReason, stop: LastStop) -> None:
        """Restart after the back-off and the second look at the venue, or stay down."""
        quiet_s, bound_s = self._quiet_s(stop), self._leftovers.bound_s
        self._history, verdict = judge(self._history, reason, now_s(), self._limits, quiet_s)
        match verdict:
            case Restart() if self.halting.holds:
                await self._stay_down(StopReason.HALTED.word, self.halting.words)
            case Restart(delay_s=delay_s):
                self._picture.next_start_s = now_s() + delay_s
                self._outlet.event(
                    "warning", "restarting", reason=reason.word, delay_s=round(delay_s, 3)
                )
                clearing = asyncio.create_task(self._leftovers.clear(stays_down=False))
                until_s = now_s() + max(delay_s, bound_s)
                await self._idle(delay_s, unless_halted=True)
                if not self.halting.holds:
                    over_s = max(0.0, until_s - now_s())
                    await self._or_stop(asyncio.wait({clearing}, timeout=over_s))
                await _given_up(clearing)
            case StayDown(reason=word, detail=detail, halts=halts):
                if word != reason.word:
                    await self._burial.write(
                        msgspec.structs.replace(
                            stop, reason=word, detail=f"{detail} ({stop.detail})", at=iso_now()
                        )
                    )
                if halts:
                    self.halting.begin(f"{word}: {stop.detail}", flatten=False, by="the guardian")
                await self._stay_down(word, detail)

    async def _stay_down(self, reason: str, detail: str) -> None:
        """Until a person resumes: nothing of ours is left at the venue, and we go on serving."""
        self._picture.starting = False
        self._picture.next_start_s = None
        self.down_for = reason
        self._again.clear()
        self._outlet.event("error", "staying_down", reason=reason, detail=detail)
        clearing = asyncio.create_task(self._leftovers.clear(stays_down=True))
        await self._idle(None)
        await _given_up(clearing)
        if self._again.is_set() and reason == StopReason.VENUE_REFUSED.word:
            await self.hand.lift_ban()
        # A stray request of ours would take the switch from under the next trader's orders, and
        # one of the dead trader's might still bring an order (promise 6).
        await self._idle(max(self.hand.stray_s, self._leftovers.quiet_s))
        self.down_for = None
        self._history = History(restarts=self._history.restarts + 1)

    def _quiet_s(self, stop: LastStop) -> float:
        """How long a request of the dead trader can still arrive (promise 6)."""
        # In observe-only nothing can be on its way to the venue, so nothing is waited for.
        may_arrive = self._plan.config.bot.allow_trade and not stop.known
        return self._plan.config.orders.expires_after_s + 1.0 if may_arrive else 0.0

    async def _or_stop(self, what: Awaitable[object]) -> None:
        """Wait for it, but not when we are asked to end."""
        task = asyncio.ensure_future(what)
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        await _given_up(task)

    async def _idle(self, for_s: float | None, *, unless_halted: bool = False) -> None:
        """So long, or with None until somebody starts us again; not when we are asked to end."""
        until_s = None if for_s is None else now_s() + for_s
        while not self._stop.is_set() and not (unless_halted and self.halting.holds):
            if now_s() >= until_s if until_s is not None else self._again.is_set():
                return
            self._show()
            self.halting.look()
            if self._keeper is not None:
                self._keeper.tend()
            rest_s = _TICK_S if until_s is None else min(_TICK_S, max(0.0, until_s - now_s()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), rest_s)

    async def _end(self, ended: Ended) -> None:
        """Trader first (it still needs its venue), then the venue, then what people look at."""
        if not self._stop.is_set():
            self.ask_to_end(ended.line or "nothing left to do")
        if self._trader is not None:
            await self._end_trader(self._trader)
        if self._before is not None:
            left_s = self._asked_s + _VENUE_ENDS_BY_S - now_s()
            await self._leftovers.last_look(_HURRIED_S if self._hurry.is_set() else left_s)
        self._picture.starting = False
        self._show()
        telling = self._tell_of_the_end(ended)
        if self._keeper is not None:
            left_s = self._asked_s + _VENUE_ENDS_BY_S - now_s()
            within_s = max(_VENUE_GETS_AT_LEAST_S, min(_VENUE_ENDS_WITHIN_S, left_s))
            await self._keeper.stop(within_s)
        await telling
        await self._api.stop()
        await self.halting.settled(_DISK_WITHIN_S / 4)
        await self._run_file.forget()
        self._outlet.event("info", "guardian_ended", code=ended.code, why=ended.line or self._why)
        self._outlet.close(_OUTLET_ENDS_WITHIN_S)
        self._last_resort.dismiss()

    def _tell_of_the_end(self, ended: Ended) -> "asyncio.Task[None]":
        """The last alert, and a bounded time for all that are still on their way."""
        why = ended.line or self._why
        self._alerts.happened(GuardianEnds(why, in_order=ended.code == 0), self.look())
        left_s = self._asked_s + _ALERTS_END_BY_S - now_s()
        within_s = max(0.0, min(_ALERTS_END_WITHIN_S, left_s))
        return asyncio.create_task(asyncio.to_thread(self._alerts.close, within_s))

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
        await self._burial.killed_at_the_operator_s_word(self._why)

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
        self._alerts.look(shown)
        self._api.saw(shown)
        self._picture.tell(shown)

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
        self._run_file.put(run)

    def _kill_everything(self) -> None:
        if self._trader is not None:
            self._trader.kill()
        if self._venue is not None:
            self._venue.kill()


async def _given_up(task: "asyncio.Future[Any]") -> None:
    """End it if it goes on; a bug that it ended with is one of the guardian's own."""
    if not task.done():
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
