"""`chappie trade`: the trader process alone; its exit code is the stop reason of the contract."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import chappie
from chappie.cli import credentials, embedded, settings
from chappie.cli.settings import ConfigProblem
from chappie.guardian.venue import VenueFailedError
from chappie.journal.framing import JournalError
from chappie.live import halts, link, policies
from chappie.live import run as live_run
from chappie.live.log import Log, flush_standard_streams
from chappie.live.notify import Notify
from chappie.live.redact import Redactor
from chappie.live.state_dir import LastStop, OtherIdentityError, StateDir, StateTakenError
from chappie.live.trader import CoreLike, Ended
from chappie.model.config import Config, ConfigError
from chappie.model.faults import StopReason
from chappie.venues.registry import VENUES


class _AskedToStop(BaseException):
    """A signal came before there was a loop to take it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run until the one stop and return its code; a configuration that cannot run is 64."""
    log = Log()
    try:
        halts.hold_early_signals()
        for number in live_run.signals_to_obey():
            signal.signal(number, _asked)
        stop = _run(args, log, Notify.take(os.environ))
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    except _AskedToStop as asked:
        stop = live_run.stop_of(Ended(StopReason.OPERATOR, str(asked), False), None)
    # The outermost edge: a bug becomes one record of the log, not a traceback on the terminal.
    except Exception as error:  # noqa: BLE001
        stop = live_run.crash_stop(error, log)
    flush_standard_streams()
    log.stopped(live_run.stop_fields(stop))
    return stop.code


def _run(args: argparse.Namespace, log: Log, notify: Notify) -> LastStop:
    chosen = settings.load(args.config, args.sets, os.environ)
    given, warnings = credentials.load(os.environ)
    needs_venue = chosen.embeds_venue
    if given is None and not needs_venue:
        raise ConfigProblem(
            "environment: CHAPPIE_API_KEY and CHAPPIE_API_SECRET are missing; accepted are both, "
            "each also as a file with _FILE appended to the name"
        )
    if given is not None:
        log.redactor = Redactor(given.key, given.secret)
    try:
        # The redactor is looked up at each use: an embedded venue brings another key.
        policy = policies.load(chosen.config, lambda text: log.redactor.text(text))
    except ConfigError as error:
        raise chosen.problem(error) from None
    try:
        state = StateDir(Path(chosen.config.state.dir))
    except StateTakenError as error:
        # The folder, its last_stop.json and its log are the other's: we leave them alone.
        return _early_stop(StopReason.NOT_ALONE, str(error))
    except JournalError as error:
        return _early_stop(StopReason.JOURNAL_FAILED, str(error))
    with contextlib.ExitStack() as stack:
        stack.callback(state.close)
        if needs_venue:
            try:
                venue = stack.enter_context(_embedded(chosen.config))
            except VenueFailedError as error:
                stop = _early_stop(StopReason.VENUE_DEGRADED, str(error))
                state.write_last_stop(stop)
                return stop
            # The embedded venue's own account: real credentials are never shown to it.
            given = credentials.Credentials(venue.key, venue.secret)
            log.redactor = Redactor(given.key, given.secret, *_secrets(os.environ))
            chosen = chosen.having(settings.EMBEDDED, venue.urls())
        assert given is not None
        plan = live_run.Plan(
            config=chosen.config,
            config_hash=chosen.hash(),
            effective=chosen.effective(),
            warnings=chosen.warnings + warnings,
            version=chappie.__version__,
            key=given.key,
            secret=given.secret,
            guardian_fd=link.descriptor(os.environ),
            make_core=_make_core,
            notify=notify,
        )
        try:
            return live_run.run(plan, state, policy, log)
        except OtherIdentityError as error:
            raise ConfigProblem(f"{chosen.sources.get('state.dir', 'default')}: {error}") from None
        # A bug before the loop turns, or a state folder that nobody foresaw; the folder is ours.
        except Exception as error:  # noqa: BLE001
            stop = live_run.crash_stop(error, log)
            state.write_last_stop(stop)
            return stop


def _asked(number: int, frame: FrameType | None) -> None:
    raise _AskedToStop(signal.Signals(number).name)


def _early_stop(reason: StopReason, detail: str) -> LastStop:
    return live_run.stop_of(Ended(reason, detail, False), None)


@contextlib.contextmanager
def _embedded(config: Config) -> Iterator[embedded.EmbeddedVenue]:
    with embedded.start(config) as venue:
        yield venue


def _secrets(environ: os._Environ[str]) -> tuple[str, ...]:
    return tuple(environ.get(name, "") for name in (credentials.KEY, credentials.SECRET))


def _make_core(config: Config, policy_period_s: float) -> CoreLike:
    from chappie.core.core import Core

    dialect = VENUES[config.venue.kind].dialect(config.venue.symbol)
    return Core(config, dialect, policy_period_s)
