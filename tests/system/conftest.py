"""Bots that are surely gone afterwards, and one venue with a seat for every test of a module."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.rig import Bot, Seat, Venue, a_venue

Make = Callable[[], Bot]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes bots, each with a folder of its own; all of them end with the test."""
    made: list[Bot] = []

    def make_one() -> Bot:
        made.append(Bot(tmp_path / f"bot{len(made)}"))
        return made[-1]

    yield make_one
    for bot in made:
        bot.kill()


@pytest.fixture
def bot(make: Make) -> Bot:
    return make()


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    with a_venue(seats=30) as made:
        yield made


@pytest.fixture
def seat(venue: Venue) -> Iterator[Seat]:
    """An account that no other test uses; whatever fault was armed is cleared afterwards."""
    yield venue.seat()
    venue.clear()


@pytest.fixture
def own_venue() -> Iterator[Venue]:
    """A venue alone, for faults that strike every account alike."""
    with a_venue(seats=3) as made:
        yield made
