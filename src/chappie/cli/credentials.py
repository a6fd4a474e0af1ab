"""The API key and its secret: from the environment or from files, never from the configuration."""

import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from chappie.cli.settings import ConfigProblem
from chappie.live.log import printable

KEY = "CHAPPIE_API_KEY"
SECRET = "CHAPPIE_API_SECRET"
_FILE_BYTES_MAX = 4096


class Credentials(msgspec.Struct, frozen=True):
    """What opens the account. Shows itself to nobody."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(***)"


def load(environ: Mapping[str, str]) -> tuple[Credentials | None, tuple[str, ...]]:
    """The credentials, None when nothing names any, and warnings. Raises `ConfigProblem`."""
    warnings: list[str] = []
    key = _one(KEY, environ, warnings)
    secret = _one(SECRET, environ, warnings)
    if key is None and secret is None:
        return None, ()
    if key is None or secret is None:
        missing = KEY if key is None else SECRET
        given = SECRET if key is None else KEY
        raise ConfigProblem(
            f"environment: {given} is given without {missing}; accepted are both or neither, "
            "each also as a file with _FILE appended to the name"
        )
    return Credentials(key, secret), tuple(warnings)


def _one(name: str, environ: Mapping[str, str], warnings: list[str]) -> str | None:
    file_name = f"{name}_FILE"
    value, file = environ.get(name), environ.get(file_name)
    if value is not None and file is not None:
        raise ConfigProblem(f"environment: {name} and {file_name} are both given; accepted is one")
    place = f"environment {name}"
    if file is not None:
        place = f"environment {file_name}"
        value = _read(file, place, warnings)
    if value is None:
        return None
    if not value:
        raise ConfigProblem(f"{place}: empty; accepted is the credential itself")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigProblem(f"{place}: accepted are printable ASCII characters without spaces")
    return value


def _read(file: str, place: str, warnings: list[str]) -> str:
    shown = printable(file)[:200]
    path = Path(file)
    try:
        with path.open("rb") as opened:
            data = opened.read(_FILE_BYTES_MAX + 1)
            mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigProblem(f"{place}: {shown} cannot be read: {why}") from error
    if len(data) > _FILE_BYTES_MAX:
        raise ConfigProblem(f"{place}: {shown} is larger than a credential")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.append(f"{place}: {shown} is open to other users; its mode should be 0600")
    # An editor's or `echo`'s line end is not part of the credential.
    return data.decode("ascii", errors="replace").rstrip("\r\n")
