"""What `chappie doctor` asks the venue, where nobody of ours runs: at most four reads, one
websocket login, and with ``--switch`` one round trip of the dead man's switch. Never an order.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from chappie.cli.doctor_here import Memory
from chappie.cli.findings import Finding, fail, ok, skipped, warning
from chappie.core.blotter import Naming
from chappie.core.skew import Skew
from chappie.guardian.instance import Lock, NotAloneError
from chappie.journal.framing import JournalError
from chappie.journal.kept import KeptLog
from chappie.live import clock
from chappie.live.inquiry import Inquiry, Reply
from chappie.live.state_dir import StateDir, StateTakenError
from chappie.model.commands import HttpCall
from chappie.model.config import Config
from chappie.model.enums import InstrumentState
from chappie.model.instrument import Instrument
from chappie.model.records import Connected
from chappie.model.reports import (
    BudgetSeen,
    InstrumentRead,
    KeyRead,
    KeyRefused,
    NeverSent,
    NotAccepted,
    OrderSaid,
    OrdersRead,
    Outcome,
    PositionRead,
    Read,
    RequestExpired,
    SwitchArmed,
    Unknown,
)
from chappie.model.units import SECOND_NS
from chappie.venues.interface import Capabilities

SWITCH_S = 600.0
"""So long the switch is armed for: nobody's order can be hit while we take it off again."""
_DISARM_TRIES = 3
_DISARM_AGAIN_S = 1.0
_NOT_ASKED = "not asked: the venue did not answer what came before"


class Account(msgspec.Struct, frozen=True):
    """Where to ask and what opens it; shows its secret to nobody."""

    config: Config
    key: str
    secret: str

    def __repr__(self) -> str:
        return "Account(***)"


