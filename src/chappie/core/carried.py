"""The settled beginning of the kept log as one record: what a start needs of it, and no more.

Settled is what nothing can name again. So it holds no order that is in doubt or lacks fills, no
order in part, no execution so young that the venue may tell of it once more, and no connect, order
or end of the last hour, which still count: those keep their own records.
"""

from chappie.core.connection import BUDGET_NS
from chappie.core.recovery import recover
from chappie.model.config import HOUR_S
from chappie.model.records import (
    Carried,
    Connected,
    Ended,
    Fill,
    FundingPaid,
    Intent,
    Kept,
    Stopped,
)
from chappie.model.units import SECOND_NS, At, seconds_ns

# Fills are read again from a little before the last one on, and an image may show some hundred
# executions of any age: both bounds leave room.
_YOUNG_NS = 24 * 3600 * SECOND_NS
_NEWEST = 2_000

_BEGINNING = At(0, 0)


def settled(kept: tuple[Kept, ...], newest: int = _NEWEST) -> int:
    """How many records, from the first on, are settled; the ``newest`` never are."""
    count = max(0, len(kept) - newest)
    recovered = recover(kept, _BEGINNING, _no_fence)
    whole_ns = recovered.whole_until_ns
    connects = [record.wall_ns for record in kept if isinstance(record, Connected)]
    written = [record.wall_ns for record in kept if isinstance(record, Intent | Ended | Stopped)]
    limits_ns = max([*written, whole_ns or 0]) - seconds_ns(HOUR_S)
    counts_ns = max(connects, default=0) - BUDGET_NS
    for position, record in enumerate(kept[:count]):
        match record:
            case Intent() | Ended():
                is_young = record.wall_ns > limits_ns
            case Fill() | FundingPaid():
                is_young = whole_ns is not None and record.venue_ns >= whole_ns - _YOUNG_NS
            case Connected():
                is_young = record.wall_ns > counts_ns
            case _:
                continue
        if is_young:
            count = position
            break
    spans = _spans(kept)
    for order in recovered.orders:
        count = min(count, spans[order.asked.cl_ord_id][0])
    return _between_orders(count, list(spans.values()))


def carried(settled: tuple[Kept, ...], file: str) -> Carried:
    """Their sum; ``file`` is where they stand."""
    recovered = recover(settled, _BEGINNING, _no_fence)
    ledger = recovered.ledger
    return Carried(
        file=file,
        records=len(settled),
        qty=ledger.qty,
        cost=ledger.cost,
        realised=ledger.realised,
        fees=ledger.fees,
        funding=ledger.funding,
        fills=ledger.fills,
        last_fill_ns=ledger.last_fill_ns,
        opened=ledger.opened,
        entry_known=ledger.entry_known,
        from_ns=recovered.from_ns,
        waits=recovered.waits,
        loss_base=recovered.loss_base,
        held_since_ns=ledger.held_since_ns,
    )


def _spans(kept: tuple[Kept, ...]) -> dict[str, tuple[int, int]]:
    """By clOrdID, where the first and the last record of each order stand."""
    spans: dict[str, tuple[int, int]] = {}
    for position, record in enumerate(kept):
        match record:
            case Intent():
                name = record.order.cl_ord_id
            case Ended() | Fill():
                name = record.cl_ord_id
            case _:
                continue
        # What the venue does to a position by itself has no name, and is no order.
        if name:
            spans[name] = (spans.get(name, (position, 0))[0], position)
    return spans


def _between_orders(count: int, spans: list[tuple[int, int]]) -> int:
    """The place at or before ``count`` that no order stands across."""
    for first, last in sorted(spans, key=lambda span: span[1], reverse=True):
        if last < count:
            # Nor does any order that ended earlier.
            return count
        count = min(count, first)
    return count


def _no_fence(at: At, wall_ns: int) -> int:
    """No request is judged here, only whether there is one in doubt."""
    return at.now_ns
