"""The configuration in its layers: flag, environment, file, default; each value with its source.

Anything unknown, of the wrong type or impossible is a `ConfigProblem`: one line that names where
it stands, the key, and what is accepted. Only `bot.allow_trade` never stops the start: whatever
is not exactly true or false counts as false, and is warned about.
"""

import argparse
import codecs
import hashlib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args, get_origin

import msgspec

from chappie.cli.keys import (
    ENV_PREFIX,
    KEYS,
    SECRET_KEYS,
    SECTIONS,
    env_name,
    masked,
    shown,
    shown_text,
    unknown,
)
from chappie.model.config import Config, ConfigError, check

DEFAULT_FILE = "chappie.toml"
EXIT_CODE = 64
ALLOW_TRADE = "bot.allow_trade"
POLICY = "bot.policy"
DEFAULT_OF_UP = "default of up"
EMBEDDED = "embedded venue"
"""Two sources that are no layer: what `up` runs where nobody chose, and where its venue is."""
# What a guardian found out and its trader could not: `CHAPPIE_GIVEN__SECTION__KEY=source=value`.
_GIVEN_PREFIX = "CHAPPIE_GIVEN__"
_FILE_BYTES_MAX = 1024 * 1024
# As many digits as a number of 63 bits has, and some: thousands are a ValueError of Python's own.
_INTEGER = re.compile(r"[+-]?[0-9](_?[0-9]){0,30}")
# Environment names with the prefix that are not configuration.
_OTHER_NAMES = (
    "CHAPPIE_API_KEY",
    "CHAPPIE_API_SECRET",
    "CHAPPIE_API_KEY_FILE",
    "CHAPPIE_API_SECRET_FILE",
    "CHAPPIE_GUARDIAN_FD",
)


class ConfigProblem(Exception):
    """The configuration cannot be run. The message is the one line for the operator."""


