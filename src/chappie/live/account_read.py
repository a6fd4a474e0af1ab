"""One signed read of the account's position, for a command that is no trader."""

import asyncio

from chappie.live import clock
from chappie.live.redact import Redactor
from chappie.live.rest import RestClient
from chappie.model.commands import SendCall
from chappie.model.config import Config
from chappie.model.enums import Lane
from chappie.model.events import Answered, Event, Unanswered
from chappie.model.reports import Outcome, Read, Unknown
from chappie.model.units import SECOND_NS, seconds_ns
from chappie.venues.registry import VENUES


def read_position(config: Config, key: str, secret: str) -> Outcome:
    """Ask the venue once; `PositionRead`, or what came instead."""
    return asyncio.run(_read_position(config, key, secret))


async def _read_position(config: Config, key: str, secret: str) -> Outcome:
    venue = VENUES[config.venue.kind]
    dialect = venue.dialect(config.venue.symbol)
    ended: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
    rest = RestClient(
        config.venue.rest_url,
        venue.signer(key, secret),
        Redactor(key, secret),
        ended.set_result,
        ended.set_exception,
        clock.now,
        creates_or_amends=venue.creates_or_amends,
        allow_trade=False,
    )
    try:
        expires_ns = clock.now().wall_ns + seconds_ns(config.orders.expires_after_s)
        within_ns = seconds_ns(config.orders.ack_timeout_s)
        call = dialect.read_position()
        rest.send(SendCall(1, Lane.RECONCILE, call, -(-expires_ns // SECOND_NS), within_ns))
        event = await ended
    finally:
        await rest.close()
    if isinstance(event, Unanswered):
        return Unknown(0, event.detail)
    assert isinstance(event, Answered), "a request ends in an answer or without one"
    return dialect.understand(Read.POSITION, event, None)[0]
