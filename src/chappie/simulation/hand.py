"""Another hand on our account: somebody who trades, cancels and loses money beside the bot.

It acts on the exchange itself, so that neither the network nor the request budget is touched.
"""

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from chappie.model.units import SECOND_NS
from chappie.simvenue.account import Account
from chappie.simvenue.changes import Refusal
from chappie.simvenue.orders import OrderRequest

if TYPE_CHECKING:
    from chappie.simulation.night import Night

ACCOUNT = 1
PREFIX = "hand-"
# Far enough from the touch not to be filled in a night.
_FAR = 0.05


class Hand:
    """Its orders are named, so that what it did can be told from what we did."""

    def __init__(self, night: "Night") -> None:
        self._night = night
        self._count = 0
        self._liquidating = False

    @property
    def net(self) -> int:
        """Contracts that it holds, of the account's position."""
        return self._night.witness.hand_qty

    def rest(self, chance: Random) -> None:
        """Some orders far from the market, for a while."""
        night = self._night
        contract = night.exchange.contract
        last = night.exchange.pit.last_ticks
        for _ in range(chance.randint(1, 3)):
            side = chance.choice(("Buy", "Sell"))
            ticks = round(last * (1 - _FAR if side == "Buy" else 1 + _FAR)) + chance.randrange(50)
            name = self._order(side, 100, Decimal(str(contract.price(ticks))))
            if name is not None:
                night.fired()
                night.later(chance.randint(1, 60) * SECOND_NS, lambda it=name: self._cancel(it))  # type: ignore[misc]

    def trade(self, chance: Random) -> None:
        """Trade at market; half of the time it trades back before anybody has to stop."""
        night = self._night
        if self.net or self._liquidating:
            return
        if self._order(chance.choice(("Buy", "Sell")), 100 * chance.randint(1, 3), None):
            night.fired()
            if chance.random() < 0.5:
                night.later(chance.randint(1, 40) * SECOND_NS, self.trade_back)

    def trade_back(self) -> None:
        """Leave the account as if it had never been here."""
        net = self.net
        if net:
            self._order("Sell" if net > 0 else "Buy", abs(net), None)

    def cancel_ours(self, chance: Random) -> None:
        night = self._night
        ours = [o for o in self._account.open_orders.values() if night.is_ours(o.cl_ord_id)]
        if ours:
            night.fired()
            ids = [order.order_id for order in ours]
            night.exchange.cancel(night.now_ns, ACCOUNT, order_ids=ids, text="by hand")
            self._publish()

    def ruin(self, chance: Random) -> None:
        """Take the account's money away, so that the next mark liquidates its position."""
        night, account = self._night, self._account
        if self.net or self._liquidating or not account.position.qty:
            return
        taken = account.wallet
        account.wallet = 0
        self._liquidating = True
        night.fired()
        night.note("the account's money is gone")

        def deposit() -> None:
            account.wallet += taken
            self._liquidating = False

        night.later(chance.randint(3, 20) * SECOND_NS, deposit)

    def _order(self, side: str, qty: int, price: Decimal | None) -> str | None:
        night = self._night
        self._count += 1
        name = f"{PREFIX}{self._count}"
        request = OrderRequest(
            symbol=night.exchange.contract.symbol,
            side=side,
            order_qty=qty,
            price=price,
            ord_type="Market" if price is None else "Limit",
            cl_ord_id=name,
        )
        try:
            night.exchange.submit(night.now_ns, ACCOUNT, request)
        except Refusal as refusal:
            night.note(f"the hand is refused: {refusal.message}")
            return None
        night.note(f"the hand: {side} {qty} {'at market' if price is None else f'@ {price}'}")
        self._publish()
        return name

    def _cancel(self, name: str) -> None:
        night = self._night
        if any(order.cl_ord_id == name for order in self._account.open_orders.values()):
            night.exchange.cancel(night.now_ns, ACCOUNT, cl_ord_ids=[name], text="by hand")
            self._publish()

    @property
    def _account(self) -> Account:
        return self._night.exchange.pit.accounts[ACCOUNT]

    def _publish(self) -> None:
        self._night.venue.advance(self._night.now_ns)
        self._night.perform()
