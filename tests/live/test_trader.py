"""The driver: written down before believed, one event at a time, one stop with one reason."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from chappie.journal.framing import JournalError
from chappie.journal.journal import Journal
from chappie.journal.kept import KeptLog
from chappie.journal.reader import read
from chappie.journal.records import Digest, Header
from chappie.live import trader as trader_module
from chappie.live.log import Log
from chappie.live.trader import Ended, Trader
from chappie.live.watchdog import Watchdog
from chappie.model.commands import (
    AskPolicy,
    CloseStream,
    Command,
    DropOrders,
    HttpCall,
    Keep,
    OpenStream,
    SayHalted,
    SendCall,
    SendFrame,
    SetLatch,
    Stop,
)
from chappie.model.enums import Lane
from chappie.model.events import (
    Event,
    FrameReceived,
    HaltAsked,
    PolicyDecided,
    Started,
    StopAsked,
    StreamOpened,
    Ticked,
    Unanswered,
)
from chappie.model.faults import StopReason
from chappie.model.invariant import InvariantViolated
from chappie.model.records import Stopped
from chappie.model.state import State
from tests.live.fakes import VIEW, FakeClock, FakeCore, FakeHands, send_order

FRAME = FrameReceived(1, b"x")


class Rig:
    """A trader between fakes, with a real journal on disk."""

    def __init__(self, folder: Path, core: FakeCore) -> None:
        self.folder = folder
        self.core = core
        self.clock = FakeClock()
        self.hands = FakeHands()
        self.words: list[tuple[Ended, State | None]] = []
        self.journal = Journal(
            folder / "journal",
            epoch=1,
            version="0",
            config=b"{}",
            policy_period_s=1.0,
            max_bytes=10**9,
        )
        self.kept = KeptLog(folder / "kept.log")
        self.watchdog = Watchdog(1000.0, lambda reason, detail: None)
        self.trader = Trader(
            core=core,
            journal=self.journal,
            kept=self.kept,
            policy=self.hands,
            log=Log(fd=os.open(os.devnull, os.O_WRONLY)),
            watchdog=self.watchdog,
            clock=self.clock,
            loop=asyncio.get_running_loop(),
            epoch=1,
            last_words=lambda ended, last: self.words.append((ended, last)),
            set_latch=lambda words: self.hands.done.append(("latch", words)),
        )
        self.trader.connect(self.hands, self.hands, self.hands)

    def journalled(self) -> list[Event]:
        return [
            entry for _, entry in read(self.journal.path) if not isinstance(entry, (Header, Digest))
        ]

    def break_journal(self) -> None:
        """From now on every write fails as on a full disk."""

        def fails(*args: object) -> None:
            raise JournalError("state/journal/1: No space left on device")

        self.journal.flush = fails  # type: ignore[method-assign]  # a disk that is full now


def in_loop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(test())


def test_an_event_is_in_the_journal_before_the_core_sees_it(tmp_path: Path) -> None:
    async def test() -> None:
        core = FakeCore()
        rig = Rig(tmp_path, core)
        in_journal_at_step: list[list[Event]] = []
        core.reactions[FrameReceived] = lambda at, event: (
            in_journal_at_step.append(rig.journalled()) or []
        )
        rig.trader.deliver(FRAME)
        assert in_journal_at_step == [[FRAME]]

    in_loop(test)


def test_events_of_a_burst_that_lead_to_nothing_share_the_write_of_the_next(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore())
        burst = [FrameReceived(1, bytes([number])) for number in range(3)]
        for event in burst:
            rig.trader.deliver(event)
        assert rig.journalled() == burst[:1]
        rig.clock.pass_s(0.25)
        rig.trader.deliver(Ticked())
        assert rig.journalled() == [*burst, Ticked()]

    in_loop(test)


def test_nothing_leaves_in_a_burst_before_the_events_behind_it_are_in_the_journal(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        order = send_order(send_by_ns=10**18, expires_s=10**10)
        rig = Rig(tmp_path, FakeCore({StreamOpened: lambda at, event: [order]}))
        in_journal_when_sent: list[list[Event]] = []
        rig.hands.send_order = lambda command: in_journal_when_sent.append(  # type: ignore[method-assign]
            rig.journalled()
        )
        burst = [FRAME, FRAME, StreamOpened(1)]
        for event in burst:
            rig.trader.deliver(event)
        assert in_journal_when_sent == [burst]

    in_loop(test)


def test_an_order_in_a_burst_that_the_journal_does_not_take_is_not_sent(tmp_path: Path) -> None:
    async def test() -> None:
        order = send_order(send_by_ns=10**18, expires_s=10**10)
        rig = Rig(tmp_path, FakeCore({StreamOpened: lambda at, event: [order]}))
        rig.trader.deliver(FRAME)
        rig.break_journal()
        rig.trader.deliver(StreamOpened(1))
        assert ("order", order) not in rig.hands.done
        assert (await rig.trader.ended).reason is StopReason.JOURNAL_FAILED

    in_loop(test)


def test_commands_are_performed_in_their_order_in_the_same_callback(tmp_path: Path) -> None:
    async def test() -> None:
        call = SendCall(7, Lane.RECONCILE, HttpCall("GET", "/order"), 1, 1)
        rig = Rig(
            tmp_path,
            FakeCore(
                {
                    FrameReceived: lambda at, event: [
                        OpenStream(1, 2),
                        SendFrame(1, b"ping"),
                        call,
                        CloseStream(1, "enough"),
                    ]
                }
            ),
        )
        rig.trader.deliver(FRAME)
        assert rig.hands.done == [
            ("open", 1, 2),
            ("send", 1, b"ping"),
            ("send", call, b""),
            ("close", 1, "enough"),
        ]

    in_loop(test)


def test_an_event_raised_while_performing_waits_until_the_step_is_over(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(
            tmp_path,
            FakeCore(
                {
                    FrameReceived: lambda at, event: [
                        OpenStream(1, 2),
                        SendFrame(1, b"first finish this step"),
                    ],
                    StreamOpened: lambda at, event: [SendFrame(1, b"then the next")],
                }
            ),
        )
        rig.hands.after = lambda: rig.trader.deliver(StreamOpened(1))
        rig.trader.deliver(FRAME)
        assert rig.core.seen == [FRAME, StreamOpened(1)]
        assert [done[2] for done in rig.hands.done if isinstance(done, tuple)][1:] == [
            b"first finish this step",
            b"then the next",
        ]

    in_loop(test)


def test_the_policys_answer_is_an_event_like_any_other(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore({FrameReceived: lambda at, event: [AskPolicy(5, VIEW)]}))
        rig.hands.answer = PolicyDecided(5, 100)
        rig.trader.deliver(FRAME)
        rig.clock.pass_s(1.0)
        rig.trader.deliver(Ticked())
        assert rig.core.seen == rig.journalled() == [FRAME, PolicyDecided(5, 100), Ticked()]

    in_loop(test)


def test_an_endless_stream_of_own_events_ends_at_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(trader_module, "PENDING_MAX", 3)
        rig = Rig(tmp_path, FakeCore({FrameReceived: lambda at, event: [OpenStream(1, 2)] * 9}))
        rig.hands.after = lambda: rig.trader.deliver(FRAME)
        rig.trader.deliver(FRAME)
        ended = await rig.trader.ended
        assert ended.reason is StopReason.LOOP_STALLED
        assert ended.detail == "3 events wait"

    in_loop(test)


def test_after_a_stop_nothing_more_of_that_step_is_performed(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(
            tmp_path,
            FakeCore(
                {
                    FrameReceived: lambda at, event: [
                        Stop("feed_stale", "silent", known=True),
                        OpenStream(1, 2),
                    ]
                }
            ),
        )
        rig.trader.deliver(FRAME)
        rig.trader.deliver(FRAME)
        assert await rig.trader.ended == Ended(StopReason.FEED_STALE, "silent", True)
        assert rig.hands.done == [("ending", "feed_stale")]
        assert rig.core.seen == [FRAME]

    in_loop(test)


def test_the_last_words_hold_orders_and_position_as_last_known(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore())
        rig.trader.ask_to_stop("operator", "SIGTERM")
        ((ended, last),) = rig.words
        assert ended == Ended(StopReason.OPERATOR, "SIGTERM", True)
        assert last is not None
        assert last.position.qty == 100
        assert [order.cl_ord_id for order in last.orders] == ["c-1"]

    in_loop(test)


def test_the_first_who_asks_to_stop_gives_the_reason(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore({StopAsked: lambda at, event: []}))
        rig.trader.deliver(StopAsked("guardian_lost", "gone"))
        rig.trader.deliver(StopAsked("operator", "SIGTERM"))
        assert rig.core.seen == [StopAsked("guardian_lost", "gone")]

    in_loop(test)


def test_a_core_that_does_not_finish_its_stop_is_ended_by_force_as_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(trader_module, "STOP_WINDOW_NS", 0)
        monkeypatch.setattr(trader_module, "_END_BY_FORCE_AFTER_S", 0.01)
        rig = Rig(tmp_path, FakeCore({StopAsked: lambda at, event: []}))
        rig.trader.deliver(StopAsked("guardian_lost", "gone"))
        ended = await asyncio.wait_for(rig.trader.ended, 5)
        assert ended == Ended(StopReason.GUARDIAN_LOST, "gone", False)

    in_loop(test)


@pytest.mark.parametrize("asked", [HaltAsked("enough"), Started(1, (), "enough")])
def test_a_core_that_does_not_finish_its_halt_is_ended_by_force_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Event
) -> None:
    async def test() -> None:
        monkeypatch.setattr(trader_module, "HALT_WINDOW_NS", 0)
        monkeypatch.setattr(trader_module, "_END_BY_FORCE_AFTER_S", 0.01)
        rig = Rig(tmp_path, FakeCore())
        rig.trader.deliver(asked)
        ended = await asyncio.wait_for(rig.trader.ended, 5)
        assert ended == Ended(StopReason.HALTED, "enough", False)

    in_loop(test)


def test_a_flatten_that_joins_a_stop_takes_its_longer_window_and_the_first_reason_stays(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore({StopAsked: lambda at, event: []}))
        now_s = asyncio.get_running_loop().time()
        rig.trader.deliver(StopAsked("operator", "SIGTERM"))
        assert rig.trader._forced is not None
        assert rig.trader._forced.when() - now_s < 4.5
        for flatten in (True, False):
            rig.trader.deliver(HaltAsked("enough", flatten))
            assert 20 < rig.trader._forced.when() - now_s < 21.5
        assert rig.trader._forced._args[:2] == (StopReason.OPERATOR, "SIGTERM")

    in_loop(test)


def test_orders_are_dropped_latches_set_and_halts_confirmed_in_the_cores_order(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        commands: list[Command] = [DropOrders(), SetLatch("liquidated"), SayHalted("enough")]
        rig = Rig(tmp_path, FakeCore({HaltAsked: lambda at, event: commands}))
        rig.trader.deliver(HaltAsked("enough"))
        assert rig.hands.done == [
            "drop orders",
            ("latch", "liquidated"),
            ("halt seen", "enough"),
        ]

    in_loop(test)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvariantViolated("two orders"), StopReason.INVARIANT_VIOLATED),
        (AssertionError("not here"), StopReason.INVARIANT_VIOLATED),
        (ZeroDivisionError("division by zero"), StopReason.INTERNAL_ERROR),
    ],
)
def test_a_bug_in_a_step_ends_the_process_with_its_own_reason(
    tmp_path: Path, error: Exception, reason: StopReason
) -> None:
    async def test() -> None:
        def breaks(at: object, event: object) -> list[object]:
            raise error

        rig = Rig(tmp_path, FakeCore({FrameReceived: breaks}))  # type: ignore[dict-item]
        rig.trader.deliver(FRAME)
        ended = await rig.trader.ended
        assert (ended.reason, ended.known) == (reason, False)
        assert str(error) in ended.detail
        # What was written before the bug is still there for whoever looks for it.
        assert rig.journalled() == [FRAME]

    in_loop(test)


@pytest.mark.parametrize("fails", ["log", "last words"])
def test_a_bug_ends_the_process_even_where_nothing_can_be_said_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Out of memory, what would be said of it fails in the same way."""

    def no_memory(*args: object, **fields: object) -> list[object]:
        raise MemoryError

    async def test() -> None:
        rig = Rig(tmp_path, FakeCore({FrameReceived: no_memory}))  # type: ignore[dict-item]
        if fails == "log":
            monkeypatch.setattr(Log, "error", no_memory)
        else:
            monkeypatch.setattr(rig.trader, "_last_words", no_memory)
        rig.trader.deliver(FRAME)
        assert rig.trader.ended.done()
        assert rig.trader.ended.result().reason is StopReason.INTERNAL_ERROR
        # The core that broke is not stepped again.
        rig.trader.deliver(FRAME)
        assert len(rig.core.seen) == 1

    in_loop(test)


