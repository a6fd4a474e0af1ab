"""Our side of the account: orders, fills and the position that follows from them.

The *expected* position is the ledger's plus what the venue already called filled but whose
execution has not arrived: tables are not ordered among each other (protocol section 6).
"""

import msgspec

from chappie.core.blotter import Blotter, Naming
from chappie.core.ledger import Ledger
from chappie.core.orders import Order, executed, told
from chappie.core.position import PositionMachine
from chappie.core.recovery import Recovered
from chappie.model.enums import Side
from chappie.model.records import LIQUIDATING, Fill, Intent
from chappie.model.reports import MarginSaid, OrderSaid, PositionSaid
from chappie.model.units import Contracts

# Position-changing executions that happen without an order of ours behind them.
_VENUE_MADE = LIQUIDATING | {"Settlement"}
_FOREIGN_MAX = 1_000


class Account:
    """What we asked for, what was filled, what we hold."""

    def __init__(self) -> None:
        self.naming: Naming | None = None
        self.blotter = Blotter()
        self.ledger = Ledger()
        self.machine = PositionMachine()
        self.said: PositionSaid | None = None
        self.margin: MarginSaid | None = None
        # Foreign orders by orderID, the newest last, so that each is reported once.
        self.foreign: dict[str, str] = {}
        self.last_ended_ns = 0
        # The venue's time up to which earlier runs left nothing out; None without such a run.
        self.whole_until_ns: int | None = None
        self._from_ns = 0
        self._asked: dict[str, Intent] = {}
        # When the last reconciliation began that found no order of ours working.
        self.none_working_ns: int | None = None

    def take_over(self, recovered: Recovered) -> None:
        """Go on where earlier runs ended."""
        self.ledger = recovered.ledger
        self.whole_until_ns = recovered.whole_until_ns
        self._from_ns, self._asked = recovered.from_ns, recovered.asked
        for order in recovered.orders:
            self._keep(order)

    def owns(self, fill: Fill) -> bool:
        """Whether a fill changes the position that this ledger explains.

        Our orders' fills, and what the venue does to the position itself. A fill of a foreign
        order is somebody else's: the positions then disagree, and that is the point.
        """
        assert self.naming is not None
        return self.naming.is_ours(fill.cl_ord_id) or fill.kind in _VENUE_MADE

    def noted_foreign(self, order_id: str, cl_ord_id: str) -> bool:
        """Remember an order of somebody else; True when it is news. The oldest are forgotten."""
        if order_id in self.foreign:
            return False
        if len(self.foreign) >= _FOREIGN_MAX:
            del self.foreign[next(iter(self.foreign))]
        self.foreign[order_id] = cl_ord_id
        return True

    def predates(self, fill: Fill) -> bool:
        """Whether a fill is in the position already with which the ledger began."""
        assert self.naming is not None
        name = fill.cl_ord_id
        asked_since = name in self._asked or self.naming.is_of_this_run(name)
        return 0 < fill.venue_ns <= self._from_ns and not asked_since

    def book(self, fill: Fill, now_ns: int) -> bool:
        """Book a fill, and tell its order; False when it is not new."""
        if not self.ledger.book(fill):
            return False
        name = fill.cl_ord_id
        order = self.blotter.get(name)
        if order is None:
            # No order of this run is behind it (a liquidation, an order of an older run): the
            # venue made the step, so it is none of the machine's own.
            self.enter()
        else:
            self.put(executed(order, fill.order_id, self.ledger.booked(name), now_ns), now_ns)
        return True

    def hear(self, order: Order, row: OrderSaid, now_ns: int) -> Order:
        """The venue spoke of one of our orders; its new value."""
        heard = told(order, row, now_ns)
        self.put(heard, now_ns)
        return heard

    def put(self, order: Order, now_ns: int) -> None:
        """A new value of one of our orders, by our own doing."""
        before = self.blotter.get(order.asked.cl_ord_id)
        self._keep(order)
        self._followed(before, order, now_ns)

    def _keep(self, order: Order) -> None:
        if order.asked.cl_ord_id not in self.blotter:
            # A leftover of a dead run, or one that was forgotten: its fills may be booked.
            booked = self.ledger.booked(order.asked.cl_ord_id)
            order = msgspec.structs.replace(order, booked_qty=booked)
        self.blotter.put(order)

    def _followed(self, before: Order | None, order: Order, now_ns: int) -> None:
        if not order.is_live and (before is None or before.is_live):
            self.last_ended_ns = now_ns
        by_the_venue = (
            order.orphan or order.is_amended or (before is not None and not before.is_live)
        )
        if by_the_venue or self.orphans:
            # Of a dead run, taken for dead, or changed by hand: the venue made the step, not we.
            # And a step of ours beside an orphan leads where none of ours alone does.
            self.enter()
        else:
            self.follow()

    def enter(self) -> None:
        """The world moved without us: the machine goes on from what is there."""
        if self.machine.state is not None:
            self.machine.begin(self.expected_qty, *self._at_work())

    def follow(self) -> None:
        """Let the position machine follow what changed."""
        increasing, reducing = self._at_work()
        self.machine.observe(self.expected_qty, increasing, reducing)

    def begin(self) -> None:
        """A clean reconciliation: the machine starts from what is there."""
        if self.machine.state is None:
            increasing, reducing = self._at_work()
            self.machine.begin(self.expected_qty, increasing, reducing)

    def _at_work(self) -> tuple[bool, bool]:
        increasing = reducing = False
        for order in self.blotter.live():
            if order.leaves_worst == 0:
                continue
            if order.asked.side.sign * self.expected_qty < 0:
                reducing = True
            else:
                increasing = True
        return increasing, reducing

    @property
    def expected_qty(self) -> Contracts:
        """Contracts held, fills included whose execution is still on its way."""
        missing = 0
        for order in self.blotter.unsettled():
            missing += order.asked.side.sign * order.unbooked_qty
        return Contracts(self.ledger.qty + missing)

    def idle_since(self, moment_ns: int) -> bool:
        """A reconciliation begun after a moment, and after the last order ended, found none of
        ours working.
        """
        verified_ns = self.none_working_ns
        return verified_ns is not None and verified_ns > max(moment_ns, self.last_ended_ns)

    @property
    def fills_missing(self) -> bool:
        return any(order.unbooked_qty for order in self.blotter.unsettled())

    @property
    def orphans(self) -> list[Order]:
        """Live orders that nobody wants any more."""
        return [order for order in self.blotter.live() if order.orphan]

    @property
    def in_doubt(self) -> list[Order]:
        return [order for order in self.blotter.live() if order.in_doubt]

    def working(self, side: Side) -> int:
        """Contracts of a side that may still fill, at worst."""
        return self.blotter.live_worst(side)
