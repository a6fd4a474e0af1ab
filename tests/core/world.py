"""A core against the simulated venue, both sans-IO, in one thread on virtual time.

One heap of (time, thing) holds whatever is under way between the two; the network only delays,
by a constant. Faults are the venue's own, armed with `World.arm`. What a shell would write down
(events, kept records, log lines) is in lists.
"""

import heapq
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from chappie.core.core import Core
from chappie.journal.digest import CommandDigest
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
    Started,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    Ticked,
    Unanswered,
)
from chappie.model.records import Kept
from chappie.model.redaction import REDACTED
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At
from chappie.model.view import View
from chappie.policies.cycle import Cycle
from chappie.policies.hold import Hold
from chappie.simvenue.crowd import Crowd
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
from chappie.simvenue.market import Market, MarketFloor
from chappie.simvenue.options import AccountOptions, Limits, VenueOptions
from chappie.simvenue.venue import Venue
from chappie.venues.bitmex.dialect import BitmexDialect
from chappie.venues.bitmex.signing import BitmexSigner
from tests.core.parts import config as configured

T0 = 1_764_000_000 * SECOND_NS
DELAY_NS = 5 * MILLISECOND_NS
ROOT = "/api/v1"

OURS = AccountOptions(account=1, api_key="K" * 24, secret="k" * 48)
WITHDRAWER = AccountOptions(
    account=1, api_key="W" * 24, secret="w" * 48, permissions=("order", "withdraw")
)
READER = AccountOptions(account=1, api_key="R" * 24, secret="r" * 48, permissions=())
ANOTHER_HAND = AccountOptions(account=1, api_key="H" * 24, secret="h" * 48)
STRANGER = AccountOptions(account=2, api_key="S" * 24, secret="s" * 48)
_KEPT_HEADERS = ("date", "retry-after", "content-type")


class Decides(Protocol):
    def decide(self, view: View) -> int: ...


class Target:
    """A policy that wants what the test wants now."""

    period_s = 1.0

    def __init__(self, target: int = 0) -> None:
        self.target = target

    def decide(self, view: View) -> int:
        return self.target


class Calm:
    """A market in which nothing trades and the touch stays; a far level shows that it lives."""

    first_ticks = 600_000
    index_cents = 6_000_000

    def __init__(self) -> None:
        self._due_ns = T0
        self._size = 1000

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        floor.set_level("Buy", 600_000, 1000)
        floor.set_level("Sell", 600_001, 1000)

    def next_deadline(self) -> int:
        return self._due_ns

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        self._due_ns = at_ns + SECOND_NS // 2
        self._size += 100
        floor.set_level("Buy", 590_000, self._size)


