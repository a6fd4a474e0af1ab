"""What can go wrong in a night: one row per kind, each ends by itself or with `Night.heal`.

A seed takes a random part of the rows, and how often they strike. The table in
`docs/simulation.md` is generated from `KINDS`.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from chappie.model.units import MILLISECOND_NS, SECOND_NS
from chappie.simulation.network import Line, Spoil

if TYPE_CHECKING:
    from chappie.simulation.night import Night

PRIVATE = ("order", "execution", "position", "margin")
MARKET = ("quote", "orderBookL2", "trade", "instrument")
_READS = ("/order", "/execution/tradeHistory", "/position")


Strike: TypeAlias = Callable[["Night", Random], None]


class FaultKind(msgspec.Struct, frozen=True):
    """One row. ``share`` is how often a seed that took the kind draws it, against the others.

    ``strike`` makes it happen now. A kind counts as fired only when it really struck something.
    """

    name: str
    what: str
    undone: str
    strike: Strike
    share: float = 1.0


def _ms(chance: Random, low: int, high: int) -> int:
    return chance.randint(low, high)


# --- the network


def _requests(kind: str) -> Strike:
    def strike(night: "Night", chance: Random) -> None:
        until_ns = night.now_ns + _ms(chance, 500, 12_000) * MILLISECOND_NS
        method = chance.choice((None, "POST", "POST", "DELETE", "GET"))
        night.network.spoil(Spoil(kind, until_ns, chance.choice((0.3, 0.7, 1.0)), method))

    return strike


def _stream_break(night: "Night", chance: Random) -> None:
    if night.process is not None and night.process.alive and night.process.sockets.cut():
        night.fired()


def _stream_stall(night: "Night", chance: Random) -> None:
    for line in _lines(night):
        line.stalled_ns = night.now_ns + _ms(chance, 200, 9_000) * MILLISECOND_NS
        night.fired()


def _stream_half_open(night: "Night", chance: Random) -> None:
    for line in _lines(night):
        line.dead = True
        night.fired()


def _unreachable(night: "Night", chance: Random) -> None:
    _stream_break(night, chance)
    until_ns = night.now_ns + _ms(chance, 1_000, 40_000) * MILLISECOND_NS
    night.network.unreachable_until_ns = until_ns


def _lines(night: "Night") -> list[Line]:
    process = night.process
    return process.sockets.lines() if process is not None and process.alive else []


# --- the venue


def _venue(
    fault: str,
    low_ms: int,
    high_ms: int,
    *,
    tables: tuple[str, ...] = (),
    values: tuple[str, ...] = (),
    status: int | None = None,
    text: str | None = None,
    delay_ms: tuple[int, int] | None = None,
    probability: tuple[float, ...] = (1.0,),
    route: str | None = None,
    method: str | None = None,
    executes: bool = False,
    count: int | None = None,
) -> Strike:
    """One of the venue's own faults, for a random time."""

    def strike(night: "Night", chance: Random) -> None:
        fields: dict[str, object] = {
            "for_ms": _ms(chance, low_ms, high_ms),
            "probability": chance.choice(probability),
            "status": status,
            "text": text,
            "route": route,
            "method": method,
            "executes": executes,
            "count": count,
        }
        if tables:
            fields["table"] = chance.choice(tables)
        if values:
            fields["value"] = chance.choice(values)
        if delay_ms is not None:
            fields["ms"] = _ms(chance, *delay_ms)
        night.arm_fault(fault, **fields)

    return strike


def _falling_behind(night: "Night", chance: Random) -> None:
    """The delay grows in steps and shrinks again; no frame overtakes another."""
    step_ms, every_ms = _ms(chance, 50, 900), _ms(chance, 250, 3_000)
    for count, size in enumerate((*range(1, 11), *range(9, 0, -1))):
        after_ns = count * every_ms * MILLISECOND_NS
        night.arm_fault_later(after_ns, "delay", ms=size * step_ms, for_ms=every_ms)


def _cut(night: "Night", chance: Random) -> None:
    if night.venue.streams.sessions:
        night.fired()
        night.arm_fault(chance.choice(("cut", "close")))


