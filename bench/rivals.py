"""CPU per market message of clients that we did not write, next to ours, on one stream.

The sender, the stream and the meter are those of `feed.py`; each receiver is a process of its own:

- ``bare`` and ``core``: as in `feed.py`;
- ``ccxt.pro``: a loop over ``watch_order_book`` of XBTUSD;
- ``cryptofeed``: its feed handler with the L2 book and the trades of XBTUSD;
- ``nautilus``: a nautilus_trader node whose strategy has the L2 book, the quotes and the trades.

    python bench/rivals.py --ccxt-python A/bin/python --cryptofeed-python B/bin/python \\
        --nautilus-python C/bin/python [--messages 50000] [--paced 5000] [--rounds 2]

`bench/README.md` says how to make the three environments. A client without one is left out. Each
client is sent every market stream, whatever it subscribed to, and at the end its book is compared
with the true one. Figures are medians of interleaved rounds; the ratio is to ``core`` in the same
round.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import feed
import market_stream

_OURS = ("bare", "core")
_STALLED_S = 15.0
"""This long without a message, before the last one, is a stall; pace and pauses are far below."""


class Top(NamedTuple):
    """What of a book is compared: levels and best price of both sides."""

    bids: int
    asks: int
    bid: float
    ask: float


# --- what the sender sends beyond `feed.py`

_BEGIN_ID = "00000000-0000-1000-0000-000000000001"
_END_ID = "00000000-0000-1000-0000-000000000002"

_INSTRUMENT = {
    **market_stream.INSTRUMENT,
    "rootSymbol": "XBT",
    "listing": "2016-05-13T12:00:00.000Z",
    "front": "2016-05-13T12:00:00.000Z",
    "positionCurrency": "USD",
    "underlying": "XBT",
    "quoteCurrency": "USD",
    "underlyingSymbol": "XBT=",
    "reference": "BMEX",
    "referenceSymbol": ".BXBT",
    "underlyingToSettleMultiplier": -100000000,
    "isQuanto": False,
    "initMargin": 0.01,
    "maintMargin": 0.005,
    "riskLimit": 20000000000,
    "riskStep": 15000000000,
    "taxed": True,
    "deleverage": True,
    "settlementFee": 0,
    "fundingInterval": "2000-01-01T08:00:00.000Z",
    "openInterest": 1000000,
    "openValue": 1000000000,
    "volume": 1000000,
    "volume24h": 1000000,
    "turnover24h": 1000000000,
    "markMethod": "FairPrice",
    "fairMethod": "FundingRate",
    "hasLiquidity": True,
    "instantPnl": False,
}
_ASSETS = [
    {
        "asset": "XBT",
        "currency": "XBt",
        "majorCurrency": "XBT",
        "name": "Bitcoin",
        "currencyType": "Crypto",
        "scale": 8,
        "enabled": True,
        "isMarginCurrency": True,
        "networks": [],
    }
]
_REST = {
    "/api/v1/instrument": json.dumps([_INSTRUMENT]).encode(),
    "/api/v1/instrument/active": json.dumps([_INSTRUMENT]).encode(),
    "/api/v1/wallet/assets": json.dumps(_ASSETS).encode(),
}


def _marker(match_id: str) -> bytes:
    """A trade that a client which shows no frames can begin and end its measurement by."""
    row = {
        "timestamp": "2025-04-25T21:40:14.984Z",
        "symbol": market_stream.SYMBOL,
        "side": "Buy",
        "size": 100,
        "price": 60000.0,
        "tickDirection": "ZeroPlusTick",
        "trdMatchID": match_id,
        "grossValue": 166667,
        "homeNotional": 0.00166667,
        "foreignNotional": 100.0,
        "trdType": "Regular",
    }
    return json.dumps({"table": "trade", "action": "insert", "data": [row]}).encode()


def _images() -> list[bytes]:
    """The images with the filter that the venue names and ccxt reads."""
    images = []
    for payload in market_stream.images():
        message = json.loads(payload)
        if message.get("table") in ("instrument", "orderBookL2", "quote", "trade"):
            message["filter"] = {"symbol": market_stream.SYMBOL}
        images.append(json.dumps(message, separators=(",", ":")).encode())
    return images


def _stream(count: int) -> list[bytes]:
    return [_marker(_BEGIN_ID), *market_stream.frames(count), _marker(_END_ID)]


def _true_top(count: int) -> Top:
    levels: dict[int, tuple[str, float]] = {}
    for payload in [*market_stream.images(), *market_stream.frames(count)]:
        message = json.loads(payload)
        if message.get("table") == "orderBookL2":
            for row in message["data"]:
                if message["action"] == "delete":
                    del levels[row["id"]]
                else:
                    levels[row["id"]] = (row["side"], row["price"])
    bids = [price for side, price in levels.values() if side == "Buy"]
    asks = [price for side, price in levels.values() if side == "Sell"]
    return Top(len(bids), len(asks), max(bids), min(asks))


# --- the receivers: each runs until the meter is done and returns what its book then shows


async def _ours(receiver: Callable[[str, feed.Meter], Awaitable[None]], port: int) -> None:
    meter = feed.Meter()
    await receiver(f"ws://127.0.0.1:{port}/realtime", meter)
    _report(meter, None)


async def _stalls(meter: feed.Meter) -> bool:
    """Wait for the end frame, True if messages stop coming before it."""
    seen, idle_s = -1, 0.0
    while not meter.done.is_set():
        try:
            await asyncio.wait_for(meter.done.wait(), 1.0)
        except TimeoutError:
            idle_s = idle_s + 1.0 if meter.seen == seen and seen > meter.images else 0.0
            seen = meter.seen
            if idle_s >= _STALLED_S:
                meter.stop()
                return True
    return False


async def _ccxt(port: int) -> None:
    import ccxt.pro

    meter = feed.Meter()

    class Bitmex(ccxt.pro.bitmex):  # type: ignore[misc, name-defined]
        def handle_message(self, client: Any, message: Any) -> None:
            if not meter.count(message.get("table") == "end"):
                super().handle_message(client, message)

    exchange = Bitmex()
    exchange.urls["api"] = {
        "public": f"http://127.0.0.1:{port}",
        "private": f"http://127.0.0.1:{port}",
        "ws": f"ws://127.0.0.1:{port}/realtime",
    }
    symbol = "BTC/USD:BTC"
    await exchange.load_markets()

    async def watch() -> None:
        while True:
            await exchange.watch_order_book(symbol)

    watching = asyncio.create_task(watch())
    stalled = await _stalls(meter)
    watching.cancel()
    book = exchange.orderbooks[symbol].limit()
    bids, asks = book["bids"], book["asks"]
    _report(meter, Top(len(bids), len(asks), bids[0][0], asks[0][0]), stalled)


def _cryptofeed(port: int) -> None:
    from cryptofeed import FeedHandler
    from cryptofeed.connection import RestEndpoint, Routes
    from cryptofeed.defines import L2_BOOK, TRADES
    from cryptofeed.exchanges import Bitmex

    meter = feed.Meter()
    end = feed.END.decode()
    latest: list[Any] = []

    class Local(Bitmex):  # type: ignore[misc]
        rest_endpoints = [  # noqa: RUF012
            RestEndpoint(f"http://127.0.0.1:{port}", routes=Routes("/api/v1/instrument/active"))
        ]

        def connect(self) -> Any:
            # Its constructor accepts wss addresses only.
            connections = super().connect()
            for connection, *_ in connections:
                connection.address = f"ws://127.0.0.1:{port}/realtime"
            return connections

        async def message_handler(self, msg: str, conn: Any, timestamp: float) -> None:
            if not meter.count(msg == end):
                await super().message_handler(msg, conn, timestamp)

    async def booked(book: Any, at: float) -> None:
        latest[:] = [book]

    async def traded(trade: Any, at: float) -> None:
        pass

    async def finish() -> None:
        stalled = await _stalls(meter)
        bids, asks = latest[0].book.bids, latest[0].book.asks
        top = Top(len(bids), len(asks), float(bids.index(0)[0]), float(asks.index(0)[0]))
        _report(meter, top, stalled)
        sys.stdout.flush()
        os._exit(0)

    handler = FeedHandler(config={"log": {"disabled": True}, "uvloop": True})
    handler.add_feed(
        Local(
            symbols=["BTC-USD-PERP"],
            channels=[L2_BOOK, TRADES],
            callbacks={L2_BOOK: booked, TRADES: traded},
        )
    )
    # Its loop policy, uvloop's, is set by now; the handler takes the loop that is current.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    finishing = loop.create_task(finish())
    handler.run()
    finishing.result()


def _nautilus(port: int) -> None:
    from nautilus_trader.adapters.bitmex.config import BitmexDataClientConfig
    from nautilus_trader.adapters.bitmex.factories import BitmexLiveDataClientFactory
    from nautilus_trader.config import (
        InstrumentProviderConfig,
        LoggingConfig,
        TradingNodeConfig,
    )
    from nautilus_trader.live.node import TradingNode
    from nautilus_trader.model.enums import BookType
    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.trading.strategy import Strategy

    meter = feed.Meter()
    symbol = InstrumentId.from_str("XBTUSD.BITMEX")

    class Watcher(Strategy):  # type: ignore[misc]
        def on_start(self) -> None:
            self.subscribe_quote_ticks(symbol)
            self.subscribe_trade_ticks(symbol)
            self.subscribe_order_book_deltas(symbol, BookType.L2_MBP)

        def on_order_book_deltas(self, deltas: Any) -> None:
            meter.seen += 1

        def on_quote_tick(self, tick: Any) -> None:
            meter.seen += 1

        def on_trade_tick(self, tick: Any) -> None:
            # The node shows no frames; its calls, one for each row, tell that it is going on.
            if tick.trade_id.value == _BEGIN_ID:
                meter.seen = meter.images
            meter.count(tick.trade_id.value == _END_ID)

    node = TradingNode(
        TradingNodeConfig(
            trader_id="BENCH-001",
            logging=LoggingConfig(log_level=os.environ.get("BENCH_LOG", "ERROR")),
            data_clients={
                "BITMEX": BitmexDataClientConfig(
                    base_url_http=f"http://127.0.0.1:{port}/api/v1",
                    base_url_ws=f"ws://127.0.0.1:{port}/realtime",
                    instrument_provider=InstrumentProviderConfig(load_all=True),
                )
            },
        )
    )
    node.trader.add_strategy(Watcher())
    node.add_data_client_factory("BITMEX", BitmexLiveDataClientFactory)
    node.build()

    async def finish() -> None:
        stalled = await _stalls(meter)
        book = node.cache.order_book(symbol)
        bids, asks = book.bids(), book.asks()
        top = Top(len(bids), len(asks), float(bids[0].price), float(asks[0].price))
        _report(meter, top, stalled)
        sys.stdout.flush()
        os._exit(0)

    finishing = node.get_event_loop().create_task(finish())
    node.run()
    finishing.result()


_RIVALS: dict[str, Callable[[int], Any]] = {
    "ccxt.pro": lambda port: asyncio.run(_ccxt(port)),
    "cryptofeed": _cryptofeed,
    "nautilus": _nautilus,
}


def _report(meter: feed.Meter, top: Top | None, stalled: bool = False) -> None:
    result = {
        "cpu_s": meter.cpu_s,
        "seen": meter.seen - meter.images - 1,
        "top": top,
        "stalled": stalled,
    }
    print(json.dumps(result), flush=True)


# --- the rounds


def _run(name: str, python: str, count: int, paced: bool) -> dict[str, Any] | None:
    """One receiver, once; None when it broke."""
    send = [sys.executable, __file__, "--send", str(count)]
    send += ["--paced-sender"] * paced + ["--wait"] * (name not in _OURS)
    sender = subprocess.Popen(send, stdout=subprocess.PIPE, text=True)
    assert sender.stdout is not None
    try:
        port = sender.stdout.readline().strip()
        # Some of them leave files where they are started.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [python, str(Path(__file__).resolve()), "--receive", name, "--port", port],
                capture_output=True,
                text=True,
                timeout=90 + count / feed.PACE_HZ,
                cwd=None if name in _OURS else folder,
            )
    except subprocess.TimeoutExpired:
        return None
    finally:
        sender.terminate()
        sender.wait()
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"cpu_s"'):
            result: dict[str, Any] = json.loads(line)
            messages = result["seen"] if result["stalled"] else count
            return {**result, "us": 1e6 * result["cpu_s"] / messages}
    sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
    return None


def _measure(label: str, pythons: dict[str, str], count: int, paced: bool, rounds: int) -> None:
    true_top = _true_top(count)
    results = [
        {name: _run(name, python, count, paced) for name, python in pythons.items()}
        for _ in range(rounds)
    ]
    for name in pythons:
        whole = [r[name] for r in results if r[name] is not None]
        if not whole:
            print(f"{label:16} {name:10} broke in every round")
            continue
        cost = statistics.median(r["us"] for r in whole)
        ratios = [r[name]["us"] / r["core"]["us"] for r in results if r[name] and r["core"]]
        ratio = statistics.median(ratios) if ratios else float("nan")
        notes = []
        if len(whole) < rounds:
            notes.append(f"broke in {rounds - len(whole)} of {rounds} rounds")
        if stalls := [r["seen"] for r in whole if r["stalled"]]:
            notes.append(f"stalled in {len(stalls)} rounds, first after {stalls[0]} messages")
        elif any(r["top"] is not None and Top(*r["top"]) != true_top for r in whole):
            notes.append(f"its book is wrong: {Top(*whole[0]['top'])}, not {true_top}")
        note = "   " + "; ".join(notes) if notes else ""
        print(f"{label:16} {name:10} {cost:8.2f} us/message   {ratio:5.2f} x core{note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--paced", type=int, default=5_000, help="messages of the paced runs")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ccxt-python", help="an interpreter that has ccxt")
    parser.add_argument("--cryptofeed-python", help="an interpreter that has cryptofeed")
    parser.add_argument("--nautilus-python", help="an interpreter that has nautilus_trader")
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--paced-sender", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--receive", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.send is not None:
        sending = feed.serve(
            _images(),
            _stream(args.send),
            paced=args.paced_sender,
            rest=_REST,
            wait_for_subscription=args.wait,
        )
        asyncio.run(sending)
        return
    if args.receive in _RIVALS:
        _RIVALS[args.receive](args.port)
        return
    if args.receive is not None:
        feed.run(_ours(feed.RECEIVERS[args.receive], args.port))
        return
    pythons = dict.fromkeys(_OURS, sys.executable)
    for name, python in (
        ("ccxt.pro", args.ccxt_python),
        ("cryptofeed", args.cryptofeed_python),
        ("nautilus", args.nautilus_python),
    ):
        if python is None:
            print(f"{name} is left out: no interpreter given for it")
        else:
            pythons[name] = str(Path(python).absolute())
    if args.messages:
        _measure("flood", pythons, args.messages, False, args.rounds)
    if args.paced:
        _measure(f"paced at {feed.PACE_HZ}/s", pythons, args.paced, True, args.rounds)


if __name__ == "__main__":
    main()
