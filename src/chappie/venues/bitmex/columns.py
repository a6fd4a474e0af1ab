"""Rows of the private tables and of REST bodies, read with checks into neutral reports.

A row is read after its mirror merged it, so a column that an update left out is there
(reported failure 21: a Filled update lacks side, price and quantity).
"""

from decimal import Decimal

from chappie.model.enums import InstrumentState, OrdStatus, Side, Stream
from chappie.model.instrument import Instrument
from chappie.model.records import Fill, FundingPaid
from chappie.model.reports import (
    Filled,
    Funded,
    InstrumentSeen,
    MarginSaid,
    OrderSaid,
    PositionSaid,
    WireRefusal,
)
from chappie.model.timestamps import iso_ns
from chappie.model.units import Contracts, Minor
from chappie.venues.bitmex.wire import Row


class RowRefusedError(Exception):
    """A row that cannot be what it claims to be."""

    def __init__(self, why: WireRefusal, detail: str) -> None:
        super().__init__(detail)
        self.why = why
        self.detail = detail


# Execution types that change the position (protocol section 8); Funding changes the wallet only.
_POSITION_CHANGING = frozenset({"Trade", "Liquidation", "Bankruptcy", "Settlement"})
_OTHER_EXECUTIONS = frozenset(
    {
        "New",
        "Canceled",
        "Replaced",
        "Rejected",
        "CancelReject",
        "AmendReject",
        "TriggeredOrActivatedBySystem",
        "Insurance",
        "Rebalance",
        "Suspended",
        "Released",
        "TrialFill",
        "Restated",
        "Expired",
    }
)


def order_said(row: Row, instrument: Instrument) -> OrderSaid:
    """An order row; a price of another symbol's order stays None (its ticks are not ours)."""
    status = _text(row, "ordStatus")
    price = _number(row, "price")
    ours = row.get("symbol") == instrument.symbol
    return OrderSaid(
        order_id=_need_text(row, "orderID"),
        cl_ord_id=_text(row, "clOrdID"),
        symbol=_text(row, "symbol"),
        side=_side(row),
        ord_status=None if status is None else _ord_status(status),
        price=instrument.ticks(price) if ours and price else None,
        qty=_contracts(row, "orderQty"),
        leaves_qty=_contracts(row, "leavesQty"),
        cum_qty=_contracts(row, "cumQty"),
        text=_text(row, "text"),
        venue_ns=_time(row, "timestamp"),
    )


def execution_said(row: Row, instrument: Instrument) -> Filled | Funded | None:
    """An execution row of our symbol; None for kinds that change neither position nor wallet."""
    kind = _need_text(row, "execType")
    if kind == "Funding":
        return Funded(
            FundingPaid(
                exec_id=_need_text(row, "execID"),
                fee=Minor(_need_int(row, "execComm")),
                venue_ns=_when(row),
            )
        )
    if kind in _OTHER_EXECUTIONS:
        return None
    if kind not in _POSITION_CHANGING:
        raise RowRefusedError(WireRefusal.UNKNOWN_ENUM, f"execType {kind!r}")
    side = _side(row)
    if side is None:
        raise RowRefusedError(WireRefusal.SHAPE, "execution without side")
    price = _number(row, "lastPx")
    qty = _need_int(row, "lastQty")
    if price is None or price <= 0 or qty <= 0:
        raise RowRefusedError(WireRefusal.SHAPE, f"execution of lastQty {qty} at lastPx {price}")
    return Filled(
        Fill(
            exec_id=_need_text(row, "execID"),
            order_id=_text(row, "orderID") or "",
            cl_ord_id=_text(row, "clOrdID") or "",
            side=side,
            qty=Contracts(qty),
            price=instrument.ticks(price),
            cost=Minor(_need_int(row, "execCost")),
            fee=Minor(_need_int(row, "execComm")),
            venue_ns=_when(row),
            kind=kind,
        )
    )


def _when(row: Row) -> int:
    """When an execution happened, 0 when the row does not say."""
    return _time(row, "transactTime") or _time(row, "timestamp") or 0


def position_said(row: Row) -> PositionSaid:
    """A position row; a null currentQty is what the venue sends before any trade."""
    return PositionSaid(
        qty=Contracts(_int(row, "currentQty") or 0),
        cost=_minor(row, "posCost"),
        avg_entry_price=_number(row, "avgEntryPrice"),
        unrealised=_minor(row, "unrealisedPnl"),
        liquidation_price=_number(row, "liquidationPrice"),
    )


