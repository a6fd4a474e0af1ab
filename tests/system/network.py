"""The network between a bot and its venue, which can lose what is sent one way, or both ways, and
on which somebody listens.

Connections stay open and nothing says that anything is wrong, as with a router that died or a
firewall that forgot us; what was lost does not come later.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from tests.system.rig import Venue

_READ_BYTES = 65_536
_SIGNATURE = re.compile(rb"api-signature: *([0-9a-f]{64})", re.IGNORECASE)


class Network:
    """Listens on a port of its own for REST and websocket alike."""

    def __init__(self, venue: Venue) -> None:
        self.loses_ours = False
        """What the bot sends does not arrive."""
        self.loses_theirs = False
        """What the venue sends does not arrive."""
        self.signatures: set[str] = set()
        """Those of every request and login that came by."""
        self._rest, self._ws = urlsplit(venue.rest_url), urlsplit(venue.ws_url)
        assert self._rest.port == self._ws.port
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._port = 0

    @property
    def sets(self) -> tuple[str, str]:
        """The urls that lead through it."""
        here = f"127.0.0.1:{self._port}"
        rest = urlunsplit(self._rest._replace(netloc=here))
        ws = urlunsplit(self._ws._replace(netloc=here))
        return f"venue.rest_url={rest}", f"venue.ws_url={ws}"

    def start(self) -> None:
        self._thread.start()
        assert self._listens.wait(5.0)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._listens.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        server.close()
        self._loop.close()

    async def _serve(self, bot_in: asyncio.StreamReader, bot_out: asyncio.StreamWriter) -> None:
        venue_in, venue_out = await asyncio.open_connection(self._rest.hostname, self._rest.port)
        ours = asyncio.ensure_future(self._copy(bot_in, venue_out, ours=True))
        theirs = asyncio.ensure_future(self._copy(venue_in, bot_out, ours=False))
        try:
            await asyncio.wait((ours, theirs), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ours, theirs):
                task.cancel()
            venue_out.close()
            bot_out.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, ours: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if ours:
                    self.signatures |= {found.decode() for found in _SIGNATURE.findall(data)}
                if not (self.loses_ours if ours else self.loses_theirs):
                    writer.write(data)
                    await writer.drain()


@contextlib.contextmanager
def a_network(venue: Venue) -> Iterator[Network]:
    """One that ends with the block."""
    network = Network(venue)
    network.start()
    try:
        yield network
    finally:
        network.stop()
