"""The flatten: one reduce-only order that closes the position, and nothing else.

ReduceOnly with a quantity, not the venue's `Close` (protocol section 4): that one is never shed,
but it closes whatever the account holds, and control O14 wants an order that provably reduces what
our own ledger explains. Where it is shed, the refusal is definite, and another one is sent.
"""

import msgspec

from chappie.core.budget import Budget
from chappie.core.desk import Desk
from chappie.core.faults import ActiveFaults
from chappie.core.gate import Denial, examine
from chappie.core.market import Market
from chappie.core.orders import Order
from chappie.core.pacing import Pace
from chappie.core.requests import Requests
from chappie.core.trading import Trading
from chappie.model.enums import OrdType, Side, TimeInForce
from chappie.model.faults import Fault
from chappie.model.orders import NewOrder
from chappie.model.units import SECOND_NS, At, Contracts

_ORDERS_MAX = 6
_AGAIN_NS = SECOND_NS // 2  # protocol section 4: after an overload retry no sooner
_AGAIN_MAX_NS = 4 * SECOND_NS
# An order at market that the venue still shows as working after this is taken back.
_WORKS_AT_MOST_NS = SECOND_NS


class Flatten:
    """Closes the position once it is wanted; `words` say what came of it."""

    def __init__(
        self,
        faults: ActiveFaults,
        requests: Requests,
        budget: Budget,
        market: Market,
        desk: Desk,
        trading: Trading,
    ) -> None:
        self.wanted = False
        self.words = ""
        # Why none may be sent, whoever wants it; empty while one may.
        self.refused = ""
        self._faults = faults
        self._requests = requests
        self._budget = budget
        self._market = market
        self._desk = desk
        self._account = desk.account
        self._trading = trading
        self._sent: list[str] = []
        self._pace = Pace(_AGAIN_NS, _AGAIN_MAX_NS)

    def want(self) -> None:
        self.wanted = True

    def awaits(self, order: Order, now_ns: int) -> bool:
        """Whether a live order is our closing one, whose fate is still on its way."""
        if order.asked.cl_ord_id not in self._sent:
            return False
        return order.request is not None or now_ns - order.born_ns < _WORKS_AT_MOST_NS

    def is_done(self, at: At, *, verified: bool) -> bool:
        """Send the next closing order where one is due; True when there is nothing left to do.

        To be called when no order of ours works any more; ``verified``: a read after the last of
        them ended agrees with the ledger. So none is sent before the fate of the one before it is
        known, and each is for what is then left.
        """
        if not self.wanted or self.words:
            return True
        if self.refused:
            self._fail(self.refused)
        elif not verified:
            self._fail(self._dispute())
        elif not self._account.ledger.qty:
            self.words = "flattened, position 0" if self._sent else "it was flat, position 0"
        elif len(self._sent) >= _ORDERS_MAX:
            self._fail(f"{_ORDERS_MAX} closing orders did not do it")
        elif at.now_ns >= max(self._pace.until_ns, self._budget.pauses_until_ns):
            self._close(at)
        return bool(self.words)

    def give_up(self, why: str) -> None:
        """The stop ends now."""
        if self.wanted and not self.words:
            self._fail(why)

    def _close(self, at: At) -> None:
        instrument, naming = self._market.instrument, self._account.naming
        assert instrument is not None, "a position is verified by reads, which need the instrument"
        assert naming is not None, "a run that stops was started"
        held = self._account.ledger.qty
        most = min(abs(held), instrument.max_order_qty or abs(held))
        qty = most // instrument.lot_size * instrument.lot_size
        if not qty:
            self._fail(f"it is less than a lot of {instrument.lot_size}")
            return
        order = NewOrder(
            cl_ord_id=naming.next(),
            symbol=instrument.symbol,
            side=Side.SELL if held > 0 else Side.BUY,
            qty=Contracts(qty),
            ord_type=OrdType.MARKET,
            price=None,
            time_in_force=TimeInForce.IOC,
            post_only=False,
            reduce_only=True,
        )
        fence_ns = self._requests.fence_ns(at)
        seen = self._trading.circumstances(at, instrument, fence_ns)
        # The lock keeps the rest of the budget for what reduces risk, and this does; that the
        # venue itself wants us to wait was asked before.
        seen = msgspec.structs.replace(seen, locked=False, flattening=True)
        verdict = examine(order, seen)
        if isinstance(verdict, Denial):
            self._fail(verdict.value)
            return
        self._sent.append(order.cl_ord_id)
        self._pace.failed(at.now_ns)
        self._desk.send(at, verdict, 0, fence_ns)

    def _dispute(self) -> str:
        """Why the position is not known well enough to be closed."""
        for active in self._faults.all():
            if active.fault in (Fault.POSITION_DISAGREES, Fault.NOT_ALONE):
                return active.detail
        return "the account could not be verified"

    def _fail(self, why: str) -> None:
        held = self._account.ledger.qty
        left = f"position {held} stays open" if held else "position 0 is not verified"
        self.words = f"not flattened: {why}; {left}"
