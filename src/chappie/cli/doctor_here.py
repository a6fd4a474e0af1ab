"""What `chappie doctor` looks at on this machine: nothing of it asks the venue."""

import contextlib
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chappie.cli import machine
from chappie.cli.alert import channels_of
from chappie.cli.findings import Finding, fail, ok, skipped, warning
from chappie.cli.settings import ConfigProblem, Settings
from chappie.core.connection import BUDGET_NS
from chappie.core.recovery import Recovered, recover
from chappie.guardian import last_stop
from chappie.guardian.instance import Run
from chappie.guardian.operator.api import PortTakenError, bind
from chappie.journal.framing import FrameReader, JournalError
from chappie.live import clock, latch, policies
from chappie.live.state_dir import OtherIdentityError, bound_to
from chappie.model.config import ConfigError
from chappie.model.faults import StopReason
from chappie.model.records import Connected, Kept, Waits

_DISK_BYTES_LEAST = 200_000_000
"""Below this the next hours may fill it: a journal of a busy market grows by tens of megabytes."""
_CRASH_LOOP = "crash_loop"


class Memory(msgspec.Struct, frozen=True):
    """What the kept log tells. ``damage`` says why it may not be all of it; ``torn``: only its
    tail is missing, as after a power loss.
    """

    recovered: Recovered
    connects: int
    damage: str = ""
    torn: bool = False

    @property
    def waits(self) -> Waits | None:
        """The wait that the venue asked for, while it lasts."""
        told = self.recovered.waits
        return told if told is not None and told.until_wall_ns > time.time_ns() else None


def remember(state_dir: Path) -> Memory:
    """Read the kept log beside whoever owns it."""
    records, damage, torn = _kept(state_dir / "kept.log")
    at = clock.now()
    hour_ago_ns = at.wall_ns - BUDGET_NS
    connects = sum(isinstance(r, Connected) and r.wall_ns > hour_ago_ns for r in records)
    return Memory(recover(records, at, lambda at, _: at.now_ns), connects, damage, torn)


def _kept(path: Path) -> tuple[tuple[Kept, ...], str, bool]:
    records: list[Kept] = []
    decoder = msgspec.msgpack.Decoder(Kept)
    try:
        frames = FrameReader(path)
        records.extend(decoder.decode(payload) for payload in frames)
    except FileNotFoundError:
        return (), "", False
    except (OSError, JournalError, msgspec.DecodeError) as error:
        return tuple(records), f"{path}: {error}", False
    torn = frames.torn
    return tuple(records), "" if torn is None else str(torn), torn is not None and torn.at_tail


def configuration(chosen: Settings) -> list[Finding]:
    """It was read, or we would not be here; what is doubtful in it, and whether it can start."""
    bot = chosen.config.bot
    file = chosen.file or "no file, defaults"
    trades = "it may trade" if bot.allow_trade else "observe-only"
    found = [ok("configuration", f"{file}; hash {chosen.hash()}; bot.allow_trade: {trades}")]
    found += [
        warning("configuration", words, "see README, Configuration") for words in chosen.warnings
    ]
    try:
        policies.load(chosen.config, lambda text: text)
    except ConfigError as error:
        words = str(chosen.problem(error))
        found.append(
            fail("policy", words, "mend bot.policy: neither up nor trade starts like this")
        )
    else:
        found.append(ok("policy", bot.policy))
    return found


def alerts(chosen: Settings) -> Finding:
    try:
        channels = channels_of(chosen)
    except ConfigProblem as problem:
        return fail("alerts", str(problem), "mend alerts.urls: up does not start like this")
    if not channels:
        return warning(
            "alerts",
            "alerts.urls is empty: nobody is told when it stops",
            "name a channel, then try it with: chappie alert",
        )
    names = ", ".join(channel.label for channel in channels)
    return ok("alerts", f"{len(channels)} understood: {names} (try them with: chappie alert)")


def operator_port(chosen: Settings, run: Run | None) -> Finding:
    """Free, or ours. ``run`` is the living instance of this state folder."""
    host, port = chosen.config.operator.host, chosen.config.operator.port
    if run is not None and run.operator is not None:
        return ok("operator port", f"served by the running guardian at {run.operator}")
    try:
        bind(host, port).close()
    except PortTakenError as error:
        return fail(
            "operator port", str(error), "choose another operator.port, or 0 for any free one"
        )
    return ok("operator port", f"{host}:{port} is free" if port else "any free one (0)")


