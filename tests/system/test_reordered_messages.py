"""Messages of different tables overtake each other, and come twice: the books agree all the same,
and nothing is bought twice.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.system.relay import Relay, relayed
from tests.system.rig import SHORT, TRADING, Bot, Seat, Venue, agree

pytestmark = pytest.mark.processes
SETS = (
    *SHORT,
    *TRADING,
    "policy.cycle.period_s=0.8",
    "reconcile.grace_s=1",
    "feed.soft_stop_after_s=6",
    "feed.fault_after_s=15",
    "feed.sync_fault_after_s=40",
    "reconcile.fault_after_s=10",
)
SOON_S, LATE_S = 0.3, 1.8
QTY = 100
# name: by how much the frames of a table are late, and whether each comes twice.
CASES: dict[str, tuple[dict[str, float], bool]] = {
    "order last": ({"order": SOON_S}, False),
    "execution last": ({"execution": SOON_S}, False),
    "position last": ({"position": SOON_S}, False),
    "margin last": ({"margin": SOON_S}, False),
    "execution before all others": (
        {"order": SOON_S, "position": SOON_S, "margin": SOON_S}, False),
    "the reverse, and everything twice": (
        {"execution": 0.1, "order": 0.2, "position": SOON_S, "margin": 0.4}, True),
    # Past reconcile.grace_s REST tells first, and what the stream then says is old.
    "order after REST": ({"order": LATE_S}, False),
    "execution after REST": ({"execution": LATE_S}, False),
    "everything after REST, twice": (
        {"order": LATE_S, "execution": LATE_S, "position": LATE_S, "margin": LATE_S}, True),
}  # fmt: skip


class Told:
    """A bot behind a relay."""

    def __init__(self, bot: Bot, seat: Seat, relay: Relay) -> None:
        self.bot = bot
        self.seat = seat
        self.relay = relay
        self.failure: AssertionError | None = None


@pytest.fixture(scope="module")
def told(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Told]]:
    """All cases at once; each traded a while and was then stopped, still behind its relay."""
    folder = tmp_path_factory.mktemp("told")
    found: dict[str, Told] = {}
    with ExitStack() as stack:
        for number, (name, (late_s, twice)) in enumerate(CASES.items()):
            one = Told(
                Bot(folder / str(number)),
                venue.seat(),
                stack.enter_context(relayed(venue.ws_url)),
            )
            stack.callback(one.bot.kill)
            one.relay.late_s = late_s
            if twice:
                for table in late_s:
                    one.seat.arm("duplicate", table=table)
            found[name] = one
            one.bot.start("trade", *SETS, f"venue.ws_url={one.relay.ws_url}", seat=one.seat)
        until_s = time.monotonic() + 40.0
        for one in found.values():
            try:
                left_s = max(1.0, until_s - time.monotonic())
                one.bot.until(lambda one=one: len(one.seat.trades()) >= 4, left_s)
                assert one.bot.stop() == 0
            except AssertionError as failure:
                one.failure = failure
        venue.clear()
        yield found


@pytest.mark.parametrize("name", CASES)
def test_whatever_overtakes_what_each_fill_is_booked_once(told: dict[str, Told], name: str) -> None:
    one = told[name]
    if one.failure is not None:
        raise one.failure
    assert one.relay.held > 0
    assert "Traceback" not in one.bot.said
    agree(one.bot, one.seat)
    # Every order takes one step between long, flat and short: none was sent on an old belief.
    held = 0
    for trade in one.seat.trades():
        held += trade["lastQty"] if trade["side"] == "Buy" else -trade["lastQty"]
        assert abs(held) <= QTY, "a fill that was on its way was bought again"
