"""Frames and rows in the venue's spelling, for tests: nothing here is a capture."""

from collections.abc import Sequence
from typing import Any

import msgspec

from chappie.model.events import Answered
from chappie.model.instrument import Instrument
from chappie.model.reports import Inconsistent, Refused, Report
from chappie.venues.bitmex import BitmexDialect
from chappie.venues.bitmex.columns import instrument_seen
from chappie.venues.bitmex.session import BitmexSession

Row = dict[str, Any]

INSTRUMENT_ROW: Row = {
    "symbol": "XBTUSD",
    "state": "Open",
    "typ": "FFWCSX",
    "tickSize": 0.5,
    "lotSize": 100,
    "multiplier": -100000000,
    "isInverse": True,
    "settlCurrency": "XBt",
    "maxOrderQty": 10000000,
    "maxPrice": 1000000,
    "makerFee": -0.0001,
    "takerFee": 0.0005,
    "markPrice": 30000.25,
    "indicativeSettlePrice": 30001.5,
    "fundingRate": 0.0001,
    "lastPrice": 30000.0,
}

KEYS: dict[str, list[str]] = {
    "orderBookL2": ["symbol", "id", "side"],
    "orderBookL2_25": ["symbol", "id", "side"],
    "instrument": ["symbol"],
    "quote": [],
    "trade": [],
    "order": ["orderID"],
    "execution": [],
    "position": ["account", "symbol"],
    "margin": ["account", "currency"],
}


def instrument(**changed: object) -> Instrument:
    """The terms of XBTUSD, some of its columns changed."""
    return instrument_seen({**INSTRUMENT_ROW, **changed}).instrument


def dialect() -> BitmexDialect:
    return BitmexDialect("XBTUSD")


def session(**changed: object) -> BitmexSession:
    return BitmexSession(instrument(**changed))


def frame(table: str, action: str, rows: Sequence[Row], **more: object) -> bytes:
    return msgspec.json.encode({"table": table, "action": action, "data": rows, **more})


def partial(table: str, rows: Sequence[Row] = (), keys: list[str] | None = None) -> bytes:
    """An image with the keys that the table has today."""
    return frame(table, "partial", rows, keys=KEYS[table] if keys is None else keys)


def level(side: str, price: float | None, size: int | None, id_: int, **more: object) -> Row:
    """One price level; None leaves the column out."""
    row: Row = {"symbol": "XBTUSD", "id": id_, "side": side, **more}
    if size is not None:
        row["size"] = size
    if price is not None:
        row["price"] = price
    return row


# Three levels a side, ids as arbitrary as they are since 2023.
BOOK_ROWS: tuple[Row, ...] = (
    level("Sell", 30001.5, 300, 77),
    level("Sell", 30000.5, 100, 5),
    level("Sell", 30001.0, 200, 900),
    level("Buy", 29999.0, 500, 12),
    level("Buy", 30000.0, 400, 8),
    level("Buy", 29998.5, 600, 31),
)


def booked(**changed: object) -> BitmexSession:
    """A session whose book shows `BOOK_ROWS`."""
    s = session(**changed)
    s.receive(partial("orderBookL2", BOOK_ROWS))
    return s


def words(reports: Sequence[Report]) -> list[str]:
    """Reports as their type names, with the stream of a table report and the why of a refusal."""
    return [word(report) for report in reports]


def word(report: object) -> str:
    name = type(report).__name__
    if isinstance(report, Refused):
        return f"{name} {report.why.name}"
    stream = getattr(report, "stream", None)
    return name if stream is None else f"{name} {stream.value}"


def detail(reports: Sequence[Report]) -> str:
    """The words of the one report that says what is wrong."""
    (report,) = reports
    assert isinstance(report, (Inconsistent, Refused)), report
    return report.detail


def answered(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Answered:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Answered(1, status, headers or {}, raw)


def envelope(message: str, name: str = "HTTPError") -> bytes:
    return msgspec.json.encode({"error": {"message": message, "name": name}})
