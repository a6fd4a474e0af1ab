"""The operator API over HTTP: health, readiness, state, events, halt and resume, a plain page.

It listens on loopback and answers only requests addressed to it: a page in the operator's
browser must not read it through a name that resolves to loopback (DNS rebinding), so Host and
Origin are checked. What changes anything needs the token besides, and a content type that no form
of a page can send.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import msgspec
from aiohttp import hdrs, web

from chappie.guardian.aside import aside
from chappie.guardian.clock import now_s
from chappie.guardian.operator import token
from chappie.guardian.operator.door import Door
from chappie.guardian.operator.feed import Feed
from chappie.guardian.operator.metrics import CONTENT_TYPE, Metrics
from chappie.guardian.operator.page import FILES
from chappie.guardian.shown import Shown, not_ready
from chappie.guardian.ward import HaltDone, Resumed
from chappie.journal.framing import JournalError
from chappie.live.log import printable

REASON_MAX = 300
_BODY_BYTES_MAX = 16_384
_BODY_WITHIN_S = 5.0
_WRITE_WITHIN_S = 5.0
_DISK_WITHIN_S = 2.0
_WRONG_MAX = 10
_WRONG_WINDOW_S = 60.0
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _ResumeBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class _HaltBody(_ResumeBody, forbid_unknown_fields=True):
    flatten: bool = False


_Body = TypeVar("_Body", bound=_ResumeBody)


class Operator(Protocol):
    """Who carries out what the operator asks for."""

    async def halt(self, reason: str, flatten: bool, by: str) -> HaltDone: ...

    async def resume(self, reason: str, by: str) -> Resumed: ...


class _RefusedError(Exception):
    """The request is answered with this and nothing is done."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__()
        self.answer = answer