def margin_said(row: Row) -> MarginSaid:
    return MarginSaid(
        wallet=_minor(row, "walletBalance"),
        margin=_minor(row, "marginBalance"),
        available=_minor(row, "availableMargin"),
        account=_int(row, "account"),
    )


def instrument_seen(row: Row) -> InstrumentSeen:
    """An instrument row with its terms (control F11: tick, lot and state come from the venue)."""
    state = _need_text(row, "state")
    try:
        known_state = InstrumentState(state)
    except ValueError:
        raise RowRefusedError(WireRefusal.UNKNOWN_ENUM, f"instrument state {state!r}") from None
    tick = _number(row, "tickSize")
    lot = _int(row, "lotSize")
    multiplier = _int(row, "multiplier")
    if not tick or tick < 0 or not lot or lot < 0 or not multiplier:
        raise RowRefusedError(
            WireRefusal.SHAPE, f"tickSize {tick}, lotSize {lot}, multiplier {multiplier}"
        )
    instrument = Instrument(
        symbol=_need_text(row, "symbol"),
        state=known_state,
        tick_size=Decimal(str(tick)),
        lot_size=lot,
        multiplier=multiplier,
        is_inverse=_flag(row, "isInverse"),
        settl_currency=_text(row, "settlCurrency") or "XBt",
        max_order_qty=_int(row, "maxOrderQty") or 0,
        max_price=Decimal(str(_number(row, "maxPrice") or 0)),
        maker_fee=Decimal(str(_number(row, "makerFee") or 0)),
        taker_fee=Decimal(str(_number(row, "takerFee") or 0)),
    )
    return InstrumentSeen(
        instrument=instrument,
        mark_price=_number(row, "markPrice"),
        # There is no index column: the settle price is the index (protocol section 7).
        index_price=_number(row, "indicativeSettlePrice"),
        funding_rate=_number(row, "fundingRate"),
        last_price=_number(row, "lastPrice"),
        funding_stamp=_text(row, "fundingTimestamp"),
    )


def stream_of_topic(topic: str) -> Stream | None:
    """The stream of a subscription topic such as ``orderBookL2:XBTUSD``."""
    return STREAM_OF_TABLE.get(topic.partition(":")[0])


STREAM_OF_TABLE: dict[str, Stream] = {
    "orderBookL2": Stream.BOOK,
    "quote": Stream.QUOTE,
    "trade": Stream.TRADE,
    "instrument": Stream.INSTRUMENT,
    "order": Stream.ORDER,
    "execution": Stream.EXECUTION,
    "position": Stream.POSITION,
    "margin": Stream.MARGIN,
}


def _ord_status(word: str) -> OrdStatus:
    try:
        return OrdStatus(word)
    except ValueError:
        raise RowRefusedError(WireRefusal.UNKNOWN_ENUM, f"ordStatus {word!r}") from None


def _side(row: Row) -> Side | None:
    word = row.get("side")
    if word is None or word == "":
        return None
    try:
        return Side(word)
    except ValueError:
        raise RowRefusedError(WireRefusal.UNKNOWN_ENUM, f"side {word!r}") from None


def _text(row: Row, name: str) -> str | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise RowRefusedError(WireRefusal.SHAPE, f"{name} {value!r} is no text")
    return value


def _need_text(row: Row, name: str) -> str:
    value = _text(row, name)
    if value is None:
        raise RowRefusedError(WireRefusal.SHAPE, f"row without {name}")
    return value


def _int(row: Row, name: str) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RowRefusedError(WireRefusal.SHAPE, f"{name} {value!r} is no whole number")
    return value


def _need_int(row: Row, name: str) -> int:
    value = _int(row, name)
    if value is None:
        raise RowRefusedError(WireRefusal.SHAPE, f"row without {name}")
    return value


def _contracts(row: Row, name: str) -> Contracts | None:
    value = _int(row, name)
    return None if value is None else Contracts(value)


def _minor(row: Row, name: str) -> Minor | None:
    value = _int(row, name)
    return None if value is None else Minor(value)


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise RowRefusedError(WireRefusal.SHAPE, f"{name} {value!r} is no number")
    return value


def _flag(row: Row, name: str) -> bool:
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        raise RowRefusedError(WireRefusal.SHAPE, f"{name} {value!r} is neither true nor false")
    return bool(value)


def _time(row: Row, name: str) -> int | None:
    value = row.get(name)
    return iso_ns(value) if isinstance(value, str) else None
