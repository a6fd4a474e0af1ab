"""The REST client: a request leaves once or not at all, and every one ends in exactly one event.

What aiohttp would do by itself and must not: follow redirects, keep cookies, read proxies from
the environment, re-encode the path, and repeat a request whose kept connection broke.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp
import msgspec
import yarl

from chappie.live.redact import Redactor
from chappie.model.commands import HttpCall, SendCall, SendOrder
from chappie.model.enums import Lane
from chappie.model.events import Answered, Event, Unanswered
from chappie.model.invariant import InvariantViolated
from chappie.model.units import SECOND_NS, At
from chappie.venues.interface import Signer

BODY_BYTES_MAX = 32 * 1024 * 1024
_WAITING_MAX = 1000
_KEPT_HEADERS = ("date", "retry-after", "content-type")
_KEPT_PREFIX = "x-ratelimit-"
_DETAIL_MAX = 300
_IDLE_S = 15.0

# How many requests may be under way before one of this lane must wait: reads that hang leave
# room for orders, and orders for cancels (control L4).
_UNDER_WAY_MAX = {Lane.CANCEL: 8, Lane.RECONCILE: 4, Lane.REDUCE: 6, Lane.OPEN: 6}


class _Request(msgspec.Struct):
    """A request that waits for its turn; ``send_by_ns`` is the last moment at which it may go.

    ``left``: a connection is its own, so from there on bytes of it may have left. ``is_over``: its
    one event is delivered, or about to be.
    """

    request_id: int
    call: HttpCall
    expires_s: int
    send_by_ns: int
    answer_by_ns: int
    is_order: bool = False
    left: bool = False
    is_over: bool = False


class RestClient:
    """Sends calls to one venue with one key. Made inside the running loop."""

    def __init__(
        self,
        root_url: str,
        signer: Signer,
        redactor: Redactor,
        deliver: Callable[[Event], None],
        crashed: Callable[[BaseException], None],
        clock: Callable[[], At],
        *,
        creates_or_amends: Callable[[HttpCall], bool],
        allow_trade: bool,
    ) -> None:
        """``root_url`` is the venue's REST root, such as http://127.0.0.1:9000/api/v1."""
        self._root_url = root_url.rstrip("/")
        self._root_path = urlsplit(self._root_url).path
        self._signer = signer
        self._redactor = redactor
        self._deliver = deliver
        self._crashed = crashed
        self._clock = clock
        self._creates_or_amends = creates_or_amends
        self._allow_trade = allow_trade
        self._session = _session()
        self._waiting: dict[Lane, deque[_Request]] = {lane: deque() for lane in Lane}
        self._under_way: dict[asyncio.Task[None], _Request] = {}

    def send(self, command: SendCall) -> None:
        """Send a read, a cancel or the switch; a call that creates or amends is our bug."""
        if self._creates_or_amends(command.call):
            raise InvariantViolated(
                f"{command.call.method} {command.call.path} creates or amends an order but came "
                "without the gate's approval"
            )
        self._enqueue(
            command.lane,
            _Request(
                request_id=command.request_id,
                call=command.call,
                expires_s=command.expires_s,
                # The venue would refuse it from its expiry on, so it need not leave either.
                send_by_ns=self._expiry_ns(command.expires_s),
                answer_by_ns=self._clock().now_ns + command.answer_within_ns,
            ),
        )

    def send_order(self, command: SendOrder) -> None:
        """Send an approved order, unless its deadline has passed (control O5)."""
        # The type says that the gate approved; this is the fuse behind it (promise 1).
        if not self._allow_trade:
            raise InvariantViolated("an order was to be sent with bot.allow_trade off")
        self._enqueue(
            command.lane,
            _Request(
                request_id=command.request_id,
                call=command.call,
                expires_s=command.expires_s,
                send_by_ns=min(command.send_by_ns, self._expiry_ns(command.expires_s)),
                answer_by_ns=self._clock().now_ns + command.answer_within_ns,
                is_order=True,
            ),
        )

    def drop_orders(self) -> None:
        """Withdraw every order that waits for its turn or for a connection: no byte of it left,
        and none will.
        """
        dropped = []
        for queue in self._waiting.values():
            dropped += [request for request in queue if request.is_order]
            kept = [request for request in queue if not request.is_order]
            queue.clear()
            queue.extend(kept)
        for task, request in self._under_way.items():
            withdrawn = request.is_order and not request.left and not request.is_over
            if withdrawn and task.cancel():
                dropped.append(request)
        for request in dropped:
            request.is_over = True
            self._deliver(Unanswered(request.request_id, False, "not sent: withdrawn by a stop"))

    async def close(self) -> None:
        """At the end of the process: drop what is under way, deliver nothing more."""
        for queue in self._waiting.values():
            queue.clear()
        for task in list(self._under_way):
            task.cancel()
        await self._session.close()

    def _expiry_ns(self, expires_s: int) -> int:
        at = self._clock()
        return at.now_ns + expires_s * SECOND_NS - at.wall_ns

    def _enqueue(self, lane: Lane, request: _Request) -> None:
        queue = self._waiting[lane]
        if len(queue) >= _WAITING_MAX:
            self._deliver(Unanswered(request.request_id, False, f"{_WAITING_MAX} already wait"))
            return
        queue.append(request)
        self._start_waiting()

    def _start_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        for lane, queue in self._waiting.items():
            while queue and len(self._under_way) < _UNDER_WAY_MAX[lane]:
                request = queue.popleft()
                task = loop.create_task(self._perform(request))
                self._under_way[task] = request
                task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)
            return
        self._start_waiting()

    async def _perform(self, request: _Request) -> None:
        event = await self._exchange(request)
        # What a stop withdrew meanwhile has had its event; and the stop may follow from this one.
        if not request.is_over:
            request.is_over = True
            self._deliver(event)

    async def _exchange(self, request: _Request) -> Event:
        now_ns = self._clock().now_ns
        if now_ns >= min(request.send_by_ns, request.answer_by_ns):
            return Unanswered(request.request_id, False, "not sent: its deadline had passed")
        total_s = (request.answer_by_ns - now_ns) / SECOND_NS
        # A connection that comes later than the send deadline is not used: aiohttp would send
        # on it at once, without asking us again.
        connect_s = min((request.send_by_ns - now_ns) / SECOND_NS, total_s)
        timeout = aiohttp.ClientTimeout(
            total=total_s,
            connect=connect_s,
            sock_connect=connect_s,
            sock_read=total_s,
            ceil_threshold=float("inf"),
        )
        call = request.call
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if call.body:
            headers["content-type"] = "application/json"
        if call.signed:
            headers.update(self._signer.sign(call, self._root_path, request.expires_s))
        try:
            async with self._session.request(
                call.method,
                yarl.URL(self._root_url + call.path, encoded=True),
                data=call.body or None,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                trace_request_ctx=request,
            ) as response:
                body = await _body(response.content)
                if body is None:
                    detail = f"an answer larger than {BODY_BYTES_MAX} bytes"
                    return Unanswered(request.request_id, True, detail)
                return Answered(
                    request.request_id,
                    response.status,
                    self._kept(response.headers),
                    self._redactor.bytes(body),
                )
        except TimeoutError as error:
            detail = (
                f"no answer within {round(total_s, 2):g} s"
                if request.left
                else "no connection in time"
            )
            return self._unanswered(request, request.left, detail, error)
        except (aiohttp.ClientError, OSError) as error:
            return self._unanswered(request, request.left, "", error)

    def _unanswered(
        self, request: _Request, sent: bool, detail: str, error: Exception
    ) -> Unanswered:
        words = detail or f"{type(error).__name__}: {error}"
        return Unanswered(request.request_id, sent, self._redactor.text(words[:_DETAIL_MAX]))

    def _kept(self, headers: Mapping[str, str]) -> dict[str, str]:
        kept: dict[str, str] = {}
        for name, value in headers.items():
            low = name.lower()
            if low in _KEPT_HEADERS or low.startswith(_KEPT_PREFIX):
                kept[low] = self._redactor.text(value[:_DETAIL_MAX])
        return kept


async def _body(content: aiohttp.StreamReader) -> bytes | None:
    """The whole body, or None when it is larger than we take."""
    parts: list[bytes] = []
    size = 0
    while part := await content.readany():
        size += len(part)
        if size > BODY_BYTES_MAX:
            return None
        parts.append(part)
    return b"".join(parts)


def _session() -> aiohttp.ClientSession:
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(_mark_left)
    tracing.on_connection_reuseconn.append(_mark_left)
    session = aiohttp.ClientSession(
        # We bound what is under way ourselves, by lane; the pool must not queue a cancel.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing],
        trust_env=False,
        raise_for_status=False,
        headers={"user-agent": "chappie"},
    )
    # aiohttp repeats GET, PUT and DELETE once when a kept connection breaks (never POST). A
    # second PUT would amend twice, and what was sent must be known, so it is switched off, the
    # way aiohttp's own test client does it; `tests/live/test_rest.py` watches the wire.
    assert hasattr(session, "_retry_connection"), "this aiohttp hides its retry elsewhere"
    session._retry_connection = False
    return session


async def _mark_left(session: object, context: SimpleNamespace, params: object) -> None:
    context.trace_request_ctx.left = True