def state_folder(chosen: Settings, key: str | None) -> Finding:
    """Whether it can be written and is bound to no other bot."""
    state_dir = Path(chosen.config.state.dir)
    folder = machine.nearest_folder(state_dir)
    why = machine.why_not_writable(folder) if folder.is_dir() else "it is no folder"
    if why is not None:
        return fail(
            "state folder", f"{folder}: {why}", "choose a state.dir that this user can write"
        )
    if not state_dir.is_dir():
        return ok("state folder", f"{state_dir} will be made at the first start")
    try:
        bound = key is not None and bound_to(state_dir, chosen.config, key) is not None
    except OtherIdentityError as error:
        return fail("state folder", str(error), "one state.dir belongs to one bot on one account")
    except JournalError as error:
        return fail("state folder", str(error), "give this user the right to read it")
    whose = "; bound to this bot and account" if bound else ""
    return ok("state folder", f"{state_dir} can be written{whose}")


def disk(chosen: Settings) -> Finding:
    state_dir = Path(chosen.config.state.dir)
    try:
        free = shutil.disk_usage(machine.nearest_folder(state_dir)).free
    except OSError as error:
        return fail("disk", f"{state_dir}: {error.strerror}", "look at the disk of state.dir")
    bound = chosen.config.state.max_bytes
    may_grow = max(0, bound - _journal_bytes(state_dir))
    words = f"{_size(free)} free; the journal may grow by {_size(may_grow)} (state.max_bytes)"
    if free < _DISK_BYTES_LEAST:
        return fail("disk", words, "make room: a full disk stops the bot (journal_failed)")
    if free < may_grow:
        return warning(
            "disk", words, "make room or lower state.max_bytes, before it fills the disk"
        )
    return ok("disk", words)


def _journal_bytes(state_dir: Path) -> int:
    total = 0
    # Segments come and go while somebody runs.
    with contextlib.suppress(OSError):
        for entry in os.scandir(state_dir / "journal"):
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return total


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def halt(state_dir: Path) -> Finding:
    found = latch.read(state_dir)
    if found is None:
        return ok("halt", "none is latched")
    since = datetime.fromtimestamp(found.mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
    return warning(
        "halt",
        f"halted since {since}: {found.words}",
        "nothing is traded until somebody runs: chappie resume --reason TEXT",
    )


def before(state_dir: Path) -> Finding:
    """How the last run ended."""
    stop = last_stop.read(state_dir)
    if stop is None:
        return ok("last stop", "none is known")
    known = "" if stop.known else "; the account was not verified"
    words = f"{stop.reason} (code {stop.code}) at {stop.at}: {stop.detail}{known}"
    if stop.reason == StopReason.OPERATOR.word and stop.known:
        return ok("last stop", words)
    stays = stop.reason == _CRASH_LOOP or not _restarts(stop.code)
    advice = (
        "read docs/safety.md about this reason: it is not restarted by itself"
        if stays
        else "the next start begins from what it finds; docs/safety.md says what ends in it"
    )
    return warning("last stop", words, advice)


def _restarts(code: int) -> bool:
    try:
        return StopReason(code).restarts
    except ValueError:
        return False


def in_doubt(memory: Memory) -> Finding:
    """Orders that were asked for and never proven over."""
    if memory.torn:
        return warning(
            "intents", memory.damage, "nothing: the next start cuts it, and asks the venue"
        )
    if memory.damage:
        return fail("intents", memory.damage, "restore kept.log from a copy: no start without it")
    names = [o.asked.cl_ord_id for o in memory.recovered.orders if o.request is not None]
    if names:
        return warning(
            "intents",
            f"{len(names)} in doubt: {', '.join(names[:3])}",
            "the next start asks the venue for them before anything new",
        )
    return ok("intents", "none is in doubt")


def machine_clock() -> Finding:
    synchronised = machine.clock_is_synchronised()
    if synchronised is None:
        return skipped(
            "machine clock", "this machine does not say whether its clock is synchronised"
        )
    if synchronised:
        return ok("machine clock", "the kernel says that it is synchronised")
    return warning(
        "machine clock",
        "the kernel says that nothing synchronises it",
        "run an NTP client (chrony, systemd-timesyncd); in a container, on its host",
    )
