"""`chappie trade` over a core that decides nothing; the arguments are those of `chappie trade`.

``FAKE_CORE`` says how it behaves: ``obeys`` a stop or a halt, ``deaf`` to both, ``breaks`` at its
first tick, ``violates`` an invariant there, ``asks`` the policy once, or ``logs`` whatever arrives.
``FAKE_DISK=hangs``: from a halt on, nothing reaches the platter any more.
"""

import os
import sys
import time
from collections.abc import Sequence

from chappie.cli import trade
from chappie.cli.main import main
from chappie.model.commands import (
    AskPolicy,
    Command,
    Log,
    OpenStream,
    SayHalted,
    Stop,
)
from chappie.model.config import Config
from chappie.model.events import (
    Event,
    HaltAsked,
    Started,
    StopAsked,
    StreamRefused,
    Ticked,
)
from chappie.model.invariant import InvariantViolated
from chappie.model.state import State
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At
from tests.live.fakes import VIEW, state


class Core:
    """Ticks twenty times a second, and does what ``FAKE_CORE`` says."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._next_ns = 0

    def step(self, at: At, event: Event) -> Sequence[Command]:
        self._next_ns = at.now_ns + 50 * MILLISECOND_NS
        if isinstance(event, Started):
            ready = Log("info", "ready", {"epoch": event.epoch, "kept": len(event.kept)})
            return [ready, OpenStream(1, SECOND_NS)] if self._how == "connects" else [ready]
        if isinstance(event, StreamRefused):
            return [Log("warning", "refused", {"detail": event.detail})]
        if isinstance(event, StopAsked) and self._how != "deaf":
            return [Stop(event.reason, event.detail, known=True)]
        if isinstance(event, HaltAsked) and os.environ.get("FAKE_DISK") == "hangs":
            os.fsync = os.fdatasync = lambda fd: time.sleep(60)
        if isinstance(event, HaltAsked) and self._how != "deaf":
            return [SayHalted(event.detail), Stop("halted", event.detail, known=True)]
        if isinstance(event, Ticked):
            if self._how == "breaks":
                raise ZeroDivisionError("division by zero")
            if self._how == "violates":
                raise InvariantViolated("two orders for one decision")
            if self._how == "asks":
                self._how = "asked"
                return [AskPolicy(1, VIEW)]
        return []

    def next_deadline(self) -> int | None:
        return self._next_ns

    def snapshot(self, at: At) -> State:
        return state()

    def rest(self, at: At) -> tuple[int, bool]:
        return 0, False


def _make(config: Config, policy_period_s: float) -> Core:
    return Core(os.environ.get("FAKE_CORE", "obeys"))


trade._make_core = _make

if __name__ == "__main__":
    sys.exit(main(["trade", *sys.argv[1:]]))
