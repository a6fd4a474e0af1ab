"""UNIX nanoseconds to and from the texts that venues and people read: ISO 8601, HTTP dates."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Not strptime's: its names of months follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HTTP_DATE = re.compile(
    rf"(?:{'|'.join(_DAYS)}), ([0-9]{{2}}) ({'|'.join(_MONTHS)}) ([0-9]{{4}}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


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


def http_date_ns(text: str) -> int | None:
    """``Sun, 06 Nov 1994 08:49:37 GMT`` in UNIX nanoseconds; None when it is no such date."""
    found = _HTTP_DATE.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        moment = datetime(
            int(year),
            _MONTHS.index(month) + 1,
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return (moment - _EPOCH) // _MICROSECOND * 1000


def http_date(wall_ns: int) -> str:
    """UNIX nanoseconds as the Date header of an answer."""
    moment = _EPOCH + timedelta(milliseconds=wall_ns // 1_000_000)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return moment.strftime(f"{day}, %d {month} %Y %H:%M:%S GMT")
