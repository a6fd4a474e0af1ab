"""What can be made to go wrong at the venue: one row per fault, switched at run time.

A fault is armed with filters (account, connection, table, symbol, route, method), a number of
uses, a probability and an end; the places of the venue that can fail ask `take` whether theirs
is to fail now. The rows come from protocol sections 4 and 9: what really happened to people.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from enum import Enum

import msgspec

from chappie.simvenue.envelopes import OVERLOADED, Json
from chappie.simvenue.options import MILLISECOND_NS, SECOND_NS
from chappie.simvenue.stamps import stamp

FAULTS_MAX = 256
"""So many can be armed at once; past it arming is refused."""

STRUCK_MAX = 10_000
"""So many strikes are remembered for whoever counts them."""


class Place(Enum):
    """Where a fault acts."""

    REQUEST = "request"
    """Before the engine sees a request."""
    ANSWER = "answer"
    """After the engine has dealt with it."""
    UPGRADE = "upgrade"
    """A websocket that wants in."""
    COMMAND = "command"
    """A command of a websocket client."""
    FRAME = "frame"
    """Frames on their way out."""
    STANDING = "standing"
    """A state of the venue for as long as it is armed."""
    ONCE = "once"
    """Something done at once when it is armed."""


class Kind(msgspec.Struct, frozen=True):
    """One row of the table of faults."""

    name: str
    places: tuple[Place, ...]
    what: str


def _kind(name: str, what: str, *places: Place) -> Kind:
    return Kind(name, places, what)


KINDS: tuple[Kind, ...] = (
    _kind("mute_all", "no table frame reaches anybody; sockets and pongs live on", Place.FRAME),
    _kind("mute_table", "no frame of one table (`table`) is sent", Place.FRAME),
    _kind("mute_pongs", "neither `ping` nor ping frames are answered", Place.COMMAND),
    _kind("drop", "table frames are lost", Place.FRAME),
    _kind("delay", "frames leave `ms` late, in order", Place.FRAME),
    _kind("duplicate", "table frames are sent twice", Place.FRAME),
    _kind("withhold_partial", "the image never comes, changes do", Place.FRAME),
    _kind("early_deltas", "changes may come before the image", Place.FRAME),
    _kind(
        "corrupt_book",
        "an orderBookL2 change is made wrong; `value` is unknown_id, crossed or negative",
        Place.FRAME,
    ),
    _kind("unknown_enum", "text columns that hold an enumeration hold a new word", Place.FRAME),
    _kind("truncated_json", "half of the text is sent", Place.FRAME, Place.ANSWER),
    _kind("unknown_table", "a frame of a table nobody knows is sent now", Place.ONCE),
    _kind("huge_partial", "an image of 10 MiB is sent now (`table`, else orderBookL2)", Place.ONCE),
    _kind("cut", "websockets are cut now, without a closing frame", Place.ONCE),
    _kind("close", "websockets are closed now, with the code `status`", Place.ONCE),
    _kind("drain_budget", "what is left of the account's minute is taken now", Place.ONCE),
    _kind(
        "refuse_subscription", "a subscription is refused with `status` and `text`", Place.COMMAND
    ),
    _kind(
        "refuse_login",
        "a good login is refused with `status` and `text`",
        Place.REQUEST,
        Place.UPGRADE,
        Place.COMMAND,
    ),
    _kind("refuse_upgrade", "a websocket is not let in: `status`, 429 if not given", Place.UPGRADE),
    _kind("silent_login", "a login on an open websocket is never answered", Place.COMMAND),
    _kind(
        "hang_up",
        "the connection is cut without an answer; with `executes` after the engine "
        "did what was asked; a websocket is cut during its upgrade",
        Place.REQUEST,
        Place.ANSWER,
        Place.UPGRADE,
    ),
    _kind("close_on_login", "the websocket is cut when it logs in", Place.COMMAND),
    _kind(
        "lose_request", "the request never reaches the engine and is never answered", Place.REQUEST
    ),
    _kind(
        "delay_request", "the request arrives `ms` late; its expiry is checked then", Place.REQUEST
    ),
    _kind("queue", "the request is checked in time and waits `ms` for the engine", Place.REQUEST),
    _kind("refuse", "refused with `status` (400) and `text`", Place.REQUEST),
    _kind(
        "accept_then_timeout",
        "the engine does what was asked, the answer never comes",
        Place.ANSWER,
    ),
    _kind(
        "delay_answer", "the engine does what was asked, the answer leaves `ms` late", Place.ANSWER
    ),
    _kind("slow", "the engine is `ms` late and so is every frame", Place.REQUEST, Place.FRAME),
    _kind("overload_503", "order entry is shed with the real body; cancels are not", Place.REQUEST),
    _kind(
        "error_500",
        "an internal error; with `executes` after the engine did it",
        Place.REQUEST,
        Place.ANSWER,
    ),
    _kind(
        "error_502",
        "the page of a bad gateway; with `executes` after the engine did it",
        Place.REQUEST,
        Place.ANSWER,
    ),
    _kind(
        "throttle_429",
        "refused as over budget; retry after `ms`, one second if not given",
        Place.REQUEST,
        Place.COMMAND,
    ),
    _kind("ban_403", "the load balancer's page for banned addresses", Place.REQUEST, Place.UPGRADE),
    _kind("skew_clock", "the venue's clock is `ms` ahead (or behind, if negative)", Place.STANDING),
    _kind("stale_read", "a read shows what the same read showed the time before", Place.ANSWER),
    _kind("empty_read", "a read shows no rows, with status 200", Place.ANSWER),
    _kind("cut_read", "a read shows the first half of its rows, with status 200", Place.ANSWER),
    _kind("omit_ratelimit_headers", "answers carry no x-ratelimit headers", Place.ANSWER),
    _kind(
        "instrument_state",
        "the contract is in the state `value`; not Open refuses orders",
        Place.STANDING,
    ),
)

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}

ENUM_COLUMNS = ("ordStatus", "execType", "state", "tickDirection", "ordType", "posState")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One armed fault: which, for whom, how often, and with what values."""

    fault: str
    account: int | None = None
    conn: int | None = None
    table: str | None = None
    symbol: str | None = None
    route: str | None = None
    """The path below /api/v1, such as `/order`."""
    method: str | None = None
    count: int | None = None
    """So many uses; none means until it is cleared."""
    skip: int = 0
    """Leave the first so many chances alone."""
    probability: float = 1.0
    for_ms: int | None = None
    """It clears itself after this long."""
    ms: int = 0
    status: int | None = None
    text: str | None = None
    value: str | None = None
    executes: bool = False
    """Whether the engine does what was asked before the failure shows."""

    @property
    def delay_ns(self) -> int:
        """The length of a delay."""
        return self.ms * MILLISECOND_NS


