"""The two clocks of the shell: one for ages and deadlines, one for signatures and people."""

import time

from chappie.model.units import At

# Monotonic and counting suspend, where the system has such a clock: data that aged while the
# machine slept is old.
_NOW_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> At:
    """This moment, as a step wants it."""
    return At(time.clock_gettime_ns(_NOW_CLOCK), time.time_ns())
