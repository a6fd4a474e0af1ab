"""The door of the operator API: so many connections at once, and none that asks for nothing.

Anybody on this machine can connect, without a token; who holds connections open must not take the
descriptors that a start of the trader or a look at the venue needs.
"""

import asyncio

from aiohttp import web

CONNECTIONS_MAX = 64
ASKS_WITHIN_S = 10.0


class Door:
    """The factory of connections for `create_server`, around the one of aiohttp."""

    def __init__(self, server: web.Server, asks_within_s: float = ASKS_WITHIN_S) -> None:
        self._server = server
        self._asks_within_s = asks_within_s
        # Those that have not asked for anything yet, each for so long at most.
        self._silent: set[web.RequestHandler] = set()

    def __call__(self) -> asyncio.Protocol:
        if len(self._server.connections) >= CONNECTIONS_MAX:
            return _Shut()
        made = self._server()
        loop = asyncio.get_running_loop()
        self._silent.add(made)
        loop.call_later(self._asks_within_s, self._let_go, made)
        return made

    def asked(self, request: web.Request) -> None:
        """A whole request came; from now on the server's own times bound its connection."""
        self._silent.discard(request.protocol)

    def _let_go(self, made: web.RequestHandler) -> None:
        if made in self._silent:
            self._silent.discard(made)
            made.force_close()


class _Shut(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
