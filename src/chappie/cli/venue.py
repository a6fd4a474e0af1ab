"""`chappie venue`: the simulated venue as a server on loopback, for tests and for practice.

It prints its urls and the demo account's key and secret once, on standard output; nothing else
learns the secret.
"""

import argparse
import asyncio
import contextlib
import math
import os
import sys

import msgspec

from chappie.simvenue.crowd import DEFAULT_RATE, RATE_MAX, RATE_MIN
from chappie.simvenue.options import VenueOptions
from chappie.simvenue.server import Ready, serve
from chappie.simvenue.store import StoreError
from chappie.simvenue.tapefile import TapeError

_USAGE = 64


class _ReadyLine(msgspec.Struct):
    """What a process that started the venue reads on its ready pipe: one line of JSON."""

    rest_url: str
    ws_url: str
    key: str
    secret: str


class _FailedLine(msgspec.Struct):
    """What it reads there instead, when the venue cannot be started."""

    failed: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=_port, default=0, metavar="N", help="port on 127.0.0.1 (0: any free one)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of the synthetic market"
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        metavar="X",
        help=f"market events a second of the synthetic market (default: {DEFAULT_RATE:g})",
    )
    parser.add_argument(
        "--tape", metavar="FILE", help="replay a recorded capture instead of the synthetic market"
    )
    parser.add_argument(
        "--speed",
        type=_positive,
        default=1.0,
        metavar="X",
        help="speed of the tape (1: as recorded)",
    )
    parser.add_argument(
        "--state", metavar="DIR", help="keep accounts and the demo key there between runs"
    )
    parser.add_argument(
        "--lifeline-fd",
        type=int,
        metavar="N",
        help="inherited descriptor: end when its other side is closed",
    )
    parser.add_argument(
        "--ready-fd",
        type=int,
        metavar="N",
        help="inherited descriptor: write one line of JSON there once it listens",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM, SIGINT or the end of the lifeline; 64 when it cannot be started."""
    options = VenueOptions(
        port=args.port,
        seed=args.seed,
        rate=args.rate,
        tape=args.tape,
        speed=args.speed,
        state_dir=args.state,
        lifeline_fd=args.lifeline_fd,
    )

    ready_fd: int | None = args.ready_fd

    def ready(venue: Ready) -> None:
        nonlocal ready_fd
        _tell(venue, ready_fd)
        # Closed by now; its number may soon be another file's.
        ready_fd = None

    try:
        asyncio.run(serve(options, ready))
    except KeyboardInterrupt:
        # Ctrl-C before the server took the signal over: an end like any other.
        return 0
    # A taken port, a tape that is none, a state folder that cannot be read or is not a venue's.
    except (OSError, TapeError, StoreError) as error:
        # Who reads the pipe may be gone, and the log may be on the very disk that is full.
        with contextlib.suppress(OSError):
            _say(ready_fd, _FailedLine(str(error)))
        with contextlib.suppress(OSError):
            print(f"chappie venue: {error}", file=sys.stderr, flush=True)
        return _USAGE
    return 0


def _say(ready_fd: int | None, line: _ReadyLine | _FailedLine) -> None:
    if ready_fd is not None:
        os.write(ready_fd, msgspec.json.encode(line) + b"\n")
        os.close(ready_fd)


def _tell(venue: Ready, ready_fd: int | None) -> None:
    account = venue.accounts[0]
    _say(ready_fd, _ReadyLine(venue.rest_url, venue.ws_url, account.api_key, account.secret))
    # Whoever started it may have closed standard output; the venue serves all the same.
    with contextlib.suppress(OSError):
        print(f"REST       {venue.rest_url}")
        print(f"websocket  {venue.ws_url}")
        print(f"control    {venue.control_url}")
        print(f"key        {account.api_key}")
        print(f"secret     {account.secret}", flush=True)


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return number


def _rate(text: str) -> float:
    rate = _positive(text)
    if not RATE_MIN <= rate <= RATE_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not a rate ({RATE_MIN:g} to {RATE_MAX:g})")
    return rate


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number
