"""The embedded venue: a simulated exchange as a process of its own, on a free loopback port.

It serves until the last of its starters is gone: each of them holds the write end of one pipe,
the lifeline, and the venue ends when that pipe does. It never sees real credentials.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from chappie.cli import settings
from chappie.guardian.venue import VenueFailedError
from chappie.live.log import printable
from chappie.model.config import Config

READY_WITHIN_S = 10.0
_LOG_BYTES = 4_000_000
_LOOK_EVERY_S = 0.1
_REAPED_WITHIN_S = 1.0
_CONFIG_PREFIX = "CHAPPIE_"
_COMMAND = (sys.executable, "-m", "chappie", "venue")


class _Ready(msgspec.Struct):
    """The one line that the venue writes on the ready pipe, and nowhere else.

    It holds ``failed`` alone when the venue cannot be started: its log may be on a full disk.
    """

    rest_url: str = ""
    ws_url: str = ""
    key: str = ""
    secret: str = ""
    failed: str = ""


class EmbeddedVenue:
    """The venue process of one state folder; made once, started as often as it dies."""

    def __init__(self, state_dir: Path, command: Sequence[str] = _COMMAND) -> None:
        self.rest_url = ""
        self.ws_url = ""
        self.key = ""
        self.secret = ""
        self._dir = state_dir / "venue"
        self._command = tuple(command)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._lock = threading.Lock()
        self._lifeline_read, self._lifeline_write = os.pipe()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ensure(self) -> bool:
        """Start it if it does not run; True when it was started. Raises `VenueFailedError`.

        A second start takes the port of the first, where a living trader looks for it. Should
        that port be taken by now, the start after it picks another, for the next trader.
        """
        if self.is_running:
            return False
        try:
            self._start()
        except OSError as error:
            raise VenueFailedError(f"the embedded venue cannot be started: {error}") from error
        return True

    def stop(self, within_s: float = 1.0) -> None:
        """End it in order, else by SIGKILL; safe to call twice, and while another thread starts
        it.
        """
        with self._lock:
            self._ending = True
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(within_s)
            except subprocess.TimeoutExpired:
                self.kill()
                process.wait(within_s)
        self._drop_lifeline()

    def kill(self) -> None:
        """SIGKILL to it and whatever it started; the dead are not an error."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def trader_env(self) -> Mapping[str, str]:
        """Points a trader at it; the demo account's key goes by file, never by argument."""
        return {
            **settings.give(settings.EMBEDDED, self.urls()),
            "CHAPPIE_API_KEY_FILE": str(self._key_file),
            "CHAPPIE_API_SECRET_FILE": str(self._secret_file),
        }

    def urls(self) -> Mapping[str, str]:
        """Where it listens, as the keys of the configuration that say so."""
        return {"venue.rest_url": self.rest_url, "venue.ws_url": self.ws_url}

    def inherited(self) -> Sequence[int]:
        """The lifeline: a trader that outlives its guardian still has a venue to cancel at."""
        return (self._lifeline_write,)

    def upkeep(self) -> None:
        """Empty its log when that has outgrown its bound."""
        with contextlib.suppress(OSError):
            if self._log_path.stat().st_size > _LOG_BYTES:
                os.truncate(self._log_path, 0)

    @property
    def _log_path(self) -> Path:
        return self._dir / "venue.log"

    @property
    def _key_file(self) -> Path:
        return (self._dir / "demo.key").absolute()

    @property
    def _secret_file(self) -> Path:
        return (self._dir / "demo.secret").absolute()

    def _start(self) -> None:
        self._dir.mkdir(parents=True, exist_ok=True)
        self.upkeep()
        ready_read, ready_write = os.pipe()
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        port, self._port = self._port, 0
        try:
            with self._lock:
                self._process = self._open(port, ready_write, log)
        except (OSError, VenueFailedError):
            os.close(ready_read)
            raise
        finally:
            os.close(ready_write)
            os.close(log)
        try:
            self._await(ready_read)
        finally:
            os.close(ready_read)
        if self._ending:
            self.kill()

    def _open(self, port: int, ready_fd: int, log_fd: int) -> "subprocess.Popen[bytes]":
        if self._ending:
            raise VenueFailedError("the embedded venue is not started again: we are ending")
        return subprocess.Popen(
            [
                *self._command,
                *("--port", str(port), "--state", str(self._dir)),
                *("--ready-fd", str(ready_fd), "--lifeline-fd", str(self._lifeline_read)),
            ],
            # No setting and no credential of ours is any of its business.
            env={k: v for k, v in os.environ.items() if not k.startswith(_CONFIG_PREFIX)},
            stdin=subprocess.DEVNULL,
            # What it prints for people holds the demo account's secret.
            stdout=subprocess.DEVNULL,
            stderr=log_fd,
            pass_fds=(ready_fd, self._lifeline_read),
            start_new_session=True,
        )

    def _await(self, ready_fd: int) -> None:
        """Read the ready line, at most `READY_WITHIN_S`, and keep the keys in 0600 files."""
        until_s = time.monotonic() + READY_WITHIN_S
        line = b""
        while b"\n" not in line:
            if self._ending or time.monotonic() > until_s:
                raise self._given_up(f"was not ready within {READY_WITHIN_S:g} s{self._hint()}")
            if not select.select([ready_fd], [], [], _LOOK_EVERY_S)[0]:
                continue
            read = os.read(ready_fd, 65_536)
            if not read:
                raise self._obituary()
            line += read
        try:
            ready = msgspec.json.decode(line.split(b"\n")[0], type=_Ready)
        except msgspec.MsgspecError as error:
            raise self._given_up(f"said a broken ready line: {error}") from None
        if ready.failed:
            raise self._given_up(f"cannot be started: {printable(ready.failed)[:300]}")
        self.rest_url, self.ws_url = ready.rest_url, ready.ws_url
        self._port = urlsplit(ready.rest_url).port or 0
        self.key, self.secret = ready.key, ready.secret
        _write_private(self._key_file, self.key)
        _write_private(self._secret_file, self.secret)

    def _given_up(self, why: str) -> VenueFailedError:
        """Kill and reap it: one that still lives would be taken for a running venue."""
        self.kill()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_REAPED_WITHIN_S)
        return VenueFailedError(f"the embedded venue {why}")

    def _obituary(self) -> VenueFailedError:
        """It closed the ready pipe without a word: say with which code it ended."""
        assert self._process is not None
        how = "closed its ready pipe"
        with contextlib.suppress(subprocess.TimeoutExpired):
            how = f"ended at start with code {self._process.wait(_REAPED_WITHIN_S)}"
        return self._given_up(f"{how}{self._hint()}")

    def _hint(self) -> str:
        """The last line of its log, or where to look."""
        with contextlib.suppress(OSError):
            lines = self._log_path.read_bytes()[-2_000:].decode("utf-8", "replace").splitlines()
            if lines:
                return f": {printable(lines[-1])[:300]} (see {self._log_path})"
        return f" (see {self._log_path})"

    def _drop_lifeline(self) -> None:
        for fd in (self._lifeline_write, self._lifeline_read):
            if fd >= 0:
                os.close(fd)
        self._lifeline_write = self._lifeline_read = -1


@contextlib.contextmanager
def start(config: Config) -> Iterator[EmbeddedVenue]:
    """A running venue for the length of the block. Raises `VenueFailedError`."""
    venue = EmbeddedVenue(Path(config.state.dir))
    try:
        venue.ensure()
        yield venue
    finally:
        venue.stop()


def _write_private(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, text.encode())
    finally:
        os.close(fd)
