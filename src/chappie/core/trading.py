"""From the policy's target to an order at the gate: the last phase of a step.

The policy states a target; the executor plans the next step towards it; the gate has the last
word. Observe-only does all of this and ends at the gate (control L2).
"""

from typing import assert_never

import msgspec

from chappie.core.budget import Budget
from chappie.core.desk import Desk
from chappie.core.executor import Place, Rest, Terms, Wanted, Withdraw, plan
from chappie.core.faults import ActiveFaults
from chappie.core.feed import Feed
from chappie.core.gate import Circumstances, Denial, examine
from chappie.core.limits import Limits
from chappie.core.market import Market
from chappie.core.outbox import Outbox
from chappie.core.reconcile import Reconciler
from chappie.core.requests import Requests
from chappie.model.commands import AskPolicy
from chappie.model.config import Config
from chappie.model.enums import Lane, Side
from chappie.model.faults import Fault
from chappie.model.instrument import Instrument
from chappie.model.orders import NewOrder
from chappie.model.units import At, seconds_ns


class Decision(msgspec.Struct):
    """The policy's last answer, and what became of it so far."""

    number: int
    wall_ns: int
    target: int
    note: str
    outcome: str | None = None


class Trading:
    """Asks the policy when what it would see is true, and follows its last target."""

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        faults: ActiveFaults,
        requests: Requests,
        budget: Budget,
        market: Market,
        feed: Feed,
        desk: Desk,
        reconciler: Reconciler,
        limits: Limits,
        policy_period_s: float,
    ) -> None:
        self.decision: Decision | None = None
        self.would_be_orders = 0
        self.asked = 0
        self._config = config
        self._outbox = outbox
        self._faults = faults
        self._requests = requests
        self._budget = budget
        self._market = market
        self._feed = feed
        self._desk = desk
        self._account = desk.account
        self._reconciler = reconciler
        self._limits = limits
        self._period_ns = seconds_ns(policy_period_s)
        self._next_ns = 0
        self._awaited: int | None = None
        self._told_wish = ""
        self._max_age_ns = seconds_ns(config.limits.max_order_age_s)
        # Whether the position is being closed because it was held too long.
        self._closes = False

    # --- observe

    def decided(self, at: At, number: int, target: int, note: str) -> None:
        """The policy answered."""
        if number != self._awaited:
            return
        self._awaited = None
        self._faults.clear(Fault.POLICY_FAILED)
        limit = self._config.bot.max_position
        target = max(-limit, min(limit, target))
        moved = self.decision is None or self.decision.target != target
        self.decision = Decision(number, at.wall_ns, target, note)
        if moved:
            self._told_wish = ""
            self._outbox.log(
                "info",
                "decision",
                number=number,
                target=target,
                position=self._account.expected_qty,
                bid=self._market.price(self._market.book.best_bid),
                ask=self._market.price(self._market.book.best_ask),
            )

    def failed(self, at: At, number: int, detail: str) -> None:
        """The policy is broken: observe-only, loudly, until it answers again (control P4)."""
        if number != self._awaited:
            return
        self._awaited = None
        self.decision = None
        self._faults.raise_(Fault.POLICY_FAILED, at, detail)

    # --- trade

    def trade(self, at: At) -> None:
        """Ask and act, only on a synced market and a reconciled account (control P3)."""
        instrument = self._market.instrument
        if instrument is None or not self._sees():
            # A target is only as true as what it was decided on: after a gap the policy is asked
            # anew before anything is sent.
            self.decision = None
            self._next_ns = 0
            return
        if self._awaited is None and at.now_ns >= self._next_ns:
            self._ask(at)
        elif self.decision is not None:
            self._follow(at, self.decision, instrument)

    def _sees(self) -> bool:
        book = self._market.book
        return (
            self._feed.all_synced
            and self._reconciler.ever_clean
            and book.best_bid is not None
            and book.best_ask is not None
            and self._faults.decides
        )

    def _ask(self, at: At) -> None:
        # Periods count from the first question after a gap; one that was asked late moves no other,
        # and two are never closer than half a period.
        due_ns = self._next_ns or at.now_ns
        self._next_ns = max(due_ns + self._period_ns, at.now_ns + self._period_ns // 2)
        self.asked += 1
        self._awaited = self.asked
        view = self._market.view(at, self._account, self._config.bot.max_position)
        self._outbox.put(AskPolicy(self.asked, view))

    def _follow(self, at: At, decision: Decision, instrument: Instrument) -> None:
        """One step of the working orders towards the target."""
        bot = self._config.bot
        self._limits.wish(decision.target)
        closes = self._limits.held_too_long(at)
        if closes and not self._closes:
            self._outbox.log("warning", "held_too_long", position=self._account.ledger.qty)
        self._closes = closes
        step = plan(
            0 if closes else decision.target,
            self._account.expected_qty,
            [order for order in self._account.blotter.live() if not order.orphan],
            self._market.book.best_bid,
            self._market.book.best_ask,
            Terms(
                self._config.orders.style,
                bot.order_qty,
                instrument.lot_size,
                self._max_age_ns,
                reprices=not self._limits.gives_up,
            ),
            at.now_ns,
        )
        match step:
            case Rest():
                decision.outcome = step.why
            case Withdraw():
                order = self._account.blotter.get(step.cl_ord_id)
                assert order is not None
                decision.outcome = f"cancel {step.cl_ord_id}: {step.why}"
                self._desk.cancel(at, [order], step.why)
            case Place():
                lane = Lane.REDUCE if step.wanted.reduce_only else Lane.OPEN
                if self._desk.pause.is_due(at.now_ns) and not self._budget.paces(lane, at.now_ns):
                    self._place(at, decision, step.wanted, instrument)
            case _:
                assert_never(step)

    def _place(self, at: At, decision: Decision, wanted: Wanted, instrument: Instrument) -> None:
        assert self._account.naming is not None
        order = NewOrder(
            cl_ord_id=self._account.naming.next(),
            symbol=instrument.symbol,
            side=wanted.side,
            qty=wanted.qty,
            ord_type=wanted.ord_type,
            price=wanted.price,
            time_in_force=wanted.time_in_force,
            post_only=wanted.post_only,
            reduce_only=wanted.reduce_only,
        )
        fence_ns = self._requests.fence_ns(at)
        words = self._in_words(wanted)
        verdict = examine(order, self.circumstances(at, instrument, fence_ns))
        if isinstance(verdict, Denial):
            self._denied(at, decision, verdict, words)
        else:
            decision.outcome = words
            self._limits.tried()
            self._desk.send(at, verdict, decision.number, fence_ns)

    def circumstances(self, at: At, instrument: Instrument, fence_ns: int) -> Circumstances:
        """What the gate looks at, for an order that can no longer arrive after ``fence_ns``."""
        bot, account = self._config.bot, self._account
        return Circumstances(
            instrument=instrument,
            posture=self._faults.posture,
            locked=not self._budget.is_open(Lane.OPEN, at.now_ns),
            qty=account.expected_qty,
            live_buy=account.working(Side.BUY),
            live_sell=account.working(Side.SELL),
            in_doubt=bool(account.in_doubt),
            fills_missing=account.fills_missing,
            order_qty=bot.order_qty,
            max_position=bot.max_position,
            # Observe-only never arms the switch: there is nothing that it would guard.
            switch_holds=self._desk.arming.switch.holds(fence_ns) or not bot.allow_trade,
            allow_trade=bot.allow_trade,
            mark=self._market.mark,
            best_bid=self._market.book.best_bid,
            best_ask=self._market.book.best_ask,
            collar_ppm=round(self._config.orders.price_collar_pct * 10_000),
            counts=self._limits.counts(at, self.decision.number if self.decision else 0),
        )

    def _denied(self, at: At, decision: Decision, denial: Denial, words: str) -> None:
        if denial is Denial.DEAD_MAN_UNARMED:
            decision.outcome = f"{words}: first the dead man's switch"
            self._desk.arming.arm(at)
            return
        if denial is Denial.REPEATED:
            self._limits.halt(at, f"{words}: {denial.value}")
        decision.outcome = f"would {words}: {denial.value}"
        # Prices move with every look; the same wish is told once, not per tick.
        wish = f"{decision.target} {denial.name}"
        if self._told_wish != wish:
            self._told_wish = wish
            if denial is Denial.ALLOW_TRADE_OFF:
                self.would_be_orders += 1
                self._outbox.log("info", "would_be_order", order=words, why=denial.value)
            else:
                self._outbox.log("info", "order_denied", order=words, why=denial.value)

    def _in_words(self, wanted: Wanted) -> str:
        price = self._market.price(wanted.price)
        where = "at market" if price is None else f"@ {price}"
        return f"{wanted.side.value} {wanted.qty} {where}"
