"""The order desk: every request about our orders, and what became of it.

It owns the account's orders and fills, cancels, asks about the unknown, and keeps the dead man's
switch. It never decides to trade: that is `trading.py`, through the gate.
"""

from typing import assert_never

from chappie.core.account import Account
from chappie.core.budget import Budget
from chappie.core.faults import ActiveFaults
from chappie.core.market import Market
from chappie.core.orders import (
    Order,
    Outstanding,
    RequestKind,
    absent,
    cancelling,
    doubted,
    refused,
)
from chappie.core.outbox import Outbox
from chappie.core.requests import ForCancel, ForRead, ForSwitch, Requests
from chappie.core.switch import Switch
from chappie.model.commands import Keep
from chappie.model.config import Config
from chappie.model.enums import Lane, OrdStatus
from chappie.model.faults import Fault
from chappie.model.invariant import InvariantViolated
from chappie.model.orders import Approved, NewOrder
from chappie.model.records import Fill, FundingPaid, Intent
from chappie.model.reports import (
    Filled,
    Funded,
    KeyRefused,
    MarginSaid,
    NotAccepted,
    OrderAnswered,
    OrderSaid,
    OrdersRead,
    Outcome,
    PositionSaid,
    Read,
    Rejected,
    RequestExpired,
    SwitchArmed,
    Unknown,
)
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At
from chappie.venues.interface import Dialect

