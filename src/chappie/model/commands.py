"""What the core asks the shell to do, in the imperative, in the order in which it must happen."""

from typing import TypeAlias

import msgspec

from chappie.model.enums import Lane
from chappie.model.orders import Approved, NewOrder
from chappie.model.records import Kept
from chappie.model.view import View


class HttpCall(msgspec.Struct, frozen=True, gc=False):
    """A request as the dialect spelled it; ``path`` starts at the venue's REST root and holds
    the exact query string. The shell adds host and signature.
    """

    method: str
    path: str
    body: bytes = b""
    signed: bool = True


class _Command(msgspec.Struct, frozen=True, gc=False):
    pass


class OpenStream(_Command, frozen=True, gc=False):
    """Connect the websocket and log in on the upgrade request; ends in `StreamOpened` or
    `StreamRefused`.
    """

    conn: int
    within_ns: int


class CloseStream(_Command, frozen=True, gc=False):
    """Drop the connection; nothing more of it is delivered but its `StreamClosed`."""

    conn: int
    why: str


class SendFrame(_Command, frozen=True, gc=False):
    conn: int
    payload: bytes


class SendCall(_Command, frozen=True, gc=False):
    """A read, a cancel or the dead man's switch: never one that creates or amends an order.

    ``expires_s`` is the UNIX second after which the venue must refuse it. Exactly one
    `Answered` or `Unanswered` follows.
    """

    request_id: int
    lane: Lane
    call: HttpCall
    expires_s: int
    answer_within_ns: int


class SendOrder(_Command, frozen=True, gc=False):
    """The only command that can create or amend an order; its `Approved` is the gate's word.

    Not sent at all after ``send_by_ns`` (control O5): then `Unanswered` with ``sent`` False.
    """

    request_id: int
    lane: Lane
    order: Approved[NewOrder]
    call: HttpCall
    expires_s: int
    send_by_ns: int
    answer_within_ns: int


class Keep(_Command, frozen=True, gc=False):
    """Write the record to the kept log before performing what follows."""

    record: Kept


class DropOrders(_Command, frozen=True, gc=False):
    """Withdraw every order of which no byte has left; each ends in `Unanswered`, unsent."""


class SetLatch(_Command, frozen=True, gc=False):
    """Halt on disk: from here on every start is one into a halt, until somebody resumes."""

    words: str


class SayHalted(_Command, frozen=True, gc=False):
    """Tell who asked for the halt that it is obeyed: no order leaves or can arrive any more, but
    the closing one of a flatten.
    """

    detail: str


class AskPolicy(_Command, frozen=True, gc=False):
    """Show the policy the view; ends in `PolicyDecided` or `PolicyFailed`."""

    decision: int
    view: View


class Log(_Command, frozen=True, gc=False):
    """One line for the log: an event name with key-values."""

    level: str
    event: str
    fields: dict[str, object]


class Stop(_Command, frozen=True, gc=False):
    """End the process with this reason; ``known`` False: the account could not be verified."""

    reason: str
    detail: str
    known: bool


Command: TypeAlias = (
    OpenStream
    | CloseStream
    | SendFrame
    | SendCall
    | SendOrder
    | DropOrders
    | Keep
    | SetLatch
    | SayHalted
    | AskPolicy
    | Log
    | Stop
)
