"""The single place where an order that creates exposure is allowed (control L1).

Nothing else makes an `Approved[NewOrder]`, and the sender takes nothing else. `allow_trade` is
the last line of the list.
"""

from enum import Enum

import msgspec

from chappie.model.enums import InstrumentState, OrdType
from chappie.model.faults import Posture
from chappie.model.instrument import Instrument
from chappie.model.orders import Approved, GateStamp, NewOrder
from chappie.model.units import Ticks

_MILLION = 1_000_000


class Denial(Enum):
    """Why an order was not allowed, in the order of asking; the value is what people read."""

    POSTURE = "a fault allows no order, or only reducing ones"
    BUDGET_LOW = "the venue's request budget is low, or its answers fail"
    INSTRUMENT_NOT_OPEN = "the instrument is not open for trading"
    LOT = "the quantity is no positive multiple of the lot"
    ORDER_QTY = "more contracts than bot.order_qty or than the venue takes in one order"
    NOT_REDUCING = "a reduce-only order that would not reduce"
    MAX_POSITION = "position and working orders would exceed bot.max_position"
    SYMBOL = "the symbol is not the instrument's, or not in limits.symbols"
    ACCOUNT = "the account is not limits.account, or the venue has not named it yet"
    ORDER_VALUE = "worth more than limits.max_order_value at its price or the mark"
    WORKING_ORDERS = "limits.max_working_orders work already"
    ORDERS_PER_MINUTE = "limits.max_orders_per_minute were sent within the last minute"
    ORDERS_PER_DECISION = "limits.max_orders_per_decision were sent for this decision"
    GIVEN_UP = (
        "replaced limits.max_repricings times and nothing filled: given up until the target changes"
    )
    REPEATED = (
        "limits.max_repeated_orders of this side were filled in a row, nothing else in between: "
        "this halts"
    )
    PRICE = "the price is not within the venue's limits"
    PRICE_COLLAR = (
        "it would pay more than orders.price_collar_pct beyond the mark or the opposite touch, "
        "or neither is known (at market the touch must be)"
    )
    FILLS_MISSING = "the venue said filled, and the execution is not in the ledger yet"
    IN_DOUBT = "an order of unknown fate counts at its worst case"
    DEAD_MAN_UNARMED = "the dead man's switch is not armed long enough"
    ALLOW_TRADE_OFF = "bot.allow_trade is off"


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What the limits on behaviour look at (control L5): what there is, and the most that may be.

    A limit of 0 is none.
    """

    symbols: tuple[str, ...] = ()
    # Whether the venue's own word is that this is the account of the configuration.
    right_account: bool = True
    max_order_value: int = 0
    working: int = 0
    max_working: int = 1
    sent_in_minute: int = 0
    max_in_minute: int = 0
    sent_for_decision: int = 0
    max_for_decision: int = 0
    # Orders sent for the target since it changed, or anything was filled.
    tried: int = 0
    max_tries: int = 0
    # Orders that added exposure and were filled, nothing else in between, by side.
    repeated_buy: int = 0
    repeated_sell: int = 0
    max_repeated: int = 0


class Circumstances(msgspec.Struct, frozen=True, gc=False):
    """Everything that the gate looks at, besides the order itself.

    ``live_buy`` and ``live_sell`` are contracts that may still fill at worst, unknown orders
    included; ``switch_holds``: armed beyond the moment the request can last arrive.
    """

    instrument: Instrument
    posture: Posture
    locked: bool
    qty: int
    live_buy: int
    live_sell: int
    in_doubt: bool
    fills_missing: bool
    order_qty: int
    max_position: int
    switch_holds: bool
    allow_trade: bool
    # What a price is held against, in ticks; None where it is not known.
    mark: int | None
    best_bid: int | None
    best_ask: int | None
    collar_ppm: int
    # The operator wants the position closed: then a reducing order at market, which never rests,
    # passes a halt, the bot's own order size, the collar (the venue's own rule stays) and the
    # switch; nothing else does (promise 2).
    flattening: bool = False
    counts: Counts = Counts()


def examine(order: NewOrder, c: Circumstances) -> Approved[NewOrder] | Denial:
    """Approve the order or say why not; the first reason in the list counts."""
    denial = _denial(order, c)
    return Approved(order, GateStamp.PASSED) if denial is None else denial


def _denial(order: NewOrder, c: Circumstances) -> Denial | None:
    sign = order.side.sign
    closing = c.flattening and order.reduce_only and order.ord_type is OrdType.MARKET
    allowed = Posture.REDUCE_ONLY if order.reduce_only else Posture.ACTIVE
    if c.posture > allowed and not closing:
        return Denial.POSTURE
    if c.locked:
        return Denial.BUDGET_LOW
    if c.instrument.state is not InstrumentState.OPEN:
        return Denial.INSTRUMENT_NOT_OPEN
    if order.qty <= 0 or order.qty % c.instrument.lot_size:
        return Denial.LOT
    most = c.instrument.max_order_qty or order.qty
    if order.qty > (most if closing else min(most, c.order_qty)):
        return Denial.ORDER_QTY
    working = c.live_buy if sign > 0 else c.live_sell
    # What works on the same side may fill first, and this one would then open (control O14).
    if order.reduce_only and not 0 < order.qty <= -sign * c.qty - working:
        return Denial.NOT_REDUCING
    if not order.reduce_only and sign * c.qty + working + order.qty > c.max_position:
        return Denial.MAX_POSITION
    exceeded = _exceeded(order, c)
    if exceeded is not None:
        return exceeded
    if order.price is not None and not 0 < c.instrument.price(order.price) <= (
        c.instrument.max_price or c.instrument.price(order.price)
    ):
        return Denial.PRICE
    if not closing and not _within_collar(order, c):
        return Denial.PRICE_COLLAR
    if c.fills_missing:
        return Denial.FILLS_MISSING
    if c.in_doubt:
        return Denial.IN_DOUBT
    if not (c.switch_holds or closing):
        return Denial.DEAD_MAN_UNARMED
    if not c.allow_trade:
        return Denial.ALLOW_TRADE_OFF
    return None


def _exceeded(order: NewOrder, c: Circumstances) -> Denial | None:
    """The limit on behaviour that an order would exceed (control L5).

    Reducing risk never waits: whatever reduces is held by where it goes, and by its own clipping.
    """
    n = c.counts
    if order.symbol != c.instrument.symbol or (n.symbols and order.symbol not in n.symbols):
        return Denial.SYMBOL
    # Two reads agree on the position that a flatten closes; at a start into a halt nothing may have
    # named the account.
    if not n.right_account and not c.flattening:
        return Denial.ACCOUNT
    if order.reduce_only:
        return None
    if n.max_order_value and _value(order, c) > n.max_order_value:
        return Denial.ORDER_VALUE
    if n.working >= n.max_working:
        return Denial.WORKING_ORDERS
    if n.max_in_minute and n.sent_in_minute >= n.max_in_minute:
        return Denial.ORDERS_PER_MINUTE
    if n.max_for_decision and n.sent_for_decision >= n.max_for_decision:
        return Denial.ORDERS_PER_DECISION
    if n.max_tries and n.tried >= n.max_tries:
        return Denial.GIVEN_UP
    repeated = n.repeated_buy if order.side.sign > 0 else n.repeated_sell
    if n.max_repeated and repeated >= n.max_repeated:
        return Denial.REPEATED
    return None


def _value(order: NewOrder, c: Circumstances) -> int:
    """What an order is worth at most, in minor units: at its own price, the touch that it would
    meet, or the mark. An inverse contract is worth more the lower it trades. Where no price is
    known the collar denies.
    """
    touch = c.best_ask if order.side.sign > 0 else c.best_bid
    own = touch if order.price is None else order.price
    prices = [price for price in (own, c.mark) if price is not None and price > 0]
    return max((c.instrument.value(order.qty, Ticks(price)) for price in prices), default=0)


def _within_collar(order: NewOrder, c: Circumstances) -> bool:
    """Whether an order pays no more than so much beyond both the mark and the opposite touch.

    The venue's own rule takes the lenient one of the two (protocol section 3): a book that was
    swept empty would then set its own limit. An order at market pays the touch at least, so that
    one it needs; a venue that states no mark leaves it with that alone.
    """
    sign = order.side.sign
    touch = c.best_ask if sign > 0 else c.best_bid
    price = touch if order.price is None else order.price
    known = [one for one in (c.mark, touch) if one is not None]
    if price is None or not known:
        return False
    return all(sign * (price - one) * _MILLION <= one * c.collar_ppm for one in known)
