"""The order desk: every request about our orders, and what became of it.

It owns the account's orders and fills, cancels, and asks about the unknown; the dead man's switch
has `arming.py`. It never decides to trade: that is `trading.py`, through the gate.
"""

from typing import assert_never

from chappie.core.account import Account
from chappie.core.arming import Arming
from chappie.core.budget import Budget
from chappie.core.faults import ActiveFaults
from chappie.core.market import Market
from chappie.core.orders import (
    Order,
    Outstanding,
    RequestKind,
    absent,
    adopted,
    cancelling,
    doubted,
    refused,
    revived,
    vanished,
)
from chappie.core.outbox import Outbox
from chappie.core.overdue import Overdue
from chappie.core.pacing import Pace
from chappie.core.recovery import recover
from chappie.core.requests import ForCancel, ForRead, Requests
from chappie.core.skew import Skew
from chappie.model.commands import HttpCall, Keep, SetLatch
from chappie.model.config import Config
from chappie.model.enums import Lane, OrdStatus
from chappie.model.faults import Fault, Posture
from chappie.model.invariant import InvariantViolated
from chappie.model.orders import Approved, NewOrder
from chappie.model.records import (
    LIQUIDATING,
    Adjusted,
    Ended,
    Fill,
    FundingPaid,
    Intent,
    Kept,
    Stopped,
    Waits,
)
from chappie.model.reports import (
    Filled,
    Funded,
    KeyRefused,
    MarginSaid,
    NeverSent,
    NotAccepted,
    OrderAnswered,
    OrderSaid,
    OrdersRead,
    Outcome,
    PositionSaid,
    Read,
    Rejected,
    RequestExpired,
    Unknown,
)
from chappie.model.timestamps import ns_iso
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At, Contracts
from chappie.venues.interface import Dialect

# After an order ended; longer with every refusal in a row.
_PAUSE_NS = 500 * MILLISECOND_NS
_PAUSE_MAX_NS = 10 * SECOND_NS
# The first query about an order and its first cancel never wait; what came to nothing is
# repeated no sooner than this.
_ASK_AGAIN_NS = 500 * MILLISECOND_NS
_CANCEL_AGAIN_NS = SECOND_NS
_CANCEL_AGAIN_MAX_NS = 4 * SECOND_NS


