"""A generated market: frames of mixed orderBookL2, quote and trade messages, in today's form."""

import json
import random
from collections.abc import Iterator

SYMBOL = "XBTUSD"
_STAMP = "2025-04-25T21:40:14.984Z"
_MID = 600_000  # ticks of 0.1
_LEVELS = 2_000

INSTRUMENT = {
    "symbol": SYMBOL,
    "state": "Open",
    "typ": "FFWCSX",
    "tickSize": 0.1,
    "lotSize": 100,
    "multiplier": -100000000,
    "isInverse": True,
    "settlCurrency": "XBt",
    "maxOrderQty": 10000000,
    "maxPrice": 1000000,
    "makerFee": 0.0005,
    "takerFee": 0.0005,
    "markPrice": 60000.0,
    "indicativeSettlePrice": 60000.0,
    "fundingRate": 0.0001,
    "lastPrice": 60000.0,
    "timestamp": _STAMP,
}


def _frame(table: str, action: str, data: list[dict[str, object]], **more: object) -> bytes:
    body = {"table": table, "action": action, **more, "data": data}
    return json.dumps(body, separators=(",", ":")).encode()


class _Book:
    """A book that is never crossed: bids below the middle, asks from it on."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next_id = 98_876_000_000
        self.ids: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        for distance in range(_LEVELS):
            for ticks in (_MID - 1 - distance, _MID + distance):
                if rng.random() < 0.7 or distance < 3:
                    self.add(ticks)

    def add(self, ticks: int) -> None:
        self._next_id += self._rng.randrange(1, 50)
        self.ids[ticks] = self._next_id
        self.sizes[ticks] = self._rng.randrange(1, 2_000) * 100

    def row(self, ticks: int, *, size: bool = True) -> dict[str, object]:
        row: dict[str, object] = {
            "symbol": SYMBOL,
            "id": self.ids[ticks],
            "side": "Buy" if ticks < _MID else "Sell",
        }
        if size:
            row["size"] = self.sizes[ticks]
        return {**row, "price": ticks / 10, "timestamp": _STAMP, "transactTime": _STAMP}

    def near(self) -> int:
        """A price near the top, where most changes are."""
        distance = min(int(self._rng.expovariate(1 / 20)), _LEVELS - 1)
        return _MID + distance if self._rng.random() < 0.5 else _MID - 1 - distance


def images() -> list[bytes]:
    """The images that a subscriber of every stream gets first; the book as `frames` begins."""
    book = _Book(random.Random(0))
    l2 = [book.row(ticks) for ticks in sorted(book.ids, reverse=True)]
    private = [
        _frame(table, "partial", [], keys=keys)
        for table, keys in (
            ("order", ["orderID"]),
            ("execution", []),
            ("position", ["account", "symbol", "strategy"]),
            ("margin", ["account", "currency"]),
        )
    ]
    return [
        b'{"info":"Welcome to the BitMEX Realtime API.","version":"2.0.0","limit":{}}',
        _frame("instrument", "partial", [INSTRUMENT], keys=["symbol"]),
        _frame("orderBookL2", "partial", l2, keys=["symbol", "id", "side"]),
        _frame("quote", "partial", [_quote(book)], keys=[]),
        _frame("trade", "partial", [], keys=[]),
        *private,
    ]


def frames(count: int) -> Iterator[bytes]:
    """``count`` increments: about 70 % L2 updates, 18 % inserts and deletes, 9 % quotes, trades."""
    rng = random.Random(0)
    book = _Book(rng)
    for _ in range(count):
        kind = rng.random()
        if kind < 0.70:
            rows = []
            for _ in range(1 + (rng.random() < 0.3) + (rng.random() < 0.1)):
                ticks = book.near()
                if ticks in book.ids:
                    book.sizes[ticks] = rng.randrange(1, 2_000) * 100
                    rows.append(book.row(ticks))
            yield _frame("orderBookL2", "update", rows or [book.row(_MID)])
        elif kind < 0.88:
            ticks = book.near()
            if ticks not in book.ids:
                book.add(ticks)
                yield _frame("orderBookL2", "insert", [book.row(ticks)])
            elif _MID - 3 <= ticks < _MID + 3:
                yield _frame("orderBookL2", "update", [book.row(ticks)])
            else:
                row = book.row(ticks, size=False)
                del book.ids[ticks], book.sizes[ticks]
                yield _frame("orderBookL2", "delete", [row])
        elif kind < 0.97:
            yield _frame("quote", "insert", [_quote(book)])
        else:
            yield _frame(
                "trade",
                "insert",
                [
                    {
                        "timestamp": _STAMP,
                        "symbol": SYMBOL,
                        "side": rng.choice(("Buy", "Sell")),
                        "size": rng.randrange(1, 100) * 100,
                        "price": _MID / 10,
                        "tickDirection": "ZeroPlusTick",
                        "trdMatchID": "00000000-006d-1000-0000-000e8737d536",
                        "grossValue": 101450,
                        "homeNotional": 0.0010145,
                        "foreignNotional": 100.0,
                        "trdType": "Regular",
                    }
                ],
            )


def _quote(book: _Book) -> dict[str, object]:
    return {
        "timestamp": _STAMP,
        "symbol": SYMBOL,
        "bidSize": book.sizes[_MID - 1],
        "bidPrice": (_MID - 1) / 10,
        "askPrice": _MID / 10,
        "askSize": book.sizes[_MID],
    }
