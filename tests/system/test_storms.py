"""Storms at the venue, over real sockets and by the venue's own rules: refusals without end,
budgets that run out, headers that are missing, and the page of a ban.

At each venue two bots live through its storm: one that wants orders all the time, and one whose
order rests, which is asked to end while the storm blows. The venue bans an address for fewer
errors than the real one would.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chappie.model.faults import StopReason
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, Venue, a_venue, agree

# The first test waits for all that is played at once.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
BLOWS_S = 10.0
BAN_ERRORS = 60
SETS = (
    *SHORT,
    *TRADING,
    # Hardly anybody trades at these venues, and that is no silence here.
    "feed.soft_stop_after_s=40",
    "feed.fault_after_s=60",
    "feed.sync_fault_after_s=90",
    "reconcile.every_s=4",
    "reconcile.fault_after_s=60",
    "orders.resolve_within_s=30",
)
EAGER = ("bot.id=eager", "orders.style=market", "policy.cycle.period_s=0.5")
RESTS = ("bot.id=rests", "orders.style=post_only", "policy.cycle.period_s=60")


@dataclass(frozen=True)
class Storm:
    """What blows, and what both bots and their venue are set to."""

    faults: tuple[dict[str, Any], ...] = ()
    from_the_start: bool = False
    sets: tuple[str, ...] = ()
    per_minute: int = 120
    drains: bool = False
    """Whether the budget of the one that rests is taken away from outside."""


STORMS: dict[str, Storm] = {
    "503": Storm(({"fault": "overload_503"},)),
    "429": Storm(
        tuple({"fault": "throttle_429", "method": m, "ms": 1000} for m in ("GET", "POST"))
    ),
    "header decay": Storm(
        per_minute=60, drains=True, sets=("rate_limit.lock_below=50", "rate_limit.unlock_above=52")
    ),
    "headers missing": Storm(
        ({"fault": "omit_ratelimit_headers"},),
        from_the_start=True,
        sets=("rate_limit.lock_below=115", "rate_limit.unlock_above=117"),
    ),
}


@dataclass
class Weathered:
    """What is left of a storm."""

    eager: Bot
    rests: Bot
    seats: dict[str, Seat] = field(default_factory=dict)
    requests: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    order: dict[str, Any] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    """The number of the last request before the storm."""
    codes: dict[str, int] = field(default_factory=dict)
    still_welcome: bool = False

    def during(self, who: str) -> list[dict[str, Any]]:
        return [row for row in self.requests[who] if row["number"] > self.began[who]]

    def orders(self, who: str) -> list[dict[str, Any]]:
        rows = self.during(who)
        return [r for r in rows if r["method"] == "POST" and r["path"] == "/api/v1/order"]


def weather(storm: Storm, folder: Path) -> Weathered:
    limits = {"per_minute": storm.per_minute, "ban_errors": BAN_ERRORS}
    one = Weathered(Bot(folder / "eager"), Bot(folder / "rests"))
    bots = {"eager": one.eager, "rests": one.rests}
    with a_venue(seats=2, rate=0.1, limits=limits) as venue:
        try:
            one.seats = {name: venue.seat() for name in bots}
            if storm.from_the_start:
                blow(venue, storm)
            for name, own in (("rests", RESTS), ("eager", EAGER)):
                bots[name].start("trade", *SETS, *own, *storm.sets, seat=one.seats[name])
            one.rests.until(lambda: one.seats["rests"].open_orders(), 40.0)
            one.eager.until(lambda: one.seats["eager"].trades(), 40.0)
            (one.order,) = one.seats["rests"].open_orders()
            one.began = {name: seat.requests()[-1]["number"] for name, seat in one.seats.items()}
            if not storm.from_the_start:
                blow(venue, storm)
            time.sleep(BLOWS_S)
            if storm.drains:
                venue.arm("drain_budget", account=one.seats["rests"].account)
            # The storm goes on while they end.
            for name, bot in bots.items():
                one.codes[name] = bot.stop()
            one.requests = {name: seat.requests() for name, seat in one.seats.items()}
            for name, seat in one.seats.items():
                agree(bots[name], seat, told=False)
            venue.clear()
            one.still_welcome = bool(venue.get("/orderBook/L2?symbol=XBTUSD&depth=1"))
            one.order = next(
                row
                for row in one.seats["rests"].truth()["orders"]
                if row["orderID"] == one.order["orderID"]
            )
        finally:
            for bot in bots.values():
                if bot.process is not None:
                    bot.kill()
    return one


def blow(venue: Venue, storm: Storm) -> None:
    for fault in storm.faults:
        venue.control("faults", "POST", fault)


@pytest.fixture(scope="module")
def weathered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Weathered]]]:
    """All storms at once, each at a venue of its own: a ban is every account's."""
    folder = tmp_path_factory.mktemp("storms")
    with ThreadPoolExecutor(len(STORMS)) as pool:
        yield {
            name: pool.submit(weather, storm, folder / str(number))
            for number, (name, storm) in enumerate(STORMS.items())
        }


