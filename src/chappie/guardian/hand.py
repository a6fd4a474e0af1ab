"""The guardian's own hand at the venue: its connection, its key, and the errands that it runs.

Every wait here has a bound, and nothing here is awaited while a trader is watched: a venue that
hangs costs the errand, never the watch.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from chappie.guardian.aside import aside
from chappie.guardian.clock import now_s
from chappie.guardian.errands.asking import Asking, Event
from chappie.guardian.errands.closing import Closing, Flattened
from chappie.guardian.errands.sweep import Left, Sweep
from chappie.guardian.process import Trader
from chappie.guardian.waits import last_waits, lift_ban
from chappie.journal.framing import JournalError
from chappie.journal.kept import KeptLog
from chappie.live import clock
from chappie.live.redact import Redactor
from chappie.live.rest import RestClient
from chappie.live.state_dir import StateDir, StateTakenError
from chappie.model.commands import Command, Keep, Log, SendCall, SendOrder
from chappie.model.config import Config
from chappie.model.records import Kept
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At, seconds_ns
from chappie.venues.registry import VENUES

_KEY_WITHIN_S = 2.0
_DISK_WITHIN_S = 2.0
_LEAST_S = 0.001


class Access(msgspec.Struct, frozen=True):
    """Where the venue is and what opens the account. Shows its secrets to nobody."""

    rest_url: str
    key: str
    secret: str

    def __repr__(self) -> str:
        return f"Access({self.rest_url!r}, ***)"


class Says(Protocol):
    """The guardian's log."""

    def __call__(self, level: str, event: str, **fields: object) -> None: ...


class Errand(Protocol):
    """A machine of `sweep` or `closing`."""

    def step(self, at: At, event: Event | None = None) -> list[Command]: ...

    def next_deadline(self, at: At) -> int: ...


