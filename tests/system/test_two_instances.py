"""Two instances on one account: one stops, the other goes on, and nothing is doubled."""

import pytest

from chappie.model.faults import StopReason
from tests.system.conftest import Make
from tests.system.rig import SHORT, TRADING, Bot, Seat, Venue, agree

pytestmark = pytest.mark.processes
SETS = (
    *SHORT,
    *TRADING,
    "orders.style=market",
    "feed.soft_stop_after_s=6",
    "feed.fault_after_s=12",
)
MAX_POSITION = 1000


def ended(bot: Bot) -> bool:
    assert bot.process is not None
    return bot.process.poll() is not None


def test_of_two_that_begin_to_trade_at_once_the_newer_one_goes_on(
    own_venue: Venue, make: Make
) -> None:
    seat = own_venue.seat()
    # Neither may trade before both are ready.
    own_venue.arm("instrument_state", value="Closed")
    older, newer = make(), make()
    for bot in (older, newer):
        bot.start("trade", *SETS, seat=seat)
        bot.until_event("core_started")
    for bot in (older, newer):
        bot.until_event("reconciled")
    epochs = [bot.named("core_started")[0]["epoch"] for bot in (older, newer)]
    assert epochs[0] < epochs[1]
    own_venue.clear()
    assert older.ends() == StopReason.NOT_ALONE.value
    stop = older.last_stop()
    assert stop["reason"] == "not_alone"
    assert "another instance of this bot asked for" in stop["detail"]
    # The other one trades on as if alone.
    known = len(newer.fills())
    newer.until(lambda: len(newer.fills()) >= known + 2)
    assert not ended(newer)
    assert newer.stop() == 0
    # Its ledger holds what the other did, too: the account is the sum of both, each fill once.
    agree(newer, seat)
    assert {fill.exec_id for fill in older.fills()} <= {fill.exec_id for fill in newer.fills()}
    names = [name for row in seat.new_orders() for name in row["clOrdID"]]
    assert len(names) == len(set(names))
    assert abs(seat.position_qty()) <= MAX_POSITION
    last = max(seat.new_orders(), key=lambda row: int(row["number"]))
    assert newer.named("order_sent", clOrdID=last["clOrdID"][0])


def test_one_that_joins_a_trading_account_does_not_trade_on_what_it_cannot_explain(
    make: Make, seat: Seat
) -> None:
    """A second laptop with a folder of its own, while the first one holds a position."""
    first, second = make(), make()
    first.start("trade", *SETS, "policy.cycle.period_s=60", seat=seat)
    first.until(lambda: first.fills() and seat.position_qty() != 0)
    second.start("trade", *SETS, "reconcile.fault_after_s=2.5", seat=seat)
    assert second.ends() == StopReason.POSITION_MISMATCH.value
    assert not second.named("order_sent")
    assert not ended(first)
    assert first.stop() == 0
    agree(first, seat)


def test_one_that_shares_the_folder_stops_at_once_and_the_first_does_not_notice(
    bot: Bot, seat: Seat
) -> None:
    bot.start("trade", *SETS, seat=seat)
    bot.until(lambda: bot.fills())
    first, known = bot.process, len(bot.fills())
    second = Bot(bot.folder)
    asked = len(seat.requests())
    second.start("trade", *SETS, seat=seat)
    assert second.ends() == StopReason.NOT_ALONE.value
    assert first is not None
    assert first.poll() is None
    bot.until(lambda: len(bot.fills()) > known)
    assert bot.stop() == 0
    agree(bot, seat)
    assert asked < len(seat.requests())
    upgrades = [row for row in seat.requests() if row["method"] == "UPGRADE"]
    assert len(upgrades) == 1, "the second one never spoke to the venue"
