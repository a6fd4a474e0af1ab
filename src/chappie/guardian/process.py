"""The trader as a child process: started, listened to, told to end, killed, reaped."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence

from chappie.guardian.clock import now_s
from chappie.guardian.link import Link
from chappie.model.link import Beat, Ending, EndNow, HaltNow, HaltSeen, Upward
from chappie.model.state import State

LINK_FD = "CHAPPIE_GUARDIAN_FD"
_LAST_WORDS_S = 0.2


class Trader:
    """One run of the trader. Made by `start`; after `reaped` its facts no longer change.

    It gets a session of its own: a terminal's Ctrl-C or hang-up reaches the guardian, which ends
    it in order; and what it started can be killed with it.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.state: State | None = None
        self.epoch: int | None = None
        self.ending: Ending | None = None
        self.halt_seen: HaltSeen | None = None
        # Until when the venue wants no request, as of its last beat.
        self.rest_until_wall_ns = 0
        self.banned = False
        self.reconciled = False
        self.beats = 0
        self.silence_s = 0.0
        self._process = process
        self._link = Link(self._hear)
        self._beat_at_s = now_s()
        self._exited = asyncio.create_task(process.wait())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        env: Mapping[str, str],
        inherited: Sequence[int],
        output_fd: int,
    ) -> "Trader":
        """Start it with our pipe and the ``inherited`` descriptors. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**env, LINK_FD: str(theirs.fileno())},
                pass_fds=(theirs.fileno(), *inherited),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output_fd,
                stderr=output_fd,
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            # Our copy of the trader's end would hide its death: the link must end with it.
            theirs.close()
        trader = cls(process)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: trader._link, sock=ours)
        return trader

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it lives."""
        return self._process.returncode

    @property
    def garbled(self) -> int:
        """Lines on the link that were no word of ours."""
        return self._link.garbled

    @property
    def beat_age_s(self) -> float | None:
        """Since the last beat; None before the first."""
        return now_s() - self._beat_at_s if self.beats else None

    def be_silent(self, for_s: float) -> None:
        """Count time without a beat in which the guardian itself was awake to hear one."""
        self.silence_s += for_s

    async def exited(self, within_s: float) -> bool:
        """Wait for its end, at most so long."""
        done, _ = await asyncio.wait({self._exited}, timeout=within_s)
        return bool(done)

    def ask_to_end(self, reason: str, detail: str) -> None:
        self._link.say(EndNow(reason, detail))

    def ask_to_halt(self, detail: str, flatten: bool) -> None:
        """`halt_seen` is its answer."""
        self._link.say(HaltNow(detail, flatten))

    def kill(self) -> None:
        """SIGKILL to it and to whatever it started; the dead are not an error."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def reaped(self) -> int:
        """Its exit code, once it is gone and its last words are read."""
        code = await self._exited
        # The kernel closes the dead process's end; a surviving grandchild could hold it open.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._link.ended.wait(), _LAST_WORDS_S)
        self._link.close()
        return code

    def _hear(self, word: Upward) -> None:
        match word:
            case Beat(epoch=epoch, state=state):
                self.epoch, self.state = epoch, state
                self.rest_until_wall_ns, self.banned = word.rest_until_wall_ns, word.banned
                self.beats += 1
                self.silence_s = 0.0
                self._beat_at_s = now_s()
                self.reconciled = self.reconciled or state.last_reconcile.clean is True
            case HaltSeen():
                self.halt_seen = word
            case Ending():
                self.ending = word
