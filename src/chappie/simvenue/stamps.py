"""Times as the venue writes them: ISO 8601, UTC, milliseconds."""

from datetime import UTC, datetime
from functools import lru_cache

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS


@lru_cache(maxsize=64)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def stamp(at_ns: int) -> str:
    """`2024-11-24T23:33:19.034Z` for UNIX nanoseconds."""
    seconds, rest = divmod(at_ns, SECOND_NS)
    return f"{_second(seconds)}{rest // 1_000_000:03d}Z"


def from_stamp(text: str) -> int:
    """UNIX nanoseconds of `2021-07-22T22:36:11.685Z`; ValueError for anything else."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {text!r}")
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * SECOND_NS + moment.microsecond * 1000
