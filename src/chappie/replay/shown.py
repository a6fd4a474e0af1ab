"""What of a replayed run can be shown, one line of words per happening: orders, faults, decisions.

Each watcher is made for one core and asked after each of its steps.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from chappie.core.core import Core
from chappie.model.commands import Keep, Log
from chappie.model.events import PolicyDecided, PolicyFailed
from chappie.model.records import Intent
from chappie.replay.replay import Step

Watcher: TypeAlias = Callable[[Step], Iterator[str]]

_NUMBER = re.compile(r"[0-9][0-9.]*")
_DENIED = ("order_denied", "would_be_order")


def orders(core: Core) -> Watcher:
    """Every line that the core logged about an order: asked, what the venue said, how it ended."""

    def watch(step: Step) -> Iterator[str]:
        for command in step.commands:
            if isinstance(command, Log) and not {"clOrdID", "orderID"}.isdisjoint(command.fields):
                yield _in_words(command)

    return watch


def faults(core: Core) -> Watcher:
    """Every fault as it is raised and cleared, by comparing what is active after each step."""
    known: dict[tuple[str, str], str] = {}

    def watch(step: Step) -> Iterator[str]:
        active = {(f.fault.value, f.subject): f.detail for f in core.faults.all()}
        for key in known:
            if key not in active:
                yield "cleared " + " ".join(filter(None, key))
        for key, detail in active.items():
            if key not in known:
                yield "raised  " + " ".join(filter(None, key)) + f": {detail}"
        known.clear()
        known.update(active)

    return watch


def decisions(core: Core) -> Watcher:
    """Every answer of the policy, and what became of it: an order, a denial, or why neither."""
    told: tuple[int, str] | None = None

    def watch(step: Step) -> Iterator[str]:
        nonlocal told
        match step.event:
            case PolicyDecided(decision=number, target=target, note=note):
                yield f"{number}: target {target:+d}" + (f" ({note})" if note else "")
            case PolicyFailed(decision=number, detail=detail):
                yield f"{number}: the policy failed: {detail}"
            case _:
                pass
        for command in step.commands:
            if isinstance(command, Keep) and isinstance(command.record, Intent):
                yield f"{command.record.decision}: sends {command.record.order.cl_ord_id}"
            elif isinstance(command, Log) and command.event in _DENIED:
                yield _in_words(command)
        decision = core.trading.decision
        if decision is not None and decision.outcome is not None:
            # Prices move with every look; the same outcome is told once.
            outcome = (decision.number, _NUMBER.sub("#", decision.outcome))
            if outcome != told:
                told = outcome
                yield f"{decision.number}: {decision.outcome}"

    return watch


SHOWN: dict[str, Callable[[Core], Watcher]] = {
    "orders": orders,
    "faults": faults,
    "decisions": decisions,
}


def _in_words(line: Log) -> str:
    fields = (f"{name}={value}" for name, value in line.fields.items() if value not in (None, ""))
    return " ".join((line.event.replace("_", " "), *fields))
