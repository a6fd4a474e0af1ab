"""A machine that can be put to sleep: every Python process started with this folder on its path
reads the clocks that count suspend as so much later as the file of ``NAP_FILE`` says.

CLOCK_MONOTONIC and the timers of the loop do not count suspend, and stay as they are.
"""

import mmap
import os
import struct
import time

with open(os.environ["NAP_FILE"], "rb") as _file:
    _slept = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)

_clock_gettime_ns = time.clock_gettime_ns
_clock_gettime = time.clock_gettime
_time_ns = time.time_ns
_time = time.time
_COUNTING = (time.CLOCK_BOOTTIME, time.CLOCK_REALTIME)


def _slept_ns() -> int:
    (slept_ns,) = struct.unpack("<q", _slept)
    return int(slept_ns)


time.clock_gettime_ns = lambda clock: (
    _clock_gettime_ns(clock) + (_slept_ns() if clock in _COUNTING else 0)
)
time.clock_gettime = lambda clock: (
    _clock_gettime(clock) + (_slept_ns() / 1e9 if clock in _COUNTING else 0.0)
)
time.time_ns = lambda: _time_ns() + _slept_ns()
time.time = lambda: _time() + _slept_ns() / 1e9
