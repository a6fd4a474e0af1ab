"""A flatten by a real trader, alone: SIGUSR2, the position closed, and the latch on disk."""

import json
import signal

import pytest

from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat

pytestmark = pytest.mark.processes


def test_a_signal_halts_and_closes_the_position_with_one_reduce_only_order(
    bot: Bot, seat: Seat
) -> None:
    cycle = ("bot.policy=cycle", "policy.cycle.period_s=60", "policy.cycle.qty=300")
    bot.start("trade", *SHORT, *FREE, *TRADING, "orders.style=market", *cycle, seat=seat)
    bot.until(lambda: seat.position_qty() == 300, 40.0)
    assert bot.process is not None
    bot.process.send_signal(signal.SIGUSR2)
    assert bot.process.wait(25) == 20
    stop = bot.last_stop()
    assert (stop["reason"], stop["known"], stop["position"]) == ("halted", True, 0)
    assert stop["detail"] == "SIGUSR2; flattened, position 0"
    assert (bot.state / "HALT").read_text() == "SIGUSR2"
    assert seat.position_qty() == 0
    sent = [json.loads(row["body"]) for row in seat.changes()]
    closing = [body for body in sent if body.get("execInst") == "ReduceOnly"]
    assert [(body["side"], body["orderQty"]) for body in closing] == [("Sell", 300)]
