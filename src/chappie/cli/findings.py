"""What an examination found: one line for each thing looked at, and what to do about it."""

from enum import Enum

import msgspec

from chappie.live.log import printable

_FOUND_MAX = 300


class Verdict(Enum):
    """SKIPPED: it was not looked at, and the finding says why."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "FAIL"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """``advice`` is empty where nothing is to be done."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, Verdict.OK, _shown(found))


def warning(check: str, found: str, advice: str) -> Finding:
    return Finding(check, Verdict.WARNING, _shown(found), advice)


def fail(check: str, found: str, advice: str) -> Finding:
    return Finding(check, Verdict.FAIL, _shown(found), advice)


def skipped(check: str, found: str, advice: str = "") -> Finding:
    return Finding(check, Verdict.SKIPPED, _shown(found), advice)


def _shown(text: str) -> str:
    """Words of the venue, of a disk or of a policy are in it: no control characters, no novel."""
    return printable(" ".join(text.split()))[:_FOUND_MAX]
