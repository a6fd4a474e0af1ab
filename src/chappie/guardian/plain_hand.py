"""A hand that reaches the venue without a trader: read, cancel ours by id, read again.

One errand after the other on a connection of its own; it never creates or amends an order.
"""

import asyncio
from collections.abc import Callable

import msgspec

from chappie.core.blotter import Naming
from chappie.live import clock
from chappie.live.redact import Redactor
from chappie.live.rest import RestClient
from chappie.model.commands import HttpCall, SendCall
from chappie.model.config import Config
from chappie.model.enums import Lane
from chappie.model.events import Answered, Event, Unanswered
from chappie.model.instrument import Instrument
from chappie.model.reports import InstrumentRead, OrdersRead, Outcome, PositionRead, Read, Unknown
from chappie.model.units import SECOND_NS, seconds_ns
from chappie.venues.registry import VENUES

_PAUSE_S = 0.5


class Account(msgspec.Struct, frozen=True):
    """Which account at which venue; shows its secret to nobody."""

    config: Config
    key: str
    secret: str

    def __repr__(self) -> str:
        return "Account(***)"


class PlainLeft(msgspec.Struct, frozen=True):
    """What is left of ours at the venue; None is not known."""

    verified: bool
    ours: int | None
    cancelled: int
    foreign: int | None
    position: int | None
    detail: str


class PlainFlattened(msgspec.Struct, frozen=True):
    """What became of a closing order."""

    done: bool
    position: int | None
    detail: str


class PlainHand:
    """``account`` says whom to ask, as of the moment of the errand; None when nobody can be."""

    def __init__(self, account: Callable[[], Account | None]) -> None:
        self._account = account

    async def leave_nothing(self, within_s: float) -> PlainLeft:
        """Cancel what is ours until two reads show none of it, or the time is over."""
        account = self._account()
        if account is None:
            return PlainLeft(False, None, 0, None, None, "there is no way to the venue")
        errand = _Errand(account)
        try:
            async with asyncio.timeout(within_s):
                return await errand.run()
        except TimeoutError:
            return PlainLeft(False, errand.ours, errand.cancelled, None, None, errand.why)
        finally:
            await errand.close()

    async def flatten(self, within_s: float) -> PlainFlattened:
        return PlainFlattened(False, None, "this hand closes no position")


class _Errand:
    """Reads and cancels, until two whole rounds in a row agree."""

    def __init__(self, account: Account) -> None:
        self.ours: int | None = None
        self.cancelled = 0
        self.why = "the venue did not answer"
        config = account.config
        venue = VENUES[config.venue.kind]
        self._config = config
        self._dialect = venue.dialect(config.venue.symbol)
        self._naming = Naming(config.bot.id, 0)
        self._asked: dict[int, asyncio.Future[Event]] = {}
        self._count = 0
        self._instrument: Instrument | None = None
        self._rest = RestClient(
            config.venue.rest_url,
            venue.signer(account.key, account.secret),
            Redactor(account.key, account.secret),
            self._heard,
            self._crashed,
            clock.now,
            creates_or_amends=venue.creates_or_amends,
            allow_trade=False,
        )

    async def close(self) -> None:
        await self._rest.close()

    async def run(self) -> PlainLeft:
        before: int | None = None
        while True:
            if self._instrument is None:
                # The rows of orders are understood by its terms.
                terms = await self._ask(self._dialect.read_instrument(), Read.INSTRUMENT)
                if not isinstance(terms, InstrumentRead):
                    await self._again(terms)
                    continue
                self._instrument = terms.seen.instrument
            orders = await self._ask(self._dialect.read_open_orders(), Read.ORDERS)
            if not isinstance(orders, OrdersRead):
                before = None
                await self._again(orders)
                continue
            ours = [o for o in orders.orders if self._naming.is_ours(o.cl_ord_id)]
            self.ours = len(ours)
            if ours:
                self.why = f"{len(ours)} orders of ours still work"
                ids = [order.order_id for order in ours]
                await self._ask(self._dialect.cancel((), ids), None, Lane.CANCEL)
                self.cancelled += len(ids)
                before = None
                await asyncio.sleep(_PAUSE_S)
                continue
            position = await self._ask(self._dialect.read_position(), Read.POSITION)
            if not isinstance(position, PositionRead):
                before = None
                await self._again(position)
                continue
            qty = position.position.qty
            if before == qty:
                foreign = len(orders.orders)
                return PlainLeft(True, 0, self.cancelled, foreign, qty, "")
            before = qty
            await asyncio.sleep(_PAUSE_S)

    async def _again(self, outcome: Outcome) -> None:
        self.why = str(getattr(outcome, "detail", "")) or "an answer to something else"
        await asyncio.sleep(_PAUSE_S)

    async def _ask(self, call: HttpCall, read: Read | None, lane: Lane = Lane.RECONCILE) -> Outcome:
        self._count += 1
        number = self._count
        self._asked[number] = asyncio.get_running_loop().create_future()
        expires_ns = clock.now().wall_ns + seconds_ns(self._config.orders.expires_after_s)
        within_ns = seconds_ns(self._config.orders.ack_timeout_s)
        self._rest.send(SendCall(number, lane, call, -(-expires_ns // SECOND_NS), within_ns))
        event = await self._asked[number]
        if isinstance(event, Unanswered):
            return Unknown(0, event.detail)
        assert isinstance(event, Answered), "a request ends in an answer or without one"
        return self._dialect.understand(read, event, self._instrument)[0]

    def _heard(self, event: Event) -> None:
        assert isinstance(event, Answered | Unanswered), "a client hears of nothing else"
        self._asked.pop(event.request_id).set_result(event)

    def _crashed(self, error: BaseException) -> None:
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(error)
