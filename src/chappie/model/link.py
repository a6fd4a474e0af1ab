"""The words between trader and guardian, one JSON object per line on a socket pair.

The trader beats from its decision loop only, so a beat is proof that the loop turns.
"""

import msgspec

from chappie.model.state import State


class Beat(msgspec.Struct, tag="beat"):
    """The trader's loop turned; ``state`` is what it knows, ``epoch`` which run it is.

    Until ``rest_until_wall_ns`` (UNIX, 0: no such time) the venue wants no request of this account;
    ``banned``: and whoever sends one all the same makes a ban longer.
    """

    epoch: int
    state: State
    rest_until_wall_ns: int = 0
    banned: bool = False


class HaltSeen(msgspec.Struct, tag="halt_seen"):
    """The halt is obeyed: no request that creates or amends an order leaves from here on, but the
    closing order of a flatten.
    """

    detail: str


class Ending(msgspec.Struct, tag="ending"):
    """The trader is about to exit with this reason."""

    reason: str
    code: int
    detail: str


class EndNow(msgspec.Struct, tag="end"):
    """Guardian to trader: stop in order, with this reason of the contract."""

    reason: str
    detail: str


class HaltNow(msgspec.Struct, tag="halt"):
    """Guardian to trader: a halt is latched; obey it, say `HaltSeen`, and end with `halted`."""

    detail: str
    flatten: bool


Upward = Beat | HaltSeen | Ending
Downward = EndNow | HaltNow
