"""How often orders were sent and filled: what the limits on behaviour are held against (L5).

It counts the records that are kept for good, those of earlier runs as well, so that a restart
resets no count.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from chappie.core.gate import Counts
from chappie.model.config import LimitsConfig
from chappie.model.enums import Side
from chappie.model.faults import StopReason
from chappie.model.records import LIQUIDATING, Fill, Intent, Kept, Stopped
from chappie.model.units import SECOND_NS, At, seconds_ns

MINUTE_NS = 60 * SECOND_NS
# Orders whose executions may still come; by far more than can be open.
_REMEMBERED = 2_000


class Sent(msgspec.Struct, frozen=True, gc=False):
    """An order of ours at the moment that counts: its sending, or its first execution."""

    cl_ord_id: str
    at_ns: int


class OrderCounts:
    """Orders within the last minute, for a decision, and filled in a row."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._repeated_ns = seconds_ns(config.repeated_within_s)
        self._sent: deque[Sent] = deque()
        # Of orders, the newest last: whether they reduce.
        self._reduces: dict[str, bool] = {}
        self._decision = (0, 0)
        # Orders that added exposure on one side and were filled, nothing else in between.
        self._row: deque[Sent] = deque()
        self._side: Side | None = None

    def restore(self, at: At, kept: Iterable[Kept]) -> None:
        """What earlier runs did within the times that count."""
        for record in kept:
            match record:
                case Intent():
                    self._asked(record, at.now_ns - max(0, at.wall_ns - record.wall_ns))
                case Fill():
                    age_ns = max(0, at.wall_ns - record.venue_ns) if record.venue_ns else 0
                    self._filled(record, at.now_ns - age_ns)
                case Stopped() if record.reason == StopReason.HALTED.word:
                    # Only a human's `resume` leads on from there.
                    self._row.clear()
                case _:
                    pass
        self._decision = (0, 0)

    def note(self, at: At, record: Kept) -> None:
        """A record of this moment."""
        match record:
            case Intent():
                self._asked(record, at.now_ns)
                number, count = self._decision
                same = record.decision == number
                self._decision = (record.decision, count + 1 if same else 1)
            case Fill():
                self._filled(record, at.now_ns)
            case _:
                pass

    def _asked(self, intent: Intent, at_ns: int) -> None:
        name = intent.order.cl_ord_id
        if name in self._reduces:
            # Found alive after its end: it was counted when it was sent.
            return
        self._reduces[name] = intent.order.reduce_only
        if len(self._reduces) > _REMEMBERED:
            del self._reduces[next(iter(self._reduces))]
        self._sent.append(Sent(name, at_ns))

    def _filled(self, fill: Fill, at_ns: int) -> None:
        # Of an order that was forgotten, or is the venue's own, it is not known: then it counts.
        reduces = self._reduces.get(fill.cl_ord_id, fill.kind in LIQUIDATING)
        if reduces or fill.side is not self._side:
            self._row.clear()
            self._side = fill.side
        if not reduces and all(one.cl_ord_id != fill.cl_ord_id for one in self._row):
            self._row.append(Sent(fill.cl_ord_id, at_ns))

    def counts(self, at: At, decision: int, working: int, *, right_account: bool) -> Counts:
        """For an order of a decision, with so many orders of ours at work."""
        _forget(self._sent, at.now_ns - MINUTE_NS)
        _forget(self._row, at.now_ns - self._repeated_ns)
        limits = self._config
        number, sent = self._decision
        return Counts(
            symbols=limits.symbols,
            right_account=right_account,
            max_order_value=limits.max_order_value,
            working=working,
            max_working=limits.max_working_orders,
            sent_in_minute=len(self._sent),
            max_in_minute=limits.max_orders_per_minute,
            sent_for_decision=sent if number == decision else 0,
            max_for_decision=limits.max_orders_per_decision,
            repeated_buy=len(self._row) if self._side is Side.BUY else 0,
            repeated_sell=len(self._row) if self._side is Side.SELL else 0,
            max_repeated=limits.max_repeated_orders,
        )


def _forget(entries: deque[Sent], until_ns: int) -> None:
    while entries and entries[0].at_ns <= until_ns:
        entries.popleft()
