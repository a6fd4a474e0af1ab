"""The halt controller over fakes: every step may fail, and what failed is said in words."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from chappie.guardian.halting import Bounds, Halting
from chappie.guardian.shown import HaltState
from chappie.guardian.ward import HaltDone
from chappie.journal.framing import JournalError
from chappie.live import latch
from chappie.live.state_dir import LastStop
from chappie.model.link import HaltSeen

# Long enough for a loaded machine where something happens, short where something does not.
QUICK = Bounds(
    fence_s=0.02,
    ask_s=0.05,
    latch_s=5.0,
    seen_s=0.3,
    ends_s=0.3,
    ends_flat_s=0.3,
    buried_s=5.0,
    sweep_s=0.3,
    flatten_s=0.3,
)


def stop(*, known: bool = True, orders: int = 0, position: int | None = 0) -> LastStop:
    return LastStop("halted", 20, "", "", [{}] * orders, position, known)


class Found(msgspec.Struct):
    """What a fake hand comes back with."""

    verified: bool = True
    ours: int | None = 0
    position: int | None = 0
    detail: str = ""
    done: bool = True


CLOSED = Found()


class FakeTrader:
    """Obeys as far as it is told to."""

    pid = 4711

    def __init__(
        self,
        *,
        sees: bool = True,
        ends: bool = True,
        dies: bool = True,
        late: float = 0.0,
        beating: bool = False,
    ) -> None:
        self.sees, self.ends, self.dies = sees, ends, dies
        self.late, self.beating = late, beating
        self.beats = 7
        self.halt_seen: HaltSeen | None = None
        self.returncode: int | None = None
        self.asked: list[tuple[str, bool]] = []
        self.killed = False

    async def exited(self, within_s: float) -> bool:
        await asyncio.sleep(0 if self.returncode is not None else 0.001)
        self.beats += self.beating
        return self.returncode is not None

    def ask_to_halt(self, detail: str, flatten: bool) -> None:
        self.asked.append((detail, flatten))
        if self.late:
            asyncio.get_running_loop().call_later(self.late, self._obey, detail)
        else:
            self._obey(detail)

    def _obey(self, detail: str) -> None:
        if self.sees:
            self.halt_seen = HaltSeen(detail)
        if self.sees and self.ends:
            self.returncode = 20

    def kill(self) -> None:
        self.killed = True
        if self.dies:
            self.returncode = -9


class FakeHand:
    """Finds what it is given, one after the other and the last again; None is no end at all."""

    def __init__(self, *finds: Found | None, closes: Found | None = CLOSED) -> None:
        self.finds = list(finds) or [Found()]
        self.closes = closes
        self.swept = 0
        self.whole = False
        self.closed = 0

    async def leave_nothing(self, within_s: float, *, whole: bool = False) -> Found:
        self.swept += 1
        self.whole = whole
        return await self._come(self.finds.pop(0) if len(self.finds) > 1 else self.finds[0])

    async def flatten(self, within_s: float) -> Found:
        self.closed += 1
        return await self._come(self.closes)

    async def _come(self, found: Found | None) -> Found:
        if found is None:
            await asyncio.Event().wait()
        assert found is not None
        return found


class Scene:
    """A controller, everything around it, and what it told."""

    def __init__(
        self,
        folder: Path,
        trader: FakeTrader | None,
        hand: FakeHand | None,
        *,
        last: LastStop | None = None,
        allow_trade: bool = True,
    ) -> None:
        self.folder = folder
        self.mortal = trader
        self.last_stop = last if last is not None else stop()
        self.down_for: str | None = None
        self.may_arrive_s = 0.0
        self.again: list[str] = []
        self.told: list[str] = []
        self.hand = hand
        self.halting = Halting(
            folder,
            self,
            hand,
            self,
            QUICK,
            allow_trade=allow_trade,
        )

    @property
    def trader(self) -> FakeTrader | None:
        """Buried as soon as it is dead."""
        if self.mortal is not None and self.mortal.returncode is not None:
            self.mortal = None
        return self.mortal

    def start_again(self, why: str) -> None:
        self.again.append(why)

    def event(self, level: str, event: str, **fields: object) -> None:
        self.told.append(event)

    async def turns(self, holds: Callable[[], object]) -> None:
        """Look as the watch does until it is so."""
        async with asyncio.timeout(10.0):
            while not holds():
                self.halting.look()
                await asyncio.sleep(0.005)


def played(play: Awaitable[HaltDone]) -> HaltDone:
    async def all_of_it() -> HaltDone:
        return await play

    return asyncio.run(all_of_it())


def halted(scene: Scene, flatten: bool = False) -> HaltDone:
    return played(scene.halting.halt("enough", flatten, "a test"))


# --- the walk


def test_a_trader_that_obeys_and_verifies_needs_no_read_of_ours(tmp_path: Path) -> None:
    trader, hand = FakeTrader(), FakeHand()
    scene = Scene(tmp_path, trader, hand, last=stop(position=300))
    done = halted(scene)
    assert done == HaltDone(True, True, True, None, 0, 300, [])
    assert (trader.asked, trader.killed, hand.swept) == ([("enough", False)], False, 0)
    found = latch.read(tmp_path)
    assert found is not None
    assert found.words == "enough"
    assert scene.told == ["halt_asked", "halt_done"]


@pytest.mark.parametrize("last", [stop(known=False), stop(orders=1)])
def test_an_end_that_verified_nothing_is_read_after(tmp_path: Path, last: LastStop) -> None:
    hand = FakeHand(Found(position=100))
    done = halted(Scene(tmp_path, FakeTrader(), hand, last=last))
    assert (done.verified, done.position, hand.swept) == (True, 100, 1)


@pytest.mark.parametrize(
    "trader", [FakeTrader(sees=False), FakeTrader(ends=False)], ids=["mute", "endless"]
)
def test_one_that_does_not_answer_or_end_is_killed_and_read_again_after_the_fence(
    tmp_path: Path, trader: FakeTrader
) -> None:
    hand = FakeHand()
    scene = Scene(tmp_path, trader, hand, last=stop(known=True))
    done = halted(scene)
    # What a killed trader wrote before is no read of now; and its last request may come late.
    assert (trader.killed, hand.swept) == (True, 2)
    assert done.missing == []
    assert done.acknowledged


def test_one_that_lives_may_wait_for_the_order_that_is_under_way(
    tmp_path: Path,
) -> None:
    # It answers after `seen_s`, and well within the fence besides.
    trader = FakeTrader(late=0.6, beating=True)
    scene = Scene(tmp_path, trader, FakeHand())
    scene.halting._bounds = msgspec.structs.replace(QUICK, fence_s=5.0, ends_s=5.0)
    done = halted(scene)
    assert (done.missing, trader.killed) == ([], False)


def test_the_read_before_the_fence_proves_nothing(tmp_path: Path) -> None:
    hand = FakeHand(Found(), Found(verified=False, ours=None, position=None, detail="503"))
    done = halted(Scene(tmp_path, FakeTrader(sees=False), hand))
    assert (done.verified, done.orders) == (False, None)
    assert done.missing == ["no read shows that none of our orders works: 503"]


@pytest.mark.parametrize("trader", [FakeTrader(), None], ids=["unverified end", "dead before"])
def test_whatever_a_trader_ended_in_its_last_request_may_come_after_the_first_read(
    tmp_path: Path, trader: FakeTrader | None
) -> None:
    late = Found(verified=False, ours=1, detail="an order came late")
    hand = FakeHand(Found(), late)
    scene = Scene(tmp_path, trader, hand, last=stop(known=False))
    scene.may_arrive_s = 0.02
    done = halted(scene)
    assert (done.verified, done.orders, hand.swept) == (False, 1, 2)


def test_a_trader_that_cannot_be_killed_is_not_called_dead(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeTrader(sees=False, dies=False), FakeHand())
    done = halted(scene, flatten=True)
    assert (done.acknowledged, done.flattened) == (False, False)
    assert "neither answered nor is it proven dead" in done.missing[0]
    assert scene.hand is not None
    # No closing order while another process may still send; but what it sent is cancelled.
    assert (scene.hand.closed, scene.hand.whole) == (0, True)
    assert scene.told[-1] == "halt_done"


@pytest.mark.parametrize(
    ("hand", "why"),
    [
        (None, "no credentials"),
        (FakeHand(None), "not read in time"),
        (FakeHand(Found(verified=False, detail="a proxy's page")), "a proxy's page"),
    ],
)
def test_what_could_not_be_read_is_said(tmp_path: Path, hand: FakeHand | None, why: str) -> None:
    done = halted(Scene(tmp_path, None, hand))
    assert (done.latched, done.acknowledged, done.verified) == (True, True, False)
    assert why in done.missing[0]


def test_a_latch_that_the_disk_refuses_is_told_once_and_tried_until_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = latch.set_
    fails = [True]

    def unwilling(folder: Path, words: str) -> latch.Latch:
        if fails:
            raise JournalError("HALT: no space left on device")
        return real(folder, words)

    monkeypatch.setattr(latch, "set_", unwilling)
    scene = Scene(tmp_path, FakeTrader(), FakeHand())

    async def play() -> None:
        done = await scene.halting.halt("enough", False, "a test")
        assert (done.latched, done.acknowledged, done.verified) == (False, True, True)
        assert "no space left" in done.missing[0]
        assert scene.halting.holds
        for _ in range(20):
            scene.halting.look()
            await asyncio.sleep(0.005)
        assert scene.told.count("halt_not_latched") == 1
        fails.clear()
        await scene.turns(lambda: latch.read(tmp_path) is not None)

    asyncio.run(play())


def test_a_halt_while_an_earlier_one_is_still_being_latched_waits_for_the_same_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lets_go = latch.set_, threading.Event()

    def slow(folder: Path, words: str) -> latch.Latch:
        lets_go.wait(10.0)
        return real(folder, words)

    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        scene.halting._bounds = msgspec.structs.replace(QUICK, latch_s=0.05)
        monkeypatch.setattr(latch, "set_", slow)
        first = await scene.halting.halt("one", False, "a test")
        assert not first.latched
        scene.halting._bounds = QUICK
        # The look has found no file, and tries again.
        for _ in range(20):
            scene.halting.look()
            await asyncio.sleep(0.005)
        second = scene.halting.begin("two", True, "a test")
        await asyncio.sleep(0.1)
        lets_go.set()
        assert (await second).missing == []

    asyncio.run(play())


def test_a_latch_that_came_late_and_was_resumed_since_is_not_the_next_halt_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lets_go = latch.set_, threading.Event()

    def slow(folder: Path, words: str) -> latch.Latch:
        lets_go.wait(10.0)
        return real(folder, words)

    monkeypatch.setattr(latch, "set_", slow)
    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        scene.halting._bounds = msgspec.structs.replace(QUICK, latch_s=0.05)
        assert not (await scene.halting.halt("one", False, "a test")).latched
        lets_go.set()
        scene.halting._bounds = QUICK
        await scene.turns(lambda: scene.halting._known is not None)
        assert (await scene.halting.resume("looked", "a test")).done
        assert (await scene.halting.halt("two", False, "a test")).latched
        found = latch.read(tmp_path)
        assert found is not None
        assert found.words == "two"

    asyncio.run(play())


def test_a_disk_that_hangs_delays_the_word_to_the_trader_by_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader, lets_go = FakeTrader(), threading.Event()
    asked_before: list[bool] = []

    def hangs(folder: Path, words: str) -> latch.Latch:
        lets_go.wait(10.0)
        asked_before.append(bool(trader.asked))
        raise JournalError("HALT: the disk came back too late")

    monkeypatch.setattr(latch, "set_", hangs)
    scene = Scene(tmp_path, trader, FakeHand())

    async def play() -> None:
        task = scene.halting.begin("enough", False, "a test")
        await scene.turns(lambda: trader.asked)
        lets_go.set()
        await task

    asyncio.run(play())
    assert asked_before == [True]


def test_a_bug_on_the_way_still_answers(tmp_path: Path) -> None:
    class Broken(FakeHand):
        async def leave_nothing(self, within_s: float, *, whole: bool = False) -> Found:
            raise ZeroDivisionError

    scene = Scene(tmp_path, None, Broken())
    done = halted(scene)
    assert (done.latched, done.verified) == (True, False)
    assert "ZeroDivisionError" in done.missing[0]
    assert scene.halting.holds


# --- flatten


def test_a_flatten_that_the_trader_did_is_not_done_again(tmp_path: Path) -> None:
    trader, hand = FakeTrader(), FakeHand()
    done = halted(Scene(tmp_path, trader, hand, last=stop(position=0)), flatten=True)
    assert (done.flattened, done.position, hand.closed) == (True, 0, 0)
    assert trader.asked == [("enough", True)]


def test_what_the_trader_left_is_closed_once_it_is_dead(tmp_path: Path) -> None:
    hand = FakeHand(Found(position=300), closes=Found(position=0))
    done = halted(Scene(tmp_path, FakeTrader(sees=False), hand), flatten=True)
    assert (done.flattened, done.position, hand.closed, done.missing) == (True, 0, 1, [])


def test_with_allow_trade_off_a_flatten_is_refused_in_words_and_the_halt_holds(
    tmp_path: Path,
) -> None:
    trader, hand = FakeTrader(), FakeHand()
    scene = Scene(tmp_path, trader, hand, last=stop(position=300), allow_trade=False)
    done = halted(scene, flatten=True)
    assert (done.latched, done.verified, done.flattened) == (True, True, False)
    assert done.missing == ["the flatten is refused: bot.allow_trade is off; the halt holds"]
    assert trader.asked == [("enough", False)]
    assert hand.closed == 0


@pytest.mark.parametrize(
    ("hand", "why", "closed"),
    [
        (FakeHand(Found(verified=False, position=300)), "may still work", 0),
        (FakeHand(Found(position=None), closes=None), "not known", 1),
        (FakeHand(Found(position=300), closes=Found(done=False, detail="no lot")), "no lot", 1),
    ],
)
def test_a_flatten_that_fails_says_why(
    tmp_path: Path, hand: FakeHand, why: str, closed: int
) -> None:
    done = halted(Scene(tmp_path, None, hand), flatten=True)
    assert (done.flattened, hand.closed) == (False, closed)
    assert why in done.missing[-1]


# --- more than one


def test_halts_at_once_are_one_halt_and_a_flatten_upgrades_it(tmp_path: Path) -> None:
    trader = FakeTrader(ends=False)
    hand = FakeHand(Found(position=300), closes=Found(position=0))
    scene = Scene(tmp_path, trader, hand)

    async def play() -> list[HaltDone]:
        plain = asyncio.create_task(scene.halting.halt("one", False, "a test"))
        await scene.turns(lambda: trader.asked)
        flat = asyncio.create_task(scene.halting.halt("two", True, "another"))
        return list(await asyncio.gather(plain, flat))

    one, two = asyncio.run(play())
    assert one == two
    assert (two.flattened, hand.closed) == (True, 1)
    assert trader.asked == [("one", False), ("one", True)]
    assert scene.halting.standing is not None
    assert scene.halting.standing.reason == "one"


def test_halting_a_halted_bot_verifies_again(tmp_path: Path) -> None:
    hand = FakeHand(Found(), Found(verified=False, detail="gone again"))
    scene = Scene(tmp_path, None, hand)

    async def play() -> None:
        assert (await scene.halting.halt("one", False, "a test")).missing == []
        again = await scene.halting.halt("two", False, "a test")
        assert not again.verified

    asyncio.run(play())
    assert hand.swept == 2


# --- the file


def test_a_file_that_somebody_drops_is_a_halt(tmp_path: Path) -> None:
    trader = FakeTrader()
    scene = Scene(tmp_path, trader, FakeHand())

    async def play() -> None:
        for _ in range(10):
            scene.halting.look()
            await asyncio.sleep(0.005)
        assert not scene.halting.holds
        (tmp_path / "HALT").write_text("the cat\n")
        await scene.turns(lambda: "halt_done" in scene.told)

    asyncio.run(play())
    assert trader.asked == [("the cat", False)]
    assert scene.halting.standing == HaltState(
        "the cat", scene.halting.standing.since if scene.halting.standing else ""
    )


def test_a_trader_that_was_being_started_while_the_halt_came_is_halted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        await scene.halting.halt("enough", False, "a test")
        scene.mortal = late = FakeTrader()
        await scene.turns(lambda: late.asked)

    asyncio.run(play())


def test_a_latch_that_stands_before_the_start_keeps_every_trader_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latch.set_(tmp_path, "yesterday")
    os.utime(tmp_path / "HALT", (1_700_000_000, 1_700_000_000))
    scene = Scene(tmp_path, None, FakeHand())
    assert asyncio.run(scene.halting.holds_now())
    assert scene.halting.standing == HaltState("yesterday", "2023-11-14T22:13:20.000Z")


def test_a_disk_that_does_not_answer_is_a_halt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lets_go = threading.Event()
    monkeypatch.setattr(latch, "read", lambda folder: lets_go.wait(10.0) and None)

    async def play() -> None:
        scene = Scene(tmp_path, None, FakeHand())
        scene.halting._bounds = msgspec.structs.replace(QUICK, latch_s=0.05)
        assert await scene.halting.holds_now()
        lets_go.set()

    asyncio.run(play())


def test_a_latch_that_is_taken_away_by_hand_comes_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        await scene.halting.halt("enough", False, "a test")
        (tmp_path / "HALT").unlink()
        await scene.turns(lambda: latch.read(tmp_path) is not None)

    asyncio.run(play())


# --- resume


def test_a_resume_clears_the_halt_and_starts_the_trader(tmp_path: Path) -> None:
    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        await scene.halting.halt("enough", False, "a test")
        resumed = await scene.halting.resume("looked at it", "a test")
        assert (resumed.done, resumed.halt) == (True, "enough")
        assert scene.again == ["looked at it"]
        for _ in range(20):
            scene.halting.look()
            await asyncio.sleep(0.005)

    asyncio.run(play())
    assert not scene.halting.holds
    assert latch.read(tmp_path) is None
    assert scene.told[-1] == "resumed"


def test_a_halt_that_was_latched_meanwhile_stays(tmp_path: Path) -> None:
    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        await scene.halting.halt("enough", False, "a test")
        (tmp_path / "HALT").unlink()
        (tmp_path / "HALT").write_text("another")
        resumed = await scene.halting.resume("looked at it", "a test")
        assert not resumed.done
        assert "another halt" in resumed.words

    asyncio.run(play())
    assert scene.halting.holds
    assert scene.again == []
    assert (tmp_path / "HALT").read_text() == "another"


def test_a_slow_disk_under_a_resume_does_not_bring_the_halt_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, gone, lets_go = latch.clear, threading.Event(), threading.Event()

    def slow(folder: Path, halt: latch.Latch) -> bool:
        cleared = real(folder, halt)
        gone.set()
        lets_go.wait(10.0)
        return cleared

    monkeypatch.setattr(latch, "clear", slow)
    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        await scene.halting.halt("enough", False, "a test")
        resuming = asyncio.create_task(scene.halting.resume("looked", "a test"))
        await scene.turns(gone.is_set)
        for _ in range(30):
            scene.halting.look()
            await asyncio.sleep(0.005)
        assert not (await scene.halting.resume("me too", "another")).done
        lets_go.set()
        assert (await resuming).done
        for _ in range(30):
            scene.halting.look()
            await asyncio.sleep(0.005)

    asyncio.run(play())
    assert not scene.halting.holds
    assert latch.read(tmp_path) is None


def test_a_halt_amid_a_resume_stays_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = latch.clear
    scene = Scene(tmp_path, None, FakeHand())
    asked, set_again = threading.Event(), threading.Event()

    def late(folder: Path, halt: latch.Latch) -> bool:
        asked.set()
        set_again.wait(0.2)
        return real(folder, halt)

    async def play() -> None:
        await scene.halting.halt("enough", False, "a test")
        monkeypatch.setattr(latch, "clear", late)
        resuming = asyncio.create_task(scene.halting.resume("looked", "a test"))
        await scene.turns(asked.is_set)
        done = await scene.halting.halt("no, wait", False, "another")
        assert done.latched
        assert latch.read(tmp_path) is not None
        assert not (await resuming).done

    asyncio.run(play())
    assert scene.halting.holds


def test_a_latch_that_cannot_be_removed_stays_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "HALT").mkdir()
    scene = Scene(tmp_path, None, FakeHand())

    async def play() -> None:
        assert await scene.halting.holds_now()
        resumed = await scene.halting.resume("looked at it", "a test")
        assert not resumed.done
        assert "cannot be removed" in resumed.words

    asyncio.run(play())
    assert scene.halting.holds


def test_while_a_halt_is_under_way_nothing_is_resumed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeTrader(ends=False), FakeHand())

    async def play() -> None:
        task = scene.halting.begin("enough", False, "a test")
        resumed = await scene.halting.resume("too early", "a test")
        assert not resumed.done
        await task

    asyncio.run(play())
    assert scene.halting.holds


def test_a_trader_that_runs_or_is_about_to_has_nothing_to_resume(tmp_path: Path) -> None:
    for trader in (FakeTrader(), None):
        scene = Scene(tmp_path, trader, FakeHand())
        resumed = asyncio.run(scene.halting.resume("why not", "a test"))
        assert (resumed.done, scene.again) == (False, [])
        assert "nothing to resume" in resumed.words


def test_one_that_stays_down_for_another_reason_is_started_at_a_person_s_word(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, None, FakeHand())
    scene.down_for = "crash_loop"
    resumed = asyncio.run(scene.halting.resume("mended", "a test"))
    assert (resumed.done, resumed.halt, scene.again) == (True, None, ["mended"])
