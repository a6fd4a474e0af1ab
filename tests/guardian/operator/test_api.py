import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
import pytest

from chappie.guardian.operator.api import Api, PortTakenError, bind
from chappie.guardian.shown import Setting, TraderState, merge
from tests.guardian.states import healthy

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee")


def served(scene: Callable[[Api, aiohttp.ClientSession], Awaitable[None]]) -> None:
    """Run the scene against an API on a free port."""

    async def play() -> None:
        state = merge(SETTING, healthy(), 0.0, True, TraderState(pid=7, beat_age_s=0.1))
        api = Api(bind("127.0.0.1", 0), lambda: state, 5.0)
        await api.start()
        try:
            async with aiohttp.ClientSession() as session:
                await scene(api, session)
        finally:
            await api.stop()

    asyncio.run(play())


def test_health_readiness_state_and_page_are_served_without_a_banner() -> None:
    async def scene(api: Api, session: aiohttp.ClientSession) -> None:
        for path in ("/healthz", "/readyz", "/api/state", "/"):
            async with session.get(api.url + path) as answer:
                assert answer.status == 200, path
                assert "Server" not in answer.headers
                assert answer.headers["Cache-Control"] == "no-store"
        async with session.get(f"{api.url}/api/state") as answer:
            body = msgspec.json.decode(await answer.read())
            assert (body["mode"], body["config_hash"]) == ("observing", "c0ffee")

    served(scene)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/healthz", {"Host": "evil.example"}, 403),
        ("GET", "/healthz", {"Host": "evil.example:{port}"}, 403),
        ("GET", "/healthz", {"Host": "127.0.0.1:1"}, 403),
        ("GET", "/healthz", {"Host": "LocalHost:{port}"}, 200),
        ("GET", "/api/state", {"Origin": "https://evil.example"}, 403),
        ("GET", "/api/state", {"Origin": "null"}, 403),
        ("GET", "/api/state", {"Origin": "https://127.0.0.1:{port}"}, 403),
        ("GET", "/api/state", {"Origin": "http://127.0.0.1:{port}"}, 200),
        ("POST", "/api/state", {}, 405),
        ("DELETE", "/healthz", {}, 405),
        ("HEAD", "/healthz", {}, 200),
        ("HEAD", "/api/events", {}, 405),
        ("GET", "/healthz", {"Host": "localhost.:{port}"}, 403),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", "/healthz", {"Content-Length": "99999"}, 413),
    ],
)
def test_only_plain_reads_addressed_to_it_are_answered(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async def scene(api: Api, session: aiohttp.ClientSession) -> None:
        port = api.url.rpartition(":")[2]
        filled = {name: value.format(port=port) for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in filled.items())]
        if "Host" not in filled:
            lines.append(f"Host: 127.0.0.1:{port}")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode())
        head = await reader.readuntil(b"\r\n")
        writer.close()
        assert int(head.split()[1]) == status

    served(scene)


def test_what_the_venue_wrote_cannot_become_markup_on_the_page() -> None:
    async def play() -> None:
        nasty = Setting(False, "<script>alert(1)</script>", "simulated", "XBTUSD", "c0ffee")
        state = merge(nasty, None, 0.0, True, TraderState())
        api = Api(bind("127.0.0.1", 0), lambda: state, 5.0)
        await api.start()
        async with aiohttp.ClientSession() as session, session.get(api.url) as answer:
            assert "<script>" not in await answer.text()
        await api.stop()

    asyncio.run(play())


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port} cannot be used"):
            bind("127.0.0.1", port)
