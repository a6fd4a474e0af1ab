"""The halt, from outside the trader: latch, tell, wait or kill, verify at the venue, hold.

Whoever asks (API, signal, the file), it is the same walk, each step of it bounded, and what did
not come true is said in words. Nothing is taken from the trader's word alone but an end that it
verified itself; one that does not answer is killed, for the dead send nothing.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from chappie.guardian.aside import aside
from chappie.guardian.clock import iso_now, now_s
from chappie.guardian.shown import HaltState
from chappie.guardian.ward import Events, HaltDone, Hand, Resumed, Ward
from chappie.journal.framing import JournalError
from chappie.live import latch
from chappie.live.latch import Latch
from chappie.live.state_dir import LastStop

_LOOK_S = 0.02
_FOR_GOOD_S = 1e9
_NO_ANSWER = "the disk does not answer"
_T = TypeVar("_T")


class Bounds(msgspec.Struct, frozen=True):
    """How long each step may take at most.

    ``ask_s``: for so long the trader is not told before the latch is on disk; then all the same.
    ``fence_s``: after the death of a trader its last request may still reach the venue; one that
    lives may wait as long for an order that is under way before it says that it obeys.
    ``seen_s``: for its answer, where it gives no other sign of life; or beyond the fence.
    """

    fence_s: float
    ask_s: float = 0.25
    latch_s: float = 2.0
    seen_s: float = 2.0
    ends_s: float = 6.0
    ends_flat_s: float = 25.0
    buried_s: float = 3.0
    sweep_s: float = 10.0
    flatten_s: float = 25.0


class _End(msgspec.Struct, frozen=True):
    """How the trader of a halt ended, if there was one: ``proven`` dead or obeying; ``buried``:
    the guardian knows which orders it left.
    """

    proven: bool
    killed: bool = False
    buried: bool = True
    stop: LastStop | None = None


class _Swept(msgspec.Struct, frozen=True):
    verified: bool
    ours: int | None = None
    position: int | None = None
    detail: str = ""


class Halting:
    """The one that halts and resumes. Call `look` at every turn of the watch."""

    def __init__(
        self,
        state_dir: Path,
        ward: Ward,
        hand: Hand | None,
        events: Events,
        bounds: Bounds,
        *,
        allow_trade: bool,
    ) -> None:
        """``hand`` None: no credentials for the venue, so nothing can be verified there."""
        self.standing: HaltState | None = None
        self._state_dir = state_dir
        self._ward = ward
        self._hand = hand
        self._events = events
        self._bounds = bounds
        self._allow_trade = allow_trade
        self._known: Latch | None = None
        self._told_unlatched = False
        self._reading: asyncio.Task[Latch | None] | None = None
        self._latching: asyncio.Task[Latch] | None = None
        self._run: asyncio.Task[HaltDone] | None = None
        self._flatten = False
        self._looked = False
        self._resuming = False
        # The latch is set and cleared in threads, and never both at once.
        self._disk = threading.Lock()

    @property
    def holds(self) -> bool:
        """No trader is started and none restarted while this is so."""
        return self.standing is not None or self.is_under_way()

    @property
    def words(self) -> str:
        """Why no trader is started."""
        return self.standing.reason if self.standing is not None else "a halt is under way"

    def is_under_way(self) -> bool:
        """Whether a halt is being carried out."""
        return self._run is not None and not self._run.done()

    async def holds_now(self) -> bool:
        """`holds`, by a fresh look at the disk: asked before each start of a trader."""
        try:
            found = await aside(lambda: latch.read(self._state_dir), self._bounds.latch_s)
        except TimeoutError:
            # An unreadable latch is a halt.
            self._stand(f"the latch cannot be read: {_NO_ANSWER}", None)
            return True
        if found is not None:
            self._stand(found.words, found)
        return self.holds

    def look(self) -> None:
        """Notice a latch that somebody else set, and a halt that is not on disk; never waits."""
        if self.is_under_way() or self._resuming:
            # What a resume is just taking away must not come back by our own hand.
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            return
        if not self._reading.done():
            return
        found, self._reading = self._reading.result(), None
        first, self._looked = not self._looked, True
        if found is not None and found != self._known:
            new = self.standing is None or self.standing.reason != found.words
            self._stand(found.words, found)
            # What a start into a latch does is the start's own business.
            if self._ward.trader is not None or (new and not first):
                self.begin(found.words, flatten=False, by=f"the file {latch.FILE}")
        elif self.standing is not None and self._ward.trader is not None:
            # It was being started while the halt came.
            self.begin(self.standing.reason, flatten=False, by="the halt that stands")
        elif found is None and self.standing is not None:
            self._latch_again(self.standing.reason)

    async def halt(self, reason: str, flatten: bool, by: str) -> HaltDone:
        """Halt and wait for what came of it; joins a halt that is under way."""
        return await asyncio.shield(self.begin(reason, flatten, by))

    def begin(self, reason: str, flatten: bool, by: str) -> "asyncio.Task[HaltDone]":
        """Halt without waiting. A flatten upgrades the halt that is under way."""
        self._events.event("warning", "halt_asked", reason=reason, flatten=flatten, by=by)
        if self._run is not None and not self._run.done():
            self._flatten = self._flatten or flatten
            return self._run
        self._flatten = flatten
        self._reading = None
        if self.standing is None:
            self._stand(reason, None)
        self._run = asyncio.create_task(self._guarded())
        return self._run

    async def resume(self, reason: str, by: str) -> Resumed:
        """End the halt that stands, or the staying down, and let the trader be started."""
        if self._resuming:
            return Resumed(False, None, "a resume is under way already")
        self._resuming = True
        try:
            return await self._resume(reason, by)
        finally:
            self._resuming = False
            # What was read while the latch was taken away is not true any more.
            self._reading = None

    async def _resume(self, reason: str, by: str) -> Resumed:
        if self.is_under_way():
            return Resumed(False, None, "a halt is under way: resume when it is done")
        if self._ward.trader is not None:
            words = "there is nothing to resume: the trader runs"
            if self.standing is not None:
                words = "a halt begins just now: resume when it is done"
            return Resumed(False, None, words)
        down_for = self._ward.down_for
        try:
            found = await aside(lambda: latch.read(self._state_dir), self._bounds.latch_s)
        except TimeoutError:
            return Resumed(False, None, f"the latch cannot be read: {_NO_ANSWER}")
        if found is None and self.standing is None and down_for is None:
            return Resumed(False, None, "there is nothing to resume: a trader is started soon")
        if found is not None and found != self._known:
            words = "another halt was latched meanwhile, and it stays: look at it, then resume"
            return Resumed(False, None, words)
        if self.is_under_way():
            return Resumed(False, None, "a halt came meanwhile: resume when it is done")
        if found is not None:
            try:
                cleared = await aside(lambda: self._clear(found), self._bounds.latch_s)
            except (JournalError, TimeoutError) as error:
                words = f"the latch cannot be removed: {str(error) or _NO_ANSWER}"
                return Resumed(False, None, words)
            if not cleared or self.is_under_way():
                words = "another halt was latched meanwhile, and it stays"
                return Resumed(False, None, words)
        halt = self.standing.reason if self.standing is not None else None
        self.standing = self._known = None
        self._told_unlatched = False
        self._events.event("warning", "resumed", reason=reason, by=by, halt=halt, was=down_for)
        self._ward.start_again(reason)
        return Resumed(True, halt, "the trader is started again")

    # --- the walk

    async def _guarded(self) -> HaltDone:
        try:
            done = await self._walk()
        # The outermost edge of a halt: its own bug must not leave the asker without an answer.
        except Exception as error:  # noqa: BLE001
            words = f"a bug in the guardian ended the halt: {error!r}"
            done = HaltDone(self._known is not None, False, False, None, None, None, [words])
        level = "error" if done.missing else "warning"
        self._events.event(level, "halt_done", **msgspec.structs.asdict(done))
        self._reading = None
        return done

    async def _walk(self) -> HaltDone:
        assert self.standing is not None, "the halt holds in memory before anything else"
        reason = self.standing.reason
        latching = asyncio.create_task(self._latch(reason))
        # Reducing risk never waits: a disk that hangs delays the trader's orders to stop by this.
        await asyncio.wait({latching}, timeout=self._bounds.ask_s)
        end = await self._end_trader(reason)
        problem = await latching
        swept = await self._sweep(end)
        flattened: bool | None = None
        position = swept.position
        missing = [problem] if problem else []
        if not end.proven:
            missing.append("the trader neither answered nor is it proven dead")
        if not swept.verified:
            missing.append(f"no read shows that none of our orders works: {swept.detail}")
        if self._flatten:
            flattened, position, why = await self._flat(end, swept)
            missing += [why] if why else []
        return HaltDone(
            latched=problem == "",
            acknowledged=end.proven,
            verified=swept.verified,
            flattened=flattened,
            orders=swept.ours,
            position=position,
            missing=missing,
        )

    async def _latch(self, reason: str) -> str:
        """The latch on disk; returns what kept it off, empty when it is there."""
        task = self._latching
        # One that is over already may speak of a halt that was resumed since.
        if task is None or task.done():
            task = self._latching = asyncio.create_task(
                aside(lambda: self._set(reason), _FOR_GOOD_S)
            )
        done, _ = await asyncio.wait({task}, timeout=self._bounds.latch_s)
        why = _NO_ANSWER
        if done:
            try:
                found = task.result()
            except (JournalError, OSError) as error:
                why = str(error)
            else:
                self._stand(found.words, found)
                return ""
        if not self._told_unlatched:
            self._told_unlatched = True
            self._events.event("error", "halt_not_latched", detail=why)
        return f"the latch is not on disk ({why}): the halt holds only while this guardian lives"

    async def _end_trader(self, reason: str) -> _End:
        trader = self._ward.trader
        if trader is None:
            return _End(proven=True)
        asked_flat = self._flatten and self._allow_trade
        trader.ask_to_halt(reason, asked_flat)
        began_s, beats = now_s(), trader.beats
        killed = False
        while not await trader.exited(_LOOK_S):
            spent_s = now_s() - began_s
            if self._flatten and self._allow_trade and not asked_flat:
                asked_flat = True
                trader.ask_to_halt(reason, True)
            within_s = self._bounds.ends_flat_s if asked_flat else self._bounds.ends_s
            if trader.halt_seen is None:
                alive = trader.beats > beats
                within_s = self._bounds.seen_s + (self._bounds.fence_s if alive else 0.0)
            if spent_s > within_s:
                why = "it did not answer" if trader.halt_seen is None else "it did not end"
                self._events.event("error", "trader_killed", pid=trader.pid, why=why)
                trader.kill()
                killed = True
                break
        if killed and not await trader.exited(self._bounds.seen_s):
            return _End(proven=trader.halt_seen is not None, killed=True, buried=False)
        buried = await _until(lambda: self._ward.trader is not trader, self._bounds.buried_s)
        code = trader.returncode
        killed = killed or (code is not None and code < 0)
        stop = self._ward.last_stop if buried else None
        return _End(proven=True, killed=killed, buried=buried, stop=stop)

    async def _sweep(self, end: _End) -> _Swept:
        """A read at the venue that shows no order of ours, cancelling what is found."""
        stop = end.stop
        if stop is not None and not end.killed and stop.known and not stop.orders:
            return _Swept(True, 0, stop.position)
        swept = await self._leave_nothing(end)
        rest_s = self._ward.may_arrive_s
        if end.killed or not end.buried:
            rest_s = max(rest_s, self._bounds.fence_s)
        if rest_s > 0:
            # A request of the dead may have arrived after that read, however it ended (promise 6).
            await asyncio.sleep(rest_s)
            swept = await self._leave_nothing(end)
        return swept

    async def _leave_nothing(self, end: _End) -> _Swept:
        hand = self._hand
        if hand is None:
            return _Swept(False, detail="there are no credentials to read the account with")
        left = await _within(
            lambda within_s: hand.leave_nothing(within_s, whole=not end.buried),
            self._bounds.sweep_s,
        )
        if left is None:
            return _Swept(False, detail="the venue was not read in time")
        return _Swept(left.verified, left.ours, left.position, left.detail)

    async def _flat(self, end: _End, swept: _Swept) -> tuple[bool, int | None, str]:
        """Whether the position is closed, what it is, and why it is not."""
        if not self._allow_trade:
            words = "the flatten is refused: bot.allow_trade is off; the halt holds"
            return False, swept.position, words
        if not (swept.verified and end.proven):
            words = "nothing was flattened: an order of ours may still work"
            return False, swept.position, words
        if swept.position == 0:
            return True, 0, ""
        if self._hand is None:
            return False, swept.position, "nothing was flattened: there are no credentials"
        flat = await _within(self._hand.flatten, self._bounds.flatten_s)
        if flat is None:
            return False, None, "what became of the closing order is not known"
        return flat.done, flat.position, "" if flat.done else f"not flattened: {flat.detail}"

    # --- what stands

    async def settled(self, within_s: float) -> None:
        """The guardian ends: a latch that is just being written gets so long to be there."""
        if self._latching is not None:
            await asyncio.wait({self._latching}, timeout=within_s)

    def _set(self, reason: str) -> Latch:
        with self._disk:
            return latch.set_(self._state_dir, reason)

    def _clear(self, found: Latch) -> bool:
        """Not once a halt is under way, which may rely on that very latch."""
        with self._disk:
            return not self.is_under_way() and latch.clear(self._state_dir, found)

    def _stand(self, reason: str, found: Latch | None) -> None:
        self._known = found if found is not None else self._known
        if self.standing is None or self.standing.reason != reason:
            since_ns = found.mtime_ns if found is not None else 0
            self.standing = HaltState(reason, _iso(since_ns) if since_ns else iso_now())

    def _latch_again(self, reason: str) -> None:
        """A halt that is not on disk, by failure or because somebody took the file away."""
        task = asyncio.create_task(self._latch(reason))
        self._reading = asyncio.create_task(self._read_after(task))

    async def _read_after(self, latching: "asyncio.Task[str]") -> Latch | None:
        await asyncio.wait({latching})
        return await self._read()

    async def _read(self) -> Latch | None:
        """In a thread, one at a time: a disk that hangs must not stop the watch."""
        try:
            return await aside(lambda: latch.read(self._state_dir), _FOR_GOOD_S)
        except TimeoutError as error:
            # An unreadable latch is a halt.
            return Latch(f"the latch cannot be read: {error}", 0, 0)


async def _until(holds: Callable[[], bool], within_s: float) -> bool:
    until_s = now_s() + within_s
    while not holds():
        if now_s() > until_s:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


async def _within(act: Callable[[float], Awaitable[_T]], within_s: float) -> _T | None:
    """What it returns; None when it took longer than it was given, and a little."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(_awaited(act, within_s), within_s + 1.0)
    return None


async def _awaited(act: Callable[[float], Awaitable[_T]], within_s: float) -> _T:
    return await act(within_s)


def _iso(ns: int) -> str:
    at = datetime.fromtimestamp(ns / 1e9, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
