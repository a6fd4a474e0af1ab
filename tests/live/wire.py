"""A server that shows the raw bytes of each request and answers with raw bytes of the test's."""

import asyncio
from collections.abc import Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]"

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class WireServer:
    """Reads whole requests; ``answer`` gets each with its connection's writer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self._more = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def __aenter__(self) -> "WireServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def arrived(self, count: int) -> None:
        """Wait until so many requests are here."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.requests) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        size = int(line.split(b":")[1])
                request = head + await reader.readexactly(size)
                self.requests.append(request)
                async with self._more:
                    self._more.notify_all()
                await self._answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def answer_ok(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def answer_never(request: bytes, writer: asyncio.StreamWriter) -> None:
    return


async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def answer_with(raw: bytes, then_close: bool = False) -> Answer:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        if then_close:
            await writer.drain()
            writer.close()

    return answer