class Settings(msgspec.Struct, frozen=True):
    """The effective configuration, where each value came from, and what was doubtful."""

    config: Config
    sources: dict[str, str]
    file: str | None
    warnings: tuple[str, ...]

    @property
    def embeds_venue(self) -> bool:
        """The venue is a simulated one that has yet to be started."""
        return self.config.venue.kind == "simulated" and not self.config.venue.rest_url

    def effective(self) -> dict[str, object]:
        """Each key with its value and source, as the log shows it at start: no secrets."""
        values = _flat(self.config)
        return {
            key: {
                "value": masked(key, values[key]),
                "source": self.sources.get(key, "default"),
            }
            for key in KEYS
        }

    def hash(self) -> str:
        """A short fingerprint of what was configured.

        Where an embedded venue listens is another port at each start, and nobody's choice.
        """
        values = {
            key: KEYS[key].default if self.sources.get(key) == EMBEDDED else value
            for key, value in _flat(self.config).items()
        }
        canonical = msgspec.json.encode(dict(sorted(values.items())))
        return hashlib.sha256(canonical).hexdigest()[:12]

    def having(self, source: str, values: Mapping[str, object]) -> "Settings":
        """These settings with values that no layer gave."""
        tree = _nested({**_flat(self.config), **values})
        return msgspec.structs.replace(
            self,
            config=msgspec.convert(tree, Config),
            sources={**self.sources, **dict.fromkeys(values, source)},
        )

    def problem(self, error: ConfigError) -> ConfigProblem:
        """An impossible value, said with the place that it came from."""
        return _located(error, self.sources)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """The two flags that every command has."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"configuration file (default: {DEFAULT_FILE} in the working folder, if there)",
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="set one value; may be repeated, and wins over environment and file",
    )


def load(
    config_file: str | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    folder: Path | None = None,
) -> Settings:
    """Read every layer. Raises `ConfigProblem` for the first thing that is wrong.

    ``folder`` is the working folder, where the default file is looked for.
    """
    warnings: list[str] = []
    path, named = _file_path(config_file, folder or Path())
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    # From the weakest to the strongest: a later layer overrides.
    layers = []
    if path is not None:
        layers.append((named, _from_file(path, named, warnings)))
    layers.append(("environment", _from_environment(environ, warnings)))
    layers.append(("--set", _from_flags(sets, warnings)))
    for source, layer in layers:
        for key, value in layer.items():
            values[key] = value
            sources[key] = f"{source} {env_name(key)}" if source == "environment" else source
    for key, (source, value) in _from_guardian(environ, warnings).items():
        values[key], sources[key] = value, source
    config = msgspec.convert(_nested(values), Config)
    try:
        _check_urls(config)
        check(config)
        _check_more(config)
    except ConfigError as error:
        raise _located(error, sources) from None
    for key in SECRET_KEYS:
        if sources.get(key) == "--set":
            warnings.append(
                f"--set: {key} may hold a token, and everybody on this machine sees the arguments "
                f"of a process; better are the file and the environment ({env_name(key)})"
            )
    return Settings(config, sources, named if path is not None else None, tuple(warnings))


def load_for_up(
    config_file: str | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    folder: Path | None = None,
) -> Settings:
    """`load` as `chappie up` does it. Raises `ConfigProblem`.

    Where nobody chose a policy and the venue is our own, it is ``cycle``: that shows what a bot
    does. On a venue of somebody else's the default stays ``hold``.
    """
    chosen = load(config_file, sets, environ, folder)
    if chosen.file is None and POLICY not in chosen.sources and chosen.embeds_venue:
        chosen = chosen.having(DEFAULT_OF_UP, {POLICY: "cycle"})
        try:
            _check_more(chosen.config)
        except ConfigError as error:
            raise _located(error, chosen.sources) from None
    return chosen


def load_value(key: str, text: str) -> object:
    """One value that came as text, by itself. Raises `ConfigProblem`."""
    return _from_text(key, text, key, [])


def give(source: str, values: Mapping[str, str]) -> dict[str, str]:
    """The environment that gives a trader these values and says where they are from."""
    return {
        _GIVEN_PREFIX + env_name(key).removeprefix(ENV_PREFIX): f"{source}={value}"
        for key, value in values.items()
    }


# --- the file


def _file_path(config_file: str | None, folder: Path) -> tuple[Path | None, str]:
    """The file to read and how to call it; None when there is none and none was named."""
    named = DEFAULT_FILE if config_file is None else config_file
    path = folder / named
    try:
        if path.is_file():
            return path, named
        # A link that leads nowhere was meant to be a configuration, too.
        there = path.exists() or path.is_symlink()
    except OSError as error:
        raise ConfigProblem(f"{shown_text(named)}: cannot be read: {error.strerror}") from error
    if config_file is None and not there:
        return None, ""
    what = "does not exist"
    if there:
        what = "is a folder" if path.is_dir() else "is no ordinary file"
    raise ConfigProblem(f"{shown_text(named)}: this configuration file {what}; accepted is a file")


def _from_file(path: Path, named: str, warnings: list[str]) -> dict[str, object]:
    named = shown_text(named)
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise ConfigProblem(f"{named}: larger than {_FILE_BYTES_MAX} bytes")
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        raise ConfigProblem(f"{named}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigProblem(f"{named}: not UTF-8 text, at byte {error.start}") from error
    if data.startswith(codecs.BOM_UTF8):
        raise ConfigProblem(f"{named}: begins with a byte order mark; accepted is UTF-8 without")
    try:
        tables = tomllib.loads(text)
    # A number of some thousand digits is a ValueError of Python's own.
    except ValueError as error:
        raise ConfigProblem(f"{named}: not valid TOML: {shown_text(str(error), 200)}") from None
    except RecursionError:
        raise ConfigProblem(f"{named}: not valid TOML: nested too deeply") from None
    found: dict[str, object] = {}
    for key, value in _leaves(tables, "", named):
        if key == ALLOW_TRADE:
            found[key] = _allow_trade(value, named, warnings)
        else:
            found[key] = _typed(key, value, named)
    return found


def _leaves(table: Mapping[str, object], prefix: str, named: str) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if key in KEYS:
            yield key, value
        elif key in SECTIONS:
            if not isinstance(value, dict):
                raise ConfigProblem(f"{named}: {unknown(key)}")
            yield from _leaves(value, f"{key}.", named)
        else:
            raise ConfigProblem(f"{named}: {unknown(key)}")


# --- the environment and the flags


def _from_environment(environ: Mapping[str, str], warnings: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name in _OTHER_NAMES or _is_given(name):
            continue
        place = f"environment {shown_text(name)}"
        if "__" not in name:
            if name.removeprefix(ENV_PREFIX).split("_")[0].lower() in SECTIONS:
                warnings.append(
                    f"{place}: not used; sections and keys are parted by two underscores, "
                    f"such as {env_name(ALLOW_TRADE)}"
                )
            continue
        key = name.removeprefix(ENV_PREFIX).replace("__", ".").lower()
        if key not in KEYS or env_name(key) != name:
            raise ConfigProblem(f"{place}: {unknown(key)}")
        found[key] = _from_text(key, environ[name], place, warnings)
    return found


def _is_given(name: str) -> bool:
    return name.startswith(_GIVEN_PREFIX)


def _from_guardian(
    environ: Mapping[str, str], warnings: list[str]
) -> dict[str, tuple[str, object]]:
    """Values with their sources; they come after every layer, for they answer to all of them."""
    found: dict[str, tuple[str, object]] = {}
    for name in sorted(filter(_is_given, environ)):
        key = name.removeprefix(_GIVEN_PREFIX).replace("__", ".").lower()
        place = f"environment {shown_text(name)}"
        if key not in KEYS:
            raise ConfigProblem(f"{place}: {unknown(key)}")
        source, _, text = environ[name].partition("=")
        found[key] = shown_text(source), _from_text(key, text, place, warnings)
    return found


def _from_flags(sets: Sequence[str], warnings: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for argument in sets:
        key, mark, text = argument.partition("=")
        key = key.strip()
        if not mark:
            raise ConfigProblem(
                f"--set {shown_text(argument)}: accepted is section.key=value, "
                f"such as {ALLOW_TRADE}=true"
            )
        if key not in KEYS:
            raise ConfigProblem(f"--set: {unknown(key)}")
        found[key] = _from_text(key, text, "--set", warnings)
    return found


def _from_text(key: str, text: str, place: str, warnings: list[str]) -> object:
    """A value that came as text, read as its key's type."""
    if key == ALLOW_TRADE:
        return _allow_trade({"true": True, "false": False}.get(text, text), place, warnings)
    kind = KEYS[key].kind
    if kind is str or get_origin(kind) is Literal:
        return _typed(key, text, place)
    if kind is bool:
        return _typed(key, {"true": True, "false": False}.get(text, text), place)
    if kind is int:
        return _typed(key, int(text) if _INTEGER.fullmatch(text) else text, place)
    if kind is float:
        try:
            return _typed(key, float(text), place)
        except ValueError:
            return _typed(key, text, place)
    try:
        # One value of TOML; the line would otherwise be free to hold more.
        value = tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except tomllib.TOMLDecodeError:
        value = text
    return _typed(key, value, place)