class FaultError(Exception):
    """A fault that cannot be armed as it was asked for."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances that the filters of a fault are held against."""

    account: int | None = None
    conn: int | None = None
    table: str | None = None
    symbol: str | None = None
    route: str | None = None
    method: str | None = None


class _Armed:
    """A fault with what is left of it."""

    def __init__(self, number: int, fault: Fault, at_ns: int) -> None:
        self.number = number
        self.fault = fault
        self.armed_ns = at_ns
        self.left = fault.count
        self.skip = fault.skip
        self.used = 0
        self.ends_ns = None if fault.for_ms is None else at_ns + fault.for_ms * MILLISECOND_NS


class Faults:
    """The armed faults of one venue, in the order in which they were armed."""

    def __init__(self, seed: int) -> None:
        # Numbers of faults that struck since somebody last emptied this, in that order.
        self.struck: deque[int] = deque(maxlen=STRUCK_MAX)
        self._armed: list[_Armed] = []
        self._numbers = 0
        self._random = random.Random(seed)

    def arm(self, at_ns: int, fault: Fault) -> int:
        """Arm a fault; its number clears it again."""
        if fault.fault not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise FaultError(f"unknown fault {fault.fault!r}; known are {known}")
        if not 0.0 <= fault.probability <= 1.0:
            raise FaultError("probability must lie between 0 and 1")
        self._forget_ended(at_ns)
        if len(self._armed) >= FAULTS_MAX:
            raise FaultError(f"{FAULTS_MAX} faults are armed already; clear some first")
        self._numbers += 1
        if Place.ONCE not in BY_NAME[fault.fault].places:
            self._armed.append(_Armed(self._numbers, fault, at_ns))
        return self._numbers

    def clear(self, *, number: int | None = None, name: str | None = None) -> int:
        """Clear one fault by number, all of one name, or all; how many is returned."""
        before = len(self._armed)
        self._armed = [
            armed
            for armed in self._armed
            if (number is not None and armed.number != number)
            or (name is not None and armed.fault.fault != name)
        ]
        return before - len(self._armed)

    def take(
        self, at_ns: int, name: str, scene: Scene, executes: bool | None = None
    ) -> Fault | None:
        """The first armed fault of this name that acts here now; this counts as one use.

        `executes` chooses between faults that strike before and after the engine.
        """
        for armed in self._armed:
            fault = armed.fault
            if fault.fault != name or not _matches(fault, scene):
                continue
            if executes is not None and fault.executes != executes:
                continue
            if armed.ends_ns is not None and at_ns >= armed.ends_ns:
                continue
            if armed.left == 0:
                continue
            if armed.skip > 0:
                armed.skip -= 1
                continue
            if fault.probability < 1.0 and self._random.random() >= fault.probability:
                continue
            if armed.left is not None:
                armed.left -= 1
            armed.used += 1
            self.struck.append(armed.number)
            return fault
        return None

    def standing(self, at_ns: int, name: str) -> Sequence[Fault]:
        """Every armed fault of this name, without counting a use."""
        return [
            armed.fault
            for armed in self._armed
            if armed.fault.fault == name and (armed.ends_ns is None or at_ns < armed.ends_ns)
        ]

    def armed(self, name: str) -> bool:
        """Whether any fault of this name is there at all; a cheap first question."""
        return any(armed.fault.fault == name for armed in self._armed)

    def __bool__(self) -> bool:
        return bool(self._armed)

    def state(self, at_ns: int) -> list[dict[str, Json]]:
        """What is armed, for the control route."""
        self._forget_ended(at_ns)
        return [
            {
                "number": armed.number,
                "used": armed.used,
                "left": armed.left,
                "armedAt": stamp(armed.armed_ns),
                **msgspec.to_builtins(armed.fault),
            }
            for armed in self._armed
        ]

    def _forget_ended(self, at_ns: int) -> None:
        self._armed = [
            armed
            for armed in self._armed
            if armed.left != 0 and (armed.ends_ns is None or at_ns < armed.ends_ns)
        ]


