"""The pit: where orders meet the book and fills become positions and money.

Every act is part of a turn, one event of the matching engine; the turn collects what happened
until the exchange publishes it.
"""

import msgspec

from chappie.simvenue.account import Account, fill, weight_of
from chappie.simvenue.changes import Row
from chappie.simvenue.contract import Contract, fee
from chappie.simvenue.funding import Funding
from chappie.simvenue.ids import Ids
from chappie.simvenue.orderbook import ANONYMOUS, Book, Hit
from chappie.simvenue.orders import LIMIT_TYPES, Order, crosses, opposite
from chappie.simvenue.rows import Match, execution_row, trade_execution_row
from chappie.simvenue.statements import transact_row
from chappie.simvenue.ticker import Ticker

#: The venue's own accounts: the crowd behind anonymous liquidity, and the liquidation engine,
#: whose wallet is the insurance fund.
CROWD = -1
LIQUIDATOR = -2

_REPLACE = msgspec.structs.replace


class Turn:
    """What one event did: orders as they were before it, and new rows of every private table."""

    def __init__(self) -> None:
        self.orders_before: dict[str, Order | None] = {}
        self.order_accounts: dict[str, int] = {}
        self.executions: dict[int, list[Row]] = {}
        self.transacts: dict[int, list[Row]] = {}
        self.accounts: dict[int, None] = {}
        self.matches: list[Match] = []

    @property
    def private(self) -> bool:
        """Whether anything happened that an account is told of."""
        return bool(self.orders_before or self.executions or self.accounts or self.transacts)


