"""A relay between a bot and the websocket of a venue that holds back the frames of some tables,
so that messages of different tables overtake each other as they may (protocol section 6).
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

_READ_BYTES = 65_536


class Relay:
    """Listens on a port of its own; `late_s` says by how much the frames of a table are late.

    Frames of one table keep their order, those of others go past them.
    """

    def __init__(self, ws_url: str) -> None:
        self.late_s: dict[str, float] = {}
        self.held = 0
        self._parts = urlsplit(ws_url)
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._port = 0

    @property
    def ws_url(self) -> str:
        return urlunsplit(self._parts._replace(netloc=f"127.0.0.1:{self._port}"))

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
        venue_in, venue_out = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        up = asyncio.ensure_future(_copy(bot_in, venue_out))
        down = asyncio.ensure_future(self._pass_frames(venue_in, bot_out))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            venue_out.close()
            bot_out.close()

    async def _pass_frames(
        self, venue_in: asyncio.StreamReader, bot_out: asyncio.StreamWriter
    ) -> None:
        """The venue's answer to the upgrade as it is, then frame by frame."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            bot_out.write(await venue_in.readuntil(b"\r\n\r\n"))
            due_s: dict[str, float] = {}
            while True:
                frame, table = await _frame(venue_in)
                late_s = self.late_s.get(table, 0.0)
                now_s = self._loop.time()
                # A frame waits for those of its own table that are still held.
                at_s = max(now_s + late_s, due_s.get(table, 0.0))
                if at_s <= now_s:
                    bot_out.write(frame)
                else:
                    self.held += 1
                    due_s[table] = at_s
                    self._loop.call_at(at_s, bot_out.write, frame)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """One frame of a server, which are not masked, and the table that it is a message of."""
    head = await reader.readexactly(2)
    length = head[1] & 0x7F
    if length >= 126:
        extended = await reader.readexactly(2 if length == 126 else 8)
        head, length = head + extended, int.from_bytes(extended, "big")
    payload = await reader.readexactly(length)
    before, _, rest = payload[:60].partition(b'"table":"')
    return head + payload, rest.partition(b'"')[0].decode() if before == b"{" else ""


@contextlib.contextmanager
def relayed(ws_url: str) -> Iterator[Relay]:
    """A relay that ends with the block."""
    relay = Relay(ws_url)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
