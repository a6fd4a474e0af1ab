"""The operator API over HTTP: health, readiness, state, and a plain page. Reads only, so far.

It listens on loopback and answers only requests addressed to it: a page in the operator's
browser must not read it through a name that resolves to loopback (DNS rebinding), so Host and
Origin are checked.
"""

import html
import socket
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import hdrs, web

from chappie.guardian.shown import Shown, not_ready

_BODY_BYTES_MAX = 16_384
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        self, listening: socket.socket, look: Callable[[], Shown], beat_timeout_s: float
    ) -> None:
        self._socket = listening
        self._look = look
        self._beat_timeout_s = beat_timeout_s
        host, port = listening.getsockname()[:2]
        self._names = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        if port == 80:
            self._names |= {"127.0.0.1", "localhost", "[::1]"}
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        @web.middleware
        async def admit(request: web.Request, handler: Answer) -> web.StreamResponse:
            return await self._admit(request, handler)

        app = web.Application(middlewares=[admit], client_max_size=_BODY_BYTES_MAX)
        app.router.add_get("/", self._page)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/api/state", self._state)
        app.on_response_prepare.append(_dress)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=15.0,
            shutdown_timeout=0.2,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._socket.close()

    async def _admit(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if request.headers.get(hdrs.HOST, "").lower() not in self._names:
            return _refuse(403, "the Host header is not this server's loopback name and port")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin.lower().removeprefix("http://") not in self._names:
            return _refuse(403, "requests from another origin are refused")
        if (request.content_length or 0) > _BODY_BYTES_MAX:
            return _refuse(413, f"a body is at most {_BODY_BYTES_MAX} bytes")
        try:
            return await answer(request)
        except web.HTTPMethodNotAllowed as error:
            refusal = _refuse(405, "only GET is served here")
            refusal.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
            return refusal
        except web.HTTPNotFound:
            return _refuse(404, "no such page; there are /healthz, /readyz and /api/state")

    async def _healthz(self, request: web.Request) -> web.Response:
        return _json(200, {"ok": True})

    async def _readyz(self, request: web.Request) -> web.Response:
        shown = self._look()
        reasons = not_ready(shown, self._beat_timeout_s)
        body = {"ready": not reasons, "mode": shown.mode.value, "why": reasons}
        return _json(503 if reasons else 200, body)

    async def _state(self, request: web.Request) -> web.Response:
        return _json(200, self._look())

    async def _page(self, request: web.Request) -> web.Response:
        state = msgspec.json.format(msgspec.json.encode(self._look()), indent=2).decode()
        return web.Response(
            text=(
                "<!doctype html><html lang=en><meta charset=utf-8>"
                "<meta http-equiv=refresh content=2><title>chappie</title>"
                "<style>body{font:14px monospace;margin:2em}</style>"
                f"<h1>chappie</h1><pre>{html.escape(state)}</pre></html>"
            ),
            content_type="text/html",
        )


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
