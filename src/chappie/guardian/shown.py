"""What the operator is shown: the trader's last state, grown older, and what the guardian knows.

Nothing stale is shown as live: ages grow while no beat comes, and a trader that is not there has
no synced stream.
"""

import msgspec

from chappie.live.state_dir import LastStop
from chappie.model.enums import Stream
from chappie.model.state import (
    AccountState,
    BookTop,
    BudgetState,
    DeadManState,
    DecisionState,
    FaultState,
    FillState,
    ForeignOrder,
    LagState,
    Mode,
    OrderState,
    PositionState,
    ReconcileState,
    State,
    StreamState,
)


class TraderState(msgspec.Struct):
    """The trader as a process. ``next_start_s`` is set while a restart waits for its back-off."""

    pid: int | None = None
    restarts: int = 0
    last_stop: LastStop | None = None
    beat_age_s: float | None = None
    next_start_s: float | None = None


class HaltState(msgspec.Struct, frozen=True):
    """A halt that stands: why, and since when (ISO 8601)."""

    reason: str
    since: str


class Shown(msgspec.Struct):
    """The body of `/api/state`."""

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
    trader: TraderState
    config_hash: str
    at: str | None = None
    faults: list[FaultState] = []
    book: BookTop = msgspec.field(default_factory=BookTop)
    decision: DecisionState | None = None
    account: AccountState = msgspec.field(default_factory=AccountState)
    policy: str = ""
    venue: str = ""
    symbol: str = ""
    would_be_orders: int = 0
    foreign_orders: list[ForeignOrder] = []
    halt: HaltState | None = None
    ended_orders: dict[str, int] = {}
    lag: LagState = msgspec.field(default_factory=LagState)
    fills: list[FillState] = []


class Setting(msgspec.Struct, frozen=True):
    """What is known before the first beat, from the configuration."""

    allow_trade: bool
    policy: str
    venue: str
    symbol: str
    config_hash: str


_NAMED_MAX = 3
READY = (Mode.LOCKED, Mode.REDUCING, Mode.OBSERVING, Mode.TRADING)


def merge(
    setting: Setting,
    state: State | None,
    since_beat_s: float,
    running: bool,
    trader: TraderState,
) -> Shown:
    """The one picture of a moment.

    ``running`` False: no trader process lives (or none is being started), so the mode is
    stopped whatever the last beat said. ``state`` None: this trader has not beaten yet.
    """
    if state is None:
        return _before_the_first_beat(setting, running, trader)
    stop = trader.last_stop
    return Shown(
        mode=state.mode if running else Mode.STOPPED,
        allow_trade=state.allow_trade,
        position_state=state.position_state,
        streams={
            name: StreamState(stream.synced and running, _older(stream.age_s, since_beat_s))
            for name, stream in state.streams.items()
        },
        rate_limit=state.rate_limit,
        orders=state.orders if running else _orders(state.orders, stop),
        position=state.position if running else _position(state.position, stop),
        known=state.known if running else (stop is not None and stop.known),
        last_reconcile=state.last_reconcile,
        dead_man=state.dead_man,
        trader=trader,
        config_hash=setting.config_hash,
        at=state.at,
        faults=[
            msgspec.structs.replace(fault, since_s=fault.since_s + since_beat_s)
            for fault in state.faults
        ],
        book=state.book,
        decision=state.decision,
        account=state.account,
        policy=state.policy,
        venue=state.venue,
        symbol=state.symbol,
        would_be_orders=state.would_be_orders,
        foreign_orders=state.foreign_orders,
        ended_orders=state.ended_orders,
        lag=state.lag,
        fills=state.fills,
    )


def ended(shown: Shown) -> Shown:
    """The same picture once its trader is gone: the account as the last stop tells it."""
    stop = shown.trader.last_stop
    return msgspec.structs.replace(
        shown,
        mode=Mode.STOPPED,
        orders=_orders(shown.orders, stop),
        position=_position(shown.position, stop),
        known=stop is not None and stop.known,
    )


def faults_in_words(shown: Shown) -> list[str]:
    """Each active fault once, with what it is about; empty for a trader that is down, whose
    last beat says nothing of now.
    """
    if shown.mode is Mode.STOPPED:
        return []
    subjects: dict[str, list[str]] = {}
    for fault in shown.faults:
        subjects.setdefault(fault.fault, []).extend([fault.subject] * bool(fault.subject))
    return [f"{fault} {_few(names)}" if names else fault for fault, names in subjects.items()]


def why_stopped(shown: Shown) -> str | None:
    """The reason of the stop that the trader is down for; None while it runs."""
    stop = shown.trader.last_stop
    return stop.reason if shown.mode is Mode.STOPPED and stop is not None else None


def not_ready(shown: Shown, beat_timeout_s: float) -> list[str]:
    """Why the trader is not ready, in words; empty when it is synced, reconciled, not faulted."""
    reasons: list[str] = []
    if shown.mode not in READY:
        reasons.append(f"mode is {shown.mode.value}")
    age_s = shown.trader.beat_age_s
    if age_s is None:
        reasons.append("the trader has not beaten yet")
    elif age_s > beat_timeout_s:
        reasons.append(f"no beat for {age_s:.1f} s")
    unsynced = [name for name, stream in shown.streams.items() if not stream.synced]
    if unsynced:
        reasons.append(f"not synced: {', '.join(unsynced)}")
    if shown.last_reconcile.clean is not True:
        reasons.append("no clean reconciliation")
    return reasons


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _orders(last: list[OrderState], stop: LastStop | None) -> list[OrderState]:
    """Of a trader that is down, what its verified stop says is newer than its last beat."""
    if stop is None or not stop.known:
        return last
    try:
        return msgspec.convert(stop.orders, list[OrderState])
    except msgspec.ValidationError:
        return last


def _position(last: PositionState, stop: LastStop | None) -> PositionState:
    if stop is None or not stop.known or stop.position == last.qty:
        return last
    # The entry price was that of another quantity.
    return PositionState(last.symbol, stop.position, None)


def _older(age_s: float | None, by_s: float) -> float | None:
    return None if age_s is None else round(age_s + by_s, 3)


def _before_the_first_beat(setting: Setting, running: bool, trader: TraderState) -> Shown:
    return Shown(
        mode=Mode.STARTING if running else Mode.STOPPED,
        allow_trade=setting.allow_trade,
        position_state=None,
        streams={stream.value: StreamState() for stream in Stream},
        rate_limit=BudgetState(),
        orders=[],
        position=PositionState(symbol=setting.symbol),
        known=False,
        last_reconcile=ReconcileState(),
        dead_man=DeadManState(),
        trader=trader,
        config_hash=setting.config_hash,
        policy=setting.policy,
        venue=setting.venue,
        symbol=setting.symbol,
    )
