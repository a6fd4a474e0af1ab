"""A stage for tests of the exchange: a market that does exactly what the test says."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from chappie.simvenue.changes import Change, Refusal, Row
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.market import MarketFloor
from chappie.simvenue.orders import AmendRequest, OrderRequest
from chappie.simvenue.store import Store

T0 = 1_732_500_000_000_000_000  # 2024-11-25T02:00:00Z: two hours before a funding instant.
SECOND = 1_000_000_000
ALICE, BOB = 101, 202
DEPOSIT = 100_000_000


class Script:
    """A market of scheduled acts; the index stays where the test puts it."""

    def __init__(self, price: float = 60_000.0) -> None:
        self.first_ticks = round(price * 10)
        self.index_cents = round(price * 100)
        self._acts: list[tuple[int, Callable[[MarketFloor], object]]] = []

    def do(self, at_ns: int, act: Callable[[MarketFloor], object]) -> None:
        self._acts.append((at_ns, act))

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        pass

    def next_deadline(self) -> int | None:
        return self._acts[0][0] if self._acts else None

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        self._acts.pop(0)[1](floor)


class Stage:
    """One exchange with two rich accounts, and a clock that steps a millisecond per act."""

    def __init__(
        self, *, deposit: int = DEPOSIT, store: Store | None = None, price: float = 60_000.0
    ) -> None:
        self.market = Script(price)
        self.now = T0
        self.exchange = Exchange(self.now, self.market, store, seed=7)
        for account in (ALICE, BOB):
            self.exchange.open_account(self.now, account, deposit)
        self.exchange.take_changes()

    def tick(self, ns: int = 1_000_000) -> int:
        self.now += ns
        return self.now

    def crowd(self, act: Callable[[MarketFloor], object]) -> None:
        """Let strangers act now."""
        self.market.do(self.tick(), act)
        self.exchange.advance(self.now)

    def level(self, side: str, price: float, size: int) -> None:
        self.crowd(lambda floor: floor.set_level(side, round(price * 10), size))

    def strike(self, side: str, price: float, qty: int) -> None:
        self.crowd(lambda floor: floor.strike(side, round(price * 10), qty))

    def index(self, price: float) -> None:
        """Move the index and wait for the next price tick."""
        self.market.index_cents = round(price * 100)
        self.wait(1.0)

    def wait(self, seconds: float) -> None:
        self.exchange.advance(self.tick(int(seconds * SECOND)))

    def order(self, side: str, qty: int, price: float | str | None = None, **more: Any) -> Row:
        account = more.pop("account", ALICE)
        fields: dict[str, Any] = {"symbol": "XBTUSD", "side": side, "order_qty": qty, **more}
        if price is not None:
            fields["price"] = Decimal(str(price))
        elif "ord_type" not in fields and "stop_px" not in fields:
            fields["ord_type"] = "Market"
        return self.exchange.submit(self.tick(), account, OrderRequest(**fields))

    def amend(self, order: Row, account: int = ALICE, **more: Any) -> Row:
        for name in ("price", "stop_px"):
            if name in more:
                more[name] = Decimal(str(more[name]))
        if "orig_cl_ord_id" not in more:
            more["order_id"] = order["orderID"]
        return self.exchange.amend(self.tick(), account, AmendRequest(**more))

    def cancel(self, *orders: Row, account: int = ALICE, text: str = "") -> list[Row]:
        ids = [str(order["orderID"]) for order in orders]
        return self.exchange.cancel(self.tick(), account, order_ids=ids, text=text)

    def now_row(self, order: Row, account: int = ALICE) -> Row:
        return next(
            row for row in self.exchange.orders(account) if row["orderID"] == order["orderID"]
        )

    def position(self, account: int = ALICE) -> Row:
        return self.exchange.positions(account)[0]

    def changes(self, table: str, account: int | None = None) -> list[Change]:
        """Changes of one table since the last look; all others of that look are gone."""
        return [
            change
            for change in self.exchange.take_changes()
            if change.table == table and (account is None or change.account == account)
        ]


def refusal(act: Callable[[], object]) -> Refusal:
    """The refusal that an act meets; the test fails when it meets none."""
    try:
        act()
    except Refusal as met:
        return met
    raise AssertionError("nothing was refused")
