"""The sockets of one process: requests by lane and one websocket, through the network.

The rules are those of the live REST client and websocket: a request leaves once or not at all,
each ends in exactly one event, lanes bound what is under way, nothing leaves past its time.
"""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from chappie.model.commands import SendCall, SendOrder
from chappie.model.enums import Lane
from chappie.model.events import (
    Answered,
    Event,
    FrameReceived,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    Unanswered,
)
from chappie.model.redaction import REDACTED
from chappie.model.units import SECOND_NS
from chappie.simulation.network import Line, Trip
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
from chappie.venues.bitmex.signing import BitmexSigner

if TYPE_CHECKING:
    from chappie.simulation.world import World

ROOT = "/api/v1"
SOCKET = "/realtime"
OUR_PEER = "10.0.0.1"
# Numbers as the venue knows them are unique among all processes of the bot.
EPOCH_SPAN = 1_000_000
# As in the live client: reads that hang leave room for orders, and orders for cancels.
_UNDER_WAY_MAX = {Lane.CANCEL: 8, Lane.RECONCILE: 4, Lane.REDUCE: 6, Lane.OPEN: 6}
# When the venue notices that nobody is at the other end of a dead connection.
_NOTICED_AFTER_NS = 60 * SECOND_NS
_REFUSED_AFTER_NS = SECOND_NS // 20
_KEPT_HEADERS = ("date", "retry-after", "content-type")


class _Waiting(msgspec.Struct):
    command: SendCall | SendOrder
    send_by_ns: int
    answer_by_ns: int


class Owner(Protocol):
    """Whose sockets they are; ``epoch`` tells its requests from those of others."""

    @property
    def epoch(self) -> int: ...

    def deliver(self, event: Event) -> None: ...


