"""A trader that dies leaves orders at work: the guardian cancels them by its own connection, at
once, and looks again when nothing of the dead can still arrive.
"""

import json
import os
import signal
from typing import Any

import pytest

from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat

pytestmark = pytest.mark.processes
LONG = (
    *FREE,
    *SHORT,
    *TRADING,
    "orders.style=post_only",
    "supervisor.heartbeat_timeout_s=1",
    # The next trader comes long after the test, so whatever is sent is the guardian's.
    "supervisor.backoff_initial_s=60",
)


def guardian_said(bot: Bot, event: str) -> list[dict[str, Any]]:
    path = bot.state / "guardian.log"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [line for line in found if line["event"] == event]


def hangs_with_an_order(bot: Bot, seat: Seat) -> str:
    """The trader hangs, and an order of ours works whatever the market does; its orderID."""
    bot.until(lambda: bot.shown().get("known") and seat.new_orders())
    os.kill(bot.run_file()["trader_pid"], signal.SIGSTOP)
    order = seat.place(side="Buy", orderQty=100, price=50_000, clOrdID="chp-chappie-aaaaaa-1")
    return str(order["orderID"])


def since(seat: Seat, number: int, method: str) -> list[dict[str, Any]]:
    return [r for r in seat.requests() if r["number"] > number and r["method"] == method]


def test_what_a_killed_trader_left_is_gone_long_before_the_next_start(bot: Bot, seat: Seat) -> None:
    bot.start("up", *LONG, seat=seat)
    left = hangs_with_an_order(bot, seat)
    os.kill(bot.run_file()["trader_pid"], signal.SIGKILL)
    bot.until(lambda: guardian_said(bot, "trader_stopped"))
    last = max(row["number"] for row in seat.new_orders())
    bot.until(lambda: not seat.open_orders())
    # Once more when nothing can arrive any more; then the last stop tells the truth.
    bot.until(lambda: bot.last_stop()["known"])
    stop = bot.last_stop()
    assert (stop["reason"], stop["orders"]) == ("killed", [])
    assert stop["position"] == seat.position_qty()
    died_ns = next(r["atNs"] for r in seat.requests() if r["number"] == last)
    assert any(left in row["orderID"] for row in since(seat, last, "DELETE"))
    reads = [r for r in since(seat, last, "GET") if r["path"].endswith("/order")]
    # expires_after_s 1 and one second more.
    assert reads[-1]["atNs"] - died_ns > 2_000_000_000
    assert guardian_said(bot, "restarting")
    assert len(guardian_said(bot, "trader_started")) == 1
    # A trader follows, so the switch is left to it.
    assert since(seat, reads[0]["number"], "POST") == []
    assert bot.stop() == 0


def test_a_stopped_trader_is_killed_and_what_it_left_is_cancelled(bot: Bot, seat: Seat) -> None:
    bot.start("up", *LONG, seat=seat)
    left = hangs_with_an_order(bot, seat)
    bot.until(lambda: guardian_said(bot, "trader_stopped"))
    bot.until(lambda: not seat.open_orders())
    bot.until(lambda: bot.last_stop()["known"])
    assert bot.last_stop()["reason"] == "loop_stalled"
    assert any(left in row["orderID"] for row in since(seat, 0, "DELETE"))
    assert bot.stop() == 0


def test_a_crash_loop_leaves_nothing_and_takes_the_switch_off(bot: Bot, seat: Seat) -> None:
    often = ("supervisor.max_restarts=1", "supervisor.backoff_initial_s=0.2")
    bot.start("up", *LONG, *often, seat=seat)
    for number in (1, 2):
        bot.until(lambda n=number: len(guardian_said(bot, "trader_started")) == n)
        bot.until(lambda: bot.shown().get("dead_man", {}).get("armed_until"))
        os.kill(bot.run_file()["trader_pid"], signal.SIGSTOP)
        works_here = seat.place(
            side="Buy", orderQty=100, price=50_000, clOrdID=f"chp-chappie-aaaaaa-{number}"
        )
        os.kill(bot.run_file()["trader_pid"], signal.SIGKILL)
        bot.until(lambda n=number: len(guardian_said(bot, "trader_stopped")) == n)
    bot.until(lambda: guardian_said(bot, "staying_down"))
    bot.until(lambda: not seat.open_orders())
    bot.until(lambda: bot.last_stop()["known"])
    stop = bot.last_stop()
    assert (stop["reason"], stop["orders"]) == ("crash_loop", [])
    assert any(works_here["orderID"] in row["orderID"] for row in since(seat, 0, "DELETE"))
    last = seat.requests()[-1]
    assert last["path"].endswith("/order/cancelAllAfter")
    assert json.loads(last["body"]) == {"timeout": 0}
    # It goes on serving.
    assert bot.shown()["mode"] == "stopped"
    assert bot.stop() == 0


def test_observe_only_looks_once_before_its_start_and_never_at_the_switch(
    bot: Bot, seat: Seat
) -> None:
    order = seat.place(side="Buy", orderQty=100, price=50_000, clOrdID="chp-chappie-aaaaaa-1")
    bot.start("up", *FREE, *SHORT, seat=seat)
    bot.until(lambda: not seat.open_orders())
    bot.until(lambda: bot.shown().get("trader", {}).get("pid"))
    looks = guardian_said(bot, "leftovers")
    assert [(line["verified"], line["cancelled"]) for line in looks] == [(True, 1)]
    (cancel,) = since(seat, 0, "DELETE")
    assert order["orderID"] in cancel["orderID"]
    bot.until_decides()
    os.kill(bot.run_file()["trader_pid"], signal.SIGKILL)
    bot.until(lambda: len(guardian_said(bot, "trader_started")) == 2)
    assert len(guardian_said(bot, "leftovers")) == 1
    assert bot.stop() == 0
    assert [row["path"] for row in since(seat, 0, "POST")] == ["/api/v1/order"], "by hand"


def test_a_halt_that_is_latched_at_the_start_starts_no_trader(bot: Bot, seat: Seat) -> None:
    seat.place(side="Buy", orderQty=100, price=50_000, clOrdID="chp-chappie-aaaaaa-1")
    bot.state.mkdir(parents=True)
    (bot.state / "HALT").write_text("looked wrong")
    bot.start("up", *LONG, seat=seat)
    bot.until(lambda: guardian_said(bot, "staying_down"))
    (down,) = guardian_said(bot, "staying_down")
    assert (down["reason"], down["detail"]) == ("halted", "looked wrong")
    bot.until(lambda: not seat.open_orders())
    assert guardian_said(bot, "trader_started") == []
    assert bot.shown()["trader"]["pid"] is None
    assert bot.stop() == 0


def test_who_is_asked_to_end_in_the_back_off_looks_once_more(bot: Bot, seat: Seat) -> None:
    bot.start("up", *LONG, seat=seat)
    hangs_with_an_order(bot, seat)
    # Nothing that the guardian asks is answered until it is asked to end.
    seat.arm("error_500")
    bot.until(lambda: guardian_said(bot, "trader_stopped"))
    bot.until(lambda: seat.requests()[-1]["status"] == 500)
    assert seat.open_orders()
    seat.venue.clear("error_500")
    bot.stop()
    assert seat.open_orders() == []
    assert guardian_said(bot, "not_looked_at_again")