class Hand:
    """One errand at a time. Made inside the running loop."""

    def __init__(
        self, config: Config, state_dir: Path, access: Callable[[], Access | str], says: Says
    ) -> None:
        """``access`` may read files, so it is asked aside; a word says why there is none."""
        self._config = config
        self._state_dir = state_dir
        self._access = access
        self._says = says
        self._venue = VENUES[config.venue.kind]
        self._asking = Asking(config, self._venue.dialect(config.venue.symbol))
        self._below_epoch = clock.now().wall_ns // MILLISECOND_NS + 1
        self._closing: Closing | None = None
        self._busy = asyncio.Lock()
        self._remembers = False
        # Why nothing can be done at the venue at all; only a person can mend that.
        self.cannot: str | None = None

    def take_over(self, trader: Trader) -> None:
        """A trader is dead: what is of its epoch or older is left behind, and the venue's budget
        and waits are those of its last beat.
        """
        at = clock.now()
        known = trader.epoch is not None
        self._below_epoch = 1 + (trader.epoch or at.wall_ns // MILLISECOND_NS)
        budget = trader.state.rate_limit if known and trader.state is not None else None
        self._asking.take_over(
            at,
            budget.limit if budget is not None else None,
            budget.remaining if budget is not None else None,
            trader.rest_until_wall_ns,
            trader.banned,
        )

    async def idle(self) -> None:
        """Wait until no errand is under way."""
        async with self._busy:
            return

    @property
    def stray_s(self) -> float:
        """So long a switch request of ours that got no answer may still arrive."""
        return max(0.0, (self._asking.stray_until_ns - clock.now().now_ns) / SECOND_NS)

    async def leave_nothing(
        self, within_s: float, *, disarm: bool = False, whole: bool = False
    ) -> Left:
        """Cancel what is ours until reads show none of it. Only where no trader lives.

        ``disarm``: take the dead man's switch off then; only once no refresh can arrive.
        ``whole``: not only what the dead left, for the last trader was not buried yet.
        """
        until_s = now_s() + within_s
        access = await self._may_act(until_s)
        if isinstance(access, str):
            return Left(False, None, 0, None, None, 0, access)
        try:
            at = clock.now()
            until_ns = at.now_ns + max(0, seconds_ns(until_s - now_s()))
            below = at.wall_ns // MILLISECOND_NS + 1 if whole else self._below_epoch
            sweep = Sweep(self._asking, below, at, until_ns, disarm=disarm)
            await self._run(sweep, access, lambda: sweep.left is not None, None)
            assert sweep.left is not None, "an errand runs to its end"
            return sweep.left
        # A bug in here must not end the guardian: it is the last one who watches.
        except Exception as error:  # noqa: BLE001
            return Left(False, None, 0, None, None, 0, self._bug(error))
        finally:
            self._done()

    async def flatten(self, within_s: float) -> Flattened:
        """Close the position with one reduce-only order. The trader must be reaped."""
        until_s = now_s() + within_s
        if not self._config.bot.allow_trade:
            words = "bot.allow_trade is off, so no closing order is sent; the halt holds"
            return Flattened(False, None, 0, words)
        access = await self._may_act(until_s)
        if isinstance(access, str):
            return Flattened(False, None, 0, access)
        folder = _Folder(self._state_dir, self._says)
        try:
            epoch = await folder.take()
            at = clock.now()
            until_ns = at.now_ns + max(0, seconds_ns(until_s - now_s()))
            closing = self._closing
            if closing is not None and closing.in_doubt:
                closing.go_on(at, until_ns)
            else:
                closing = self._closing = Closing(self._asking, epoch, at, until_ns)
            await self._run(closing, access, lambda: closing.flattened is not None, folder)
            assert closing.flattened is not None, "an errand runs to its end"
            return closing.flattened
        except StateTakenError as error:
            return Flattened(False, None, 0, f"no closing order beside a living trader: {error}")
        # As above.
        except Exception as error:  # noqa: BLE001
            return Flattened(False, None, 0, self._bug(error))
        finally:
            folder.close()
            self._done()

    async def lift_ban(self) -> None:
        """A person says that a ban is over: neither we nor the next trader wait for its end."""
        self._asking.lift_ban()
        wall_ns = clock.now().wall_ns

        def lift() -> bool:
            with contextlib.closing(StateDir(self._state_dir)) as state:
                return lift_ban(state.kept_path, wall_ns)

        try:
            if await aside(lift, _DISK_WITHIN_S):
                self._says("warning", "ban_lifted")
        except (JournalError, StateTakenError, TimeoutError) as error:
            self._says("error", "ban_not_lifted", detail=str(error) or "the disk does not answer")

    # --- the errand's surroundings

    async def _may_act(self, until_s: float) -> Access | str:
        """Our turn and the key; a word when there is none. With a key, `_done` must follow."""
        try:
            await asyncio.wait_for(self._busy.acquire(), max(_LEAST_S, until_s - now_s()))
        except TimeoutError:
            return "another errand at the venue is still under way"
        try:
            access = await self._key()
            await self._remember()
        except BaseException:
            # Given up meanwhile: the turn is not lost with it.
            self._busy.release()
            raise
        self.cannot = access if isinstance(access, str) else None
        if isinstance(access, str):
            self._busy.release()
        return access

    async def _key(self) -> Access | str:
        try:
            return await aside(self._access, _KEY_WITHIN_S)
        except TimeoutError:
            return "the credentials cannot be read: the disk does not answer"

    async def _remember(self) -> None:
        """Before the first request: what was told to runs before us is still true."""
        if self._remembers:
            return
        path = self._state_dir / "kept.log"
        with contextlib.suppress(TimeoutError):
            waits = await aside(lambda: last_waits(path), _DISK_WITHIN_S)
            self._remembers = True
            if waits is not None:
                at = clock.now()
                # A wall clock that was set back makes no wait longer than it was told.
                told_ns = at.wall_ns + waits.until_wall_ns - waits.wall_ns
                until_ns = min(waits.until_wall_ns, told_ns)
                self._asking.take_over(at, None, None, until_ns, waits.banned)

    def _done(self) -> None:
        self._asking.drop()
        self._busy.release()

    def _bug(self, error: Exception) -> str:
        words = f"a bug in the guardian's own errand: {type(error).__name__}: {error}"
        self._says("error", "internal_error", detail=words)
        return words

    async def _run(
        self,
        errand: Errand,
        access: Access,
        is_over: Callable[[], bool],
        folder: "_Folder | None",
    ) -> None:
        heard: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        rest = RestClient(
            access.rest_url,
            self._venue.signer(access.key, access.secret),
            Redactor(access.key, access.secret),
            heard.put_nowait,  # type: ignore[arg-type]  # it delivers answers only
            heard.put_nowait,
            clock.now,
            creates_or_amends=self._venue.creates_or_amends,
            allow_trade=self._config.bot.allow_trade,
        )
        try:
            commands = errand.step(clock.now())
            while True:
                for command in commands:
                    await self._perform(command, rest, folder)
                if is_over():
                    return
                at = clock.now()
                wait_s = max(_LEAST_S, (errand.next_deadline(at) - at.now_ns) / SECOND_NS)
                event: Event | BaseException | None = None
                with contextlib.suppress(TimeoutError):
                    event = await asyncio.wait_for(heard.get(), wait_s)
                if isinstance(event, BaseException):
                    raise event
                commands = errand.step(clock.now(), event)
        finally:
            await rest.close()

    async def _perform(self, command: Command, rest: RestClient, folder: "_Folder | None") -> None:
        match command:
            case SendCall():
                rest.send(command)
            case SendOrder():
                rest.send_order(command)
            case Keep(record=record):
                assert folder is not None, "only a flatten keeps records"
                await folder.keep(record)
            case Log(level=level, event=event, fields=fields):
                self._says(level, event, **fields)
            case _:
                raise AssertionError(f"an errand does not ask for {type(command).__name__}")


class _Folder:
    """The trader's state folder while we act in its place: its lock, its epoch, its kept log."""

    def __init__(self, path: Path, says: Says) -> None:
        self._path = path
        self._says = says
        self._state: StateDir | None = None
        self._kept: KeptLog | None = None
        self._hangs = False

    async def take(self) -> int:
        """The epoch of our orders. Raises `StateTakenError` while a trader lives."""
        wall_ns = clock.now().wall_ns
        try:
            return await aside(lambda: self._take(wall_ns), _DISK_WITHIN_S)
        except (JournalError, TimeoutError) as error:
            self._lost(error)
            return wall_ns // MILLISECOND_NS

    def _take(self, wall_ns: int) -> int:
        self._state = StateDir(self._path)
        epoch = self._state.next_epoch(wall_ns)
        self._kept = KeptLog(self._state.kept_path)
        return epoch

    async def keep(self, record: Kept) -> None:
        """For good, as far as the disk goes. A broken one does not keep a position open: the next
        start books the fill all the same, for the venue tells it, and its name says whose it is.
        """
        kept = self._kept
        if kept is None or self._hangs:
            self._says("error", "record_not_kept", record=type(record).__name__)
            return
        try:
            await aside(lambda: kept.append(record), _DISK_WITHIN_S)
        except (JournalError, TimeoutError) as error:
            self._lost(error)

    def _lost(self, error: Exception) -> None:
        self._hangs = self._hangs or isinstance(error, TimeoutError)
        self._says("error", "record_not_kept", detail=str(error) or "the disk does not answer")

    def close(self) -> None:
        if self._hangs:
            # A thread of ours still writes there: the lock stays until this process ends.
            return
        if self._kept is not None:
            self._kept.close()
        if self._state is not None:
            self._state.close()
