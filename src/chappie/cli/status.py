"""`chappie status`: what the running instance of a state folder does and knows."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from chappie.cli import asking, settings
from chappie.cli.asking import NobodyError
from chappie.cli.settings import ConfigProblem, Settings
from chappie.cli.view import picture, signed
from chappie.guardian import last_stop
from chappie.guardian.shown import HaltState, Setting, Shown, TraderState, merge
from chappie.live import latch
from chappie.live.log import printable

_ROWS = 100
"""Enough for every order and fault: nothing is cut for want of height."""
_NOT_RUNNING = 1
_NOT_READY = 1
_PROBES = {"live": "/healthz", "ready": "/readyz"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the body of /api/state")
    parser.add_argument(
        "--probe",
        choices=("live", "ready"),
        help="for health probes: 0 when the guardian is alive, or when the trader is ready",
    )


def run(args: argparse.Namespace) -> int:
    """0 with the picture; 1 when nothing runs, with the last stop; 64 for the configuration."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    state_dir = Path(chosen.config.state.dir)
    if args.probe is not None:
        return _probe(state_dir, _PROBES[args.probe])
    try:
        body = asking.state(state_dir)
        shown = msgspec.json.decode(body, type=Shown)
    except (NobodyError, msgspec.MsgspecError) as error:
        print(error, file=sys.stderr)
        _show_stopped(chosen, state_dir, as_json=args.json)
        return _NOT_RUNNING
    if args.json:
        print(body.decode())
    else:
        _draw(shown)
        print("what is shut, and what would open it: chappie why")
    return 0


def _probe(state_dir: Path, path: str) -> int:
    """0 for an answer of 200; what was answered is printed either way."""
    try:
        status, body = asking.ask(state_dir, path)
    except NobodyError as error:
        print(error, file=sys.stderr)
        return _NOT_RUNNING
    print(printable(body.decode(errors="replace").strip()))
    return 0 if status == 200 else _NOT_READY


def _show_stopped(chosen: Settings, state_dir: Path, *, as_json: bool) -> None:
    """The last stop and the halt, and for programs the same body as ever, with mode stopped."""
    stop = last_stop.read(state_dir)
    halt = latched(state_dir)
    if as_json:
        config = chosen.config
        setting = Setting(
            config.bot.allow_trade,
            config.bot.policy,
            config.venue.kind,
            config.venue.symbol,
            chosen.hash(),
        )
        stopped = merge(setting, None, 0.0, running=False, trader=TraderState(last_stop=stop))
        print(msgspec.json.encode(msgspec.structs.replace(stopped, halt=halt)).decode())
        return
    if stop is not None:
        known = "" if stop.known else ", not verified"
        print(
            f"last stop: {stop.reason} (code {stop.code}) at {stop.at}: {stop.detail}; "
            f"position {signed(stop.position)}, {len(stop.orders)} working orders{known}"
        )
    if halt is not None:
        _tell_of(halt)
    print("what it takes to trade again: chappie why")


def _draw(shown: Shown) -> None:
    console = Console()
    console.print(picture(shown, console.width, _ROWS))
    if shown.halt is not None:
        _tell_of(shown.halt)


def latched(state_dir: Path) -> HaltState | None:
    """The halt on disk, as the guardian would show it."""
    found = latch.read(state_dir)
    if found is None:
        return None
    since = datetime.fromtimestamp(found.mtime_ns / 1e9, UTC)
    return HaltState(found.words, since.isoformat(timespec="seconds").replace("+00:00", "Z"))


def _tell_of(halt: HaltState) -> None:
    print(f"halted since {halt.since}: {printable(halt.reason)}")
    print("nothing is traded until somebody runs: chappie resume --reason TEXT")
