"""The server on real sockets: raw bytes in, frames out, and its end."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.simvenue.served import ROOT, served

pytestmark = pytest.mark.processes

WIDE = {"per_minute": 100_000, "per_minute_public": 100_000, "per_second": 100_000}


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, Any]]:
    with served(limits=WIDE, seed=3) as where:
        yield where


class Client:
    """Signs by hand, over exactly the bytes that it sends."""

    def __init__(self, where: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self.where = where
        self.session = session
        account = where["accounts"][0]
        self.key, self.secret = account["api_key"], account["secret"]
        self.account = account["account"]

    def headers(self, verb: str, path: str, body: bytes = b"") -> dict[str, str]:
        expires = str(int(time.time()) + 10)
        signed = verb.encode() + path.encode() + expires.encode() + body
        signature = hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        return {"api-key": self.key, "api-expires": expires, "api-signature": signature}

    async def ask(
        self, verb: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, Any]:
        raw = f"/api/v1{path}"
        url = URL(self.where["rest_url"] + path, encoded=True)
        headers = self.headers(verb, raw, body)
        if body:
            headers["content-type"] = content_type
        async with self.session.request(verb, url, data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def control(self, verb: str, path: str, body: object = None) -> Any:
        url = self.where["control_url"] + path
        async with self.session.request(verb, url, json=body) as answer:
            return await answer.json()


def _run(where: dict[str, Any], act: Callable[[Client], Awaitable[None]]) -> None:
    async def go() -> None:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            client = Client(where, session)
            try:
                await act(client)
            finally:
                await client.control("DELETE", "/faults")
                await client.ask("DELETE", "/order/all")

    asyncio.run(go())


def test_the_demo_account_trades_over_real_sockets(venue: dict[str, Any]) -> None:
    async def act(client: Client) -> None:
        body = b'{"symbol": "XBTUSD",  "side":"Buy","orderQty":100,"price":30000, "clOrdID":"a"}'
        status, row = await client.ask("POST", "/order", body)
        assert (status, row["ordStatus"]) == (200, "New")
        # The path is signed and sent with exactly these escapes.
        status, rows = await client.ask("GET", "/order?filter=%7b%22clOrdID%22:%22a%22%7D")
        assert [row["clOrdID"] for row in rows] == ["a"]
        form = "application/x-www-form-urlencoded"
        status, rows = await client.ask("DELETE", "/order", b"clOrdID=a", form)
        assert (status, rows[0]["ordStatus"]) == (200, "Canceled")
        status, row = await client.ask(
            "POST", "/order", b'{"symbol":"XBTUSD","orderQty":100,"ordType":"Market"}'
        )
        assert (status, row["ordStatus"]) == (200, "Filled")

    _run(venue, act)


def test_the_websocket_sends_images_and_changes_and_answers_pings(venue: dict[str, Any]) -> None:
    async def act(client: Client) -> None:
        topics = "orderBookL2:XBTUSD,quote:XBTUSD,trade:XBTUSD,instrument:XBTUSD"
        url = f"{venue['ws_url']}?subscribe={topics}"
        headers = client.headers("GET", "/realtime")
        async with client.session.ws_connect(url, headers=headers, autoping=False) as stream:
            welcome = await stream.receive_json()
            assert welcome["info"].startswith("Welcome")
            await stream.send_str("ping")
            await stream.ping(b"hey")
            seen: set[tuple[str, str]] = set()
            pongs: list[Any] = []
            while len(seen) < 6 or len(pongs) < 2:
                message = await stream.receive(timeout=10)
                if message.type is aiohttp.WSMsgType.PONG or message.data == "pong":
                    pongs.append(bytes(message.data) if message.data != "pong" else "pong")
                    continue
                frame = json.loads(message.data)
                if "table" in frame:
                    seen.add((frame["table"], frame["action"]))
            assert {("orderBookL2", "partial"), ("quote", "partial"), ("trade", "partial")} <= seen
            assert sorted(map(str, pongs)) == sorted(map(str, ["pong", b"hey"]))

    _run(venue, act)


def test_a_bad_login_on_the_upgrade_is_an_http_401(venue: dict[str, Any]) -> None:
    async def act(client: Client) -> None:
        headers = {**client.headers("GET", "/realtime"), "api-signature": "0" * 64}
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.session.ws_connect(venue["ws_url"], headers=headers)
        assert caught.value.status == 401

    _run(venue, act)


def test_faults_show_on_the_wire(venue: dict[str, Any]) -> None:
    async def act(client: Client) -> None:
        order = b'{"symbol":"XBTUSD","orderQty":100,"price":30000,"clOrdID":"f"}'
        await client.control(
            "POST", "/faults", {"fault": "accept_then_timeout", "method": "POST", "count": 1}
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.ask("POST", "/order", order)
        truth = await client.control("GET", f"/truth?account={client.account}")
        assert any(row.get("clOrdID") == "f" for row in truth["orders"])
        # aiohttp sends GET, PUT and DELETE again by itself when a kept connection is cut.
        await client.control("POST", "/faults", {"fault": "hang_up", "count": 1, "method": "POST"})
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.ask("POST", "/order/cancelAllAfter", b'{"timeout":0}')
        await client.control("POST", "/faults", {"fault": "ban_403", "count": 1})
        async with client.session.get(venue["rest_url"] + "/instrument") as answer:
            assert (answer.status, answer.headers["Server"]) == (403, "awselb/2.0")
            assert answer.content_type == "text/html"
        stream = await client.session.ws_connect(venue["ws_url"])
        await stream.receive_json()
        await client.control("POST", "/faults", {"fault": "cut"})
        message = await stream.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert stream.close_code == 1006
        log = await client.control("GET", "/requests")
        assert "accept_then_timeout" in {entry["fault"] for entry in log}

    _run(venue, act)


def test_a_page_of_a_browser_cannot_reach_the_control_routes(venue: dict[str, Any]) -> None:
    async def act(client: Client) -> None:
        url = venue["control_url"] + "/faults"
        async with client.session.get(url, headers={"Origin": "http://x"}) as answer:
            assert answer.status == 403

    _run(venue, act)


def test_a_recorded_tape_is_traded_against(shared_data: Path) -> None:
    tape = shared_data / "recordings" / "bmoscon+cryptofeed" / "BITMEX.ws.1.0.xz"
    with served(limits=WIDE, tape=str(tape), speed=5.0) as where:

        async def act(client: Client) -> None:
            book: list[Any] = []
            while not book:
                _, book = await client.ask("GET", "/orderBook/L2?symbol=XBTUSD&depth=1")
            # The capture is of 2021-07-22, when the price was 32,180.
            assert all(32_000 < row["price"] < 32_400 for row in book)
            market = b'{"symbol":"XBTUSD","orderQty":100,"ordType":"Market"}'
            _, row = await client.ask("POST", "/order", market)
            assert row["ordStatus"] == "Filled"
            assert 32_000 < row["avgPx"] < 32_400

        _run(where, act)


def test_a_ten_mebibyte_frame_arrives_whole(venue: dict[str, Any]) -> None:
    async def act(client: Client) -> None:
        url = f"{venue['ws_url']}?subscribe=orderBookL2:XBTUSD"
        async with client.session.ws_connect(url, max_msg_size=0) as stream:
            frame: Any = {}
            while frame.get("action") != "partial":
                frame = await stream.receive_json()
            await client.control("POST", "/faults", {"fault": "huge_partial"})
            text = ""
            while len(text) < 10 * 1024 * 1024:
                text = (await stream.receive(timeout=10)).data
            assert json.loads(text)["action"] == "partial"

    _run(venue, act)


def test_an_abandoned_request_does_not_disturb_the_venue(venue: dict[str, Any]) -> None:
    host, port = URL(venue["rest_url"]).host, URL(venue["rest_url"]).port
    assert host is not None
    assert port is not None
    for garbage in (b"GET /api/v1/instrument HTTP/1.1\r\n", b"\x00\xff\r\n\r\n", b"POST / "):
        with socket.create_connection((host, port), timeout=5) as raw:
            raw.sendall(garbage)

    async def act(client: Client) -> None:
        status, _ = await client.ask("GET", "/position")
        assert status == 200

    _run(venue, act)


def test_a_client_that_does_not_read_is_cut_and_the_others_are_served() -> None:
    with served(limits=WIDE, send_queue_bytes_max=1_000_000) as where:

        async def act(client: Client) -> None:
            url = URL(where["ws_url"])
            deaf = socket.create_connection((url.host, url.port), timeout=10)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(
                b"GET /realtime?subscribe=orderBookL2:XBTUSD HTTP/1.1\r\nHost: x\r\n"
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            async with client.session.ws_connect(
                f"{where['ws_url']}?subscribe=quote:XBTUSD"
            ) as lively:
                connections = await client.control("GET", "/connections")
                while len(connections) < 2:
                    await asyncio.sleep(0.05)
                    connections = await client.control("GET", "/connections")
                await asyncio.sleep(0.5)
                for _ in range(3):
                    await client.control("POST", "/faults", {"fault": "huge_partial"})
                async with asyncio.timeout(20):
                    # The venue tells nobody when it has cut a client, so it is asked.
                    while len(await client.control("GET", "/connections")) > 1:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                await lively.receive_json(timeout=5)
            deaf.close()

        _run(where, act)


def _gone(process: subprocess.Popen[str], within_s: float = 5.0) -> int:
    return process.wait(within_s)


def test_it_ends_when_its_lifeline_is_cut() -> None:
    with served(limits=WIDE) as where:
        read, write = os.pipe()
        os.close(read)
        # The write end of the lifeline is replaced, which closes it.
        os.dup2(write, where["lifeline"])
        os.close(write)
        assert _gone(where["process"]) == 0


@pytest.mark.parametrize("number", [2, 15])
def test_it_ends_on_a_signal_with_open_clients(number: int) -> None:
    with served(limits=WIDE) as where:

        async def go() -> None:
            async with aiohttp.ClientSession() as session:
                stream = await session.ws_connect(where["ws_url"])
                await stream.receive_json()
                where["process"].send_signal(number)
                message = await stream.receive(timeout=5)
                assert message.type is aiohttp.WSMsgType.CLOSE
                assert message.data == 1012

        asyncio.run(go())
        assert _gone(where["process"]) == 0


def test_what_was_answered_survives_a_kill_and_the_demo_key_stays(tmp_path: Path) -> None:
    state = str(tmp_path / "venue")
    with served(limits=WIDE, state_dir=state) as where:

        async def trade(client: Client) -> None:
            market = b'{"symbol":"XBTUSD","orderQty":300,"ordType":"Market"}'
            assert (await client.ask("POST", "/order", market))[1]["ordStatus"] == "Filled"

        _run(where, trade)

        async def rest(client: Client) -> None:
            order = b'{"symbol":"XBTUSD","orderQty":100,"price":30000,"clOrdID":"kept"}'
            assert (await client.ask("POST", "/order", order))[0] == 200
            where["process"].kill()
            where["process"].wait(5)

        with pytest.raises(aiohttp.ClientConnectionError):
            _run(where, rest)
    secret_file = tmp_path / "venue" / "demo.json"
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    with served(limits=WIDE, state_dir=state) as again:
        assert again["accounts"] == where["accounts"]

        async def look(client: Client) -> None:
            _, positions = await client.ask("GET", "/position")
            assert positions[0]["currentQty"] == 300
            _, orders = await client.ask("GET", "/order?filter=%7B%22open%22:true%7D")
            assert [row["clOrdID"] for row in orders] == ["kept"]
            _, fills = await client.ask("GET", "/execution/tradeHistory")
            assert sum(row["lastQty"] for row in fills) == 300

        _run(again, look)


def test_a_taken_port_is_an_error_and_not_a_hang(venue: dict[str, Any]) -> None:
    port = URL(venue["rest_url"]).port
    result = subprocess.run(
        [
            os.environ.get("CHAPPIE_PYTHON", sys.executable),
            "-m",
            "tests.simvenue.served",
            json.dumps({"port": port}),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        check=False,
    )
    assert result.returncode != 0
    assert "address already in use" in result.stderr.lower()
