"""A core on virtual time with frames and answers made by hand: the test is the venue.

Reads are answered from what the rig holds (``orders``, ``fills``, ``position``) unless the test
takes them away with ``silent``; everything else waits in ``waiting`` for the test to answer it.
"""

import json
from collections.abc import Callable
from typing import Any

from chappie.core.core import Core
from chappie.model.commands import (
    AskPolicy,
    CloseStream,
    Command,
    HttpCall,
    Keep,
    Log,
    OpenStream,
    SendCall,
    SendFrame,
    SendOrder,
    Stop,
)
from chappie.model.config import Config
from chappie.model.events import (
    Answered,
    Event,
    FrameReceived,
    PolicyDecided,
    PolicyFailed,
    Started,
    StreamClosed,
    StreamOpened,
    Ticked,
    Unanswered,
)
from chappie.model.records import Kept
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, At
from chappie.venues.bitmex.dialect import BitmexDialect
from tests.core.parts import WALL_NS

TABLES = ("quote", "orderBookL2", "trade", "instrument", "order", "execution", "position", "margin")
KEYS = {
    "orderBookL2": ["symbol", "id", "side"],
    "instrument": ["symbol"],
    "order": ["orderID"],
    "position": ["account", "symbol"],
    "margin": ["account", "currency"],
}
INSTRUMENT_ROW = {
    "symbol": "XBTUSD", "state": "Open", "tickSize": 0.1, "lotSize": 100,
    "multiplier": -100_000_000, "isInverse": True, "settlCurrency": "XBt",
    "markPrice": 60_000.0, "maxOrderQty": 10_000_000,
    "maxPrice": 1_000_000, "makerFee": 0.0005, "takerFee": 0.0005,
}  # fmt: skip
BID, ASK = 60_000.0, 60_000.1


