"""The simulated venue as a whole, without sockets: requests and frames in, effects out.

Time is an argument everywhere. A shell calls `http`, `open`, `receive`, `ping`, `closed` as
things happen and `advance` when `next_deadline` has come, and performs what `take_effects`
returns, in order. Whatever was answered has been committed to the store before.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from chappie.simvenue import auth
from chappie.simvenue.changes import Refusal
from chappie.simvenue.control import Control
from chappie.simvenue.envelopes import (
    NOT_FOUND,
    OVERLOADED,
    Accept,
    Answer,
    Effect,
    HangUp,
    Headers,
    HttpRequest,
    Json,
    NoAnswer,
    RefuseUpgrade,
    bad_gateway_page,
    ban_page,
    error_body,
    json_answer,
    rate_limited_text,
    to_json,
)  # fmt: skip
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.faults import Fault, Faults, Scene, is_shed, retry_after_s
from chappie.simvenue.options import VenueOptions
from chappie.simvenue.query import Args, BadArgument, read_args
from chappie.simvenue.requestlog import Entry, RequestLog
from chappie.simvenue.routes import ROUTES, Call, Route
from chappie.simvenue.sessions import Session
from chappie.simvenue.streams import Streams
from chappie.simvenue.throttle import Throttle, Verdict
from chappie.simvenue.timeline import Timeline

_SHOWN_MAX = 200
"""Of so many different reads the last answer is remembered."""

API = "/api/v1"
SOCKET = "/realtime"


class Venue:
    """One venue: its exchange, accounts, budgets, sessions and faults."""

    def __init__(self, at_ns: int, exchange: Exchange, options: VenueOptions) -> None:
        self.exchange = exchange
        self.options = options
        self.timeline = Timeline(at_ns)
        self.faults = Faults(options.seed)
        self.throttle = Throttle(options.limits)
        self.log = RequestLog()
        self.keys = auth.keys_of(options.accounts)
        for account in options.accounts:
            exchange.open_account(at_ns, account.account, account.deposit)
        self.streams = Streams(exchange, self.timeline, self.faults, options, self.keys)
        self._control = Control(
            self.timeline, self.faults, self.throttle, self.streams, self.log, exchange,
            self.standing_changed,
        )  # fmt: skip
        self._state = "Open"
        # What each read showed last, for a venue that shows it once more.
        self._shown: dict[tuple[int | None, str], list[Json]] = {}

    # Time

    def advance(self, at_ns: int) -> None:
        """Let everything happen that is due by then."""
        while (due := self.timeline.pop_due(at_ns)) is not None:
            due_ns, do = due
            self._run_exchange(due_ns)
            do()
        self._run_exchange(at_ns)

    def next_deadline(self) -> int | None:
        """When `advance` has something to do next."""
        deadlines = [self.exchange.next_deadline(), self.timeline.next_due()]
        known = [deadline for deadline in deadlines if deadline is not None]
        return min(known) if known else None

    def take_effects(self) -> list[Effect]:
        """What the shell has to do now, in order. What it tells has been made durable."""
        self.exchange.commit()
        return self.timeline.take_effects()

    def _run_exchange(self, at_ns: int) -> None:
        self.timeline.move(at_ns)
        self.exchange.advance(self.timeline.now_ns)
        self._publish()

    def _publish(self) -> None:
        self.streams.publish(self.exchange.take_changes())

    def standing_changed(self) -> None:
        """Take over what the standing faults say: the clock and the contract's state."""
        now_ns = self.timeline.now_ns
        clocks = self.faults.standing(now_ns, "skew_clock")
        self.timeline.skew_ns = clocks[-1].delay_ns if clocks else 0
        states = self.faults.standing(now_ns, "instrument_state")
        state = (states[-1].value or "Closed") if states else "Open"
        if state != self._state:
            self._state = state
            self.exchange.set_state(now_ns, state)
            self._publish()

    # Requests

    def http(self, at_ns: int, request: HttpRequest) -> None:
        """One HTTP request; its answer is among the effects when it is due."""
        self.advance(at_ns)
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/control/") or path == "/control":
            status, value = self._control.answer(request.method, path, query, request.body)
            self.standing_changed()
            self.timeline.emit(
                json_answer(request.request_id, self.timeline.wall_ns, status, value)
            )
            return
        scene = Scene(route=_route(path), method=request.method)
        late = self._take("delay_request", scene)
        if late is None:
            self._arrive(request, path, query)
        else:
            due_ns = self.timeline.now_ns + late.delay_ns
            self.timeline.later(due_ns, lambda: self._arrive(request, path, query))

    def _arrive(self, request: HttpRequest, path: str, query: str) -> None:
        now_ns = self.timeline.now_ns
        entry = self.log.add(now_ns, request.method, path, query, request.body, request.peer)
        visit = _Visit(request, path, query, entry)
        if self.throttle.banned(now_ns, request.peer) or self._strikes("ban_403", visit):
            headers, page = ban_page(self.timeline.wall_ns)
            self._answer(visit, Answer(request.request_id, 403, headers, page))
            return
        try:
            visit.key = self._identify(visit)
        except auth.AuthRefusal as refused:
            self._refuse(visit, refused.status, refused.message)
            return
        entry.account = visit.account
        if self._vanishes(visit):
            return
        route = ROUTES.get((request.method, visit.route))
        verdict = self.throttle.admit(
            now_ns, visit.account, request.peer, route is not None and route.second_layer
        )
        visit.verdict = verdict
        limited = self._take("throttle_429", visit.scene)
        if limited is not None:
            entry.fault = limited.fault
            verdict = Verdict(False, verdict.headers, retry_after_s(limited))
        if not verdict.allowed:
            wait = ("retry-after", str(verdict.retry_after_s))
            self._refuse(visit, 429, rate_limited_text(verdict.retry_after_s), (wait,))
            return
        if route is None:
            self._refuse(visit, 404, NOT_FOUND)
            return
        if not self._permitted(visit, route):
            return
        try:
            content_type = request.headers.get("content-type", "")
            args = read_args(request.method, query, content_type, request.body)
        except BadArgument as bad:
            self._refuse(visit, 400, str(bad))
            return
        entry.read(args)
        if self._fails_before(visit, args):
            return
        self._queue(visit, route, args)

    def _identify(self, visit: _Visit) -> auth.Key | None:
        request = visit.request
        claim = auth.claim_in(request.headers)
        if claim is None:
            return None
        key = auth.log_in(
            self.keys, claim, request.method, request.raw_path, request.body,
            self.timeline.wall_ns,
        )  # fmt: skip
        scene = Scene(account=key.account, route=visit.route, method=request.method)
        refusal = self._take("refuse_login", scene)
        if refusal is not None:
            visit.entry.fault = refusal.fault
            raise auth.AuthRefusal(refusal.status or 401, refusal.text or auth.KEY_DISABLED)
        return key

    def _permitted(self, visit: _Visit, route: Route) -> bool:
        if route.private and visit.key is None:
            self._refuse(visit, 401, auth.AUTHORIZATION_REQUIRED)
            return False
        needed = route.permission
        if needed is not None and (visit.key is None or not visit.key.may(needed)):
            self._refuse(visit, 403, auth.ACCESS_DENIED)
            return False
        return True

    def _vanishes(self, visit: _Visit) -> bool:
        """Requests that a fault loses on the way: no answer, or a cut connection."""
        if self._strikes("lose_request", visit):
            visit.entry.status = 0
            self.timeline.emit(NoAnswer(visit.request.request_id))
            return True
        if self._strikes("hang_up", visit, executes=False):
            visit.entry.status = 0
            self.timeline.emit(HangUp(visit.request.request_id))
            return True
        return False

    def _fails_before(self, visit: _Visit, args: Args) -> bool:
        """Failures that strike before the exchange has seen the request."""
        request_id = visit.request.request_id
        if self._strikes("error_502", visit, executes=False):
            headers, page = bad_gateway_page(self.timeline.wall_ns)
            self._answer(visit, Answer(request_id, 502, headers, page))
            return True
        if self._strikes("error_500", visit, executes=False):
            self._refuse(visit, 500, "Server Error")
            return True
        if self._faults_shed(visit, args):
            self._refuse(visit, 503, OVERLOADED)
            return True
        refusal = self._take("refuse", visit.scene)
        if refusal is not None:
            visit.entry.fault = refusal.fault
            self._refuse(visit, refusal.status or 400, refusal.text or "Invalid orderQty")
            return True
        return False

    def _faults_shed(self, visit: _Visit, args: Args) -> bool:
        if not self.faults.armed("overload_503"):
            return False
        closes_all = "Close" in (args.text("execInst") or "") and not args.has("orderQty")
        for fault in self.faults.standing(self.timeline.now_ns, "overload_503"):
            if is_shed(fault, visit.request.method, visit.route, closes_all):
                return self._strikes("overload_503", visit)
        return False

    def _queue(self, visit: _Visit, route: Route, args: Args) -> None:
        """Hand the request to the exchange, at once or when the queue lets it through."""
        wait_ns = 0
        for name in ("queue", "slow"):
            fault = self._take(name, visit.scene)
            if fault is not None:
                visit.entry.fault = fault.fault
                wait_ns += fault.delay_ns
        if wait_ns == 0:
            self._execute(visit, route, args)
        else:
            due_ns = self.timeline.now_ns + wait_ns
            self.timeline.later(due_ns, lambda: self._execute(visit, route, args))

    def _execute(self, visit: _Visit, route: Route, args: Args) -> None:
        keys = tuple(self.keys.values())
        call = Call(
            self.timeline.now_ns,
            self.exchange,
            args,
            visit.key,
            keys,
            self.exchange.instruments(),
            self.timeline.skew_ns,
        )
        visit.entry.executed = True
        status, value = 200, None
        try:
            value = route.answer(call)
        except Refusal as refusal:
            status = refusal.status
            value = error_body(refusal.message, refusal.name, refusal.details)
        except BadArgument as bad:
            status, value = 400, error_body(str(bad))
        if visit.request.method == "GET" and isinstance(value, list):
            value = self._shows(visit, value)
        self._publish()
        self._reply(visit, status, value)

    def _shows(self, visit: _Visit, rows: list[Json]) -> list[Json]:
        """The rows of a read, unless a fault makes it lie."""
        # A client moves `startTime` on from read to read; the question is still the same.
        asked = [one for one in visit.query.split("&") if not one.startswith("startTime")]
        question = visit.account, f"{visit.route}?{'&'.join(asked)}"
        before = self._shown.get(question)
        if len(self._shown) >= _SHOWN_MAX:
            self._shown.clear()
        self._shown[question] = rows
        if before is not None and self._strikes("stale_read", visit):
            return before
        if rows and self._strikes("empty_read", visit):
            return []
        if rows and self._strikes("cut_read", visit):
            return rows[: len(rows) // 2]
        return rows

    def _reply(self, visit: _Visit, status: int, value: Json) -> None:
        """Send the exchange's answer, unless a fault spoils it now."""
        request_id = visit.request.request_id
        if self._strikes("accept_then_timeout", visit):
            visit.entry.status = 0
            self.timeline.emit(NoAnswer(request_id))
            return
        if self._strikes("hang_up", visit, executes=True):
            visit.entry.status = 0
            self.timeline.emit(HangUp(request_id))
            return
        if self._strikes("error_502", visit, executes=True):
            headers, page = bad_gateway_page(self.timeline.wall_ns)
            self._answer(visit, Answer(request_id, 502, headers, page))
            return
        if self._strikes("error_500", visit, executes=True):
            status, value = 500, error_body("Server Error")
        limits = visit.verdict.headers if visit.verdict is not None else ()
        answer = json_answer(request_id, self.timeline.wall_ns, status, value, limits)
        if self._strikes("truncated_json", visit):
            half = answer.body[: len(answer.body) // 2]
            answer = Answer(answer.request_id, answer.status, answer.headers, half)
        late = self._take("delay_answer", visit.scene)
        if late is None:
            self._answer(visit, answer)
        else:
            visit.entry.fault = late.fault
            due_ns = self.timeline.now_ns + late.delay_ns
            self.timeline.later(due_ns, lambda: self._answer(visit, answer))

    def _refuse(self, visit: _Visit, status: int, message: str, extra: Headers = ()) -> None:
        limits = visit.verdict.headers if visit.verdict is not None else ()
        self._answer(
            visit,
            json_answer(
                visit.request.request_id, self.timeline.wall_ns, status, error_body(message),
                (*limits, *extra),
            ),
        )  # fmt: skip

    def _answer(self, visit: _Visit, answer: Answer) -> None:
        if self._strikes("omit_ratelimit_headers", visit):
            kept = tuple(pair for pair in answer.headers if not pair[0].startswith("x-ratelimit"))
            answer = Answer(answer.request_id, answer.status, kept, answer.body)
        visit.entry.status = answer.status
        if answer.status >= 400:
            self.throttle.note_error(self.timeline.now_ns, visit.request.peer)
        self.timeline.emit(answer)

    def _take(self, name: str, scene: Scene) -> Fault | None:
        if not self.faults:
            return None
        return self.faults.take(self.timeline.now_ns, name, scene)

    def _strikes(self, name: str, visit: _Visit, executes: bool | None = None) -> bool:
        """Whether this fault hits this request now; noted in the log if so.

        With `executes` only the faults that strike before (or after) the exchange count.
        """
        if not self.faults:
            return False
        fault = self.faults.take(self.timeline.now_ns, name, visit.scene, executes)
        if fault is None:
            return False
        visit.entry.fault = fault.fault
        return True

    # Websockets

    def open(
        self, at_ns: int, conn: int, raw_path: str, headers: dict[str, str], peer: str
    ) -> None:
        """A websocket upgrade; it is accepted or refused among the effects."""
        self.advance(at_ns)
        path, _, query = raw_path.partition("?")
        now_ns, wall_ns = self.timeline.now_ns, self.timeline.wall_ns
        entry = self.log.add(now_ns, "UPGRADE", path, _without_login(query), b"", peer)
        scene = Scene(conn=conn, route=path)
        if self.throttle.banned(now_ns, peer) or self._take("ban_403", scene):
            page_headers, page = ban_page(wall_ns)
            self._refuse_upgrade(entry, conn, 403, page_headers, page)
            return
        if self._take("hang_up", scene):
            self._refuse_upgrade(entry, conn, 0, (), b"")
            return
        refusal = self._take("refuse_upgrade", scene)
        if refusal is not None:
            self._refuse_with(entry, conn, refusal.status or 429, refusal.text or OVERLOADED)
            return
        if path != SOCKET:
            self._refuse_with(entry, conn, 404, NOT_FOUND)
            return
        if not self.throttle.connect(now_ns, peer):
            wait_s = max(1, 3600 // max(1, self.options.limits.ws_connects_per_hour))
            self._refuse_with(entry, conn, 429, rate_limited_text(wait_s), wait_s)
            return
        values = dict(parse_qsl(query, keep_blank_values=True))
        claim = auth.claim_in(headers) or auth.claim_in(values)
        key: auth.Key | None = None
        try:
            if claim is not None:
                # The path alone is signed, never the query string.
                key = auth.log_in(self.keys, claim, "GET", SOCKET, b"", wall_ns)
                spoiled = self._take("refuse_login", Scene(account=key.account, route=SOCKET))
                if spoiled is not None:
                    raise auth.AuthRefusal(spoiled.status or 401, spoiled.text or auth.KEY_DISABLED)
        except auth.AuthRefusal as refused:
            self._refuse_with(entry, conn, refused.status, refused.message)
            return
        session = Session(conn, peer, key, now_ns)
        entry.account, entry.status = session.account, 101
        self.timeline.emit(Accept(conn))
        self.streams.welcome(session)
        topics = [topic for topic in values.get("subscribe", "").split(",") if topic]
        if topics:
            self.streams.subscribe(session, topics, {"op": "subscribe", "args": topics})

    def _refuse_with(
        self, entry: Entry, conn: int, status: int, message: str, retry_after_s: int | None = None
    ) -> None:
        headers: Headers = (("Content-Type", "application/json; charset=utf-8"),)
        if retry_after_s is not None:
            headers = (*headers, ("Retry-After", str(retry_after_s)))
        self._refuse_upgrade(entry, conn, status, headers, to_json(error_body(message)))

    def _refuse_upgrade(
        self, entry: Entry, conn: int, status: int, headers: Headers, body: bytes
    ) -> None:
        entry.status = status
        if status >= 400:
            self.throttle.note_error(self.timeline.now_ns, entry.peer)
        self.timeline.emit(RefuseUpgrade(conn, status, headers, body))

    def receive(self, at_ns: int, conn: int, text: str) -> None:
        """A text frame of a client."""
        self.advance(at_ns)
        session = self.streams.sessions.get(conn)
        if session is None:
            return
        if "cancelAllAfter" in text:
            # The only command that changes anything, so the only one that is logged.
            entry = self.log.add(
                self.timeline.now_ns, "WS", "/realtime", "", text.encode(), session.peer
            )
            entry.account = session.account
        self.streams.receive(session, text)
        self._publish()

    def ping(self, at_ns: int, conn: int, payload: bytes) -> None:
        """A ping frame of a client."""
        self.advance(at_ns)
        session = self.streams.sessions.get(conn)
        if session is not None:
            self.streams.ping(session, payload)

    def closed(self, at_ns: int, conn: int) -> None:
        """A client's websocket is gone."""
        self.advance(at_ns)
        self.streams.closed(conn)


class _Visit:
    """One request on its way through the venue."""

    def __init__(self, request: HttpRequest, path: str, query: str, entry: Entry) -> None:
        self.request = request
        self.path = path
        self.query = query
        self.entry = entry
        self.key: auth.Key | None = None
        self.verdict: Verdict | None = None

    @property
    def route(self) -> str:
        return _route(self.path)

    @property
    def account(self) -> int | None:
        return None if self.key is None else self.key.account

    @property
    def scene(self) -> Scene:
        return Scene(account=self.account, route=self.route, method=self.request.method)


def _route(path: str) -> str:
    """The path below the API's base; empty for a path that is not of the API."""
    return path.removeprefix(API) if path.startswith(f"{API}/") else ""


def _without_login(query: str) -> str:
    """The query without what logs in, for the log."""
    parts: Sequence[str] = query.split("&")
    return "&".join(part for part in parts if not part.startswith("api-"))
