"""The keys of the configuration by their dotted names, and the words about one and its value."""

import difflib
import re
from collections.abc import Iterator
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec

from chappie.live.log import printable
from chappie.model.config import Config

ENV_PREFIX = "CHAPPIE_"
# Values that may hold a token or password: never shown, and hashed only.
SECRET_KEYS = ("alerts.urls",)
_CREDENTIAL = re.compile(r"(^|_|api)(key|secret|password|token|credentials?)", re.IGNORECASE)
_SHOWN_MAX = 60


class Key(msgspec.Struct, frozen=True):
    """One key of the configuration: its type and its default."""

    kind: object
    default: object

    @property
    def accepted(self) -> str:
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(get_args(self.kind))
        return _ACCEPTED[self.kind]


_ACCEPTED: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple[str, ...]: 'an array of strings, such as ["json://127.0.0.1:9000/"]',
}


def _keys(section: type, prefix: str) -> Iterator[tuple[str, Key]]:
    default = section()
    for name, kind in get_type_hints(section).items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", Key(kind, getattr(default, name))


KEYS: dict[str, Key] = dict(_keys(Config, ""))
"""Every key of the contract by its dotted name, in the contract's order."""

SECTIONS = tuple(
    dict.fromkeys(
        ".".join(parts[:depth])
        for parts in (key.split(".") for key in KEYS)
        for depth in range(1, len(parts))
    )
)


def unknown(key: str) -> str:
    """That a key does not exist, and which do where it stands."""
    if key in SECTIONS:
        return f"{key} is a section, not a value; {_lists(key)}"
    if _CREDENTIAL.search(key.rpartition(".")[2]):
        return (
            f"unknown key {shown_text(key)}; credentials are accepted from CHAPPIE_API_KEY and "
            "CHAPPIE_API_SECRET alone, or from the files that they name with _FILE appended"
        )
    section = key.rpartition(".")[0]
    while section and section not in SECTIONS:
        section = section.rpartition(".")[0]
    near = difflib.get_close_matches(key, [*KEYS, *SECTIONS], n=1, cutoff=0.7)
    if not near and not section:
        # The section alone may be what was mistyped.
        near = difflib.get_close_matches(key.partition(".")[0], SECTIONS, n=1, cutoff=0.7)
    guess = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown key {shown_text(key)}{guess}; {_lists(section)}"


def _lists(section: str) -> str:
    if not section:
        return "accepted sections are " + ", ".join(s for s in SECTIONS if "." not in s)
    inside = [key for key in (*KEYS, *SECTIONS) if key.rpartition(".")[0] == section]
    return f"accepted in [{section}] are " + ", ".join(key.rpartition(".")[2] for key in inside)


def shown(key: str, value: object) -> str:
    if key in SECRET_KEYS:
        return "***"
    # What stands within may be a secret that was put in the wrong place.
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "an array"
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return shown_text(text)


def shown_text(text: str, limit: int = _SHOWN_MAX) -> str:
    text = printable(text)
    return text if len(text) <= limit else text[:limit] + "…"


def masked(key: str, value: object) -> object:
    if key in SECRET_KEYS and isinstance(value, (list, tuple)):
        schemes = (str(item).partition("://") for item in value)
        return [f"{scheme}://***" if mark else "***" for scheme, mark, _ in schemes]
    return value


def env_name(key: str) -> str:
    return ENV_PREFIX + key.replace(".", "__").upper()
