"""The traded contract: its numbers, and how contracts become money (protocol section 7).

Prices inside the venue are ticks (orders, the book) or cents (marks, indices: the venue's
`minTick` is 0.01). Values are satoshi. Rates are parts per million.
"""

from decimal import Decimal

import msgspec

from chappie.simvenue.changes import Row

SATOSHI = 100_000_000
PPM = 1_000_000
_CENT = Decimal("0.01")


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """An inverse perpetual: quoted in USD, one contract is one USD, settled in satoshi."""

    symbol: str = "XBTUSD"
    index_symbol: str = ".BXBT"
    tick_cents: int = 10
    lot_qty: int = 100
    maker_fee_ppm: int = 500
    taker_fee_ppm: int = 500
    init_margin_ppm: int = 10_000
    maint_margin_ppm: int = 5_000
    risk_limit: int = 20_000_000_000
    risk_step: int = 15_000_000_000
    order_qty_max: int = 10_000_000
    price_max_cents: int = 100_000_000
    open_orders_max: int = 200
    stop_orders_max: int = 10

    def ticks(self, price: Decimal) -> int | None:
        """The price in ticks, or None when it lies between two ticks or is not a number."""
        if not price.is_finite():
            return None
        cents = price / _CENT
        whole = int(cents)
        if whole != cents or whole % self.tick_cents:
            return None
        return whole // self.tick_cents

    def price(self, ticks: int) -> float:
        """The JSON number: one division of integers, so it prints as the exact decimal."""
        return ticks * self.tick_cents / 100

    def cents(self, ticks: int) -> int:
        return ticks * self.tick_cents

    def value(self, cents: int, qty: int) -> int:
        """Satoshi of `qty` contracts at a price, rounded per lot (16 captured trades agree)."""
        lot = (2 * self.lot_qty * SATOSHI * 100 + cents) // (2 * cents)
        return lot * qty // self.lot_qty

    def exec_cost(self, side: str, ticks: int, qty: int) -> int:
        """Signed cost of an execution: negative for Buy, positive for Sell (inverse)."""
        value = self.value(ticks * self.tick_cents, qty)
        return -value if side == "Buy" else value


def fee(value: int, rate_ppm: int) -> int:
    """Commission on a cost magnitude: truncated (8545.68 -> 8545, protocol section 7)."""
    paid = abs(value) * abs(rate_ppm) // PPM
    return paid if rate_ppm >= 0 else -paid


def order_margin(value: int, init_ppm: int, fee_ppm: int) -> int:
    """Initial margin of an order: its own margin, the fee to open and the fee to close.

    `value * (IMR + 2 * fee + IMR * fee)`, rounded up, gives both captured figures, 1181 for a
    value of 107287 (2025) and 575375000 for 50000000000 at a fee of 0.00075 (2018).
    """
    rate = (init_ppm + 2 * fee_ppm) * PPM + init_ppm * fee_ppm
    return -(-value * rate // (PPM * PPM))


def static_columns(contract: Contract) -> Row:
    """The columns of the contract's instrument row that never change (capture of 2024-11-24)."""
    return {
        "symbol": contract.symbol,
        "rootSymbol": "XBT",
        "state": "Open",
        "typ": "FFWCSX",
        "listing": "2016-05-13T12:00:00.000Z",
        "front": "2016-05-13T12:00:00.000Z",
        "positionCurrency": "USD",
        "underlying": "XBT",
        "quoteCurrency": "USD",
        "underlyingSymbol": "XBT=",
        "reference": "BMEX",
        "referenceSymbol": contract.index_symbol,
        "maxOrderQty": contract.order_qty_max,
        "maxPrice": contract.price_max_cents / 100,
        "lotSize": contract.lot_qty,
        "tickSize": contract.tick_cents / 100,
        "multiplier": -SATOSHI,
        "settlCurrency": "XBt",
        "underlyingToSettleMultiplier": -SATOSHI,
        "isQuanto": False,
        "isInverse": True,
        "initMargin": contract.init_margin_ppm / PPM,
        "maintMargin": contract.maint_margin_ppm / PPM,
        "riskLimit": contract.risk_limit,
        "riskStep": contract.risk_step,
        "taxed": True,
        "deleverage": True,
        "makerFee": contract.maker_fee_ppm / PPM,
        "takerFee": contract.taker_fee_ppm / PPM,
        "settlementFee": 0.0,
        "fundingBaseSymbol": ".XBTBON8H",
        "fundingQuoteSymbol": ".USDBON8H",
        "fundingPremiumSymbol": ".XBTUSDPI8H",
        "fundingInterval": "2000-01-01T08:00:00.000Z",
        "fairMethod": "FundingRate",
        "markMethod": "FairPrice",
        "instantPnl": True,
        "minTick": 0.01,
        "fundingBaseRate": 0.0003,
        "fundingQuoteRate": 0.0006,
    }


def index_columns(contract: Contract) -> Row:
    """The columns of the index's instrument row that never change; it cannot be traded."""
    return {
        "symbol": contract.index_symbol,
        "rootSymbol": "BXBT",
        "state": "Unlisted",
        "typ": "MRCXXX",
        "positionCurrency": "",
        "underlying": "XBT",
        "quoteCurrency": "USD",
        "underlyingSymbol": contract.index_symbol,
        "reference": "BMI",
        "referenceSymbol": "BMI",
        "calcInterval": "2000-01-01T00:00:01.000Z",
        "publishInterval": "2000-01-01T00:01:00.000Z",
        "tickSize": 0.01,
        "multiplier": 0,
        "settlCurrency": "",
        "isQuanto": False,
        "isInverse": False,
        "taxed": False,
        "deleverage": False,
        "markMethod": "LastPrice",
    }


def price_of_value(value: int, qty: int) -> float | None:
    """Average USD price of `qty` contracts that were worth `value` satoshi, four decimals."""
    if not value:
        return None
    return ((2 * qty * SATOSHI * 10_000 + value) // (2 * value)) / 10_000
