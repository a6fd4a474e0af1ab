"""After trading, both sides of the wire tell the same story, to the satoshi."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chappie.core.ledger import Ledger
from tests.system.rig import FREE, TRADING, Bot, Seat, Venue

pytestmark = pytest.mark.processes
STYLES = ("post_only", "limit", "market")
TRADES_FOR_S = 12.0
DEPOSIT = 100_000_000


class Traded:
    """A bot that traded for a while and was stopped, and its seat at the venue."""

    def __init__(self, bot: Bot, seat: Seat) -> None:
        self.bot = bot
        self.seat = seat
        self.met: tuple[Any, Any] = (None, None)


@pytest.fixture(scope="module")
def traded(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Traded]]:
    """One bot of each style, all at once on one market: they also trade with each other."""
    folder: Path = tmp_path_factory.mktemp("traded")
    found = {style: Traded(Bot(folder / style), venue.seat()) for style in STYLES}
    try:
        for style, one in found.items():
            bot_id = f"bot.id={style}"
            own = (*FREE, *TRADING, f"orders.style={style}", bot_id, "reconcile.every_s=3")
            one.bot.start("up", *own, seat=one.seat)
        ends = time.monotonic() + TRADES_FOR_S
        for one in found.values():
            one.bot.until_mode("trading")
            one.bot.until(lambda bot=one.bot: len(bot.fills()) > 1, TRADES_FOR_S + 20)
        time.sleep(max(0.0, ends - time.monotonic()))
        for one in found.values():
            one.met = meet(one)
        for one in found.values():
            assert one.bot.stop() == 0
        yield found
    finally:
        for one in found.values():
            one.bot.kill()


def meet(one: Traded) -> tuple[object, object]:
    """What both sides say at one moment; they are asked in turn, so it may take a few tries."""
    until_s = time.monotonic() + 10.0
    while True:
        shown, truth = one.bot.shown(), one.seat.truth()
        executions = [row for row in truth["executions"] if row["execType"] == "Trade"]
        ours = (
            shown["position"]["qty"],
            shown["account"]["fills"],
            shown["account"]["fees"],
            shown["account"]["wallet"],
            shown["position"]["avgEntryPx"],
        )
        row = truth["position"][0]
        theirs = (
            row["currentQty"],
            len(executions),
            sum(execution["execComm"] for execution in executions),
            truth["margin"]["walletBalance"],
            row.get("avgEntryPrice"),
        )
        if ours == theirs or time.monotonic() > until_s:
            return ours, theirs
        time.sleep(0.1)


@pytest.mark.parametrize("style", STYLES)
def test_while_it_runs_the_state_shown_is_the_venue_s(
    traded: dict[str, Traded], style: str
) -> None:
    ours, theirs = traded[style].met
    assert ours == theirs


@pytest.mark.parametrize("style", STYLES)
def test_every_execution_is_in_the_ledger_once(traded: dict[str, Traded], style: str) -> None:
    one = traded[style]
    fills = sorted(one.bot.fills(), key=lambda fill: fill.exec_id)
    trades = sorted(one.seat.trades(), key=lambda row: row["execID"])
    assert len(fills) >= 2
    assert [(f.exec_id, f.cl_ord_id, f.side.value, f.qty, f.fee, f.cost) for f in fills] == [
        (t["execID"], t["clOrdID"], t["side"], t["lastQty"], t["execComm"], t["execCost"])
        for t in trades
    ]


@pytest.mark.parametrize("style", STYLES)
def test_the_ledger_replayed_explains_position_and_wallet(
    traded: dict[str, Traded], style: str
) -> None:
    one = traded[style]
    ledger = Ledger()
    for fill in one.bot.fills():
        ledger.book(fill)
    assert ledger.qty == one.seat.position_qty() == one.bot.last_stop()["position"]
    wallet = one.seat.truth()["margin"]["walletBalance"]
    assert DEPOSIT + ledger.realised - ledger.fees - ledger.funding == wallet


@pytest.mark.parametrize("style", STYLES)
def test_the_stop_leaves_no_order_and_knows_it(traded: dict[str, Traded], style: str) -> None:
    one = traded[style]
    assert one.seat.open_orders() == []
    stop = one.bot.last_stop()
    assert (stop["reason"], stop["known"], stop["orders"]) == ("operator", True, [])
    # The switch guards nothing any more: the last word on it is zero.
    switches = [row for row in one.seat.changes() if row["path"].endswith("/cancelAllAfter")]
    assert switches[-1]["body"] == '{"timeout":0}'


@pytest.mark.parametrize("style", STYLES)
def test_no_order_left_before_the_switch_was_armed(traded: dict[str, Traded], style: str) -> None:
    """Promise 2: armed by the venue's own answer before the first order, and before each one
    that follows a disarming."""
    armed = False
    for row in traded[style].seat.changes():
        if row["path"].endswith("/cancelAllAfter"):
            armed = '"timeout":0}' not in row["body"]
        else:
            assert armed, row


@pytest.mark.parametrize("style", STYLES)
def test_at_most_one_order_works_at_a_time(traded: dict[str, Traded], style: str) -> None:
    orders = traded[style].seat.truth()["orders"]
    names = [order["clOrdID"] for order in orders]
    assert len(names) == len(set(names))
    assert all(name.startswith(f"chp-{style}-") and len(name) <= 36 for name in names)
    executions = traded[style].seat.truth()["executions"]
    working: set[str] = set()
    for row in executions:
        if row["ordStatus"] in ("New", "PartiallyFilled"):
            working.add(row["orderID"])
        else:
            working.discard(row["orderID"])
        assert len(working) <= 1
