"""The state folder: who owns it, which run this is, and how the last one ended.

Files: ``trader.lock`` (held while a trader lives), ``identity.json`` (whose state this is),
``epoch`` (the last run's number), ``run.json`` (how to find the running instance),
``last_stop.json``, ``kept.log`` and the folder ``journal``.
"""

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from chappie.journal.files import write_atomically, write_durably
from chappie.journal.framing import JournalError, failed
from chappie.live import latch
from chappie.model.config import Config

_IDENTITY = "identity.json"
_RESERVE_BYTES = 4096
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class StateTakenError(Exception):
    """Another living trader holds this state folder."""


class OtherIdentityError(Exception):
    """This state folder belongs to another bot, venue, account or symbol."""


class Identity(msgspec.Struct, frozen=True):
    """What a state folder is bound to. ``account`` is a salted hash of the API key."""

    venue: str
    symbol: str
    bot: str
    salt: str
    account: str


class RunFile(msgspec.Struct, frozen=True):
    """How `halt`, `resume` and `status` find the running instance, and its account once it is
    gone.
    """

    pid: int
    epoch: int
    started: str
    operator: str | None = None
    venue_kind: str = ""
    rest_url: str = ""
    symbol: str = ""
    bot: str = ""
    expires_after_s: float | None = None


class LastStop(msgspec.Struct, frozen=True):
    """`last_stop.json` of the contract."""

    reason: str
    code: int
    detail: str
    at: str
    orders: list[object]
    position: int | None
    known: bool


class StateDir:
    """One trader's state folder, locked for as long as this process lives."""

    def __init__(self, path: Path) -> None:
        """Make the folder and take its lock. Raises `JournalError`, `StateTakenError`."""
        self.path = path
        self.last_stop_path = path / "last_stop.json"
        self.kept_path = path / "kept.log"
        self.journal_path = path / "journal"
        self.log_path = path / "trader.log"
        self._run_path = path / "run.json"
        self._reserve_path = path / ".last_stop.reserve"
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(
                path / "trader.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise failed(path, error) from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock_fd)
            raise StateTakenError(
                f"{path}: another trader holds this state folder; one folder, one bot"
            ) from error

    def close(self) -> None:
        """Give the lock back; the end of the process would do so too."""
        os.close(self._lock_fd)

    def bind(self, config: Config, key: str) -> None:
        """Check that this folder is ours, or make it so at the first start.

        Raises `OtherIdentityError` naming what differs, `JournalError` when it cannot be kept.
        """
        if bound_to(self.path, config, key) is None:
            ours = _identity(config, key, os.urandom(8).hex())
            write_durably(self.path / _IDENTITY, msgspec.json.encode(ours) + b"\n")

    def next_epoch(self, wall_ns: int) -> int:
        """A number above that of every earlier run here, durable before it is used (O3).

        Milliseconds: of two replicas that one deployment starts at once, each gets its own.
        """
        path = self.path / "epoch"
        try:
            last = int(path.read_text())
        except FileNotFoundError:
            last = 0
        except OSError as error:
            raise failed(path, error) from error
        except ValueError:
            # The wall clock alone then keeps epochs apart, as for a lost folder.
            last = 0
        epoch = max(wall_ns // 1_000_000, last + 1)
        write_durably(path, f"{epoch}\n".encode())
        return epoch

    def halted(self) -> str | None:
        """Why trading is halted, if it is."""
        halt = latch.read(self.path)
        return None if halt is None else halt.words

    def write_run(self, run: RunFile) -> None:
        write_atomically(self._run_path, msgspec.json.encode(run) + b"\n")

    def forget_run(self) -> None:
        """At an orderly end nobody should find us any more."""
        with contextlib.suppress(OSError):
            self._run_path.unlink()

    def reserve_last_stop(self) -> None:
        """Take the space for `last_stop.json` now: the disk may be full when it is needed."""
        write_atomically(self._reserve_path, b" " * _RESERVE_BYTES)

    def write_last_stop(self, stop: LastStop) -> None:
        """Best effort by design: a broken disk must not keep the process from ending."""
        data = msgspec.json.encode(stop) + b"\n"
        try:
            with self._reserve_path.open("r+b", buffering=0) as reserve:
                written = 0
                while written < len(data):
                    written += reserve.write(data[written:])
                reserve.truncate(len(data))
            self._reserve_path.replace(self.last_stop_path)
        except OSError:
            with contextlib.suppress(JournalError):
                write_atomically(self.last_stop_path, data)


def bound_to(folder: Path, config: Config, key: str) -> Identity | None:
    """Whose state this is, None for a new folder. Only looks.

    Raises `OtherIdentityError` naming what differs, `JournalError` when it cannot be read.
    """
    path = folder / _IDENTITY
    try:
        known = msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failed(path, error) from error
    except msgspec.DecodeError as error:
        raise OtherIdentityError(
            f"{path}: cannot be read ({error}), so whose state this is is unknown; "
            "choose another state.dir"
        ) from error
    ours = _identity(config, key, known.salt)
    for name, there, here in (
        ("venue", known.venue, ours.venue),
        ("symbol", known.symbol, ours.symbol),
        ("bot.id", known.bot, ours.bot),
        ("account", known.account, ours.account),
    ):
        if there != here:
            shown = (
                "it was made with another API key"
                if name == "account"
                else f"it belongs to {there!r}, this is {here!r}"
            )
            raise OtherIdentityError(
                f"state.dir: {folder} is bound to another {name}: {shown}; choose another state.dir"
            )
    return known


def _identity(config: Config, key: str, salt: str) -> Identity:
    return Identity(
        venue=venue_name(config),
        symbol=config.venue.symbol,
        bot=config.bot.id,
        salt=salt,
        account=hashlib.sha256(f"{salt}:{key}".encode()).hexdigest()[:16],
    )


def venue_name(config: Config) -> str:
    """The venue as identity knows it.

    A simulated venue on this machine is told apart by its accounts, not by its port, which is
    another one at each start.
    """
    host = urlsplit(config.venue.rest_url).hostname
    if config.venue.kind == "simulated" and (host is None or host in _LOOPBACK):
        return "simulated"
    return f"{config.venue.kind} {host}"
