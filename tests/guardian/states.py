"""States of a trader as tests need them."""

import msgspec

from chappie.model.enums import Stream
from chappie.model.state import (
    AccountState,
    BookTop,
    BudgetState,
    DeadManState,
    DecisionState,
    FaultState,
    Mode,
    OrderState,
    PositionState,
    ReconcileState,
    State,
    StreamState,
)


def healthy(number: int = 1) -> State:
    """Observing, everything synced and reconciled, one decision made."""
    return State(
        mode=Mode.OBSERVING,
        allow_trade=False,
        position_state="closed",
        streams={stream.value: StreamState(True, 0.5) for stream in Stream},
        rate_limit=BudgetState(120, 118),
        orders=[],
        position=PositionState("XBTUSD", 0, None),
        known=True,
        last_reconcile=ReconcileState("2026-01-01T00:00:00.000Z", True),
        dead_man=DeadManState(None),
        at="2026-01-01T00:00:01.000Z",
        faults=[],
        book=BookTop(
            bids=[(50_000.0 - level / 2, 1_000 * (level + 1)) for level in range(10)],
            asks=[(50_000.5 + level / 2, 900 * (level + 1)) for level in range(10)],
        ),
        decision=DecisionState(
            number, "2026-01-01T00:00:01.000Z", 100, "cycle", "Buy 100 @ 50000.0 post-only"
        ),
        account=AccountState("XBt", 100_000_000, 100_000_000, 99_000_000, 0, 0, 0, 0),
        policy="cycle",
        venue="simulated",
        symbol="XBTUSD",
        would_be_orders=number,
    )


def faulted() -> State:
    """An order works, the book is unsynced, the budget is low."""
    return msgspec.structs.replace(
        healthy(),
        mode=Mode.FAULTED,
        streams={stream.value: StreamState(stream is not Stream.BOOK, 0.5) for stream in Stream},
        orders=[order(number) for number in range(9)],
        faults=[
            FaultState("stream_unsynced", "orderBook", 3.0, "unknown id 8799", "a new image"),
            FaultState("budget_low", "", 1.0, "", "more than 20 remain"),
        ],
    )


def order(number: int) -> OrderState:
    return OrderState(
        f"cb-chappie-7-{number}", f"order-{number}", "Buy", "New", 50_000.0, 100, 0, 100
    )