def _matches(fault: Fault, scene: Scene) -> bool:
    return (
        (fault.account is None or fault.account == scene.account)
        and (fault.conn is None or fault.conn == scene.conn)
        and (fault.table is None or fault.table == scene.table)
        and (fault.symbol is None or fault.symbol == scene.symbol)
        and (fault.route is None or fault.route.removeprefix("/api/v1") == scene.route)
        and (fault.method is None or fault.method.upper() == scene.method)
    )


def describe() -> list[dict[str, Json]]:
    """The table of faults, for the control route and for people."""
    return [
        {"fault": kind.name, "what": kind.what, "places": [place.value for place in kind.places]}
        for kind in KINDS
    ]


_SHED = (
    ("POST", "/order"), ("PUT", "/order"), ("POST", "/order/closePosition"),
    ("POST", "/position/isolate"), ("POST", "/position/leverage"),
    ("POST", "/position/riskLimit"), ("POST", "/position/transferMargin"),
)  # fmt: skip


def is_shed(fault: Fault, method: str, route: str, closes_all: bool) -> bool:
    """Whether an overload sheds this request (protocol section 4).

    Cancels and a Close without a quantity never are; other routes only if the fault names them.
    """
    if method == "DELETE" or (route == "/order" and method == "POST" and closes_all):
        return False
    return (method, route) in _SHED or fault.route is not None


def overload_body() -> Json:
    """The one 503 that promises that the request did not reach the engine."""
    return {"error": {"message": OVERLOADED, "name": "HTTPError"}}


def corrupted(rows: Sequence[dict[str, Json]], how: str | None) -> list[dict[str, Json]]:
    """Book changes made wrong: an id nobody knows, a price through the book, a negative size."""
    spoiled = [dict(row) for row in rows]
    if not spoiled:
        return spoiled
    row = spoiled[0]
    if how == "negative":
        row["size"] = -abs(int(row.get("size") or 100))
    elif how == "crossed":
        price = float(row.get("price") or 1.0)
        row["price"] = round(price * (1.5 if row.get("side") == "Buy" else 0.5), 1)
    else:
        row["id"] = int(row["id"]) + 900_000_000_000
    return spoiled


def renamed(rows: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
    """Rows whose enumerations hold a word that no client knows yet."""
    return [
        {name: ("Novel" if name in ENUM_COLUMNS else value) for name, value in row.items()}
        for row in rows
    ]


def retry_after_s(fault: Fault) -> int:
    """The wait that a 429 by fault asks for."""
    return max(1, -(-fault.delay_ns // SECOND_NS))