class Sockets:
    """One process's hands. After `break_all` nothing of them is heard again."""

    def __init__(self, world: "World", process: Owner) -> None:
        self._world = world
        self._process = process
        self._secret = world.key.api_key.encode()
        self._signer = BitmexSigner(world.key.api_key, world.key.secret)
        self._broken = False
        self._waiting: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in Lane}
        # By outside number, what is under way: our own number and the trip it is on.
        self._under_way: dict[int, tuple[int, Trip]] = {}
        self._lines: dict[int, Line] = {}
        self._open: dict[int, bool] = {}

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not self._under_way and not any(self._waiting.values())

    # --- requests

    def send(self, command: SendCall | SendOrder) -> None:
        """Queue a request; it leaves at once unless its lane is full."""
        at = self._world.at()
        send_by_ns = at.now_ns + command.expires_s * SECOND_NS - at.wall_ns
        if isinstance(command, SendOrder):
            send_by_ns = min(send_by_ns, command.send_by_ns)
        answer_by_ns = at.now_ns + command.answer_within_ns
        self._waiting[command.lane].append(_Waiting(command, send_by_ns, answer_by_ns))
        self._start_waiting()

    def drop_orders(self) -> list[Unanswered]:
        """Withdraw every order that waits for its turn; what each of them then comes to."""
        dropped = []
        for lane, queue in self._waiting.items():
            orders = [one for one in queue if isinstance(one.command, SendOrder)]
            self._waiting[lane] = deque(one for one in queue if one not in orders)
            dropped += [
                Unanswered(one.command.request_id, False, "not sent: withdrawn by a stop")
                for one in orders
            ]
        return dropped

    def _start_waiting(self) -> None:
        for lane, queue in self._waiting.items():
            while queue and len(self._under_way) < _UNDER_WAY_MAX[lane]:
                self._leave(queue.popleft())

    def _leave(self, waiting: _Waiting) -> None:
        world, command = self._world, waiting.command
        own = command.request_id
        now_ns = world.at().now_ns
        number = self._outside(own)
        left_ns = min(waiting.send_by_ns, waiting.answer_by_ns) - now_ns
        if left_ns <= 0:
            late = Unanswered(own, False, "not sent: its deadline had passed")
            world.later(0, lambda: self._process.deliver(late))
            return
        if not world.network.reachable(world.now_ns):
            self._under_way[number] = own, Trip(None, None)
            words = "no connection in time"
            wait_ns = min(_REFUSED_AFTER_NS, left_ns)
            world.later(wait_ns, lambda: self._unanswered(number, words, sent=False))
            return
        trip = world.network.trip(world.now_ns, command.call.method)
        self._under_way[number] = own, trip
        headers = {"content-type": "application/json"}
        headers |= self._signer.sign(command.call, ROOT, command.expires_s)
        path = ROOT + command.call.path
        body = command.call.body
        request = http_request(number, command.call.method, path, headers, body, OUR_PEER)
        if trip.up_ns is not None:
            world.later(trip.up_ns, lambda: world.request_arrived(request))
        if trip.cut_ns is not None:
            words = "the connection broke"
            world.later(trip.cut_ns, lambda: self._unanswered(number, words, sent=True))
        wait_ns = waiting.answer_by_ns - now_ns
        words_late = f"no answer within {wait_ns / SECOND_NS:.3g} s"
        world.later(wait_ns, lambda: self._unanswered(number, words_late, sent=True))

    def _unanswered(self, number: int, words: str, *, sent: bool) -> None:
        known = self._under_way.pop(number, None)
        if known is not None and not self._broken:
            self._process.deliver(Unanswered(known[0], sent, words))
            self._start_waiting()

    # --- the websocket

    def open(self, conn: int, within_ns: int) -> None:
        world = self._world
        self._open[conn] = False
        world.later(within_ns, lambda: self._given_up(conn))
        if not world.network.reachable(world.now_ns):
            world.later(_REFUSED_AFTER_NS, lambda: self._refused(conn, 0, "no connection"))
            return
        line = self._lines[conn] = Line()
        world.later(world.network.delay_ns(), lambda: self._connect(conn, line))

    def _connect(self, conn: int, line: Line) -> None:
        if self._broken:
            return
        world = self._world
        # The login on the upgrade is signed with our own clock.
        headers = self._signer.login(SOCKET, world.at().wall_ns // SECOND_NS + 5)
        world.upgrade_arrived(self._outside(conn), SOCKET, headers, OUR_PEER)

    def _given_up(self, conn: int) -> None:
        if self._open.get(conn) is False:
            self._leave_line(conn)
            self._refused(conn, 0, "no connection in time")

    def close(self, conn: int) -> bool:
        """Drop it; True when it was there."""
        if self._open.pop(conn, None) is None:
            return False
        self._leave_line(conn)
        return True

    def say(self, conn: int, payload: bytes) -> None:
        line = self._lines.get(conn)
        if conn not in self._open or line is None:
            return
        world = self._world
        due_ns = line.up(world.now_ns, world.network.delay_ns())
        if due_ns is not None:
            number = self._outside(conn)
            world.at_ns(due_ns, lambda: world.frame_arrived(number, payload.decode()))

    def lines(self) -> list[Line]:
        """The connections that stand."""
        return list(self._lines.values())

    def cut(self) -> bool:
        """Both ends see the websocket break; False when there is none."""
        conns = [conn for conn in self._open if conn in self._lines]
        for conn in conns:
            self._leave_line(conn)
            del self._open[conn]
            self._process.deliver(StreamClosed(conn, 1006, "the connection broke"))
        return bool(conns)

    def go_dark(self) -> None:
        """Nothing travels any more, and neither side is told (the machine sleeps, the power is
        off); what the venue sent before still lies in our buffers.
        """
        for number, (own, _) in list(self._under_way.items()):
            self._under_way[number] = own, Trip(None, None)
        for line in self._lines.values():
            line.dead = True

    def _leave_line(self, conn: int) -> None:
        """Our end is closed; the venue's hears of it, late where the connection is dead."""
        line = self._lines.pop(conn, None)
        if line is None:
            return
        world = self._world
        number = self._outside(conn)
        due_ns = line.up(world.now_ns, world.network.delay_ns())
        due_ns = world.now_ns + _NOTICED_AFTER_NS if due_ns is None else due_ns
        world.at_ns(due_ns, lambda: world.hung_up(number))

    def break_all(self) -> None:
        """The process is gone; what it had sent still travels."""
        self._broken = True
        for conn in list(self._lines):
            self._leave_line(conn)
        self._open.clear()
        self._under_way.clear()

    # --- what the venue did

    def route(self, effect: Effect) -> None:
        """One effect leaves the venue for this process."""
        world = self._world
        if isinstance(effect, (Answer, NoAnswer, HangUp)):
            known = self._under_way.get(effect.request_id)
            if known is not None and known[1].down_ns is not None:
                world.later(known[1].down_ns, lambda: self._heard(effect))
            return
        line = self._lines.get(effect.conn % EPOCH_SPAN)
        if line is not None:
            due_ns = line.down(world.now_ns, world.network.delay_ns())
            if due_ns is not None:
                world.at_ns(due_ns, lambda: self._heard(effect))

    def _heard(self, effect: Effect) -> None:
        if self._broken:
            return
        match effect:
            case Push(conn, text):
                own = conn % EPOCH_SPAN
                if self._open.get(own):
                    self._process.deliver(FrameReceived(own, text.encode()))
            case Answer():
                known = self._under_way.pop(effect.request_id, None)
                if known is not None:
                    body = effect.body.replace(self._secret, REDACTED.encode())
                    headers = _lowered(dict(effect.headers))
                    self._process.deliver(Answered(known[0], effect.status, headers, body))
                    self._start_waiting()
            case NoAnswer() | Pong():
                pass
            case HangUp():
                self._unanswered(effect.request_id, "the connection broke", sent=True)
            case Accept():
                own = effect.conn % EPOCH_SPAN
                if own in self._open:
                    self._open[own] = True
                    self._process.deliver(StreamOpened(own))
            case RefuseUpgrade():
                own, headers = effect.conn % EPOCH_SPAN, _lowered(dict(effect.headers))
                detail = effect.body.decode()
                self._refused(own, effect.status, detail, headers.get("retry-after"))
            case Close():
                own = effect.conn % EPOCH_SPAN
                if self._open.pop(own, None) is not None:
                    self._lines.pop(own, None)
                    self._process.deliver(StreamClosed(own, effect.code, effect.reason))

    def _refused(self, conn: int, status: int, detail: str, retry_after: str | None = None) -> None:
        if self._open.pop(conn, None) is not None and not self._broken:
            self._lines.pop(conn, None)
            self._process.deliver(StreamRefused(conn, status, detail, retry_after))

    def _outside(self, number: int) -> int:
        return self._process.epoch * EPOCH_SPAN + number


def http_request(
    number: int, method: str, path: str, headers: dict[str, str], body: bytes, peer: str
) -> HttpRequest:
    return HttpRequest(
        request_id=number, method=method, raw_path=path, headers=headers, body=body, peer=peer
    )


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    low = {name.lower(): value for name, value in headers.items()}
    return {n: v for n, v in low.items() if n in _KEPT_HEADERS or n.startswith("x-ratelimit-")}
