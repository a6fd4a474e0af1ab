"""The simulated venue on real sockets: one asyncio loop, REST and websocket on loopback.

The shell of `venue.py`: it reads the clock, moves bytes, and decides nothing. It ends on
SIGTERM, SIGINT, and when the other side of an inherited lifeline descriptor is closed, so that
it never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from chappie.simvenue.contract import Contract
from chappie.simvenue.crowd import DEFAULT_RATE, Crowd
from chappie.simvenue.envelopes import (
    Accept,
    Answer,
    Close,
    Effect,
    HangUp,
    HttpRequest,
    NoAnswer,
    Pong,
    Push,
    RefuseUpgrade,
)  # fmt: skip
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.market import Market
from chappie.simvenue.options import SECOND_NS, AccountOptions, VenueOptions
from chappie.simvenue.store import Store
from chappie.simvenue.tape import Tape
from chappie.simvenue.venue import Venue

BODY_BYTES_MAX = 1024 * 1024
FRAME_BYTES_MAX = 1024 * 1024
UNANSWERED_S_MAX = 600.0
"""A request that is never answered keeps its connection this long."""
KEEP_ALIVE_S = 90.0
"""The real venue keeps an idle connection this long (protocol section 1)."""
REPOSE_NS = 200 * 1_000_000
"""The longest pause between two looks at the clock, should the venue have no deadline."""
BURST_FRAMES = 200
"""So many frames are written before the loop gets a turn again."""

_KEY_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


class Ready(msgspec.Struct, frozen=True):
    """Where the venue listens and how its first account logs in."""

    rest_url: str
    ws_url: str
    control_url: str
    accounts: tuple[AccountOptions, ...]


async def serve(options: VenueOptions, ready: Callable[[Ready], None]) -> None:
    """Run the venue until a signal or the end of the lifeline. `ready` is called once it
    listens. Raises OSError when the address is taken, and what the store or a tape refuses."""
    accounts = options.accounts or (demo_account(options),)
    options = msgspec.structs.replace(options, accounts=accounts)
    at_ns = time.time_ns()
    exchange, store = open_exchange(at_ns, options)
    ended = asyncio.Event()
    shell = _Shell(Venue(at_ns, exchange, options), options, ended)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if options.lifeline_fd is not None:
        os.set_blocking(options.lifeline_fd, False)
        loop.add_reader(options.lifeline_fd, _watch_lifeline, options.lifeline_fd, ended)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_route("*", "/{tail:.*}", shell.handle)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.5,
        keepalive_timeout=KEEP_ALIVE_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        ready(
            Ready(
                f"http://{host}:{port}/api/v1",
                f"ws://{host}:{port}/realtime",
                f"http://{host}:{port}/control",
                accounts,
            )
        )
        shell.start()
        await ended.wait()
        if shell.failed is not None:
            raise shell.failed
    finally:
        await shell.stop()
        await runner.cleanup()
        if store is not None:
            exchange.commit()
            store.close()
        if options.lifeline_fd is not None:
            loop.remove_reader(options.lifeline_fd)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _watch_lifeline(descriptor: int, ended: asyncio.Event) -> None:
    try:
        data = os.read(descriptor, 4096)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if not data:
        asyncio.get_running_loop().remove_reader(descriptor)
        ended.set()


def open_exchange(at_ns: int, options: VenueOptions) -> tuple[Exchange, Store | None]:
    """The exchange as it starts, or as its store remembers it, and the store to be closed.

    Raises TapeError, StoreError, or ValueError for a rate or speed out of bounds.
    """
    contract = Contract(symbol=options.symbol)
    market = _market(at_ns, options, contract)
    store = Store(Path(options.state_dir)) if options.state_dir is not None else None
    return Exchange(at_ns, market, store, contract=contract, seed=options.seed), store


def _market(at_ns: int, options: VenueOptions, contract: Contract) -> Market:
    if options.tape is not None:
        return Tape(
            at_ns,
            Path(options.tape),
            contract=contract,
            speed=options.speed,
            loop=options.loop,
            seed=options.seed,
        )
    rate = DEFAULT_RATE if options.rate is None else options.rate
    return Crowd(at_ns, seed=options.seed, rate=rate, contract=contract)


def demo_account(options: VenueOptions) -> AccountOptions:
    """The demo account; with a state folder its key is kept there, readable by its owner only."""
    fresh = AccountOptions(
        account=100_001,
        api_key=_random_text(24),
        secret=_random_text(48),
        permissions=("order",),
        deposit=options.demo_deposit,
    )
    if options.state_dir is None:
        return fresh
    folder = Path(options.state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=AccountOptions)
    except FileNotFoundError:
        pass
    # Written aside and renamed, so that a crash leaves either no key or a whole one.
    aside = folder / f"demo.json.{os.getpid()}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(fresh))
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    return fresh


def _random_text(length: int) -> str:
    return "".join(_KEY_LETTERS[byte & 63] for byte in os.urandom(length))


def _may_control(request: web.Request) -> bool:
    """Loopback only, and no page of a browser: those send an Origin."""
    return request.remote in ("127.0.0.1", "::1") and "Origin" not in request.headers


class _Socket:
    """One websocket: what waits to be written, and who writes it."""

    def __init__(self) -> None:
        self.verdict: Accept | RefuseUpgrade | None = None
        self.waiting: deque[Push | Pong | Close] = deque()
        self.waiting_bytes = 0
        self.wake = asyncio.Event()
        self.transport: asyncio.BaseTransport | None = None


class _Shell:
    """Moves the venue's effects to sockets and what sockets say to the venue."""

    def __init__(self, venue: Venue, options: VenueOptions, ended: asyncio.Event) -> None:
        self._venue = venue
        self._ended = ended
        self.failed: Exception | None = None
        """A bug that ended the venue."""
        self._options = options
        self._numbers = 0
        self._answers: dict[int, asyncio.Future[Answer | NoAnswer | HangUp]] = {}
        self._sockets: dict[int, _Socket] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._stopped = False

    # The venue's time

    def start(self) -> None:
        """Begin to look at the clock."""
        self._drive(lambda: None)

    async def stop(self) -> None:
        """Close what is open; answers that are still owed are not sent."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for socket in list(self._sockets.values()):
            socket.waiting.append(Close(0, WSCloseCode.SERVICE_RESTART, ""))
            socket.wake.set()
        await asyncio.sleep(0.05)

    def _tick(self) -> None:
        self._timer = None
        if not self._stopped:
            self._drive(lambda: self._venue.advance(time.time_ns()))

    def _drive(self, act: Callable[[], None]) -> None:
        """Let the venue act and perform what follows. A bug ends the venue, loudly: one that
        went on with a half-done step would tell its clients falsehoods."""
        if self.failed is not None:
            return
        try:
            act()
            self._pump()
        except Exception as bug:  # noqa: BLE001
            self.failed = bug
            self._ended.set()

    def _pump(self) -> None:
        """Perform what is due and set the alarm for what comes next."""
        for effect in self._venue.take_effects():
            self._perform(effect)
        now_ns = time.time_ns()
        due_ns = self._venue.next_deadline()
        due_ns = now_ns + REPOSE_NS if due_ns is None else min(due_ns, now_ns + REPOSE_NS)
        if self._timer is not None:
            if self._timer_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer_ns = due_ns
        delay_s = max(0.0, (due_ns - now_ns) / SECOND_NS)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Push):
            self._enqueue(effect, len(effect.text))
        elif isinstance(effect, (Pong, Close)):
            self._enqueue(effect, 0)
        elif isinstance(effect, (Answer, NoAnswer, HangUp)):
            future = self._answers.pop(effect.request_id, None)
            if future is not None and not future.done():
                future.set_result(effect)
        else:
            socket = self._sockets.get(effect.conn)
            if socket is not None:
                socket.verdict = effect

    def _enqueue(self, effect: Push | Pong | Close, size: int) -> None:
        socket = self._sockets.get(effect.conn)
        if socket is None:
            return
        socket.waiting.append(effect)
        socket.waiting_bytes += size
        if socket.waiting_bytes > self._options.send_queue_bytes_max:
            # A client that does not read must not cost the others memory or time; its socket
            # does not take a closing frame either, so it is cut.
            socket.waiting.clear()
            socket.waiting_bytes = 0
            if isinstance(socket.transport, asyncio.WriteTransport):
                socket.transport.abort()
        socket.wake.set()

    # Sockets

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Every request of every client."""
        upgrade = request.headers.get("Upgrade", "").lower()
        if upgrade == "websocket":
            return await self._handle_socket(request)
        if request.path.startswith("/control") and not _may_control(request):
            return web.Response(status=403, text="the control routes are for loopback only\n")
        return await self._handle_http(request)

    async def _handle_http(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self._numbers += 1
        number = self._numbers
        future: asyncio.Future[Answer | NoAnswer | HangUp]
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        asked = HttpRequest(
            request_id=number,
            method=request.method,
            raw_path=request.raw_path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            peer=request.remote or "",
        )
        self._drive(lambda: self._venue.http(time.time_ns(), asked))
        try:
            effect = await future
        finally:
            self._answers.pop(number, None)
        if isinstance(effect, Answer):
            return web.Response(
                status=effect.status, headers=dict(effect.headers), body=effect.body
            )
        if isinstance(effect, NoAnswer):
            # The handler is cancelled when the client gives up.
            await asyncio.sleep(UNANSWERED_S_MAX)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _handle_socket(self, request: web.Request) -> web.StreamResponse:
        self._numbers += 1
        conn = self._numbers
        socket = self._sockets[conn] = _Socket()
        socket.transport = request.transport
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            peer = request.remote or ""
            self._drive(
                lambda: self._venue.open(time.time_ns(), conn, request.raw_path, headers, peer)
            )
            verdict = socket.verdict
            if isinstance(verdict, RefuseUpgrade):
                if verdict.status == 0 and request.transport is not None:
                    request.transport.abort()
                    return web.Response()
                refused = dict(verdict.headers)
                return web.Response(status=verdict.status, headers=refused, body=verdict.body)
            assert isinstance(verdict, Accept), "the venue answers every upgrade at once"
            stream = web.WebSocketResponse(
                autoping=False, compress=False, max_msg_size=FRAME_BYTES_MAX, timeout=0.5
            )
            await stream.prepare(request)
            writer = asyncio.create_task(self._write(socket, stream))
            try:
                await self._read(conn, stream)
            finally:
                writer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await writer
            return stream
        finally:
            del self._sockets[conn]
            if not self._stopped:
                self._drive(lambda: self._venue.closed(time.time_ns(), conn))

    async def _read(self, conn: int, stream: web.WebSocketResponse) -> None:
        async for message in stream:
            data = message.data
            if message.type is WSMsgType.TEXT:
                self._drive(partial(self._venue.receive, time.time_ns(), conn, data))
            elif message.type is WSMsgType.PING:
                self._drive(partial(self._venue.ping, time.time_ns(), conn, bytes(data)))
            elif message.type is not WSMsgType.PONG:
                break

    async def _write(self, socket: _Socket, stream: web.WebSocketResponse) -> None:
        """Write what waits, in order; ends when the socket does."""
        written = 0
        try:
            while True:
                while socket.waiting:
                    effect = socket.waiting.popleft()
                    if isinstance(effect, Push):
                        socket.waiting_bytes -= len(effect.text)
                        await stream.send_str(effect.text)
                    elif isinstance(effect, Pong):
                        await stream.pong(effect.payload)
                    elif effect.code == WSCloseCode.ABNORMAL_CLOSURE:
                        if isinstance(socket.transport, asyncio.WriteTransport):
                            socket.transport.abort()
                        return
                    else:
                        await stream.close(code=effect.code, message=effect.reason.encode())
                        return
                    written += 1
                    if written % BURST_FRAMES == 0:
                        # A burst must not keep other clients waiting.
                        await asyncio.sleep(0)
                socket.wake.clear()
                if not socket.waiting:
                    await socket.wake.wait()
        except (ConnectionError, RuntimeError):
            # The client went away between two frames; the reader ends the session.
            return
