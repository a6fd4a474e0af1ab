"""The disk fills while it trades: a loud stop, our orders gone, and nothing that was kept lost."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chappie.model.faults import StopReason
from tests.guardian.receivers import receiving
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, agree

pytestmark = pytest.mark.processes
RESTING = (*SHORT, *TRADING, "orders.style=post_only", "policy.cycle.period_s=2")
FAILED = (StopReason.JOURNAL_FAILED.word, StopReason.JOURNAL_FAILED.value)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount the small disk that this test fills")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (disk / "filler").write_bytes(bytes(9 << 20))


@pytest.fixture
def small(disk: Path, bot: Bot) -> Bot:
    """A bot whose state folder is on the small disk."""
    bot.state = disk / "state"
    return bot


def in_order(bot: Bot, seat: Seat) -> None:
    """No order is left and the position is known. A fill of the last moment found no room."""
    assert seat.open_orders() == []
    assert bot.last_stop()["known"] is True
    assert bot.last_stop()["position"] == seat.position_qty()
    assert {fill.exec_id for fill in bot.fills()} <= {row["execID"] for row in seat.trades()}


def test_the_trader_stops_for_good_and_the_guardian_stays_and_says_so(
    disk: Path, small: Bot, seat: Seat
) -> None:
    small.start("up", *FREE, *RESTING, f"state.dir={small.state}", seat=seat)
    small.until(lambda: seat.open_orders())
    fill(disk)
    small.until(lambda: small.shown()["mode"] == "stopped")
    stop = small.shown()["trader"]["last_stop"]
    assert (stop["reason"], stop["code"]) == FAILED
    assert "No space left on device" in stop["detail"]
    assert small.last_stop() == stop
    # It has the space for its last words from its start, and its orders are gone.
    in_order(small, seat)
    sent = len(seat.requests())
    small.until(lambda: '"staying_down"' in small.said)
    assert small.process is not None
    assert small.process.poll() is None
    assert small.shown()["trader"]["restarts"] == 0
    assert small.stop() == 0
    assert len(seat.requests()) == sent
    assert "Traceback" not in small.said


def test_trade_alone_ends_with_18_and_its_account_in_order(
    disk: Path, small: Bot, seat: Seat
) -> None:
    small.start("trade", *RESTING, f"state.dir={small.state}", seat=seat)
    small.until(lambda: seat.open_orders())
    fill(disk)
    assert small.ends() == StopReason.JOURNAL_FAILED.value
    in_order(small, seat)
    assert "Traceback" not in small.said
    # On the disk that is still full it does not start, and says so in the same way.
    small.start("trade", *RESTING, f"state.dir={small.state}", seat=seat)
    assert small.ends() == StopReason.JOURNAL_FAILED.value
    last = small.said.splitlines()[-1]
    assert '"journal_failed"' in last
    assert "No space left on device" in last
    # Once there is room again, nothing was lost: what could not be kept is read at the venue.
    (disk / "filler").unlink()
    decided = len(small.named("decision"))
    small.start("trade", *RESTING, "bot.allow_trade=false", f"state.dir={small.state}", seat=seat)
    small.until(lambda: len(small.named("decision")) > decided)
    assert small.stop() == 0
    agree(small, seat)


def test_people_are_told_of_it_although_nothing_can_be_written(
    disk: Path, small: Bot, seat: Seat
) -> None:
    with receiving() as receiver:
        env = {"CHAPPIE_ALERTS__URLS": json.dumps([receiver.url])}
        small.start("up", *FREE, *RESTING, f"state.dir={small.state}", seat=seat, env=env)
        small.until(lambda: seat.open_orders())
        fill(disk)
        alert = receiver.until_title("trader stopped: journal_failed")
        assert "No space left on device" in alert["message"]
        assert "make room on the disk" in alert["message"]
        assert small.stop() == 0
