"""What the operator is shown: `/api/state` of the contract. None until known, never a zero."""

from enum import Enum

import msgspec


class Mode(Enum):
    """In order of precedence: the first that applies is the mode."""

    STOPPED = "stopped"
    HALTED = "halted"
    FAULTED = "faulted"
    STARTING = "starting"
    LOCKED = "locked"
    REDUCING = "reducing"
    OBSERVING = "observing"
    TRADING = "trading"


class StreamState(msgspec.Struct):
    synced: bool = False
    age_s: float | None = None


class BudgetState(msgspec.Struct):
    limit: int | None = None
    remaining: int | None = None
    locked: bool = False


class OrderState(
    msgspec.Struct,
    rename={
        "cl_ord_id": "clOrdID",
        "order_id": "orderID",
        "ord_status": "ordStatus",
        "order_qty": "orderQty",
        "cum_qty": "cumQty",
        "leaves_qty": "leavesQty",
    },
):
    cl_ord_id: str
    order_id: str | None
    side: str
    ord_status: str
    price: float | None
    order_qty: int
    cum_qty: int
    leaves_qty: int


class PositionState(msgspec.Struct, rename={"avg_entry_px": "avgEntryPx"}):
    symbol: str
    qty: int | None = None
    avg_entry_px: float | None = None


class ReconcileState(msgspec.Struct):
    """``rounds_clean`` and ``rounds_unclean`` count the whole rounds of this run."""

    at: str | None = None
    clean: bool | None = None
    rounds_clean: int | None = None
    rounds_unclean: int | None = None


class DeadManState(msgspec.Struct):
    """``missed_since``: since when a renewal is overdue; None while it is refreshed in time."""

    armed_until: str | None = None
    missed_since: str | None = None


class ForeignOrder(msgspec.Struct, rename={"order_id": "orderID", "cl_ord_id": "clOrdID"}):
    """An order on the account that is not ours; ``cl_ord_id`` is empty where it has none."""

    order_id: str
    cl_ord_id: str


class FaultState(msgspec.Struct):
    fault: str
    subject: str
    since_s: float
    detail: str
    clears: str


class BookTop(msgspec.Struct):
    """Best levels, prices in quote currency, sizes in contracts; best first."""

    bids: list[tuple[float, int]] = []
    asks: list[tuple[float, int]] = []


class DecisionState(msgspec.Struct):
    """The last decision and what the executor made of it, would-be orders included."""

    number: int
    at: str
    target: int | None
    note: str
    order: str | None


class AccountState(msgspec.Struct):
    """Money in the settlement currency's minor unit."""

    currency: str | None = None
    wallet: int | None = None
    margin: int | None = None
    available: int | None = None
    unrealised: int | None = None
    realised: int | None = None
    fees: int | None = None
    fills: int = 0


class FillState(msgspec.Struct):
    """One fill; ``at`` is None where the venue stated no time."""

    at: str | None
    side: str
    qty: int
    price: float | None


class LagState(msgspec.Struct):
    """``quote_s``: how old the newest quote was when it was handled; ``clock_offset_s``: the
    venue's clock minus ours.
    """

    quote_s: float | None = None
    clock_offset_s: float | None = None


class State(msgspec.Struct):
    """The trader's half of `/api/state`; the guardian adds ``trader`` and serves it."""

    mode: Mode
    allow_trade: bool
    position_state: str | None
    streams: dict[str, StreamState]
    rate_limit: BudgetState
    orders: list[OrderState]
    position: PositionState
    known: bool
    last_reconcile: ReconcileState
    dead_man: DeadManState
    at: str
    faults: list[FaultState]
    book: BookTop
    decision: DecisionState | None
    account: AccountState
    policy: str
    venue: str
    symbol: str
    would_be_orders: int
    # The newest ones only: foreign orders are somebody else's to count.
    foreign_orders: list[ForeignOrder] = []
    # How many orders of this run ended how, by fate.
    ended_orders: dict[str, int] = {}
    lag: LagState = msgspec.field(default_factory=LagState)
    # The newest ones only, the newest last.
    fills: list[FillState] = []
