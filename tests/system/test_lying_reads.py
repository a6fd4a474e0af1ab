"""A start whose first reads of the account fail, or come empty, cut or stale: no single one of
them decides anything, and the books agree afterwards.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.rig import SHORT, TRADING, Bot, Seat, Venue, agree

pytestmark = pytest.mark.processes
SETS = (*SHORT, *TRADING, "orders.style=market")
ORDERS, FILLS, POSITION = "/order", "/execution/tradeHistory", "/position"
# name: the fault of a read, and how often it strikes.
LIES: dict[str, tuple[str, int]] = {
    "fails": ("error_500", 3),
    "is never answered": ("lose_request", 1),
    "is half a text": ("truncated_json", 1),
    "is empty": ("empty_read", 1),
    "is stale": ("stale_read", 1),
}
CASES = {
    f"{route} {name}": (fault, {"route": route, "method": "GET", "count": count})
    for route in (ORDERS, FILLS, POSITION)
    for name, (fault, count) in LIES.items()
} | {
    # One row of two is missing; the position has but one, and half of that is none.
    f"{route} is cut": ("cut_read", {"route": route, "method": "GET", "count": 1})
    for route in (ORDERS, FILLS)
}


class Started:
    """A bot that held a position when it was killed, and started into such reads."""

    def __init__(self, bot: Bot, seat: Seat) -> None:
        self.bot = bot
        self.seat = seat
        self.dead = 0
        self.left: list[str] = []
        self.sent = 0
        self.failure: AssertionError | None = None


def first_run(one: Started, fault: str, values: dict[str, Any]) -> None:
    one.bot.start("trade", *SETS, seat=one.seat)


def die(one: Started, fault: str, values: dict[str, Any]) -> None:
    """Killed while it holds something; what it left goes on working, and one of it is filled."""
    bot, seat = one.bot, one.seat
    bot.until(lambda: seat.position_qty() != 0 and bot.fills(), 40.0)
    bot.kill()
    one.dead = len(bot.events())
    for number, price in enumerate((50_000, 50_001), 1):
        name = f"chp-chappie-aaaaaa-{number}"
        row = seat.place(side="Buy", orderQty=100, price=price, clOrdID=name)
        one.left.append(row["orderID"])
    seat.place(side="Buy", orderQty=100, ordType="Market", clOrdID="chp-chappie-aaaaaa-3")
    one.sent = len(seat.requests())
    seat.arm(fault, **values)
    bot.start("trade", *SETS, seat=seat)


def trade_again(one: Started, fault: str, values: dict[str, Any]) -> None:
    bot = one.bot
    bot.until_new("order_sent", one.dead)
    bot.until_new("fill", one.dead, source="stream")
    assert one.seat.armed() == []
    assert bot.stop() == 0


@pytest.fixture(scope="module")
def started(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Started]]:
    folder = tmp_path_factory.mktemp("started")
    found = {
        name: Started(Bot(folder / str(number)), venue.seat()) for number, name in enumerate(CASES)
    }
    try:
        for step in (first_run, die, trade_again):
            for name, one in found.items():
                if one.failure is None:
                    try:
                        step(one, *CASES[name])
                    except AssertionError as failure:
                        one.failure = failure
        yield found
    finally:
        for one in found.values():
            one.bot.kill()
        venue.clear()


@pytest.mark.parametrize("case", CASES)
def test_no_single_read_decides_at_a_start(started: dict[str, Started], case: str) -> None:
    one = started[case]
    if one.failure is not None:
        raise one.failure
    bot, seat = one.bot, one.seat
    assert "Traceback" not in bot.said
    agree(bot, seat)
    log = bot.events()[one.dead :]
    # A difference that only one read shows is none.
    assert [line for line in log if line.get("fault") == "position_disagrees"] == []
    names = [line["event"] for line in log]
    first = names.index("order_sent")
    # It was told of the position, of the fill and of both orders before it sent anything.
    reconciled = log[names.index("reconciled")]
    assert names.index("reconciled") < first
    held = sum(
        trade["lastQty"] if trade["side"] == "Buy" else -trade["lastQty"]
        for trade in seat.trades()[: reconciled["fills"]]
    )
    assert reconciled["position"] == held
    after = seat.requests()[one.sent :]
    cancelled = [name for row in after if row["method"] == "DELETE" for name in row["orderID"]]
    assert set(cancelled) >= set(one.left)
    new = next(row for row in after if row["method"] == "POST" and row["path"].endswith("/order"))
    gone = [row["number"] for row in after if row["method"] == "DELETE"]
    assert min(gone) < new["number"]
