"""The tables and diagrams of docs/orders.md, made by taking the steps that they show."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import TypeAlias

from chappie.core.blotter import Naming
from chappie.core.core import Core
from chappie.core.desk import Desk
from chappie.core.executor import Place, Terms, Withdraw, plan
from chappie.core.gate import Circumstances, Denial, examine
from chappie.core.orders import Order, cancelling, told
from chappie.core.position import TRANSITIONS, state_of
from chappie.core.recovery import recover
from chappie.core.requests import ForCancel
from chappie.model.commands import SendCall
from chappie.model.config import Config
from chappie.model.enums import InstrumentState, OrdStatus
from chappie.model.faults import Posture
from chappie.model.instrument import Instrument
from chappie.model.records import Ended, Intent, Kept
from chappie.model.reports import (
    InstrumentSeen,
    KeyRefused,
    NeverSent,
    NotAccepted,
    OrderAnswered,
    Outcome,
    Rejected,
    RequestExpired,
    Unknown,
)
from chappie.model.units import SECOND_NS, At, Contracts, Ticks
from chappie.venues.bitmex.dialect import BitmexDialect
from scripts.order_life import (
    CANCEL,
    NAME,
    QTY,
    Standing,
    Step,
    Word,
    every_step,
    first,
    row,
    standing,
)

Rows: TypeAlias = list[tuple[str, ...]]

_NOW = At(SECOND_NS, 1_764_000_000 * SECOND_NS)
_SOON = At(4 * SECOND_NS, 1_764_000_003 * SECOND_NS)
_INSTRUMENT = Instrument(
    symbol="XBTUSD",
    state=InstrumentState.OPEN,
    tick_size=Decimal("0.1"),
    lot_size=100,
    multiplier=-100_000_000,
    is_inverse=True,
    settl_currency="XBt",
    max_order_qty=10_000_000,
    max_price=Decimal(1_000_000),
    maker_fee=Decimal("0.0005"),
    taker_fee=Decimal("0.0005"),
)


@cache
def taken() -> tuple[Step, ...]:
    return tuple(every_step())


# --- what is believed


@cache
def beliefs() -> tuple[Sequence[str], Rows]:
    """Of every standing, what the functions make of each order that stands there."""
    there: dict[Standing, list[Order]] = {one: [] for one in Standing}
    # Every order that can be reached is once the beginning of steps, one after the other.
    last: Order | None = None
    for step in taken():
        if step.before is not last:
            last = step.before
            there[standing(last)].append(last)
    head = (
        "state",
        "what it means",
        "may still fill",
        "gate",
        "executor",
        "cancel",
        "after a crash",
    )
    rows = []
    for one in Standing:
        orders = there[one]
        asked: tuple[Callable[[Order], str], ...] = (_counts, _gate, _executor, _cancels, _restart)
        cells = ("; ".join(sorted({ask(order) for order in orders})) for ask in asked)
        rows.append((f"**{one.words}**", one.meaning, *cells))
    return head, rows


def _counts(order: Order) -> str:
    if not order.is_live:
        assert order.leaves_worst == 0
        return "nothing"
    if order.said is None:
        assert order.leaves_worst == QTY
        return "all that was asked for"
    assert order.leaves_worst == order.said.leaves_qty
    return "what the venue says is left"


def _gate(order: Order) -> str:
    """What the gate says to another order beside it."""
    verdict = examine(
        first().asked,
        Circumstances(
            instrument=_INSTRUMENT,
            posture=Posture.ACTIVE,
            locked=False,
            qty=0,
            live_buy=order.leaves_worst,
            live_sell=0,
            in_doubt=order.in_doubt,
            fills_missing=False,
            order_qty=QTY,
            max_position=10 * QTY,
            switch_holds=True,
            allow_trade=True,
            mark=first().asked.price,
            best_bid=first().asked.price,
            best_ask=first().asked.price,
            collar_ppm=50_000,
        ),
    )
    if isinstance(verdict, Denial):
        return f"denies, `{verdict.name.lower()}`"
    return "counts it" if order.is_live else "open"


def _executor(order: Order) -> str:
    """What is planned when the target is what we hold already."""
    if not order.is_live:
        return "may place the next"
    if order.orphan:
        return "does not see an orphan"
    step = plan(0, 0, [order], Ticks(1), Ticks(2), Terms("limit", QTY, 100), 0)
    assert not isinstance(step, Place), "one order works at a time"
    return "may withdraw it" if isinstance(step, Withdraw) else "waits for its request"


def _cancels(order: Order) -> str:
    if not order.is_live:
        return "–"
    return "may be sent" if Desk.free([order]) else "waits, but for a stop"


def _restart(order: Order) -> str:
    """What the next run makes of what is on disk by then."""
    kept: tuple[Kept, ...] = (Intent(_NOW.wall_ns, order.asked, 1),)
    if not order.is_live:
        status = None if order.said is None else order.said.ord_status
        kept = (*kept, Ended(_NOW.wall_ns, NAME, status, Contracts(0)))
    orders = recover(kept, _NOW, lambda at, wall_ns: at.now_ns).orders
    if not orders:
        return "over"
    (again,) = orders
    assert again.orphan
    return f"{standing(again).words}, as an orphan"


# --- what leads where


def words() -> tuple[Sequence[str], Rows]:
    return ("what happens", "what it is"), [(one.words, one.meaning) for one in Word]


def transitions() -> tuple[Sequence[str], Rows]:
    rows: Rows = []
    for (start, end), heard in _edges().items():
        rows.append((start.words, ", ".join(heard), end.words))
    return ("from", "what happens", "becomes"), rows


def diagram() -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {_id(Standing.SENT)}"]
    lines += [f"    {_id(one)} : {one.words}" for one in Standing]
    for (start, end), heard in _edges().items():
        lines.append(f"    {_id(start)} --> {_id(end)} : {', '.join(heard)}")
    return _mermaid(lines)


@cache
def _edges() -> dict[tuple[Standing, Standing], list[str]]:
    """The words that lead from one standing to another."""
    found: dict[tuple[Standing, Standing], dict[str, None]] = {}
    for step in taken():
        start, end = standing(step.before), standing(step.after)
        if start is not end:
            orphaned = step.after.orphan and not step.before.orphan
            dead = not step.before.is_live and step.after.is_live
            assert dead or not orphaned, "only what was taken for dead becomes an orphan"
            assert step.after.orphan or not dead, "what lives again is wanted by nobody"
            found.setdefault((start, end), {})[step.word.words] = None
    places = list(Standing)
    order = sorted(found, key=lambda edge: (places.index(edge[0]), places.index(edge[1])))
    return {edge: list(found[edge]) for edge in order}


# --- the position


def position_states() -> tuple[Sequence[str], Rows]:
    rows: Rows = []
    for qty in (0, 100):
        for increasing in (False, True):
            for reducing in (False, True):
                state = state_of(qty, increasing, reducing).value
                held = "nothing" if qty == 0 else "a position"
                rows.append((held, _yes(increasing), _yes(reducing), state))
    head = ("held", "an order at work that increases", "one that reduces", "state")
    return head, rows


def position_diagram() -> str:
    lines = ["stateDiagram-v2", "    [*] --> closed"]
    for start, ends in TRANSITIONS.items():
        lines += [f"    {start.value} --> {end.value}" for end in ends if end is not start]
    return _mermaid(lines)


# --- what an answer does to an order


_ANSWERS: tuple[tuple[str, Outcome], ...] = (
    ("accepted: a row that works", OrderAnswered((row(OrdStatus.NEW, 0, None),))),
    ("accepted: a row that is over", OrderAnswered((row(OrdStatus.CANCELED, 0, None),))),
    ("accepted: no row of this order", OrderAnswered(())),
    ("refused", Rejected(400, "")),
    ("not accepted", NotAccepted(503, None, "")),
    ("key refused, or banned", KeyRefused(401, "")),
    ("expired", RequestExpired(None, "")),
    ("never sent", NeverSent("")),
    ("unknown", Unknown(0, "")),
)


def answers(sources: dict[str, list[str]]) -> tuple[Sequence[str], Rows]:
    """Each kind of answer, taken by a real desk; ``sources`` says what it comes from."""
    rows: Rows = []
    for words, outcome in _ANSWERS:
        kind = type(outcome).__name__
        new, cancel = _after_new(outcome), _after_cancel(outcome)
        rows.append((words, f"`{kind}`", "; ".join(sources[kind]), new, cancel))
    head = (
        "outcome",
        "report",
        "comes from",
        "a new order is then",
        "an order being cancelled is then",
    )
    return head, rows


def _after_new(outcome: Outcome) -> str:
    core = _core(first())
    core.desk.new_settled(_NOW, NAME, outcome)
    return _and_next(core)


def _after_cancel(outcome: Outcome) -> str:
    working = told(first(), row(OrdStatus.NEW, 0, None), 1)
    core = _core(cancelling(working, CANCEL))
    core.desk.cancel_settled(_NOW, ForCancel((NAME,)), outcome)
    return _and_next(core)


def _core(order: Order) -> Core:
    """A core that knows its instrument, with one order."""
    core = Core(Config(), BitmexDialect("XBTUSD"))
    core.market.seen = InstrumentSeen(_INSTRUMENT, None, None, None, None)
    core.desk.account.naming = Naming("test", 1)
    core.desk.account.put(order, 1)
    return core


def _and_next(core: Core) -> str:
    """Where the order stands, and what the desk sends about it within the next seconds."""
    core.desk.repair(_SOON, True)
    order = core.desk.account.blotter.get(NAME)
    assert order is not None
    sent = [one.call.method for one in core.outbox.take() if isinstance(one, SendCall)]
    asks = "; asked for by its name" if "GET" in sent else ""
    again = "; cancelled again" if "DELETE" in sent else ""
    return f"**{standing(order).words}**{asks}{again}"


def _id(one: Standing) -> str:
    return one.name.lower()


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _mermaid(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in ("```mermaid", *lines, "```"))