def _at_a_new_connection(fault: str, low_ms: int, high_ms: int, **fields: object) -> Strike:
    """A fault that shows only where we connect anew: half of the time it is made so."""

    def strike(night: "Night", chance: Random) -> None:
        night.arm_fault(fault, for_ms=_ms(chance, low_ms, high_ms), **fields)
        if chance.random() < 0.5:
            _stream_break(night, chance)

    return strike


def _withheld(night: "Night", chance: Random) -> None:
    night.arm_fault("withhold_partial", table=chance.choice((*PRIVATE, *MARKET)), count=1)
    _stream_break(night, chance)


def _lie(fault: str) -> Strike:
    """One read lies, once: two in a row that agree with each other nobody could see through."""

    def strike(night: "Night", chance: Random) -> None:
        if night.lies_until_ns > night.now_ns:
            return
        night.lies_until_ns = night.now_ns + 30 * SECOND_NS
        night.arm_fault(fault, method="GET", route=chance.choice(_READS), count=1, for_ms=15_000)

    return strike


def _skew(night: "Night", chance: Random) -> None:
    # A clock that is far behind takes requests longer than the fence allows for, so it may only
    # lag by what is tolerated; far ahead it refuses everything.
    ms = chance.choice((_ms(chance, -800, 800), _ms(chance, 1_500, 30_000)))
    night.fired()
    night.arm_fault("skew_clock", ms=ms, for_ms=_ms(chance, 2_000, 40_000))


def _closed(night: "Night", chance: Random) -> None:
    night.fired()
    night.arm_fault("instrument_state", value="Closed", for_ms=_ms(chance, 1_000, 20_000))


def _liquidation(night: "Night", chance: Random) -> None:
    night.hand.ruin(chance)


# --- process, machine, disk


def _kill(night: "Night", chance: Random) -> None:
    if night.process is not None and night.process.alive:
        night.fired()
        night.process.doom = chance.randrange(12)


def _kill_amid_order(night: "Night", chance: Random) -> None:
    if night.process is not None and night.process.alive:
        night.process.doomed_amid_order = True


def _power_loss(night: "Night", chance: Random) -> None:
    night.supervisor.lose_power(chance)


def _hang(night: "Night", chance: Random) -> None:
    night.supervisor.hang(_ms(chance, 300, 9_000) * MILLISECOND_NS)


def _suspend(night: "Night", chance: Random) -> None:
    night.supervisor.suspend(_ms(chance, 60, 1_800) * SECOND_NS)


def _wall_jump(night: "Night", chance: Random) -> None:
    jump_ns = chance.choice((-1, 1)) * _ms(chance, 300, 60_000) * MILLISECOND_NS
    night.fired()
    night.wall_offset_ns += jump_ns

    def back() -> None:
        night.wall_offset_ns = 0

    night.later(_ms(chance, 500, 30_000) * MILLISECOND_NS, back)


def _operator(night: "Night", chance: Random) -> None:
    night.supervisor.ask_to_stop("a restart")


def _halt(flatten: bool) -> Strike:
    def strike(night: "Night", chance: Random) -> None:
        process = night.process
        if process is None or not process.alive or night.disk.latch is not None:
            return
        night.fired()
        if chance.random() < 0.5:
            night.supervisor.halt(flatten)
        else:
            delay_ns = _ms(chance, 0, 40) * MILLISECOND_NS
            night.supervisor.halt_amid_order(delay_ns, flatten)

    return strike


def _disk_full(night: "Night", chance: Random) -> None:
    night.disk.full = True


KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        "request_lost",
        "requests never arrive and are never answered",
        "after 0.5 to 12 s",
        _requests("request_lost"),
    ),
    FaultKind(
        "request_late",
        "requests arrive up to 8 s late, often after their expiry",
        "after 0.5 to 12 s",
        _requests("request_late"),
    ),
    FaultKind(
        "answer_lost",
        "requests are carried out and their answer is lost",
        "after 0.5 to 12 s",
        _requests("answer_lost"),
    ),
    FaultKind(
        "answer_late",
        "answers come up to 8 s late, often after we gave up",
        "after 0.5 to 12 s",
        _requests("answer_late"),
    ),
    FaultKind(
        "request_cut",
        "the connection of a request breaks; every other one arrives all the same",
        "after 0.5 to 12 s",
        _requests("request_cut"),
    ),
    FaultKind(
        "stream_break",
        "the websocket breaks, and both sides see it",
        "a new connection",
        _stream_break,
    ),
    FaultKind(
        "stream_stall",
        "the websocket stands still and then delivers all at once",
        "after 0.2 to 9 s",
        _stream_stall,
    ),
    FaultKind(
        "stream_half_open",
        "the websocket is dead and neither side is told",
        "a new connection",
        _stream_half_open,
        0.5,
    ),
    FaultKind(
        "unreachable", "every connection is refused (maintenance)", "after 1 to 40 s", _unreachable
    ),
    FaultKind(
        "mute_table",
        "one table of the stream falls silent",
        "after 1 to 40 s",
        _venue("mute_table", 1_000, 40_000, tables=(*PRIVATE, *MARKET)),
        2.0,
    ),
    FaultKind(
        "mute_all",
        "all tables fall silent on an open socket",
        "after 1 to 25 s",
        _venue("mute_all", 1_000, 25_000),
        0.5,
    ),
    FaultKind(
        "drop",
        "single frames of one table are lost",
        "after 1 to 30 s",
        _venue("drop", 1_000, 30_000, tables=(*PRIVATE, *MARKET), probability=(0.2, 0.6)),
        2.0,
    ),
    FaultKind(
        "duplicate",
        "frames of one table come twice",
        "after 1 to 30 s",
        _venue("duplicate", 1_000, 30_000, tables=(*PRIVATE, *MARKET)),
    ),
    FaultKind(
        "frames_late",
        "frames leave up to 4 s late, in order",
        "after 1 to 15 s",
        _venue("delay", 1_000, 15_000, delay_ms=(50, 4_000)),
    ),
    FaultKind(
        "feed_lags",
        "every frame leaves later than the one before, up to 9 s late; then they catch up",
        "after 5 to 60 s",
        _falling_behind,
        0.5,
    ),
    FaultKind(
        "image_withheld",
        "the image of one table never comes after a reconnect",
        "the next subscription",
        _withheld,
    ),
    FaultKind(
        "early_changes",
        "changes come before the image",
        "after 1 to 60 s",
        _at_a_new_connection("early_deltas", 1_000, 60_000),
    ),
    FaultKind(
        "book_corrupt",
        "a change of the book is wrong",
        "after one change",
        _venue("corrupt_book", 1_000, 5_000, values=("unknown_id", "crossed", "negative"), count=1),
    ),
    FaultKind(
        "frame_truncated",
        "half a frame of one table is sent",
        "after one frame",
        _venue("truncated_json", 1_000, 10_000, tables=(*PRIVATE, *MARKET), count=1),
        0.5,
    ),
    FaultKind(
        "unknown_word",
        "a frame holds a word that nobody knows",
        "after one frame",
        _venue("unknown_enum", 1_000, 10_000, tables=PRIVATE, count=1),
        0.5,
    ),
    FaultKind("venue_cut", "the venue cuts or closes the websocket", "a new connection", _cut),
    FaultKind(
        "upgrade_refused",
        "websockets are not let in (503)",
        "after 1 to 15 s",
        _at_a_new_connection("refuse_upgrade", 1_000, 15_000, status=503),
        0.5,
    ),
    FaultKind(
        "overload",
        "order entry is shed with the documented 503",
        "after 0.5 to 20 s",
        _venue("overload_503", 500, 20_000, probability=(0.5, 1.0)),
    ),
    FaultKind(
        "throttle",
        "requests are refused as over budget (429)",
        "after 0.2 to 4 s",
        _venue("throttle_429", 200, 4_000, delay_ms=(1_000, 3_000), probability=(0.5, 1.0)),
    ),
    FaultKind(
        "error_before",
        "requests fail with 500 and were not carried out",
        "after 0.2 to 10 s",
        _venue("error_500", 200, 10_000, probability=(0.3, 1.0)),
    ),
    FaultKind(
        "error_after",
        "requests fail with 502 and were carried out",
        "after 0.2 to 10 s",
        _venue("error_502", 200, 10_000, probability=(0.3, 1.0), executes=True),
    ),
    FaultKind(
        "answer_truncated",
        "half an answer is sent",
        "after 0.2 to 6 s",
        _venue("truncated_json", 200, 6_000, probability=(0.3, 1.0), route="/order"),
    ),
    FaultKind(
        "refusal",
        "orders are refused (400)",
        "after 0.2 to 10 s",
        _venue(
            "refuse",
            200,
            10_000,
            status=400,
            text="Account has insufficient Available Balance, 1 XBt required",
            route="/order",
            method="POST",
            probability=(0.5, 1.0),
        ),
    ),
    FaultKind(
        "queue",
        "requests wait up to 0.9 s for the engine after their expiry was checked",
        "after 0.5 to 10 s",
        _venue("queue", 500, 10_000, delay_ms=(50, 900)),
    ),
    FaultKind(
        "stale_read", "a read shows what it showed the time before", "once", _lie("stale_read"), 2.0
    ),
    FaultKind("empty_read", "a read shows no rows", "once", _lie("empty_read"), 2.0),
    FaultKind("cut_read", "a read shows half of its rows", "once", _lie("cut_read"), 2.0),
    FaultKind(
        "ban",
        "every request is answered with the page for banned addresses",
        "a person, when the process has stopped",
        _venue("ban_403", 60_000, 600_000),
        0.1,
    ),
    FaultKind(
        "closed_market",
        "the contract is not open for trading",
        "after 1 to 20 s",
        _closed,
        0.5,
    ),
    FaultKind(
        "clock_skew",
        "the venue's clock is ahead by up to 30 s, or off by less than one",
        "after 2 to 40 s",
        _skew,
    ),
    FaultKind(
        "liquidation",
        "the account's money is gone, its position is liquidated",
        "a deposit; a person resumes and starts the bot",
        _liquidation,
        0.3,
    ),
    FaultKind(
        "hand_rests",
        "another hand's orders rest on the account",
        "the hand cancels them after 1 to 60 s",
        lambda night, chance: night.hand.rest(chance),
    ),
    FaultKind(
        "hand_cancels",
        "another hand cancels our orders",
        "at once",
        lambda night, chance: night.hand.cancel_ours(chance),
    ),
    FaultKind(
        "hand_fills",
        "another hand trades, and the position moves under us",
        "the hand trades back, before or after we stopped",
        lambda night, chance: night.hand.trade(chance),
        0.2,
    ),
    FaultKind("kill", "the process is killed within its next acts", "a restart", _kill),
    FaultKind(
        "kill_amid_order",
        "the process is killed amid the commands of a step that sends an order",
        "a restart",
        _kill_amid_order,
        1.5,
    ),
    FaultKind(
        "power_loss",
        "the machine dies: sockets without a word, the journal's tail, a torn kept record",
        "a boot after 5 to 60 s",
        _power_loss,
        0.4,
    ),
    FaultKind(
        "hang",
        "no step for up to 9 s; past the heartbeat's patience it is killed",
        "by itself, or a restart",
        _hang,
    ),
    FaultKind("suspend", "the machine sleeps for up to half an hour", "it wakes", _suspend, 0.08),
    FaultKind(
        "wall_jump",
        "the machine's wall clock is wrong by up to a minute",
        "after 0.5 to 30 s",
        _wall_jump,
        0.5,
    ),
    FaultKind(
        "operator_restart", "somebody stops the bot and starts it again", "a start", _operator, 0.5
    ),
    FaultKind(
        "halt",
        "the operator halts the bot, half of the time while an order is on its way",
        "a person resumes after 10 to 60 s",
        _halt(flatten=False),
        0.4,
    ),
    FaultKind(
        "halt_flatten",
        "the same, and its position is to be closed",
        "a person resumes after 10 to 60 s",
        _halt(flatten=True),
        0.4,
    ),
    FaultKind(
        "disk_full",
        "the disk takes no further record",
        "a person, when it stopped",
        _disk_full,
        0.2,
    ),
)

BY_NAME = {kind.name: kind for kind in KINDS}
