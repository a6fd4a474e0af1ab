"""The exchange: requests in, rows and changes out, and everything that time brings.

One instance is one venue with one contract. Time is an argument everywhere (UNIX nanoseconds);
nothing here reads a clock. The caller takes the changes after every call, and calls `commit`
before it lets an answer out.
"""

from collections.abc import Sequence

import msgspec

from chappie.simvenue import entry, settings
from chappie.simvenue.account import Account
from chappie.simvenue.changes import Change, Refusal, Row
from chappie.simvenue.contract import PPM, Contract
from chappie.simvenue.funding import Funding
from chappie.simvenue.ids import NO_ID, Ids
from chappie.simvenue.liquidation import liquidate_due
from chappie.simvenue.market import Market
from chappie.simvenue.orders import AmendRequest, Order, OrderRequest
from chappie.simvenue.pit import CROWD, LIQUIDATOR, Pit, Turn
from chappie.simvenue.publisher import account_changes, private_changes, public_changes
from chappie.simvenue.rows import order_row
from chappie.simvenue.stamps import MINUTE_NS, SECOND_NS, stamp
from chappie.simvenue.statements import margin_row, position_row, wallet_row
from chappie.simvenue.store import AccountState, Batch, SavedAccount, Store, StoreError, VenueState
from chappie.simvenue.ticker import Ticker

#: How often index and mark price move and instrument rows are told.
TICK_NS = SECOND_NS
#: How often the last price alone is worth a write.
_PRICE_SAVE_NS = 5 * SECOND_NS
#: Stops that set off stops: more than this in one event is a bug, not a market.
_CASCADE_MAX = 10_000

_SWITCH_TEXT = "Canceled\nCanceled via cancelAllAfter."
_REPLACE = msgspec.structs.replace


class Audit(msgspec.Struct, frozen=True):
    """Sums over all accounts, the venue's own included. `total` never changes but by deposits."""

    deposits: int
    wallets: int
    open_cost: int
    fees: int
    position_qty: int

    @property
    def total(self) -> int:
        return self.wallets - self.open_cost + self.fees


