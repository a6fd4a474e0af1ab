"""Promise 10: no secret is printed, logged, journalled or served."""

import http.client
import os
import signal
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.system.network import a_network
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, descendants

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


PATHS = ("/", "/healthz", "/readyz", "/metrics", "/api/state", "/nothing", "/api/halt")


def served(bot: Bot) -> str:
    """Every answer of the operator API, whatever its status, with its headers."""
    parts = urlsplit(bot.run_file()["operator"])
    texts = []
    for path in PATHS:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        connection.request("GET", path)
        answer = connection.getresponse()
        texts.append(f"{answer.status} {answer.getheaders()} {answer.read()!r}")
        connection.close()
    return "\n".join(texts)


def environments(pid: int) -> str:
    pids = [pid, *descendants(pid)]
    return " ".join(Path(f"/proc/{one}/environ").read_text() for one in pids)


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


def test_neither_key_secret_signature_nor_operator_token_is_anywhere(bot: Bot, seat: Seat) -> None:
    """Through refusals, a cut, a kill and a stop: in every file, log, answer and process list."""
    with a_network(seat.venue) as network:
        through = tuple(part for text in network.sets for part in ("--set", text))
        bot.start("up", *FREE, *SHORT, *TRADING, seat=seat, args=through)
        bot.until(lambda: seat.trades())
        words = f"{seat.key} {seat.secret}"
        seat.arm("refuse", route="/order", method="POST", text=words, count=1)
        bot.until(lambda: bot.named("order_refused"))
        before = len(bot.events())
        seat.arm("cut")
        bot.until_new("decision", before)
        before = len(bot.events())
        os.kill(bot.run_file()["trader_pid"], signal.SIGKILL)
        bot.until_new("decision", before)
        assert bot.process is not None
        texts = command_lines(bot.process.pid) + served(bot)
        # Given by files, not even the environment of our processes holds them.
        texts += environments(bot.process.pid)
        assert bot.stop() == 0
    assert len(network.signatures) > 10
    token = bot.state / "operator.token"
    tokens = [token.read_text().strip()] if token.exists() else []
    for word in (seat.key, seat.secret, *tokens, *network.signatures):
        assert len(word) > 10
        assert word not in texts
    assert holders(bot.folder, seat.secret) == {"secret"}
    assert holders(bot.folder, seat.key) == {"key"}
    assert holders(bot.folder, *network.signatures) == set()
    for secret in tokens:
        assert holders(bot.folder, secret) == {"state/operator.token"}
        assert stat.S_IMODE(token.stat().st_mode) == 0o600


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
