"""Questions to a venue by a command that is no trader: one at a time, and none is ever repeated."""

import asyncio
from types import TracebackType
from typing import Self

import msgspec

from chappie.live import clock
from chappie.live.redact import Redactor
from chappie.live.rest import RestClient
from chappie.live.stream import Streams
from chappie.model.commands import HttpCall, SendCall
from chappie.model.config import Config
from chappie.model.enums import Lane
from chappie.model.events import (
    Answered,
    Event,
    FrameReceived,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    Unanswered,
)
from chappie.model.instrument import Instrument
from chappie.model.reports import BudgetSeen, NeverSent, Outcome, Read, Unknown, Welcomed
from chappie.model.units import SECOND_NS, At, seconds_ns
from chappie.venues.registry import VENUES

_CONNECT_WITHIN_S = 10.0
_WELCOME_WITHIN_S = 10.0
_CONN = 1
_NO_BUDGET = BudgetSeen(None, None, None, None)


class Reply(msgspec.Struct, frozen=True):
    """How a question ended. ``stated_ns`` is the venue's time, cut to whole seconds, if it said."""

    outcome: Outcome
    budget: BudgetSeen
    stated_ns: int | None
    asked: At
    heard: At


class Greeting(msgspec.Struct, frozen=True):
    """What came of one websocket login. ``reached``: the venue answered the upgrade, so it counts
    as a connect; ``refused`` is what that proves, where it was refused.
    """

    reached: bool
    welcomed: bool
    detail: str
    refused: Outcome | None = None


class Inquiry:
    """One key at one venue, for the length of an ``async with``. It can send no order."""

    def __init__(self, config: Config, key: str, secret: str) -> None:
        self._config = config
        self._venue = VENUES[config.venue.kind]
        self._signer = self._venue.signer(key, secret)
        self._redactor = Redactor(key, secret)
        self._number = 0
        self._heard: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        self.dialect = self._venue.dialect(config.venue.symbol)

    async def __aenter__(self) -> Self:
        self._rest = RestClient(
            self._config.venue.rest_url,
            self._signer,
            self._redactor,
            self._heard.put_nowait,
            self._heard.put_nowait,
            clock.now,
            creates_or_amends=self._venue.creates_or_amends,
            allow_trade=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._rest.close()

    async def ask(
        self, call: HttpCall, read: Read | None, instrument: Instrument | None = None
    ) -> Reply:
        """Ask once and wait for what comes, at most `orders.ack_timeout_s`."""
        asked = clock.now()
        orders = self._config.orders
        expires_ns = asked.wall_ns + seconds_ns(orders.expires_after_s)
        within_ns = seconds_ns(orders.ack_timeout_s)
        self._number += 1
        expires_s = -(-expires_ns // SECOND_NS)
        self._rest.send(SendCall(self._number, Lane.RECONCILE, call, expires_s, within_ns))
        event = await self._next()
        heard = clock.now()
        if isinstance(event, Unanswered):
            unanswered = Unknown(0, event.detail) if event.sent else NeverSent(event.detail)
            return Reply(unanswered, _NO_BUDGET, None, asked, heard)
        assert isinstance(event, Answered), "a request ends in an answer or without one"
        outcome, budget = self.dialect.understand(read, event, instrument)
        return Reply(outcome, budget, self.dialect.stated_time(event), asked, heard)

    async def greet(self, instrument: Instrument) -> Greeting:
        """Log one websocket in, wait for the venue's first word, and close it again."""
        streams = Streams(
            self._config.venue.ws_url,
            self._signer,
            self._redactor,
            self._heard.put_nowait,
            self._heard.put_nowait,
            clock.now,
        )
        session = self.dialect.session(instrument)
        opened = False
        streams.open(_CONN, seconds_ns(_CONNECT_WITHIN_S))
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S + _WELCOME_WITHIN_S):
                while True:
                    match await self._next():
                        case StreamOpened():
                            opened = True
                        case StreamRefused(status=status, detail=detail, retry_after=after):
                            refused = self.dialect.upgrade_refused(status, detail, after)
                            words = f"status {status}: {detail}" if status else detail
                            return Greeting(bool(status), False, words, refused)
                        case StreamClosed(detail=detail):
                            return Greeting(True, False, f"it was closed: {detail}")
                        case FrameReceived(payload=payload):
                            if any(isinstance(r, Welcomed) for r in session.receive(payload)):
                                return Greeting(True, True, "")
                        case _:
                            pass
        except TimeoutError:
            return Greeting(opened, False, f"no welcome within {_WELCOME_WITHIN_S:g} s")
        finally:
            streams.drop_all()

    async def _next(self) -> Event:
        event = await self._heard.get()
        if isinstance(event, BaseException):
            raise event
        return event
