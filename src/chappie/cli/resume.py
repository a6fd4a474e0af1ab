"""`chappie resume`: the way out of a latched halt, and of a position that nothing explains."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from chappie.cli import account, asking, embedded, settings
from chappie.cli.account import Account
from chappie.cli.asking import SilentError
from chappie.cli.settings import ConfigProblem, Settings
from chappie.core.carried import carried
from chappie.guardian import last_stop
from chappie.guardian.instance import Lock, NotAloneError, Run, guardian_is_there, read_run
from chappie.guardian.shown import Shown
from chappie.guardian.venue import VenueFailedError
from chappie.guardian.waits import lift_ban
from chappie.guardian.ward import Resumed
from chappie.journal.framing import JournalError, failed
from chappie.journal.kept import KeptLog
from chappie.live import latch
from chappie.live.account_read import read_position
from chappie.live.log import Log, printable
from chappie.live.state_dir import OtherIdentityError, StateDir, StateTakenError
from chappie.model.faults import StopReason
from chappie.model.records import Adjusted
from chappie.model.reports import PositionRead
from chappie.model.units import Contracts

_NOT_DONE = 1
_REASON_MAX = 300
_RESUMED_WITHIN_S = 10.0
# Between the two reads of the position, so that both do not come from one stale copy.
_APART_S = 1.0


class _NotDoneError(Exception):
    """Nothing was changed; the message is the line for the operator."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument(
        "--reason", required=True, type=_reason, metavar="TEXT", help="why; it is kept for good"
    )
    parser.add_argument(
        "--accept-position",
        type=_contracts,
        metavar="N",
        help="take over a position that the ledger does not explain: N contracts, negative when "
        "short, as two reads at the venue must find it",
    )


def run(args: argparse.Namespace) -> int:
    """0 when it is done; 1 when not, with what stands in the way; 64 for the configuration."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
        state_dir = Path(chosen.config.state.dir)
        if guardian_is_there(state_dir):
            _through_guardian(chosen, state_dir, args.reason, args.accept_position)
        else:
            with _alone(state_dir) as state:
                _resume(chosen, state, args.reason, args.accept_position)
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    except (_NotDoneError, JournalError, VenueFailedError) as error:
        print(error, file=sys.stderr)
        return _NOT_DONE
    return 0


def _reason(text: str) -> str:
    if not text.strip() or len(text) > _REASON_MAX:
        raise argparse.ArgumentTypeError(f"accepted are 1 to {_REASON_MAX} characters")
    return text.strip()


def _contracts(text: str) -> int:
    if not text.removeprefix("-").removeprefix("+").isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: accepted is a whole number of contracts")
    return int(text)


def _through_guardian(chosen: Settings, path: Path, reason: str, accepted: int | None) -> None:
    """The position first, while no trader is there; the halt is the guardian's to end."""
    run = read_run(path)
    if run is None or run.operator is None:
        raise _NotDoneError(
            f"{path}: a guardian runs here, and run.json does not say where to ask it: end it, "
            "resume, and start it again"
        )
    try:
        if accepted is not None:
            _refuse_before_a_start(run)
            with _no_trader(path) as state:
                _accept(chosen, state, _file_log(state), reason, Contracts(accepted))
        status, body = asking.post(run, "/api/resume", {"reason": reason}, path, _RESUMED_WITHIN_S)
    except SilentError as error:
        raise _NotDoneError(
            f"{error}: nothing was resumed; end the guardian, resume, and start it again"
        ) from error
    if status not in (200, 409):
        raise _NotDoneError(f"the guardian refuses: {printable(body.decode()[:_REASON_MAX])}")
    resumed = msgspec.json.decode(body, type=Resumed)
    if not resumed.done:
        raise _NotDoneError(f"{path}: {printable(resumed.words)}")
    if resumed.halt is not None:
        print(f"the halt is cleared: {printable(resumed.halt)}")
    print(printable(resumed.words))