class PortTakenError(Exception):
    """Nothing can listen there; the message says where and why."""


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything else is started. Raises `PortTakenError`."""
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=64)
    except OSError as error:
        raise PortTakenError(
            f"{address}:{port} cannot be used: {error.strerror or error}"
        ) from None


class Api:
    """Serves what ``look`` shows at the moment of the request."""

    def __init__(
        self,
        listening: socket.socket,
        look: Callable[[], Shown],
        beat_timeout_s: float,
        operator: Operator | None = None,
        make_token: Callable[[], str] | None = None,
    ) -> None:
        """``make_token`` finds or makes the operator's token; it may block and raise
        `JournalError`. Without an ``operator`` there are only reads.
        """
        self._socket = listening
        self._look = look
        self._beat_timeout_s = beat_timeout_s
        self._operator = operator
        self._make_token = make_token
        self._token: str | None = None
        self._wrong_at_s: list[float] = []
        self.feed = Feed(look)
        self._metrics = Metrics(look, beat_timeout_s)
        host, port = listening.getsockname()[:2]
        self._names = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        if port == 80:
            self._names |= {"127.0.0.1", "localhost", "[::1]"}
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._runner: web.AppRunner | None = None
        self._door: Door | None = None
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        @web.middleware
        async def admit(request: web.Request, handler: Answer) -> web.StreamResponse:
            return await self._admit(request, handler)

        app = web.Application(middlewares=[admit], client_max_size=_BODY_BYTES_MAX)
        for path in FILES:
            app.router.add_get(path, self._page)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._scrape)
        app.router.add_get("/api/state", self._state)
        # Events have no end, so there is no head of them to tell.
        app.router.add_get("/api/events", self._events, allow_head=False)
        if self._operator is not None:
            app.router.add_post("/api/halt", self._halt)
            app.router.add_post("/api/resume", self._resume)
            await self._find_token()
        app.on_response_prepare.append(_dress)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=15.0,
            shutdown_timeout=0.2,
        )
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "set up just now"
        self._door = Door(server)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._door, sock=self._socket, backlog=64)

    def heard(self, event: str, fields: Mapping[str, object], line: bytes) -> None:
        """A log event of the guardian; any thread may call this, and it never waits."""
        self.feed.log(line)
        self._metrics.heard(event, fields)

    def saw(self, shown: Shown) -> None:
        """The picture, a few times a second: what no scrape comes in time for is counted too."""
        self._metrics.saw(shown)

    async def stop(self) -> None:
        self.feed.close()
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._socket.close()

    async def _admit(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if self._door is not None:
            self._door.asked(request)
        if request.headers.get(hdrs.HOST, "").lower() not in self._names:
            return _refuse(403, "the Host header is not this server's loopback name and port")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin.lower().removeprefix("http://") not in self._names:
            return _refuse(403, "requests from another origin are refused")
        if (request.content_length or 0) > _BODY_BYTES_MAX:
            return _refuse(413, f"a body is at most {_BODY_BYTES_MAX} bytes")
        try:
            return await answer(request)
        except _RefusedError as refused:
            return refused.answer
        except web.HTTPMethodNotAllowed as error:
            allowed = error.headers[hdrs.ALLOW]
            refusal = _refuse(405, f"only {allowed} is served here")
            refusal.headers[hdrs.ALLOW] = allowed
            return refusal
        except web.HTTPNotFound:
            there = "/healthz, /readyz, /metrics, /api/state, /api/events, /api/halt, /api/resume"
            return _refuse(404, f"no such page; there are {there} and /")

    async def _healthz(self, request: web.Request) -> web.Response:
        return _json(200, {"ok": True})

    async def _readyz(self, request: web.Request) -> web.Response:
        shown = self._look()
        reasons = not_ready(shown, self._beat_timeout_s)
        body = {"ready": not reasons, "mode": shown.mode.value, "why": reasons}
        return _json(503 if reasons else 200, body)

    async def _scrape(self, request: web.Request) -> web.Response:
        if self._metrics.failed is not None:
            return _refuse(500, f"a bug in the metrics: {self._metrics.failed}")
        # As bytes: the library's content type carries its version and charset.
        headers = {hdrs.CONTENT_TYPE: CONTENT_TYPE}
        return web.Response(body=self._metrics.scraped(), headers=headers)

    async def _state(self, request: web.Request) -> web.Response:
        return _json(200, self._look())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, `state` and `log`, until the reader goes or is too slow."""
        listener = self.feed.listen()
        if listener is None:
            return _refuse(503, "too many listen already")
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
        try:
            await response.prepare(request)
            while (event := await listener.next()) is not None:
                await asyncio.wait_for(response.write(event), _WRITE_WITHIN_S)
        except (ConnectionError, TimeoutError):
            # It is gone, or takes nothing: what waits for it goes with the connection.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.feed.leave(listener)
        return response

    async def _halt(self, request: web.Request) -> web.Response:
        body = await self._allowed(request, _HaltBody)
        assert self._operator is not None, "the route is there"
        reason = body.reason or "the operator halted over the API"
        done = await self._operator.halt(reason, body.flatten, "the API")
        if not done.missing:
            return _json(200, done)
        # The bot is halted and nothing of it works, but it was not flattened: not a time-out.
        held = done.latched and done.acknowledged and done.verified
        return _json(409 if held else 504, done)

    async def _resume(self, request: web.Request) -> web.Response:
        body = await self._allowed(request, _ResumeBody)
        if not body.reason:
            return _refuse(400, "reason: accepted is why, in 1 to 300 characters")
        assert self._operator is not None, "the route is there"
        resumed = await self._operator.resume(body.reason, "the API")
        return _json(200 if resumed.done else 409, resumed)

    async def _allowed(self, request: web.Request, kind: type[_Body]) -> _Body:
        """The body of one who has the token. Raises `_RefusedError`."""
        await self._check_token(request.headers.get(hdrs.AUTHORIZATION, ""))
        if request.content_type != "application/json":
            raise _RefusedError(_refuse(415, "accepted is Content-Type: application/json"))
        try:
            text = await asyncio.wait_for(request.read(), _BODY_WITHIN_S)
        except TimeoutError:
            raise _RefusedError(_refuse(408, "the body did not come in time")) from None
        except web.HTTPRequestEntityTooLarge:
            words = f"a body is at most {_BODY_BYTES_MAX} bytes"
            raise _RefusedError(_refuse(413, words)) from None
        try:
            body = msgspec.json.decode(text, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _RefusedError(_refuse(400, printable(str(error))[:REASON_MAX])) from None
        if len(body.reason) > REASON_MAX:
            words = f"reason: accepted are at most {REASON_MAX} characters"
            raise _RefusedError(_refuse(400, words))
        return msgspec.structs.replace(body, reason=printable(body.reason).strip())

    async def _check_token(self, given: str) -> None:
        if self._token is None and not await self._find_token():
            words = (
                "the operator's token could not be written, so nobody can have it; "
                "chappie halt, the file HALT in the state folder and SIGUSR1 halt all the same"
            )
            raise _RefusedError(_refuse(503, words))
        assert self._token is not None, "found"
        scheme, _, text = given.partition(" ")
        if scheme.lower() == "bearer" and token.same(text.strip(), self._token):
            return
        now = now_s()
        self._wrong_at_s = [at for at in self._wrong_at_s if at > now - _WRONG_WINDOW_S]
        if len(self._wrong_at_s) >= _WRONG_MAX:
            # Only who is wrong is slowed down: nobody can lock the operator out of a halt.
            answer = _refuse(429, "too many wrong tokens")
            answer.headers[hdrs.RETRY_AFTER] = str(round(_WRONG_WINDOW_S))
            raise _RefusedError(answer)
        self._wrong_at_s.append(now)
        answer = _refuse(401, f"wanted is Authorization: Bearer with what {token.FILE} holds")
        answer.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="chappie"'
        raise _RefusedError(answer)

    async def _find_token(self) -> bool:
        if self._make_token is not None:
            try:
                self._token = await aside(self._make_token, _DISK_WITHIN_S)
            except (JournalError, TimeoutError):
                return False
        return self._token is not None

    async def _page(self, request: web.Request) -> web.Response:
        file = FILES[request.path]
        return web.Response(body=file.body, content_type=file.kind, charset="utf-8")


def _json(status: int, body: object) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )


def _refuse(status: int, why: str) -> web.Response:
    return _json(status, {"error": why})


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    """Our headers on every answer, and no banner that names the server's software."""
    response.headers.update(_HEADERS)
    response.headers.popall(hdrs.SERVER, None)
