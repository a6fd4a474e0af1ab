"""TCP's promises: in order or not at all, and nothing else is promised."""

from random import Random

import pytest

from chappie.model.units import MILLISECOND_NS, SECOND_NS
from chappie.simulation.network import STEADY_NS, Line, Network, Spoil, Trip

KINDS = ("request_lost", "request_late", "answer_lost", "answer_late", "request_cut")


def test_frames_of_one_line_keep_their_order_whatever_their_delay() -> None:
    line, chance = Line(), Random(1)
    due = [line.down(at * MILLISECOND_NS, chance.randrange(50_000_000)) for at in range(1000)]
    known = [one for one in due if one is not None]
    assert known == sorted(known)
    assert len(known) == 1000


def test_a_stalled_line_delivers_all_at_once_afterwards() -> None:
    line = Line()
    line.stalled_ns = SECOND_NS
    assert [line.down(at, 5) for at in (0, 10, 20)] == [SECOND_NS] * 3
    assert line.up(0, 5) == SECOND_NS
    assert line.down(2 * SECOND_NS, 5) == 2 * SECOND_NS + 5


def test_a_dead_line_carries_nothing_and_tells_nobody() -> None:
    line = Line()
    line.dead = True
    assert line.up(0, 5) is None
    assert line.down(0, 5) is None


def test_a_steady_network_spoils_nothing() -> None:
    assert Network().trip(0, "POST") == Trip(STEADY_NS, STEADY_NS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_spoils_requests_until_its_time_and_is_counted(kind: str) -> None:
    network = Network(Random(3))
    network.spoil(Spoil(kind, SECOND_NS, 1.0, "POST"))
    trip = network.trip(0, "POST")
    whole = trip.up_ns is not None and trip.down_ns is not None and trip.cut_ns is None
    late = max(trip.up_ns or 0, trip.down_ns or 0) >= 300 * MILLISECOND_NS
    assert whole == (kind in ("request_late", "answer_late"))
    assert late == (kind in ("request_late", "answer_late")) or kind == "request_cut"
    assert network.fired == {kind: 1}
    network.trip(0, "GET")
    network.trip(SECOND_NS, "POST")
    assert network.fired == {kind: 1}


def test_nobody_connects_while_it_is_unreachable() -> None:
    network = Network(Random(3))
    network.unreachable_until_ns = SECOND_NS
    assert not network.reachable(0)
    assert network.reachable(SECOND_NS)
    assert network.fired == {"unreachable": 1}
    network.unreachable_until_ns = 2 * SECOND_NS
    network.heal()
    assert network.reachable(SECOND_NS)
