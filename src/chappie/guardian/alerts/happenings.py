"""What is worth an alert, and what an alert is.

What the guardian logs is what it alerts people of: `HEARD` names the log events, and a happening's
fields are fields of that event's line. So whoever has something new to tell logs it, as ever,

    outlet.event("error", "leftovers", ours=1, cancelled=1, verified=False, detail="…")

and adds a row to `HEARD`, a happening here and its words to `words`. What has no log line
is told with `alerts.happened(Halted("…"), guardian.look())`. Neither waits, neither fails. What is
seen by looking at the trader's state is in `noticed`, how often is said in `flow`,
and who is told in `herald`.
"""

from enum import Enum

import msgspec

from chappie.guardian.shown import Shown


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

    reason: str
    detail: str
    known: bool


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
    """The kill switch is latched, or was asked for. ``flatten`` None: not known."""

    reason: str
    flatten: bool | None = None


class HaltDone(msgspec.Struct, frozen=True):
    """What holds after a halt; ``missing`` says in words what does not. ``flattened`` None: it was
    not asked for.
    """

    missing: tuple[str, ...] = ()
    flattened: bool | None = None


class Resumed(msgspec.Struct, frozen=True):
    """A person lets it go on. ``halt`` is the one that is lifted, None where none was latched;
    ``was`` is the reason that it stayed down for.
    """

    reason: str
    halt: str | None = None
    was: str | None = None


class Leftovers(msgspec.Struct, frozen=True):
    """The guardian looked for orders of ours that nobody holds any more.

    ``ours`` still work as last read (None: not known), ``cancelled`` are gone by its hand.
    ``verified``: reads after that show none; ``detail`` says what stood in the way.
    """

    ours: int | None
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
    | HaltDone
    | Resumed
    | Leftovers
    | ForeignOrders
    | RenewalMissed
    | FaultActive
    | DiskFailed
    | VenueDied
)

HEARD: dict[str, type[Happening]] = {
    "guardian_started": Started,
    "trader_stopped": TraderStopped,
    "trader_stalled": TraderStalled,
    "trader_not_started": TraderNotStarted,
    "staying_down": StayingDown,
    "halt_asked": Halted,
    "halt_stands": Halted,
    "halt_done": HaltDone,
    "resumed": Resumed,
    "leftovers": Leftovers,
    "last_stop_not_written": DiskFailed,
    "run_file_not_written": DiskFailed,
    "halt_not_latched": DiskFailed,
    "venue_died": VenueDied,
}
"""Which log events of the guardian are happenings."""
