"""`chappie simulate`: nights in which a seed breaks what it can, and what they came to."""

import argparse
import os
import re
import sys

from chappie.simulation.campaign import Report, campaign
from chappie.simulation.night import HOURS, Result, night

_USAGE = 64
_SEEDS = re.compile(r"(\d+)\.\.(\d+)")
_HOURS_MAX = 24.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--seeds", metavar="A..B", help="run the nights of these seeds, both included"
    )
    what.add_argument("--replay", metavar="SEED", help="run one night again and show what happened")
    parser.add_argument(
        "--hours", default=repr(HOURS), help="virtual hours of each night (default: ten minutes)"
    )
    parser.add_argument("--jobs", help="processes to run at once (default: one per core)")
    parser.add_argument("--verbose", action="store_true", help="with --replay, every event")


def run(args: argparse.Namespace) -> int:
    try:
        hours = _hours(args.hours)
        if args.replay is not None:
            return _replay(_whole("--replay", args.replay), hours, args.verbose)
        jobs = os.cpu_count() or 1
        if args.jobs is not None:
            jobs = _whole("--jobs", args.jobs)
            if jobs < 1:
                raise ValueError("--jobs: a whole number from 1 on")
        return _campaign(_seeds(args.seeds), hours, jobs)
    except ValueError as wrong:
        sys.stderr.write(f"chappie simulate: {wrong}\n")
        return _USAGE


def _campaign(seeds: range, hours: float, jobs: int) -> int:
    for done in campaign(seeds, hours, jobs):
        if isinstance(done, Report):
            sys.stdout.write("".join(f"{line}\n" for line in done.lines()))
            return 0 if done.passed else 1
        if done.violations:
            sys.stdout.write(_failure(done, hours))
            sys.stdout.flush()
    raise AssertionError("a campaign ends with its report")


def _replay(seed: int, hours: float, verbose: bool) -> int:
    result = night(seed, hours, verbose=verbose)
    sys.stdout.write("".join(f"{line}\n" for line in result.trace))
    if result.violations:
        sys.stdout.write(_failure(result, hours))
        return 1
    sys.stdout.write(
        f"seed {seed}: all invariants hold; {result.orders} orders, {result.fills} fills, "
        f"calm after {result.calm_s:.1f} s, digest {result.digest:016x}\n"
    )
    return 0


def _failure(result: Result, hours: float) -> str:
    """One line for each violation, and the line that shows it again."""
    again = f"chappie simulate --replay {result.seed}"
    if hours != HOURS:
        again += f" --hours {hours!r}"
    lines = [
        f"FAILED at {one.at_s:.3f} s: {one.invariant}: {one.words.splitlines()[0]}: {again}\n"
        for one in result.violations
    ]
    return "".join(lines)


def _seeds(text: str) -> range:
    found = _SEEDS.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"--seeds: {text!r} is no range such as 1..200, the smaller number first")
    return range(int(found[1]), int(found[2]) + 1)


def _whole(flag: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise ValueError(f"{flag}: {text!r} is no whole number")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0.0 < hours <= _HOURS_MAX:
        raise ValueError(f"--hours: {text!r} is no number of hours above 0, at most {_HOURS_MAX:g}")
    return hours
