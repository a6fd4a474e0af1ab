"""What is worth an alert, and what an alert is.

Whoever finds one of these out tells it in one line, from any place on the guardian's loop:

    alerts.happened(Halted("operator", flatten=True), guardian.look())
    alerts.happened(Resumed("feed is back"), guardian.look())
    alerts.happened(Leftovers(found=2, cancelled=2, verified=True), guardian.look())

That never waits and never fails. The words are in `alerts_words`, what is seen by looking at the
trader's state in `alerts_noticed`, how often is said in `alerts_flow`, and who is told in `herald`.
"""

from enum import Enum

import msgspec

from chappie.guardian.shown import Shown
from chappie.live.state_dir import LastStop


class Severity(Enum):
    """How much of a person's sleep it is worth."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(msgspec.Struct, frozen=True):
    """One message. ``key`` says which alerts are the same (empty: none is); ``forgets`` are keys
    whose matter is over by this one, so that the next of them is news again.
    """

    key: str
    severity: Severity
    title: str
    body: str
    forgets: tuple[str, ...] = ()


class About(msgspec.Struct, frozen=True):
    """Whose alert it is, when it was made, and what is known of the account at that time."""

    bot: str
    symbol: str
    venue: str
    at: str
    shown: Shown


class Started(msgspec.Struct, frozen=True):
    """The guardian runs, and alerts reach people."""


class Alive(msgspec.Struct, frozen=True):
    """Nothing happened, and that is known. ``mute`` are the channels that took nothing lately."""

    mute: tuple[str, ...] = ()


class GuardianEnds(msgspec.Struct, frozen=True):
    """Nobody watches from now on. ``in_order``: it was asked to end."""

    why: str
    in_order: bool


class TraderStopped(msgspec.Struct, frozen=True):
    """The trader ended, by itself or not."""

    stop: LastStop


class TraderStalled(msgspec.Struct, frozen=True):
    """Its loop no longer turned; it was killed for that."""

    silent_s: float


class TraderNotStarted(msgspec.Struct, frozen=True):
    detail: str


class StayingDown(msgspec.Struct, frozen=True):
    """It is not started again. ``reason`` is the stop's or the guardian's own."""

    reason: str
    detail: str


class RunsAgain(msgspec.Struct, frozen=True):
    """After a stop: started, synced and reconciled."""


class Halted(msgspec.Struct, frozen=True):
    """The kill switch is latched. ``flatten`` None: not known."""

    reason: str
    flatten: bool | None = None


class Resumed(msgspec.Struct, frozen=True):
    reason: str


class Leftovers(msgspec.Struct, frozen=True):
    """Orders of ours that nobody held any more, found at the venue by the guardian.

    ``verified``: a read after the cancels shows none; ``detail`` says what stood in the way.
    """

    found: int
    cancelled: int
    verified: bool
    detail: str = ""


class ForeignOrders(msgspec.Struct, frozen=True):
    """Orders without our prefix on the account."""

    order_ids: tuple[str, ...]


class RenewalMissed(msgspec.Struct, frozen=True):
    """The dead man's switch was not renewed in time."""

    since: str


class FaultActive(msgspec.Struct, frozen=True):
    """A fault has kept the bot from trading for a while, or is one that never should be."""

    fault: str
    subject: str
    detail: str
    clears: str
    since_s: float


class DiskFailed(msgspec.Struct, frozen=True):
    """The guardian could not write what it has to keep."""

    detail: str


class VenueDied(msgspec.Struct, frozen=True):
    """The embedded venue ended by itself."""


Happening = (
    Started
    | Alive
    | GuardianEnds
    | TraderStopped
    | TraderStalled
    | TraderNotStarted
    | StayingDown
    | RunsAgain
    | Halted
    | Resumed
    | Leftovers
    | ForeignOrders
    | RenewalMissed
    | FaultActive
    | DiskFailed
    | VenueDied
)
