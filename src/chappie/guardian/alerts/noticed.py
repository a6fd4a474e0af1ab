"""What is worth an alert in the picture of the moment, seen by comparing it with the last one.

Pure: what was seen before is a value.
"""

import msgspec

from chappie.guardian.alerts.happenings import (
    FaultActive,
    ForeignOrders,
    Halted,
    Happening,
    RenewalMissed,
    RunsAgain,
)
from chappie.guardian.shown import READY, Shown
from chappie.model.faults import Fault
from chappie.model.state import FaultState, Mode

LASTS_S = 60.0
"""How long a fault may keep the bot from trading before a person hears of it."""
_AT_ONCE = (
    Fault.POSITION_DISAGREES.value,
    Fault.LIQUIDATED.value,
    Fault.LIMIT_HALTED.value,
    Fault.LIMIT_REACHED.value,
)
# Each has an alert of its own.
_TOLD_OTHERWISE = (Fault.HALT_LATCHED.value, Fault.OPERATOR_STOP.value)


class Seen(msgspec.Struct, frozen=True):
    """What was told already and has not ended since."""

    halted: bool = False
    down: bool = False
    missed: bool = False
    faults: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def noticed(seen: Seen, shown: Shown) -> tuple[Seen, list[Happening]]:
    """What is new in this picture, and what to compare the next one with."""
    found: list[Happening] = []
    # A trader that is down says nothing of now; what it said last is neither new nor over.
    if shown.mode is Mode.STOPPED:
        return msgspec.structs.replace(seen, down=shown.trader.last_stop is not None), found
    halt = next((f for f in shown.faults if f.fault == Fault.HALT_LATCHED.value), None)
    halted = shown.mode is Mode.HALTED and halt is not None
    if halt is not None and halted and not seen.halted:
        found.append(Halted(halt.detail))
    back = seen.down and shown.mode in READY and shown.last_reconcile.clean is True
    if back:
        found.append(RunsAgain())
    missed_since = shown.dead_man.missed_since
    if missed_since is not None and not seen.missed:
        found.append(RenewalMissed(missed_since))
    foreign = tuple(order.order_id for order in shown.foreign_orders)
    if any(order_id not in seen.foreign for order_id in foreign):
        found.append(ForeignOrders(foreign))
    lasting = [fault for fault in shown.faults if _lasts(fault)]
    for fault in lasting:
        if fault.fault not in seen.faults:
            found.append(
                FaultActive(fault.fault, fault.subject, fault.detail, fault.clears, fault.since_s)
            )
    return (
        Seen(
            halted=halted,
            down=seen.down and not back,
            missed=missed_since is not None,
            faults=tuple(fault.fault for fault in lasting),
            foreign=foreign,
        ),
        # Several subjects of one fault are one alert.
        _each_fault_once(found),
    )


def _lasts(fault: FaultState) -> bool:
    if fault.fault in _TOLD_OTHERWISE:
        return False
    return fault.fault in _AT_ONCE or fault.since_s >= LASTS_S


def _each_fault_once(found: list[Happening]) -> list[Happening]:
    told: list[str] = []
    kept: list[Happening] = []
    for what in found:
        if isinstance(what, FaultActive):
            if what.fault in told:
                continue
            told.append(what.fault)
        kept.append(what)
    return kept