def _refuse_before_a_start(run: Run) -> None:
    """A trader that finds us in its folder would take us for another trader."""
    status, body = asking.get(run, "/api/state", _RESUMED_WITHIN_S)
    shown = msgspec.json.decode(body, type=Shown) if status == 200 else None
    if shown is None or shown.trader.next_start_s is not None:
        raise _NotDoneError(
            "a trader is started soon, so no position can be taken over now: halt first"
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[StateDir]:
    """The state folder, with nobody at work in it and nobody able to begin."""
    if not path.is_dir():
        raise _NotDoneError(f"{path}: there is no state folder here, so nothing to resume")
    guardian = Lock(path)
    try:
        guardian.take()
    except NotAloneError as error:
        raise _NotDoneError(f"{error}: it was started just now, so ask again") from None
    except OSError as error:
        raise failed(path, error) from error
    with contextlib.closing(guardian), _no_trader(path) as state:
        yield state


@contextlib.contextmanager
def _no_trader(path: Path) -> Iterator[StateDir]:
    """The state folder, with no trader in it for the length of the block."""
    try:
        state = StateDir(path)
    except StateTakenError:
        raise _NotDoneError(
            f"{path}: a trader runs in this state folder: end it, resume, and start it again"
        ) from None
    with contextlib.closing(state):
        yield state


def _resume(chosen: Settings, state: StateDir, reason: str, accepted: int | None) -> None:
    """First the position, then the latch: a halt ends only when all that was asked is done."""
    halt = latch.read(state.path)
    log = _file_log(state)
    if accepted is not None:
        _accept(chosen, state, log, reason, Contracts(accepted))
    if halt is not None:
        if not latch.clear(state.path, halt):
            raise _NotDoneError(
                f"{state.path}: another halt was latched meanwhile, and it stays: look at it, "
                "then resume again"
            )
        log.info("resumed", reason=reason, halt=halt.words)
        print(f"the halt is cleared: {printable(halt.words)}")
    elif lift_ban(state.kept_path, time.time_ns()):
        log.info("ban_lifted", reason=reason)
        print("the ban that was recorded is taken for lifted: the next start asks the venue again")
    elif accepted is None:
        print(f"no halt is latched in {state.path}: there is nothing to clear{_hint(state)}")
        return
    print("start it again with chappie up or chappie trade")


def _hint(state: StateDir) -> str:
    stop = last_stop.read(state.path)
    if stop is None or stop.reason != StopReason.POSITION_MISMATCH.word:
        return ""
    return (
        f"\nthe last stop was {stop.reason}: {printable(stop.detail)}\nif that position at the "
        "venue is right, take it over with --accept-position N"
    )


def _file_log(state: StateDir) -> Log:
    """The log in the state folder alone; what is meant for people is printed."""
    log = Log(fd=os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    log.attach(state.log_path)
    return log


# --- the position


def _accept(chosen: Settings, state: StateDir, log: Log, reason: str, accepted: Contracts) -> None:
    """Write down that the ledger goes on from a position that two reads agree on."""
    first, second, wall_ns = _read_twice(chosen, state)
    if not first == second == accepted:
        raise _NotDoneError(
            f"the venue's position is not {accepted:+d}: two reads found "
            f"{first:+d} and {second:+d}; nothing was changed"
        )
    kept = KeptLog(state.kept_path)
    with contextlib.closing(kept):
        before = carried(kept.records, kept.path.name).qty
        kept.append(Adjusted(wall_ns, accepted, reason))
    log.info("position_accepted", reason=reason, ledger=before, position=accepted)
    print(f"the ledger had {before:+d} and goes on from {accepted:+d}, as the venue has it")


def _read_twice(chosen: Settings, state: StateDir) -> tuple[int, int, int]:
    """Two reads of the position, and the wall time up to which the second surely holds every
    execution: one that comes later is booked as ever.
    """
    with _venue(chosen, state.path) as there:
        try:
            state.bind(there.config, there.key)
        except OtherIdentityError as error:
            raise ConfigProblem(f"{chosen.sources.get('state.dir', 'default')}: {error}") from None
        first = _read(there)
        time.sleep(_APART_S)
        wall_ns = time.time_ns()
        return first, _read(there), wall_ns


def _read(there: Account) -> int:
    """Contracts at the venue. A failed read is not an empty one (promise 8)."""
    outcome = read_position(there.config, there.key, there.secret)
    if not isinstance(outcome, PositionRead):
        detail = getattr(outcome, "detail", "an answer to something else")
        raise _NotDoneError(
            f"the venue's position could not be read: {printable(detail)}; nothing was changed"
        )
    return outcome.position.qty


@contextlib.contextmanager
def _venue(chosen: Settings, state_dir: Path) -> Iterator[Account]:
    """The account of the bot that is being resumed, and what opens it."""
    if chosen.embeds_venue and not (state_dir / "venue" / "demo.key").exists():
        # It never ran: the account begins with this start of its venue.
        with embedded.start(chosen.config) as venue:
            there = chosen.having(settings.EMBEDDED, venue.urls())
            yield Account(there.config, venue.key, venue.secret)
        return
    # What a guardian runs on counts; what a dead one wrote down may be of another configuration.
    run = read_run(state_dir) if guardian_is_there(state_dir) else None
    with account.of(state_dir, run, chosen) as found:
        yield found
