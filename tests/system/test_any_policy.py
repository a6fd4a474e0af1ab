"""With `allow_trade` off no policy, no broken connection and no restart brings an order about; and
no run at all asks the venue's status page or announcements how the venue is (control F12).
"""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import FREE, SHORT, Bot, Seat, Venue, a_venue

# The first test waits for all that is played at once.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
# Whatever a user's class may answer, from a seed.
FUZZ = """
import math
import os
import random
import time

ANSWERS = (
    lambda r, view: r.randrange(-1000, 1001),
    lambda r, view: r.choice((100, 0, -100)),
    lambda r, view: float("nan"),
    lambda r, view: math.inf,
    lambda r, view: 10**30,
    lambda r, view: -(2**63),
    lambda r, view: None,
    lambda r, view: "100",
    lambda r, view: True,
    lambda r, view: [100],
    lambda r, view: 1 // 0,
    lambda r, view: int("x"),
    lambda r, view: time.sleep(0.3) or 100,
    lambda r, view: exit(3),
    lambda r, view: setattr(view, "position", 7),
    lambda r, view: print("buy, buy, buy") or 100,
)


class Fuzz:
    period_s = 0.2

    def __init__(self):
        self.random = random.Random(os.environ["FUZZ_SEED"])

    def decide(self, view):
        return self.random.choice(ANSWERS)(self.random, view)
"""
SETS = (
    *SHORT,
    "bot.policy=fuzz:Fuzz",
    "orders.style=market",
    # It is cut often; that is not what is looked at.
    "feed.soft_stop_after_s=6",
    "feed.fault_after_s=15",
    "reconcile.fault_after_s=20",
)
SEEDS = ("1", "2", "3")
CUTS = 3
# Reads of our own account and of the instrument, the order family, and the stream.
ASKED_FOR = {
    "/realtime",
    "/api/v1/apiKey",
    "/api/v1/execution",
    "/api/v1/execution/tradeHistory",
    "/api/v1/instrument",
    "/api/v1/order",
    "/api/v1/order/cancelAllAfter",
    "/api/v1/position",
    "/api/v1/user/margin",
}


@dataclass
class Ran:
    """What a bot did, seen from the venue and in its own log."""

    requests: list[dict[str, Any]]
    everything: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    bot: Bot


def run(folder: Path, venue: Venue, seat: Seat, seed: str, allow_trade: str) -> Ran:
    """Cut a few times, killed once, and stopped."""
    bot = Bot(folder)
    (bot.folder / "fuzz.py").write_text(FUZZ)
    env = {"FUZZ_SEED": seed}
    bot.start("up", *FREE, *SETS, f"bot.allow_trade={allow_trade}", seat=seat, env=env)
    try:
        for _ in range(CUTS):
            before = len(bot.events())
            bot.until_new("decision", before)
            before = len(bot.events())
            seat.arm("cut")
            bot.until_new("decision", before)
        trader, before = bot.run_file()["trader_pid"], len(bot.events())
        os.kill(trader, signal.SIGKILL)
        bot.until_new("decision", before)
        before = len(bot.events())
        bot.until(lambda: len(bot.named("decision")) >= 12)
        bot.until_new("policy_failed" if bot.named("policy_failed") else "decision", before)
        assert bot.stop() == 0
    finally:
        bot.kill()
    orders = seat.truth()["orders"]
    return Ran(seat.requests(), venue.control("requests"), orders, bot)


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, str], Future[Ran]]]:
    folder = tmp_path_factory.mktemp("any")
    wanted = [(seed, allow) for allow in ("false", "true") for seed in SEEDS]
    with a_venue(seats=len(wanted)) as venue, ThreadPoolExecutor(len(SEEDS)) as pool:
        yield {
            (seed, allow): pool.submit(
                run, folder / f"{allow}{seed}", venue, venue.seat(), seed, allow
            )
            for seed, allow in wanted
        }


@pytest.mark.parametrize("seed", SEEDS)
def test_off_sends_nothing_but_reads_whatever_the_policy_answers(
    ran: dict[tuple[str, str], Future[Ran]], seed: str
) -> None:
    one = ran[seed, "false"].result()
    assert {row["method"] for row in one.requests} == {"GET", "UPGRADE"}
    assert one.orders == []
    # It decided all the while, and would have sent orders.
    assert one.bot.named("would_be_order")
    assert one.bot.last_stop()["reason"] == "operator"


@pytest.mark.parametrize("seed", SEEDS)
def test_on_the_same_answers_do_trade_so_the_silence_proves_something(
    ran: dict[tuple[str, str], Future[Ran]], seed: str
) -> None:
    one = ran[seed, "true"].result()
    new = [r for r in one.requests if r["method"] == "POST" and r["path"] == "/api/v1/order"]
    assert new
    # Nothing that is no whole number within bounds became an order.
    assert all(0 < order["orderQty"] <= 100 for order in one.orders)


@pytest.mark.parametrize("allow", ["false", "true"])
@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_asks_how_the_venue_is_but_by_our_own_stream_and_requests(
    ran: dict[tuple[str, str], Future[Ran]], seed: str, allow: str
) -> None:
    # Every request that the venue ever got, with a key or without.
    paths = {row["path"] for row in ran[seed, allow].result().everything}
    assert paths <= ASKED_FOR
