"""What goes in and out of the venue: requests, effects, and the envelopes of its answers.

The effects are what a shell has to do on its sockets; nothing here touches one. Bodies have
the exact form of the real venue's (protocol section 4, and the recorded answers).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from chappie.simvenue.options import SECOND_NS

# JSON as it is on the wire: rows are plain dictionaries by design of the exchange's interface.
Json = Any

Headers = tuple[tuple[str, str], ...]

OVERLOADED = "The system is currently overloaded. Please try again later."
NOT_FOUND = "Not Found"
BODY_IN_GET = "Body should not be included in a GET request."

_BAN_PAGE = (
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    b"<center><h1>403 Forbidden</h1></center>\r\n</body>\r\n</html>\r\n"
)
_BAD_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request, with path and body byte for byte as they were sent."""

    request_id: int
    method: str
    raw_path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""
    peer: str = "127.0.0.1"


class Answer(msgspec.Struct, frozen=True):
    """Answer a request."""

    request_id: int
    status: int
    headers: Headers
    body: bytes


class NoAnswer(msgspec.Struct, frozen=True):
    """Leave a request without an answer; its connection stays open."""

    request_id: int


class HangUp(msgspec.Struct, frozen=True):
    """Cut the connection of a request without an answer."""

    request_id: int


class Accept(msgspec.Struct, frozen=True):
    """Let a websocket in."""

    conn: int


class RefuseUpgrade(msgspec.Struct, frozen=True):
    """Answer an upgrade with an HTTP error; status 0 cuts the connection instead."""

    conn: int
    status: int
    headers: Headers
    body: bytes


class Push(msgspec.Struct, frozen=True):
    """Send a text frame."""

    conn: int
    text: str


class Pong(msgspec.Struct, frozen=True):
    """Answer a ping frame."""

    conn: int
    payload: bytes


class Close(msgspec.Struct, frozen=True):
    """Close a websocket with a code; code 1006 cuts it without a closing frame."""

    conn: int
    code: int
    reason: str = ""


Effect = Answer | NoAnswer | HangUp | Accept | RefuseUpgrade | Push | Pong | Close


def to_json(value: Json) -> bytes:
    """JSON bytes without spaces, as the venue sends them."""
    return msgspec.json.encode(value)


def parse_iso(text: str) -> int:
    """UNIX nanoseconds of a time that a client sent; dates and missing zones are understood.

    Raises ValueError when it is none.
    """
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * SECOND_NS + moment.microsecond * 1000


def http_date(at_ns: int) -> str:
    """The `Date` header; clients may measure the venue's clock with it."""
    return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%a, %d %b %Y %H:%M:%S} GMT"


def error_body(message: str, name: str = "HTTPError", details: str | None = None) -> Json:
    """The envelope of every refusal."""
    error = {"message": message, "name": name}
    if details is not None:
        error["details"] = details
    return {"error": error}


def rate_limited_text(retry_after_s: int) -> str:
    """The text of a 429."""
    return f"Rate limit exceeded, retry in {retry_after_s} seconds."


def json_answer(
    request_id: int, wall_ns: int, status: int, value: Json, extra: Headers = ()
) -> Answer:
    """An answer with a JSON body and the headers that the venue always sends."""
    headers = (
        ("Date", http_date(wall_ns)),
        ("Content-Type", "application/json; charset=utf-8"),
        ("X-Powered-By", "Profit"),
        ("x-request-id", f"{request_id:016x}"),
        *extra,
    )
    return Answer(request_id, status, headers, to_json(value))


def ban_page(wall_ns: int) -> tuple[Headers, bytes]:
    """What a banned address sees: a page of the load balancer, not of the venue."""
    return _page(wall_ns, "awselb/2.0"), _BAN_PAGE


def bad_gateway_page(wall_ns: int) -> tuple[Headers, bytes]:
    """What stands in front of the venue says when the venue is away."""
    return _page(wall_ns, "awselb/2.0"), _BAD_GATEWAY_PAGE


def _page(wall_ns: int, server: str) -> Headers:
    return (("Server", server), ("Date", http_date(wall_ns)), ("Content-Type", "text/html"))
