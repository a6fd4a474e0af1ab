"""A trader that hangs, and both processes gone at once, while an order of ours works."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chappie.model.faults import StopReason
from tests.cli.test_up_embedded import gone
from tests.guardian.receivers import never_answering
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, Venue, a_venue, agree
from tests.system.test_full_disk import disk, fill, small  # noqa: F401

pytestmark = pytest.mark.processes
SETS = (
    *SHORT,
    *TRADING,
    "orders.style=post_only",
    "policy.cycle.period_s=60",
    # A quiet market is no stale one here.
    "feed.soft_stop_after_s=40",
    "feed.fault_after_s=60",
    "feed.sync_fault_after_s=90",
    "reconcile.fault_after_s=90",
)
SOON_FIRED = ("dead_man.timeout_s=4", "dead_man.refresh_every_s=1")


@pytest.fixture(scope="module")
def quiet() -> Iterator[Venue]:
    """A venue where hardly anybody trades, so that an order of ours surely rests."""
    with a_venue(seats=6, rate=0.1) as made:
        yield made


def resting(bot: Bot, seat: Seat) -> dict[str, Any]:
    """The one order that works."""
    bot.until(lambda: seat.open_orders(), 40.0)
    (order,) = seat.open_orders()
    return order


def status(seat: Seat, order: dict[str, Any]) -> str:
    rows = seat.truth()["orders"]
    return next(str(row["ordStatus"]) for row in rows if row["orderID"] == order["orderID"])


def last_number(seat: Seat) -> int:
    """Once whatever was on its way when its sender was struck has arrived."""
    time.sleep(0.3)
    return int(seat.requests()[-1]["number"])


def requests_after(seat: Seat, number: int) -> list[dict[str, Any]]:
    return [row for row in seat.requests() if row["number"] > number]


def test_a_stopped_trader_is_killed_its_order_cancelled_and_another_started(
    quiet: Venue, bot: Bot
) -> None:
    seat, patience_s = quiet.seat(), 3.0
    bot.start("up", *FREE, *SETS, f"supervisor.heartbeat_timeout_s={patience_s}", seat=seat)
    left = resting(bot, seat)
    bot.until_mode("trading")
    trader = bot.run_file()["trader_pid"]
    os.kill(trader, signal.SIGSTOP)
    asked = last_number(seat)
    assert gone(trader, 20.0)
    bot.until(lambda: bot.shown().get("trader", {}).get("restarts") == 1)
    stop = bot.shown()["trader"]["last_stop"]
    assert (stop["reason"], stop["code"]) == ("loop_stalled", StopReason.LOOP_STALLED.value)
    # Not before its time: the guardian counts only what it was awake for.
    silent = re.search(r"no beat for ([0-9.]+) s", stop["detail"])
    assert silent is not None
    assert float(silent[1]) >= patience_s
    bot.until_mode("trading")
    resting(bot, seat)
    # By a request that names it, long before the switch would have fired, and before any new one.
    after = requests_after(seat, asked)
    cancels = [row["number"] for row in after if left["orderID"] in row["orderID"]]
    new = [row["number"] for row in after if row["method"] == "POST" and row["clOrdID"]]
    assert cancels
    assert new
    assert cancels[0] < new[0]
    assert status(seat, left) == "Canceled"
    assert bot.stop() == 0
    agree(bot, seat)


def test_on_a_full_disk_beside_a_receiver_that_never_answers_it_is_killed_and_cancelled_too(
    quiet: Venue,
    disk: Path,  # noqa: F811
    small: Bot,  # noqa: F811
) -> None:
    seat, patience_s = quiet.seat(), 3.0
    patience = f"supervisor.heartbeat_timeout_s={patience_s}"
    with never_answering() as url:
        env = {"CHAPPIE_ALERTS__URLS": json.dumps([url])}
        where = f"state.dir={small.state}"
        small.start("up", *FREE, *SETS, patience, where, seat=seat, env=env)
        left = resting(small, seat)
        small.until_mode("trading")
        trader = small.run_file()["trader_pid"]
        os.kill(trader, signal.SIGSTOP)
        fill(disk)
        began_s = time.monotonic()
        asked = last_number(seat)
        assert gone(trader, 20.0)
        assert time.monotonic() - began_s >= patience_s - 1.0, "by the watch and not by the disk"
        small.until(lambda: seat.open_orders() == [])
        # By a request that names it, and not by the switch, which has most of a minute left.
        after = requests_after(seat, asked)
        assert [row for row in after if left["orderID"] in row["orderID"]]
        assert status(seat, left) == "Canceled"
        assert '"reason":"loop_stalled"' in small.said
        # On a disk without room nobody is started for good; the guardian serves and says so.
        small.until(lambda: '"staying_down"' in small.said)
        small.until_mode("stopped")
        assert small.shown()["trader"]["last_stop"]["reason"] == "journal_failed"
        assert [row for row in requests_after(seat, asked) if row["clOrdID"]] == []
        assert small.stop() == 0
    assert "Traceback" not in small.said


def test_a_trader_that_stood_still_for_less_than_its_time_is_left_alone(
    quiet: Venue, bot: Bot
) -> None:
    seat = quiet.seat()
    bot.start("up", *FREE, *SETS, "supervisor.heartbeat_timeout_s=8", seat=seat)
    order = resting(bot, seat)
    bot.until_mode("trading")
    trader = bot.run_file()["trader_pid"]
    os.kill(trader, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(trader, signal.SIGCONT)
    before = len(bot.named("reconciled"))
    bot.until(lambda: bot.shown()["trader"]["beat_age_s"] < 1.0)
    assert bot.shown()["trader"]["restarts"] == 0
    assert bot.run_file()["trader_pid"] == trader
    assert len(bot.named("reconciled")) >= before
    assert bot.stop() == 0
    assert status(seat, order) == "Canceled"
    agree(bot, seat)


def test_under_a_guardian_that_stands_still_the_trader_goes_on_and_ends_with_it(
    quiet: Venue, bot: Bot
) -> None:
    """Its pipe is there: it renews the switch and reconciles, until the guardian is gone."""
    seat = quiet.seat()
    bot.start("up", *FREE, *SETS, *SOON_FIRED, seat=seat)
    order = resting(bot, seat)
    trader = bot.run_file()["trader_pid"]
    assert bot.process is not None
    os.kill(bot.process.pid, signal.SIGSTOP)
    # Longer than the switch of 4 s lasts without it, and than the guardian's own patience.
    renewed = len(bot.named("dead_man_armed"))
    bot.until(lambda: len(bot.named("dead_man_armed")) >= renewed + 6)
    assert status(seat, order) == "New"
    bot.kill()
    bot.until(lambda: gone(trader))
    assert status(seat, order) == "Canceled"
    assert bot.last_stop()["reason"] == "guardian_lost"


def test_a_hung_trader_that_nobody_watches_lets_the_switch_fire(quiet: Venue, bot: Bot) -> None:
    """Promise 7: only a healthy one renews it."""
    seat = quiet.seat()
    bot.start("trade", *SETS, *SOON_FIRED, seat=seat)
    order = resting(bot, seat)
    assert bot.process is not None
    os.kill(bot.process.pid, signal.SIGSTOP)
    asked = last_number(seat)
    bot.until(lambda: not seat.open_orders())
    assert status(seat, order) == "Canceled"
    assert requests_after(seat, asked) == [], "nobody asked for it: the venue's own timer did"


def test_with_both_killed_at_once_the_switch_fires_and_the_next_start_finds_all_in_order(
    quiet: Venue, bot: Bot
) -> None:
    seat = quiet.seat()
    bot.start("up", *FREE, *SETS, *SOON_FIRED, seat=seat)
    order = resting(bot, seat)
    trader = bot.run_file()["trader_pid"]
    assert bot.process is not None
    # Stopped first, so that neither can act on the other's death.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (trader, bot.process.pid):
            os.kill(pid, number)
    bot.ends()
    assert gone(trader)
    asked = last_number(seat)
    bot.until(lambda: not seat.open_orders())
    assert status(seat, order) == "Canceled"
    assert requests_after(seat, asked) == []
    before = len(bot.events())
    bot.start("up", *FREE, *SETS, *SOON_FIRED, seat=seat)
    bot.until_new("order_sent", before)
    assert resting(bot, seat)["orderID"] != order["orderID"]
    assert bot.stop() == 0
    agree(bot, seat)
