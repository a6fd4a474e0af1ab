"""Stand-ins for the driver's neighbours, and an example of everything that they are given."""

from collections.abc import Callable, Sequence

from chappie.model.commands import Command, HttpCall, SendCall, SendOrder, Stop
from chappie.model.enums import Lane, OrdType, Side, TimeInForce
from chappie.model.events import Event, PolicyDecided, PolicyFailed, StopAsked
from chappie.model.link import Beat, Ending, HaltSeen
from chappie.model.orders import Approved, GateStamp, NewOrder
from chappie.model.state import (
    AccountState,
    BookTop,
    BudgetState,
    DeadManState,
    Mode,
    OrderState,
    PositionState,
    ReconcileState,
    State,
)
from chappie.model.units import SECOND_NS, At, Contracts, Ticks
from chappie.model.view import View

WALL_NS = 1_700_000_000 * SECOND_NS


def state(position: int | None = 100) -> State:
    return State(
        mode=Mode.OBSERVING,
        allow_trade=False,
        position_state="closed",
        streams={},
        rate_limit=BudgetState(),
        orders=[OrderState("c-1", "o-1", "Buy", "New", 1.5, 100, 0, 100)],
        position=PositionState("XBTUSD", position),
        known=True,
        last_reconcile=ReconcileState(),
        dead_man=DeadManState(),
        at="2023-11-14T22:13:20Z",
        faults=[],
        book=BookTop(),
        decision=None,
        account=AccountState(),
        policy="hold",
        venue="simulated",
        symbol="XBTUSD",
        would_be_orders=0,
    )


class FakeCore:
    """Answers each kind of event from a table; remembers what it saw; stops when asked to."""

    def __init__(
        self, reactions: dict[type, Callable[[At, Event], Sequence[Command]]] | None = None
    ) -> None:
        self.reactions = {StopAsked: stop_when_asked, **(reactions or {})}
        self.seen: list[Event] = []
        self.deadline_ns: int | None = None
        self.resting = 0, False

    def step(self, at: At, event: Event) -> Sequence[Command]:
        self.seen.append(event)
        react = self.reactions.get(type(event))
        return react(at, event) if react is not None else []

    def next_deadline(self) -> int | None:
        return self.deadline_ns

    def snapshot(self, at: At) -> State:
        return state()

    def rest(self, at: At) -> tuple[int, bool]:
        return self.resting


def stop_when_asked(at: At, event: Event) -> Sequence[Command]:
    assert isinstance(event, StopAsked)
    return [Stop(event.reason, event.detail, known=True)]


class FakeClock:
    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND_NS

    def __call__(self) -> At:
        return At(self.now_ns, WALL_NS + self.now_ns)

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)


class FakeHands:
    """Streams, REST client, policy and link in one: a list of what was asked of them."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.beats: list[Beat] = []
        self.answer: PolicyDecided | PolicyFailed = PolicyDecided(1, 0)
        self.after: Callable[[], None] = lambda: None

    def open(self, conn: int, within_ns: int) -> None:
        self.done.append(("open", conn, within_ns))
        self.after()

    def close(self, conn: int, why: str) -> None:
        self.done.append(("close", conn, why))

    def send(self, command_or_conn: SendCall | int, payload: bytes = b"") -> None:
        self.done.append(("send", command_or_conn, payload))

    def send_order(self, command: SendOrder) -> None:
        self.done.append(("order", command))

    def drop_orders(self) -> None:
        self.done.append("drop orders")

    def halt_seen(self, seen: HaltSeen) -> None:
        self.done.append(("halt seen", seen.detail))

    def ask(self, decision: int, view: View) -> PolicyDecided | PolicyFailed:
        self.done.append(("ask", decision))
        return self.answer

    def beat(self, beat: Beat) -> None:
        self.beats.append(beat)

    def ending(self, ending: Ending) -> None:
        self.done.append(("ending", ending.reason))


class PlainSigner:
    """A signer whose work is easy to see on the wire."""

    def sign(self, call: HttpCall, root: str, expires_s: int) -> dict[str, str]:
        return {"x-signed": f"{call.method} {root}{call.path} {expires_s} {len(call.body)}"}

    def login(self, path: str, expires_s: int) -> dict[str, str]:
        return {"x-login": path}


NEW_ORDER = NewOrder(
    "c-1",
    "XBTUSD",
    Side.BUY,
    Contracts(100),
    OrdType.LIMIT,
    Ticks(500_000),
    TimeInForce.GTC,
    post_only=True,
    reduce_only=False,
)


def send_order(
    request_id: int = 1,
    *,
    send_by_ns: int,
    expires_s: int,
    answer_within_ns: int = SECOND_NS,
    lane: Lane = Lane.OPEN,
) -> SendOrder:
    return SendOrder(
        request_id=request_id,
        lane=lane,
        order=Approved(NEW_ORDER, GateStamp.PASSED),
        call=HttpCall("POST", "/order", b'{"a":1}'),
        expires_s=expires_s,
        send_by_ns=send_by_ns,
        answer_within_ns=answer_within_ns,
    )


VIEW = View(
    at=1_700_000_000.0,
    symbol="XBTUSD",
    bids=(),
    asks=(),
    last_price=None,
    mark_price=None,
    index_price=None,
    funding_rate=None,
    position=300,
    avg_entry_price=None,
    unrealised=None,
    max_position=1000,
    lot_size=100,
)
