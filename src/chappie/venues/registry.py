"""Which dialect speaks to which `venue.kind`: the one table that names venues."""

from collections.abc import Callable

import msgspec

from chappie.model.commands import HttpCall
from chappie.venues.bitmex import BitmexDialect, BitmexSigner
from chappie.venues.bitmex.dialect import creates_or_amends
from chappie.venues.interface import Dialect, Signer


class Venue(msgspec.Struct, frozen=True):
    """What it takes to speak to a venue."""

    dialect: Callable[[str], Dialect]
    signer: Callable[[str, str], Signer]
    creates_or_amends: Callable[[HttpCall], bool]


_BITMEX = Venue(dialect=BitmexDialect, signer=BitmexSigner, creates_or_amends=creates_or_amends)

# The simulated venue speaks BitMEX's protocol.
VENUES: dict[str, Venue] = {"simulated": _BITMEX, "bitmex": _BITMEX}