def test_a_stop_reason_that_the_contract_lacks_is_a_bug_of_ours(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore({FrameReceived: lambda at, event: [Stop("mood", "", True)]}))
        rig.trader.deliver(FRAME)
        assert (await rig.trader.ended).reason is StopReason.INVARIANT_VIOLATED

    in_loop(test)


def test_a_kept_record_is_durable_before_the_order_behind_it_leaves(tmp_path: Path) -> None:
    async def test() -> None:
        record = Stopped(1, "operator", "")
        order = send_order(send_by_ns=10**18, expires_s=10**10)
        rig = Rig(tmp_path, FakeCore({FrameReceived: lambda at, event: [Keep(record), order]}))
        kept_when_sent: list[object] = []
        rig.hands.send_order = lambda command: kept_when_sent.append(  # type: ignore[method-assign]
            KeptLog(rig.kept.path).records
        )
        rig.trader.deliver(FRAME)
        assert kept_when_sent == [(record,)]

    in_loop(test)


def test_with_a_failed_journal_no_order_leaves_but_calls_do_and_the_run_winds_down(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        order = send_order(send_by_ns=10**18, expires_s=10**10)
        cancel = SendCall(8, Lane.CANCEL, HttpCall("DELETE", "/order"), 1, 1)
        rig = Rig(tmp_path, FakeCore({FrameReceived: lambda at, event: [cancel, order]}))
        rig.break_journal()
        rig.trader.deliver(FRAME)
        words = "state/journal/1: No space left on device"
        assert ("send", cancel, b"") in rig.hands.done
        assert ("order", order) not in rig.hands.done
        assert rig.core.seen[:2] == [FRAME, StopAsked("journal_failed", words)]
        assert await rig.trader.ended == Ended(StopReason.JOURNAL_FAILED, words, True)

    in_loop(test)


def test_an_order_behind_an_intent_that_could_not_be_kept_is_not_sent(tmp_path: Path) -> None:
    async def test() -> None:
        order = send_order(3, send_by_ns=10**18, expires_s=10**10)
        rig = Rig(
            tmp_path,
            FakeCore(
                {
                    FrameReceived: lambda at, event: [Keep(Stopped(1, "operator", "")), order],
                    StopAsked: lambda at, event: [],
                }
            ),
        )

        def fails(record: object) -> None:
            raise JournalError("state/kept.log: Input/output error")

        rig.kept.append = fails  # type: ignore[method-assign]  # a disk that broke
        rig.trader.deliver(FRAME)
        assert ("order", order) not in rig.hands.done
        assert Unanswered(3, False, "not sent: the journal failed") in rig.core.seen
        assert StopAsked("journal_failed", "state/kept.log: Input/output error") in rig.core.seen

    in_loop(test)


def test_the_end_is_kept_once_whoever_wrote_it(tmp_path: Path) -> None:
    async def test() -> None:
        by_core = Stopped(5, "operator", "by the core")
        rig = Rig(
            tmp_path,
            FakeCore(
                {StopAsked: lambda at, event: [Keep(by_core), Stop("operator", "x", known=True)]}
            ),
        )
        rig.trader.ask_to_stop("operator", "x")
        assert KeptLog(rig.kept.path).records == (by_core,)

    in_loop(test)


def test_the_end_is_kept_by_the_shell_when_the_core_could_not(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore())
        rig.trader.crashed(RuntimeError("a bug"))
        (record,) = KeptLog(rig.kept.path).records
        assert isinstance(record, Stopped)
        assert record.reason == "internal_error"

    in_loop(test)


def test_the_core_is_ticked_when_its_deadline_has_come_and_not_before(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore())
        rig.core.deadline_ns = rig.clock.now_ns + 2_000_000
        rig.trader.deliver(FRAME)
        # The timer fires, but by the clock of the steps the deadline is still to come.
        rig.trader._timer_fired()
        assert rig.core.seen == [FRAME]
        rig.clock.pass_s(0.002)
        rig.trader._timer_fired()
        assert rig.core.seen == [FRAME, Ticked()]

    in_loop(test)


def test_a_timer_that_fires_before_a_deadline_that_moved_is_set_again(tmp_path: Path) -> None:
    async def test() -> None:
        ticked = asyncio.Event()
        rig = Rig(tmp_path, FakeCore({Ticked: lambda at, event: ticked.set() or []}))
        rig.core.deadline_ns = rig.clock.now_ns + 1_000_000
        rig.trader.deliver(FRAME)
        first = rig.trader._timer
        assert first is not None
        rig.core.deadline_ns += 1_000_000
        rig.trader.deliver(FRAME)
        assert rig.trader._timer is first
        rig.clock.pass_s(0.001)
        await asyncio.sleep(first.when() - asyncio.get_running_loop().time() + 0.001)
        assert not ticked.is_set()
        assert rig.trader._timer is not first
        rig.clock.pass_s(0.001)
        await asyncio.wait_for(ticked.wait(), 5)

    in_loop(test)


@pytest.mark.parametrize("event", [Ticked(), FRAME])
def test_a_beat_leaves_after_a_step_and_at_most_four_times_a_second(
    tmp_path: Path, event: Event
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore())
        for _ in range(100):
            rig.clock.pass_s(0.05)
            rig.trader.deliver(event)
        assert len(rig.hands.beats) == 20
        assert rig.hands.beats[0].epoch == 1

    in_loop(test)


def test_every_beat_carries_the_wait_and_a_ban_is_told_before_the_end(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, FakeCore())
        rig.clock.pass_s(1)
        rig.trader.deliver(FRAME)
        rig.core.resting = 77, True
        rig.trader.deliver(StopAsked("operator", "enough"))
        beats = [(beat.rest_until_wall_ns, beat.banned) for beat in rig.hands.beats]
        assert beats == [(0, False), (77, True)]

    in_loop(test)


def test_two_runs_of_the_same_events_write_the_same_digests_and_another_does_not(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        def digest_of(name: str, reply: bytes) -> Digest:
            order = send_order(send_by_ns=1, expires_s=1)
            core = FakeCore({FrameReceived: lambda at, event: [SendFrame(1, reply), order]})
            rig = Rig(tmp_path / name, core)
            for _ in range(1000):
                rig.trader.deliver(FRAME)
            (digest,) = (e for _, e in read(rig.journal.path) if isinstance(e, Digest))
            return digest

        for name in "abc":
            (tmp_path / name).mkdir()
        first = digest_of("a", b"ping")
        assert first.steps == 1000
        assert digest_of("b", b"ping") == first
        assert digest_of("c", b"pong") != first

    in_loop(test)
