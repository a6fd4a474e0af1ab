"""UNIX nanoseconds to and from the ISO 8601 text that venues and people read."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def iso_ns(text: str) -> int | None:
    """``2025-04-25T21:40:14.984Z`` in UNIX nanoseconds; None when it is no such time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return (moment - _EPOCH) // _MICROSECOND * 1000


def ns_iso(wall_ns: int) -> str:
    """UNIX nanoseconds as UTC ISO 8601 with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=wall_ns // 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
