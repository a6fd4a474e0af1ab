"""`chappie whatif`: what happens when something breaks, with the times of this configuration."""

import argparse
import os
import sys
import textwrap

import msgspec

from chappie.cli import settings
from chappie.cli.consequences import WHAT_IF, WhatIf, keys_of, with_keys
from chappie.cli.keys import KEYS
from chappie.cli.settings import ConfigProblem, Settings

_WIDTH = 100
_LABEL = 10
_LABELS = ("notices", "within", "orders", "you")


class _Row(msgspec.Struct, frozen=True):
    """A row of ``--json``: the words, and each key that they name with its value."""

    happens: str
    notices: str
    within: str
    orders: str
    do: str
    values: dict[str, object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument(
        "about", nargs="?", default="", help="only the rows in which this word stands, such as disk"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(args: argparse.Namespace) -> int:
    """0 with the rows; 1 when none is about that; 64 for the configuration."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    rows = [row for row in WHAT_IF if args.about.lower() in " ".join(row.cells).lower()]
    if not rows:
        happenings = "; ".join(row.happens for row in WHAT_IF)
        print(
            f"nothing is known about {args.about!r:.60}; there are: {happenings}", file=sys.stderr
        )
        return 1
    values = _values(chosen)
    if args.json:
        print(msgspec.json.encode([_as_json(row, values) for row in rows]).decode())
        return 0
    print("\n\n".join(_as_text(row, values) for row in rows))
    return 0


def with_defaults(text: str) -> str:
    """As the documentation shows it: each key with its default."""
    return with_keys(text, lambda key: f"`{key}` ({_spelled(key, KEYS[key].default)})")


def _values(chosen: Settings) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in KEYS:
        value: object = chosen.config
        for name in key.split("."):
            value = getattr(value, name)
        found[key] = value
    return found


def _spelled(key: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g} s" if key.endswith("_s") else f"{value:g}"
    return str(value)


def _filled(text: str, values: dict[str, object]) -> str:
    return with_keys(text, lambda key: f"{_spelled(key, values[key])} ({key})").replace("`", "")


def _as_text(row: WhatIf, values: dict[str, object]) -> str:
    happens, *rest = (_filled(cell, values) for cell in row.cells)
    lines = [happens]
    for label, cell in zip(_LABELS, rest, strict=True):
        wrapped = textwrap.wrap(cell, _WIDTH - _LABEL, break_on_hyphens=False)
        lines += [f"  {label:<{_LABEL - 2}}{wrapped[0]}"]
        lines += [" " * _LABEL + line for line in wrapped[1:]]
    return "\n".join(lines)


def _as_json(row: WhatIf, values: dict[str, object]) -> _Row:
    happens, notices, within, orders, do = (_filled(cell, values) for cell in row.cells)
    keys = [key for cell in row.cells for key in keys_of(cell)]
    return _Row(happens, notices, within, orders, do, {key: values[key] for key in keys})
