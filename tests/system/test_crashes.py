"""A process dies on some line: what was sent is found, cancelled, and counted once."""

import os
import signal

import pytest

from tests.cli.test_up_embedded import gone
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, agree

pytestmark = pytest.mark.processes
RESTING = (*SHORT, *TRADING, "orders.style=post_only", "policy.cycle.period_s=3")


def left_behind(seat: Seat) -> str:
    """An order of this bot's, of an earlier run, that the market will not take meanwhile."""
    order = seat.place(side="Buy", orderQty=100, price=50_000, clOrdID="chp-chappie-aaaaaa-1")
    return str(order["orderID"])


def test_a_killed_trader_is_started_again_and_first_cancels_what_it_left(
    bot: Bot, seat: Seat
) -> None:
    bot.start("up", *FREE, *SHORT, *TRADING, seat=seat)
    bot.until(lambda: bot.fills())
    os.kill(bot.run_file()["trader_pid"], signal.SIGKILL)
    left = left_behind(seat)
    before = seat.requests()[-1]
    bot.until(lambda: bot.shown().get("trader", {}).get("restarts") == 1)
    assert bot.shown()["trader"]["last_stop"]["reason"] == "killed"
    known = len(bot.fills())
    bot.until(lambda: len(bot.fills()) > known)
    assert bot.stop() == 0
    after = [row for row in seat.requests() if row["number"] > before["number"]]
    cancel = next(row for row in after if row["method"] == "DELETE")
    assert left in cancel["orderID"]
    # Promise 6: nothing new before what was left is gone, and before the last request of the
    # dead process can have arrived (expires_after_s + 1 s).
    new = next(row for row in after if row["path"] == "/api/v1/order" and row["method"] == "POST")
    assert new["number"] > cancel["number"]
    assert new["atNs"] - before["atNs"] >= 1_900_000_000
    agree(bot, seat)


def test_trade_alone_cancels_at_its_next_start_what_a_kill_left(bot: Bot, seat: Seat) -> None:
    bot.start("trade", *RESTING, seat=seat)
    bot.until(lambda: seat.new_orders())
    bot.kill()
    left = left_behind(seat)
    sent = len(seat.new_orders())
    # Observe-only cancels too: cancelling needs no permission to trade.
    bot.start("trade", *RESTING, "bot.allow_trade=false", seat=seat)
    # The order that the dead run asked for itself is told too.
    bot.until(lambda: any(left in line["orderID"] for line in bot.named("leftover_orders")))
    bot.until(lambda: not seat.open_orders())
    bot.until_event("fault_cleared", fault="leftover_orders")
    bot.until(lambda: bot.named("decision")[-1]["at"] > bot.named("leftover_orders")[0]["at"])
    assert bot.stop() == 0
    assert len(seat.new_orders()) == sent
    agree(bot, seat)


def test_a_killed_guardian_takes_its_trader_along_which_first_cancels(bot: Bot, seat: Seat) -> None:
    bot.start("up", *FREE, *RESTING, seat=seat)
    bot.until(lambda: seat.open_orders())
    trader = bot.run_file()["trader_pid"]
    assert bot.process is not None
    bot.process.kill()
    bot.ends()
    assert gone(trader)
    assert bot.last_stop()["reason"] == "guardian_lost"
    agree(bot, seat)


def test_a_foreign_order_is_reported_and_never_touched(bot: Bot, seat: Seat) -> None:
    foreign = seat.place(side="Buy", orderQty=100, price=50_000, clOrdID="by-hand")
    bot.start("trade", *SHORT, *TRADING, seat=seat)
    bot.until(lambda: len(seat.trades()) >= 2)
    assert bot.named("foreign_order", orderID=foreign["orderID"])
    assert bot.stop() == 0
    assert [order["orderID"] for order in seat.open_orders()] == [foreign["orderID"]]


def test_a_position_that_no_fill_explains_is_a_mismatch(bot: Bot, seat: Seat) -> None:
    seat.place(side="Buy", orderQty=100, ordType="Market")
    bot.start("trade", *SHORT, *TRADING, "reconcile.fault_after_s=2", seat=seat)
    assert bot.ends() == 13
    assert len(seat.new_orders()) == 1, "the one placed by hand"


def test_a_killed_embedded_venue_comes_back_with_its_account(bot: Bot) -> None:
    patient = ("feed.soft_stop_after_s=5", "feed.fault_after_s=15")
    bot.start("up", *FREE, *SHORT, *TRADING, *patient)
    bot.until(lambda: bot.fills())
    first = bot.run_file()
    os.kill(first["venue_pid"], signal.SIGKILL)
    bot.until(lambda: bot.run_file()["venue_pid"] != first["venue_pid"])
    known = len(bot.fills())
    bot.until(lambda: len(bot.fills()) > known)
    # The same trader found it where it was.
    assert bot.run_file()["trader_pid"] == first["trader_pid"]
    assert bot.stop() == 0
    # The ledger of before and the account of before still agree.
    assert bot.last_stop()["known"] is True
    assert not bot.named("fault", fault="position_disagrees")


def test_the_venue_gone_for_good_is_a_clean_stop_of_trade(bot: Bot, seat: Seat) -> None:
    bot.start("trade", *SHORT, *TRADING, seat=seat)
    bot.until(lambda: seat.trades())
    # Every request and every login ends without an answer, as with a venue that vanished.
    seat.venue.arm("hang_up")
    seat.arm("cut")
    assert bot.ends() in (10, 12, 19)
    assert bot.last_stop()["known"] is False
    assert "Traceback" not in bot.said
