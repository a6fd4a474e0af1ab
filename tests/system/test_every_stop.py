"""Every stop reason of the contract, by a cause outside the trader: the venue, a signal, the disk,
the clock, or the operator's own files; and what the guardian makes of it.

`CAUSES` has a row for each reason. Two are reached by a file that somebody spoilt, as nothing at
the venue brings them about: a kept log that was joined of two breaks an invariant of the ledger,
and the number of a run that no clock will ever reach is an error that nobody foresaw.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chappie.journal.framing import framed
from chappie.model.faults import StopReason
from chappie.model.records import Opening
from chappie.model.units import Contracts, Minor
from tests.cli.test_up_embedded import gone
from tests.system.rig import FREE, SHORT, TRADING, Bot, Seat, Venue, a_venue, get_json

# The first test waits for all scenes.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
AT_ONCE = 8
PATIENCE_S = 40.0
# What is not a scene's own cause has time, for many run at once.
SETS = (
    *SHORT,
    *TRADING,
    # So that an order mostly works when it strikes.
    "orders.style=post_only",
    "feed.soft_stop_after_s=6",
    "feed.fault_after_s=15",
    "feed.sync_fault_after_s=40",
    "reconcile.fault_after_s=20",
    "orders.resolve_within_s=15",
    # Where the venue takes no cancel of ours, its own switch has the last word.
    "dead_man.timeout_s=4",
    "dead_man.refresh_every_s=1",
    "supervisor.heartbeat_timeout_s=4",
)
RESTARTED, STAYS_DOWN, ENDS = "restarted", "stays down", "ends"


@dataclass(frozen=True)
class Cause:
    """What brings a stop about: prepared before the start, and struck once it decides."""

    strike: Callable[["Scene"], object] = lambda scene: None
    prepare: Callable[["Scene"], object] = lambda scene: None
    sets: tuple[str, ...] = ()
    decides: bool = True
    """Whether it decides before the strike; some stop before their first decision."""
    says: str = ""
    """What the detail of the stop holds."""
    guardian: str = RESTARTED
    witnessed: bool = False
    """The trader could not write its own end."""
    known: bool | None = None
    """Whether the account can be verified at the venue; None where it depends."""
    alone: bool = True
    """Whether `chappie trade` alone ends with the same code."""


@dataclass
class Scene:
    """One bot that is stopped by one cause, and what was seen of it."""

    reason: StopReason
    command: str
    bot: Bot
    seat: Seat
    disk: Path | None = None
    code: int | None = None
    stop: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    after: str = ""
    shown: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    played: Future[None] | None = None

    @property
    def cause(self) -> Cause:
        return CAUSES[self.reason]

    @property
    def trader_pid(self) -> int:
        if self.command == "up":
            return int(self.bot.run_file()["trader_pid"])
        assert self.bot.process is not None
        return self.bot.process.pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.trader_pid, number)

    def guardian_said(self, event: str) -> list[dict[str, Any]]:
        """Its lines, from the terminal: the disk may be full."""
        lines = (self.bot.folder / "out").read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.startswith("{") and line.endswith("\n")]
        rows = [json.loads(line) for line in whole if '"by":"guardian"' in line]
        return [row for row in rows if row["event"] == event]


# --- the causes


def answer_lost(scene: Scene) -> None:
    """An order is taken, its answer lost, and every question about orders fails."""
    seat = scene.seat
    for table in ("order", "execution"):
        seat.arm("mute_table", table=table)
    seat.arm("accept_then_timeout", route="/order", method="POST")
    scene.bot.until(lambda: any(row["fault"] for row in seat.new_orders()), every_s=0.01)
    seat.arm("error_500", route="/order", method="GET")


def trade_by_hand(scene: Scene) -> None:
    scene.bot.until(lambda: scene.seat.trades())
    scene.seat.place(side="Buy", orderQty=300, ordType="Market")


def newer_instance(scene: Scene) -> None:
    """Of an epoch far in the future, where no run of this bot will ever be."""
    name = "chp-chappie-zzzzzzzz-1"
    scene.seat.place(side="Buy", orderQty=100, price=50_000, clOrdID=name)


def halt_file(scene: Scene) -> None:
    (scene.bot.state / "HALT").touch()


def joined_logs(scene: Scene) -> None:
    """Two backups of the kept log were joined by hand: a ledger cannot begin twice."""
    opening = framed(msgspec.msgpack.encode(Opening(1, Contracts(0), Minor(0))))
    scene.bot.state.mkdir(parents=True)
    (scene.bot.state / "kept.log").write_bytes(opening * 2)


def small_disk(scene: Scene) -> None:
    disk = scene.bot.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount the small disk that this test fills")
    scene.disk = disk
    scene.bot.state = disk / "state"


def fill_disk(scene: Scene) -> None:
    assert scene.disk is not None
    with suppress(OSError):
        (scene.disk / "filler").write_bytes(bytes(9 << 20))


def spoilt_epoch(scene: Scene) -> None:
    """A hand, or a bad disk, wrote the number of a run that no clock will ever reach."""
    scene.bot.state.mkdir(parents=True)
    (scene.bot.state / "epoch").write_text("9" * 30)


def kill_guardian(scene: Scene) -> None:
    assert scene.bot.process is not None
    pid = scene.trader_pid
    scene.bot.process.kill()
    assert gone(pid, PATIENCE_S)


CAUSES: dict[StopReason, Cause] = {
    StopReason.OPERATOR: Cause(
        lambda s: s.send(signal.SIGTERM), says="SIGTERM", guardian=STAYS_DOWN, known=True),
    StopReason.FEED_STALE: Cause(
        lambda s: s.seat.arm("mute_all"), says="no market data",
        sets=("feed.soft_stop_after_s=1.5", "feed.fault_after_s=3")),
    StopReason.FEED_UNSYNCED: Cause(
        prepare=lambda s: s.seat.arm("withhold_partial", table="margin"), decides=False,
        says="margin", sets=("feed.sync_fault_after_s=4",)),
    StopReason.ORDER_UNRESOLVED: Cause(answer_lost, sets=("orders.resolve_within_s=2.1",),
        known=False),
    StopReason.POSITION_MISMATCH: Cause(
        trade_by_hand, says="ledger",
        sets=("orders.style=market", "policy.cycle.period_s=60", "reconcile.fault_after_s=3"),
        known=False),
    StopReason.VENUE_REFUSED: Cause(
        lambda s: s.seat.arm("refuse_login"), says="This key is disabled", guardian=STAYS_DOWN),
    StopReason.CLOCK_SKEW: Cause(
        lambda s: s.seat.venue.arm("skew_clock", ms=5_000), says="clock",
        sets=("feed.soft_stop_after_s=1.5", "feed.fault_after_s=3")),
    StopReason.INVARIANT_VIOLATED: Cause(
        prepare=joined_logs, decides=False, says="an opening comes once", guardian=STAYS_DOWN),
    StopReason.LOOP_STALLED: Cause(
        lambda s: s.send(signal.SIGSTOP), says="no beat for", witnessed=True, alone=False),
    StopReason.JOURNAL_FAILED: Cause(
        fill_disk, prepare=small_disk, says="No space left on device", guardian=STAYS_DOWN,
        known=True),
    StopReason.VENUE_DEGRADED: Cause(
        lambda s: s.seat.arm("error_500", route="/position", method="GET"),
        sets=("reconcile.fault_after_s=3",), known=False),
    StopReason.HALTED: Cause(halt_file, says="HALT", guardian=STAYS_DOWN),
    StopReason.NOT_ALONE: Cause(
        newer_instance, says="another instance of this bot", guardian=STAYS_DOWN, known=False),
    StopReason.KILLED: Cause(
        lambda s: s.send(signal.SIGKILL), says="SIGKILL", witnessed=True, alone=False),
    StopReason.GUARDIAN_LOST: Cause(kill_guardian, guardian=ENDS, alone=False, known=True),
    StopReason.CONFIG: Cause(
        sets=("bot.policy=nowhere:Policy",), decides=False, guardian=ENDS),
    StopReason.INTERNAL_ERROR: Cause(
        prepare=spoilt_epoch, decides=False, says="OverflowError"),
}  # fmt: skip


# --- one scene


def play(scene: Scene) -> None:
    """Play it to its end; its bot is gone afterwards, and does not hold up the others."""
    try:
        play_once(scene)
    finally:
        if scene.bot.process is not None:
            scene.bot.kill()


def play_once(scene: Scene) -> None:
    bot, cause = scene.bot, scene.cause
    cause.prepare(scene)
    sets = (*FREE, *SETS, *cause.sets, f"state.dir={bot.state}")
    bot.start(scene.command, *sets, seat=scene.seat)
    if cause.decides:
        bot.until(lambda: bot.named("decision"), PATIENCE_S)
        if scene.command == "up":
            # The guardian has heard so too; before it does, a start may take its time.
            bot.until_mode("trading", PATIENCE_S)
    cause.strike(scene)
    if scene.command == "trade" or cause.guardian == ENDS:
        scene.code = bot.ends(PATIENCE_S)
        scene.log = bot.events()
        scene.stop = bot.last_stop() if (bot.state / "last_stop.json").exists() else {}
    else:
        see_the_guardian(scene)
    # What kept our cancels from the venue is over.
    scene.seat.mend()
    if scene.command == "up" and cause.guardian != ENDS:
        first = dead_orders(scene)
        bot.until(lambda: not first & still_open(scene.seat), PATIENCE_S)
        scene.left = sorted(first & still_open(scene.seat))


def see_the_guardian(scene: Scene) -> None:
    bot = scene.bot
    bot.until(lambda: scene.guardian_said("trader_stopped"), PATIENCE_S)
    # Before a trader that starts again could stop again.
    scene.stop = bot.last_stop()
    (scene.told, *_) = scene.guardian_said("trader_stopped")
    follows = {"restarting": RESTARTED, "staying_down": STAYS_DOWN}
    bot.until(lambda: any(map(scene.guardian_said, follows)), PATIENCE_S)
    scene.after = next(what for event, what in follows.items() if scene.guardian_said(event))
    if scene.after == RESTARTED:
        bot.until(lambda: len(scene.guardian_said("trader_started")) > 1, PATIENCE_S)
    scene.shown = bot.shown()
    scene.log = bot.events()
    assert bot.process is not None
    assert bot.process.poll() is None
    assert get_json(f"{bot.run_file()['operator']}/healthz")


def first_run(scene: Scene) -> list[dict[str, Any]]:
    """The log up to the next start, if that was written already."""
    starts = [n for n, line in enumerate(scene.log) if line["event"] == "started"]
    return scene.log[: starts[1]] if len(starts) > 1 else scene.log


def dead_orders(scene: Scene) -> set[str]:
    """The orders of the run that was stopped."""
    return {line["clOrdID"] for line in first_run(scene) if line["event"] == "order_sent"}


def still_open(seat: Seat) -> set[str]:
    return {order["clOrdID"] for order in seat.open_orders()}


@pytest.fixture(scope="module")
def scenes(
    venue: Venue, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, StopReason], Scene]]:
    """All of them, a few at a time: waiting is most of what they do."""
    folder = tmp_path_factory.mktemp("stops")
    found: dict[tuple[str, StopReason], Scene] = {}
    with ExitStack() as stack:
        # A clock is every account's.
        skewed = [stack.enter_context(a_venue()) for _ in range(2)]
        for command in ("up", "trade"):
            for reason, cause in CAUSES.items():
                if command == "trade" and not cause.alone:
                    continue
                where = skewed.pop() if reason is StopReason.CLOCK_SKEW else venue
                bot = Bot(folder / f"{command}-{reason.word}")
                found[command, reason] = Scene(reason, command, bot, where.seat())
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for scene in found.values():
                    scene.played = pool.submit(play, scene)
            yield found
        finally:
            for scene in found.values():
                scene.bot.kill()
                if scene.disk is not None:
                    subprocess.run(["umount", "--lazy", str(scene.disk)], check=True)


@pytest.fixture
def under_guardian(
    scenes: dict[tuple[str, StopReason], Scene], request: pytest.FixtureRequest
) -> Scene:
    return played(scenes["up", request.param])


@pytest.fixture
def alone(scenes: dict[tuple[str, StopReason], Scene], request: pytest.FixtureRequest) -> Scene:
    return played(scenes["trade", request.param])


def played(scene: Scene) -> Scene:
    """What went wrong in a scene is the failure of the test that asks for it."""
    assert scene.played is not None
    scene.played.result()
    return scene


def having(which: str, *, witnessed: bool | None = None, guardian: str | None = None) -> Any:
    """For the reasons of these rows; an end of the guardian itself is asked for by name."""
    found = [
        reason
        for reason, cause in CAUSES.items()
        if (which == "under_guardian" or cause.alone)
        and (witnessed is None or cause.witnessed == witnessed)
        and (cause.guardian == guardian if guardian else reason is not StopReason.CONFIG)
    ]
    ids = [reason.word for reason in found]
    return pytest.mark.parametrize(which, found, ids=ids, indirect=True)


# --- what is seen


def test_there_is_a_cause_outside_for_every_reason() -> None:
    assert set(CAUSES) == set(StopReason)


def test_the_table_agrees_with_the_contract_on_who_is_started_again() -> None:
    for reason, cause in CAUSES.items():
        assert (cause.guardian == RESTARTED) == reason.restarts, reason


def is_the_stop(stop: dict[str, Any], reason: StopReason) -> None:
    assert set(stop) >= {"reason", "code", "detail", "at", "orders", "position", "known"}
    assert (stop["reason"], stop["code"]) == (reason.word, reason.value)
    assert CAUSES[reason].says in stop["detail"]
    assert isinstance(stop["known"], bool)
    assert isinstance(stop["orders"], list)
    assert stop["position"] is None or isinstance(stop["position"], int)
    assert CAUSES[reason].known in (None, stop["known"])
    if stop["known"]:
        assert stop["orders"] == []


def no_traceback(bot: Bot) -> bool:
    """None on the terminal; where a bug was is a field of one line of the log."""
    return not any(line.startswith("Traceback") for line in bot.said.splitlines())


@having("under_guardian")
def test_under_the_guardian_the_file_says_why_it_stopped(under_guardian: Scene) -> None:
    is_the_stop(under_guardian.stop, under_guardian.reason)
    assert no_traceback(under_guardian.bot)


@having("under_guardian", witnessed=False)
def test_the_last_line_of_its_log_is_the_stop(under_guardian: Scene) -> None:
    last = first_run(under_guardian)[-1]
    assert (last["event"], last["reason"]) == ("stopped", under_guardian.reason.word)
    assert last["code"] == under_guardian.reason.value
    assert last["detail"] == under_guardian.stop["detail"]


@having("under_guardian", witnessed=True)
def test_one_that_could_not_write_its_end_has_it_written(under_guardian: Scene) -> None:
    assert "stopped" not in [line["event"] for line in first_run(under_guardian)]
    assert under_guardian.told["detail"] == under_guardian.stop["detail"]


@having("under_guardian", guardian=RESTARTED)
def test_what_a_new_start_may_mend_is_started_again(under_guardian: Scene) -> None:
    scene = under_guardian
    assert scene.after == RESTARTED
    assert (scene.told["reason"], scene.told["code"]) == (scene.reason.word, scene.reason.value)
    assert scene.shown["trader"]["restarts"] >= 1
    assert scene.shown["trader"]["last_stop"]["reason"] == scene.reason.word


@having("under_guardian", guardian=STAYS_DOWN)
def test_what_only_a_person_can_mend_stays_down_and_is_served(under_guardian: Scene) -> None:
    scene = under_guardian
    assert scene.after == STAYS_DOWN
    assert (scene.told["reason"], scene.told["code"]) == (scene.reason.word, scene.reason.value)
    assert scene.shown["trader"]["pid"] is None
    assert scene.shown["trader"]["restarts"] == 0
    assert scene.shown["trader"]["last_stop"]["reason"] == scene.reason.word
    assert scene.shown["mode"] in ("stopped", "halted")
    assert scene.shown["known"] == scene.stop["known"]
    if scene.stop["known"]:
        assert scene.shown["position"]["qty"] == scene.stop["position"]


@having("under_guardian", guardian=RESTARTED)
def test_no_order_of_the_stopped_run_is_left_once_another_runs(under_guardian: Scene) -> None:
    assert under_guardian.left == []


@having("under_guardian", guardian=STAYS_DOWN)
def test_no_order_is_left_where_nobody_is_started_again(under_guardian: Scene) -> None:
    assert under_guardian.left == []


@having("alone")
def test_alone_its_exit_code_log_and_file_say_the_same(alone: Scene) -> None:
    assert alone.code == alone.reason.value
    is_the_stop(alone.stop, alone.reason)
    last = alone.log[-1]
    assert (last["event"], last["reason"]) == ("stopped", alone.reason.word)
    assert (last["code"], last["detail"]) == (alone.reason.value, alone.stop["detail"])
    assert no_traceback(alone.bot)


def test_a_configuration_that_the_trader_refuses_is_one_line_and_64(
    scenes: dict[tuple[str, StopReason], Scene],
) -> None:
    for command in ("up", "trade"):
        scene = played(scenes[command, StopReason.CONFIG])
        assert scene.code == StopReason.CONFIG.value
        (line,) = (scene.bot.folder / "err").read_text().splitlines()
        assert "bot.policy" in line
        assert scene.stop == {}


def test_a_policy_that_never_returns_is_ended_by_the_watchdog_of_trade_alone(
    bot: Bot, seat: Seat
) -> None:
    (bot.folder / "mine.py").write_text(
        "import time\n\n\nclass Hangs:\n    period_s = 1.0\n\n"
        "    def decide(self, view):\n        time.sleep(1e6)\n"
    )
    quick = "supervisor.heartbeat_timeout_s=1.5"
    bot.start("trade", *SETS, "bot.policy=mine:Hangs", quick, seat=seat)
    assert bot.ends() == StopReason.LOOP_STALLED.value
    is_like = bot.last_stop()
    assert (is_like["reason"], is_like["known"]) == ("loop_stalled", False)
    assert bot.events()[-1]["event"] == "stopped"
