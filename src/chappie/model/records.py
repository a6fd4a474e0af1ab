"""What is kept for good: the facts that outlive every run and that a start is rebuilt from.

They stand in the journal's kept log, which is never dropped: intents before their request
leaves (control O2), their ends, fills once by execID (O10), adjustments, stops.
"""

from typing import TypeAlias

import msgspec

from chappie.model.enums import OrdStatus, Side
from chappie.model.orders import NewOrder
from chappie.model.units import Contracts, Minor, Ticks


class _Kept(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    pass


class Intent(_Kept, frozen=True, gc=False):
    """We are about to ask for this order; written before the request leaves."""

    wall_ns: int
    order: NewOrder
    decision: int


class Ended(_Kept, frozen=True, gc=False):
    """An order of ours is proven over: nothing more of it can fill.

    An `Intent` without one is in doubt at the next start. ``ord_status`` is None when it never
    came to be. A second one for the same order corrects the first; an `Intent` after it says that
    the order was found alive again.
    """

    wall_ns: int
    cl_ord_id: str
    ord_status: OrdStatus | None
    cum_qty: Contracts


# Kinds of `Fill` by which the venue takes a position away (protocol section 8).
LIQUIDATING = frozenset({"Liquidation", "Bankruptcy"})


class Fill(_Kept, frozen=True, gc=False):
    """One execution that changed the position, as the venue states it.

    ``cost`` is the venue's execCost (inverse: Buy negative), ``fee`` its execComm (paid
    positive), both in minor units. ``venue_ns`` is 0 where the venue states no time.
    """

    exec_id: str
    order_id: str
    cl_ord_id: str
    side: Side
    qty: Contracts
    price: Ticks
    cost: Minor
    fee: Minor
    venue_ns: int
    kind: str = "Trade"


class Opening(_Kept, frozen=True, gc=False):
    """The position that this ledger starts from: read twice at the venue, no fills of ours
    behind it. Written once, at the first start in a state folder.
    """

    wall_ns: int
    qty: Contracts
    cost: Minor


class Adjusted(_Kept, frozen=True, gc=False):
    """The operator accepted the venue's position where the ledger did not explain it.

    Written by `resume --accept-position`; executions from before it are not booked any more.
    ``cost`` is the entry cost, signed as in `Fill`, at whatever mark ``reason`` names. None: the
    entry is unknown, and so is the result of what is held, until the position is flat.
    """

    wall_ns: int
    qty: Contracts
    reason: str
    cost: Minor | None = None


class FundingPaid(_Kept, frozen=True, gc=False):
    """A funding payment: changes the wallet, never the position. Paid positive."""

    exec_id: str
    fee: Minor
    venue_ns: int


class Waits(_Kept, frozen=True, gc=False):
    """The venue told us at ``wall_ns`` to send nothing until a moment: a long retry-after, or a
    ban. It binds the next process too. The last one counts; one that is over when it is written
    says that somebody lifted what came before.
    """

    wall_ns: int
    until_wall_ns: int
    banned: bool


class LossBase(_Kept, frozen=True, gc=False):
    """What the loss limits are measured from (control L6), in minor units of the ledger's result.

    ``total`` and ``fees`` are of the beginning of the UTC ``day`` (days since 1970), ``peak`` is
    the highest total; ``reached`` names the limits that were reached and have not ended since.
    """

    wall_ns: int
    day: int
    total: Minor
    fees: Minor
    peak: Minor
    reached: tuple[str, ...] = ()


class Carried(_Kept, frozen=True, gc=False):
    """What the first ``records`` records of an earlier kept log, put aside as ``file``, add up to.

    Stands first in a log, in the place of records of which a start needs no more than their sum.
    ``from_ns`` is the wall time at which their ledger begins: an opening or an adjustment;
    ``waits`` and ``loss_base`` are the last ones.
    """

    file: str
    records: int
    qty: Contracts
    cost: Minor
    realised: Minor
    fees: Minor
    funding: Minor
    fills: int
    last_fill_ns: int
    opened: bool
    entry_known: bool
    from_ns: int
    waits: Waits | None = None
    loss_base: LossBase | None = None
    held_since_ns: int = 0


class Connected(_Kept, frozen=True, gc=False):
    """A websocket upgrade reached the venue, whatever it answered: it counts these by the hour
    (control F8), and knows nothing of our restarts.
    """

    wall_ns: int


class Stopped(_Kept, frozen=True, gc=False):
    wall_ns: int
    reason: str
    detail: str


Kept: TypeAlias = (
    Intent
    | Ended
    | Fill
    | Opening
    | Adjusted
    | FundingPaid
    | Carried
    | Connected
    | Stopped
    | Waits
    | LossBase
)
