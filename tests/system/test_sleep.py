"""A laptop that slept for half an hour with an order at work: what it then sees is old, and it
says so, reads the account anew and goes on from there.

Its processes are stopped by SIGSTOP, and before they go on the half hour is added to the clocks
that count suspend, theirs and those of the venue, which so lives through all of it.
"""

import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chappie.model.faults import StopReason
from tests.conftest import ROOT
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, a_venue, agree, descendants

pytestmark = pytest.mark.processes
NAP_S = 1_800
# The venue does half an hour of its work at once.
VENUE_CATCHES_UP_S = 1.0
SETS = (
    *SHORT,
    *TRADING,
    "orders.style=post_only",
    "policy.cycle.period_s=60",
    "dead_man.timeout_s=10",
    "dead_man.refresh_every_s=2",
    # Nobody trades at this venue, and that is no silence here; half an hour is.
    "feed.soft_stop_after_s=40",
    "feed.fault_after_s=60",
    "feed.sync_fault_after_s=90",
    "reconcile.fault_after_s=90",
    # The watchdog's clock does not count suspend: a real sleep takes nothing off it.
    "supervisor.heartbeat_timeout_s=30",
)


class Machine:
    """The one that a bot runs on, and the world whose clock goes on without it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._file = folder / "nap"
        self._file.write_bytes(struct.pack("<q", 0))
        path = os.pathsep.join(map(str, (ROOT / "tests/system/nap", ROOT / "src", ROOT)))
        self.env = {"PYTHONPATH": path, "NAP_FILE": str(self._file)}

    @contextmanager
    def sleeps(self, bot: Bot) -> Iterator[None]:
        """Nothing of it runs within the block, and at its end half an hour has passed."""
        assert bot.process is not None
        pids = [bot.process.pid, *descendants(bot.process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
            with self._file.open("r+b") as file:
                file.write(struct.pack("<q", NAP_S * 1_000_000_000))
            time.sleep(VENUE_CATCHES_UP_S)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def sell_into(seat: Seat, other: Seat) -> None:
    """Somebody takes the resting bid of the bot, and all that is before it."""
    (order,) = seat.open_orders()
    bids = seat.venue.get("/orderBook/L2?symbol=XBTUSD&depth=0")
    qty = sum(r["size"] for r in bids if r["side"] == "Buy" and r["price"] >= order["price"])
    other.place(side="Sell", orderQty=qty, price=order["price"], timeInForce="ImmediateOrCancel")


@pytest.mark.parametrize("filled", [False, True], ids=["left to the switch", "filled meanwhile"])
def test_a_laptop_that_slept_for_half_an_hour_begins_from_what_it_finds(
    bot: Bot, filled: bool
) -> None:
    machine = Machine(bot.folder)
    with a_venue(seats=2, rate=0.1, env=machine.env) as venue:
        seat, other = venue.seat(), venue.seat()
        bot.start("up", *FREE, *SETS, seat=seat, env=machine.env)
        bot.until(lambda: seat.open_orders(), 40.0)
        (order,) = seat.open_orders()
        before, asked = len(bot.events()), seat.requests()[-1]["number"]
        with machine.sleeps(bot):
            if filled:
                sell_into(seat, other)
        bot.until_new("woke_late", before)
        # Neither what waited in its socket nor its own memory is believed: it stops, and the
        # guardian, which slept too, starts it again.
        bot.until(lambda: bot.shown().get("trader", {}).get("restarts") == 1)
        stop = bot.shown()["trader"]["last_stop"]
        assert (stop["reason"], stop["known"]) == (StopReason.FEED_STALE.word, True)
        (status,) = [
            row["ordStatus"] for row in seat.truth()["orders"] if row["orderID"] == order["orderID"]
        ]
        # Before the switch fired, somebody of the crowd may have taken it too.
        taken = status == "Filled"
        assert taken if filled else taken or status == "Canceled"
        bot.until_mode("trading")
        bot.until(lambda: taken or seat.open_orders())
        assert bot.stop() == 0
        agree(bot, seat)
        assert len(seat.trades()) == int(taken)
        # Nothing that creates an order left between waking and the new run's reconciliation.
        log = bot.events()[before:]
        names = [line["event"] for line in log]
        assert "order_sent" not in names[: names.index("started")]
        after = [row for row in seat.new_orders() if row["number"] > asked]
        assert len(after) == (0 if taken else 1)
