"""Whether and when a stopped trader is started again: back-off, crash loop, reasons that forbid.

Pure: the history is a value, the time is an argument.
"""

import msgspec

from chappie.model.config import SupervisorConfig
from chappie.model.faults import StopReason

CRASH_LOOP = "crash_loop"
"""The guardian's own reason to stay down; it has no exit code, for no trader ends with it."""


class History(msgspec.Struct, frozen=True):
    """What is remembered of earlier stops.

    ``at_s`` are the times of the restarts within the window, ``restarts`` counts all of them,
    ``last`` is the reason of the stop before.
    """

    at_s: tuple[float, ...] = ()
    restarts: int = 0
    last: StopReason | None = None


class Restart(msgspec.Struct, frozen=True):
    """Start it again after this long."""

    delay_s: float


class StayDown(msgspec.Struct, frozen=True):
    """Leave it down; ``reason`` is the stop's own or `CRASH_LOOP`. ``halts``: and latch a halt, for
    a person has to look before anything trades again.
    """

    reason: str
    detail: str
    halts: bool = False


Verdict = Restart | StayDown


def judge(
    history: History,
    stop: StopReason,
    now_s: float,
    limits: SupervisorConfig,
    quiet_s: float = 0.0,
) -> tuple[History, Verdict]:
    """What follows from this stop, and the history that includes it.

    ``quiet_s`` is the time in which a request of the dead process can still reach the venue; no
    new trader starts before it is over (promise 6).
    """
    if not stop.restarts:
        return _after(history, stop), StayDown(
            stop.word,
            "this is not restarted by itself: mend its cause, then chappie resume starts it",
            halts=stop is StopReason.INVARIANT_VIOLATED,
        )
    if stop is StopReason.POSITION_MISMATCH and history.last is stop:
        return _after(history, stop), StayDown(
            stop.word, "the position did not agree twice running; a person has to look", halts=True
        )
    recent = tuple(at for at in history.at_s if at > now_s - limits.window_s)
    if len(recent) >= limits.max_restarts:
        return _after(history, stop), StayDown(
            CRASH_LOOP,
            f"{len(recent)} restarts within {limits.window_s:g} s "
            f"(supervisor.max_restarts = {limits.max_restarts}), then {stop.word} again",
        )
    delay_s = max(back_off_s(len(recent), limits), quiet_s)
    return (
        History((*recent, now_s + delay_s), history.restarts + 1, stop),
        Restart(delay_s),
    )


def _after(history: History, stop: StopReason) -> History:
    return msgspec.structs.replace(history, last=stop)


def back_off_s(recent: int, limits: SupervisorConfig) -> float:
    """Doubles with each recent restart. The exponent is cut before a float overflows."""
    doubled = limits.backoff_initial_s * 2.0 ** min(recent, 60)
    return min(doubled, limits.backoff_max_s)
