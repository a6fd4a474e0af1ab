"""The websocket client: one connection at a time becomes events, frame by frame.

Frames are delivered from picows' synchronous callback, with no task or queue in between: at
market rates the wakeup is the cost, not the parsing. Keep-alive is the core's matter (the dialect
pings), so the client sends nothing of its own.
"""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from chappie.live.redact import Redactor
from chappie.model.events import (
    Event,
    FrameReceived,
    StreamClosed,
    StreamOpened,
    StreamRefused,
)
from chappie.model.units import SECOND_NS, At
from chappie.venues.interface import Signer

MESSAGE_BYTES_MAX = 32 * 1024 * 1024
"""Twice the largest image that a venue is known to send for one instrument, with room."""

# Looked up once: reading a member of an enum from its class is slow.
_TEXT = WSMsgType.TEXT
_DATA = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)

_DETAIL_MAX = 300
# How much longer than its own time limit the signature of a login holds.
_LOGIN_SLACK_S = 5


class Streams:
    """Opens, feeds and closes websocket connections by the numbers that the core gave them."""

    def __init__(
        self,
        url: str,
        signer: Signer,
        redactor: Redactor,
        deliver: Callable[[Event], None],
        crashed: Callable[[BaseException], None],
        clock: Callable[[], At],
    ) -> None:
        """``deliver`` takes each event; ``crashed`` takes what must never have been raised."""
        self._url = url
        self._login_path = urlsplit(url).path or "/"
        self._signer = signer
        self._redactor = redactor
        self._deliver = deliver
        self._crashed = crashed
        self._clock = clock
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._open: dict[int, _Connection] = {}

    def open(self, conn: int, within_ns: int) -> None:
        """Connect and log in on the upgrade request; `StreamOpened` or `StreamRefused` follows."""
        task = asyncio.get_running_loop().create_task(self._connect(conn, within_ns / SECOND_NS))
        self._opening[conn] = task
        task.add_done_callback(self._report_crash)

    def send(self, conn: int, payload: bytes) -> None:
        """Send a text frame; to a connection that is gone it is lost, as on the wire."""
        connection = self._open.get(conn)
        if connection is not None:
            connection.send(payload)

    def close(self, conn: int, why: str) -> None:
        """Drop the connection: nothing more of it is delivered but its `StreamClosed`."""
        task = self._opening.pop(conn, None)
        if task is not None:
            task.cancel()
        connection = self._open.pop(conn, None)
        if connection is not None:
            connection.drop()
        if task is not None or connection is not None:
            self._deliver(StreamClosed(conn, 0, why))

    def drop_all(self) -> None:
        """At the end of the process: close every socket, deliver nothing."""
        for task in self._opening.values():
            task.cancel()
        self._opening.clear()
        for connection in self._open.values():
            connection.drop()
        self._open.clear()

    async def _connect(self, conn: int, within_s: float) -> None:
        connection = _Connection(self, conn)
        expires_s = self._clock().wall_ns // SECOND_NS + int(within_s) + _LOGIN_SLACK_S
        status, retry_after = 0, None
        try:
            async with asyncio.timeout(within_s):
                await ws_connect(
                    lambda: connection,
                    self._url,
                    extra_headers=self._signer.login(self._login_path, expires_s),
                    # The limit above covers every phase; this one makes picows let go of a
                    # socket whose upgrade never came.
                    websocket_handshake_timeout=within_s,
                    # A redirect would carry the signature elsewhere.
                    max_redirects=0,
                    max_frame_size=MESSAGE_BYTES_MAX,
                    enable_auto_ping=False,
                )
            # picows returns here as well when the peer closed before it answered the upgrade.
            detail = "the venue closed the connection before it answered the upgrade"
        except TimeoutError:
            detail = f"no websocket within {within_s:g} s"
        except WSHandshakeError as error:
            if error.response is not None:
                status = int(error.response.status)
                retry_after = error.response.headers.get("retry-after")
            body = (error.raw_body or b"").decode(errors="backslashreplace").strip()
            detail = body or str(error)
        except (OSError, WSError, EOFError) as error:
            detail = f"{type(error).__name__}: {error}"
        finally:
            self._opening.pop(conn, None)
            if not connection.was_opened:
                # The upgrade may still succeed behind our back: then it is dropped.
                connection.drop()
        if not connection.was_opened:
            detail = self._redactor.text(detail[:_DETAIL_MAX])
            if retry_after is not None:
                retry_after = self._redactor.text(retry_after[:_DETAIL_MAX])
            self._deliver(StreamRefused(conn, status, detail, retry_after))

    def _report_crash(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)

    # --- what a connection tells

    def opened(self, connection: "_Connection") -> None:
        self._opening.pop(connection.conn, None)
        self._open[connection.conn] = connection
        self._deliver(StreamOpened(connection.conn))

    def received(self, conn: int, payload: bytes) -> None:
        self._deliver(FrameReceived(conn, self._redactor.bytes(payload)))

    def disconnected(self, conn: int, code: int, detail: str) -> None:
        if self._open.pop(conn, None) is not None:
            text = self._redactor.text(detail[:_DETAIL_MAX])
            self._deliver(StreamClosed(conn, code, text))


class _Connection(WSListener):
    """picows' view of one connection; ``owner`` is None once nothing more may be delivered."""

    def __init__(self, owner: Streams, conn: int) -> None:
        super().__init__()
        self.conn = conn
        self.was_opened = False
        self._owner: Streams | None = owner
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._code = int(WSCloseCode.ABNORMAL_CLOSURE.value)
        self._detail = "the connection broke"

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        if self._owner is None:
            transport.disconnect(graceful=False)
            return
        self.was_opened = True
        self._owner.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        owner = self._owner
        if owner is None:
            return
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:
            owner.received(self.conn, frame.get_payload_as_bytes())
        elif kind in _DATA:
            self._collect(owner, frame)
        elif kind is WSMsgType.CLOSE:
            self._code = int(frame.get_close_code().value)
            words = (frame.get_close_message() or b"").decode(errors="backslashreplace")
            self._detail = words or "the venue closed the connection"
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.disconnected(self.conn, self._code, self._detail)

    def send(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, payload)

    def drop(self) -> None:
        self._owner = None
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            # Not graceful: unsent bytes could keep the socket open until the peer takes them.
            self._transport.disconnect(graceful=False)

    def _collect(self, owner: Streams, frame: WSFrame) -> None:
        part = frame.get_payload_as_bytes()
        self._parts.append(part)
        self._parts_bytes += len(part)
        if self._parts_bytes > MESSAGE_BYTES_MAX:
            self._code = int(WSCloseCode.MESSAGE_TOO_BIG.value)
            self._detail = f"a message larger than {MESSAGE_BYTES_MAX} bytes"
            self._parts.clear()
            if self._transport is not None:
                self._transport.disconnect(graceful=False)
            return
        if frame.fin:
            message = b"".join(self._parts)
            self._parts.clear()
            self._parts_bytes = 0
            owner.received(self.conn, message)
