"""The REST routes: what each needs, and how it is answered from the exchange (section 5).

One row per route in `ROUTES`: who may call it, whether it counts against the second layer of
the budget, and the function that answers it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from chappie.simvenue import tables
from chappie.simvenue.auth import Key
from chappie.simvenue.changes import Refusal
from chappie.simvenue.derived import complete_bins, quote_bins, top
from chappie.simvenue.envelopes import NOT_FOUND, Json
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.orders import AmendRequest, OrderRequest
from chappie.simvenue.query import Args, BadArgument, Row, run_query, symbols_of, trim

CURRENCY = "XBt"

_HISTORY_TYPES = ("Trade", "Funding", "Settlement", "Liquidation", "Bankruptcy", "Insurance")

_R = TypeVar("_R", OrderRequest, AmendRequest)


class Call(msgspec.Struct, frozen=True):
    """One admitted request on its way to the exchange."""

    at_ns: int
    exchange: Exchange
    args: Args
    key: Key | None
    keys: tuple[Key, ...]
    instruments: list[Row]
    """The instrument rows as the venue shows them now."""
    skew_ns: int = 0
    """How far the venue's clock is wrong."""

    @property
    def account(self) -> int:
        """Whose request it is; private routes are only reached with a key."""
        assert self.key is not None
        return self.key.account


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What a route needs and how it is answered."""

    answer: Callable[[Call], Json]
    private: bool = True
    permission: str | None = None
    second_layer: bool = False


# Orders


def _request(call: Call, kind: type[_R]) -> _R:
    sent = {name: value for name, value in call.args.values.items() if value != ""}
    try:
        return msgspec.convert(sent, kind, strict=False)
    except msgspec.ValidationError as error:
        # The text names the field as `$.price`; the venue has no known wording for a wrong type.
        field = str(error).partition("$.")[2].strip("`") or "body"
        raise BadArgument(f"Invalid {field}") from None


def _post_order(call: Call) -> Json:
    call.args.required("symbol")
    request = _request(call, OrderRequest)
    return call.exchange.submit(call.at_ns, call.account, request)


def _put_order(call: Call) -> Json:
    return call.exchange.amend(call.at_ns, call.account, _request(call, AmendRequest))


def _delete_order(call: Call) -> Json:
    order_ids = call.args.strings("orderID")
    cl_ord_ids = call.args.strings("clOrdID")
    if not order_ids and not cl_ord_ids:
        raise BadArgument("orderID or clOrdID must be sent.")
    return call.exchange.cancel(
        call.at_ns,
        call.account,
        order_ids=order_ids,
        cl_ord_ids=cl_ord_ids,
        text=call.args.text("text") or "",
    )


def _delete_all(call: Call) -> Json:
    chosen = call.args.mapping("filter")
    symbol = call.args.text("symbol") or chosen.get("symbol")
    side = chosen.get("side")
    if symbol is not None:
        symbols = symbols_of(str(symbol), call.instruments)
        if not symbols:
            raise BadArgument("Invalid symbol")
        symbol = symbols[0]
    return call.exchange.cancel_all(
        call.at_ns,
        call.account,
        symbol=symbol,
        side=None if side is None else str(side),
        text=call.args.text("text") or "",
    )


def _cancel_all_after(call: Call) -> Json:
    call.args.required("timeout")
    timeout = call.args.integer("timeout")
    if timeout is None or timeout < 0:
        raise BadArgument("Invalid timeout")
    return call.exchange.cancel_all_after(call.at_ns, call.account, timeout, call.skew_ns)


def _close_position(call: Call) -> Json:
    call.args.required("symbol")
    ord_type = "Limit" if call.args.has("price") else "Market"
    sent = {"symbol": call.args.text("symbol"), "execInst": "Close", "ordType": ord_type}
    if call.args.has("price"):
        sent["price"] = call.args.values["price"]
    return _post_order(msgspec.structs.replace(call, args=Args(sent)))


def _get_orders(call: Call) -> Json:
    rows = call.exchange.orders(call.account)
    return run_query(rows, call.args, keys=("orderID",), symbols=_chosen(call))


def _get_executions(call: Call) -> Json:
    rows = call.exchange.executions(call.account)
    return run_query(
        rows, call.args, keys=("execID",), symbols=_chosen(call), time_column="transactTime"
    )


def _get_trade_history(call: Call) -> Json:
    rows = [
        row for row in call.exchange.executions(call.account) if row["execType"] in _HISTORY_TYPES
    ]
    return run_query(
        rows, call.args, keys=("execID",), symbols=_chosen(call), time_column="transactTime"
    )


# Positions


def _get_positions(call: Call) -> Json:
    rows = call.exchange.positions(call.account)
    return run_query(rows, call.args, keys=("account", "symbol", "currency"))


def _leverage(call: Call) -> Json:
    call.args.required("symbol", "leverage")
    leverage = call.args.number("leverage")
    assert leverage is not None
    return call.exchange.set_leverage(call.at_ns, call.account, _symbol(call), leverage)


def _isolate(call: Call) -> Json:
    call.args.required("symbol")
    enabled = call.args.flag("enabled", True)
    return call.exchange.isolate(call.at_ns, call.account, _symbol(call), enabled)


def _risk_limit(call: Call) -> Json:
    call.args.required("symbol", "riskLimit")
    limit = call.args.integer("riskLimit")
    assert limit is not None
    return call.exchange.set_risk_limit(call.at_ns, call.account, _symbol(call), limit)


def _transfer_margin(call: Call) -> Json:
    call.args.required("symbol", "amount")
    amount = call.args.integer("amount")
    assert amount is not None
    return call.exchange.transfer_margin(call.at_ns, call.account, _symbol(call), amount)


# The user


def _user(call: Call) -> Json:
    account = call.account
    return {
        "id": account,
        "firstname": "Demo",
        "lastname": "Account",
        "username": f"demo{account}",
        "email": f"demo{account}@example.com",
        "created": "2024-01-01T00:00:00.000Z",
        "lastUpdated": "2024-01-01T00:00:00.000Z",
        "preferences": {},
        "typ": "Individual",
    }


def _margin(call: Call) -> Json:
    currency = call.args.text("currency") or CURRENCY
    if currency == "all":
        return [call.exchange.margin(call.account, CURRENCY)]
    if currency != CURRENCY:
        # An account here holds bitcoin only; the venue says so when asked for another currency.
        raise BadArgument(f"Account has no {currency}")
    return call.exchange.margin(call.account, CURRENCY)


def _wallet(call: Call) -> Json:
    currency = call.args.text("currency") or CURRENCY
    if currency == "all":
        return [call.exchange.wallet(call.account)]
    if currency != CURRENCY:
        raise BadArgument(f"Account has no {currency}")
    return call.exchange.wallet(call.account)


def _wallet_history(call: Call) -> Json:
    rows = call.exchange.wallet_history(call.account)
    currency = call.args.text("currency") or CURRENCY
    if currency not in ("all", CURRENCY):
        rows = []
    return run_query(rows, call.args, count_max=10_000, count_default=10_000, reverse_default=True)


def _commission(call: Call) -> Json:
    fees: Row = {}
    for row in call.instruments:
        if "makerFee" in row:
            fees[str(row["symbol"])] = {
                "makerFee": row["makerFee"],
                "takerFee": row["takerFee"],
                "settlementFee": row.get("settlementFee", 0.0),
                "currency": row.get("settlCurrency"),
            }
    return fees


def _api_keys(call: Call) -> Json:
    return [
        {
            "id": key.api_key,
            "name": f"key of account {key.account}",
            "cidr": "0.0.0.0/0",
            "permissions": list(key.permissions),
            "enabled": True,
            "userId": key.account,
            "created": "2024-01-01T00:00:00.000Z",
        }
        for key in call.keys
        if key.account == call.account
    ]


def _assets(_: Call) -> Json:
    return [
        {
            "asset": "XBT",
            "currency": CURRENCY,
            "majorCurrency": "XBT",
            "name": "Bitcoin",
            "currencyType": "Crypto",
            "scale": 8,
            "enabled": True,
            "isMarginCurrency": True,
            "minDepositAmount": 10_000,
            "minWithdrawalAmount": 1_000,
            "maxWithdrawalAmount": 100_000_000_000_000,
            "memoRequired": False,
            "networks": [
                {
                    "asset": "btc",
                    "tokenAddress": "",
                    "depositEnabled": True,
                    "withdrawalEnabled": True,
                    "withdrawalFee": 20_000,
                    "minFee": 20_000,
                    "maxFee": 10_000_000,
                }
            ],
        }
    ]


# The market


def _get_instruments(call: Call) -> Json:
    return run_query(call.instruments, call.args, keys=("symbol",), symbols=_chosen(call))


def _is_index(row: Row) -> bool:
    return str(row.get("typ", "")).startswith("MR")


def _get_active(call: Call) -> Json:
    return [row for row in call.instruments if not _is_index(row)]


def _get_indices(call: Call) -> Json:
    return [row for row in call.instruments if _is_index(row)]


def _get_active_and_indices(call: Call) -> Json:
    return call.instruments


def _get_intervals(call: Call) -> Json:
    active = [row for row in call.instruments if not _is_index(row)]
    return {
        "intervals": [f"{row['rootSymbol']}:perpetual" for row in active],
        "symbols": [row["symbol"] for row in active],
    }


def _get_book(call: Call) -> Json:
    call.args.required("symbol")
    depth = call.args.integer("depth")
    levels = call.exchange.levels(_symbol(call))
    return top(levels, 25 if depth is None else depth)


def _get_trades(call: Call) -> Json:
    chosen = _chosen(call)
    symbols = [str(row["symbol"]) for row in call.instruments]
    # Indices print trades of no size (protocol section 5).
    rows = [
        row
        for symbol in symbols
        if chosen is None or symbol in chosen
        for row in call.exchange.trades(symbol)
    ]
    return run_query(rows, call.args, count_max=1000)


def _get_quotes(call: Call) -> Json:
    rows = [row for symbol in _contracts(call) for row in call.exchange.quotes(symbol)]
    return run_query(rows, call.args)


def _bin_ns(call: Call) -> int:
    size = call.args.text("binSize") or "1m"
    if size not in tables.BIN_NS:
        raise BadArgument("Invalid binSize. Must be one of: 1m, 5m, 1h, 1d")
    return tables.BIN_NS[size]


def _get_trade_bins(call: Call) -> Json:
    bin_ns, partial = _bin_ns(call), call.args.flag("partial", False)
    rows: list[Row] = []
    for symbol in _contracts(call):
        bins = list(call.exchange.bins(symbol, bin_ns))
        rows.extend(bins if partial else complete_bins(bins, call.at_ns))
    return run_query(rows, call.args, count_max=1000)


def _get_quote_bins(call: Call) -> Json:
    bin_ns, partial = _bin_ns(call), call.args.flag("partial", False)
    until_ns = call.at_ns + (bin_ns if partial else 0)
    rows = [
        row
        for symbol in _contracts(call)
        for row in quote_bins(call.exchange.quotes(symbol), bin_ns, until_ns)
    ]
    return run_query(rows, call.args, count_max=1000)


def _get_funding(call: Call) -> Json:
    rows = [row for symbol in _contracts(call) for row in call.exchange.fundings(symbol)]
    return run_query(rows, call.args)


def _get_liquidations(call: Call) -> Json:
    rows = [row for symbol in _contracts(call) for row in call.exchange.liquidations(symbol)]
    return run_query(rows, call.args, keys=("orderID",))


def _get_nothing(call: Call) -> Json:
    """Tables that are always empty here: settlements, insurance, news."""
    return trim([], call.args, ())


def _get_stats(call: Call) -> Json:
    return [
        {
            "rootSymbol": row["rootSymbol"],
            "currency": row.get("settlCurrency"),
            "volume24h": row.get("volume24h", 0),
            "turnover24h": row.get("turnover24h", 0),
            "openInterest": row.get("openInterest", 0),
            "openValue": row.get("openValue", 0),
        }
        for row in call.instruments
        if not _is_index(row)
    ]


def _get_schema(call: Call) -> Json:
    model = call.args.text("model")
    described = {
        table.name: {"keys": table.keys, "types": table.types}
        for table in tables.ALL
        if model is None or table.name.lower() == model.lower()
    }
    if not described:
        raise Refusal(404, NOT_FOUND)
    return described


def _get_help(_: Call) -> Json:
    return tables.HELP


# Symbols


def _chosen(call: Call) -> tuple[str, ...] | None:
    """The instruments that the request asks for; none means all."""
    symbol = call.args.text("symbol")
    if symbol is None:
        return None
    symbols = symbols_of(symbol, call.instruments)
    if symbols is None:
        # Table queries for a symbol that is not listed find nothing; they are not an error.
        return ()
    return symbols


def _contracts(call: Call) -> list[str]:
    """The contracts that the request asks for; indices have no trades of their own here."""
    chosen = _chosen(call)
    every = [str(row["symbol"]) for row in call.instruments if not _is_index(row)]
    return every if chosen is None else [symbol for symbol in every if symbol in chosen]


def _symbol(call: Call) -> str:
    """The one contract that a route needs."""
    chosen = _contracts(call)
    if len(chosen) != 1:
        raise BadArgument("Invalid symbol")
    return chosen[0]


def _public(answer: Callable[[Call], Json]) -> Route:
    return Route(answer=answer, private=False)


def _entry(answer: Callable[[Call], Json], permission: str = "order") -> Route:
    return Route(answer=answer, permission=permission, second_layer=True)


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/order"): Route(answer=_get_orders),
    ("POST", "/order"): _entry(_post_order),
    ("PUT", "/order"): _entry(_put_order),
    ("DELETE", "/order"): _entry(_delete_order, "orderCancel"),
    ("DELETE", "/order/all"): _entry(_delete_all, "orderCancel"),
    # cancelAllAfter is not on the list of the second layer (protocol section 3).
    ("POST", "/order/cancelAllAfter"): Route(answer=_cancel_all_after, permission="orderCancel"),
    ("POST", "/order/closePosition"): _entry(_close_position),
    ("GET", "/execution"): Route(answer=_get_executions),
    ("GET", "/execution/tradeHistory"): Route(answer=_get_trade_history),
    ("GET", "/position"): Route(answer=_get_positions),
    ("POST", "/position/leverage"): _entry(_leverage),
    ("POST", "/position/isolate"): _entry(_isolate),
    ("POST", "/position/riskLimit"): Route(answer=_risk_limit, permission="order"),
    ("POST", "/position/transferMargin"): _entry(_transfer_margin),
    ("GET", "/user"): Route(answer=_user),
    ("GET", "/user/margin"): Route(answer=_margin),
    ("GET", "/user/wallet"): Route(answer=_wallet),
    ("GET", "/user/walletHistory"): Route(answer=_wallet_history),
    ("GET", "/user/commission"): Route(answer=_commission),
    ("GET", "/apiKey"): Route(answer=_api_keys),
    ("GET", "/wallet/assets"): _public(_assets),
    ("GET", "/instrument"): _public(_get_instruments),
    ("GET", "/instrument/active"): _public(_get_active),
    ("GET", "/instrument/indices"): _public(_get_indices),
    ("GET", "/instrument/activeAndIndices"): _public(_get_active_and_indices),
    ("GET", "/instrument/activeIntervals"): _public(_get_intervals),
    ("GET", "/orderBook/L2"): _public(_get_book),
    ("GET", "/trade"): _public(_get_trades),
    ("GET", "/trade/bucketed"): _public(_get_trade_bins),
    ("GET", "/quote"): _public(_get_quotes),
    ("GET", "/quote/bucketed"): _public(_get_quote_bins),
    ("GET", "/funding"): _public(_get_funding),
    ("GET", "/liquidation"): _public(_get_liquidations),
    ("GET", "/settlement"): _public(_get_nothing),
    ("GET", "/insurance"): _public(_get_nothing),
    ("GET", "/announcement"): _public(_get_nothing),
    ("GET", "/announcement/urgent"): _public(_get_nothing),
    ("GET", "/stats"): _public(_get_stats),
    ("GET", "/schema"): _public(_get_schema),
    ("GET", "/schema/websocketHelp"): _public(_get_help),
}
