"""What the outside world tells the core: raw observations, in the past tense.

Each is journalled before the core believes it, so each must hold everything that the step
depends on. Decoding happens inside the step: a codec bug replays like any other.
"""

from typing import TypeAlias

import msgspec

from chappie.model.records import Kept


class _Event(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    pass


class Started(_Event, frozen=True, gc=False):
    """The process began. ``epoch`` exceeds every earlier one of this state folder (control O3);
    ``kept`` is what earlier runs wrote down for good: intents, fills, stops.
    """

    epoch: int
    kept: tuple[Kept, ...] = ()
    halted: str | None = None


class StreamOpened(_Event, frozen=True, gc=False):
    """The websocket upgrade succeeded; ``conn`` is the number its `OpenStream` gave it."""

    conn: int


class StreamRefused(_Event, frozen=True, gc=False):
    """No websocket came about: refused by the venue (``status`` > 0) or unreachable (0).

    ``retry_after`` is that header as it came.
    """

    conn: int
    status: int
    detail: str
    retry_after: str | None = None


class FrameReceived(_Event, frozen=True, gc=False):
    """One text frame, exactly as it came, secrets scrubbed."""

    conn: int
    payload: bytes


class StreamClosed(_Event, frozen=True, gc=False):
    conn: int
    code: int
    detail: str


class Answered(_Event, frozen=True, gc=False):
    """A REST answer. Header names are lower case; only those that the dialect asked for."""

    request_id: int
    status: int
    headers: dict[str, str]
    body: bytes


class Unanswered(_Event, frozen=True, gc=False):
    """A REST request without an answer. Unanswered is unknown, not failed: only ``sent`` False
    (no byte of it left this machine) proves that the venue never saw it.
    """

    request_id: int
    sent: bool
    detail: str


class PolicyDecided(_Event, frozen=True, gc=False):
    """The policy answered the question ``decision`` with a target position in contracts."""

    decision: int
    target: int
    note: str = ""


class PolicyFailed(_Event, frozen=True, gc=False):
    """The policy raised, answered nonsense or is missing; ``detail`` says which in words."""

    decision: int
    detail: str


class Ticked(_Event, frozen=True, gc=False):
    """`next_deadline()` was reached."""


class StopAsked(_Event, frozen=True, gc=False):
    """Someone outside asked the process to stop; ``reason`` is a stop reason of the contract."""

    reason: str
    detail: str


class HaltAsked(_Event, frozen=True, gc=False):
    """The operator's halt, latched on disk by now: nothing that adds risk leaves from here on.

    ``flatten``: once our cancels are verified, close the position with one reduce-only order.
    """

    detail: str
    flatten: bool = False


Event: TypeAlias = (
    FrameReceived
    | Ticked
    | Answered
    | Unanswered
    | PolicyDecided
    | PolicyFailed
    | StreamOpened
    | StreamRefused
    | StreamClosed
    | StopAsked
    | HaltAsked
    | Started
)