class Pit:
    """Owner of the book, the accounts and the present turn."""

    def __init__(self, contract: Contract, ids: Ids, ticker: Ticker, funding: Funding) -> None:
        self.contract = contract
        self.ids = ids
        self.ticker = ticker
        self.funding = funding
        self.book = Book(ids.level)
        self.accounts: dict[int, Account] = {
            number: Account(number, contract, internal=True) for number in (CROWD, LIQUIDATOR)
        }
        self.turn = Turn()
        self.now_ns = 0
        #: Owners of the orders that are open, in the book or waiting for a trigger.
        self.owners: dict[str, int] = {}
        #: Untriggered stops, oldest first.
        self.waiting: dict[str, None] = {}
        self.fees_collected = 0

    # --- what a market may do (MarketFloor) ------------------------------------------------

    @property
    def last_ticks(self) -> int:
        return self.ticker.last_ticks

    def set_level(self, side: str, ticks: int, size: int) -> None:
        """Make the anonymous quantity of a level `size`; growth that crosses trades first."""
        growth = size - self.book.anonymous(side, ticks)
        best = self.book.best(opposite(side))
        if growth > 0 and best is not None and crosses(side, ticks, best):
            size -= self.strike(side, ticks, growth)
        self.book.set_anonymous(side, ticks, max(0, size))

    def strike(self, side: str, limit_ticks: int | None, qty: int) -> int:
        """An anonymous aggressor of `side` up to the limit; returns the quantity traded."""
        hits = self.book.take(opposite(side), limit_ticks, qty)
        self._settle(side, None, hits)
        return sum(hit.qty for hit in hits)

    def print_trade(self, side: str, ticks: int, qty: int) -> None:
        """A trade between two strangers that moved no quantity of the book."""
        self.turn.matches.append(Match(self.ids.execution(), ticks, qty, side))

    # --- orders ----------------------------------------------------------------------------

    def order(self, order_id: str) -> Order:
        """The present state of an open order."""
        return self.accounts[self.owners[order_id]].orders[order_id]

    def put(self, order: Order) -> Order:
        """Store an order's new state and remember the one before this turn."""
        account = self.accounts[order.account]
        turn = self.turn
        if order.order_id not in turn.orders_before:
            turn.orders_before[order.order_id] = account.orders.get(order.order_id)
        turn.order_accounts[order.order_id] = order.account
        turn.accounts[order.account] = None
        account.keep(order)
        account.has_position_row = True
        if order.open:
            self.owners[order.order_id] = order.account
        else:
            self.owners.pop(order.order_id, None)
        if order.waits:
            self.waiting[order.order_id] = None
        else:
            self.waiting.pop(order.order_id, None)
        return order

    def tell(self, order: Order, exec_type: str) -> None:
        """An execution row that is no trade."""
        row = execution_row(order, self.contract, self.ids.execution(), exec_type)
        self.turn.executions.setdefault(order.account, []).append(row)

    def execute(self, order: Order) -> Order:
        """Let a stored, working order that is not in the book trade, then rest or end."""
        other = opposite(order.side)
        best = self.book.best(other)
        limit = order.price_ticks
        if limit is None:
            limit = self.market_bound(order.side)
        elif order.post_only and best is not None and crosses(order.side, limit, best):
            return self.end(order, "Order had execInst of ParticipateDoNotInitiate")
        if (
            order.time_in_force == "FillOrKill"
            and self.book.available(other, limit, order.leaves_qty) < order.leaves_qty
        ):
            return self.end(order, "Order had timeInForce of FillOrKill")
        self._settle(order.side, order, self.book.take(other, limit, order.leaves_qty))
        account = self.accounts[order.account]
        order = account.orders[order.order_id]
        if not order.open:
            return order
        if order.ord_type not in LIMIT_TYPES:
            return self.end(order, f"Order had ordType of {order.ord_type}")
        if order.time_in_force == "ImmediateOrCancel":
            return self.end(order, "Order had timeInForce of ImmediateOrCancel")
        assert order.price_ticks is not None, "a resting order has a price"
        self.book.rest(order.side, order.price_ticks, order.order_id, order.leaves_qty)
        return order

    def market_bound(self, side: str) -> int:
        """The fat-finger limit: 5 % beyond the worse of best price and mark (section 3)."""
        mark = self.funding.mark_cents // self.contract.tick_cents
        best = self.book.best(opposite(side))
        if side == "Buy":
            return max(mark, best or 0) * 105 // 100
        return -(-min(mark, best or mark) * 95 // 100)

    def end(self, order: Order, reason: str) -> Order:
        """Cancel an order that is not in the book, for a reason of the venue."""
        return self._ended(order, f"Canceled: {reason}\n{order.text}")

    def cancel(self, order: Order, text: str) -> Order:
        """Cancel an open order wherever it is; `text` becomes the row's."""
        if order.working:
            assert order.price_ticks is not None, "only limits rest in the book"
            self.book.remove(order.side, order.price_ticks, order.order_id)
        return self._ended(order, text)

    def _ended(self, order: Order, text: str) -> Order:
        order = _REPLACE(
            order,
            ord_status="Canceled",
            leaves_qty=0,
            working=False,
            text=text,
            transact_ns=self.now_ns,
            timestamp_ns=self.now_ns,
        )
        self.put(order)
        self.tell(order, "Canceled")
        return order

    def activate(self, order: Order) -> Order:
        """A stop's price was reached: it becomes a market or limit order and trades."""
        order = _REPLACE(
            order,
            triggered="StopOrderTriggered",
            working=True,
            timestamp_ns=self.now_ns,
            text=f"Triggered: Order stop price reached\n{order.text}",
        )
        self.put(order)
        self.tell(order, "TriggeredOrActivatedBySystem")
        if order.reduces:
            room = self.reducible(order)
            if not room:
                return self.end(order, reduce_refusal(order, self._held(order)))
            qty = min(order.leaves_qty or room, room)
            if qty != order.leaves_qty:
                order = self.put(_REPLACE(order, order_qty=order.cum_qty + qty, leaves_qty=qty))
        return self.execute(order)

    def due_stop(self) -> Order | None:
        """The oldest waiting stop whose trigger price has been reached."""
        cents = {
            "MarkPrice": self.funding.mark_cents,
            "LastPrice": self.contract.cents(self.ticker.last_ticks),
            "IndexPrice": self.funding.index_cents,
        }
        for order_id in self.waiting:
            order = self.order(order_id)
            assert order.stop_ticks is not None, "only stops wait"
            stop_cents = self.contract.cents(order.stop_ticks)
            price_cents = cents[order.trigger]
            # A stop buys above and sells below the market; an if-touched order the other way.
            rising = (order.side == "Buy") == (order.ord_type in ("Stop", "StopLimit"))
            if price_cents >= stop_cents if rising else price_cents <= stop_cents:
                return order
        return None

    def _held(self, order: Order) -> int:
        return self.accounts[order.account].position.qty

    def reducible(self, order: Order) -> int:
        """The quantity by which an order of this side could reduce the position."""
        held = self._held(order)
        return max(0, -held if order.side == "Buy" else held)

    def shrink_reducing(self, account: Account) -> None:
        """Bring resting reduce-only orders down to the position, least aggressive first."""
        for side in ("Buy", "Sell"):
            orders = [
                order
                for order in account.open_orders.values()
                if order.side == side and order.reduces and order.working
            ]
            if not orders:
                continue
            held = account.position.qty
            excess = sum(order.leaves_qty for order in orders) - max(
                0, -held if side == "Buy" else held
            )
            orders.sort(key=lambda order: order.price_ticks or 0, reverse=side == "Sell")
            for order in orders:
                if excess <= 0:
                    break
                if excess >= order.leaves_qty:
                    excess -= order.leaves_qty
                    reason = reduce_refusal(order, held)
                    self.cancel(order, f"Canceled: {reason}\n{order.text}")
                else:
                    self.lessen(order, order.leaves_qty - excess)
                    excess = 0

    def lessen(self, order: Order, leaves_qty: int) -> Order:
        """Decrease a resting order, which keeps its place in the queue."""
        assert order.price_ticks is not None, "only limits rest in the book"
        self.book.reduce(order.side, order.price_ticks, order.order_id, leaves_qty)
        order = _REPLACE(
            order,
            order_qty=order.cum_qty + leaves_qty,
            leaves_qty=leaves_qty,
            transact_ns=self.now_ns,
            timestamp_ns=self.now_ns,
        )
        self.put(order)
        self.tell(order, "Replaced")
        return order

    # --- fills -----------------------------------------------------------------------------

    def _settle(self, side: str, taker: Order | None, hits: list[Hit]) -> None:
        """Book both sides of every match, the resting one first."""
        for hit in hits:
            match = Match(self.ids.execution(), hit.ticks, hit.qty, side)
            self.turn.matches.append(match)
            anonymous = hit.order_id == ANONYMOUS
            if anonymous and taker is None:
                continue
            maker = None if anonymous else self.order(hit.order_id)
            self._fill(maker, opposite(side), match, maker=True)
            if taker is not None:
                taker = self.accounts[taker.account].orders[taker.order_id]
            self._fill(taker, side, match, maker=False)

    def _fill(self, order: Order | None, side: str, match: Match, *, maker: bool) -> None:
        contract = self.contract
        account = self.accounts[CROWD if order is None else order.account]
        cost = contract.exec_cost(side, match.ticks, match.qty)
        rate = contract.maker_fee_ppm if maker else contract.taker_fee_ppm
        comm = 0 if account.internal else fee(cost, rate)
        weight = weight_of(contract.cents(match.ticks), match.qty)
        account.position, paid = fill(account.position, side, match.qty, cost, comm, weight)
        account.wallet += paid
        self.fees_collected += comm
        self.turn.accounts[account.number] = None
        if order is None:
            return
        leaves = order.leaves_qty - match.qty
        filled = _REPLACE(
            order,
            ord_status="PartiallyFilled" if leaves else "Filled",
            leaves_qty=leaves,
            working=leaves > 0,
            cum_qty=order.cum_qty + match.qty,
            weight=order.weight + weight,
            transact_ns=self.now_ns,
            timestamp_ns=self.now_ns,
            filled_ns=self.now_ns,
        )
        self.put(filled)
        exec_id = self.ids.execution()
        self.turn.executions.setdefault(account.number, []).append(
            trade_execution_row(filled, contract, exec_id, match, maker=maker, comm=comm)
        )
        self.book_payment(account, paid, "RealisedPNL", order_id=order.order_id, exec_id=exec_id)

    def book_payment(
        self, account: Account, amount: int, kind: str, *, order_id: str = "", exec_id: str = ""
    ) -> None:
        """Write a change of the wallet, already made, into the wallet history."""
        self.turn.accounts[account.number] = None
        if not amount or account.internal:
            return
        account.wallet_changed_ns = self.now_ns
        self.turn.transacts.setdefault(account.number, []).append(
            transact_row(
                account,
                self.ids.transaction(),
                kind,
                amount,
                self.now_ns,
                address="" if kind == "Deposit" else self.contract.symbol,
                order_id=order_id,
                exec_id=exec_id,
            )
        )


def reduce_refusal(order: Order, held_qty: int) -> str:
    """The venue's words for an order that could only have reduced (protocol section 4)."""
    inst = "Close" if "Close" in order.exec_inst else "ReduceOnly"
    return (
        f"Order had execInst of {inst} and side of {order.side} but current position is {held_qty}"
    )
