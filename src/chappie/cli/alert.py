"""`chappie alert`: a test alert to every configured channel, and whether each took it."""

import argparse
import os
import sys
import threading

from chappie.cli import settings
from chappie.cli.settings import ConfigProblem, Settings
from chappie.guardian.alerts.channel import (
    AppriseChannel,
    ChannelError,
    NoAppriseError,
    open_channels,
)
from chappie.guardian.alerts.happenings import Alert, Severity
from chappie.guardian.clock import iso_now, now_s
from chappie.live.log import printable

_KEY = "alerts.urls"
_NOT_DELIVERED = 1
_WITHIN_S = 30.0
_MESSAGE_MAX = 1_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument("--message", metavar="TEXT", default="", help="what the alert says")


def run(args: argparse.Namespace) -> int:
    """0 when every channel took it, 1 when one did not, 64 for the configuration."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
        channels = channels_of(chosen)
        if not channels:
            raise ConfigProblem(
                f"{_place(chosen)}: {_KEY} is empty, so nobody is alerted; accepted are Apprise "
                'URLs, such as ["json://127.0.0.1:9000/"]'
            )
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    outcomes = _send(channels, _alert(chosen, args.message))
    for channel, why in zip(channels, outcomes, strict=True):
        print(f"{channel.label}: {'delivered' if why is None else f'NOT delivered: {why}'}")
    return 0 if all(why is None for why in outcomes) else _NOT_DELIVERED


def channels_of(chosen: Settings) -> list[AppriseChannel]:
    """The configured channels, opened. Raises `ConfigProblem`, without a secret in it."""
    try:
        return open_channels(chosen.config.alerts.urls)
    except NoAppriseError as error:
        raise ConfigProblem(str(error)) from None
    except ChannelError as error:
        raise ConfigProblem(f"{_place(chosen)}: {_KEY}: {error}") from None


def _place(chosen: Settings) -> str:
    return chosen.sources.get(_KEY, "default")


def _alert(chosen: Settings, message: str) -> Alert:
    config = chosen.config
    text = printable(message)[:_MESSAGE_MAX] or "This is a test. Alerts of this bot arrive here."
    return Alert(
        "test",
        Severity.INFO,
        f"chappie {config.bot.id} {config.venue.symbol}: test alert",
        f"{text}\nNext step: nothing.\n({iso_now()})",
    )


def _send(channels: list[AppriseChannel], alert: Alert) -> list[str | None]:
    """To all at once, so that one which never answers costs its own time only."""
    outcomes: list[str | None] = [f"no answer within {_WITHIN_S:g} s"] * len(channels)

    def send(number: int) -> None:
        outcomes[number] = channels[number].send(alert)

    threads = [
        threading.Thread(target=send, args=(number,), daemon=True)
        for number in range(len(channels))
    ]
    for thread in threads:
        thread.start()
    until_s = now_s() + _WITHIN_S
    for thread in threads:
        thread.join(max(0.0, until_s - now_s()))
    return outcomes
