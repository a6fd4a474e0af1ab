"""Rows of position, margin, wallet and wallet history (columns of the captures since 2023)."""

from chappie.simvenue.account import Account, mark_value, unrealised_pnl
from chappie.simvenue.changes import Row
from chappie.simvenue.contract import PPM, SATOSHI, Contract
from chappie.simvenue.margin import (
    backing,
    balance,
    exit_cents,
    init_ppm,
    maint_ppm,
    needs,
    open_orders,
    orders_margin,
)
from chappie.simvenue.rows import compact
from chappie.simvenue.stamps import stamp

POSITION_KEYS = ("account", "symbol", "strategy", "currency", "timestamp")
MARGIN_KEYS = ("account", "currency", "timestamp")
WALLET_KEYS = ("account", "currency", "timestamp")


def position_row(
    account: Account, contract: Contract, mark_cents: int, funding_ppm: int, at_ns: int
) -> Row:
    """The full row; `markPrice` and the prices of a flat position are omitted."""
    position = account.position
    load = open_orders(account.open_orders.values(), contract, mark_cents)
    need = needs(position, contract, funding_ppm)
    is_open = bool(position.qty or load.buy_qty or load.sell_qty)
    value = mark_value(position, contract, mark_cents) if position.qty else 0
    pnl = unrealised_pnl(position, contract, mark_cents)
    cost = abs(position.cost)
    liquidation = bankrupt = break_even = None
    entry = position.avg_entry_price
    if position.qty:
        behind = backing(account, need)
        liquidation = exit_cents(position, contract, behind - need.pos_maint)
        bankrupt = exit_cents(position, contract, behind)
        break_even = exit_cents(position, contract, position.realised_pnl)
    rate = init_ppm(position, contract)
    return compact(
        {
            "account": account.number,
            "symbol": contract.symbol,
            "strategy": "OneWay",
            "currency": "XBt",
            "underlying": "XBT",
            "quoteCurrency": "USD",
            "commission": contract.taker_fee_ppm / PPM,
            "initMarginReq": rate / PPM,
            "maintMarginReq": maint_ppm(position, contract) / PPM,
            "riskLimit": position.risk_limit,
            "leverage": position.leverage_centi / 100,
            "crossMargin": position.cross,
            "deleveragePercentile": 1.0 if position.qty else None,
            "rebalancedPnl": 0,
            "prevRealisedPnl": position.prev_realised_pnl,
            "openOrderBuyQty": load.buy_qty,
            "openOrderBuyCost": load.buy_cost,
            "openOrderBuyPremium": 0,
            "openOrderSellQty": load.sell_qty,
            "openOrderSellCost": load.sell_cost,
            "openOrderSellPremium": 0,
            "currentQty": position.qty,
            "currentCost": position.current_cost,
            "currentComm": position.current_comm,
            "realisedCost": position.realised_cost,
            "unrealisedCost": position.cost,
            "grossOpenPremium": 0,
            "isOpen": is_open,
            "markPrice": mark_cents / 100 if is_open else None,
            "markValue": value,
            "riskValue": abs(value) + max(-load.buy_cost, load.sell_cost),
            "homeNotional": -value / SATOSHI,
            "foreignNotional": float(-position.qty),
            "posCost": position.cost,
            "posCross": position.extra_margin,
            "posComm": need.pos_comm,
            "posLoss": 0,
            "posMargin": need.pos_margin,
            "posMaint": need.pos_maint,
            "posInit": need.pos_init,
            "initMargin": orders_margin(position, load, contract),
            "maintMargin": need.locked + (0 if position.cross else pnl),
            "realisedPnl": position.realised_pnl,
            "unrealisedPnl": pnl,
            "unrealisedPnlPcnt": _ratio(pnl, cost),
            "unrealisedRoePcnt": _ratio(pnl * PPM, cost * rate),
            "avgCostPrice": entry,
            "avgEntryPrice": entry,
            "breakEvenPrice": None if break_even is None else break_even / 100,
            "marginCallPrice": None if liquidation is None else liquidation / 100,
            "liquidationPrice": None if liquidation is None else liquidation / 100,
            "bankruptPrice": None if bankrupt is None else bankrupt / 100,
            "timestamp": stamp(at_ns),
        }
    )


def margin_row(
    account: Account, contract: Contract, mark_cents: int, funding_ppm: int, at_ns: int
) -> Row:
    """The margin table's row of one account in XBt."""
    position = account.position
    state = balance(account, contract, mark_cents, funding_ppm)
    load = open_orders(account.open_orders.values(), contract, mark_cents)
    gross = contract.value(mark_cents, abs(position.qty)) if position.qty else 0
    open_cost = max(-load.buy_cost, load.sell_cost)
    used = state.init_margin + state.maint_margin
    excess = state.margin_balance - used
    return {
        "account": account.number,
        "currency": "XBt",
        "riskLimit": position.risk_limit,
        "amount": account.wallet,
        "prevRealisedPnl": position.prev_realised_pnl,
        "grossComm": position.current_comm,
        "grossOpenCost": open_cost,
        "grossOpenPremium": 0,
        "grossExecCost": abs(position.current_cost),
        "grossMarkValue": gross,
        "riskValue": gross + open_cost,
        "initMargin": state.init_margin,
        "maintMargin": state.maint_margin,
        "targetExcessMargin": 0,
        "realisedPnl": position.realised_pnl,
        "unrealisedPnl": state.unrealised_pnl,
        "walletBalance": account.wallet,
        "marginBalance": state.margin_balance,
        "marginLeverage": _ratio(gross, state.margin_balance),
        "marginUsedPcnt": _ratio(used, state.margin_balance),
        "excessMargin": excess,
        "availableMargin": state.available,
        "withdrawableMargin": max(0, min(account.wallet, state.available)),
        "makerFeeDiscount": 0.0,
        "takerFeeDiscount": 0.0,
        "timestamp": stamp(at_ns),
    }


def wallet_row(account: Account) -> Row:
    """The wallet table's row. Results and fees are settled at once (instantPnl)."""
    return {
        "account": account.number,
        "currency": "XBt",
        "deposited": account.deposited,
        "withdrawn": 0,
        "transferIn": 0,
        "transferOut": 0,
        "amount": account.wallet,
        "pendingCredit": 0,
        "pendingDebit": 0,
        "confirmedDebit": 0,
        "timestamp": stamp(account.wallet_changed_ns),
    }


def transact_row(
    account: Account,
    transact_id: str,
    transact_type: str,
    amount: int,
    at_ns: int,
    *,
    address: str = "",
    order_id: str = "",
    exec_id: str = "",
) -> Row:
    """One line of the wallet history; its `walletBalance` is the wallet after it."""
    return compact(
        {
            "transactID": transact_id,
            "account": account.number,
            "currency": "XBt",
            "transactType": transact_type,
            "amount": amount,
            "walletBalance": account.wallet,
            "transactStatus": "Completed",
            "address": address,
            "tx": exec_id,
            "orderID": order_id,
            "transactTime": stamp(at_ns),
            "timestamp": stamp(at_ns),
        }
    )


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
