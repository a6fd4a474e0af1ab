"""`chappie up`: the guardian, which starts, watches and restarts the trader until asked to end."""

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from chappie.cli import credentials, settings
from chappie.cli.alert import channels_of
from chappie.cli.embedded import EmbeddedVenue
from chappie.cli.live_view import Lines, Terminal
from chappie.cli.settings import ConfigProblem, Settings
from chappie.guardian.alerts.alerting import Alerts
from chappie.guardian.alerts.channel import Channel
from chappie.guardian.alerts.herald import Herald
from chappie.guardian.guardian import Guardian
from chappie.guardian.hand import Access
from chappie.guardian.instance import Lock, NotAloneError
from chappie.guardian.operator import token
from chappie.guardian.operator.api import Api, Operator, PortTakenError, bind
from chappie.guardian.outlet import Display, Outlet
from chappie.guardian.plan import Ended, Plan
from chappie.guardian.shown import Shown
from chappie.live.notify import Notify, status_of
from chappie.model.faults import StopReason
from chappie.model.state import Mode

_CREDENTIALS = ("CHAPPIE_API_KEY", "CHAPPIE_API_SECRET")
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_HALTS = (signal.SIGUSR1, signal.SIGUSR2)
_TELL_EVERY_S = 0.25


class _AskedToEnd(BaseException):
    """A signal came before there was a loop to take it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument(
        "--for",
        type=_seconds,
        dest="for_s",
        metavar="SECONDS",
        help="end by itself after so many seconds, with exit code 0",
    )


def run(args: argparse.Namespace) -> int:
    """Run until asked to end (0); what cannot be started is one line and its code."""
    _take_signals(_asked, _SIGNALS)
    notify = Notify.take(os.environ)
    early: list[signal.Signals] = []
    # By default they would end us; what comes before there is a loop is obeyed once there is.
    _take_signals(lambda number, frame: early.append(signal.Signals(number)), _HALTS)
    try:
        ended, stuck = _run(args, early, notify)
    except ConfigProblem as problem:
        ended, stuck = Ended(settings.EXIT_CODE, str(problem)), False
    except NotAloneError as other:
        ended, stuck = Ended(StopReason.NOT_ALONE.value, str(other)), False
    except (_AskedToEnd, KeyboardInterrupt):
        ended, stuck = Ended(0), False
    # Everything is gone by now; a late signal must not change the code.
    _take_signals(signal.SIG_IGN, (*_SIGNALS, *_HALTS))
    if ended.line:
        # Nobody may be there to read it any more.
        with contextlib.suppress(OSError):
            print(ended.line, file=sys.stderr)
    if stuck:
        # A terminal that takes nothing would hold the ordinary exit for ever.
        os._exit(ended.code)
    _let_go_of_a_lost_terminal()
    return ended.code


def _run(
    args: argparse.Namespace, early: list[signal.Signals], notify: Notify
) -> tuple[Ended, bool]:
    chosen = settings.load_for_up(args.config, args.sets, os.environ)
    config = chosen.config
    channels = channels_of(chosen)
    state_dir = Path(config.state.dir)
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = Lock(state_dir)
        lock.take()
    except OSError as error:
        raise ConfigProblem(
            f"{chosen.sources.get('state.dir', 'default')}: state.dir: {state_dir} "
            f"cannot be written: {error.strerror}; accepted is a folder that can"
        ) from error
    with contextlib.closing(lock):
        try:
            listening = bind(config.operator.host, config.operator.port)
        except PortTakenError as error:
            raise ConfigProblem(
                f"{chosen.sources.get('operator.port', 'default')}: operator.port: {error}; "
                "accepted is a free port, or 0 to pick one"
            ) from None

        def make_api(look: Callable[[], Shown], operator: Operator) -> Api:
            return Api(
                listening,
                look,
                config.supervisor.heartbeat_timeout_s,
                operator,
                lambda: token.ensure(state_dir),
            )

        venue = EmbeddedVenue(state_dir) if chosen.embeds_venue else None
        plan = Plan(
            config=config,
            config_hash=chosen.hash(),
            state_dir=state_dir,
            command=_command(args.config, args.sets),
            env=_trader_env(os.environ, chosen),
            for_s=args.for_s,
            effective=chosen.effective(),
            warnings=chosen.warnings,
            access=lambda: _access(chosen, venue),
        )
        display: Display = Terminal() if _on_terminal() else Lines()
        return asyncio.run(_guard(plan, make_api, display, venue, channels, early, notify))


async def _guard(
    plan: Plan,
    make_api: Callable[[Callable[[], Shown], Operator], Api],
    display: Display,
    venue: EmbeddedVenue | None,
    channels: Sequence[Channel],
    early: list[signal.Signals],
    notify: Notify,
) -> tuple[Ended, bool]:
    loop = asyncio.get_running_loop()

    def display_gone() -> None:
        loop.call_soon_threadsafe(guardian.ask_to_end, "the terminal went away")

    outlet = Outlet(plan.state_dir, display, display_gone)
    alerts = Alerts(plan.config, Herald(channels, outlet.event), outlet.event)
    guardian = Guardian(plan, make_api, outlet, venue, alerts)
    # After the guardian's own handlers are there, so that none is lost in between.
    for number in early:
        loop.call_soon(guardian.obey, number)
    outlet.listeners += (lambda event, fields, line: _tell_the_end(notify, event, fields),)
    telling = asyncio.create_task(_tell(notify, guardian.look))
    ended = await guardian.run()
    telling.cancel()
    return ended, outlet.is_stuck


async def _tell(notify: Notify, look: Callable[[], Shown]) -> None:
    """The loop that watches the trader turns: that is what the supervisor of us wants to know."""
    while True:
        shown = look()
        # Of a trader that is down the last faults are history.
        faults = () if shown.mode is Mode.STOPPED else shown.faults
        notify.turned(status_of(shown.mode, faults))
        await asyncio.sleep(_TELL_EVERY_S)


def _tell_the_end(notify: Notify, event: str, fields: Mapping[str, object]) -> None:
    if event == "ending":
        notify.ending(str(fields.get("why", "")))


def _command(config_file: str | None, sets: Sequence[str]) -> tuple[str, ...]:
    named = ("--config", config_file) if config_file is not None else ()
    given = [part for text in sets for part in ("--set", text)]
    return (sys.executable, "-m", "chappie", "trade", *named, *given)


def _trader_env(environ: "os._Environ[str]", chosen: Settings) -> dict[str, str]:
    """Ours, and the policy if `up` chose it; on the embedded venue without any credentials but
    the demo account's.
    """
    hidden = tuple(name + tail for name in _CREDENTIALS for tail in ("", "_FILE"))
    env = {k: v for k, v in environ.items() if not (chosen.embeds_venue and k in hidden)}
    if chosen.sources.get(settings.POLICY) == settings.DEFAULT_OF_UP:
        env |= settings.give(settings.DEFAULT_OF_UP, {settings.POLICY: chosen.config.bot.policy})
    return env


def _access(chosen: Settings, venue: EmbeddedVenue | None) -> Access | str:
    """What opens the account to the guardian itself, read anew for each errand: on the embedded
    venue the demo account, whatever the environment holds.
    """
    if venue is not None:
        if not venue.key:
            return "the embedded venue was not started yet"
        return Access(venue.rest_url, venue.key, venue.secret)
    try:
        given, _ = credentials.load(os.environ)
    except ConfigProblem as problem:
        return str(problem)
    if given is None:
        return "environment: CHAPPIE_API_KEY and CHAPPIE_API_SECRET are missing"
    return Access(chosen.config.venue.rest_url, given.key, given.secret)


def _on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _let_go_of_a_lost_terminal() -> None:
    """What could not be written to a terminal that went away would fail the exit itself (120)."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _asked(number: int, frame: FrameType | None) -> None:
    raise _AskedToEnd(signal.Signals(number).name)


def _take_signals(
    taker: "Callable[[int, FrameType | None], None] | signal.Handlers",
    numbers: Sequence[signal.Signals],
) -> None:
    for number in numbers:
        # Under nohup a hang-up is ignored on purpose; keep it so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, taker)
