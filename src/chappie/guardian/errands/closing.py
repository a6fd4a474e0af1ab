"""The closing order of a flatten, where no trader is left to send it (contract, `halt --flatten`).

Sweep; then one reduce-only market order, clipped to the position on which two reads agree and
passed through the one gate; then ask what became of it, and read again. It is repeated only once
its fate is known: by its own answer, or by two reads that began when it could no longer arrive.
The intent is kept for good before the request leaves, so that the next start's ledger owns the
fill. Pure.
"""

import msgspec

from chappie.core.blotter import Naming
from chappie.core.gate import Circumstances, Denial, examine
from chappie.core.requests import ForNew, ForRead
from chappie.guardian.errands.asking import Asking, Event, Heard
from chappie.guardian.errands.sweep import Sweep
from chappie.model.commands import Command, Keep
from chappie.model.enums import Lane, OrdStatus, OrdType, Side, TimeInForce
from chappie.model.faults import Posture
from chappie.model.orders import NewOrder
from chappie.model.records import Ended, Intent
from chappie.model.reports import (
    KeyRefused,
    NeverSent,
    NotAccepted,
    OrderAnswered,
    OrderSaid,
    OrdersRead,
    Read,
    Rejected,
    RequestExpired,
)
from chappie.model.units import At, Contracts

# A venue that refuses the order as often as this will not take the next one either.
_ORDERS_MOST = 5


class Flattened(msgspec.Struct, frozen=True):
    """``done``: none of ours works and the position is 0, as two reads agree."""

    done: bool
    position: int | None
    orders_sent: int
    detail: str


