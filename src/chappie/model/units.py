"""Units as types: what an integer counts.

Prices are ticks, quantities are contracts, money is the settlement currency's minor unit
(satoshi for XBt). Floats exist only at the wire and in front of people.
"""

from typing import NewType

import msgspec

Ticks = NewType("Ticks", int)
"""A price in units of the instrument's tick size."""

Contracts = NewType("Contracts", int)
"""A quantity in contracts; signed where it is a position (long positive)."""

Minor = NewType("Minor", int)
"""Money in the settlement currency's minor unit (XBt: 1e-8 XBT)."""

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


def seconds_ns(seconds: float) -> int:
    """Seconds of the configuration as integer nanoseconds."""
    return round(seconds * SECOND_NS)


class At(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The moment of a step.

    ``now_ns`` is monotonic and counts suspend: ages and deadlines. ``wall_ns`` is UNIX time:
    signatures and people.
    """

    now_ns: int
    wall_ns: int
