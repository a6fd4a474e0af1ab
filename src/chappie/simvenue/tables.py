"""The websocket tables: their keys, column types, and whose they are (protocol section 6).

This is what an image announces of itself. Keys are today's: execution has none, position is
keyed by account, symbol and strategy.
"""

from __future__ import annotations

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table as its image describes it."""

    name: str
    keys: tuple[str, ...]
    types: dict[str, str]
    private: bool = False
    slow_image: bool = False
    """Its images are made every few seconds only, so they come late."""
    filter_column: str | None = "symbol"
    """What the part of a topic after the colon selects."""


_LETTERS = {
    "s": "symbol",
    "g": "guid",
    "l": "long",
    "f": "float",
    "b": "boolean",
    "t": "timestamp",
    "S": "string",
    "n": "timespan",
    "o": "object",
    "i": "integer",
}


def _types(columns: str) -> dict[str, str]:
    """`name:letter` pairs to the types of the wire."""
    pairs = (column.split(":") for column in columns.split())
    return {name: _LETTERS[letter] for name, letter in pairs}


_BOOK = _types("symbol:s id:l side:s size:l price:f timestamp:t transactTime:t")
_TRADE = _types(
    "timestamp:t symbol:s side:s size:l price:f tickDirection:s trdMatchID:g grossValue:l "
    "homeNotional:f foreignNotional:f trdType:s"
)
_QUOTE = _types("timestamp:t symbol:s bidSize:l bidPrice:f askPrice:f askSize:l")
_BIN = _types(
    "timestamp:t symbol:s open:f high:f low:f close:f trades:l volume:l vwap:f lastSize:l "
    "turnover:l homeNotional:f foreignNotional:f"
)
_ORDER = _types(
    "orderID:g clOrdID:S clOrdLinkID:s account:l symbol:s side:s orderQty:l price:f displayQty:l "
    "stopPx:f pegOffsetValue:f pegPriceType:s currency:s settlCurrency:s ordType:s timeInForce:s "
    "execInst:s contingencyType:s ordStatus:s triggered:s workingIndicator:b ordRejReason:s "
    "leavesQty:l cumQty:l avgPx:f text:S transactTime:t timestamp:t strategy:s"
)
_EXECUTION = _types(
    "execID:g orderID:g clOrdID:S clOrdLinkID:s account:l symbol:s side:s lastQty:l lastPx:f "
    "lastLiquidityInd:s orderQty:l price:f displayQty:l stopPx:f pegOffsetValue:f pegPriceType:s "
    "currency:s settlCurrency:s execType:s ordType:s timeInForce:s execInst:s contingencyType:s "
    "ordStatus:s triggered:s workingIndicator:b ordRejReason:s leavesQty:l cumQty:l avgPx:f "
    "commission:f brokerCommission:f feeType:s tradePublishIndicator:s text:S trdMatchID:g "
    "execCost:l execComm:l brokerExecComm:l homeNotional:f foreignNotional:f transactTime:t "
    "timestamp:t realisedPnl:l trdType:s strategy:s"
)
_POSITION = _types(
    "account:l symbol:s strategy:s currency:s underlying:s quoteCurrency:s commission:f "
    "initMarginReq:f maintMarginReq:f riskLimit:l leverage:f crossMargin:b deleveragePercentile:f "
    "rebalancedPnl:l prevRealisedPnl:l prevUnrealisedPnl:l openingQty:l openOrderBuyQty:l "
    "openOrderBuyCost:l openOrderBuyPremium:l openOrderSellQty:l openOrderSellCost:l "
    "openOrderSellPremium:l currentQty:l currentCost:l currentComm:l realisedCost:l "
    "unrealisedCost:l grossOpenPremium:l isOpen:b markPrice:f markValue:l riskValue:l "
    "homeNotional:f foreignNotional:f posState:s posCost:l posCross:l posComm:l posLoss:l "
    "posMargin:l posMaint:l posInit:l initMargin:l maintMargin:l realisedPnl:l unrealisedPnl:l "
    "unrealisedPnlPcnt:f unrealisedRoePcnt:f avgCostPrice:f avgEntryPrice:f breakEvenPrice:f "
    "marginCallPrice:f liquidationPrice:f bankruptPrice:f timestamp:t"
)
_MARGIN = _types(
    "account:l currency:s riskLimit:l state:s amount:l prevRealisedPnl:l grossComm:l "
    "grossOpenCost:l grossOpenPremium:l grossExecCost:l grossMarkValue:l riskValue:l "
    "initMargin:l maintMargin:l "
    "targetExcessMargin:l realisedPnl:l unrealisedPnl:l walletBalance:l marginBalance:l "
    "marginLeverage:f marginUsedPcnt:f excessMargin:l availableMargin:l withdrawableMargin:l "
    "makerFeeDiscount:f takerFeeDiscount:f timestamp:t foreignMarginBalance:l "
    "foreignRequirement:l"
)
_WALLET = _types(
    "account:l currency:s deposited:l withdrawn:l transferIn:l transferOut:l amount:l "
    "pendingCredit:l pendingDebit:l confirmedDebit:l timestamp:t"
)
_TRANSACT = _types(
    "transactID:g account:l currency:s network:s transactType:s amount:l fee:l transactStatus:s "
    "address:S tx:S orderID:g text:S transactTime:t walletBalance:l memo:S timestamp:t"
)
_INSTRUMENT = _types(
    "symbol:s rootSymbol:s state:s typ:s listing:t front:t expiry:t settle:t positionCurrency:s "
    "underlying:s quoteCurrency:s underlyingSymbol:s reference:s referenceSymbol:s "
    "calcInterval:n publishInterval:n maxOrderQty:l "
    "maxPrice:f lotSize:l tickSize:f multiplier:l settlCurrency:s "
    "underlyingToPositionMultiplier:l underlyingToSettleMultiplier:l quoteToSettleMultiplier:l "
    "isQuanto:b isInverse:b initMargin:f maintMargin:f riskLimit:l riskStep:l taxed:b "
    "deleverage:b makerFee:f takerFee:f settlementFee:f fundingBaseSymbol:s fundingQuoteSymbol:s "
    "fundingPremiumSymbol:s fundingTimestamp:t fundingInterval:n fundingRate:f "
    "indicativeFundingRate:f prevClosePrice:f limitDownPrice:f limitUpPrice:f prevTotalVolume:l "
    "totalVolume:l volume:l volume24h:l prevTotalTurnover:l totalTurnover:l turnover:l "
    "turnover24h:l homeNotional24h:f foreignNotional24h:f prevPrice24h:f vwap:f highPrice:f "
    "lowPrice:f lastPrice:f lastPriceProtected:f lastTickDirection:s lastChangePcnt:f bidPrice:f "
    "midPrice:f askPrice:f impactBidPrice:f impactMidPrice:f impactAskPrice:f hasLiquidity:b "
    "openInterest:l openValue:l fairMethod:s fairBasisRate:f fairBasis:f fairPrice:f markMethod:s "
    "markPrice:f indicativeSettlePrice:f instantPnl:b timestamp:t minTick:f fundingBaseRate:f "
    "fundingQuoteRate:f"
)


def _bins(name: str, columns: dict[str, str]) -> tuple[Table, ...]:
    return tuple(
        Table(name=f"{name}{size}", keys=(), types=columns) for size in ("1m", "5m", "1h", "1d")
    )


ALL: tuple[Table, ...] = (
    Table(name="instrument", keys=("symbol",), types=_INSTRUMENT, slow_image=True),
    Table(name="orderBookL2", keys=("symbol", "id", "side"), types=_BOOK, slow_image=True),
    Table(name="orderBookL2_25", keys=("symbol", "id", "side"), types=_BOOK, slow_image=True),
    Table(
        name="orderBook10", keys=("symbol",), types=_types("symbol:s bids:o asks:o timestamp:t")
    ),
    Table(name="quote", keys=(), types=_QUOTE),
    Table(name="trade", keys=(), types=_TRADE),
    *_bins("tradeBin", _BIN),
    *_bins("quoteBin", _QUOTE),
    Table(
        name="funding", keys=("timestamp", "symbol"),
        types=_types("timestamp:t symbol:s fundingInterval:n fundingRate:f fundingRateDaily:f"),
    ),
    Table(
        name="liquidation", keys=("orderID",),
        types=_types("orderID:g symbol:s side:s price:f leavesQty:l"),
    ),
    Table(
        name="settlement", keys=("timestamp", "symbol"),
        types=_types("timestamp:t symbol:s settlementType:s settledPrice:f"),
    ),
    Table(
        name="insurance", keys=("currency", "timestamp"), filter_column="currency",
        types=_types("currency:s timestamp:t walletBalance:l"),
    ),
    Table(
        name="announcement", keys=("id",), filter_column=None,
        types=_types("id:i link:S title:S content:S date:t"),
    ),
    Table(name="order", keys=("orderID",), types=_ORDER, private=True),
    Table(name="execution", keys=(), types=_EXECUTION, private=True),
    Table(
        name="position", keys=("account", "symbol", "strategy"), types=_POSITION, private=True
    ),
    Table(
        name="margin", keys=("account", "currency"), types=_MARGIN, private=True,
        filter_column="currency",
    ),
    Table(
        name="wallet", keys=("account", "currency"), types=_WALLET, private=True,
        filter_column="currency",
    ),
    Table(
        name="transact", keys=("transactID",), types=_TRANSACT, private=True,
        filter_column="currency",
    ),
    Table(
        name="affiliate", keys=("account", "currency"), private=True, filter_column="currency",
        types=_types("account:l currency:s prevPayout:l timestamp:t"),
    ),
)  # fmt: skip

BY_NAME: dict[str, Table] = {table.name: table for table in ALL}

BIN_NS: dict[str, int] = {
    "1m": 60_000_000_000,
    "5m": 300_000_000_000,
    "1h": 3_600_000_000_000,
    "1d": 86_400_000_000_000,
}

HELP: dict[str, object] = {
    "info": "See https://www.bitmex.com/app/wsAPI and https://www.bitmex.com/explorer for more "
    "documentation.",
    "usage": 'Send a message in the format: {"op": string, "args": Array<string>}',
    "ops": ["authKey", "authKeyExpires", "cancelAllAfter", "subscribe", "unsubscribe"],
    "subscribe": 'To subscribe, send: {"op": "subscribe", "args": [subscriptionTopic, ...]}.',
    "subscriptionSubjects": {
        "authenticationRequired": [table.name for table in ALL if table.private],
        "public": [table.name for table in ALL if not table.private],
    },
}
