"""Rows of orders, executions and public trades, exactly as they go on the wire.

Full rows omit null and empty columns (since 2023-01-16, protocol section 6). Columns come in
the order of the captures.
"""

import msgspec

from chappie.simvenue.account import average_price
from chappie.simvenue.changes import Row
from chappie.simvenue.contract import PPM, SATOSHI, Contract
from chappie.simvenue.orders import Order
from chappie.simvenue.stamps import stamp

ORDER_KEYS = ("orderID", "clOrdID", "account", "symbol", "timestamp")


class Match(msgspec.Struct, frozen=True, gc=False):
    """One match: a quantity that changed hands at the resting side's price."""

    match_id: str
    ticks: int
    qty: int
    taker_side: str


def compact(row: Row) -> Row:
    """Without null and empty columns."""
    return {name: value for name, value in row.items() if value is not None and value != ""}


def order_row(order: Order, contract: Contract) -> Row:
    return compact(
        {
            "orderID": order.order_id,
            "clOrdID": order.cl_ord_id,
            "clOrdLinkID": order.cl_ord_link_id,
            "account": order.account,
            "symbol": order.symbol,
            "side": order.side,
            "orderQty": order.order_qty or None,
            "price": None if order.price_ticks is None else contract.price(order.price_ticks),
            "stopPx": None if order.stop_ticks is None else contract.price(order.stop_ticks),
            "currency": "USD",
            "settlCurrency": "XBt",
            "ordType": order.ord_type,
            "timeInForce": order.time_in_force,
            "execInst": order.exec_inst,
            "ordStatus": order.ord_status,
            "triggered": order.triggered,
            "workingIndicator": order.working,
            "ordRejReason": order.ord_rej_reason,
            "leavesQty": order.leaves_qty,
            "cumQty": order.cum_qty,
            "avgPx": average_price(order.cum_qty, order.weight),
            "strategy": "OneWay",
            "text": order.text,
            "transactTime": stamp(order.transact_ns),
            "timestamp": stamp(order.timestamp_ns),
        }
    )


def execution_row(order: Order, contract: Contract, exec_id: str, exec_type: str) -> Row:
    """An execution that is not a trade: New, Canceled, Replaced, Rejected, Triggered…"""
    row: Row = {"execID": exec_id}
    row.update(order_row(order, contract))
    del row["strategy"]
    row["execType"] = exec_type
    return row


def trade_execution_row(
    order: Order, contract: Contract, exec_id: str, match: Match, *, maker: bool, comm: int
) -> Row:
    """One account's side of a match (protocol section 8)."""
    value = contract.value(contract.cents(match.ticks), match.qty)
    sign = 1 if order.side == "Buy" else -1
    rate = contract.maker_fee_ppm if maker else contract.taker_fee_ppm
    row = execution_row(order, contract, exec_id, "Trade")
    row.update(
        {
            "lastQty": match.qty,
            "lastPx": contract.price(match.ticks),
            "lastLiquidityInd": "AddedLiquidity" if maker else "RemovedLiquidity",
            "commission": rate / PPM,
            "brokerCommission": 0.0,
            "feeType": "Maker" if maker else "Taker",
            "tradePublishIndicator": "PublishTrade",
            "trdMatchID": match.match_id,
            "execCost": -sign * value,
            "execComm": comm,
            "brokerExecComm": 0,
            # Home is negative for a Sell, foreign positive (captured inverse rows).
            "homeNotional": sign * value / SATOSHI,
            "foreignNotional": float(match.qty),
            "trdType": "Regular",
        }
    )
    return row


def trade_row(match: Match, contract: Contract, at_ns: int, direction: str) -> Row:
    value = contract.value(contract.cents(match.ticks), match.qty)
    return {
        "timestamp": stamp(at_ns),
        "symbol": contract.symbol,
        "side": match.taker_side,
        "size": match.qty,
        "price": contract.price(match.ticks),
        "tickDirection": direction,
        "trdMatchID": match.match_id,
        "grossValue": value,
        "homeNotional": value / SATOSHI,
        "foreignNotional": float(match.qty),
        "trdType": "Regular",
    }
