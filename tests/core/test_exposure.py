"""The largest position, on random sequences of orders, fills, doubts and ends (control L5).

The venue's truth runs beside what we were told of it: whatever of it still fills, the position
never exceeds the limit, because what may work counts from its request on.
"""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chappie.core.account import Account
from chappie.core.blotter import Naming
from chappie.core.gate import examine
from chappie.core.orders import Order, Outstanding, RequestKind, doubted, refused
from chappie.model.enums import OrdStatus, Side
from chappie.model.orders import Approved
from chappie.model.reports import OrderSaid
from chappie.model.units import Contracts
from tests.core.parts import asked, fill, said
from tests.core.test_gate import circumstances

LOT = 100
MAX = 1000
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*["ask"] * 5, "fill", "tell", "book", "doubt", "cancel", "refuse"]),
        st.integers(0, 9),
        st.integers(1, 5),
    ),
    min_size=12,
    max_size=60,
)


class There(msgspec.Struct):
    """An order as the venue has it; ``told`` and ``booked`` of its ``filled`` have reached us."""

    side: Side
    qty: int
    filled: int = 0
    told: int = 0
    booked: int = 0
    works: bool = True

    @property
    def leaves(self) -> int:
        return self.qty - self.filled if self.works else 0


class Both:
    """Our account, and the venue's."""

    def __init__(self) -> None:
        self.account = Account()
        self.account.naming = Naming("test", 1)
        self.there: dict[str, There] = {}
        self.position = 0
        self.execs = 0

    def ask(self, number: int, lots: int) -> None:
        side = Side.BUY if number % 2 else Side.SELL
        name = self.account.naming.next() if self.account.naming else ""
        order = asked(side, lots * LOT, name=name)
        verdict = examine(
            order,
            circumstances(
                qty=self.account.expected_qty,
                live_buy=self.account.working(Side.BUY),
                live_sell=self.account.working(Side.SELL),
                max_position=MAX,
            ),
        )
        if isinstance(verdict, Approved):
            request = Outstanding(RequestKind.NEW, 1, 0, 10)
            self.account.put(Order(verdict.value, 1, 0, request=request), 0)
            self.there[name] = There(side, order.qty)

    def one(self, number: int) -> str | None:
        names = list(self.there)
        return names[number % len(names)] if names else None

    def fill(self, name: str, lots: int) -> None:
        """The venue fills, and nobody knows yet."""
        there = self.there[name]
        qty = min(lots * LOT, there.leaves)
        there.filled += qty
        self.position += there.side.sign * qty

    def row(self, name: str) -> OrderSaid:
        there = self.there[name]
        done = not there.leaves
        status = OrdStatus.FILLED if there.filled == there.qty else OrdStatus.CANCELED
        status = status if done else OrdStatus.NEW
        there.told = there.filled
        told = said(status, there.filled, there.leaves, name=name, order_id=f"venue-{name}")
        return msgspec.structs.replace(told, side=there.side, qty=Contracts(there.qty))

    def tell(self, name: str) -> None:
        order = self.account.blotter.get(name)
        if order is not None:
            self.account.hear(order, self.row(name), 1)

    def book(self, name: str, lots: int) -> None:
        there = self.there[name]
        qty = min(lots * LOT, there.filled - there.booked)
        if qty:
            there.booked += qty
            self.execs += 1
            self.account.book(fill(f"e{self.execs}", there.side, qty, name=name), 1)

    def doubt(self, name: str) -> None:
        order = self.account.blotter.get(name)
        if order is not None and order.is_live and order.request is not None:
            self.account.put(doubted(order), 1)

    def cancel(self, name: str) -> None:
        """The venue ends it, and the word of it may take its time."""
        self.there[name].works = False

    def refuse(self, name: str) -> None:
        """A definite refusal: it never came to be."""
        order, there = self.account.blotter.get(name), self.there[name]
        if order is not None and order.is_live and order.said is None and not there.filled:
            there.works = False
            self.account.put(refused(order, 1, "refused"), 1)

    def worst(self, side: Side) -> int:
        works = sum(there.leaves for there in self.there.values() if there.side is side)
        return side.sign * self.position + works


@settings(max_examples=200)
@given(STEPS)
def test_whatever_still_fills_the_position_stays_within_its_limit(
    steps: list[tuple[str, int, int]],
) -> None:
    both = Both()
    for what, number, lots in steps:
        name = both.one(number)
        if what == "ask":
            both.ask(number, lots)
        elif name is not None:
            match what:
                case "fill":
                    both.fill(name, lots)
                case "book":
                    both.book(name, lots)
                case _:
                    getattr(both, what)(name)
        assert both.worst(Side.BUY) <= MAX
        assert both.worst(Side.SELL) <= MAX