class World:
    """One venue, one bot, one clock. `run` lets time pass; `now_s` counts from the start."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        policy: Decides | None = None,
        seed: int = 1,
        rate: float = 5.0,
        key: AccountOptions = OURS,
        market: Market | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.config = config or configured()
        self.policy: Decides = policy or Hold()
        self.now_ns = T0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.exchange = Exchange(T0, market or Crowd(T0, seed=seed, rate=rate), seed=seed)
        accounts = (OURS, WITHDRAWER, READER, ANOTHER_HAND, STRANGER)
        options = VenueOptions(accounts=accounts, limits=limits or Limits(), seed=seed)
        self.venue = Venue(T0, self.exchange, options)
        self._hands: dict[int, Answer | NoAnswer | HangUp] = {}
        self.bot: Bot
        self.born_ns = T0
        self.key = key
        self.start()

    # --- time

    def start(self, epoch: int = 1, kept: Iterable[Kept] = ()) -> "Bot":
        """A new process of the bot; the one before it is gone, and so are its sockets."""
        if hasattr(self, "bot"):
            self.bot.die()
        self.born_ns = self.now_ns
        self.bot = Bot(self, epoch, self.key)
        self.bot.deliver(Started(epoch, tuple(kept)))
        return self.bot

    @property
    def now_s(self) -> float:
        """Seconds since the bot was started."""
        return (self.now_ns - self.born_ns) / SECOND_NS

    def later(self, delay_ns: int, thing: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now_ns + delay_ns, self._count, thing))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let so much time pass, or less if ``until`` comes true, which is what it returns."""
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        while until is None or not until():
            due_ns, what = self._next()
            if due_ns > end_ns:
                self.now_ns = end_ns
                return until is not None and until()
            self.now_ns = max(self.now_ns, due_ns)
            what()
        return True

    def run_to_stop(self, seconds: float) -> Stop:
        """Let time pass until the bot stops; the test fails when it does not."""
        assert self.run(seconds, lambda: self.bot.stop is not None), "it went on"
        assert self.bot.stop is not None
        return self.bot.stop

    def _next(self) -> tuple[int, Callable[[], None]]:
        """What comes first: the venue, what is under way, the core's own deadline."""
        due_ns, what = self.venue.next_deadline() or self.now_ns, self._advance_venue
        if self._heap and self._heap[0][0] < due_ns:
            due_ns, what = self._heap[0][0], self._arrive
        tick_ns = self.bot.next_deadline_ns()
        if tick_ns is not None and tick_ns < due_ns:
            due_ns, what = tick_ns, self.bot.tick
        return due_ns, what

    def _advance_venue(self) -> None:
        self.venue.advance(self.now_ns)
        self.perform()

    def _arrive(self) -> None:
        heapq.heappop(self._heap)[2]()

    # --- the venue

    def perform(self) -> None:
        """Send what the venue has to say on its way."""
        for effect in self.venue.take_effects():
            if isinstance(effect, (Answer, NoAnswer, HangUp)) and effect.request_id in self._hands:
                self._hands[effect.request_id] = effect
            else:
                self._route(effect)

    def _route(self, effect: Effect) -> None:
        bot = self.bot
        self.later(DELAY_NS, lambda: bot.hear(effect))

    def ask(
        self, method: str, path: str, body: object = None, *, user: AccountOptions | None = None
    ) -> Any:
        """Somebody else's request, answered without delay; the decoded body."""
        self._count += 1
        number = -self._count
        raw = path if path.startswith("/control") else ROOT + path
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"}
        if user is not None:
            call = HttpCall(method, path, data)
            headers |= BitmexSigner(user.api_key, user.secret).sign(
                call, ROOT, self.now_ns // SECOND_NS + 5 + self.skew_s
            )
        self._hands[number] = NoAnswer(number)
        self.venue.http(self.now_ns, _request(number, method, raw, headers, data, "10.0.0.9"))
        self.perform()
        answer = self._hands.pop(number)
        assert isinstance(answer, Answer), answer
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    @property
    def skew_s(self) -> int:
        return self.venue.timeline.skew_ns // SECOND_NS

    def order_by(
        self, user: AccountOptions, side: str, qty: int, price: float | None = None
    ) -> Any:
        """An order of another hand: at market without a price."""
        body: dict[str, object] = {"symbol": "XBTUSD", "side": side, "orderQty": qty}
        body |= {"ordType": "Market"} if price is None else {"price": price}
        return self.ask("POST", "/order", body, user=user)

    def arm(self, fault: str, **fields: object) -> None:
        self.ask("POST", "/control/faults", {"fault": fault, **fields})

    def clear(self, fault: str | None = None) -> None:
        self.ask("DELETE", "/control/faults" + (f"?fault={fault}" if fault else ""))

    def truth(self, account: int = 1) -> Any:
        """What the venue knows of an account."""
        return self.ask("GET", f"/control/truth?account={account}")

    def sent(self, method: str | None = None, path: str | None = None) -> list[Any]:
        """The bot's requests as the venue's own log holds them, a path below the API's root."""
        rows = self.ask("GET", "/control/requests")
        return [
            row
            for row in rows
            if row["peer"] == "10.0.0.1"
            and method in (None, row["method"])
            and path in (None, row["path"].removeprefix(ROOT))
        ]

    @property
    def working(self) -> list[Any]:
        """Orders that the venue has working on our account."""
        return [row for row in self.truth()["orders"] if row["leavesQty"] > 0]


