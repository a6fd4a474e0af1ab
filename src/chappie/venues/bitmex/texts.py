"""What the venue's refusals prove: statuses and texts of protocol sections 2 to 4.

The rule: only a documented text proves that nothing happened. Everything else that is not a
success is unknown.
"""

import math
import re

import msgspec

from chappie.model.reports import (
    KeyRefused,
    NotAccepted,
    Outcome,
    Rejected,
    RequestExpired,
    Unknown,
)
from chappie.model.units import SECOND_NS

OVERLOADED = "The system is currently overloaded. Please try again later."
_BANNED = "banned: a page, no envelope"
_TEXT_CHARS = 400
_EXPIRED = re.compile(r"This request has expired\b.*?(?:Current time: (\d{1,12}))?$", re.DOTALL)
_DUPLICATE = "Duplicate clOrdID"
_KEY_TEXTS = (
    "Invalid API Key",
    "Signature not valid",
    "This key is disabled",
    "Access Denied",
    "Account is restricted",
    "Account is suspended",
    "This IP address is not allowed to use this key",
)


class _Detail(msgspec.Struct):
    message: str = ""
    name: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Detail


_decode_error = msgspec.json.Decoder(_ErrorBody).decode


def error_text(body: bytes) -> str | None:
    """The message of an error envelope; None when the body is none (an HTML page, say)."""
    try:
        return _decode_error(body).error.message[:_TEXT_CHARS]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def refusal(status: int, headers: dict[str, str], body: bytes) -> Outcome:
    """What an answer other than 200 proves."""
    text = error_text(body)
    words = text if text is not None else body[:120].decode("utf-8", "replace")
    if status == 400 and text is not None:
        expired = _EXPIRED.match(text)
        if expired is not None:
            seconds = expired.group(1)
            return RequestExpired(int(seconds) * SECOND_NS if seconds else None, text)
        if _blames_key(text):
            return KeyRefused(status, text)
        if text.startswith(_DUPLICATE):
            # It proves the opposite: an order of that name is there.
            return Unknown(status, text)
        return Rejected(status, text)
    if status == 401:
        return KeyRefused(status, words)
    if status == 403:
        # Without an envelope it is the load balancer's page: this address is banned for an hour.
        banned = text is None
        wait_s = _seconds(headers.get("retry-after"))
        return KeyRefused(status, _BANNED if banned else words, banned, wait_s if banned else None)
    if status == 404 and text is not None:
        return Rejected(status, text)
    if status == 429:
        return NotAccepted(status, _seconds(headers.get("retry-after")), words)
    if status == 503 and text == OVERLOADED:
        return NotAccepted(status, None, text)
    return Unknown(status, words)


def _blames_key(text: str) -> bool:
    return any(words in text for words in _KEY_TEXTS)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
