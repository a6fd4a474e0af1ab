"""Closed sets of words that cross module borders, spelled as the field and the venue spell them."""

from enum import Enum, IntEnum


class Side(Enum):
    BUY = "Buy"
    SELL = "Sell"

    @property
    def sign(self) -> int:
        """+1 for Buy, -1 for Sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrdStatus(Enum):
    """What the venue says of an order (FIX tag 39)."""

    PENDING_NEW = "PendingNew"
    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    FILLED = "Filled"
    PENDING_CANCEL = "PendingCancel"
    PENDING_REPLACE = "PendingReplace"
    CANCELED = "Canceled"
    REJECTED = "Rejected"
    EXPIRED = "Expired"

    @property
    def is_terminal(self) -> bool:
        """No further fill can happen."""
        return self in _TERMINAL


_TERMINAL = frozenset({OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.REJECTED, OrdStatus.EXPIRED})


class OrdType(Enum):
    MARKET = "Market"
    LIMIT = "Limit"


class TimeInForce(Enum):
    GTC = "GoodTillCancel"
    IOC = "ImmediateOrCancel"


class InstrumentState(Enum):
    OPEN = "Open"
    CLOSED = "Closed"
    CANCEL_ONLY = "CancelOnly"
    SETTLED = "Settled"
    UNLISTED = "Unlisted"
    EXPIRED = "Expired"
    CLEARED = "Cleared"
    DELISTED = "Delisted"


class Stream(Enum):
    """The streams with a clock of their own, named as the operator API names them."""

    # Members are looked up per market message, and Enum's own hash is a call into Python.
    __hash__ = object.__hash__

    QUOTE = "quote"
    BOOK = "orderBook"
    TRADE = "trade"
    INSTRUMENT = "instrument"
    ORDER = "order"
    EXECUTION = "execution"
    POSITION = "position"
    MARGIN = "margin"


class Lane(IntEnum):
    """Priority of a request: the lower, the sooner, and the later it is shut (control L4)."""

    CANCEL = 0
    RECONCILE = 1
    REDUCE = 2
    OPEN = 3
