"""The websocket client against a real server: what opens, what arrives, and how it ends."""

import asyncio
import base64
import contextlib
import hashlib
import socket
from collections.abc import Awaitable, Callable

import pytest
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from chappie.live import clock
from chappie.live import stream as stream_module
from chappie.live.redact import Redactor
from chappie.live.stream import Streams
from chappie.model.events import (
    Event,
    FrameReceived,
    StreamClosed,
    StreamOpened,
    StreamRefused,
)
from chappie.model.units import MILLISECOND_NS, SECOND_NS
from tests.live.fakes import PlainSigner

SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"


class Rig(WSListener):
    """The server's side of one connection, and the client with what it delivered."""

    def __init__(self, port: int, path: str = "/realtime?subscribe=a:b") -> None:
        super().__init__()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.crashes: list[BaseException] = []
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.requests: list[WSUpgradeRequest] = []
        self.peer: WSTransport | None = None
        self.at_connect: Callable[[WSTransport], None] = lambda peer: None
        self.streams = Streams(
            f"ws://127.0.0.1:{port}{path}",
            PlainSigner(),
            Redactor(SECRET),
            self.events.put_nowait,
            self.crashes.append,
            clock.now,
        )

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.peer = transport
        self.at_connect(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self.received.put_nowait(frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.received.put_nowait(b"(gone)")

    async def event(self) -> Event:
        return await asyncio.wait_for(self.events.get(), 10)

    async def opened(self) -> WSTransport:
        self.streams.open(1, SECOND_NS)
        assert await self.event() == StreamOpened(1)
        assert self.peer is not None
        return self.peer


def with_server(
    test: Callable[[Rig], Awaitable[None]],
    response: WSUpgradeResponse | None = None,
) -> None:
    async def run() -> None:
        holder: list[Rig] = []

        def accept(request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
            holder[0].requests.append(request)
            if response is not None:
                return WSUpgradeResponseWithListener(response, None)
            return holder[0]

        server = await ws_create_server(accept, "127.0.0.1", 0, max_frame_size=64 * 1024 * 1024)
        rig = Rig(server.sockets[0].getsockname()[1])
        holder.append(rig)
        await test(rig)
        rig.streams.drop_all()
        server.close()
        assert rig.crashes == []

    asyncio.run(run())


def test_the_upgrade_logs_in_and_asks_for_path_and_query_as_given() -> None:
    async def test(rig: Rig) -> None:
        await rig.opened()
        (request,) = rig.requests
        assert request.path == b"/realtime?subscribe=a:b"
        assert request.headers["x-login"] == "/realtime"
        assert "sec-websocket-extensions" not in request.headers

    with_server(test)


def test_frames_arrive_in_order_whole_and_without_secrets() -> None:
    async def test(rig: Rig) -> None:
        peer = await rig.opened()
        peer.send(WSMsgType.TEXT, b"one")
        peer.send(WSMsgType.BINARY, b"\x00two")
        peer.send(WSMsgType.TEXT, b"thr", fin=False)
        peer.send_ping(b"between")
        peer.send(WSMsgType.CONTINUATION, b"", fin=False)
        peer.send(WSMsgType.CONTINUATION, b"ee", fin=True)
        peer.send(WSMsgType.TEXT, f"key {SECRET}".encode())
        for payload in (b"one", b"\x00two", b"three", b"key ***"):
            assert await rig.event() == FrameReceived(1, payload)

    with_server(test)


def test_the_first_frame_never_comes_before_the_opening() -> None:
    async def test(rig: Rig) -> None:
        rig.at_connect = lambda peer: peer.send(WSMsgType.TEXT, b"welcome")
        await rig.opened()
        assert await rig.event() == FrameReceived(1, b"welcome")

    with_server(test)


def test_an_image_of_sixteen_mebibytes_arrives() -> None:
    async def test(rig: Rig) -> None:
        image = b"x" * (16 * 1024 * 1024 + 1)
        peer = await rig.opened()
        peer.send(WSMsgType.TEXT, image)
        assert await rig.event() == FrameReceived(1, image)

    with_server(test)


def test_a_message_in_pieces_beyond_the_bound_closes_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "MESSAGE_BYTES_MAX", 1000)

    async def test(rig: Rig) -> None:
        peer = await rig.opened()
        peer.send(WSMsgType.TEXT, b"x" * 600, fin=False)
        peer.send(WSMsgType.CONTINUATION, b"x" * 600, fin=False)
        assert await rig.event() == StreamClosed(1, 1009, "a message larger than 1000 bytes")

    with_server(test)


def test_a_frame_beyond_the_bound_closes_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MESSAGE_BYTES_MAX", 1000)

    async def test(rig: Rig) -> None:
        peer = await rig.opened()
        peer.send(WSMsgType.TEXT, b"x" * 2000)
        event = await rig.event()
        assert isinstance(event, StreamClosed)

    with_server(test)


def test_what_we_send_arrives_as_text() -> None:
    async def test(rig: Rig) -> None:
        await rig.opened()
        rig.streams.send(1, b"ping")
        assert await asyncio.wait_for(rig.received.get(), 5) == b"ping"
        rig.streams.send(2, b"to a connection that is not there")

    with_server(test)


def test_a_close_by_the_venue_is_told_with_its_code_and_words() -> None:
    async def test(rig: Rig) -> None:
        peer = await rig.opened()
        peer.send_close(WSCloseCode.SERVICE_RESTART, b"back soon")
        assert await rig.event() == StreamClosed(1, 1012, "back soon")

    with_server(test)


def test_a_connection_that_breaks_without_a_word_is_1006() -> None:
    async def test(rig: Rig) -> None:
        peer = await rig.opened()
        peer.disconnect(graceful=False)
        assert await rig.event() == StreamClosed(1, 1006, "the connection broke")

    with_server(test)


def test_after_closing_on_purpose_only_its_end_is_delivered() -> None:
    async def test(rig: Rig) -> None:
        peer = await rig.opened()
        # Already on the wire, or in our buffers, when we decide to close.
        peer.send(WSMsgType.TEXT, b"late")
        rig.streams.close(1, "market data is stale")
        assert await rig.event() == StreamClosed(1, 0, "market data is stale")
        assert await asyncio.wait_for(rig.received.get(), 5) == b"(gone)"
        assert rig.events.empty()
        rig.streams.close(1, "again")
        assert rig.events.empty()

    with_server(test)


def test_a_new_connection_after_a_close_has_its_own_number() -> None:
    async def test(rig: Rig) -> None:
        await rig.opened()
        rig.streams.close(1, "once more")
        await rig.event()
        rig.streams.open(2, SECOND_NS)
        assert await rig.event() == StreamOpened(2)
        assert rig.peer is not None
        rig.peer.send(WSMsgType.TEXT, b"for two")
        assert await rig.event() == FrameReceived(2, b"for two")

    with_server(test)


def test_closing_from_within_the_delivery_of_a_frame_drops_the_frames_behind_it() -> None:
    async def test(rig: Rig) -> None:
        peer = await rig.opened()
        put = rig.events.put_nowait

        def close_at_first_frame(event: Event) -> None:
            put(event)
            if event == FrameReceived(1, b"1"):
                rig.streams.close(1, "enough")

        rig.streams._deliver = close_at_first_frame
        for number in range(1, 4):
            peer.send(WSMsgType.TEXT, str(number).encode())
        assert await rig.event() == FrameReceived(1, b"1")
        assert await rig.event() == StreamClosed(1, 0, "enough")
        assert await asyncio.wait_for(rig.received.get(), 5) == b"(gone)"
        assert rig.events.empty()

    with_server(test)


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_refused_upgrade_is_told_with_status_and_body(status: int) -> None:
    body = f'{{"error":"no, {SECRET}"}}'.encode()

    async def test(rig: Rig) -> None:
        rig.streams.open(4, SECOND_NS)
        assert await rig.event() == StreamRefused(4, status, '{"error":"no, ***"}')

    with_server(test, WSUpgradeResponse.create_error_response(status, body))


def test_a_refused_upgrade_is_told_with_the_time_that_the_venue_asks_for() -> None:
    refusal = WSUpgradeResponse.create_error_response(429, b"no", {"Retry-After": "90"})

    async def test(rig: Rig) -> None:
        rig.streams.open(4, SECOND_NS)
        assert await rig.event() == StreamRefused(4, 429, "no", "90")

    with_server(test, refusal)


def test_a_redirected_upgrade_is_refused_and_not_followed() -> None:
    async def test(rig: Rig) -> None:
        rig.streams.open(4, SECOND_NS)
        event = await rig.event()
        assert isinstance(event, StreamRefused)
        assert event.status == 302
        assert len(rig.requests) == 1

    with_server(test, WSUpgradeResponse.create_redirect_response(302, "/stolen"))


def test_nobody_listening_is_refused_with_status_zero() -> None:
    async def run() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            rig = Rig(taken.getsockname()[1])
            rig.streams.open(4, SECOND_NS)
            event = await rig.event()
            assert isinstance(event, StreamRefused)
            assert event.status == 0

    asyncio.run(run())


def raw_server(raw: bytes | None, *, hang_up: bool = False) -> None:
    """A peer that speaks no websocket; the client must say so, in time."""

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if raw is not None:
                writer.write(raw)
            if hang_up:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        rig = Rig(server.sockets[0].getsockname()[1])
        rig.streams.open(4, 300 * MILLISECOND_NS)
        event = await rig.event()
        assert isinstance(event, StreamRefused)
        assert event.detail
        assert rig.crashes == []
        assert rig.events.empty()
        server.close()

    asyncio.run(run())


def test_a_venue_that_closes_during_the_login_is_a_refusal() -> None:
    raw_server(None, hang_up=True)


def test_a_venue_that_never_answers_the_upgrade_is_a_refusal_in_time() -> None:
    raw_server(None)


def test_a_venue_that_answers_nonsense_is_a_refusal() -> None:
    raw_server(b"nonsense\r\n\r\n", hang_up=True)


def test_a_venue_that_answers_half_an_upgrade_is_a_refusal() -> None:
    raw_server(b"HTTP/1.1 101 Switching Protocols\r\nUpgra", hang_up=True)


def test_an_upgrade_with_a_wrong_accept_key_is_a_refusal() -> None:
    raw_server(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        hang_up=True,
    )


def test_closing_while_connecting_ends_it_and_nothing_more_comes() -> None:
    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        rig = Rig(server.sockets[0].getsockname()[1])
        rig.streams.open(4, SECOND_NS)
        await asyncio.sleep(0)
        rig.streams.close(4, "changed our mind")
        assert await rig.event() == StreamClosed(4, 0, "changed our mind")
        await asyncio.sleep(0)
        assert rig.events.empty()
        server.close()

    asyncio.run(run())


def test_an_upgrade_that_succeeds_after_we_gave_up_is_dropped_in_silence() -> None:
    async def run() -> None:
        asked = asyncio.Event()
        answer = asyncio.Event()
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await answer.wait()
            (key,) = (
                line.split(b":")[1].strip()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key:")
            )
            magic = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key + magic).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x02hi"
            )
            with contextlib.suppress(ConnectionError):
                await reader.read()
            gone.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        rig = Rig(server.sockets[0].getsockname()[1])
        rig.streams.open(4, 20 * SECOND_NS)
        await asyncio.wait_for(asked.wait(), 5)
        rig.streams.close(4, "changed our mind")
        assert await rig.event() == StreamClosed(4, 0, "changed our mind")
        answer.set()
        await asyncio.wait_for(gone.wait(), 5)
        assert rig.events.empty()
        assert rig.crashes == []
        server.close()

    asyncio.run(run())
