"""What happens at once: a fill against a cancel, and an order that is taken long after everybody
gave it up.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.rig import SHORT, TRADING, Bot, Played, Scene, Venue, a_venue, agree, play

pytestmark = pytest.mark.processes
ORDER = {"route": "/order", "method": "POST"}
CANCEL = {"route": "/order", "method": "DELETE", "count": 1}
CALM = (*SHORT, *TRADING, "feed.soft_stop_after_s=6", "feed.fault_after_s=12")
# Past expires_after_s and a second more: the venue held a request that it should have refused.
LONG_MS = 4_000
SILENT = (("mute_table", {"table": "order"}), ("mute_table", {"table": "execution"}))


def held_long(**values: object) -> tuple[tuple[str, dict[str, Any]], ...]:
    return (("queue", {"count": 1, "ms": LONG_MS, **ORDER, **values}),)


def surfaced(played: Played) -> bool:
    """The order that was given up was taken after all, and others were since."""
    rows = played.orders_since()
    struck = [n for n, row in enumerate(rows) if row["fault"] is not None]
    if not struck or len([row for row in rows[struck[0] + 1 :] if row["status"] == 200]) < 2:
        return False
    (name,) = rows[struck[0]]["clOrdID"]
    known = {fill.cl_ord_id for fill in played.bot.fills()}
    return name in [row["clOrdID"] for row in played.seat.trades()] and name in known


def is_flat(played: Played) -> bool:
    """The next order opens a position: one that closes would find nothing to close any more."""
    return bool(played.seat.trades()) and played.seat.position_qty() == 0


LATE: dict[str, Scene] = {
    "told by the streams": Scene(surfaced, held_long(), within_s=30.0, when=is_flat),
    # That the streams lack it would be a fault of theirs, which is not looked at here.
    "told by REST alone": Scene(
        surfaced,
        (*SILENT, *held_long()),
        ("reconcile.grace_s=40", "reconcile.fault_after_s=60"),
        within_s=30.0,
        when=is_flat,
    ),
}


@pytest.fixture(scope="module")
def late(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    # At the market, so that an order that is taken late is also filled.
    sets = (*CALM, "orders.style=market")
    return play(venue, tmp_path_factory.mktemp("late"), LATE, sets)


@pytest.mark.parametrize("name", LATE)
def test_an_order_taken_long_after_it_was_given_up_is_found_and_counted(
    late: dict[str, Played], name: str
) -> None:
    played = late[name]
    if played.failure is not None:
        raise played.failure
    (struck,) = [row for row in played.orders_since() if row["fault"] is not None]
    (doubt,) = [line["clOrdID"] for line in played.since("order_in_doubt")]
    assert [doubt] == struck["clOrdID"]
    names = [name for row in played.seat.new_orders() for name in row["clOrdID"]]
    assert len(names) == len(set(names))
    agree(played.bot, played.seat)


@pytest.fixture(scope="module")
def quiet() -> Iterator[Venue]:
    """A venue where nobody but us trades: an order rests until somebody here takes it."""
    with a_venue(seats=8, rate=0.1) as made:
        yield made


QUIET = (
    *SHORT,
    *TRADING,
    "orders.style=post_only",
    "policy.cycle.period_s=2.5",
    "feed.soft_stop_after_s=40",
    "feed.fault_after_s=60",
    "feed.sync_fault_after_s=90",
    "bot.order_qty=200",
    "policy.cycle.qty=200",
)
QTY = 200


def sell_into(quiet: Venue, order: dict[str, Any], leave_qty: int) -> None:
    """Somebody sells down to an order of the bot, and takes all of it but so many contracts."""
    other = quiet.seat()
    bids = quiet.get("/orderBook/L2?symbol=XBTUSD&depth=0")
    before = sum(
        row["size"] for row in bids if row["side"] == "Buy" and row["price"] >= order["price"]
    )
    other.place(
        side="Sell",
        orderQty=before - leave_qty,
        price=order["price"],
        timeInForce="ImmediateOrCancel",
    )


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "answer lost"])
@pytest.mark.parametrize("leave_qty", [0, 100], ids=["filled", "filled in part"])
def test_a_fill_that_overtakes_a_cancel_is_booked_and_the_cancel_is_no_error(
    quiet: Venue, bot: Bot, leave_qty: int, answered: bool
) -> None:
    seat = quiet.seat()
    bot.start("trade", *QUIET, seat=seat)
    bot.until(lambda: seat.open_orders(), 30.0)
    seat.arm("queue", ms=700, **CANCEL)
    if not answered:
        seat.arm("accept_then_timeout", **CANCEL)
    # The target goes back to flat, so what rests is withdrawn; the cancel waits at the venue.
    bot.until(lambda: [r for r in seat.requests() if r["method"] == "DELETE"], every_s=0.01)
    (order,) = seat.open_orders()
    sell_into(quiet, order, leave_qty)
    taken = QTY - leave_qty
    assert seat.position_qty() == taken, "taken before the cancel reached the engine"
    bot.until(lambda: sum(fill.qty for fill in bot.fills()) == taken)
    bot.until(lambda: len(seat.requests()) and not seat.armed())
    # What it then holds without wanting it, it sells: with an order of its own, of that size.
    name = order["clOrdID"]
    bot.until(lambda: [o for o in seat.open_orders() if o["side"] == "Sell"])
    (closing,) = seat.open_orders()
    assert (closing["orderQty"], closing["clOrdID"] != name) == (taken, True)
    assert bot.stop() == 0
    agree(bot, seat)
    (status,) = [o["ordStatus"] for o in seat.truth()["orders"] if o["clOrdID"] == name]
    assert status == ("Filled" if leave_qty == 0 else "Canceled")
    assert "invariant_violated" not in bot.said