class Bot:
    """The driver of one core: get an event, write it down, step, perform the commands."""

    def __init__(self, world: World, epoch: int, key: AccountOptions) -> None:
        self._world = world
        self._epoch = epoch
        self._secret = key.api_key.encode()
        self._signer = BitmexSigner(key.api_key, key.secret)
        period_s = float(getattr(world.policy, "period_s", 1.0))
        self.core = Core(world.config, BitmexDialect("XBTUSD"), period_s)
        self.journal: list[tuple[At, Event]] = []
        self.digest = CommandDigest()
        self.done: list[tuple[int, Command]] = []
        self.kept: list[Kept] = []
        self.stop: Stop | None = None
        self.stopped_s = 0.0
        self._dead = False
        self._stepping = False
        self._pending: deque[Event] = deque()
        self._under_way: dict[int, int] = {}
        self._open: dict[int, bool] = {}

    # --- events in

    def at(self) -> At:
        return At(self._world.now_ns - T0 + SECOND_NS, self._world.now_ns)

    def next_deadline_ns(self) -> int | None:
        if self._dead or self.stop is not None:
            return None
        due_ns = self.core.next_deadline()
        return None if due_ns is None else due_ns + T0 - SECOND_NS

    def tick(self) -> None:
        self.deliver(Ticked())

    def deliver(self, event: Event) -> None:
        if self._dead or self.stop is not None:
            return
        self._pending.append(event)
        if self._stepping:
            return
        self._stepping = True
        while self._pending and self.stop is None:
            self._step(self._pending.popleft())
        self._stepping = False

    def _step(self, event: Event) -> None:
        at = self.at()
        self.journal.append((at, event))
        commands = self.core.step(at, event)
        self.digest.add(commands)
        for command in commands:
            self.done.append((at.now_ns, command))
            self._perform(command)

    def die(self) -> None:
        """Killed: nothing more is said or heard, the sockets break."""
        self._dead = True
        for conn in list(self._open):
            self._world.venue.closed(self._world.now_ns, self._outside(conn))
        self._world.perform()

    # --- commands out

    def _perform(self, command: Command) -> None:
        later = self._world.later
        match command:
            case OpenStream():
                self._open[command.conn] = False
                later(DELAY_NS, lambda: self._connect(command.conn))
            case CloseStream():
                if self._open.pop(command.conn, None) is not None:
                    later(DELAY_NS, lambda: self._hang_up(command.conn))
                    self._pending.append(StreamClosed(command.conn, 0, command.why))
            case SendFrame():
                later(DELAY_NS, lambda: self._say(command))
            case SendCall():
                self._send(command.request_id, command.call, command.expires_s, command)
            case SendOrder():
                assert self._world.config.bot.allow_trade, "the shell's fuse (promise 1)"
                self._send(command.request_id, command.call, command.expires_s, command)
            case AskPolicy():
                target = self._world.policy.decide(command.view)
                self._pending.append(PolicyDecided(command.decision, target))
            case Keep():
                self.kept.append(command.record)
            case Stop():
                self.stop = command
                self.stopped_s = self._world.now_s
            case Log():
                pass

    def _send(
        self, request_id: int, call: HttpCall, expires_s: int, command: SendCall | SendOrder
    ) -> None:
        headers = {"content-type": "application/json"}
        headers |= self._signer.sign(call, ROOT, expires_s)
        number = self._outside(request_id)
        request = _request(number, call.method, ROOT + call.path, headers, call.body, "10.0.0.1")
        self._under_way[number] = request_id
        self._world.later(DELAY_NS, lambda: self._arrive(request))
        words = "no answer in time"
        self._world.later(command.answer_within_ns, lambda: self._unanswered(number, words))

    def _arrive(self, request: HttpRequest) -> None:
        self._world.venue.http(self._world.now_ns, request)
        self._world.perform()

    def _connect(self, conn: int) -> None:
        world = self._world
        headers = self._signer.login("/realtime", world.now_ns // SECOND_NS + 5)
        world.venue.open(world.now_ns, self._outside(conn), "/realtime", headers, "10.0.0.1")
        world.perform()

    def _say(self, command: SendFrame) -> None:
        if command.conn in self._open:
            conn = self._outside(command.conn)
            self._world.venue.receive(self._world.now_ns, conn, command.payload.decode())
            self._world.perform()

    def _hang_up(self, conn: int) -> None:
        self._world.venue.closed(self._world.now_ns, self._outside(conn))
        self._world.perform()

    def _outside(self, number: int) -> int:
        """Numbers as the venue knows them: unique among all processes of the bot."""
        return self._epoch * 1_000_000 + number

    # --- what the venue did

    def hear(self, effect: Effect) -> None:
        """One effect of the venue has arrived; what is of another process is not for us."""
        number = effect.request_id if isinstance(effect, _OF_REQUESTS) else effect.conn
        own, epoch = number % 1_000_000, number // 1_000_000
        if epoch != self._epoch:
            return
        match effect:
            case Answer():
                if self._under_way.pop(number, None) is not None:
                    body = effect.body.replace(self._secret, REDACTED.encode())
                    headers = _lowered(dict(effect.headers))
                    self.deliver(Answered(own, effect.status, headers, body))
            case NoAnswer() | Pong():
                pass
            case HangUp():
                self._unanswered(number, "the connection broke")
            case Accept():
                if own in self._open:
                    self._open[own] = True
                    self.deliver(StreamOpened(own))
            case RefuseUpgrade():
                if self._open.pop(own, None) is not None:
                    detail = effect.body.decode()
                    self.deliver(StreamRefused(own, effect.status, detail))
            case Push():
                if self._open.get(own):
                    self.deliver(FrameReceived(own, effect.text.encode()))
            case Close():
                if self._open.pop(own, None) is not None:
                    self.deliver(StreamClosed(own, effect.code, effect.reason))

    def _unanswered(self, number: int, words: str) -> None:
        request_id = self._under_way.pop(number, None)
        if request_id is not None:
            self.deliver(Unanswered(request_id, True, words))

    # --- for the tests

    def said(self, event: str, **fields: object) -> list[Log]:
        """Log lines of one event, with these fields."""
        return [
            command
            for _, command in self.done
            if isinstance(command, Log)
            and command.event == event
            and fields.items() <= command.fields.items()
        ]

    @property
    def asked_policy(self) -> bool:
        return any(isinstance(command, AskPolicy) for _, command in self.done)

    @property
    def faults(self) -> list[str]:
        """Active faults, with their subject where they have one."""
        return [
            f"{active.fault.value}:{active.subject}" if active.subject else active.fault.value
            for active in self.core.faults.all()
        ]


_OF_REQUESTS = (Answer, NoAnswer, HangUp)


def _request(
    number: int, method: str, path: str, headers: dict[str, str], body: bytes, peer: str
) -> HttpRequest:
    return HttpRequest(
        request_id=number, method=method, raw_path=path, headers=headers, body=body, peer=peer
    )


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    low = {name.lower(): value for name, value in headers.items()}
    return {n: v for n, v in low.items() if n in _KEPT_HEADERS or n.startswith("x-ratelimit-")}


def trading(**sections: dict[str, object]) -> Config:
    """A configuration that trades at market unless it says otherwise."""
    bot = {"allow_trade": True, "id": "test", **sections.pop("bot", {})}
    orders = {"style": "market", **sections.pop("orders", {})}
    return configured(bot=bot, orders=orders, **sections)


def cycle(qty: int = 100, period_s: float = 5.0) -> Cycle:
    return Cycle(qty, period_s)