class Desk:
    """Requests about orders go out here, and their outcomes come back here."""

    def __init__(
        self,
        config: Config,
        dialect: Dialect,
        outbox: Outbox,
        faults: ActiveFaults,
        requests: Requests,
        budget: Budget,
        market: Market,
        skew: Skew,
    ) -> None:
        self.account = Account()
        self.arming = Arming(config, dialect, outbox, requests, budget, skew, self.account)
        self.overdue = Overdue(config.reconcile.grace_s)
        self.margin_due = True
        self._leftovers: list[str] = []
        # Between the end of an order and the next one.
        self.pause = Pace(_PAUSE_NS, _PAUSE_MAX_NS)
        # By clOrdID, of live orders: between two queries, and between two cancels.
        self._asking: dict[str, Pace] = {}
        self._cancelling: dict[str, Pace] = {}
        # The end of the wait of which it was said.
        self._waits_until_wall_ns = 0
        self._dialect = dialect
        self._outbox = outbox
        self._faults = faults
        self._requests = requests
        self._budget = budget
        self._market = market

    def restore(self, at: At, kept: tuple[Kept, ...]) -> Waits | None:
        """Take over from earlier runs: what is not proven over counts at its worst case. Returns
        until when the venue told them to send nothing.
        """
        recovered = recover(kept, at, self._requests.fence_of)
        self.account.take_over(recovered)
        for order in self.account.in_doubt:
            name, words = order.asked.cl_ord_id, "asked for by an earlier run, its end not known"
            self._faults.raise_(Fault.ORDER_IN_DOUBT, at, words, name)
        crashed = False
        for record in kept:
            if isinstance(record, Intent):
                crashed = True  # and it had armed the switch, unless its end follows
            elif isinstance(record, Stopped | Adjusted):
                crashed = False
        if crashed or self.account.in_doubt:
            self.arming.switch.inherited(at.now_ns, self._requests.fence_ns(at))
        return recovered.waits

    # --- observe: what the venue says of our account

    def hear(self, at: At, report: OrderSaid | Filled | Funded | PositionSaid | MarginSaid) -> None:
        match report:
            case OrderSaid():
                self.order_said(at, report)
                self.overdue.order_told(report, at.now_ns)
            case Filled():
                self.fill(at, report.fill, "stream")
                self.overdue.execution_told(report.fill.exec_id)
            case Funded():
                self.funding(report.paid)
            case PositionSaid():
                self.account.said = report
            case MarginSaid():
                self.account.margin = report
                self.overdue.margin_told(report)
            case _:
                assert_never(report)

    def order_said(self, at: At, row: OrderSaid) -> None:
        """A word on an order: one that we hold, one of ours that we do not, or a foreign one."""
        account = self.account
        assert account.naming is not None
        before = account.blotter.find(row)
        if before is not None and row.side not in (None, before.asked.side):
            # Of our name, and not what we asked for (reported failure 17): a twin made it.
            self._not_alone(at, before.asked.cl_ord_id)
        elif before is not None:
            order = account.hear(before, row, at.now_ns)
            if order.said != before.said:
                self._tell(order)
                self.overdue.order_shown(order, at.now_ns)
                self._changed(at, before, order)
        elif row.cl_ord_id is not None and account.naming.is_ours(row.cl_ord_id):
            if account.naming.is_of_another_instance(row.cl_ord_id):
                self._not_alone(at, row.cl_ord_id)
            elif _works(row):
                self._adopt(at, row)
        elif account.noted_foreign(row.order_id, row.cl_ord_id or ""):
            self._outbox.log("warning", "foreign_order", orderID=row.order_id, symbol=row.symbol)

    def listed(self, at: At, row: OrderSaid, asked_ns: int) -> None:
        """A row of the venue's open orders, in a list asked for at ``asked_ns``.

        An order that we held for ended by then lives again: amended by hand while the streams
        were mute, or accepted late.
        """
        order = self.account.blotter.find(row)
        ended_ns = None if order is None else order.ended_ns
        if order is None or ended_ns is None or ended_ns >= asked_ns or not _works(row):
            self.order_said(at, row)
        else:
            self._put(at, revived(order, row))

    def _adopt(self, at: At, row: OrderSaid) -> None:
        """An order of ours that only the venue remembers: of a dead run whose log is lost."""
        order = adopted(row, at.now_ns)
        if order is not None:
            switch = self.arming.switch
            if not switch.may_stand:
                # Whoever sent it armed the switch first.
                switch.inherited(at.now_ns, self._requests.fence_ns(at))
            self._tell(order)
            self._put(at, order)

    def _not_alone(self, at: At, cl_ord_id: str) -> None:
        """Another instance with a newer epoch trades here: it goes on, we stop (O3)."""
        words = f"another instance of this bot asked for {cl_ord_id}"
        self._faults.raise_(Fault.NOT_ALONE, at, words)

    def _tell(self, order: Order) -> None:
        assert order.said is not None
        self._outbox.log(
            "info",
            "order",
            clOrdID=order.asked.cl_ord_id,
            ordStatus=order.said.ord_status.value,
            cumQty=order.said.cum_qty,
            leavesQty=order.said.leaves_qty,
            text=order.said.text,
        )

    def _put(self, at: At, order: Order) -> None:
        """A new value of an order, and what follows from it."""
        before = self.account.blotter.get(order.asked.cl_ord_id)
        self.account.put(order, at.now_ns)
        self._changed(at, before, order)

    def _changed(self, at: At, before: Order | None, order: Order) -> None:
        """Whatever channel it came by, the word that ends an order or its doubt does so here."""
        name = order.asked.cl_ord_id
        if not order.in_doubt:
            self._faults.clear(Fault.ORDER_IN_DOUBT, name)
        if order.is_live:
            if before is not None and not before.is_live:
                # Its end is on disk: until the next one, a new start must ask for it again.
                self._outbox.put(Keep(Intent(at.wall_ns, order.asked, order.decision)))
                self._outbox.log("warning", "order_lives_again", clOrdID=name, was=before.end)
            return
        ended = before is None or before.is_live
        if ended or (before is not None and before.cum_qty != order.cum_qty):
            status = None if order.said is None else order.said.ord_status
            self._outbox.put(Keep(Ended(at.wall_ns, name, status, Contracts(order.cum_qty))))
        if ended:
            self._paused(at, order)

    def _paused(self, at: At, order: Order) -> None:
        """The next order waits a moment, and longer with every refusal in a row."""
        name = order.asked.cl_ord_id
        self._asking.pop(name, None)
        self._cancelling.pop(name, None)
        if order.orphan:
            return
        taken = order.said is not None and order.said.ord_status is not OrdStatus.REJECTED
        if taken:
            self.pause.succeeded(at.now_ns)
        else:
            self.pause.failed(at.now_ns)

    def fill(self, at: At, fill: Fill, source: str) -> bool:
        """Book a fill from any source, once; it is kept for good. True when it is new."""
        account = self.account
        if not account.owns(fill):
            if fill.order_id:
                account.noted_foreign(fill.order_id, fill.cl_ord_id)
            return False
        assert account.naming is not None
        if fill.cl_ord_id and account.naming.is_of_another_instance(fill.cl_ord_id):
            self._not_alone(at, fill.cl_ord_id)
            return False
        before = account.blotter.get(fill.cl_ord_id)
        if account.predates(fill) or not account.book(fill, at.now_ns):
            return False
        if fill.kind in LIQUIDATING:
            words = f"{fill.side.value} {fill.qty} by the venue"
            if self._faults.raise_(Fault.LIQUIDATED, at, words, fill.kind):
                # Before the fill is kept: a start that knows of the fill must know of the halt.
                self._outbox.put(SetLatch(f"{fill.kind}: {words}"))
        order = account.blotter.get(fill.cl_ord_id)
        if order is not None:
            self._changed(at, before, order)
        self.overdue.execution_shown(fill, order, at.now_ns)
        self.margin_due = True
        self._outbox.put(Keep(fill))
        self._outbox.log(
            "info",
            "fill",
            side=fill.side.value,
            qty=fill.qty,
            price=self._market.price(fill.price),
            fee=fill.fee,
            position=account.ledger.qty,
            clOrdID=fill.cl_ord_id,
            source=source,
        )
        return True

    def margin_read(self, at: At, said: MarginSaid) -> None:
        """A read of the wallet: one that contradicts the stream is made once more."""
        self.account.margin = said
        if self.overdue.margin_read(said, at.now_ns):
            self.margin_due = True

    def funding(self, paid: FundingPaid) -> None:
        if self.account.ledger.pay(paid):
            self._outbox.put(Keep(paid))
            self._outbox.log("info", "funding", fee=paid.fee)

    # --- observe: what became of our requests

    def new_settled(self, at: At, cl_ord_id: str, outcome: Outcome) -> None:
        order = self.account.blotter.get(cl_ord_id)
        if order is None:
            raise InvariantViolated(f"an answer for {cl_ord_id}, which was never asked for")
        match outcome:
            case OrderAnswered():
                for row in outcome.orders:
                    self.order_said(at, row)
                heard = self.account.blotter.get(cl_ord_id)
                if heard is not None and heard.said is None:
                    self._doubt(at, heard, "the answer held another order")
            case NeverSent() | Rejected() | NotAccepted() | KeyRefused() | RequestExpired():
                self._outbox.log(
                    "warning", "order_refused", clOrdID=cl_ord_id, detail=outcome.detail
                )
                self._put(at, refused(order, at.now_ns, outcome.detail))
            case _:
                self._doubt(at, order, getattr(outcome, "detail", "an answer to something else"))

    def cancel_settled(self, at: At, purpose: ForCancel, outcome: Outcome) -> None:
        if isinstance(outcome, OrderAnswered):
            for row in outcome.orders:
                self.order_said(at, row)
        for name in purpose.cl_ord_ids:
            order = self.account.blotter.get(name)
            if order is None or not order.is_live or order.request is None:
                continue
            pace = self._cancel_pace(name)
            if isinstance(outcome, KeyRefused):
                # Of all requests about this cancel the venue refused to hear: then even it waits.
                pace.hold(self._budget.pauses_until_ns)
            elif isinstance(outcome, Unknown) and not outcome.status:
                pace.hold(at.now_ns + _CANCEL_AGAIN_NS)
            else:
                # Answered and not done: many of these in a minute would be a ban.
                pace.failed(at.now_ns)
            if isinstance(outcome, Unknown):
                self._doubt(at, order, outcome.detail)
            elif order.request.kind is RequestKind.CANCEL:
                # Refused, or not among the cancelled: most likely it just ended. Ask.
                self._put(at, refused(order, at.now_ns, ""))
                self.ask(at, name)

    def order_found(self, at: At, purpose: ForRead, read: OrdersRead) -> None:
        """A targeted query came back, with the order or with its absence."""
        assert purpose.cl_ord_id is not None
        rows = [row for row in read.orders if row.cl_ord_id == purpose.cl_ord_id]
        for row in rows:
            self.order_said(at, row)
        order = self.account.blotter.get(purpose.cl_ord_id)
        if order is None or not order.is_live:
            return
        request = order.request
        if not rows:
            self._put(at, absent(order, purpose.sent_ns, at.now_ns))
        elif request is not None and request.in_doubt and purpose.sent_ns >= request.fence_ns:
            # Listed and alive although the cancel in doubt can no longer arrive: it did not.
            self._put(at, refused(order, at.now_ns, ""))

    def clear_vanished(self, at: At, order: Order) -> None:
        """The venue shows neither the order nor a position, again and again (O7)."""
        self._outbox.log("warning", "order_vanished", clOrdID=order.asked.cl_ord_id)
        self._put(at, vanished(order, at.now_ns))

    def _doubt(self, at: At, order: Order, why: str) -> None:
        """The fate of a request is unknown: worst case until the venue was asked."""
        if order.request is None:
            return
        name = order.asked.cl_ord_id
        self._put(at, doubted(order))
        self._outbox.log("warning", "order_in_doubt", clOrdID=name, detail=why)
        self._faults.raise_(Fault.ORDER_IN_DOUBT, at, why, name, since_ns=order.request.sent_ns)

    # --- judge

    def judge(self, at: At) -> None:
        """Orders of ours that nobody wants are cancelled before any new order (O13)."""
        found = [order.said.order_id for order in self.account.orphans if order.said is not None]
        new = [order_id for order_id in found if order_id not in self._leftovers]
        self._leftovers = found
        if not found:
            self._faults.clear(Fault.LEFTOVER_ORDERS)
            return
        self._faults.raise_(Fault.LEFTOVER_ORDERS, at, f"{len(found)} orders that work")
        if new:
            self._outbox.log("warning", "leftover_orders", orderID=new)

    # --- repair

    def repair(self, at: At, healthy: bool) -> None:
        """Ask about the unknown, cancel what must not rest, keep the switch."""
        self.ask_about_doubts(at)
        self.cancel(at, self.free(self.account.orphans), "nobody wants it any more")
        if self._faults.wants_withdrawal:
            self._withdraw(at, self.account.blotter.live(), "a fault allows no resting order")
        elif self._faults.posture is Posture.REDUCE_ONLY:
            adding = [o for o in self.account.blotter.live() if not o.asked.reduce_only]
            self._withdraw(at, adding, "a fault allows only what reduces")
        self.arming.keep(at, healthy)
        if self.arming.runs_out(at):
            # Ours go by our own hand, before the venue cancels everything that is on the account.
            live = self.account.blotter.live()
            self.cancel(at, self.free(live), "the dead man's switch runs out")

    def _withdraw(self, at: At, orders: list[Order], why: str) -> None:
        again = [order for order in orders if _cancel_lost(order)]
        self.cancel(at, [*self.free(orders), *again], why)

    @staticmethod
    def free(orders: list[Order]) -> list[Order]:
        """Those about which nothing is under way: one action in flight per order (O11)."""
        return [order for order in orders if order.request is None]

    def ask_about_doubts(self, at: At) -> None:
        for order in self.account.in_doubt:
            self.ask(at, order.asked.cl_ord_id)

    def ask(self, at: At, cl_ord_id: str) -> None:
        """A targeted query, one read at a time, none while the venue asked us to wait, nor before
        the instrument's terms are known: without them its prices mean nothing.
        """
        pace = self._asking.setdefault(cl_ord_id, Pace(_ASK_AGAIN_NS))
        due = pace.is_due(at.now_ns) and self._budget.is_open(Lane.RECONCILE, at.now_ns)
        unread = self._market.instrument is None
        if unread or self._requests.any_for(ForRead) or not due:
            return
        pace.failed(at.now_ns)
        self._requests.read(at, Read.ORDER, self._dialect.read_order(cl_ord_id), name=cl_ord_id)

    def cancel(self, at: At, orders: list[Order], why: str) -> None:
        """Cancel orders of ours by their ids; reducing risk waits for nothing but its own
        repetition, and the time that the venue told us to wait.

        An orphan goes by its orderID: names are unique among open orders only.
        """
        if not self._budget.is_open(Lane.CANCEL, at.now_ns):
            self._cancels_wait(at, orders, why)
            return
        orders = [o for o in orders if self._cancel_pace(o.asked.cl_ord_id).is_due(at.now_ns)]
        known = [o for o in orders if o.orphan and o.said is not None]
        named = [o for o in orders if not (o.orphan and o.said is not None)]
        if named:
            names = [order.asked.cl_ord_id for order in named]
            self._send_cancel(at, named, self._dialect.cancel(names, ()), why)
        if known:
            ids = [order.said.order_id for order in known if order.said is not None]
            self._send_cancel(at, known, self._dialect.cancel((), ids), why)

    def _cancels_wait(self, at: At, orders: list[Order], why: str) -> None:
        """Say once for each wait which orders should go and rest, and when the switch fires."""
        until_ns = self._budget.told_until_wall_ns
        if not orders or until_ns <= self._waits_until_wall_ns:
            return
        self._waits_until_wall_ns = until_ns
        fires_ns = self.arming.switch.fires_wall_ns
        fires = None if fires_ns is None else ns_iso(fires_ns)
        names, until = [order.asked.cl_ord_id for order in orders], ns_iso(until_ns)
        self._outbox.log(
            "warning", "cancels_wait", clOrdID=names, why=why, until=until, switch_fires=fires
        )

    def _send_cancel(self, at: At, orders: list[Order], call: HttpCall, why: str) -> None:
        names = tuple(order.asked.cl_ord_id for order in orders)
        self._outbox.log("info", "cancelling", clOrdID=list(names), why=why)
        fence_ns = self._requests.fence_ns(at)
        request_id = self._requests.call(at, Lane.CANCEL, call, ForCancel(names))
        outstanding = Outstanding(RequestKind.CANCEL, request_id, at.now_ns, fence_ns)
        for order in orders:
            self._cancel_pace(order.asked.cl_ord_id).hold(at.now_ns + _CANCEL_AGAIN_NS)
            if order.request is None:
                self._put(at, cancelling(order, outstanding))

    def _cancel_pace(self, cl_ord_id: str) -> Pace:
        return self._cancelling.setdefault(cl_ord_id, Pace(_CANCEL_AGAIN_NS, _CANCEL_AGAIN_MAX_NS))

    def send(self, at: At, approved: Approved[NewOrder], decision: int, fence_ns: int) -> None:
        """Send an approved order; its intent is written down before the request leaves (O2)."""
        order = approved.value
        instrument = self._market.instrument
        assert instrument is not None
        self._outbox.put(Keep(Intent(at.wall_ns, order, decision)))
        lane = Lane.REDUCE if order.reduce_only else Lane.OPEN
        call = self._dialect.new_order(approved, instrument)
        request_id = self._requests.order(at, lane, approved, call, at.now_ns)
        outstanding = Outstanding(RequestKind.NEW, request_id, at.now_ns, fence_ns)
        self._put(at, Order(order, decision, at.now_ns, request=outstanding))
        self._outbox.log(
            "info",
            "order_sent",
            clOrdID=order.cl_ord_id,
            side=order.side.value,
            qty=order.qty,
            price=self._market.price(order.price),
        )


def _cancel_lost(order: Order) -> bool:
    """Whether the answer to its cancel is lost: a cancel twice is a cancel, and waiting for the
    fence would leave the order at work meanwhile.
    """
    request = order.request
    return request is not None and request.kind is RequestKind.CANCEL and request.in_doubt


def _works(row: OrderSaid) -> bool:
    return row.ord_status is not None and not row.ord_status.is_terminal
