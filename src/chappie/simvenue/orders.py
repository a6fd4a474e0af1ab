"""Order requests, the rules that admit them, and the order as the venue holds it.

Sources: protocol section 5 for defaults and rules, section 4 for the texts of refusals.
"""

from decimal import Decimal

import msgspec

from chappie.simvenue.changes import Refusal
from chappie.simvenue.contract import Contract

_WIRE = {
    "cl_ord_id": "clOrdID",
    "cl_ord_link_id": "clOrdLinkID",
    "contingency_type": "contingencyType",
    "display_qty": "displayQty",
    "exec_inst": "execInst",
    "leaves_qty": "leavesQty",
    "ord_type": "ordType",
    "order_id": "orderID",
    "order_qty": "orderQty",
    "orig_cl_ord_id": "origClOrdID",
    "peg_offset_value": "pegOffsetValue",
    "peg_price_type": "pegPriceType",
    "stop_px": "stopPx",
    "time_in_force": "timeInForce",
}

STOP_TYPES = ("Stop", "StopLimit", "MarketIfTouched", "LimitIfTouched")
LIMIT_TYPES = ("Limit", "StopLimit", "LimitIfTouched")
_TRIGGERS = ("MarkPrice", "LastPrice", "IndexPrice")
_EXEC_INSTS = ("ParticipateDoNotInitiate", "ReduceOnly", "Close", "LastWithinMark", *_TRIGGERS)
_TIMES = ("Day", "GoodTillCancel", "ImmediateOrCancel", "FillOrKill")
_REJECTED_TIMES = ("AtTheOpening", "GoodTillCrossing", "GoodTillDate", "AtTheClose")
SUBMITTED = "Submitted via API."
TERMINAL = ("Filled", "Canceled", "Rejected")


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True, rename=_WIRE):
    """POST /order as sent; `msgspec.convert(params, OrderRequest, strict=False)` builds it.

    Prices are Decimals so that no rounding of a float decides whether a price is on a tick.
    """

    symbol: str | None = None
    side: str | None = None
    order_qty: int | None = None
    price: Decimal | None = None
    display_qty: int | None = None
    stop_px: Decimal | None = None
    cl_ord_id: str | None = None
    cl_ord_link_id: str | None = None
    peg_offset_value: Decimal | None = None
    peg_price_type: str | None = None
    ord_type: str | None = None
    time_in_force: str | None = None
    exec_inst: str | None = None
    contingency_type: str | None = None
    text: str | None = None


class AmendRequest(msgspec.Struct, frozen=True, kw_only=True, rename=_WIRE):
    """PUT /order as sent. One quantity only; `cl_ord_id` renames, with `orig_cl_ord_id`."""

    order_id: str | None = None
    orig_cl_ord_id: str | None = None
    cl_ord_id: str | None = None
    order_qty: int | None = None
    leaves_qty: int | None = None
    price: Decimal | None = None
    stop_px: Decimal | None = None
    peg_offset_value: Decimal | None = None
    text: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the venue holds it. `order_qty` 0 means the whole position (Close)."""

    order_id: str
    cl_ord_id: str
    cl_ord_link_id: str = ""
    account: int
    symbol: str
    side: str
    order_qty: int
    price_ticks: int | None
    stop_ticks: int | None = None
    ord_type: str
    time_in_force: str
    exec_inst: str = ""
    ord_status: str = "New"
    triggered: str = ""
    working: bool = True
    ord_rej_reason: str = ""
    leaves_qty: int
    cum_qty: int = 0
    #: Sum of qty/price over the fills, scaled: the average price of an inverse is harmonic.
    weight: int = 0
    text: str
    transact_ns: int
    timestamp_ns: int
    filled_ns: int = 0

    @property
    def open(self) -> bool:
        return self.ord_status not in TERMINAL

    @property
    def waits(self) -> bool:
        """A stop that has not been triggered: open, not in the book, no margin."""
        return self.open and self.stop_ticks is not None and not self.triggered

    @property
    def post_only(self) -> bool:
        return "ParticipateDoNotInitiate" in self.exec_inst

    @property
    def reduces(self) -> bool:
        """ReduceOnly, or Close, which implies it (protocol section 5)."""
        return "ReduceOnly" in self.exec_inst or "Close" in self.exec_inst

    @property
    def trigger(self) -> str:
        """Which price sets a stop off; MarkPrice unless asked otherwise."""
        for name in _TRIGGERS:
            if name in self.exec_inst:
                return name
        return "MarkPrice"


def opposite(side: str) -> str:
    return "Sell" if side == "Buy" else "Buy"


def crosses(side: str, limit_ticks: int, other_ticks: int) -> bool:
    """Whether an order of `side` with this limit trades against a price of the other side."""
    return limit_ticks >= other_ticks if side == "Buy" else limit_ticks <= other_ticks


def _refuse(message: str) -> Refusal:
    return Refusal(400, message, "ValidationError")


def _type_of(request: OrderRequest) -> str:
    if request.ord_type:
        return request.ord_type
    if request.peg_price_type:
        return "Pegged"
    if request.stop_px is not None:
        return "Stop" if request.price is None else "StopLimit"
    return "Limit"


def _side_of(request: OrderRequest, insts: list[str], position_qty: int) -> str:
    if request.side:
        if request.side not in ("Buy", "Sell"):
            raise _refuse("Invalid side")
        return request.side
    if request.order_qty is not None:
        return "Sell" if request.order_qty < 0 else "Buy"
    if "Close" in insts and position_qty:
        return "Sell" if position_qty > 0 else "Buy"
    return "Buy"


def _insts_of(request: OrderRequest, ord_type: str) -> list[str]:
    insts = [part.strip() for part in (request.exec_inst or "").split(",") if part.strip()]
    for name in insts:
        if name in ("AllOrNone", "Fixed"):
            raise _refuse("Unsupported execInst")
        if name not in _EXEC_INSTS:
            raise _refuse("Invalid execInst")
    triggers = [name for name in insts if name in _TRIGGERS]
    if len(triggers) > 1:
        raise _refuse("Invalid execInst")
    if triggers and ord_type not in STOP_TYPES:
        raise _refuse("Invalid ordType for execInst")
    if "ParticipateDoNotInitiate" in insts and ord_type not in LIMIT_TYPES:
        raise _refuse("Invalid ordType for execInst")
    if "LastWithinMark" in insts and (
        ord_type not in ("Stop", "StopLimit") or "LastPrice" not in insts
    ):
        raise _refuse("Invalid ordType for execInst")
    return insts


def limit_ticks(contract: Contract, price: Decimal) -> int:
    """A limit price in ticks, or the refusal that the venue gives."""
    if not price.is_finite() or price <= 0 or price * 100 > contract.price_max_cents:
        raise _refuse("Invalid price")
    ticks = contract.ticks(price)
    if ticks is None:
        raise _refuse("Invalid price tickSize")
    return ticks


def stop_ticks(contract: Contract, price: Decimal) -> int:
    """A stop price in ticks, or the refusal that the venue gives."""
    if not price.is_finite() or price <= 0 or price * 100 > contract.price_max_cents:
        raise _refuse("Invalid stopPx for ordType")
    ticks = contract.ticks(price)
    if ticks is None:
        raise _refuse("Invalid stopPx tickSize")
    return ticks


def checked_qty(contract: Contract, qty: int) -> int:
    """An order quantity within the contract's bounds and in whole lots."""
    if qty <= 0 or qty > contract.order_qty_max or qty % contract.lot_qty:
        raise _refuse("Invalid orderQty")
    return qty