class Closing:
    """One flatten: `step` it until ``flattened``. ``epoch`` exceeds every epoch on the disk."""

    def __init__(self, asking: Asking, epoch: int, at: At, until_ns: int) -> None:
        self.flattened: Flattened | None = None
        self._asking = asking
        self._epoch = epoch
        self._naming = Naming(asking.config.bot.id, epoch)
        self._until_ns = until_ns
        self._sent = 0
        self._position: int | None = None
        self._why = ""
        # The order of which the fate is not known yet, and when it can no longer arrive.
        self._doubted: NewOrder | None = None
        self._fence_ns = 0
        # Reads in a row, begun after the fence, that did not show it.
        self._absent = 0
        self._sweep: Sweep | None = None
        # The state of the market is read anew: an old one may have been open.
        asking.instrument = None
        self._begin_sweep(at)

    @property
    def in_doubt(self) -> bool:
        """An order was sent of which nobody knows yet what became of it."""
        return self._doubted is not None

    def go_on(self, at: At, until_ns: int) -> None:
        """More time for one that ended in doubt: its fate comes first."""
        self.flattened = None
        self._until_ns = until_ns

    def step(self, at: At, event: Event | None = None) -> list[Command]:
        """Take an answer, or the time; do what follows."""
        if self.flattened is not None:
            return []
        if self._sweep is None:
            heard = None if event is None else self._asking.hear(at, event)
            if heard is not None:
                self._hear(at, heard)
            event = None
        commands = [] if self._sweep is None else self._step_sweep(at, self._sweep, event)
        if not self._is_over and self._sweep is None:
            self._go_on(at)
        return commands + self._asking.take()

    @property
    def _is_over(self) -> bool:
        return self.flattened is not None

    def _step_sweep(self, at: At, sweep: Sweep, event: Event | None) -> list[Command]:
        commands = sweep.step(at, event)
        if sweep.left is not None:
            self._swept(at, sweep)
        return commands

    def next_deadline(self, at: At) -> int:
        """When to step next, should no answer come before."""
        if self._sweep is not None:
            return self._sweep.next_deadline(at)
        if self._asking.is_waiting:
            return self._until_ns
        due_ns = max(self._fence_ns, self._asking.due_ns(at, Lane.RECONCILE))
        return min(self._until_ns, due_ns)

    # --- none of ours at work, and what is held

    def _begin_sweep(self, at: At) -> None:
        self._sweep = Sweep(self._asking, self._epoch, at, self._until_ns)

    def _swept(self, at: At, sweep: Sweep) -> None:
        assert sweep.left is not None, "a sweep that is over"
        self._sweep = None
        left = sweep.left
        self._position = left.position
        if not left.verified:
            self._end(f"no order of ours may work before the closing order: {left.detail}")
        elif left.position == 0:
            self._end("none of ours works, and the position is closed", done=True)
        elif self._sent >= _ORDERS_MOST:
            self._end(f"{self._sent} closing orders did not close it: {self._why}")
        else:
            assert left.position is not None, "a verified sweep knows the position"
            self._close(at, left.position)

    def _close(self, at: At, position: int) -> None:
        asking, config = self._asking, self._asking.config
        instrument = asking.instrument
        assert instrument is not None, "orders were read by its terms"
        most = instrument.max_order_qty or abs(position)
        qty = Contracts(min(abs(position), most))
        order = NewOrder(
            cl_ord_id=self._naming.next(),
            symbol=config.venue.symbol,
            side=Side.SELL if position > 0 else Side.BUY,
            qty=qty,
            ord_type=OrdType.MARKET,
            price=None,
            time_in_force=TimeInForce.GTC,
            post_only=False,
            reduce_only=True,
        )
        approved = examine(
            order,
            Circumstances(
                instrument=instrument,
                posture=Posture.HALTED,
                locked=asking.due_ns(at, Lane.CANCEL) > at.now_ns,
                qty=position,
                live_buy=0,
                live_sell=0,
                in_doubt=False,
                fills_missing=False,
                order_qty=config.bot.order_qty,
                max_position=config.bot.max_position,
                # Nobody keeps it any more, and an order at market never rests.
                switch_holds=False,
                allow_trade=config.bot.allow_trade,
                mark=None,
                best_bid=None,
                best_ask=None,
                collar_ppm=0,
                flattening=True,
            ),
        )
        if isinstance(approved, Denial):
            self._end(f"no closing order is sent: {approved.value}")
            return
        self._sent += 1
        self._doubted = order
        self._fence_ns = asking.fence_ns(at)
        self._absent = 0
        asking.outbox.put(Keep(Intent(at.wall_ns, order, 0)))
        asking.order(at, approved, instrument)

    # --- what became of it

    def _hear(self, at: At, heard: Heard) -> None:
        outcome = heard.outcome
        order = self._doubted
        assert order is not None, "only the fate of an order is asked for here"
        match heard.purpose:
            case ForNew():
                match outcome:
                    case OrderAnswered():
                        self._told(at, order, outcome.orders)
                    case NeverSent() | Rejected() | NotAccepted() | KeyRefused() | RequestExpired():
                        self._known(at, order, None, 0)
                        self._why = outcome.detail
                        if isinstance(outcome, Rejected | KeyRefused):
                            self._sweep = None
                            self._end(f"the venue refuses the closing order: {outcome.detail}")
                    case _:
                        self._why = str(getattr(outcome, "detail", "an answer to something else"))
            case ForRead(read=Read.ORDER) if isinstance(outcome, OrdersRead):
                rows = [row for row in outcome.orders if row.cl_ord_id == order.cl_ord_id]
                self._absent = 0 if rows else self._absent + 1
                self._told(at, order, rows)
                # Two say so, both asked when it could no longer arrive: it never came to be.
                if self._doubted is not None and self._absent >= 2:
                    self._known(at, order, None, 0)
            case _:
                self._why = str(getattr(outcome, "detail", "a read that proves nothing"))

    def _told(
        self, at: At, order: NewOrder, rows: "tuple[OrderSaid, ...] | list[OrderSaid]"
    ) -> None:
        for row in rows:
            status = row.ord_status
            if row.cl_ord_id == order.cl_ord_id and status is not None and status.is_terminal:
                self._known(at, order, status, row.cum_qty or 0)
                return

    def _known(self, at: At, order: NewOrder, status: OrdStatus | None, cum_qty: int) -> None:
        """Its fate is known: read what is held now."""
        ended = Ended(at.wall_ns, order.cl_ord_id, status, Contracts(cum_qty))
        self._asking.outbox.put(Keep(ended))
        self._doubted = None
        self._fence_ns = 0
        self._begin_sweep(at)

    def _go_on(self, at: At) -> None:
        asking, order = self._asking, self._doubted
        if order is None:
            self._begin_sweep(at)
            return
        if at.now_ns >= self._until_ns:
            asking.drop()
            self._position = None
            self._end(f"what became of {order.cl_ord_id} is not known yet: {self._why}")
            return
        due_ns = max(self._fence_ns, asking.due_ns(at, Lane.RECONCILE))
        if asking.is_waiting or at.now_ns < due_ns:
            return
        if asking.instrument is None:
            purpose = ForRead(Read.INSTRUMENT, at.now_ns)
            asking.ask(at, Lane.RECONCILE, asking.dialect.read_instrument(), purpose)
        else:
            purpose = ForRead(Read.ORDER, at.now_ns, cl_ord_id=order.cl_ord_id)
            call = asking.dialect.read_order(order.cl_ord_id)
            asking.ask(at, Lane.RECONCILE, call, purpose)

    def _end(self, detail: str, done: bool = False) -> None:
        self.flattened = Flattened(done, self._position, self._sent, detail)
