"""kill -9 between a request and its answer, and with orders that work: the next run finds what
became of everything, and nothing is sent twice.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.rig import SHORT, TRADING, Bot, Seat, Venue, a_venue, agree

pytestmark = pytest.mark.processes
ORDER = {"route": "/order", "method": "POST", "count": 1}
CALM = (
    *SHORT,
    *TRADING,
    # Taken late, it is also filled.
    "orders.style=market",
    "policy.cycle.period_s=3",
    "feed.soft_stop_after_s=4",
    "feed.fault_after_s=9",
)
# name: the fault that keeps the order between request and answer when its sender dies.
BETWEEN: dict[str, tuple[str, dict[str, Any]]] = {
    "taken, the answer under way": ("delay_answer", {"ms": 3000}),
    "taken, the answer lost": ("accept_then_timeout", {}),
    "in the venue's queue": ("queue", {"ms": 900}),
    # The longest wait that the fence covers: expires_after_s and one second more.
    "long in the venue's queue": ("queue", {"ms": 1900}),
    "lost": ("lose_request", {}),
}
# Before it arrives nobody knows whose it is, so this strikes every account.
ON_ITS_WAY = {"refused by its expiry": 2500, "in time": 700}
QTY = 100


class Killed:
    """A bot that was killed while its order was out, ran once more, and was stopped."""

    def __init__(self, bot: Bot, seat: Seat) -> None:
        self.bot = bot
        self.seat = seat
        self.dead = 0
        self.failure: AssertionError | None = None


def run(one: Killed) -> None:
    one.bot.start("trade", *CALM, seat=one.seat)


def kill_in_between(one: Killed, fault: str, **values: Any) -> None:
    """Strike its first order, kill it at once, and start it again: flat, it would buy again."""
    bot, venue = one.bot, one.seat.venue
    (number,) = venue.control("faults", "POST", {"fault": fault, **ORDER, **values})["numbers"]
    run(one)
    bot.until(lambda: not is_armed(venue, number), 40.0, every_s=0.005)
    bot.kill()
    one.dead = len(bot.events())
    run(one)


def is_armed(venue: Venue, number: int) -> bool:
    return any(row["number"] == number for row in venue.control("faults")["armed"])


def trade_again(one: Killed) -> None:
    bot = one.bot
    bot.until_new("order_sent", one.dead)
    (first, *_) = [e for e in bot.events()[one.dead :] if e["event"] == "order_sent"]
    bot.until_new("fill", one.dead, clOrdID=first["clOrdID"])
    assert bot.stop() == 0


@pytest.fixture(scope="module")
def killed(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Killed]]:
    folder = tmp_path_factory.mktemp("killed")
    found = {
        name: Killed(Bot(folder / str(number)), venue.seat()) for number, name in enumerate(BETWEEN)
    }

    def kill(one: Killed) -> None:
        fault, values = BETWEEN[next(name for name in found if found[name] is one)]
        kill_in_between(one, fault, account=one.seat.account, **values)

    try:
        for step in (kill, trade_again):
            for one in found.values():
                if one.failure is None:
                    try:
                        step(one)
                    except AssertionError as failure:
                        one.failure = failure
        yield found
    finally:
        for one in found.values():
            one.bot.kill()
        venue.clear()


@pytest.mark.parametrize("name", BETWEEN)
def test_what_the_dead_run_asked_for_is_settled_before_anything_new(
    killed: dict[str, Killed], name: str
) -> None:
    one = killed[name]
    if one.failure is not None:
        raise one.failure
    settled(one)


@pytest.mark.parametrize("case", ON_ITS_WAY)
def test_a_request_that_outlives_its_sender_is_waited_for(
    own_venue: Venue, bot: Bot, case: str
) -> None:
    one = Killed(bot, own_venue.seat())
    kill_in_between(one, "delay_request", ms=ON_ITS_WAY[case])
    trade_again(one)
    settled(one)


def settled(one: Killed) -> None:
    bot, seat = one.bot, one.seat
    agree(bot, seat)
    assert bot.last_stop()["reason"] == "operator"
    asked = bot.named("order_sent")
    names = [line["clOrdID"] for line in asked]
    assert len(names) == len(set(names))
    # The dead run's last order is over by the venue's word, or was asked for, before the next.
    log = bot.events()
    (dead,) = [log[n]["clOrdID"] for n in _last(log, "order_sent", before=one.dead)]
    new = next(n for n, line in enumerate(log) if n >= one.dead and line["event"] == "order_sent")
    reconciled = next(
        n for n, line in enumerate(log) if n >= one.dead and line["event"] == "reconciled"
    )
    assert reconciled < new
    rows = {name: row for row in seat.new_orders() for name in row["clOrdID"]}
    first = rows[log[new]["clOrdID"]]
    if dead in rows:
        assert first["number"] > rows[dead]["number"]
    # One order takes one step between long, flat and short.
    held = list(itertools.accumulate(_signed(trade) for trade in seat.trades()))
    assert max(map(abs, held)) <= QTY, "the dead run's order was sent once more"


def _last(log: list[dict[str, Any]], event: str, before: int) -> list[int]:
    return [n for n, line in enumerate(log[:before]) if line["event"] == event][-1:]


def _signed(trade: dict[str, Any]) -> int:
    qty: int = trade["lastQty"]
    return qty if trade["side"] == "Buy" else -qty


@pytest.fixture(scope="module")
def quiet() -> Iterator[Venue]:
    """A venue where hardly anybody trades, so that an order of ours surely rests."""
    with a_venue(seats=4, rate=0.1) as made:
        yield made


# A quiet market is no stale one here.
QUIET = (
    *SHORT,
    *TRADING,
    "orders.style=post_only",
    "feed.soft_stop_after_s=40",
    "feed.fault_after_s=60",
    "feed.sync_fault_after_s=90",
)


def test_orders_that_worked_when_it_was_killed_are_cancelled_before_the_next(
    quiet: Venue, bot: Bot
) -> None:
    seat = quiet.seat()
    sets = (*QUIET, "policy.cycle.period_s=60")
    bot.start("trade", *sets, seat=seat)
    bot.until(lambda: seat.open_orders())
    (left,) = seat.open_orders()
    bot.kill()
    assert seat.open_orders() == [left]
    dead, last = len(bot.events()), seat.requests()[-1]["number"]
    bot.start("trade", *sets, seat=seat)
    bot.until(lambda: [o for o in seat.open_orders() if o["orderID"] != left["orderID"]])
    (now,) = seat.open_orders()
    after = [row for row in seat.requests() if row["number"] > last]
    new = [row["number"] for row in after if now["clOrdID"] in row["clOrdID"]]
    cancels = [row["number"] for row in after if left["orderID"] in row["orderID"]]
    assert cancels[0] < new[0]
    bot.until_new("leftover_orders", dead)
    assert bot.stop() == 0
    agree(bot, seat)
