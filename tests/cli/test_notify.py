"""`trade` and `up` under systemd's protocol, as processes, at a socket of our own."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_trade import Trade, trade  # noqa: F401  a fixture
from tests.cli.test_up import FREE, Up, bot  # noqa: F401  a fixture

pytestmark = pytest.mark.processes

PATIENCE_S = 20.0
# A sign of life is due every tenth of a second; the beat comes every quarter.
WATCHDOG = "400000"
SILENCE_S = 2.0


class Supervisor:
    """The socket that systemd would listen on."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self.lines: list[str] = []

    @property
    def environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": WATCHDOG}

    def hears(self, line: str) -> None:
        """Wait for a line that begins so, and that nobody waited for before."""
        self._socket.settimeout(PATIENCE_S)
        while True:
            new = self._socket.recv(4096).decode().splitlines()
            self.lines += new
            if any(one.startswith(line) for one in new):
                return

    def falls_silent(self) -> None:
        """Wait until no sign of life comes for many times its period."""
        self._socket.settimeout(SILENCE_S)
        try:
            while True:
                self.lines += self._socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.close()


def test_trade_is_ready_lives_and_says_that_it_ends(
    trade: Trade,  # noqa: F811
    systemd: Supervisor,
) -> None:
    trade.start(env=systemd.environ)
    systemd.hears("READY=1")
    for _ in range(3):
        systemd.hears("WATCHDOG=1")
    assert any(line.startswith("STATUS=") for line in systemd.lines)
    assert trade.process is not None
    trade.process.send_signal(signal.SIGTERM)
    systemd.hears("STOPPING=1")
    assert systemd.lines[-1] == "STATUS=ending: operator: SIGTERM"
    assert trade.ended()[0] == 0


def test_a_trader_whose_policy_hangs_proves_no_life(
    trade: Trade,  # noqa: F811
    systemd: Supervisor,
) -> None:
    (trade.folder / "sleeper.py").write_text(
        "import time\n\n\nclass Sleeper:\n    def decide(self, view):\n        time.sleep(1e6)\n"
    )
    # Its own watchdog would end it sooner than systemd; here it is too patient.
    trade.start(
        "bot.policy=sleeper:Sleeper",
        "supervisor.heartbeat_timeout_s=25",
        how="asks",
        env=systemd.environ,
    )
    systemd.hears("WATCHDOG=1")
    systemd.falls_silent()
    assert trade.process is not None
    assert trade.process.poll() is None


def test_a_trader_that_is_stopped_by_the_kernel_proves_no_life(
    trade: Trade,  # noqa: F811
    systemd: Supervisor,
) -> None:
    trade.start(env=systemd.environ)
    systemd.hears("WATCHDOG=1")
    assert trade.process is not None
    trade.process.send_signal(signal.SIGSTOP)
    systemd.falls_silent()
    trade.process.send_signal(signal.SIGCONT)
    systemd.hears("WATCHDOG=1")


def test_up_is_ready_lives_and_says_that_it_ends(
    bot: Up,  # noqa: F811
    systemd: Supervisor,
) -> None:
    bot.start(*FREE, **systemd.environ)
    systemd.hears("READY=1")
    systemd.hears("STATUS=observing")
    for _ in range(3):
        systemd.hears("WATCHDOG=1")
    os.kill(bot.process.pid, signal.SIGTERM)
    systemd.hears("STOPPING=1")
    assert "STATUS=ending: signal SIGTERM" in systemd.lines
    assert bot.ends() == 0
    assert systemd.lines.count("READY=1") == 1
