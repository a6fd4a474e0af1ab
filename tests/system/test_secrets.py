"""Promise 10: no secret is printed, logged, journalled or served."""

import json
import stat
from pathlib import Path

import pytest

from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, descendants, get_json

pytestmark = pytest.mark.processes


def holders(folder: Path, *secrets: str) -> set[str]:
    """The files below a folder in which any of these words stands."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in secrets)
    }


def command_lines(pid: int) -> str:
    pids = [pid, *descendants(pid)]
    return " ".join(Path(f"/proc/{one}/cmdline").read_text() for one in pids)


def served(bot: Bot) -> str:
    operator = bot.run_file()["operator"]
    return json.dumps([get_json(f"{operator}/api/state"), get_json(f"{operator}/healthz")])


def test_key_and_secret_of_the_environment_are_nowhere(bot: Bot, seat: Seat) -> None:
    environment = {"CHAPPIE_API_KEY": seat.key, "CHAPPIE_API_SECRET": seat.secret}
    urls = (f"venue.rest_url={seat.venue.rest_url}", f"venue.ws_url={seat.venue.ws_url}")
    bot.start("up", *FREE, *SHORT, *TRADING, *urls, env=environment)
    bot.until(lambda: len(seat.trades()) >= 2)
    # Every way in which a venue might hand them back: refusals, odd frames, the key itself.
    seat.arm("refuse", route="/order", method="POST", text=f"{seat.key} {seat.secret}", count=1)
    bot.until(lambda: bot.named("order_refused"))
    assert bot.process is not None
    texts = command_lines(bot.process.pid) + served(bot)
    assert bot.stop() == 0
    assert seat.key not in texts
    assert seat.secret not in texts
    assert holders(bot.folder, seat.key, seat.secret) == set()
    assert "***" in bot.named("order_refused")[0]["detail"]


def test_a_refused_login_shows_neither(bot: Bot, seat: Seat) -> None:
    environment = {"CHAPPIE_API_KEY": seat.key, "CHAPPIE_API_SECRET": "not-the-secret-at-all"}
    urls = (f"venue.rest_url={seat.venue.rest_url}", f"venue.ws_url={seat.venue.ws_url}")
    assert bot.start("trade", *urls, env=environment).ends() == 14
    assert holders(bot.folder, seat.key, "not-the-secret-at-all") == set()


def test_the_demo_account_s_are_in_files_of_the_owner_alone(bot: Bot) -> None:
    ours = {"CHAPPIE_API_KEY": "a-real-key-4711", "CHAPPIE_API_SECRET": "a-real-secret-0815"}
    bot.start("up", *FREE, *TRADING, env=ours)
    bot.until(lambda: len(bot.fills()) >= 1)
    venue = bot.state / "venue"
    key, secret = (venue / "demo.key").read_text(), (venue / "demo.secret").read_text()
    assert bot.process is not None
    texts = command_lines(bot.process.pid) + served(bot)
    # Real credentials are never shown to the embedded venue.
    environ = Path(f"/proc/{bot.run_file()['venue_pid']}/environ").read_text()
    assert "a-real" not in environ
    assert bot.stop() == 0
    for word in (key, secret, *ours.values()):
        assert len(word) > 10
        assert word not in texts
    assert holders(bot.folder, *ours.values()) == set()
    found = holders(bot.folder, key, secret)
    assert found == {"state/venue/demo.json", "state/venue/demo.key", "state/venue/demo.secret"}
    for name in found:
        assert stat.S_IMODE((bot.folder / name).stat().st_mode) == 0o600
