"""One signed read of the account's position, for a command that is no trader."""

import asyncio

from chappie.live.inquiry import Inquiry
from chappie.model.config import Config
from chappie.model.reports import Outcome, Read


def read_position(config: Config, key: str, secret: str) -> Outcome:
    """Ask the venue once; `PositionRead`, or what came instead."""
    return asyncio.run(_read_position(config, key, secret))


async def _read_position(config: Config, key: str, secret: str) -> Outcome:
    async with Inquiry(config, key, secret) as inquiry:
        return (await inquiry.ask(inquiry.dialect.read_position(), Read.POSITION)).outcome
