import asyncio
import socket

import msgspec

from chappie.guardian.link import Link
from chappie.model.link import Beat, Ending, EndNow, Upward
from tests.guardian.states import healthy

BEAT = msgspec.json.encode(Beat(7, healthy())) + b"\n"


def test_words_come_through_however_the_stream_is_cut() -> None:
    heard: list[Upward] = []
    link = Link(heard.append)
    data = BEAT + msgspec.json.encode(Ending("operator", 0, "x")) + b"\n"
    for at in range(0, len(data), 37):
        link.data_received(data[at : at + 37])
    assert [type(word) for word in heard] == [Beat, Ending]
    assert link.garbled == 0


def test_a_garbled_line_is_counted_and_the_next_one_heard() -> None:
    heard: list[Upward] = []
    link = Link(heard.append)
    link.data_received(b'{"type":"beat","epoch":"seven"}\nnonsense\n' + BEAT)
    assert link.garbled == 2
    assert len(heard) == 1


def test_a_line_without_an_end_is_dropped_at_the_bound() -> None:
    link = Link(lambda _: None)
    for _ in range(70):
        link.data_received(b"x" * 65_536)
    assert link.garbled == 1


def test_speaking_to_a_trader_that_never_reads_does_not_block() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        link = Link(lambda _: None)
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
        for _ in range(20_000):
            link.say(EndNow("operator", "x" * 100))
        theirs.close()
        await asyncio.wait_for(link.ended.wait(), 5.0)
        link.say(EndNow("operator", "to nobody"))

    asyncio.run(scene())
