"""A venue closes a socket on which its client says nothing (reported failure 5)."""

import pytest

from chappie.core import streams
from tests.core.world import Calm, World


def test_an_observing_bot_keeps_its_socket_past_the_idle_time_of_the_venue() -> None:
    world = World(market=Calm())
    world.run(400)
    assert world.bot.said("stream_opened")
    assert world.bot.said("stream_lost") == []


def test_without_pings_the_venue_would_have_closed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PING_EVERY_NS", 10**15)
    world = World(market=Calm())
    world.run(400)
    assert [line.fields["detail"] for line in world.bot.said("stream_lost")] == [
        "closed by the venue, code 1001 idle"
    ] * 2