# --- values


def _typed(key: str, value: object, place: str) -> object:
    """The value as its key's type, or a `ConfigProblem` that says what is accepted."""
    expected = KEYS[key]
    kind = expected.kind
    if get_origin(kind) is Literal:
        fits = isinstance(value, str) and value in get_args(kind)
    elif kind is tuple[str, ...] or get_origin(kind) is tuple:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    elif kind is float:
        # A truth value is an int to Python; a whole number is a good number of seconds.
        fits = type(value) in (int, float) and math.isfinite(float(str(value)))
    else:
        fits = type(value) is kind
    if not fits:
        raise ConfigProblem(
            f"{place}: {key} = {shown(key, value)}: accepted is {expected.accepted}"
        )
    if kind is float:
        return float(str(value))
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigProblem(f"{place}: {key}: accepted is a whole number of at most 63 bits")
    return value


def _allow_trade(value: object, place: str, warnings: list[str]) -> bool:
    if value is True or value is False:
        return bool(value)
    warnings.append(
        f"{place}: {ALLOW_TRADE} = {shown(ALLOW_TRADE, value)} is neither true nor false: "
        "it counts as false, nothing will be traded"
    )
    return False


def _check_urls(config: Config) -> None:
    """Credentials do not belong into urls; said without showing the url."""
    for key, url in (
        ("venue.rest_url", config.venue.rest_url),
        ("venue.ws_url", config.venue.ws_url),
    ):
        # Anywhere: a url that is malformed would else be shown with its password.
        if "@" in url:
            raise ConfigError(
                key,
                "holds a user name or password; accepted is a url without them, credentials come "
                "from CHAPPIE_API_KEY and CHAPPIE_API_SECRET",
            )
        if not url.isascii() or not url.isprintable():
            raise ConfigError(key, "accepted is a url of printable ASCII characters")


def _check_more(config: Config) -> None:
    """Combinations that only this side of the configuration knows."""
    if config.bot.policy == "cycle" and config.policy.cycle.qty > config.bot.max_position:
        raise ConfigError(
            "policy.cycle.qty",
            f"{config.policy.cycle.qty} exceeds bot.max_position = {config.bot.max_position}",
        )
    if config.supervisor.heartbeat_timeout_s <= config.feed.check_every_s:
        raise ConfigError(
            "supervisor.heartbeat_timeout_s",
            f"{config.supervisor.heartbeat_timeout_s} must exceed feed.check_every_s = "
            f"{config.feed.check_every_s}: the trader beats that often",
        )


def _located(error: ConfigError, sources: Mapping[str, str]) -> ConfigProblem:
    place = sources.get(error.key, "default")
    if place == "default":
        # The value that made the combination impossible stands with another key.
        others = [sources[key] for key in KEYS if key in sources and key in error.accepted]
        place = others[0] if others else place
    return ConfigProblem(shown_text(f"{place}: {error.key}: {error.accepted}", 400))


def _flat(config: Config) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in KEYS:
        value: object = config
        for name in key.split("."):
            value = getattr(value, name)
        found[key] = value
    return found


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        table = tree
        for section in sections:
            inner = table.setdefault(section, {})
            assert isinstance(inner, dict)
            table = inner
        table[name] = value
    return tree
