"""The link to the guardian: beats that never block, orders to end, and the end of the link."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable

import pytest

from chappie.live.link import GuardianLink, descriptor
from chappie.live.log import Log
from chappie.model.events import Event, StopAsked
from chappie.model.link import Beat, Ending
from tests.live.fakes import state


class Rig:
    def __init__(self) -> None:
        ours, self.guardian = socket.socketpair()
        self.guardian.setblocking(False)
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        log = Log(fd=os.open(os.devnull, os.O_WRONLY))
        self.link = GuardianLink(ours.detach(), self.events.put_nowait, log)
        self.link.start(asyncio.get_running_loop())

    async def event(self) -> Event:
        return await asyncio.wait_for(self.events.get(), 5)


def with_link(test: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        rig = Rig()
        await test(rig)
        asyncio.get_running_loop().remove_reader(rig.link._socket)
        rig.link.close()
        rig.guardian.close()

    asyncio.run(run())


def test_a_beat_is_one_line_of_json() -> None:
    async def test(rig: Rig) -> None:
        rig.link.beat(Beat(7, state()))
        rig.link.ending(Ending("operator", 0, "SIGTERM"))
        beat, ending = rig.guardian.recv(1 << 20).splitlines()
        assert json.loads(beat)["epoch"] == 7
        assert json.loads(beat)["type"] == "beat"
        assert json.loads(ending) == {
            "type": "ending",
            "reason": "operator",
            "code": 0,
            "detail": "SIGTERM",
        }

    with_link(test)


def test_a_guardian_that_does_not_read_costs_beats_but_never_tears_a_line() -> None:
    async def test(rig: Rig) -> None:
        for epoch in range(5_000):
            rig.link.beat(Beat(epoch, state()))
        data = b""
        last = 5_000
        while True:
            try:
                data += rig.guardian.recv(1 << 20)
            except BlockingIOError:
                break
        rig.link.beat(Beat(last, state()))
        data += rig.guardian.recv(1 << 20)
        assert data.endswith(b"\n")
        epochs = [json.loads(line)["epoch"] for line in data.splitlines()]
        assert epochs == sorted(epochs)
        assert epochs[-1] == last
        assert len(epochs) < 5_000

    with_link(test)


def test_the_end_of_the_link_is_a_request_to_stop() -> None:
    async def test(rig: Rig) -> None:
        rig.guardian.close()
        event = await rig.event()
        assert isinstance(event, StopAsked)
        assert event.reason == "guardian_lost"
        # A beat into nowhere is no error.
        rig.link.beat(Beat(1, state()))

    with_link(test)


def test_an_order_to_end_arrives_even_in_pieces_and_behind_nonsense() -> None:
    async def test(rig: Rig) -> None:
        line = b'{"type":"end","reason":"operator","detail":"asked"}\n'
        rig.guardian.send(b"nonsense\n" + line[:20])
        await asyncio.sleep(0)
        rig.guardian.send(line[20:])
        assert await rig.event() == StopAsked("operator", "asked")

    with_link(test)


def test_the_descriptor_comes_from_the_environment() -> None:
    assert descriptor({"CHAPPIE_GUARDIAN_FD": "7"}) == 7
    assert descriptor({}) is None
    assert descriptor({"CHAPPIE_GUARDIAN_FD": ""}) is None


def test_a_descriptor_that_is_no_socket_is_an_error_at_once() -> None:
    read, write = os.pipe()
    with pytest.raises(OSError, match="socket"):
        GuardianLink(read, lambda event: None, Log(fd=write))
