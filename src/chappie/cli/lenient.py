"""What can be read of a configuration that is broken: for the kill switch, which never refuses.

Only strings and numbers that say where the bot keeps its state and at which venue it trades;
what cannot be read stays at its default.
"""

import contextlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from chappie.cli import settings
from chappie.cli.settings import ConfigProblem, Settings
from chappie.model.config import Config

_WANTED = (
    "state.dir",
    "venue.kind",
    "venue.rest_url",
    "venue.symbol",
    "bot.id",
    "orders.expires_after_s",
)
_FILE_BYTES_MAX = 1 << 20


def load(
    config_file: str | None, sets: Sequence[str], environ: Mapping[str, str]
) -> tuple[Settings, str | None]:
    """The settings, and what is wrong with them if they had to be pieced together."""
    try:
        return settings.load_for_up(config_file, sets, environ), None
    except ConfigProblem as problem:
        chosen = Settings(Config(), {}, None, ())
        for key, text in _found(config_file, sets, environ).items():
            # Each by itself: one that is wrong does not cost the others.
            with contextlib.suppress(ConfigProblem):
                read = settings.load_value(key, text)
                chosen = chosen.having("as far as it can be read", {key: read})
        return chosen, str(problem)


def _found(
    config_file: str | None, sets: Sequence[str], environ: Mapping[str, str]
) -> dict[str, str]:
    """The text of each wanted key, from the strongest layer that has it."""
    found = _lines_of(Path(config_file or settings.DEFAULT_FILE))
    for key in _WANTED:
        if (text := environ.get(f"CHAPPIE_{key.replace('.', '__').upper()}")) is not None:
            found[key] = text
    for argument in sets:
        key, mark, text = argument.partition("=")
        if mark and key.strip() in _WANTED:
            found[key.strip()] = text
    return found


def _lines_of(path: Path) -> dict[str, str]:
    """The file line by line: a line that is no TOML costs only itself."""
    found: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, ValueError):
        return found
    section = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("[") and "]" in bare:
            section = bare[1:].partition("]")[0].strip()
            continue
        try:
            values = tomllib.loads(bare)
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
        for name, value in values.items():
            key = f"{section}.{name}" if section else name
            if key in _WANTED and isinstance(value, str | int | float):
                found[key] = str(value)
    return found
