"""The operator's picture of the core at one moment (`/api/state` of the contract)."""

from typing import Protocol

from chappie.core.budget import Budget
from chappie.core.desk import Desk
from chappie.core.faults import ActiveFaults, StopDue
from chappie.core.market import Market
from chappie.core.orders import Order
from chappie.core.reconcile import Reconciler
from chappie.core.skew import Skew
from chappie.core.streams import Streams
from chappie.core.trading import Decision, Trading
from chappie.model.config import Config
from chappie.model.enums import Side, Stream
from chappie.model.faults import FAULTS, Fault, Posture
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
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, At

_TOP_LEVELS = 10
_FOREIGN_SHOWN = 20
# Faults of a start that is still going well: the mode is starting, not faulted.
_OF_START = frozenset(
    {
        Fault.STREAM_DOWN,
        Fault.STREAM_UNSYNCED,
        Fault.INSTRUMENT_UNKNOWN,
        Fault.UNRECONCILED,
        Fault.MARKET_STALE,
    }
)

_HALTING = frozenset({Fault.HALT_LATCHED, Fault.LIQUIDATED, Fault.LIMIT_HALTED})


class Parts(Protocol):
    """The parts of a core that are shown."""

    config: Config
    faults: ActiveFaults
    budget: Budget
    market: Market
    desk: Desk
    reconciler: Reconciler
    streams: Streams
    skew: Skew
    trading: Trading

    @property
    def stopping(self) -> StopDue | None: ...


def describe(core: Parts, at: At) -> State:
    """Everything the operator may see; None where it is not known."""
    account, market = core.desk.account, core.market
    reconciled = core.reconciler.ever_clean
    return State(
        mode=_mode(core, at),
        allow_trade=core.config.bot.allow_trade,
        position_state=account.machine.state.value if account.machine.state else None,
        streams={stream.value: _stream(core, stream, at) for stream in Stream},
        rate_limit=BudgetState(
            limit=core.budget.limit if core.budget.was_heard else None,
            remaining=core.budget.remaining(at.now_ns) if core.budget.was_heard else None,
            locked=core.budget.is_locked(at.now_ns),
        ),
        orders=[_order(core, order) for order in account.blotter.live()],
        position=PositionState(
            symbol=core.config.venue.symbol,
            qty=account.expected_qty if reconciled else None,
            avg_entry_px=(
                account.ledger.average_entry(market.instrument)
                if reconciled and market.instrument is not None
                else None
            ),
        ),
        known=bool(core.reconciler.last_was_clean) and not account.in_doubt,
        last_reconcile=ReconcileState(
            at=_iso(core.reconciler.last_wall_ns),
            clean=core.reconciler.last_was_clean,
            rounds_clean=core.reconciler.rounds_clean,
            rounds_unclean=core.reconciler.rounds_unclean,
        ),
        dead_man=DeadManState(
            armed_until=_iso(core.desk.arming.switch.fires_wall_ns),
            missed_since=_iso(core.desk.arming.switch.missed_wall_ns),
        ),
        at=ns_iso(at.wall_ns),
        faults=[
            FaultState(
                fault=active.fault.value,
                subject=active.subject,
                since_s=round((at.now_ns - active.since_ns) / SECOND_NS, 3),
                detail=active.detail,
                clears=FAULTS[active.fault].clears,
            )
            for active in core.faults.all()
        ],
        book=BookTop(
            bids=market.levels(Side.BUY, _TOP_LEVELS), asks=market.levels(Side.SELL, _TOP_LEVELS)
        ),
        decision=_decision(core.trading.decision),
        account=_account(core),
        policy=core.config.bot.policy,
        venue=core.config.venue.kind,
        symbol=core.config.venue.symbol,
        would_be_orders=core.trading.would_be_orders,
        foreign_orders=[
            ForeignOrder(order_id, cl_ord_id)
            for order_id, cl_ord_id in list(account.foreign.items())[-_FOREIGN_SHOWN:]
        ],
        ended_orders={fate.value: count for fate, count in account.blotter.ended.items()},
        lag=LagState(
            quote_s=_seconds(core.streams.lag.newest_ns),
            clock_offset_s=_seconds(core.skew.offset_ns),
        ),
        fills=[
            FillState(
                at=_iso(fill.venue_ns or None),
                side=fill.side.value,
                qty=fill.qty,
                price=market.price(fill.price),
            )
            for fill in account.ledger.newest
        ],
    )


def _mode(core: Parts, at: At) -> Mode:
    """The first of the contract's list that applies."""
    # A low budget has a mode of its own.
    active = [one.fault for one in core.faults.all() if one.fault is not Fault.BUDGET_LOW]
    posture = max((FAULTS[fault].posture for fault in active), default=Posture.ACTIVE)
    if not _HALTING.isdisjoint(active):
        return Mode.HALTED
    if core.stopping is not None:
        return Mode.FAULTED
    if posture >= Posture.CANCEL_ONLY:
        starting = not core.reconciler.ever_clean or core.trading.asked == 0
        return Mode.STARTING if starting and _OF_START.issuperset(active) else Mode.FAULTED
    if not core.reconciler.ever_clean:
        return Mode.STARTING
    if core.budget.is_locked(at.now_ns):
        return Mode.LOCKED
    if posture is Posture.REDUCE_ONLY:
        return Mode.REDUCING
    return Mode.TRADING if core.config.bot.allow_trade else Mode.OBSERVING


def _stream(core: Parts, stream: Stream, at: At) -> StreamState:
    age_ns = core.streams.feed.age_ns(stream, at.now_ns)
    return StreamState(
        synced=core.streams.feed.synced(stream),
        age_s=_seconds(age_ns),
    )


def _order(core: Parts, order: Order) -> OrderState:
    said = order.said
    return OrderState(
        cl_ord_id=order.asked.cl_ord_id,
        order_id=None if said is None else said.order_id,
        side=order.asked.side.value,
        ord_status=order.status,
        price=core.market.price(order.asked.price),
        order_qty=order.asked.qty,
        cum_qty=order.cum_qty,
        leaves_qty=order.leaves_worst,
    )


def _decision(decision: Decision | None) -> DecisionState | None:
    if decision is None:
        return None
    return DecisionState(
        number=decision.number,
        at=ns_iso(decision.wall_ns),
        target=decision.target,
        note=decision.note,
        order=decision.outcome,
    )


def _account(core: Parts) -> AccountState:
    account = core.desk.account
    instrument = core.market.instrument
    margin, said, ledger = account.margin, account.said, account.ledger
    return AccountState(
        currency=None if instrument is None else instrument.settl_currency,
        wallet=None if margin is None else margin.wallet,
        margin=None if margin is None else margin.margin,
        available=None if margin is None else margin.available,
        unrealised=None if said is None else said.unrealised,
        realised=ledger.realised,
        fees=ledger.fees,
        fills=ledger.fills,
    )


def _seconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else round(duration_ns / SECOND_NS, 3)


def _iso(wall_ns: int | None) -> str | None:
    return None if wall_ns is None else ns_iso(wall_ns)
