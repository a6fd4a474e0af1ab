"""What a scrape reads from the picture of the moment: one row per metric, with how to read it.

What is not known is absent, never a zero; what a trader that is down said last is no reading of
now, so most rows are absent while it is down. Only its counters stand still.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum

import msgspec

from chappie import __version__
from chappie.guardian.shown import Shown, not_ready
from chappie.model.enums import OrdStatus, Stream
from chappie.model.faults import FAULTS, Fault, Posture
from chappie.model.state import Mode
from chappie.model.timestamps import iso_ns
from chappie.model.units import SECOND_NS

Reading = tuple[tuple[str, ...], float]
"""The values of the labels, and the value."""
UNKNOWN = "Unknown"
OTHER = "other"
_STATUSES = (*(one.value for one in OrdStatus if not one.is_terminal), UNKNOWN, OTHER)
_LABEL_MAX = 100


class Kind(Enum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True):
    """``name`` as it is scraped; ``unit`` for people; every label has a bounded set of values."""

    name: str
    kind: Kind
    help: str
    unit: str
    labels: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """A metric and how to read it; ``beat_timeout_s`` is what readiness is judged by."""

    metric: Metric
    read: Callable[[Shown, float], Iterable[Reading]]


def _gauge(
    name: str,
    help_: str,
    unit: str,
    read: Callable[[Shown], float | None],
    *,
    of_now: bool = True,
) -> Row:
    """A plain value. ``of_now``: absent while the trader is down or has not beaten yet."""

    def readings(shown: Shown, beat_timeout_s: float) -> Iterator[Reading]:
        value = read(shown) if _speaks(shown) or not of_now else None
        if value is not None:
            yield (), float(value)

    return Row(Metric(name, Kind.GAUGE, help_, unit), readings)


def _gauges(
    name: str,
    help_: str,
    unit: str,
    label: str,
    read: Callable[[Shown], Iterable[tuple[str, float | None]]],
    *,
    of_now: bool = True,
) -> Row:
    """One value per value of the label; None is absent."""

    def readings(shown: Shown, beat_timeout_s: float) -> Iterator[Reading]:
        if _speaks(shown) or not of_now:
            for of, value in read(shown):
                if value is not None:
                    yield (of,), float(value)

    return Row(Metric(name, Kind.GAUGE, help_, unit, (label,)), readings)


def _counter(name: str, help_: str, unit: str, read: Callable[[Shown], float | None]) -> Row:
    """What a trader counted: it stands still while that trader is down."""

    def readings(shown: Shown, beat_timeout_s: float) -> Iterator[Reading]:
        value = read(shown) if shown.at is not None else None
        if value is not None:
            yield (), float(value)

    return Row(Metric(name, Kind.COUNTER, help_, unit), readings)


def _restarts(shown: Shown, beat_timeout_s: float) -> Iterator[Reading]:
    yield (), float(shown.trader.restarts)


def _counters(
    name: str,
    help_: str,
    unit: str,
    label: str,
    read: Callable[[Shown], Iterable[tuple[str, float | None]]],
) -> Row:
    def readings(shown: Shown, beat_timeout_s: float) -> Iterator[Reading]:
        if shown.at is not None:
            for of, value in read(shown):
                if value is not None:
                    yield (of,), float(value)

    return Row(Metric(name, Kind.COUNTER, help_, unit, (label,)), readings)


def _money(name: str, help_: str, read: Callable[[Shown], int | None]) -> Row:
    return _gauge(
        f"chappie_{name}_minor_units",
        f"{help_}, in the settlement currency's minor unit.",
        "minor units of the settlement currency",
        read,
    )


def _speaks(shown: Shown) -> bool:
    """Whether what a trader says is of now."""
    return shown.at is not None and shown.mode is not Mode.STOPPED


def _info(shown: Shown, beat_timeout_s: float) -> Iterator[Reading]:
    values = (__version__, shown.venue, shown.symbol, shown.policy, shown.config_hash)
    yield tuple(value[:_LABEL_MAX] for value in values), 1.0


def _ready(shown: Shown, beat_timeout_s: float) -> Iterator[Reading]:
    yield (), float(not not_ready(shown, beat_timeout_s))


def posture(shown: Shown) -> Posture:
    """What the active faults demand together."""
    rows = [FAULTS[Fault(fault.fault)] for fault in shown.faults if fault.fault in _FAULTS]
    return max((row.posture for row in rows), default=Posture.ACTIVE)


_FAULTS = tuple(fault.value for fault in Fault)


def _postures(shown: Shown) -> Iterator[tuple[str, float]]:
    now = posture(shown)
    for one in Posture:
        yield one.name.lower(), float(one is now)


def _active(shown: Shown) -> Iterator[tuple[str, float]]:
    for name in _FAULTS:
        yield name, float(sum(fault.fault == name for fault in shown.faults))


def _oldest(shown: Shown) -> Iterator[tuple[str, float | None]]:
    for name in _FAULTS:
        yield name, max((one.since_s for one in shown.faults if one.fault == name), default=None)


def _live_orders(shown: Shown) -> Iterator[tuple[str, float]]:
    statuses = [
        order.ord_status if order.ord_status in _STATUSES else OTHER for order in shown.orders
    ]
    for status in _STATUSES:
        yield status, float(statuses.count(status))


def _oldest_unknown_s(shown: Shown) -> float | None:
    name = Fault.ORDER_IN_DOUBT.value
    return max((one.since_s for one in shown.faults if one.fault == name), default=None)


def _best(shown: Shown) -> Iterator[tuple[str, float | None]]:
    for side, levels in (("bid", shown.book.bids), ("ask", shown.book.asks)):
        yield side, levels[0][0] if levels else None


def _since(shown: Shown, iso: str | None) -> float | None:
    """Seconds from a moment to this picture, negative for one that is still to come."""
    then_ns = None if iso is None else iso_ns(iso)
    now_ns = None if shown.at is None else iso_ns(shown.at)
    if then_ns is None or now_ns is None:
        return None
    return (now_ns - then_ns) / SECOND_NS + (shown.trader.beat_age_s or 0.0)


def _armed_for_s(shown: Shown) -> float | None:
    since_s = _since(shown, shown.dead_man.armed_until)
    return None if since_s is None else max(0.0, -since_s)


def _truth(value: bool | None) -> float | None:
    return None if value is None else float(value)


ROWS: tuple[Row, ...] = (
    Row(
        Metric(
            "chappie_info",
            Kind.GAUGE,
            "Always 1; the labels say what runs.",
            "none",
            ("version", "venue", "symbol", "policy", "config_hash"),
        ),
        _info,
    ),
    _gauges(
        "chappie_mode",
        "1 for the mode that the bot is in, 0 for the others.",
        "0 or 1",
        "mode",
        lambda shown: [(mode.value, float(mode is shown.mode)) for mode in Mode],
        of_now=False,
    ),
    _gauges(
        "chappie_posture",
        "1 for the posture that the active faults demand, 0 for the others.",
        "0 or 1",
        "posture",
        _postures,
    ),
    Row(
        Metric("chappie_ready", Kind.GAUGE, "Whether /readyz answers 200.", "0 or 1"),
        _ready,
    ),
    _gauge(
        "chappie_trade_allowed",
        "Whether bot.allow_trade is on.",
        "0 or 1",
        lambda shown: float(shown.allow_trade),
        of_now=False,
    ),
    _gauge(
        "chappie_halt_latched",
        "Whether a halt stands, until a resume.",
        "0 or 1",
        lambda shown: float(shown.halt is not None),
        of_now=False,
    ),
    _gauge(
        "chappie_trader_up",
        "Whether a trader process lives.",
        "0 or 1",
        lambda shown: float(shown.trader.pid is not None),
        of_now=False,
    ),
    _gauge(
        "chappie_trader_beat_age_seconds",
        "Since the trader's last beat; it goes on growing while the trader is down.",
        "seconds",
        lambda shown: shown.trader.beat_age_s,
        of_now=False,
    ),
    _gauge(
        "chappie_trader_next_start_seconds",
        "Until the trader is started again; absent while no restart waits.",
        "seconds",
        lambda shown: shown.trader.next_start_s,
        of_now=False,
    ),
    Row(
        Metric(
            "chappie_trader_restarts_total",
            Kind.COUNTER,
            "Restarts of the trader by this guardian.",
            "restarts",
        ),
        _restarts,
    ),
    _gauges(
        "chappie_stream_synced",
        "Whether the stream has an image and consistent increments.",
        "0 or 1",
        "stream",
        lambda shown: [
            (stream.value, _truth(shown.streams[stream.value].synced))
            for stream in Stream
            if stream.value in shown.streams
        ],
        of_now=False,
    ),
    _gauges(
        "chappie_stream_age_seconds",
        "Since the stream's last increment; it goes on growing while the trader is down.",
        "seconds",
        "stream",
        lambda shown: [
            (stream.value, shown.streams[stream.value].age_s)
            for stream in Stream
            if stream.value in shown.streams
        ],
        of_now=False,
    ),
    _gauge(
        "chappie_quote_lag_seconds",
        "How old the newest quote was when it was handled, by the venue's stamp.",
        "seconds",
        lambda shown: shown.lag.quote_s,
    ),
    _gauge(
        "chappie_clock_offset_seconds",
        "The venue's clock minus ours.",
        "seconds",
        lambda shown: shown.lag.clock_offset_s,
    ),
    _gauge(
        "chappie_budget_limit_requests",
        "The venue's request budget.",
        "requests",
        lambda shown: shown.rate_limit.limit,
    ),
    _gauge(
        "chappie_budget_remaining_requests",
        "What is left of the venue's request budget.",
        "requests",
        lambda shown: shown.rate_limit.remaining,
    ),
    _gauge(
        "chappie_budget_locked",
        "Whether the budget allows no new order.",
        "0 or 1",
        lambda shown: float(shown.rate_limit.locked),
    ),
    _gauges(
        "chappie_orders_live",
        "Orders of ours that work or may work, by ordStatus; Unknown: no answer proves their fate.",
        "orders",
        "status",
        _live_orders,
    ),
    _gauge(
        "chappie_orders_unknown_oldest_age_seconds",
        "Since the oldest request without a known outcome was sent; absent when there is none.",
        "seconds",
        _oldest_unknown_s,
    ),
    _counters(
        "chappie_orders_ended_total",
        "Orders that ended, by fate, in this run of the trader.",
        "orders",
        "fate",
        lambda shown: list(shown.ended_orders.items()),
    ),
    _counter(
        "chappie_orders_would_be_total",
        "Orders that were ready and held back by bot.allow_trade, in this run of the trader.",
        "orders",
        lambda shown: shown.would_be_orders,
    ),
    _gauge(
        "chappie_orders_foreign",
        "Orders on the account that are not ours, of the newest twenty.",
        "orders",
        lambda shown: len(shown.foreign_orders),
    ),
    _counter(
        "chappie_decisions_total",
        "Answers of the policy in this run of the trader.",
        "decisions",
        lambda shown: None if shown.decision is None else shown.decision.number,
    ),
    _gauge(
        "chappie_decision_target_contracts",
        "The position that the policy wanted last, long positive.",
        "contracts",
        lambda shown: None if shown.decision is None else shown.decision.target,
    ),
    _gauge(
        "chappie_position_contracts",
        "The position by the ledger, long positive.",
        "contracts",
        lambda shown: shown.position.qty,
    ),
    _gauge(
        "chappie_position_entry_price",
        "The average entry price of the position.",
        "quote currency",
        lambda shown: shown.position.avg_entry_px,
    ),
    _gauge(
        "chappie_account_known",
        "Whether the last reconciliation was clean and no order is in doubt; "
        "while the trader is down, whether its stop was verified.",
        "0 or 1",
        lambda shown: float(shown.known),
        of_now=False,
    ),
    _gauges("chappie_best_price", "The best price of a side.", "quote currency", "side", _best),
    _gauge(
        "chappie_reconcile_clean",
        "Whether the last whole reconciliation was clean.",
        "0 or 1",
        lambda shown: _truth(shown.last_reconcile.clean),
    ),
    _gauge(
        "chappie_reconcile_age_seconds",
        "Since the last whole reconciliation.",
        "seconds",
        lambda shown: _since(shown, shown.last_reconcile.at),
    ),
    _counters(
        "chappie_reconcile_rounds_total",
        "Whole reconciliations of this run of the trader, by result.",
        "rounds",
        "result",
        lambda shown: [
            ("clean", shown.last_reconcile.rounds_clean),
            ("unclean", shown.last_reconcile.rounds_unclean),
        ],
    ),
    _gauges(
        "chappie_faults_active",
        "How many subjects (streams, orders) a fault is active about.",
        "subjects",
        "fault",
        _active,
    ),
    _gauges(
        "chappie_fault_age_seconds",
        "Since an active fault began; absent for those that are not.",
        "seconds",
        "fault",
        _oldest,
    ),
    _gauge(
        "chappie_dead_man_armed",
        "Whether the venue's dead man's switch is armed.",
        "0 or 1",
        lambda shown: float(shown.dead_man.armed_until is not None),
    ),
    _gauge(
        "chappie_dead_man_left_seconds",
        "Until the dead man's switch fires unless it is renewed; absent while it is not armed.",
        "seconds",
        _armed_for_s,
    ),
    _gauge(
        "chappie_dead_man_renewal_missed",
        "Whether a renewal of the dead man's switch is overdue.",
        "0 or 1",
        lambda shown: float(shown.dead_man.missed_since is not None),
    ),
    _money("wallet", "The wallet balance", lambda shown: shown.account.wallet),
    _money("margin", "The margin balance", lambda shown: shown.account.margin),
    _money("available", "The margin available", lambda shown: shown.account.available),
    _money("unrealised", "The unrealised result", lambda shown: shown.account.unrealised),
    _money("realised", "The realised result by the ledger", lambda shown: shown.account.realised),
    _money("fees", "The fees paid by the ledger", lambda shown: shown.account.fees),
    _counter(
        "chappie_fills_total",
        "Fills in the ledger, of all runs of this state folder.",
        "fills",
        lambda shown: shown.account.fills,
    ),
)
