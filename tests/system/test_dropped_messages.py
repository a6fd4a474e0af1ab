"""One private message is lost, of each kind, in each state of the position: the books agree all
the same, or it stops for a reason of the contract and its next run agrees.
"""

from collections.abc import Callable

import pytest

from chappie.core.position import PositionState, state_of
from chappie.model.faults import StopReason
from tests.system.rig import SHORT, TRADING, Played, Scene, Seat, Venue, agree, play

pytestmark = pytest.mark.processes
PRIVATE = ("order", "execution", "position", "margin")
CALM = (
    *SHORT,
    *TRADING,
    "orders.style=post_only",
    "policy.cycle.period_s=2",
    "feed.soft_stop_after_s=6",
    "feed.fault_after_s=15",
    "feed.sync_fault_after_s=40",
    "reconcile.fault_after_s=10",
)
# What a lost message may end in, when it is not made up for in time.
MAY_STOP = (StopReason.POSITION_MISMATCH, StopReason.VENUE_DEGRADED, StopReason.ORDER_UNRESOLVED)


def state(seat: Seat) -> PositionState:
    """The state of the position by the venue's own truth."""
    truth = seat.truth()
    qty = sum(row["currentQty"] for row in truth["position"])
    sides = [row["side"] for row in truth["orders"] if row["leavesQty"] > 0]
    reducing = any((side == "Sell") == (qty > 0) for side in sides) and qty != 0
    return state_of(qty, bool(sides), reducing)


def when_it_is(wanted: PositionState) -> Callable[[Played], bool]:
    return lambda played: state(played.seat) is wanted


def is_over(played: Played) -> bool:
    """The message was lost, and since then it traded on and is well again; or it stopped."""
    bot = played.bot
    assert bot.process is not None
    if bot.process.poll() is not None:
        return True
    if played.seat.armed():
        return False
    active: set[tuple[str, str]] = set()
    for line in bot.events():
        if line["event"] == "fault":
            active.add((line["fault"], line["subject"]))
        elif line["event"] == "fault_cleared":
            active.discard((line["fault"], line["subject"]))
    return not active and len(played.orders_since()) >= 3


SCENES = {
    f"{table} while {wanted.value}": Scene(
        is_over,
        (("drop", {"table": table, "count": 1}),),
        within_s=40.0,
        when=when_it_is(wanted),
    )
    for table in PRIVATE
    for wanted in PositionState
}


@pytest.fixture(scope="module")
def all_played(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    return play(venue, tmp_path_factory.mktemp("dropped"), SCENES, CALM)


@pytest.mark.parametrize("name", SCENES)
def test_a_lost_message_is_made_up_for_or_stops_by_name(
    all_played: dict[str, Played], name: str
) -> None:
    played = all_played[name]
    if played.failure is not None:
        raise played.failure
    bot, seat = played.bot, played.seat
    assert "Traceback" not in bot.said
    if played.code != StopReason.OPERATOR.value:
        assert played.code in [reason.value for reason in MAY_STOP], bot.last_stop()
        known = len(bot.fills())
        bot.start("trade", *CALM, seat=seat)
        try:
            bot.until(lambda: len(bot.fills()) > known)
            assert bot.stop() == StopReason.OPERATOR.value
        finally:
            bot.kill()
    agree(bot, seat)
    names = [name for row in seat.new_orders() for name in row["clOrdID"]]
    assert len(names) == len(set(names))