class Rig:
    """One core, driven by hand. Time stands still unless `wait` is called."""

    def __init__(
        self,
        config: Config,
        kept: tuple[Kept, ...] = (),
        epoch: int = 1,
        silent: tuple[str, ...] = (),
    ) -> None:
        self.core = Core(config, BitmexDialect("XBTUSD"))
        self.now_ns = SECOND_NS
        self.policy_raises = False
        self.policy_takes_s = 0.0
        self.target = 0
        self.orders: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        self.position = 0
        self.permissions = ["order"]
        self.instrument: dict[str, Any] = dict(INSTRUMENT_ROW)
        # Paths (with their query) that begin like this are not answered by the rig.
        self.silent = list(silent)
        # Whether requests about the dead man's switch are granted without the test's doing.
        self.switch_works = False
        # What the venue says of the request budget with each answer.
        self.headers = {"x-ratelimit-limit": "120", "x-ratelimit-remaining": "110"}
        self.done: list[Command] = []
        self.waiting: list[SendCall | SendOrder] = []
        self.conn = 0
        self.stop: Stop | None = None
        self.deliver(Started(epoch, kept))

    # --- time and events

    @property
    def at(self) -> At:
        return At(self.now_ns, WALL_NS + self.now_ns)

    def wait(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        """Let time pass; ``each`` runs before every tick, to keep the market alive, say."""
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        while self.stop is None:
            due_ns = self.core.next_deadline()
            if due_ns is None or due_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, due_ns)
            if each is not None:
                each()
            self.deliver(Ticked())
        self.now_ns = end_ns

    def deliver(self, event: Event) -> None:
        if self.stop is not None:
            return
        for command in self.core.step(self.at, event):
            self.done.append(command)
            self._perform(command)

    def _perform(self, command: Command) -> None:
        match command:
            case SendCall() | SendOrder():
                self.waiting.append(command)
                self._answer_read(command)
            case OpenStream():
                self.conn = command.conn
            case AskPolicy():
                self.now_ns += round(self.policy_takes_s * SECOND_NS)
                if self.policy_raises:
                    self.deliver(PolicyFailed(command.decision, "ValueError: no idea"))
                else:
                    self.deliver(PolicyDecided(command.decision, self.target))
            case Stop():
                self.stop = command
            case CloseStream() | SendFrame() | Keep() | Log():
                pass

    # --- REST

    def _answer_read(self, command: SendCall | SendOrder) -> None:
        path = command.call.path
        if self.switch_works and path == "/order/cancelAllAfter":
            self._grant(command)
        if command.call.method != "GET" or any(path.startswith(begin) for begin in self.silent):
            return
        if path.startswith("/apiKey"):
            self.answer(command, [{"id": "***", "permissions": self.permissions}])
        elif path.startswith("/instrument"):
            self.answer(command, [self.instrument])
        elif path.startswith("/order?filter=%7B%22open"):
            self.answer(command, [row for row in self.orders if row["leavesQty"]])
        elif path.startswith("/order"):
            self.answer(command, [row for row in self.orders if row["clOrdID"] in path])
        elif path.startswith("/execution"):
            self.answer(command, self.fills)
        elif path.startswith("/position"):
            self.answer(command, [self.position_row()])
        elif path.startswith("/user/margin"):
            self.answer(command, {"currency": "XBt", "walletBalance": 1})

    def answer(self, command: SendCall | SendOrder, body: object, status: int = 200) -> None:
        self.waiting.remove(command)
        data = json.dumps(body).encode()
        self.deliver(Answered(command.request_id, status, dict(self.headers), data))
        if status == 200 and command.call.path == "/order":
            # What the venue answers of an order its stream tells as well.
            rows = body if isinstance(body, list) else [body]
            self.say("order", "insert", *(row for row in rows if isinstance(row, dict)))

    def refuse(self, command: SendCall | SendOrder, status: int, message: str) -> None:
        self.answer(command, {"error": {"message": message, "name": "HTTPError"}}, status)

    def no_answer(self, command: SendCall | SendOrder, *, sent: bool = True) -> None:
        self.waiting.remove(command)
        self.deliver(Unanswered(command.request_id, sent, "no answer"))

    def asked_for(self, method: str, path: str) -> SendCall | SendOrder:
        """The one request that waits for the test's answer."""
        (found,) = [c for c in self.waiting if c.call.method == method and c.call.path == path]
        return found

    def calls(self, method: str | None = None, begin: str = "") -> list[HttpCall]:
        """Every request so far."""
        every = [c.call for c in self.done if isinstance(c, (SendCall, SendOrder))]
        return [c for c in every if method in (None, c.method) and c.path.startswith(begin)]

    def arm(self) -> None:
        """Grant what is being asked of the dead man's switch."""
        self._grant(self.asked_for("POST", "/order/cancelAllAfter"))

    def _grant(self, command: SendCall | SendOrder) -> None:
        timeout_ns = json.loads(command.call.body)["timeout"] * 1_000_000
        wall_ns = self.at.wall_ns
        until = ns_iso(wall_ns + timeout_ns) if timeout_ns else 0
        self.answer(command, {"now": ns_iso(wall_ns), "cancelTime": until})

    # --- the stream

    def frame(self, message: object) -> None:
        self.deliver(FrameReceived(self.conn, json.dumps(message).encode()))

    def open(self) -> None:
        self.deliver(StreamOpened(self.conn))

    def welcome(self, ahead_s: float = 0.0) -> None:
        stamp = ns_iso(self.at.wall_ns + round(ahead_s * SECOND_NS))
        self.frame({"info": "Welcome to the BitMEX Realtime API.", "timestamp": stamp})

    def image(self, table: str) -> None:
        """The image of a table as the rig holds it."""
        keys = KEYS.get(table, [])
        self.frame({"table": table, "action": "partial", "keys": keys, "data": self._rows(table)})

    def _rows(self, table: str) -> list[dict[str, Any]]:
        if table == "quote":
            return [self.quote_row()]
        if table == "orderBookL2":
            return [level(1, "Buy", BID, 1000), level(2, "Sell", ASK, 1000)]
        rows = {"instrument": [self.instrument], "order": self.orders, "position": []}
        return list(rows.get(table, []))

    def quote_row(self, bid: float = BID, ask: float = ASK) -> dict[str, Any]:
        return {
            "symbol": "XBTUSD", "bidPrice": bid, "bidSize": 1000, "askPrice": ask, "askSize": 1000,
            "timestamp": ns_iso(self.at.wall_ns),
        }  # fmt: skip

    def quote(self, bid: float = BID, ask: float = ASK) -> None:
        """An increment of the market that agrees with the book unless told otherwise."""
        self.frame({"table": "quote", "action": "insert", "data": [self.quote_row(bid, ask)]})

    def say(self, table: str, action: str, *rows: dict[str, Any]) -> None:
        self.frame({"table": table, "action": action, "data": list(rows)})

    def position_row(self) -> dict[str, Any]:
        return {"account": 1, "symbol": "XBTUSD", "currentQty": self.position}

    def drop(self) -> None:
        """The venue closes the websocket."""
        self.deliver(StreamClosed(self.conn, 1006, ""))

    def start(self) -> None:
        """A start in which everything goes well."""
        self.open()
        self.welcome()
        for table in TABLES:
            self.image(table)
        self.quote()

    # --- for the tests

    def said(self, event: str) -> list[Log]:
        return [c for c in self.done if isinstance(c, Log) and c.event == event]

    @property
    def faults(self) -> list[str]:
        return [f"{a.fault.value}:{a.subject}".rstrip(":") for a in self.core.faults.all()]

    @property
    def asked_policy(self) -> bool:
        return any(isinstance(command, AskPolicy) for command in self.done)

    @property
    def orders_sent(self) -> list[SendOrder]:
        return [command for command in self.done if isinstance(command, SendOrder)]


def level(number: int, side: str, price: float, size: int) -> dict[str, Any]:
    return {"symbol": "XBTUSD", "id": number, "side": side, "price": price, "size": size}


def order_row(
    name: str, status: str, qty: int = 100, cum: int = 0, *, side: str = "Buy"
) -> dict[str, Any]:
    """An order as the venue shows it on every channel."""
    leaves = 0 if status in ("Filled", "Canceled", "Rejected") else qty - cum
    return {
        "orderID": f"venue-{name}", "clOrdID": name, "account": 1, "symbol": "XBTUSD",
        "side": side, "orderQty": qty, "price": BID, "ordStatus": status, "leavesQty": leaves,
        "cumQty": cum, "text": "",
    }  # fmt: skip


def execution_row(
    exec_id: str, name: str, qty: int = 100, *, side: str = "Buy", kind: str = "Trade"
) -> dict[str, Any]:
    cost = round(qty * 1e8 / BID)
    return {
        "execID": exec_id, "orderID": f"venue-{name}", "clOrdID": name, "account": 1,
        "symbol": "XBTUSD", "side": side, "lastQty": qty, "lastPx": BID, "execType": kind,
        "execCost": -cost if side == "Buy" else cost, "execComm": cost // 2000,
        "transactTime": "2025-11-24T16:00:01.000Z",
    }  # fmt: skip
