import asyncio

import pytest

from chappie.guardian.operator import door
from chappie.guardian.operator.api import Api, bind
from chappie.guardian.shown import Setting, TraderState, merge
from tests.guardian.states import healthy

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee")
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def an_api() -> Api:
    state = merge(SETTING, healthy(), 0.0, True, TraderState(pid=7, beat_age_s=0.1))
    api = Api(bind("127.0.0.1", 0), lambda: state, 5.0)
    await api.start()
    return api


async def connected(api: Api) -> Stream:
    return await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))


async def asked(api: Api, stream: Stream) -> bytes:
    host = api.url.removeprefix("http://")
    stream[1].write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return await asyncio.wait_for(stream[0].readline(), 10.0)


def test_who_connects_and_asks_for_nothing_is_let_go_and_who_asked_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door.Door.__init__, "__defaults__", (0.3,))

    async def scene() -> None:
        api = await an_api()
        silent, slow, real = [await connected(api) for _ in range(3)]
        slow[1].write(b"GET /healthz HTTP/1.1\r\nHo")
        assert b"200" in await asked(api, real)
        for reader, _ in (silent, slow):
            assert await asyncio.wait_for(reader.read(), 10.0) == b""
        # Its own time is that of a connection that is kept for the next request.
        await real[0].readuntil(b'{"ok":true}')
        assert b"200" in await asked(api, real)
        for _, writer in (silent, slow, real):
            writer.close()
        await api.stop()

    asyncio.run(scene())


def test_more_connections_than_there_is_room_for_are_closed_at_once_and_there_is_room_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "CONNECTIONS_MAX", 3)

    async def scene() -> None:
        api = await an_api()
        held = [await connected(api) for _ in range(3)]
        assert b"200" in await asked(api, held[0])
        reader, writer = await connected(api)
        assert await asyncio.wait_for(reader.read(), 10.0) == b""
        writer.close()
        for _, one in held:
            one.close()
            await one.wait_closed()
        for _ in range(100):
            if b"200" in await asked(api, await connected(api)):
                break
        else:
            raise AssertionError("there is no room again")
        await api.stop()

    asyncio.run(scene())