# After an order ended; twice as long with every refusal in a row, so that a venue that refuses
# everything is not stormed: many errors in a short time are a ban (protocol section 3).
_PAUSE_NS = 500 * MILLISECOND_NS
_PAUSE_MAX_NS = 10 * SECOND_NS
# The first query about an order and its first cancel never wait; what came to nothing is
# repeated no sooner than this.
_ASK_AGAIN_NS = 500 * MILLISECOND_NS
_CANCEL_AGAIN_NS = SECOND_NS
# Unless a reconciliation shows sooner that they still work.
_LEFTOVERS_AGAIN_NS = 5 * SECOND_NS


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
    ) -> None:
        self.account = Account()
        self.switch = Switch(config.dead_man)
        self.leftovers: tuple[str, ...] = ()
        self.margin_due = True
        self.pause_until_ns = 0
        self._refusals = 0
        # By clOrdID, of live orders: no query or cancel is repeated before these moments.
        self._ask_after_ns: dict[str, int] = {}
        self._cancel_after_ns: dict[str, int] = {}
        self._leftovers_after_ns = 0
        self._dialect = dialect
        self._outbox = outbox
        self._faults = faults
        self._requests = requests
        self._budget = budget
        self._market = market

    # --- observe: what the venue says of our account

    def hear(self, at: At, report: OrderSaid | Filled | Funded | PositionSaid | MarginSaid) -> None:
        match report:
            case OrderSaid():
                self.order_said(at, report)
            case Filled():
                self.fill(at, report.fill, "stream")
            case Funded():
                self.funding(report.paid)
            case PositionSaid():
                self.account.said = report
            case MarginSaid():
                self.account.margin = report
            case _:
                assert_never(report)

    def order_said(self, at: At, row: OrderSaid) -> None:
        """A word on an order: ours of this run, ours of an older run, or foreign."""
        account = self.account
        assert account.naming is not None
        before = None if row.cl_ord_id is None else account.blotter.get(row.cl_ord_id)
        order = account.hear(row, at.now_ns)
        if order is not None:
            self._moved(at, before, order)
        elif account.naming.is_ours(row.cl_ord_id):
            ended = row.ord_status is None or row.ord_status.is_terminal
            if not ended and row.order_id not in self.leftovers:
                self.leftover(at, (*self.leftovers, row.order_id))
        elif row.order_id not in account.foreign:
            account.foreign[row.order_id] = row.cl_ord_id or ""
            self._outbox.log("warning", "foreign_order", orderID=row.order_id, symbol=row.symbol)

    def _moved(self, at: At, before: Order | None, order: Order) -> None:
        if order.said is None or (before is not None and before.said == order.said):
            return
        self._outbox.log(
            "info",
            "order",
            clOrdID=order.asked.cl_ord_id,
            ordStatus=order.said.ord_status.value,
            cumQty=order.said.cum_qty,
            leavesQty=order.said.leaves_qty,
            text=order.said.text,
        )
        self._settled(at, order)

    def _settled(self, at: At, order: Order) -> None:
        """Whatever channel it came by, the word that ends an order or its doubt does so here.

        The next order waits a moment, and longer with every refusal in a row.
        """
        name = order.asked.cl_ord_id
        if not order.in_doubt:
            self._faults.clear(Fault.ORDER_IN_DOUBT, name)
        if order.is_live:
            return
        self._ask_after_ns.pop(name, None)
        self._cancel_after_ns.pop(name, None)
        taken = order.said is not None and order.said.ord_status is not OrdStatus.REJECTED
        self._refusals = 0 if taken else min(self._refusals + 1, 10)
        pause_ns = min(_PAUSE_NS << max(0, self._refusals - 1), _PAUSE_MAX_NS)
        self.pause_until_ns = at.now_ns + pause_ns

    def fill(self, at: At, fill: Fill, source: str) -> None:
        """Book a fill from any source, once; it is kept for good."""
        account = self.account
        if not account.owns(fill):
            if fill.order_id:
                account.foreign.setdefault(fill.order_id, fill.cl_ord_id)
            return
        if not account.book(fill, at.now_ns):
            return
        order = account.blotter.get(fill.cl_ord_id)
        if order is not None:
            self._settled(at, order)
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

    def funding(self, paid: FundingPaid) -> None:
        if self.account.ledger.pay(paid):
            self._outbox.put(Keep(paid))
            self._outbox.log("info", "funding", fee=paid.fee)

    def leftover(self, at: At, order_ids: tuple[str, ...]) -> None:
        """Orders of ours that no living run owns: cancelled before any new order (O13)."""
        self.leftovers = order_ids
        self._leftovers_after_ns = at.now_ns  # seen to work just now: whatever was sent failed
        words = f"{len(order_ids)} orders of an older run"
        if not order_ids:
            self._faults.clear(Fault.LEFTOVER_ORDERS)
        elif self._faults.raise_(Fault.LEFTOVER_ORDERS, at, words):
            self._outbox.log("warning", "leftover_orders", orderID=list(self.leftovers))

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
            case Rejected() | NotAccepted() | KeyRefused() | RequestExpired():
                self._outbox.log(
                    "warning", "order_refused", clOrdID=cl_ord_id, detail=outcome.detail
                )
                order = refused(order, at.now_ns, outcome.detail)
                self.account.put(order, at.now_ns)
                self._settled(at, order)
            case _:
                self._doubt(at, order, getattr(outcome, "detail", "an answer to something else"))

    def cancel_settled(self, at: At, purpose: ForCancel, outcome: Outcome) -> None:
        if isinstance(outcome, OrderAnswered) and not purpose.leftovers:
            for row in outcome.orders:
                self.order_said(at, row)
        for name in purpose.cl_ord_ids:
            order = self.account.blotter.get(name)
            if order is None or not order.is_live or order.request is None:
                continue
            # Of all requests about this cancel the venue refused to hear: then even it waits.
            told_to_wait = isinstance(outcome, NotAccepted | KeyRefused)
            wait_ns = self._budget.shut_until_ns if told_to_wait else 0
            self._cancel_after_ns[name] = max(at.now_ns + _CANCEL_AGAIN_NS, wait_ns)
            if isinstance(outcome, Unknown):
                self._doubt(at, order, outcome.detail)
            elif order.request.kind is RequestKind.CANCEL:
                # Refused, or not among the cancelled: most likely it just ended. Ask.
                self.account.put(refused(order, at.now_ns, ""), at.now_ns)
                self.ask(at, name)

    def order_found(self, at: At, purpose: ForRead, read: OrdersRead) -> None:
        """A targeted query came back, with the order or with its absence."""
        assert purpose.cl_ord_id is not None
        rows = [row for row in read.orders if row.cl_ord_id == purpose.cl_ord_id]
        for row in rows:
            self.order_said(at, row)
        order = self.account.blotter.get(purpose.cl_ord_id)
        request = None if order is None else order.request
        if order is None or request is None:
            return
        if not rows:
            order = absent(order, purpose.sent_ns, at.now_ns)
        elif request.in_doubt and purpose.sent_ns >= request.fence_ns:
            # Listed and alive although the cancel in doubt can no longer arrive: it did not.
            order = refused(order, at.now_ns, "")
        self.account.put(order, at.now_ns)
        self._settled(at, order)

    def switch_settled(self, purpose: ForSwitch, outcome: Outcome) -> None:
        if isinstance(outcome, SwitchArmed):
            self.switch.answered(outcome)
            done = "dead_man_disarmed" if purpose.disarm else "dead_man_armed"
            self._outbox.log("debug", done)
        else:
            self.switch.unanswered()
            detail = getattr(outcome, "detail", "")
            self._outbox.log("warning", "dead_man_unproven", detail=detail)

    def _doubt(self, at: At, order: Order, why: str) -> None:
        """The fate of a request is unknown: worst case until the venue was asked."""
        if order.request is None:
            return
        name = order.asked.cl_ord_id
        self.account.put(doubted(order), at.now_ns)
        self._outbox.log("warning", "order_in_doubt", clOrdID=name, detail=why)
        self._faults.raise_(Fault.ORDER_IN_DOUBT, at, why, name, since_ns=order.request.sent_ns)

    # --- repair

    def repair(self, at: At, healthy: bool) -> None:
        """Ask about the unknown, cancel what must not rest, keep the switch."""
        self.ask_about_doubts(at)
        self.cancel_leftovers(at)
        if self._faults.wants_withdrawal:
            free = [order for order in self.account.blotter.live() if order.request is None]
            self.cancel(at, free, "a fault allows no resting order")
        self._keep_switch(at, healthy)

    def cancel_leftovers(self, at: At) -> None:
        """Cancel what dead runs left; whether it worked, the next reading of open orders tells."""
        waits = at.now_ns < self._leftovers_after_ns
        if self.leftovers and not waits and not self._requests.any_for(ForCancel):
            self._leftovers_after_ns = at.now_ns + _LEFTOVERS_AGAIN_NS
            call = self._dialect.cancel((), self.leftovers)
            self._requests.call(at, Lane.CANCEL, call, ForCancel((), leftovers=True))

    def ask_about_doubts(self, at: At) -> None:
        for order in self.account.in_doubt:
            self.ask(at, order.asked.cl_ord_id)

    def ask(self, at: At, cl_ord_id: str) -> None:
        """A targeted query, one read at a time, none while the venue asked us to wait."""
        due_ns = max(self._ask_after_ns.get(cl_ord_id, 0), self._budget.shut_until_ns)
        if self._requests.any_for(ForRead) or at.now_ns < due_ns:
            return
        self._ask_after_ns[cl_ord_id] = at.now_ns + _ASK_AGAIN_NS
        self._requests.read(at, Read.ORDER, self._dialect.read_order(cl_ord_id), name=cl_ord_id)

    def cancel(self, at: At, orders: list[Order], why: str) -> None:
        """Cancel orders of ours by their ids; reducing risk never waits, only its repetition."""
        due = self._cancel_after_ns
        orders = [o for o in orders if at.now_ns >= due.get(o.asked.cl_ord_id, 0)]
        if not orders:
            return
        names = tuple(order.asked.cl_ord_id for order in orders)
        self._outbox.log("info", "cancelling", clOrdID=list(names), why=why)
        fence_ns = self._requests.fence_ns(at)
        call = self._dialect.cancel(names, ())
        request_id = self._requests.call(at, Lane.CANCEL, call, ForCancel(names))
        outstanding = Outstanding(RequestKind.CANCEL, request_id, at.now_ns, fence_ns)
        for order in orders:
            due[order.asked.cl_ord_id] = at.now_ns + _CANCEL_AGAIN_NS
            if order.request is None:
                self.account.put(cancelling(order, outstanding), at.now_ns)

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
        self.account.put(Order(order, decision, at.now_ns, request=outstanding), at.now_ns)
        self._outbox.log(
            "info",
            "order_sent",
            clOrdID=order.cl_ord_id,
            side=order.side.value,
            qty=order.qty,
            price=self._market.price(order.price),
        )

    # --- the dead man's switch

    def arm(self, at: At) -> None:
        """Ask the venue to cancel for us if we fall silent; waits for no proof of health."""
        if self.switch.may_ask(at.now_ns):
            self._send_switch(at, disarm=False)

    def disarmed(self, at: At) -> bool:
        """Whether the switch is off; asks for it where it is not. For the end of a run."""
        if self.switch.may_stand and self.switch.may_ask(at.now_ns):
            self._send_switch(at, disarm=True)
        return not self.switch.may_stand and not self.switch.pending

    def _keep_switch(self, at: At, healthy: bool) -> None:
        self.switch.lapse(at.now_ns)
        if not self.switch.may_stand:
            return
        if self.account.blotter.live():
            if healthy and self.switch.refresh_due(at.now_ns):
                self._send_switch(at, disarm=False)
        elif self.account.idle_since(self.switch.armed_ns) and self.switch.may_ask(at.now_ns):
            self._send_switch(at, disarm=True)

    def _send_switch(self, at: At, disarm: bool) -> None:
        call = self._dialect.arm_switch(0.0 if disarm else self.switch.timeout_s)
        self.switch.asked(at.now_ns, disarm)
        self._requests.call(at, Lane.CANCEL, call, ForSwitch(disarm))
