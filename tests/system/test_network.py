"""The network loses what is sent one way, the other, or both, while an order of ours works."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.network import Network, a_network
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, a_venue, agree

# The first test waits for all that is played at once.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
SETS = (
    *SHORT,
    *TRADING,
    "orders.style=post_only",
    "policy.cycle.period_s=60",
    # A quiet market is no stale one here; what is lost is told by answers that do not come.
    "feed.soft_stop_after_s=5",
    "feed.fault_after_s=8",
    "feed.sync_fault_after_s=20",
    "reconcile.fault_after_s=7",
    "dead_man.timeout_s=6",
    "dead_man.refresh_every_s=1",
)
# name: what is lost, of ours and of the venue's.
LOST = {"ours": (True, False), "theirs": (False, True), "both": (True, True)}
# What was on its way when the network failed has arrived.
ARRIVES_S = 0.3
REASONS = {"feed_stale", "feed_unsynced", "order_unresolved", "venue_degraded"}


@dataclass
class Cut:
    """A bot whose network failed and came back."""

    bot: Bot
    seat: Seat
    network: Network
    order: dict[str, Any]
    stop: dict[str, Any]
    arrived: list[dict[str, Any]]
    """What reached the venue while the network was out."""
    sent: list[str]
    """The orders that the bot decided to send meanwhile."""
    code: int


def cut(folder: Path, *, ours: bool, theirs: bool) -> Cut:
    with ExitStack() as stack:
        venue = stack.enter_context(a_venue(rate=2.0))
        network = stack.enter_context(a_network(venue))
        bot, seat = Bot(folder), venue.seat()
        stack.callback(lambda: bot.kill() if bot.process is not None else None)
        bot.start("up", *FREE, *SETS, seat=seat, args=_flags(network))
        found: list[dict[str, Any]] = []
        # One look, for somebody may take it before the next.
        bot.until(lambda: found.extend(seat.open_orders()) or found, 40.0, every_s=0.02)
        (order,) = found
        network.loses_ours, network.loses_theirs = ours, theirs
        time.sleep(ARRIVES_S)
        last, before = seat.requests()[-1]["number"], len(bot.events())
        bot.until(lambda: not seat.open_orders(), 40.0)
        bot.until(lambda: (bot.shown().get("trader") or {}).get("last_stop"), 40.0)
        stop = bot.shown()["trader"]["last_stop"]
        arrived = [row for row in seat.requests() if row["number"] > last]
        sent = [line["clOrdID"] for line in bot.events()[before:] if line["event"] == "order_sent"]
        network.loses_ours = network.loses_theirs = False
        known = len(bot.events())
        bot.until(lambda: bot.named("reconciled")[-1] in bot.events()[known:], 40.0)
        bot.until_mode("trading", 40.0)
        code = bot.stop()
        order = next(r for r in seat.truth()["orders"] if r["orderID"] == order["orderID"])
        agree(bot, seat)
        return Cut(bot, seat, network, order, stop, arrived, sent, code)


def _flags(network: Network) -> tuple[str, ...]:
    """After those of the seat, whose urls lead straight there: the last one wins."""
    return tuple(part for text in network.sets for part in ("--set", text))


@pytest.fixture(scope="module")
def all_cuts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Cut]]]:
    folder = tmp_path_factory.mktemp("network")
    with ThreadPoolExecutor(len(LOST)) as pool:
        yield {
            name: pool.submit(cut, folder / name, ours=ours, theirs=theirs)
            for name, (ours, theirs) in LOST.items()
        }


@pytest.fixture
def one(all_cuts: dict[str, Future[Cut]], request: pytest.FixtureRequest) -> Cut:
    return all_cuts[request.param].result()


def of(*names: str) -> Any:
    return pytest.mark.parametrize("one", names, indirect=True)


@of(*LOST)
def test_it_stops_by_name_says_that_it_does_not_know_and_trades_again_afterwards(one: Cut) -> None:
    assert one.stop["reason"] in REASONS
    assert one.stop["known"] is False
    # Trading again, it was stopped in order, and the accounts agreed.
    assert one.code == 0


@of(*LOST)
def test_the_working_order_is_gone_before_the_network_is_back(one: Cut) -> None:
    assert one.order["ordStatus"] in ("Canceled", "Filled")


@of("ours", "both")
def test_where_no_cancel_arrives_the_switch_takes_it(one: Cut) -> None:
    assert [row for row in one.arrived if row["method"] == "DELETE"] == []


@of(*LOST)
def test_nothing_new_is_sent_into_it(one: Cut) -> None:
    assert one.sent == []
    new = [r for r in one.arrived if r["method"] == "POST" and r["path"] == "/api/v1/order"]
    assert new == []
