"""`chappie doctor`: looks at everything that a start needs, and says what to do about it."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chappie.cli import asking, credentials, doctor_here, doctor_venue, settings
from chappie.cli.asking import SilentError
from chappie.cli.doctor_here import Memory
from chappie.cli.doctor_venue import Account
from chappie.cli.embedded import EmbeddedVenue
from chappie.cli.findings import Finding, Verdict, fail, ok, skipped, warning
from chappie.cli.settings import ConfigProblem, Settings
from chappie.guardian.instance import Run, guardian_is_there, read_run, trader_is_there
from chappie.guardian.shown import Shown, faults_in_words
from chappie.guardian.venue import VenueFailedError
from chappie.live.log import printable

_FAILED = 1
_ANSWER_WITHIN_S = 3.0
_BESIDE = "an instance runs: its connections and its request budget are left alone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--switch",
        action="store_true",
        help="also arm the dead man's switch and take it off again: it is the whole account's, so "
        "only where no order of anybody rests and no other program trades",
    )


def run(args: argparse.Namespace) -> int:
    """0 without a FAIL, 1 with one, 64 for a configuration that cannot run."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
        given, doubts = credentials.load(os.environ)
    except ConfigProblem as problem:
        if args.json:
            _print_json([fail("configuration", str(problem), "mend it: nothing starts like this")])
        else:
            print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    findings = _examine(chosen, given, doubts, switch=args.switch)
    if args.json:
        _print_json(findings)
    else:
        _print(findings)
    return _FAILED if _any_fails(findings) else 0


def _examine(
    chosen: Settings,
    given: credentials.Credentials | None,
    doubts: tuple[str, ...],
    *,
    switch: bool,
) -> list[Finding]:
    state_dir = Path(chosen.config.state.dir)
    running = _somebody_runs(state_dir)
    run = read_run(state_dir) if running else None
    key = given.key if given is not None and not chosen.embeds_venue else None
    found = doctor_here.configuration(chosen)
    found.append(_credentials(chosen, given))
    found += [warning("credentials", words, "chmod 600 that file") for words in doubts]
    found.append(doctor_here.alerts(chosen))
    found.append(doctor_here.operator_port(chosen, run))
    found.append(doctor_here.state_folder(chosen, key))
    found.append(doctor_here.disk(chosen))
    found.append(doctor_here.halt(state_dir))
    found.append(doctor_here.before(state_dir))
    found.append(doctor_here.machine_clock())
    if running:
        return [*found, *_beside(run, switch)]
    memory = doctor_here.remember(state_dir)
    found.append(doctor_here.in_doubt(memory))
    return [*found, *_at_the_venue(chosen, given, state_dir, memory, switch)]


def _somebody_runs(state_dir: Path) -> bool:
    try:
        return guardian_is_there(state_dir) or trader_is_there(state_dir)
    except OSError:
        # No folder, or one that we may not read: the state folder's own line says so.
        return False


def _credentials(chosen: Settings, given: credentials.Credentials | None) -> Finding:
    if chosen.embeds_venue:
        return ok("credentials", "none needed: the embedded venue makes its own")
    if given is None:
        return fail(
            "credentials",
            "CHAPPIE_API_KEY and CHAPPIE_API_SECRET are missing",
            "set both, each also as a file with _FILE appended to the name",
        )
    return ok("credentials", "key and secret are there")


def _at_the_venue(
    chosen: Settings,
    given: credentials.Credentials | None,
    state_dir: Path,
    memory: Memory,
    switch: bool,
) -> list[Finding]:
    """What only the venue can tell. It is not asked before the time that it named."""
    waits = memory.waits
    if waits is not None:
        until = datetime.fromtimestamp(waits.until_wall_ns / 1e9, UTC).isoformat(timespec="seconds")
        why = "this address is banned" if waits.banned else "the venue asked us to wait"
        return [fail("venue", f"not asked before {until}: {why}", "wait; each request prolongs it")]
    if given is None and not chosen.embeds_venue:
        return [skipped("venue", "not asked: there are no credentials")]
    try:
        with _account(chosen, given, state_dir) as there:
            return doctor_venue.look(there, state_dir, memory, switch=switch)
    except (VenueFailedError, OSError) as error:
        return [fail("venue", str(error), "look at <state.dir>/venue/venue.log")]


@contextlib.contextmanager
def _account(
    chosen: Settings, given: credentials.Credentials | None, state_dir: Path
) -> Iterator[Account]:
    """The account that a start would trade. One that the embedded venue would make at the first
    start is made in a folder that is gone afterwards.
    """
    if not chosen.embeds_venue:
        assert given is not None
        yield Account(chosen.config, given.key, given.secret)
        return
    with contextlib.ExitStack() as stack:
        home = state_dir
        if not (state_dir / "venue" / "demo.key").exists():
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chappie-doctor-")))
        venue = EmbeddedVenue(home)
        stack.callback(venue.stop)
        venue.ensure()
        there = chosen.having(settings.EMBEDDED, venue.urls())
        yield Account(there.config, venue.key, venue.secret)


def _beside(run: Run | None, switch: bool) -> list[Finding]:
    """What the running instance says of itself; nobody else is asked."""
    found = [skipped("venue", _BESIDE)]
    if switch:
        words = "not tried beside a running instance: it would take its switch off"
        found.append(fail("switch", words, "end the instance, then try again"))
    if run is None or run.operator is None:
        words = "a trader runs alone and serves no state"
        return [*found, skipped("instance", words, "its log is <state.dir>/trader.log")]
    try:
        status, body = asking.get(run, "/api/state", _ANSWER_WITHIN_S)
        shown = msgspec.json.decode(body, type=Shown)
    except (SilentError, msgspec.MsgspecError) as error:
        return [*found, fail("instance", str(error), "see <state.dir>/guardian.log")]
    if status != 200:
        return [*found, fail("instance", f"status {status}", "see <state.dir>/guardian.log")]
    return [*found, _instance(shown), _instance_budget(shown), _instance_orders(shown)]


def _instance(shown: Shown) -> Finding:
    faults = faults_in_words(shown)
    words = f"mode is {shown.mode.value}" + (f": {'; '.join(faults)}" if faults else "")
    if faults or shown.halt is not None:
        return warning("instance", words, "chappie why says what would open it")
    return ok("instance", words)


def _instance_budget(shown: Shown) -> Finding:
    budget = shown.rate_limit
    if budget.remaining is None:
        return skipped("request budget", "the trader does not know it yet")
    words = f"{budget.remaining} of {budget.limit} requests left, as the trader says"
    if budget.locked:
        return warning("request budget", words, "nothing: it unlocks by itself")
    return ok("request budget", words)


def _instance_orders(shown: Shown) -> Finding:
    words = f"{len(shown.orders)} of ours, {len(shown.foreign_orders)} of others"
    if shown.foreign_orders:
        advice = "keep others off this account: the dead man's switch takes their orders too"
        return warning("orders", words, advice)
    return ok("orders", words)


def _any_fails(findings: list[Finding]) -> bool:
    return any(finding.verdict is Verdict.FAIL for finding in findings)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        print(f"{finding.verdict.value:<8} {finding.check:<{width}}  {finding.found}")
        if finding.advice:
            print(f"{'':<8} {'':<{width}}  → {printable(finding.advice)}")


def _print_json(findings: list[Finding]) -> None:
    body = {"ok": not _any_fails(findings), "findings": findings}
    print(msgspec.json.encode(body).decode())
