"""A venue on virtual time with clients that sign like real ones; shared by the venue's tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from chappie.simvenue.auth import signature
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
)
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.market import Market, Still
from chappie.simvenue.options import SECOND_NS, AccountOptions, Limits, VenueOptions
from chappie.simvenue.venue import Venue

T0 = 1_764_000_000 * SECOND_NS

ALICE = AccountOptions(account=1, api_key="A" * 24, secret="a" * 48)
BOB = AccountOptions(account=2, api_key="B" * 24, secret="b" * 48)
CANCELLER = AccountOptions(
    account=1, api_key="C" * 24, secret="c" * 48, permissions=("orderCancel",)
)
READER = AccountOptions(account=1, api_key="R" * 24, secret="r" * 48, permissions=())

WIDE = Limits(per_minute=100_000, per_minute_public=100_000, per_second=100_000)


class Reply:
    """An HTTP answer as a client sees it."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers}
        self.body = answer.body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


class Socket:
    """A websocket as its client sees it."""

    def __init__(self) -> None:
        self.accepted = False
        self.refused: RefuseUpgrade | None = None
        self.texts: list[str] = []
        self.pongs: list[bytes] = []
        self.close_code: int | None = None

    @property
    def frames(self) -> list[Any]:
        return [json.loads(text) for text in self.texts if text != "pong"]

    def of(self, table: str, action: str | None = None) -> list[Any]:
        return [
            frame
            for frame in self.frames
            if frame.get("table") == table and action in (None, frame["action"])
        ]

    def errors(self) -> list[Any]:
        return [frame for frame in self.frames if "error" in frame]

    def clear(self) -> None:
        self.texts.clear()


class Rig:
    """One venue; time stands still unless `wait` is called."""

    def __init__(
        self,
        *,
        limits: Limits = WIDE,
        market: Market | None = None,
        accounts: Sequence[AccountOptions] = (ALICE, BOB, CANCELLER, READER),
        **options: Any,
    ) -> None:
        self.now_ns = T0
        self.exchange = Exchange(T0, market or Still(), seed=1)
        self.venue = Venue(
            T0,
            self.exchange,
            VenueOptions(accounts=tuple(accounts), limits=limits, **options),
        )
        self.answers: dict[int, Answer | NoAnswer | HangUp] = {}
        self.sockets: dict[int, Socket] = {}
        self._numbers = 0

    # Time

    def wait(self, seconds: float) -> None:
        until_ns = self.now_ns + int(seconds * SECOND_NS)
        while True:
            deadline = self.venue.next_deadline()
            if deadline is None or deadline > until_ns:
                break
            self.now_ns = max(self.now_ns, deadline)
            self.venue.advance(self.now_ns)
            self._perform(self.venue.take_effects())
        self.now_ns = until_ns
        self.venue.advance(until_ns)
        self._perform(self.venue.take_effects())

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, (Answer, NoAnswer, HangUp)):
                assert effect.request_id not in self.answers, "a request is answered once"
                self.answers[effect.request_id] = effect
                continue
            socket = self.sockets[effect.conn]
            assert socket.close_code is None, "nothing is sent on a closed socket"
            if isinstance(effect, Accept):
                socket.accepted = True
            elif isinstance(effect, RefuseUpgrade):
                socket.refused = effect
            elif isinstance(effect, Push):
                assert socket.accepted
                socket.texts.append(effect.text)
            elif isinstance(effect, Pong):
                socket.pongs.append(effect.payload)
            elif isinstance(effect, Close):
                socket.close_code = effect.code

    # REST

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: AccountOptions | None = ALICE,
        form: bool = False,
        expires: int | None = None,
        sign: str | None = None,
        peer: str = "10.0.0.1",
    ) -> int:
        """Send a request and return its number; `sign` replaces the signature."""
        raw = path if path.startswith("/control") else f"/api/v1{path}"
        data, headers = b"", {}
        if isinstance(body, bytes):
            data = body
        elif body is not None and form:
            data = urlencode(body, doseq=True).encode()  # type: ignore[arg-type]
            headers["content-type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            data = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        if user is not None:
            text = str(self.now_ns // SECOND_NS + 5 if expires is None else expires)
            headers["api-key"] = user.api_key
            headers["api-expires"] = text
            signed = signature(user.secret, method, raw, text, data)
            headers["api-signature"] = signed if sign is None else sign
        self._numbers += 1
        self.venue.http(
            self.now_ns,
            HttpRequest(
                request_id=self._numbers,
                method=method,
                raw_path=raw,
                headers=headers,
                body=data,
                peer=peer,
            ),
        )
        self._perform(self.venue.take_effects())
        return self._numbers

    def ask(self, method: str, path: str, body: object = None, **how: Any) -> Reply:
        """Send a request that is answered at once."""
        answer = self.answers[self.send(method, path, body, **how)]
        assert isinstance(answer, Answer)
        return Reply(answer)

    def order(self, side: str, qty: int, price: float | None = None, **more: Any) -> Any:
        """Place an order that must succeed; its row."""
        user = more.pop("user", ALICE)
        body = {"symbol": "XBTUSD", "side": side, "orderQty": qty, **more}
        if price is not None:
            body["price"] = price
        else:
            body["ordType"] = "Market"
        reply = self.ask("POST", "/order", body, user=user)
        assert reply.status == 200, reply.body
        return reply.json

    def quote(self, bid: float = 59_999.0, ask: float = 60_001.0, qty: int = 1000) -> None:
        """Bob makes a market."""
        self.order("Buy", qty, bid, user=BOB)
        self.order("Sell", qty, ask, user=BOB)

    def control(self, method: str, path: str, body: object = None) -> Any:
        reply = self.ask(method, f"/control{path}", body, user=None)
        return reply.json

    def arm(self, fault: str, **fields: Any) -> int:
        """Arm a fault; its number."""
        reply = self.ask("POST", "/control/faults", {"fault": fault, **fields}, user=None)
        assert reply.status == 200, reply.body
        return int(reply.json["numbers"][0])

    def clear(self) -> None:
        self.control("DELETE", "/faults")

    def log(self, since: int = 0) -> Any:
        return self.control("GET", f"/requests?since={since}")

    # Websockets

    def connect(
        self,
        user: AccountOptions | None = None,
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        path: str = "/realtime",
        peer: str = "10.0.0.1",
    ) -> int:
        """Open a socket, logged in by headers if a user is given; its number."""
        self._numbers += 1
        conn = self._numbers
        self.sockets[conn] = Socket()
        sent = dict(headers or {})
        if user is not None:
            key, expires, signed = self.login(user)
            sent.update({"api-key": key, "api-expires": expires, "api-signature": signed})
        self.venue.open(self.now_ns, conn, path + (f"?{query}" if query else ""), sent, peer)
        self._perform(self.venue.take_effects())
        return conn

    def login(self, user: AccountOptions, expires: int | None = None) -> tuple[str, str, str]:
        text = str(self.now_ns // SECOND_NS + 5 if expires is None else expires)
        return user.api_key, text, signature(user.secret, "GET", "/realtime", text)

    def say(self, conn: int, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.venue.receive(self.now_ns, conn, text)
        self._perform(self.venue.take_effects())

    def subscribe(self, conn: int, *topics: str) -> Socket:
        """Subscribe and let the images come."""
        self.say(conn, {"op": "subscribe", "args": list(topics)})
        self.wait(self.venue.options.image_delay_ms / 1000)
        return self.sockets[conn]
