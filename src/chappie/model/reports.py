"""What a venue said, in neutral words: the only thing that the core reads of it.

A dialect turns frames and answers into these. None means that the venue did not say.
"""

from enum import Enum
from typing import TypeAlias

import msgspec

from chappie.model.enums import OrdStatus, Side, Stream
from chappie.model.instrument import Instrument
from chappie.model.records import Fill, FundingPaid
from chappie.model.units import Contracts, Minor, Ticks


class _Report(msgspec.Struct, frozen=True, gc=False):
    pass


# --- the connection


class Welcomed(_Report, frozen=True, gc=False):
    """The venue's first word on a new connection; ``venue_ns`` is its clock, UNIX."""

    venue_ns: int | None


class Subscribed(_Report, frozen=True, gc=False):
    stream: Stream


class SubscriptionRefused(_Report, frozen=True, gc=False):
    """``stream`` is None when the venue's error does not name one."""

    stream: Stream | None
    detail: str


class Ponged(_Report, frozen=True, gc=False):
    pass


# --- the health of a table


class ImageApplied(_Report, frozen=True, gc=False):
    """An initial image replaced whatever the mirror held."""

    stream: Stream


class Advanced(_Report, frozen=True, gc=False):
    """A consistent increment was applied."""

    stream: Stream


class EarlyDropped(_Report, frozen=True, gc=False):
    """A delta came before its image and was dropped (protocol section 6)."""

    stream: Stream


class Inconsistent(_Report, frozen=True, gc=False):
    """The mirror can no longer be true: the stream is unsynced at once (control F5)."""

    stream: Stream
    detail: str


class WireRefusal(Enum):
    """Why a message was not understood; the table in `docs/bitmex.md` is generated from this."""

    NOT_JSON = "not JSON, or cut short"
    SHAPE = "JSON of a shape that this table never has"
    UNKNOWN_TABLE = "a table that we did not subscribe to"
    UNKNOWN_ENUM = "a word outside the closed set of this column"
    UNKNOWN_KEYS = "an image whose keys do not identify our rows"
    FOREIGN_SYMBOL = "rows of another symbol"
    OFF_TICK = "a price between two ticks"
    TOO_LARGE = "a message larger than the limit"


class Refused(_Report, frozen=True, gc=False):
    """A message that could not be understood; its stream, where that is known, is unsynced."""

    why: WireRefusal
    stream: Stream | None
    detail: str


class VenueComplained(_Report, frozen=True, gc=False):
    """An error frame that belongs to no subscription."""

    status: int | None
    detail: str


# --- the market


class QuoteSeen(_Report, frozen=True, gc=False):
    """Top of book; a side without liquidity is None. ``stamp`` is the venue's ISO timestamp, kept
    as text because only the periodic check reads it.
    """

    bid: Ticks | None
    bid_size: Contracts
    ask: Ticks | None
    ask_size: Contracts
    stamp: str | None


class TradeSeen(_Report, frozen=True, gc=False):
    """A public trade; ``side`` is the aggressor's."""

    side: Side
    qty: Contracts
    price: Ticks


class InstrumentSeen(_Report, frozen=True, gc=False):
    """Terms and prices of the instrument after an image or an update.

    ``mark_price``, ``index_price`` and ``funding_rate`` are wire floats: inputs for people and
    policies, never for accounting. ``funding_stamp`` is when funding is next due, as ISO text:
    only the periodic check reads it.
    """

    instrument: Instrument
    mark_price: float | None
    index_price: float | None
    funding_rate: float | None
    last_price: float | None
    funding_stamp: str | None = None


# --- our account


class OrderSaid(_Report, frozen=True, gc=False):
    """What the venue says of one order; any column may be missing in an update."""

    order_id: str
    cl_ord_id: str | None
    symbol: str | None
    side: Side | None
    ord_status: OrdStatus | None
    price: Ticks | None
    qty: Contracts | None
    leaves_qty: Contracts | None
    cum_qty: Contracts | None
    text: str | None
    venue_ns: int | None


class Filled(_Report, frozen=True, gc=False):
    fill: Fill


class Funded(_Report, frozen=True, gc=False):
    paid: FundingPaid


class PositionSaid(_Report, frozen=True, gc=False):
    """``qty`` is signed, ``cost`` its signed entry cost; ``avg_entry_price`` is for people."""

    qty: Contracts
    cost: Minor | None
    avg_entry_price: float | None
    unrealised: Minor | None
    liquidation_price: float | None


