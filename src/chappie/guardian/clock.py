"""The guardian's two clocks: one that counts suspend, for ages, and UNIX time, for people."""

import time
from datetime import UTC, datetime

_AGING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Monotonic seconds that count suspend: a state seen before a nap is old after it."""
    return time.clock_gettime(_AGING)


def iso_now() -> str:
    """UNIX time as people read it, in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