@pytest.fixture
def one(weathered: dict[str, Future[Weathered]], request: pytest.FixtureRequest) -> Weathered:
    return weathered[request.param].result()


def of(*names: str) -> Any:
    return pytest.mark.parametrize("one", names, indirect=True)


@of(*STORMS)
def test_the_venue_does_not_ban_us(one: Weathered) -> None:
    rows = [row for of_one in one.requests.values() for row in of_one]
    assert 403 not in {row["status"] for row in rows}
    assert one.still_welcome


@of(*STORMS)
def test_no_request_for_an_order_is_repeated(one: Weathered) -> None:
    for who in one.requests:
        names = [name for row in one.orders(who) for name in row["clOrdID"]]
        assert len(names) == len(set(names))


@of(*STORMS)
def test_a_working_order_is_cancelled_while_it_blows(one: Weathered) -> None:
    assert one.order["ordStatus"] == "Canceled"
    rows = one.during("rests")
    cancels = [row for row in rows if row["method"] == "DELETE" and row["status"] == 200]
    named = [name for row in cancels for name in (*row["orderID"], *row["clOrdID"])]
    assert {one.order["orderID"], one.order["clOrdID"]} & set(named)
    assert one.codes["rests"] == StopReason.OPERATOR.value
    assert one.rests.last_stop()["reason"] == "operator"


@of(*STORMS)
def test_it_is_no_reason_to_stop_by_itself(one: Weathered) -> None:
    for bot in (one.eager, one.rests):
        (stop,) = bot.named("stopped")
        assert stop["reason"] == "operator"
        assert "Traceback" not in bot.said


@of("503")
def test_what_the_venue_sheds_is_tried_again_not_sooner_than_it_asks(one: Weathered) -> None:
    shed = [row for row in one.orders("eager") if row["status"] == 503]
    assert len(shed) >= 2
    for row, following in pairwise(shed):
        assert following["atNs"] - row["atNs"] >= 450_000_000


@of("429")
def test_after_each_429_nothing_that_can_wait_is_sent_before_its_time(one: Weathered) -> None:
    for who in one.requests:
        rows = [row for row in one.during(who) if row["method"] == "GET"] + one.orders(who)
        limited = [row for row in rows if row["status"] == 429]
        assert limited
        for row in limited:
            # What left before the answer came is not held against it.
            soon = [r for r in rows if 50_000_000 < r["atNs"] - row["atNs"] < 900_000_000]
            assert [r["path"] for r in soon] == []


@of("header decay", "headers missing")
def test_the_budget_is_never_overdrawn_and_no_order_goes_into_the_reserve(one: Weathered) -> None:
    rows = [row for of_one in one.requests.values() for row in of_one]
    # The drain from outside is the one thing that may cost a 429.
    assert 429 not in {row["status"] for row in one.requests["eager"]}
    assert len([row for row in rows if row["status"] == 429]) <= 8
    locked, times_locked = False, 0
    for line in one.eager.events():
        if line.get("fault") == "budget_low":
            locked = line["event"] == "fault"
            times_locked += locked
        assert not (locked and line["event"] == "order_sent")
    assert times_locked


def test_the_page_of_a_ban_ends_it_and_nobody_asks_again(own_venue: Venue, bot: Bot) -> None:
    seat = own_venue.seat()
    # What nobody may cancel any more is the switch's.
    soon = ("dead_man.timeout_s=4", "dead_man.refresh_every_s=1", "reconcile.every_s=1")
    bot.start("up", *FREE, *SETS, "orders.style=post_only", *soon, seat=seat)
    bot.until(lambda: seat.trades() or seat.open_orders(), 40.0)
    own_venue.arm("ban_403")
    bot.until(lambda: '"staying_down"' in bot.said, 40.0)
    stop = bot.last_stop()
    assert (stop["reason"], stop["known"]) == ("venue_refused", False)
    assert "banned" in stop["detail"]
    time.sleep(3.0)
    refused = [row for row in own_venue.control("requests") if row["status"] == 403]
    # Those that were on their way together, and a last cancel.
    assert 1 <= len(refused) <= 6
    assert refused[-1]["atNs"] - refused[0]["atNs"] < 2_500_000_000
    bot.until(lambda: not seat.open_orders())
    assert bot.stop() == 0