class MarginSaid(_Report, frozen=True, gc=False):
    """``account`` is the venue's number of the account that all of this is about."""

    wallet: Minor | None
    margin: Minor | None
    available: Minor | None
    account: int | None = None


# --- answers to requests


class Read(Enum):
    """What a query asked for."""

    ORDERS = "orders"
    FILLS = "fills"
    POSITION = "position"
    MARGIN = "margin"
    INSTRUMENT = "instrument"
    KEY = "key"
    ORDER = "order"


class OrdersRead(_Report, frozen=True, gc=False):
    """Rows of a proven complete read: never an empty stand-in for a failed one (promise 8)."""

    orders: tuple[OrderSaid, ...]


class FillsRead(_Report, frozen=True, gc=False):
    """One page of executions, oldest first; ``more`` when the page was full."""

    fills: tuple[Filled | Funded, ...]
    rows: int
    more: bool


class PositionRead(_Report, frozen=True, gc=False):
    """Our position in the symbol; a proven absence of one is a quantity of 0."""

    position: PositionSaid


class MarginRead(_Report, frozen=True, gc=False):
    """The account's money in the settlement currency."""

    margin: MarginSaid


class InstrumentRead(_Report, frozen=True, gc=False):
    """The terms of the one instrument that was asked for."""

    seen: InstrumentSeen


class KeyRead(_Report, frozen=True, gc=False):
    """What our key may do."""

    can_trade: bool
    can_withdraw: bool


class OrderAnswered(_Report, frozen=True, gc=False):
    """The order rows that a new, amend or cancel request came back with.

    ``failures`` holds (orderID or clOrdID, the venue's words) of ids that were not cancelled.
    """

    orders: tuple[OrderSaid, ...]
    failures: tuple[tuple[str, str], ...] = ()


class SwitchArmed(_Report, frozen=True, gc=False):
    """The dead man's switch stands; ``fires_ns`` is the venue's wall time, None when disarmed."""

    venue_ns: int
    fires_ns: int | None


class Rejected(_Report, frozen=True, gc=False):
    """A definite refusal of this request: it changed nothing at the venue."""

    status: int
    detail: str


class NotAccepted(_Report, frozen=True, gc=False):
    """Refused at the door by documented overload or rate limit: it never reached the engine."""

    status: int
    retry_after_s: float | None
    detail: str


class KeyRefused(_Report, frozen=True, gc=False):
    """The venue will not talk to this key: invalid, disabled, not permitted, or we are banned.

    ``banned``: it is the address that is refused, and every further request makes that longer;
    ``retry_after_s`` for how long, where the venue says so.
    """

    status: int
    detail: str
    banned: bool = False
    retry_after_s: float | None = None


class RequestExpired(_Report, frozen=True, gc=False):
    """Refused because its expiry lies in the venue's past: nothing happened, clocks differ."""

    venue_ns: int | None
    detail: str


class NeverSent(_Report, frozen=True, gc=False):
    """No byte of the request left this machine: nothing happened."""

    detail: str


class Unknown(_Report, frozen=True, gc=False):
    """The answer proves nothing: the request may or may not have been carried out."""

    status: int
    detail: str


class BudgetSeen(_Report, frozen=True, gc=False):
    """The venue's request budget after an answer; None where a header was missing.

    ``limit_1s`` and ``remaining_1s`` are of the second layer, of requests that enter orders.
    """

    limit: int | None
    remaining: int | None
    reset_s: int | None
    remaining_1s: int | None
    limit_1s: int | None = None


Report: TypeAlias = (
    Advanced
    | QuoteSeen
    | TradeSeen
    | InstrumentSeen
    | ImageApplied
    | EarlyDropped
    | Inconsistent
    | Refused
    | OrderSaid
    | Filled
    | Funded
    | PositionSaid
    | MarginSaid
    | Welcomed
    | Subscribed
    | SubscriptionRefused
    | Ponged
    | VenueComplained
)

Outcome: TypeAlias = (
    OrdersRead
    | FillsRead
    | PositionRead
    | MarginRead
    | InstrumentRead
    | KeyRead
    | OrderAnswered
    | SwitchArmed
    | Rejected
    | NotAccepted
    | KeyRefused
    | RequestExpired
    | NeverSent
    | Unknown
)
