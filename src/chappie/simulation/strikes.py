"""How each fault of a night strikes: at the network, the venue, the process, machine and disk."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from chappie.model.units import MILLISECOND_NS, SECOND_NS
from chappie.simulation.network import Line, Spoil

if TYPE_CHECKING:
    from chappie.simulation.night import Night

PRIVATE = ("order", "execution", "position", "margin")
MARKET = ("quote", "orderBookL2", "trade", "instrument")
_READS = ("/order", "/execution/tradeHistory", "/position")

# Makes it happen now. What struck nothing must not say `Night.fired`.
Strike: TypeAlias = Callable[["Night", Random], None]


def _ms(chance: Random, low: int, high: int) -> int:
    return chance.randint(low, high)


# --- the network


def requests(kind: str) -> Strike:
    def strike(night: "Night", chance: Random) -> None:
        until_ns = night.now_ns + _ms(chance, 500, 12_000) * MILLISECOND_NS
        method = chance.choice((None, "POST", "POST", "DELETE", "GET"))
        night.network.spoil(Spoil(kind, until_ns, chance.choice((0.3, 0.7, 1.0)), method))

    return strike


def stream_break(night: "Night", chance: Random) -> None:
    if night.process is not None and night.process.alive and night.process.sockets.cut():
        night.fired()


def stream_stall(night: "Night", chance: Random) -> None:
    for line in _lines(night):
        line.stalled_ns = night.now_ns + _ms(chance, 200, 9_000) * MILLISECOND_NS
        night.fired()


def stream_half_open(night: "Night", chance: Random) -> None:
    for line in _lines(night):
        line.dead = True
        night.fired()


def unreachable(night: "Night", chance: Random) -> None:
    stream_break(night, chance)
    until_ns = night.now_ns + _ms(chance, 1_000, 40_000) * MILLISECOND_NS
    night.network.unreachable_until_ns = until_ns


def _lines(night: "Night") -> list[Line]:
    process = night.process
    return process.sockets.lines() if process is not None and process.alive else []


# --- the venue


def venue_fault(
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


def falling_behind(night: "Night", chance: Random) -> None:
    """The delay grows in steps and shrinks again; no frame overtakes another."""
    step_ms, every_ms = _ms(chance, 50, 900), _ms(chance, 250, 3_000)
    for count, size in enumerate((*range(1, 11), *range(9, 0, -1))):
        after_ns = count * every_ms * MILLISECOND_NS
        night.arm_fault_later(after_ns, "delay", ms=size * step_ms, for_ms=every_ms)


def venue_cut(night: "Night", chance: Random) -> None:
    if night.venue.streams.sessions:
        night.fired()
        night.arm_fault(chance.choice(("cut", "close")))


def at_a_new_connection(fault: str, low_ms: int, high_ms: int, **fields: object) -> Strike:
    """A fault that shows only where we connect anew: half of the time it is made so."""

    def strike(night: "Night", chance: Random) -> None:
        night.arm_fault(fault, for_ms=_ms(chance, low_ms, high_ms), **fields)
        if chance.random() < 0.5:
            stream_break(night, chance)

    return strike


def image_withheld(night: "Night", chance: Random) -> None:
    night.arm_fault("withhold_partial", table=chance.choice((*PRIVATE, *MARKET)), count=1)
    stream_break(night, chance)


def lie(fault: str) -> Strike:
    """One read lies, once: two in a row that agree with each other nobody could see through."""

    def strike(night: "Night", chance: Random) -> None:
        if night.lies_until_ns > night.now_ns:
            return
        night.lies_until_ns = night.now_ns + 30 * SECOND_NS
        night.arm_fault(fault, method="GET", route=chance.choice(_READS), count=1, for_ms=15_000)

    return strike


def clock_skew(night: "Night", chance: Random) -> None:
    # A clock that is far behind takes requests longer than the fence allows for, so it may only
    # lag by what is tolerated; far ahead it refuses everything.
    ms = chance.choice((_ms(chance, -800, 800), _ms(chance, 1_500, 30_000)))
    night.fired()
    night.arm_fault("skew_clock", ms=ms, for_ms=_ms(chance, 2_000, 40_000))


def closed_market(night: "Night", chance: Random) -> None:
    night.fired()
    night.arm_fault("instrument_state", value="Closed", for_ms=_ms(chance, 1_000, 20_000))


def liquidation(night: "Night", chance: Random) -> None:
    night.hand.ruin(chance)


# --- process, machine, disk


def kill(night: "Night", chance: Random) -> None:
    if night.process is not None and night.process.alive:
        night.fired()
        night.process.doom = chance.randrange(12)


def kill_amid_order(night: "Night", chance: Random) -> None:
    if night.process is not None and night.process.alive:
        night.process.doomed_amid_order = True


def power_loss(night: "Night", chance: Random) -> None:
    night.supervisor.lose_power(chance)


def hang(night: "Night", chance: Random) -> None:
    night.supervisor.hang(_ms(chance, 300, 9_000) * MILLISECOND_NS)


def suspend(night: "Night", chance: Random) -> None:
    night.supervisor.suspend(_ms(chance, 60, 1_800) * SECOND_NS)


def wall_jump(night: "Night", chance: Random) -> None:
    jump_ns = chance.choice((-1, 1)) * _ms(chance, 300, 60_000) * MILLISECOND_NS
    night.fired()
    night.wall_offset_ns += jump_ns

    def back() -> None:
        night.wall_offset_ns = 0

    night.later(_ms(chance, 500, 30_000) * MILLISECOND_NS, back)


def operator_restart(night: "Night", chance: Random) -> None:
    night.supervisor.ask_to_stop("a restart")


def halt(flatten: bool) -> Strike:
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


def disk_full(night: "Night", chance: Random) -> None:
    night.disk.full = True
