"""`chappie status`: what the running instance of a state folder does and knows."""

import argparse
import http.client
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

from chappie.cli import settings
from chappie.cli.settings import ConfigProblem, Settings
from chappie.cli.view import picture, signed
from chappie.guardian import last_stop
from chappie.guardian.instance import Run, read_run
from chappie.guardian.shown import Setting, Shown, TraderState, merge

_ANSWER_WITHIN_S = 3.0
_BODY_BYTES_MAX = 4 << 20
_ROWS = 100
"""Enough for every order and fault: nothing is cut for want of height."""
_NOT_RUNNING = 1


class _NobodyError(Exception):
    """Nobody answers for this state folder; the message is the line for the operator."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the body of /api/state")


def run(args: argparse.Namespace) -> int:
    """0 with the picture; 1 when nothing runs, with the last stop; 64 for the configuration."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    state_dir = Path(chosen.config.state.dir)
    try:
        body = _ask(state_dir)
        shown = msgspec.json.decode(body, type=Shown)
    except (_NobodyError, msgspec.MsgspecError) as error:
        print(error, file=sys.stderr)
        _show_stopped(chosen, state_dir, as_json=args.json)
        return _NOT_RUNNING
    if args.json:
        print(body.decode())
    else:
        _draw(shown)
    return 0


def _ask(state_dir: Path) -> bytes:
    """The body of `/api/state`. Raises `_NobodyError`."""
    run = read_run(state_dir)
    if run is None or not run.is_alive:
        raise _NobodyError(f"nothing runs in {state_dir}")
    if run.operator is None:
        raise _NobodyError(
            f"a trader runs alone in {state_dir} (pid {run.pid}): "
            f"it serves no state; see {state_dir / 'trader.log'}"
        )
    try:
        status, body = _get(run.operator, "/api/state")
    except (OSError, http.client.HTTPException) as error:
        raise _NobodyError(_silence(run, str(error) or type(error).__name__)) from error
    if status != 200:
        raise _NobodyError(_silence(run, f"status {status}"))
    return body


def _get(url: str, path: str) -> tuple[int, bytes]:
    """A plain request to loopback, past any proxy that the environment names."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=_ANSWER_WITHIN_S
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_BODY_BYTES_MAX)
    finally:
        connection.close()


def _silence(run: Run, why: str) -> str:
    return f"the guardian (pid {run.pid}) does not answer at {run.operator}: {why}"


def _show_stopped(chosen: Settings, state_dir: Path, *, as_json: bool) -> None:
    """The last stop, and for programs the same body as ever, with mode stopped."""
    stop = last_stop.read(state_dir)
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
        print(msgspec.json.encode(stopped).decode())
    elif stop is not None:
        known = "" if stop.known else ", not verified"
        print(
            f"last stop: {stop.reason} (code {stop.code}) at {stop.at}: {stop.detail}; "
            f"position {signed(stop.position)}, {len(stop.orders)} working orders{known}"
        )


def _draw(shown: Shown) -> None:
    console = Console()
    console.print(picture(shown, console.width, _ROWS))
