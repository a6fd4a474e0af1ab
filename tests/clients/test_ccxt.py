"""ccxt, a client that we did not write, against the venue over real sockets.

Needs an environment of its own with ccxt 4.5.82 and aiohttp 3.14.3 (ccxt.pro was seen to stall
under bursts with 3.14.5); CHAPPIE_PYTHON names the interpreter that runs the venue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.simvenue.served import served

ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed in this environment")

pytestmark = pytest.mark.processes

SYMBOL = "BTC/USD:BTC"


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, Any]]:
    with served(seed=11) as where:
        yield where


def _settings(where: dict[str, Any]) -> dict[str, Any]:
    base = where["rest_url"].removesuffix("/api/v1")
    account = where["accounts"][0]
    return {
        "apiKey": account["api_key"],
        "secret": account["secret"],
        "urls": {"api": {"public": base, "private": base, "ws": where["ws_url"]}},
    }


@pytest.fixture(scope="module")
def client(venue: dict[str, Any]) -> Iterator[Any]:
    exchange = ccxt.bitmex(_settings(venue))
    yield exchange
    exchange.cancel_all_orders()


def test_markets_currencies_and_tickers(client: Any) -> None:
    markets = client.load_markets()
    assert list(markets) == [SYMBOL]
    market = markets[SYMBOL]
    assert (market["id"], market["inverse"], market["swap"]) == ("XBTUSD", True, True)
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 100)
    assert client.currencies["BTC"]["id"] == "XBt"
    ticker = client.fetch_ticker(SYMBOL)
    assert ticker["bid"] < ticker["ask"]


def test_the_book_has_two_sides_that_do_not_cross(client: Any) -> None:
    book = client.fetch_order_book(SYMBOL)
    assert len(book["bids"]) == len(book["asks"]) == 25
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(client.fetch_order_book(SYMBOL, 5)["bids"]) == 5


def test_public_trades_and_candles(client: Any) -> None:
    deadline = time.monotonic() + 20
    while not (trades := client.fetch_trades(SYMBOL)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert {trade["side"] for trade in trades} <= {"buy", "sell"}
    assert isinstance(client.fetch_ohlcv(SYMBOL, "1m", limit=5), list)


def test_a_limit_order_rests_is_edited_and_cancelled(client: Any) -> None:
    placed = client.create_order(SYMBOL, "limit", "buy", 100, 30_000, {"clientOrderId": "cx-1"})
    assert (placed["status"], placed["clientOrderId"]) == ("open", "cx-1")
    assert [order["id"] for order in client.fetch_open_orders(SYMBOL)] == [placed["id"]]
    edited = client.edit_order(placed["id"], SYMBOL, "limit", "buy", 200, 30_001)
    # ccxt reports the contracts of an inverse order as its cost.
    assert (edited["cost"], edited["price"]) == (200, 30_001)
    cancelled = client.cancel_order(placed["id"], SYMBOL)
    assert cancelled["status"] == "canceled"
    assert client.fetch_open_orders(SYMBOL) == []
    assert client.fetch_order(placed["id"], SYMBOL)["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(placed["id"], SYMBOL)


def test_a_post_only_order_that_would_cross_is_cancelled_and_not_rejected(client: Any) -> None:
    ask = client.fetch_order_book(SYMBOL, 1)["asks"][0][0]
    placed = client.create_order(SYMBOL, "limit", "buy", 100, ask + 500, {"postOnly": True})
    assert (placed["status"], placed["info"]["cumQty"]) == ("canceled", 0)
    assert "ParticipateDoNotInitiate" in placed["info"]["text"]
    resting = client.create_order(SYMBOL, "limit", "buy", 100, 30_000, {"postOnly": True})
    assert (resting["status"], resting["postOnly"]) == ("open", True)
    client.cancel_orders([resting["id"]], SYMBOL)


def test_a_market_order_fills_and_shows_in_trades_position_and_balance(client: Any) -> None:
    before = client.fetch_balance()
    assert before["BTC"]["total"] == pytest.approx(1.0, abs=0.01)
    placed = client.create_order(SYMBOL, "market", "buy", 300)
    assert (placed["status"], placed["info"]["cumQty"]) == ("closed", 300)
    (position,) = client.fetch_positions([SYMBOL])
    assert (position["side"], position["contracts"]) == ("long", 300)
    closing = client.create_order(SYMBOL, "market", "sell", 300, None, {"reduceOnly": True})
    assert closing["status"] == "closed"
    trades = client.fetch_my_trades(SYMBOL)
    assert {trade["order"] for trade in trades} == {placed["id"], closing["id"]}
    assert all(trade["fee"]["cost"] > 0 for trade in trades)
    after = client.fetch_balance()
    assert after["BTC"]["total"] != before["BTC"]["total"]


def test_leverage_and_margin_mode(client: Any) -> None:
    assert client.set_leverage(10, SYMBOL)["leverage"] == 10
    assert client.set_margin_mode("cross", SYMBOL)["crossMargin"] is True


def test_refusals_become_the_clients_own_exceptions(client: Any, venue: dict[str, Any]) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order(SYMBOL, "limit", "buy", 9_000_000, 59_000)
    stranger = ccxt.bitmex({**_settings(venue), "apiKey": "x" * 24})
    with pytest.raises(ccxt.AuthenticationError):
        stranger.private_get_user()
    liar = ccxt.bitmex({**_settings(venue), "secret": "y" * 48})
    with pytest.raises(ccxt.AuthenticationError):
        liar.private_get_user()


def test_ledger_and_funding(client: Any) -> None:
    assert client.fetch_ledger("BTC")[0]["currency"] == "BTC"
    assert isinstance(client.fetch_funding_rate(SYMBOL)["fundingRate"], float)


# ccxt.pro


def _watch(where: dict[str, Any], act: Callable[[Any], Awaitable[None]]) -> None:
    import ccxt.pro as pro

    async def go() -> None:
        exchange = pro.bitmex(_settings(where))
        try:
            async with asyncio.timeout(45):
                await act(exchange)
        finally:
            await exchange.cancel_all_orders()
            await exchange.close()

    asyncio.run(go())


def test_the_watched_book_moves_and_never_crosses(venue: dict[str, Any]) -> None:
    async def act(exchange: Any) -> None:
        seen = set()
        for _ in range(60):
            book = await exchange.watch_order_book(SYMBOL)
            assert book["bids"][0][0] < book["asks"][0][0]
            seen.add((book["bids"][0][0], book["bids"][0][1]))
        assert len(seen) > 1
        best25 = await exchange.watch_order_book(SYMBOL, 25)
        assert len(best25["bids"]) == 25

    _watch(venue, act)


def test_watched_orders_positions_and_trades_follow_a_round_trip(venue: dict[str, Any]) -> None:
    async def act(exchange: Any) -> None:
        await exchange.load_markets()
        watched: dict[str, list[Any]] = {"orders": [], "trades": [], "positions": []}

        async def follow(name: str, watch: Callable[..., Awaitable[Any]], arg: Any) -> None:
            while True:
                watched[name].extend(await watch(arg))

        tasks = [
            asyncio.ensure_future(follow("orders", exchange.watch_orders, SYMBOL)),
            asyncio.ensure_future(follow("trades", exchange.watch_my_trades, SYMBOL)),
            asyncio.ensure_future(follow("positions", exchange.watch_positions, [SYMBOL])),
        ]
        await asyncio.sleep(2)
        placed = await exchange.create_order(SYMBOL, "limit", "buy", 100, 30_000)
        while not any(order["status"] == "open" for order in watched["orders"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await exchange.cancel_order(placed["id"], SYMBOL)
        bought = await exchange.create_order(SYMBOL, "market", "buy", 200)

        def statuses(order_id: str) -> set[str]:
            return {order["status"] for order in watched["orders"] if order["id"] == order_id}

        while not (
            "canceled" in statuses(placed["id"])
            and "closed" in statuses(bought["id"])
            and sum(t["amount"] for t in watched["trades"] if t["order"] == bought["id"]) == 200
            and any(position["contracts"] == 200 for position in watched["positions"])
        ):
            for task in tasks:
                assert not task.done() or task.exception() is None
            await asyncio.sleep(0.05)
        await exchange.create_order(SYMBOL, "market", "sell", 200)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    _watch(venue, act)


def test_watched_balance_ticker_and_public_trades(venue: dict[str, Any]) -> None:
    async def act(exchange: Any) -> None:
        ticker = await exchange.watch_ticker(SYMBOL)
        assert ticker["last"] > 0
        balance = await exchange.watch_balance()
        assert balance["BTC"]["total"] > 0
        trades = await exchange.watch_trades(SYMBOL)
        assert trades[0]["price"] > 0

    _watch(venue, act)
