"""Our orders: the one owner of every `Order` value, and the names that tell whose they are.

clOrdIDs are prefix, bot, epoch and counter (control O3), so that any order on the account can be
told ours or foreign, and this run's or a dead one's, by its name alone.
"""

from chappie.core.fates import Fate, fate
from chappie.core.orders import Order
from chappie.model.enums import Side
from chappie.model.reports import OrderSaid

_PREFIX = "chp"
_KEPT_ENDED = 200
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Naming:
    """Makes and reads clOrdIDs such as ``chp-mybot-67h2k9-1a``."""

    def __init__(self, bot_id: str, epoch: int) -> None:
        self._ours = f"{_PREFIX}-{bot_id}-"
        self._run = f"{self._ours}{_base36(epoch)}-"
        self._epoch = epoch
        self._count = 0

    def next(self) -> str:
        """A name that no order ever had, at most 36 characters."""
        self._count += 1
        name = self._run + _base36(self._count)
        assert len(name) <= 36, name
        return name

    def is_ours(self, cl_ord_id: str | None) -> bool:
        """Whether the name is this bot's, of any run."""
        return cl_ord_id is not None and cl_ord_id.startswith(self._ours)

    def is_of_this_run(self, cl_ord_id: str | None) -> bool:
        return cl_ord_id is not None and cl_ord_id.startswith(self._run)

    def is_of_another_instance(self, cl_ord_id: str) -> bool:
        """Whether a living other instance made this name of ours: its epoch is newer, or it is
        ours and we never gave out that number (two starts at the same moment).
        """
        assert self.is_ours(cl_ord_id)
        epoch, _, count = cl_ord_id.removeprefix(self._ours).partition("-")
        made, number = _number(epoch), _number(count)
        if made is None or number is None:
            return False
        return (made, number) > (self._epoch, self._count)


class Blotter:
    """Orders by clOrdID, the newest last; a bounded number of ended ones is kept for people."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        # Those of them that anything is open about: looked through at every step.
        self._unsettled: dict[str, Order] = {}
        # How many ended how in this run; one that lived again ends once more.
        self.ended: dict[Fate, int] = dict.fromkeys(Fate, 0)

    def __contains__(self, cl_ord_id: object) -> bool:
        return cl_ord_id in self._orders

    def get(self, cl_ord_id: str) -> Order | None:
        return self._orders.get(cl_ord_id)

    def put(self, order: Order) -> None:
        """A new value of an order."""
        name = order.asked.cl_ord_id
        before = self._orders.get(name)
        if not order.is_live and (before is None or before.is_live):
            self.ended[fate(order)] += 1
        self._orders[name] = order
        if order.is_settled:
            self._unsettled.pop(name, None)
        else:
            self._unsettled[name] = order
        if len(self._orders) > 2 * _KEPT_ENDED:
            self._forget_ended()

    def find(self, row: OrderSaid) -> Order | None:
        """The order that a row is about; None when it is none of this blotter's."""
        name = row.cl_ord_id or self._name_of(row.order_id)
        return None if name is None else self._orders.get(name)

    def live(self) -> list[Order]:
        return [order for order in self._unsettled.values() if order.is_live]

    def unsettled(self) -> list[Order]:
        """Live ones, and those whose executions are still on their way."""
        return list(self._unsettled.values())

    def live_worst(self, side: Side) -> int:
        """Contracts of one side that may still fill, at worst."""
        return sum(o.leaves_worst for o in self.live() if o.asked.side is side)

    def _name_of(self, order_id: str) -> str | None:
        for name, order in self._orders.items():
            if order.said is not None and order.said.order_id == order_id:
                return name
        return None

    def _forget_ended(self) -> None:
        ended = [name for name in self._orders if name not in self._unsettled]
        for name in ended[:-_KEPT_ENDED]:
            del self._orders[name]


def _number(text: str) -> int | None:
    """What `_base36` wrote; None for anything else."""
    return int(text, 36) if text and all(digit in _DIGITS for digit in text) else None


def _base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if number == 0:
            return text
