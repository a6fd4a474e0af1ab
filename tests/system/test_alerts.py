"""An alert arrives with the trader dead, and shows no secret on its way."""

import json
import os
import signal

import pytest

from tests.guardian.receivers import receiving
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, get_json
from tests.system.test_secrets import command_lines, holders

pytestmark = pytest.mark.processes
TOKEN = "t0k3n-of-the-channel"


def test_a_killed_trader_is_told_with_reason_position_and_next_step(bot: Bot, seat: Seat) -> None:
    with receiving() as receiver:
        env = {"CHAPPIE_ALERTS__URLS": json.dumps([receiver.url + TOKEN])}
        bot.start("up", *FREE, *SHORT, *TRADING, "bot.id=night", seat=seat, env=env)
        bot.until(lambda: len(bot.fills()) >= 1)
        os.kill(bot.shown()["trader"]["pid"], signal.SIGKILL)
        alert = receiver.until_title("chappie night XBTUSD: trader stopped: killed")
        assert alert["type"] == "failure"
        assert "Position: " in alert["message"]
        assert "Working orders: " in alert["message"]
        assert "NOT verified" in alert["message"]
        assert "Next step: " in alert["message"]
        receiver.until_title("runs again")
        assert bot.process is not None
        # What the environment of a process holds, only its owner can read; nothing else shows it.
        texts = command_lines(bot.process.pid) + json.dumps(
            get_json(f"{bot.run_file()['operator']}/api/state")
        )
        assert bot.stop() == 0
        receiver.until_title("ended")
    assert TOKEN not in texts + bot.said
    assert holders(bot.folder, TOKEN) == set()
