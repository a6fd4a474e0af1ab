"""The words between trader and guardian, one JSON object per line on a socket pair.

The trader beats from its decision loop only, so a beat is proof that the loop turns.
"""

import msgspec

from chappie.model.state import State


class Beat(msgspec.Struct, tag="beat"):
    """The trader's loop turned; ``state`` is what it knows, ``epoch`` which run it is.

    ``rest_until_wall_ns``: the venue told us to send nothing before (0: it did not); ``banned``:
    because this address is banned.
    """

    epoch: int
    state: State
    rest_until_wall_ns: int = 0
    banned: bool = False


class Ending(msgspec.Struct, tag="ending"):
    """The trader is about to exit with this reason."""

    reason: str
    code: int
    detail: str


class EndNow(msgspec.Struct, tag="end"):
    """Guardian to trader: stop in order, with this reason of the contract."""

    reason: str
    detail: str


Upward = Beat | Ending
Downward = EndNow
