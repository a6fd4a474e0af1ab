#!/usr/bin/env python3
"""Writes the tables of the documentation from the code that they describe.

    python scripts/tables.py            rewrite what stands between the marks
    python scripts/tables.py --check    write nothing; fail when a table is stale

A table stands in a file of docs/ between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from chappie.cli import whatif  # noqa: E402  the path to it is set above
from chappie.cli.consequences import HEAD, WHAT_IF  # noqa: E402
from chappie.core.gate import Denial  # noqa: E402
from chappie.guardian.operator.metrics import METRICS  # noqa: E402
from chappie.model.faults import FAULTS, After, FaultRow, Posture, StopReason  # noqa: E402
from chappie.model.reports import Outcome, WireRefusal  # noqa: E402
from chappie.simulation.faults import KINDS  # noqa: E402
from chappie.simulation.invariants import INVARIANTS  # noqa: E402
from chappie.venues.bitmex.texts import OVERLOADED, refusal  # noqa: E402
from scripts import order_tables  # noqa: E402
from tests.docs.controls import CONTROLS  # noqa: E402
from tests.docs.shown_by import SHOWN_BY  # noqa: E402
from tests.failures.table import FAILURES  # noqa: E402
from tests.simulation.sabotages import SABOTAGES  # noqa: E402

_REGION = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OPENING = re.compile(r"<!-- table: ")

_EXPIRED = "This request has expired - `expires` is in the past. Current time: 1574621316"


class StaleError(Exception):
    """A page whose marks cannot be understood."""


def wire_refusals() -> str:
    rows = [(f"`{why.name.lower()}`", why.value) for why in WireRefusal]
    return _table(("refusal", "what the message was"), rows)


def outcomes() -> str:
    rows = [(f"`{kind.__name__}`", _first_sentence(kind)) for kind in get_args(Outcome)]
    return _table(("outcome", "what it proves"), rows)


# Answers other than 200: (status, what the body says, the body).
_ANSWERS: tuple[tuple[int, str, bytes], ...] = (
    (400, "`Invalid price tickSize`, or any text not named below", b"Invalid price tickSize"),
    (400, "`This request has expired …`", _EXPIRED.encode()),
    (400, "`Invalid API Key.`, `Signature not valid.` and their like", b"Invalid API Key."),
    (400, "no error envelope", b""),
    (401, "anything", b"Invalid API Key."),
    (403, "`Access Denied`, `Account is restricted`", b"Access Denied"),
    (403, "an HTML page: this address is banned", b""),
    (404, "`Not Found`", b"Not Found"),
    (404, "no error envelope", b""),
    (429, "anything; `retry-after` is honoured", b"Rate limit exceeded, retry in 1 seconds."),
    (500, "anything", b"Server Error"),
    (502, "anything", b""),
    (503, f"exactly `{OVERLOADED}`", OVERLOADED.encode()),
    (503, "anything else", b"Service unavailable"),
    (504, "anything", b""),
)


def error_outcomes() -> str:
    rows = [(str(status), said, f"`{kind}`") for status, said, kind in _proven()]
    return _table(("status", "body", "outcome"), rows)


def _proven() -> list[tuple[int, str, str]]:
    """Each answer other than 200 with the outcome that the dialect makes of it."""
    proven = []
    for status, said, text in _ANSWERS:
        body = b'{"error":{"message":"%s","name":"HTTPError"}}' % text if text else b"<html>"
        proven.append((status, said, type(refusal(status, {}, body)).__name__))
    return proven


def order_answers() -> str:
    sources: dict[str, list[str]] = {
        "OrderAnswered": ["200"],
        "NeverSent": ["no byte left this machine"],
    }
    for status, _, kind in _proven():
        known = sources.setdefault(kind, [])
        if str(status) not in known:
            known.append(str(status))
    sources["Unknown"].append("no answer, or half of one")
    return _table(*order_tables.answers(sources))


def faults() -> str:
    rows = []
    for fault, row in FAULTS.items():
        when = (
            row.after.value if row.after in (After.NEVER, After.AT_ONCE) else f"`{row.after.value}`"
        )
        rows.append(
            (
                f"`{fault.value}`",
                row.posture.name.lower().replace("_", " "),
                "yes" if row.decides else "no",
                _resting(row),
                row.clears + (" (latches)" if row.latches else ""),
                when,
                "–" if row.stop is None else f"`{row.stop.word}`",
            )
        )
    head = (
        "fault",
        "posture",
        "policy asked",
        "resting orders",
        "what clears it",
        "stops the process",
        "with reason",
    )
    return _table(head, rows)


def _resting(row: FaultRow) -> str:
    if row.posture is Posture.REDUCE_ONLY:
        return "those that add exposure are cancelled"
    return "rest" if row.rests else "cancelled"


def denials() -> str:
    rows = [(f"`{denial.name.lower()}`", denial.value) for denial in Denial]
    return _table(("denial", "why the order was not allowed"), rows)


def stops() -> str:
    rows = []
    for reason in StopReason:
        causes = [f"`{fault.value}`" for fault, row in FAULTS.items() if row.stop is reason]
        rows.append(
            (
                str(reason.value),
                f"`{reason.word}`",
                ", ".join(causes) or "–",
                "yes" if reason.restarts else "no",
            )
        )
    return _table(("code", "reason", "faults that end in it", "restarted"), rows)


def night_faults() -> str:
    rows = [(f"`{kind.name}`", kind.what, kind.undone) for kind in KINDS]
    return _table(("kind", "what it does", "what ends it"), rows)


def metrics() -> str:
    rows = [
        (
            f"`{one.name}`",
            one.kind.value,
            one.unit,
            ", ".join(f"`{label}`" for label in one.labels) or "–",
            one.help,
        )
        for one in METRICS
    ]
    return _table(("metric", "kind", "unit", "labels", "what it says"), rows)


def invariants() -> str:
    rows = [(f"`{name}`", what) for name, what in INVARIANTS.items()]
    return _table(("invariant", "what must hold"), rows)


def sabotages() -> str:
    rows = []
    for one in SABOTAGES:
        by = ", ".join(f"`{name}`" for name in one.caught_by)
        if one.scene is not None:
            # As a sentence: the name of a test is one.
            by = one.scene.__name__.removeprefix("test_").replace("_", " ")
        rows.append((f"`{one.name}`", one.what, by))
    return _table(("break", "what is then so", "caught by the invariant, or the test"), rows)


def failures() -> str:
    rows = []
    for row in FAILURES:
        tests = "<br>".join(f"`{test}`" for test in row.tests)
        rule = row.rule if row.occurs else f"*Cannot occur.* {row.rule}"
        rows.append((str(row.number), row.failure, rule, tests))
    return _table(("", "what was reported", "our rule", "shown by"), rows)


def what_if() -> str:
    rows = []
    for row in WHAT_IF:
        tests = "<br>".join(f"`{test}`" for test in SHOWN_BY[row.happens])
        rows.append((*(whatif.with_defaults(cell) for cell in row.cells), tests))
    return _table((*HEAD, "shown by"), rows)


def controls() -> str:
    rows = [(row.id, row.rule, "<br>".join(f"`{test}`" for test in row.tests)) for row in CONTROLS]
    return _table(("", "what is done", "shown by"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "order-beliefs": lambda: _table(*order_tables.beliefs()),
    "order-words": lambda: _table(*order_tables.words()),
    "order-steps": lambda: _table(*order_tables.transitions()),
    "order-diagram": order_tables.diagram,
    "order-answers": order_answers,
    "position-states": lambda: _table(*order_tables.position_states()),
    "position-diagram": order_tables.position_diagram,
    "wire-refusals": wire_refusals,
    "outcomes": outcomes,
    "error-outcomes": error_outcomes,
    "faults": faults,
    "denials": denials,
    "stops": stops,
    "failures": failures,
    "controls": controls,
    "night-faults": night_faults,
    "invariants": invariants,
    "metrics": metrics,
    "sabotages": sabotages,
    "what-if": what_if,
}


def rewritten(page: str) -> str:
    """The page with every table as the code has it now; raises `StaleError` for wrong marks."""
    found = list(_REGION.finditer(page))
    if len(found) != len(_OPENING.findall(page)):
        raise StaleError("a table is opened and not ended")
    for match in found:
        if match[2] not in TABLES:
            raise StaleError(f"no table is named {match[2]!r}; there are {', '.join(TABLES)}")
    return _REGION.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", page)


def pages() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.md"))


def main(arguments: Sequence[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}\n")
        return 64
    stale = []
    shown: list[str] = []
    for path in pages():
        name = str(path.relative_to(ROOT))
        before = path.read_text(encoding="utf-8")
        try:
            after = rewritten(before)
        except StaleError as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 1
        shown += [match[2] for match in _REGION.finditer(after)]
        if after != before:
            stale.append(name)
            if not arguments:
                path.write_text(after, encoding="utf-8")
    missing = [name for name in TABLES if name not in shown]
    if missing:
        sys.stderr.write(f"no page shows: {', '.join(missing)}\n")
        return 1
    if stale and arguments:
        sys.stderr.write(f"stale: {', '.join(stale)}; run python scripts/tables.py\n")
        return 1
    return 0


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _first_sentence(kind: type) -> str:
    """The docstring's first sentence, on one line."""
    words = " ".join((kind.__doc__ or "").replace("``", "`").split())
    return words.partition(". ")[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
