"""`chappie why`: what keeps the bot from trading, since when, and what would open it."""

import argparse
import contextlib
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from chappie.cli import asking, gates, settings
from chappie.cli.asking import NobodyError
from chappie.cli.gates import Gate
from chappie.cli.settings import ConfigProblem, Settings
from chappie.cli.status import latched
from chappie.cli.view import ago
from chappie.guardian import last_stop
from chappie.guardian.instance import guardian_is_there, trader_is_there
from chappie.guardian.shown import Shown
from chappie.model.state import Mode

_NOT_RUNNING = 1


class _Answer(msgspec.Struct, frozen=True):
    """The body of ``--json``."""

    mode: Mode
    gates: list[Gate]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print mode and gates as JSON")


def run(args: argparse.Namespace) -> int:
    """0 with the gates of what runs; 1 when nothing runs; 64 for the configuration."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    state_dir = Path(chosen.config.state.dir)
    now = datetime.now(UTC)
    try:
        shown = msgspec.json.decode(asking.state(state_dir), type=Shown)
    except (NobodyError, msgspec.MsgspecError) as error:
        print(error, file=sys.stderr)
        _say(_of_silence(str(error), chosen, state_dir), now, as_json=args.json)
        return _NOT_RUNNING
    found = _Answer(shown.mode, gates.of_instance(shown, chosen.config))
    _say(found, now, as_json=args.json)
    return 0


def _of_silence(words: str, chosen: Settings, state_dir: Path) -> _Answer:
    stop = last_stop.read(state_dir)
    with contextlib.suppress(OSError):
        if guardian_is_there(state_dir) or trader_is_there(state_dir):
            # Of whoever runs now, the stop before tells nothing.
            stop = None
    found = gates.of_silence(words, stop, latched(state_dir), chosen.config)
    return _Answer(Mode.STOPPED, found)


def _say(answer: _Answer, now: datetime, *, as_json: bool) -> None:
    dated = [_dated(gate, now) for gate in answer.gates]
    if as_json:
        print(msgspec.json.encode(msgspec.structs.replace(answer, gates=dated)).decode())
        return
    print(gates.headline(dated, answer.mode))
    for gate in dated:
        _print(gate)


def _dated(gate: Gate, now: datetime) -> Gate:
    """With the moment at which it shut, where only its age was told."""
    if gate.since or gate.since_s is None:
        return gate
    at = now - timedelta(seconds=gate.since_s)
    since = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return msgspec.structs.replace(gate, since=since)


def _print(gate: Gate) -> None:
    if not gate.shut:
        print(f"  open  {gate.gate}: {gate.why}")
        return
    print(f"  SHUT  {gate.gate}" + (f": {gate.why}" if gate.why else ""))
    lines = []
    if gate.since:
        age = f" ({ago(gate.since_s)})" if gate.since_s is not None else ""
        lines.append(f"since {gate.since}{age}")
    if gate.opens:
        lines.append(f"opens: {gate.opens}")
    if gate.allows:
        lines.append(f"meanwhile: {gate.allows}")
    if gate.ends:
        lines.append(gate.ends)
    for line in lines:
        print(f"        {line}")