class Exchange:
    """See the module. `seed` decides the ids; the market has a seed of its own."""

    def __init__(
        self,
        at_ns: int,
        market: Market,
        store: Store | None = None,
        *,
        contract: Contract | None = None,
        seed: int = 0,
    ) -> None:
        self.contract = contract or Contract()
        self._market = market
        self._store = store
        saved = store.venue() if store else None
        if saved and (saved.symbol, saved.tick_cents) != (
            self.contract.symbol,
            self.contract.tick_cents,
        ):
            raise StoreError(
                f"the saved accounts are of {saved.symbol} with a tick of"
                f" {saved.tick_cents / 100}, this venue trades {self.contract.symbol} with a tick"
                f" of {self.contract.tick_cents / 100}"
            )
        self.epoch = saved.epoch + 1 if saved else 1
        first = saved.last_ticks if saved else market.first_ticks
        ticker = Ticker(at_ns, self.contract, first)
        self._ids = Ids(seed, self.epoch)
        self.pit = Pit(self.contract, self._ids, ticker, Funding(at_ns, market.index_cents))
        self.pit.now_ns = at_ns
        self._now_ns = at_ns
        self._tick_due_ns = (at_ns // TICK_NS + 1) * TICK_NS
        self._changes: list[Change] = []
        self._dirty_accounts: dict[int, None] = {}
        self._dirty_orders: dict[str, Order] = {}
        self._new_executions: list[tuple[int, Row]] = []
        self._new_transacts: list[tuple[int, Row]] = []
        self._saved_price_ns = at_ns
        if store and saved:
            self.pit.fees_collected = saved.fees_collected
            for account in store.accounts():
                self._restore(account)
        market.start(at_ns, self.pit)
        self._tick_prices(at_ns)
        self._publish()
        self._tell_tick()
        self._changes.clear()
        if store:
            self._save()

    # --- accounts --------------------------------------------------------------------------

    def _restore(self, saved: SavedAccount) -> None:
        state = saved.state
        account = self.pit.accounts.get(state.number)
        if account is None:
            account = Account(state.number, self.contract)
            self.pit.accounts[state.number] = account
        account.wallet = state.wallet
        account.deposited = state.deposited
        account.position = state.position
        account.has_position_row = state.has_position_row
        account.cancel_at_ns = state.cancel_at_ns
        account.wallet_changed_ns = state.wallet_changed_ns
        account.executions.extend(saved.executions)
        account.history.extend(saved.history)
        for order in saved.orders:
            account.keep(order)
            if not order.open:
                continue
            self.pit.owners[order.order_id] = account.number
            if order.waits:
                self.pit.waiting[order.order_id] = None
            elif order.price_ticks is not None:
                self.pit.book.rest(order.side, order.price_ticks, order.order_id, order.leaves_qty)

    def open_account(self, at_ns: int, account: int, deposit: int) -> None:
        """Make an account with a deposit in satoshi; one that exists already is left as it is."""
        assert account > 0, "account numbers below 1 are the venue's own"
        self.advance(at_ns)
        if account in self.pit.accounts:
            self._changes.extend(account_changes(self.pit, self.pit.accounts[account], at_ns))
            return
        opened = Account(account, self.contract)
        opened.wallet = opened.deposited = deposit
        opened.wallet_changed_ns = at_ns
        self.pit.accounts[account] = opened
        self.pit.book_payment(opened, deposit, "Deposit")
        self._publish()

    def _account(self, number: int) -> Account:
        account = self.pit.accounts.get(number)
        if account is None or account.internal:
            raise Refusal(400, "Invalid account", "ValidationError")
        return account

    # --- orders ----------------------------------------------------------------------------

    def submit(self, at_ns: int, account: int, request: OrderRequest) -> Row:
        """POST /order: the order's row in its final state, or a Refusal."""
        owner = self._begin(at_ns, account)
        order_id = entry.submit(self.pit, owner, request)
        self._publish()
        return self._row(owner.orders[order_id])

    def amend(self, at_ns: int, account: int, request: AmendRequest) -> Row:
        """PUT /order: the amended row, or a Refusal."""
        owner = self._begin(at_ns, account)
        order_id = entry.amend(self.pit, owner, request)
        self._publish()
        return self._row(owner.orders[order_id])

    def cancel(
        self,
        at_ns: int,
        account: int,
        *,
        order_ids: Sequence[str] = (),
        cl_ord_ids: Sequence[str] = (),
        text: str = "",
    ) -> list[Row]:
        """DELETE /order: a row per id, with an `error` where it failed; 404 if none is known."""
        owner = self._begin(at_ns, account)
        ids, errors = entry.cancel(self.pit, owner, order_ids, cl_ord_ids, text)
        self._publish()
        if not any(order_id in owner.orders for order_id in ids):
            raise Refusal(404, "Not Found")
        return [errors.get(order_id) or self._row(owner.orders[order_id]) for order_id in ids]

    def cancel_all(
        self,
        at_ns: int,
        account: int,
        *,
        symbol: str | None = None,
        side: str | None = None,
        text: str = "",
    ) -> list[Row]:
        """DELETE /order/all: the rows of what was cancelled, possibly none."""
        owner = self._begin(at_ns, account)
        chosen = entry.cancel_all(
            self.pit, owner, symbol=symbol, side=side, text=entry.cancel_text(text)
        )
        self._publish()
        return [self._row(owner.orders[order_id]) for order_id in chosen]

    def cancel_all_after(self, at_ns: int, account: int, timeout_ms: int, skew_ns: int = 0) -> Row:
        """The dead man's switch: each call replaces the timer, 0 disarms it (section 5).

        Both times are stated by the venue's clock, which may be ``skew_ns`` wrong.
        """
        owner = self._begin(at_ns, account)
        if timeout_ms < 0:
            raise Refusal(400, "Invalid timeout", "ValidationError")
        owner.cancel_at_ns = at_ns + timeout_ms * 1_000_000 if timeout_ms else None
        self._dirty_accounts[account] = None
        fires_ns = owner.cancel_at_ns
        until: str | int = 0 if fires_ns is None else stamp(fires_ns + skew_ns)
        return {"now": stamp(at_ns + skew_ns), "cancelTime": until}

    def _begin(self, at_ns: int, account: int, symbol: str | None = None) -> Account:
        self.advance(at_ns)
        if symbol not in (None, self.contract.symbol):
            raise Refusal(400, "Invalid symbol", "ValidationError")
        return self._account(account)

    def _row(self, order: Order) -> Row:
        return order_row(order, self.contract)

    # --- position settings -----------------------------------------------------------------

    def set_leverage(self, at_ns: int, account: int, symbol: str, leverage: float) -> Row:
        """POST /position/leverage: the position's row."""
        owner = self._begin(at_ns, account, symbol)
        settings.set_leverage(self.pit, owner, leverage)
        return self._settled(owner)

    def isolate(self, at_ns: int, account: int, symbol: str, enabled: bool) -> Row:
        """POST /position/isolate: the position's row."""
        owner = self._begin(at_ns, account, symbol)
        settings.isolate(self.pit, owner, enabled=enabled)
        return self._settled(owner)

    def transfer_margin(self, at_ns: int, account: int, symbol: str, amount: int) -> Row:
        """POST /position/transferMargin: the position's row."""
        owner = self._begin(at_ns, account, symbol)
        settings.transfer_margin(self.pit, owner, amount)
        return self._settled(owner)

    def set_risk_limit(self, at_ns: int, account: int, symbol: str, risk_limit: int) -> Row:
        """POST /position/riskLimit: the position's row."""
        owner = self._begin(at_ns, account, symbol)
        settings.set_risk_limit(self.pit, owner, risk_limit)
        return self._settled(owner)

    def _settled(self, owner: Account) -> Row:
        self._publish()
        return self._position_row(owner)

    # --- time ------------------------------------------------------------------------------

    def next_deadline(self) -> int | None:
        """The next instant at which something happens by itself."""
        due = min(self._tick_due_ns, self.pit.funding.due_ns)
        for account in self.pit.accounts.values():
            if account.cancel_at_ns is not None:
                due = min(due, account.cancel_at_ns)
        market = self._market.next_deadline()
        return due if market is None else min(due, market)

    def advance(self, at_ns: int) -> None:
        """Let everything happen that is due by `at_ns`, each thing at its own instant."""
        while True:
            due = self.next_deadline()
            if due is None or due > at_ns:
                break
            self._at(max(due, self._now_ns))
            self._run_due(due)
            self._publish()
        self._at(at_ns)

    def _at(self, at_ns: int) -> None:
        # A caller's clock may step back; the venue's own time never does.
        self._now_ns = self.pit.now_ns = max(self._now_ns, at_ns)

    def _run_due(self, due_ns: int) -> None:
        """Exactly one of what is due: timers, funding, the price tick, then the market."""
        for account in self.pit.accounts.values():
            if account.cancel_at_ns is not None and account.cancel_at_ns <= due_ns:
                account.cancel_at_ns = None
                self._dirty_accounts[account.number] = None
                entry.cancel_all(self.pit, account, symbol=None, side=None, text=_SWITCH_TEXT)
                return
        if self.pit.funding.due_ns <= due_ns:
            self._fund()
        elif self._tick_due_ns <= due_ns:
            if self._tick_due_ns % MINUTE_NS == 0:
                self._print_index()
            self._tick_due_ns += TICK_NS
            self._tick_prices(self._now_ns)
            self._tell_tick()
        else:
            self._market.advance(due_ns, self.pit)

    def _tick_prices(self, at_ns: int) -> None:
        """Move index and mark, and let the mark liquidate."""
        bid, _, ask, _ = self.pit.book.top()
        mid = None if bid is None or ask is None else self.contract.cents(bid + ask) // 2
        self.pit.funding.update(at_ns, self._market.index_cents, mid)
        liquidate_due(self.pit)

    def _tell_tick(self) -> None:
        self.pit.ticker.roll(self._now_ns)
        self._changes.extend(
            self.pit.ticker.instrument_changes(
                self._now_ns, self.pit.funding, self.pit.book.top(), self._long_qty()
            )
        )
        for account in self.pit.accounts.values():
            if not account.internal and account.has_position_row:
                self._changes.extend(account_changes(self.pit, account, self._now_ns))

    def _print_index(self) -> None:
        row = self.pit.ticker.index_print(self._now_ns, self.pit.funding.index_cents)
        self._changes.append(Change("trade", "insert", [row], self.contract.index_symbol))

    def _fund(self) -> None:
        """Longs pay shorts when the rate is positive; the crowd is the other side of it all."""
        funding, contract = self.pit.funding, self.contract
        crowd = self.pit.accounts[CROWD]
        for account in self.pit.accounts.values():
            held = account.position.qty
            if account is crowd or not held:
                continue
            value = contract.value(funding.mark_cents, abs(held))
            size = value * abs(funding.rate_ppm) // PPM
            paid = size if (held > 0) == (funding.rate_ppm > 0) else -size
            self._pay_funding(account, paid)
            crowd.wallet += paid
            self.pit.turn.accounts[CROWD] = None
        row = self.pit.ticker.funding(self._now_ns, funding.rate_ppm)
        self._changes.append(Change("funding", "insert", [row], contract.symbol))
        funding.roll()

    def _pay_funding(self, account: Account, paid: int) -> None:
        funding, contract = self.pit.funding, self.contract
        held = account.position.qty
        account.wallet -= paid
        account.position = _REPLACE(
            account.position, current_comm=account.position.current_comm + paid
        )
        self.pit.turn.accounts[account.number] = None
        if account.internal:
            return
        exec_id = self._ids.execution()
        value = contract.value(funding.mark_cents, abs(held))
        time = stamp(self._now_ns)
        row: Row = {
            "execID": exec_id,
            "orderID": NO_ID,
            "account": account.number,
            "symbol": contract.symbol,
            "lastQty": abs(held),
            "lastPx": funding.mark_cents / 100,
            "orderQty": abs(held),
            "currency": "USD",
            "settlCurrency": "XBt",
            "execType": "Funding",
            "ordType": "Limit",
            "timeInForce": "AtTheClose",
            "ordStatus": "Filled",
            "workingIndicator": False,
            "leavesQty": 0,
            "cumQty": abs(held),
            "avgPx": funding.mark_cents / 100,
            "commission": funding.rate_ppm / PPM,
            "text": "Funding",
            "trdMatchID": self._ids.execution(),
            "execCost": -value if held > 0 else value,
            "execComm": paid,
            "transactTime": time,
            "timestamp": time,
        }
        self.pit.turn.executions.setdefault(account.number, []).append(row)
        self.pit.book_payment(account, -paid, "Funding", exec_id=exec_id)

    # --- the end of an event ---------------------------------------------------------------

    def _publish(self) -> None:
        """Let the event's consequences happen, then turn all of it into changes."""
        at_ns = self._now_ns
        pit = self.pit
        if pit.turn.private:
            self._shrink_reducing()
        self._changes.extend(public_changes(pit, at_ns))
        pit.turn.matches = []
        for _ in range(_CASCADE_MAX):
            stop = pit.due_stop() if pit.waiting else None
            if stop is None:
                break
            pit.activate(stop)
            self._shrink_reducing()
            self._changes.extend(public_changes(pit, at_ns))
            pit.turn.matches = []
        else:
            raise AssertionError("stops set each other off without end")
        turn = pit.turn
        if not turn.private:
            return
        pit.turn = Turn()
        self._changes.extend(private_changes(pit, turn, at_ns))
        self._remember(turn)

    def _shrink_reducing(self) -> None:
        for number in list(self.pit.turn.accounts):
            self.pit.shrink_reducing(self.pit.accounts[number])

    def _remember(self, turn: Turn) -> None:
        for number, rows in turn.executions.items():
            account = self.pit.accounts[number]
            if account.internal:
                continue
            account.executions.extend(rows)
            if self._store:
                self._new_executions.extend((number, row) for row in rows)
        for number, rows in turn.transacts.items():
            self.pit.accounts[number].history.extend(rows)
            if self._store:
                self._new_transacts.extend((number, row) for row in rows)
        if self._store:
            self._dirty_accounts.update(turn.accounts)
            for order_id, number in turn.order_accounts.items():
                order = self.pit.accounts[number].orders.get(order_id)
                if order is not None:
                    self._dirty_orders[order_id] = order

    def take_changes(self) -> list[Change]:
        """What happened since the last call, in order. The caller must take them regularly."""
        taken, self._changes = self._changes, []
        return taken

    def commit(self) -> None:
        """Make durable what happened; before an answer or a change is let out."""
        if self._store is None:
            return
        if not self._dirty_accounts and self._now_ns - self._saved_price_ns < _PRICE_SAVE_NS:
            return
        self._save()

    def _save(self) -> None:
        assert self._store is not None, "only with a store"
        self._store.save(
            Batch(
                VenueState(
                    symbol=self.contract.symbol,
                    tick_cents=self.contract.tick_cents,
                    epoch=self.epoch,
                    last_ticks=self.pit.last_ticks,
                    fees_collected=self.pit.fees_collected,
                ),
                [_account_state(self.pit.accounts[number]) for number in self._dirty_accounts],
                list(self._dirty_orders.values()),
                self._new_executions,
                self._new_transacts,
            )
        )
        self._saved_price_ns = self._now_ns
        self._dirty_accounts = {}
        self._dirty_orders = {}
        self._new_executions = []
        self._new_transacts = []

    def close(self) -> None:
        """Commit what is left and close the store."""
        if self._store is not None:
            self._save()
            self._store.close()

    # --- queries ---------------------------------------------------------------------------

    def set_state(self, at_ns: int, state: str) -> None:
        """The contract's state column; anything but Open refuses new orders."""
        self.advance(at_ns)
        self.pit.ticker.state = state
        self._tell_tick()

    def orders(self, account: int) -> list[Row]:
        """All orders, oldest first; dead ones up to a bound."""
        return [self._row(order) for order in self._account(account).orders.values()]

    def executions(self, account: int) -> list[Row]:
        return list(self._account(account).executions)

    def positions(self, account: int) -> list[Row]:
        owner = self._account(account)
        return [self._position_row(owner)] if owner.has_position_row else []

    def _position_row(self, owner: Account) -> Row:
        funding = self.pit.funding
        return position_row(
            owner, self.contract, funding.mark_cents, funding.rate_ppm, self._now_ns
        )

    def margin(self, account: int, currency: str = "XBt") -> Row:
        """The margin row; everything is held in XBt."""
        if currency != "XBt":
            raise Refusal(400, "Invalid currency", "ValidationError")
        funding = self.pit.funding
        return margin_row(
            self._account(account),
            self.contract,
            funding.mark_cents,
            funding.rate_ppm,
            self._now_ns,
        )

    def wallet(self, account: int) -> Row:
        return wallet_row(self._account(account))

    def wallet_history(self, account: int) -> list[Row]:
        """Oldest first; `walletBalance` of the last row is the wallet."""
        return list(self._account(account).history)

    def instruments(self) -> list[Row]:
        """The contract, then its index."""
        ticker, funding = self.pit.ticker, self.pit.funding
        return [
            ticker.instrument_row(self._now_ns, funding, self.pit.book.top(), self._long_qty()),
            ticker.index_row(self._now_ns, funding.index_cents),
        ]

    def _long_qty(self) -> int:
        return sum(max(0, account.position.qty) for account in self.pit.accounts.values())

    def levels(self, symbol: str) -> list[Row]:
        """orderBookL2 rows: Sell from high to low, then Buy from high to low."""
        if symbol != self.contract.symbol:
            return []
        now = stamp(self._now_ns)
        return [
            {
                "symbol": symbol,
                "id": level.level_id,
                "side": side,
                "size": level.size,
                "price": self.contract.price(ticks),
                "timestamp": now,
                "transactTime": stamp(level.changed_ns),
            }
            for side in ("Sell", "Buy")
            for ticks, level in self.pit.book.levels(side)
        ]

    def trades(self, symbol: str) -> list[Row]:
        if symbol == self.contract.index_symbol:
            return list(self.pit.ticker.index_trades)
        return list(self.pit.ticker.trades) if symbol == self.contract.symbol else []

    def quotes(self, symbol: str) -> list[Row]:
        return list(self.pit.ticker.quotes) if symbol == self.contract.symbol else []

    def fundings(self, symbol: str) -> list[Row]:
        return list(self.pit.ticker.fundings) if symbol == self.contract.symbol else []

    def liquidations(self, symbol: str) -> list[Row]:
        """What the liquidation engine is working off."""
        rows = [self._row(o) for o in self.pit.accounts[LIQUIDATOR].open_orders.values()]
        names = ("orderID", "symbol", "side", "price", "leavesQty")
        return [{name: row[name] for name in names} for row in rows if row["symbol"] == symbol]

    def bins(self, symbol: str, bin_ns: int) -> list[Row]:
        """Bucketed trades, stamped with the end of the bin; whole minutes only."""
        if symbol != self.contract.symbol:
            return []
        self.pit.ticker.roll(self._now_ns)
        return self.pit.ticker.bins(bin_ns)

    def audit(self) -> Audit:
        """Sums that must not change but by deposits, for tests and for the curious."""
        accounts = self.pit.accounts.values()
        return Audit(
            deposits=sum(account.deposited for account in accounts),
            wallets=sum(account.wallet for account in accounts),
            open_cost=sum(account.position.cost for account in accounts),
            fees=self.pit.fees_collected,
            position_qty=sum(account.position.qty for account in accounts),
        )


def _account_state(account: Account) -> AccountState:
    return AccountState(
        number=account.number,
        wallet=account.wallet,
        deposited=account.deposited,
        position=account.position,
        has_position_row=account.has_position_row,
        cancel_at_ns=account.cancel_at_ns,
        wallet_changed_ns=account.wallet_changed_ns,
    )
