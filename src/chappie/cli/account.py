"""The account that the bot of a state folder trades, for a command that runs beside it or after
it: where the venue is and what opens it.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from chappie.cli import credentials
from chappie.cli.credentials import Credentials
from chappie.cli.embedded import EmbeddedVenue
from chappie.cli.settings import ConfigProblem, Settings
from chappie.guardian.instance import Run
from chappie.model.config import Config

_CONNECTS_WITHIN_S = 1.0


class Account(msgspec.Struct, frozen=True):
    """Which account at which venue; shows its secret to nobody."""

    config: Config
    key: str
    secret: str

    def __repr__(self) -> str:
        return "Account(***)"


@contextlib.contextmanager
def of(state_dir: Path, run: Run | None, chosen: Settings) -> Iterator[Account]:
    """What ``run`` says goes before the configuration, which may be another by now.

    An embedded venue that is gone is served again for the length of the block, for the account
    lives in the state folder. Raises `ConfigProblem` when nobody can be asked, `VenueFailedError`.
    """
    config = chosen.config if run is None else _as_run(chosen.config, run)
    if not _is_embedded(config, chosen, state_dir):
        yield _with_credentials(config)
        return
    there = _demo_credentials(state_dir)
    if there is not None and _answers(config.venue.rest_url):
        yield Account(config, there.key, there.secret)
        return
    venue = EmbeddedVenue(state_dir)
    try:
        venue.ensure()
        yield Account(_at(config, venue.rest_url), venue.key, venue.secret)
    finally:
        venue.stop()


def _as_run(config: Config, run: Run) -> Config:
    """The configuration with what the running instance wrote down of its own."""
    if not run.venue_kind:
        return config
    venue = {"kind": run.venue_kind, "rest_url": run.rest_url, "symbol": run.symbol}
    tree = msgspec.to_builtins(config)
    tree["venue"] |= venue
    tree["bot"]["id"] = run.bot
    if run.expires_after_s is not None:
        tree["orders"]["expires_after_s"] = run.expires_after_s
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError:
        return config


def _is_embedded(config: Config, chosen: Settings, state_dir: Path) -> bool:
    """A folder is bound to one account: with the demo account's key in it, it is that one's."""
    named = bool(chosen.config.venue.rest_url)
    there = (state_dir / "venue" / "demo.key").exists()
    return config.venue.kind == "simulated" and not named and there


def _with_credentials(config: Config) -> Account:
    if not config.venue.rest_url:
        raise ConfigProblem("which venue it is cannot be told: venue.rest_url is not known")
    given, _ = credentials.load(os.environ)
    if given is None:
        raise ConfigProblem(
            "environment: CHAPPIE_API_KEY and CHAPPIE_API_SECRET are missing; accepted are both, "
            "each also as a file with _FILE appended to the name"
        )
    return Account(config, given.key, given.secret)


def _demo_credentials(state_dir: Path) -> Credentials | None:
    folder = state_dir / "venue"
    try:
        key = (folder / "demo.key").read_text().strip()
        return Credentials(key, (folder / "demo.secret").read_text().strip())
    except (OSError, UnicodeDecodeError):
        return None


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        where = (parts.hostname or "", parts.port or 0)
        with socket.create_connection(where, _CONNECTS_WITHIN_S):
            return True
    except (OSError, ValueError):
        return False


def _at(config: Config, rest_url: str) -> Config:
    venue = msgspec.structs.replace(config.venue, rest_url=rest_url)
    return msgspec.structs.replace(config, venue=venue)
