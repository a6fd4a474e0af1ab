"""What is true of our account at the venue, read where it keeps it; and what a core believes."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from chappie.core.core import Core
from chappie.simulation.hand import ACCOUNT, PREFIX
from chappie.simvenue.orders import Order

if TYPE_CHECKING:
    from chappie.simulation.night import Night

_BOOKED_KINDS = ("Trade", "Liquidation", "Bankruptcy", "Settlement")


class Truth:
    """What the venue knows of the account, read where it keeps it."""

    def __init__(self, night: "Night") -> None:
        self._account = night.exchange.pit.accounts[ACCOUNT]
        self._night = night
        self._read = 0
        # Our fills, and the payments that are ours to book: (when, row).
        self.fills: list[tuple[int, dict[str, Any]]] = []
        self.payments: list[dict[str, Any]] = []
        self.our_qty = 0
        self.hand_qty = 0
        # Since when another hand has been holding something.
        self.hand_since_ns: int | None = None
        # The closing orders of flattens, and what one of them did that it must not.
        self.closing: dict[str, None] = {}
        self.opened_by_closing = ""
        # When the venue last took our position from us.
        self.liquidated_ns: int | None = None

    def read(self) -> None:
        """Take in what was executed since the last look."""
        rows = self._account.executions
        if self._read == len(rows):
            return
        for index in range(self._read, len(rows)):
            self._take(rows[index])
        self._read = len(rows)

    def _take(self, row: dict[str, Any]) -> None:
        if row["execType"] == "Funding":
            self.payments.append(row)
        elif row["execType"] in _BOOKED_KINDS:
            signed = row["lastQty"] if row["side"] == "Buy" else -row["lastQty"]
            if str(row.get("clOrdID") or "").startswith(PREFIX):
                if not self.hand_qty:
                    self.hand_since_ns = self._night.now_ns
                self.hand_qty += signed
                if not self.hand_qty:
                    self.hand_since_ns = None
            else:
                before, self.our_qty = self.our_qty, self.our_qty + signed
                if (
                    row.get("clOrdID") in self.closing
                    and not 0 <= self.our_qty * before < before**2
                ):
                    self.opened_by_closing = f"{row['clOrdID']}: {before} to {self.our_qty}"
                self.fills.append((self._night.now_ns, row))
                if row["execType"] in ("Liquidation", "Bankruptcy"):
                    self.liquidated_ns = self._night.now_ns

    def working(self) -> Iterator[Order]:
        """Our orders that work."""
        for order in self._account.open_orders.values():
            if self._night.is_ours(order.cl_ord_id):
                yield order

    def names_since(self, order_id: str) -> list[str]:
        """Our orders that the venue took after that one, of whomever it is."""
        newer = itertools.takewhile(
            lambda order: order.order_id != order_id, reversed(self._account.orders.values())
        )
        return [order.cl_ord_id for order in newer if self._night.is_ours(order.cl_ord_id)]

    @property
    def last_order_id(self) -> str:
        """The order that the venue took last, of anybody's."""
        return next(reversed(self._account.orders), "")

    @property
    def switch_ns(self) -> int | None:
        return self._account.cancel_at_ns

    def is_ours(self, order_id: str) -> bool:
        order = self._account.orders.get(order_id)
        return order is not None and self._night.is_ours(order.cl_ord_id)


def live(core: Core) -> dict[str, int]:
    """What the core believes to work or to be able to: contracts at worst, by clOrdID."""
    return {o.asked.cl_ord_id: o.leaves_worst for o in core.desk.account.blotter.live()}


def knows(core: Core, order: Order) -> bool:
    """Whether the core believes that an order of ours works, of this run or of an older one."""
    believed = core.desk.account.blotter.get(order.cl_ord_id)
    return believed is not None and believed.is_live
