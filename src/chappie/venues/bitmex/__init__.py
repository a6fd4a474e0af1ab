"""The BitMEX dialect, sans-IO: everything that only this protocol does."""

from chappie.venues.bitmex.dialect import BitmexDialect
from chappie.venues.bitmex.signing import BitmexSigner

__all__ = ["BitmexDialect", "BitmexSigner"]