class _Mute(Exception):
    """The venue gave no answer that more questions could build on; ``finding`` says why."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def look(there: Account, state_dir: Path, memory: Memory, *, switch: bool) -> list[Finding]:
    """Every finding, in the order of the questions."""
    return asyncio.run(_Visit(there, state_dir, memory, switch).findings())


class _Visit:
    """One examination of one account."""

    def __init__(self, there: Account, state_dir: Path, memory: Memory, switch: bool) -> None:
        self._config = there.config
        self._there = there
        self._state_dir = state_dir
        self._memory = memory
        self._wants_switch = switch
        self._skew = Skew(there.config.clock.max_skew_s)
        self._budget = BudgetSeen(None, None, None, None)

    async def findings(self) -> list[Finding]:
        found: list[Finding] = []
        async with Inquiry(self._config, self._there.key, self._there.secret) as inquiry:
            try:
                await self._ask_all(inquiry, found)
            except _Mute as mute:
                found += [mute.finding, skipped("the rest", _NOT_ASKED)]
        return [*found, self._clock(), self._budget_left()]

    async def _ask_all(self, inquiry: Inquiry, found: list[Finding]) -> None:
        dialect = inquiry.dialect
        reply = await self._read(inquiry, "venue", dialect.read_instrument(), Read.INSTRUMENT)
        assert isinstance(reply.outcome, InstrumentRead)
        instrument = reply.outcome.seen.instrument
        found.append(self._venue(reply, instrument))
        found.append(_capabilities(dialect.capabilities))

        reply = await self._read(inquiry, "key", dialect.read_key(), Read.KEY)
        assert isinstance(reply.outcome, KeyRead)
        found.append(self._key(reply.outcome))
        refused = reply.outcome.can_withdraw

        call = dialect.read_open_orders()
        reply = await self._read(inquiry, "orders", call, Read.ORDERS, instrument)
        assert isinstance(reply.outcome, OrdersRead)
        working = [row for row in reply.outcome.orders if _works(row)]
        found.append(self._orders(working))

        reply = await self._read(inquiry, "position", dialect.read_position(), Read.POSITION)
        assert isinstance(reply.outcome, PositionRead)
        found.append(self._position(reply.outcome))

        found.append(await self._websocket(inquiry, instrument))
        if self._wants_switch:
            found.append(await self._switch(inquiry, instrument, working, refused))
        else:
            covers = dialect.capabilities.dead_man_covers
            words = f"not tried: it covers {covers}"
            found.append(skipped("switch", words, "try it once with: chappie doctor --switch"))

    async def _read(
        self,
        inquiry: Inquiry,
        check: str,
        call: HttpCall,
        read: Read,
        instrument: Instrument | None = None,
    ) -> Reply:
        """An answer of the kind that was asked for. Raises `_Mute`."""
        reply = self._learn(await inquiry.ask(call, read, instrument))
        if not isinstance(reply.outcome, _ANSWER[read]):
            raise _Mute(_refusal(check, reply.outcome))
        return reply

    def _learn(self, reply: Reply) -> Reply:
        """What every answer tells beside its own matter."""
        if reply.budget.remaining is not None:
            self._budget = reply.budget
        if reply.stated_ns is not None:
            sent_ns = reply.asked.now_ns
            self._skew.measured(reply.stated_ns, reply.heard, sent_ns, whole_seconds=True)
        return reply

    # --- what the answers mean

    def _venue(self, reply: Reply, instrument: Instrument) -> Finding:
        took_ms = (reply.heard.now_ns - reply.asked.now_ns) / 1e6
        words = f"{self._config.venue.rest_url} answers in {took_ms:.0f} ms"
        if instrument.state is not InstrumentState.OPEN:
            return warning(
                "venue",
                f"{words}; {instrument.symbol} is {instrument.state.value}",
                "nothing is traded until the venue says Open",
            )
        return ok("venue", f"{words}; {instrument.symbol} is Open")

    def _key(self, key: KeyRead) -> Finding:
        if key.can_withdraw:
            return fail(
                "key",
                "it can withdraw",
                "make one that cannot: this one is refused (venue_refused)",
            )
        if key.can_trade:
            return ok("key", "it can trade and cannot withdraw")
        if self._config.bot.allow_trade:
            return fail("key", "it cannot trade", "make a key with the permission to order")
        return warning(
            "key",
            "it can only read",
            "enough to observe; to trade it needs the permission to order",
        )

    def _orders(self, working: list[OrderSaid]) -> Finding:
        naming = Naming(self._config.bot.id, 0)
        ours = sum(naming.is_ours(row.cl_ord_id) for row in working)
        foreign = len(working) - ours
        if ours:
            return warning(
                "orders",
                f"{ours} left over of ours, {foreign} of others",
                "the next start cancels ours first; or now: chappie halt --reason TEXT",
            )
        if foreign:
            return warning(
                "orders",
                f"none of ours, {foreign} of others",
                "keep others off this account: the dead man's switch takes their orders too",
            )
        return ok("orders", "none works on the account")

    def _position(self, read: PositionRead) -> Finding:
        qty = read.position.qty
        ledger = self._memory.recovered.ledger
        if not ledger.opened:
            words = f"{qty:+d} contracts; the first start takes it over" if qty else "flat"
            return ok("position", words)
        if qty == ledger.qty:
            return ok("position", f"{qty:+d} contracts, as the ledger says" if qty else "flat")
        return warning(
            "position",
            f"{qty:+d} contracts at the venue, {ledger.qty:+d} in the ledger",
            "fills that were missed are booked at the start; if it then stops with "
            f"position_mismatch: chappie resume --reason TEXT --accept-position {qty}",
        )

    def _clock(self) -> Finding:
        offset_ns, limit_s = self._skew.offset_ns, self._config.clock.max_skew_s
        if offset_ns is None:
            return skipped("clock", "the venue did not say what time it is")
        words = f"{self._skew.words} or more; clock.max_skew_s is {limit_s:g}"
        if self._skew.is_too_large:
            return fail("clock", words, "set this machine's clock (NTP): it stops with clock_skew")
        if abs(offset_ns) > limit_s * SECOND_NS / 2:
            return warning(
                "clock", words, "set this machine's clock (NTP) before it is too far off"
            )
        agrees = "the venue's clock and ours agree, as far as whole seconds tell"
        return ok("clock", words if offset_ns else agrees)

    def _budget_left(self) -> Finding:
        limit, remaining = self._budget.limit, self._budget.remaining
        limits = self._config.rate_limit
        if limit is None or remaining is None:
            return skipped("request budget", "the venue did not say what is left")
        words = f"{remaining} of {limit} requests left"
        if limits.unlock_above >= limit:
            return fail(
                "request budget",
                f"{words}; rate_limit.unlock_above = {limits.unlock_above} is never exceeded",
                f"lower rate_limit.unlock_above below {limit}: once locked it would stay so",
            )
        if remaining < limits.lock_below:
            return warning(
                "request budget",
                f"{words}, below rate_limit.lock_below = {limits.lock_below}",
                "wait a minute, or find out who else uses this account's key",
            )
        return ok("request budget", words)

    # --- the websocket

    async def _websocket(self, inquiry: Inquiry, instrument: Instrument) -> Finding:
        most, used = self._config.feed.max_connects_per_hour, self._memory.connects
        if used >= most:
            return warning(
                "websocket",
                f"not tried: {used} connects in the last hour, "
                f"feed.max_connects_per_hour is {most}",
                "find out in trader.log why it reconnects so often, and wait",
            )
        greeting = await inquiry.greet(instrument)
        counted = ""
        if greeting.reached:
            counted = f"; connect {used + 1} of {most} in this hour, {self._count_connect()}"
        if greeting.welcomed:
            return ok("websocket", f"logged in and welcomed{counted}")
        words = f"{greeting.detail}{counted}"
        if greeting.refused is not None and greeting.reached:
            refusal = _refusal("websocket", greeting.refused)
            return msgspec.structs.replace(refusal, found=f"{refusal.found}{counted}")
        return fail("websocket", words, "check venue.ws_url and the way there (proxy, firewall)")

    def _count_connect(self) -> str:
        """Keep it where the next run counts: the venue knows nothing of who connects."""
        if not self._state_dir.is_dir():
            return "counted nowhere, for there is no state folder yet"
        if self._memory.damage:
            return "not counted: kept.log is damaged, and left as it is"
        try:
            # Held for this moment only: a start meanwhile would find somebody in its folder.
            with contextlib.closing(StateDir(self._state_dir)) as state:
                kept = KeptLog(state.kept_path)
                with contextlib.closing(kept):
                    kept.append(Connected(clock.now().wall_ns))
        except (StateTakenError, JournalError) as error:
            return f"not counted: {error}"
        return "counted in kept.log"

    # --- the dead man's switch

    async def _switch(
        self, inquiry: Inquiry, instrument: Instrument, working: list[OrderSaid], refused: bool
    ) -> Finding:
        """Arm it and take it off again, where no order of anybody can be hit by it."""
        if refused:
            return fail("switch", "not tried with a key that can withdraw", "make another key")
        if working:
            return fail(
                "switch",
                f"not tried: {len(working)} orders rest on the account, and it takes all of them; "
                "another program may keep it armed, too",
                "try again when none rests",
            )
        try:
            async with self._alone():
                return await self._round_trip(inquiry, instrument)
        except (NotAloneError, StateTakenError, JournalError) as error:
            return fail("switch", f"not tried: {error}", "end what runs here, then try again")

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """No start of ours in between: we would take its switch off."""
        with contextlib.ExitStack() as stack:
            if self._state_dir.is_dir():
                guardian = Lock(self._state_dir)
                guardian.take()
                stack.callback(guardian.close)
                stack.callback(StateDir(self._state_dir).close)
            yield

    async def _round_trip(self, inquiry: Inquiry, instrument: Instrument) -> Finding:
        seconds = max(SWITCH_S, self._config.dead_man.timeout_s)
        try:
            armed = await self._ask_switch(inquiry, seconds, instrument)
            if not isinstance(armed, SwitchArmed | Unknown):
                # A definite refusal: there is nothing to take off.
                return _refusal("switch", armed)
            if isinstance(armed, Unknown):
                # It may still arrive, and later than a request that takes it off.
                await asyncio.sleep(self._config.orders.expires_after_s + 1.0)
            on = await self._take_off(inquiry, instrument)
        except asyncio.CancelledError:
            # Somebody lost patience; one try is worth more than ten armed minutes.
            await self._ask_switch(inquiry, 0.0, instrument)
            raise
        if on is not None:
            return fail(
                "switch",
                f"it was armed and is not proven to be off: {on}",
                f"within {seconds:g} s it cancels every order on the account, then it is over; "
                "start nothing until then",
            )
        if not isinstance(armed, SwitchArmed) or armed.fires_ns is None:
            return _refusal("switch", armed)
        stands_s = (armed.fires_ns - armed.venue_ns) / SECOND_NS
        if abs(stands_s - seconds) > 1.0:
            return fail(
                "switch",
                f"armed for {seconds:g} s, the venue says {stands_s:g} s; it is off again",
                "do not trade here: what protects resting orders does not do what it is told",
            )
        return ok("switch", f"armed for {seconds:g} s, read back, and off again")

    async def _take_off(self, inquiry: Inquiry, instrument: Instrument) -> str | None:
        """None once the venue says that it is off; else why that is not proven."""
        why = ""
        for attempt in range(_DISARM_TRIES):
            if attempt:
                await asyncio.sleep(_DISARM_AGAIN_S)
            off = await self._ask_switch(inquiry, 0.0, instrument)
            if isinstance(off, SwitchArmed) and off.fires_ns is None:
                return None
            why = _words(off)
            if isinstance(off, KeyRefused):
                # Whatever it holds against us, asking again makes it worse.
                break
        return why

    async def _ask_switch(
        self, inquiry: Inquiry, seconds: float, instrument: Instrument
    ) -> Outcome:
        call = inquiry.dialect.arm_switch(seconds)
        return self._learn(await inquiry.ask(call, None, instrument)).outcome


def _capabilities(can: Capabilities) -> Finding:
    """What the venue does for our safety; where it does less, the bot is more careful."""
    words = [f"the dead man's switch covers {can.dead_man_covers}"]
    if not can.cl_ord_ids_unique_for_ever:
        words.append("a clOrdID is unique among open orders only")
    if not can.deadline_in_engine:
        words.append("an order's deadline is checked at the door, not in the engine")
    return ok("capabilities", "; ".join(words))


_ANSWER: dict[Read, type] = {
    Read.INSTRUMENT: InstrumentRead,
    Read.KEY: KeyRead,
    Read.ORDERS: OrdersRead,
    Read.POSITION: PositionRead,
}


def _words(outcome: object) -> str:
    return str(getattr(outcome, "detail", "") or "an answer to something else")


def _refusal(check: str, outcome: Outcome) -> Finding:
    """What an answer that was none of those asked for means, and what to do."""
    words = _words(outcome)
    match outcome:
        case KeyRefused(banned=True):
            return fail(
                check, words, "this address is banned: wait an hour, and find out who asked so much"
            )
        case KeyRefused():
            return fail(
                check,
                f"the key is refused: {words}",
                "check CHAPPIE_API_KEY and its secret, and which addresses the key is bound to",
            )
        case RequestExpired():
            return fail(check, words, "set this machine's clock (NTP): requests come out of date")
        case NotAccepted():
            return fail(check, words, "the venue is overloaded or limits us: try again in a minute")
        case NeverSent():
            return fail(check, words, "check venue.rest_url and the way there (proxy, firewall)")
        case _:
            return fail(check, words, "try again; if it stays, look at the venue's status page")


def _works(row: OrderSaid) -> bool:
    return row.ord_status is None or not row.ord_status.is_terminal
