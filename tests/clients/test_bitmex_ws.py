"""bitmex-ws, the venue's own python client, against the venue over real sockets."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.simvenue.served import served

bitmex_websocket = pytest.importorskip(
    "bitmex_websocket", reason="bitmex-ws is not installed in this environment"
)

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, Any]]:
    with served(seed=12) as where:
        yield where


@pytest.fixture(scope="module")
def client(venue: dict[str, Any]) -> Iterator[Any]:
    account = venue["accounts"][0]
    opened = bitmex_websocket.BitMEXWebsocket(
        endpoint=venue["ws_url"],
        symbol="XBTUSD",
        api_key=account["api_key"],
        api_secret=account["secret"],
    )
    yield opened
    opened.exit()


def _post(venue: dict[str, Any], path: str, values: dict[str, Any], verb: str = "POST") -> Any:
    account = venue["accounts"][0]
    body = json.dumps(values).encode()
    expires = str(int(time.time()) + 10)
    signed = f"{verb}/api/v1{path}{expires}".encode() + body
    headers = {
        "content-type": "application/json",
        "api-key": account["api_key"],
        "api-expires": expires,
        "api-signature": hmac.new(account["secret"].encode(), signed, hashlib.sha256).hexdigest(),
    }
    request = Request(venue["rest_url"] + path, data=body, headers=headers, method=verb)
    with urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def _soon(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_instrument_and_ticker(client: Any) -> None:
    instrument = client.get_instrument()
    assert (instrument["symbol"], instrument["tickLog"]) == ("XBTUSD", 1)
    _soon(lambda: bool(client.recent_trades()))
    ticker = client.get_ticker()
    assert ticker["buy"] < ticker["sell"]
    assert ticker["last"] > 0


def test_the_book_stays_whole(client: Any) -> None:
    for _ in range(20):
        rows = list(client.market_depth())
        assert len({row["id"] for row in rows}) == len(rows) > 100
        time.sleep(0.1)


def test_funds_and_positions(client: Any) -> None:
    assert client.funds()["walletBalance"] > 0
    assert isinstance(client.positions(), list)


def test_open_orders_come_and_go(client: Any, venue: dict[str, Any]) -> None:
    order = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 100, "price": 30_000}
    placed = _post(venue, "/order", {**order, "clOrdID": "bw-1"})
    _soon(lambda: [row["orderID"] for row in client.open_orders("bw-")] == [placed["orderID"]])
    assert client.open_orders("other") == []
    _post(venue, "/order", {"clOrdID": "bw-1"}, "DELETE")
    _soon(lambda: client.open_orders("bw-") == [])


def test_a_fill_reaches_positions_and_executions(client: Any, venue: dict[str, Any]) -> None:
    market = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 200, "ordType": "Market"}
    _post(venue, "/order", {**market, "clOrdID": "bw-2"})
    _soon(lambda: [row["currentQty"] for row in client.positions()] == [200])
    _post(venue, "/order", {**market, "side": "Sell", "clOrdID": "bw-3"})
    _soon(lambda: [row["currentQty"] for row in client.positions()] == [0])
    fills = [row for row in client.data["execution"] if row["execType"] == "Trade"]
    assert sum(row["lastQty"] for row in fills) == 400