def check_cl_ord_id(text: str) -> str:
    if len(text) > 36:
        raise _refuse("Invalid clOrdID")
    return text


def admit(
    request: OrderRequest,
    contract: Contract,
    *,
    order_id: str,
    account: int,
    position_qty: int,
    at_ns: int,
) -> Order:
    """The order that a well-formed request describes, not yet working; Refusal otherwise."""
    if not request.symbol:
        raise Refusal(400, "'symbol' is a required arg.")
    if request.symbol != contract.symbol:
        raise _refuse("Invalid symbol")
    ord_type = _type_of(request)
    if ord_type == "Pegged" or request.peg_price_type or request.peg_offset_value is not None:
        raise _refuse("Unsupported ordType")
    if ord_type not in ("Market", "Limit", *STOP_TYPES):
        raise _refuse("Invalid ordType")
    if request.contingency_type:
        raise _refuse("Unsupported contingencyType")
    insts = _insts_of(request, ord_type)
    side = _side_of(request, insts, position_qty)

    if request.order_qty is None:
        if "Close" not in insts:
            raise _refuse("Invalid orderQty")
        if ord_type in STOP_TYPES and not request.side:
            # A stop may wait until the position has another sign, so it needs its side.
            raise _refuse("Invalid side")
        qty = 0
    else:
        qty = checked_qty(contract, abs(request.order_qty))
    if request.display_qty is not None and request.display_qty != qty:
        raise _refuse("Invalid displayQty")

    price: int | None = None
    if ord_type in LIMIT_TYPES:
        if request.price is None:
            raise _refuse("Invalid price")
        price = limit_ticks(contract, request.price)
    elif request.price is not None:
        raise _refuse("Invalid price")
    stop: int | None = None
    if ord_type in STOP_TYPES:
        if request.stop_px is None:
            raise _refuse("Invalid stopPx for ordType")
        stop = stop_ticks(contract, request.stop_px)
    elif request.stop_px is not None:
        raise _refuse("Invalid stopPx for ordType")

    time_in_force = request.time_in_force or ""
    if time_in_force in _REJECTED_TIMES:
        raise _refuse("Unsupported timeInForce")
    if time_in_force and time_in_force not in _TIMES:
        raise _refuse("Invalid timeInForce")
    if ord_type == "Market":
        # Captured rows show ImmediateOrCancel for market orders, whatever was asked.
        time_in_force = "FillOrKill" if time_in_force == "FillOrKill" else "ImmediateOrCancel"
    elif not time_in_force:
        time_in_force = "GoodTillCancel" if ord_type in LIMIT_TYPES else "ImmediateOrCancel"

    return Order(
        order_id=order_id,
        cl_ord_id=check_cl_ord_id(request.cl_ord_id or ""),
        cl_ord_link_id=request.cl_ord_link_id or "",
        account=account,
        symbol=contract.symbol,
        side=side,
        order_qty=qty,
        price_ticks=price,
        stop_ticks=stop,
        ord_type=ord_type,
        time_in_force=time_in_force,
        exec_inst=",".join(insts),
        working=stop is None,
        leaves_qty=qty,
        text=f"{request.text}\n{SUBMITTED}" if request.text else SUBMITTED,
        transact_ns=at_ns,
        timestamp_ns=at_ns,
    )
