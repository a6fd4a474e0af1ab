import hashlib
from collections import Counter

import msgspec
import pytest

from chappie.simvenue.changes import Row
from chappie.simvenue.crowd import Crowd
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.orders import OrderRequest
from tests.simvenue.stage import ALICE, BOB, DEPOSIT, SECOND, T0


def _exchange(seed: int = 1, rate: float = 25.0) -> Exchange:
    exchange = Exchange(T0, Crowd(T0, seed=seed, rate=rate), seed=seed)
    exchange.open_account(T0, ALICE, DEPOSIT)
    exchange.open_account(T0, BOB, DEPOSIT)
    exchange.take_changes()
    return exchange


def _touch(exchange: Exchange, side: str) -> float:
    best = exchange.pit.book.best(side)
    assert best is not None
    return exchange.contract.price(best)


def _request(side: str, qty: int, price: float | None = None) -> OrderRequest:
    fields = {"symbol": "XBTUSD", "side": side, "orderQty": qty, "price": price}
    if price is None:
        fields["ordType"] = "Market"
    return msgspec.convert({k: v for k, v in fields.items() if v is not None}, OrderRequest)


def _busy_minutes(seed: int, step_ns: int) -> str:
    """A digest of all changes of ten virtual minutes with two clients trading in them."""
    exchange, digest = _exchange(seed), hashlib.sha256()
    for number in range(600):
        until = T0 + (number + 1) * SECOND
        for at_ns in range(until - SECOND + step_ns, until + 1, step_ns):
            exchange.advance(at_ns)
        if number % 7 == 0:
            side = "Buy" if number % 2 else "Sell"
            exchange.submit(until, ALICE, _request(side, 300, _touch(exchange, side)))
        if number % 11 == 0:
            exchange.submit(until, BOB, _request("Sell" if number % 2 else "Buy", 500))
        if number % 60 == 0:
            exchange.cancel_all(until, ALICE)
        for change in exchange.take_changes():
            digest.update(msgspec.json.encode(change))
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_changes_whatever_the_step_of_the_clock() -> None:
    golden = _busy_minutes(5, SECOND)
    assert _busy_minutes(5, SECOND) == golden
    assert _busy_minutes(5, SECOND // 10) == golden
    assert _busy_minutes(6, SECOND) != golden


@pytest.fixture(scope="module")
def quarter() -> dict[str, object]:
    """A quarter of an hour of market, measured at every event, with a book kept from changes."""
    exchange = _exchange()
    mirror: dict[object, Row] = {row["id"]: row for row in exchange.levels("XBTUSD")}
    tables: Counter[str] = Counter()
    spreads: Counter[int] = Counter()
    sides: Counter[str] = Counter()
    crossed = 0
    shallow = 10**9
    while exchange.next_deadline() < T0 + 900 * SECOND:
        exchange.advance(exchange.next_deadline())
        for change in exchange.take_changes():
            tables[change.table] += len(change.rows)
            if change.table == "trade" and change.symbol == "XBTUSD":
                sides.update(str(row["side"]) for row in change.rows)
            if change.table == "orderBookL2":
                for row in change.rows:
                    if change.action == "delete":
                        assert mirror.pop(row["id"])["price"] == row["price"]
                    elif change.action == "insert":
                        assert row["id"] not in mirror
                        mirror[row["id"]] = row
                    else:
                        assert mirror[row["id"]]["price"] == row["price"]
                        mirror[row["id"]] = row
        bid, bid_size, ask, ask_size = exchange.pit.book.top()
        assert bid is not None
        assert ask is not None
        assert bid_size % 100 == ask_size % 100 == 0
        crossed += bid >= ask
        spreads[ask - bid] += 1
        shallow = min(shallow, *(exchange.pit.book.level_count(side) for side in ("Buy", "Sell")))
    kept = sorted((str(row["side"]), row["price"], row["size"]) for row in mirror.values())
    told = sorted((str(r["side"]), r["price"], r["size"]) for r in exchange.levels("XBTUSD"))
    return {
        "tables": tables,
        "spreads": spreads,
        "sides": sides,
        "crossed": crossed,
        "shallow": shallow,
        "mirrored": kept == told,
    }


def test_the_book_is_deep_never_crossed_and_equal_to_its_changes(
    quarter: dict[str, object],
) -> None:
    assert quarter["crossed"] == 0
    assert quarter["shallow"] >= 200
    assert quarter["mirrored"]


def test_the_spread_is_mostly_a_few_ticks(quarter: dict[str, Counter[int]]) -> None:
    spreads = quarter["spreads"]
    total = sum(spreads.values())
    assert spreads[1] / total > 0.3
    assert sum(spreads[ticks] for ticks in range(1, 6)) / total > 0.75


def test_changes_and_trades_have_the_pace_of_the_real_market(
    quarter: dict[str, Counter[str]],
) -> None:
    assert 15 < quarter["tables"]["orderBookL2"] / 900 < 50
    assert 0.8 < quarter["tables"]["trade"] / 900 < 5
    sides = quarter["sides"]
    assert 0.3 < sides["Buy"] / (sides["Buy"] + sides["Sell"]) < 0.7


@pytest.mark.parametrize("side", ["Buy", "Sell"])
def test_a_passive_order_at_the_touch_is_filled_within_seconds(side: str) -> None:
    waits = []
    for seed in range(12):
        exchange = _exchange(seed)
        exchange.advance(T0 + 5 * SECOND)
        price = _touch(exchange, side)
        order = exchange.submit(T0 + 5 * SECOND, ALICE, _request(side, 100, price))
        for second in range(6, 125):
            exchange.advance(T0 + second * SECOND)
            [row] = exchange.orders(ALICE)
            assert row["orderID"] == order["orderID"]
            if row["ordStatus"] == "Filled":
                break
        waits.append(second - 5)
    assert sorted(waits)[len(waits) // 2] <= 15


def test_the_book_heals_after_a_client_swept_it() -> None:
    exchange = _exchange()
    exchange.submit(T0, ALICE, _request("Buy", 2_000_000))
    bid, _, ask, _ = exchange.pit.book.top()
    assert bid is not None
    assert ask is None or ask - bid > 20
    exchange.advance(T0 + 30 * SECOND)
    bid, _, ask, _ = exchange.pit.book.top()
    assert bid is not None
    assert ask is not None
    assert 0 < ask - bid <= 15
    exchange.advance(T0 + 300 * SECOND)
    assert exchange.pit.book.level_count("Sell") >= 200


def test_a_wall_of_a_client_is_eaten_and_not_jumped() -> None:
    exchange = _exchange()
    price = _touch(exchange, "Buy")
    wall = exchange.submit(T0, ALICE, _request("Buy", 500_000, price))
    for second in range(1, 240):
        exchange.advance(T0 + second * SECOND)
        bid, _, ask, _ = exchange.pit.book.top()
        assert bid is not None
        assert ask is not None
        assert ask > bid
        row = exchange.orders(ALICE)[0]
        if row["ordStatus"] != "Filled":
            assert exchange.contract.price(ask) > price
    assert wall["leavesQty"] == 500_000


@pytest.mark.parametrize("rate", [1.0, 500.0])
def test_the_rate_can_be_chosen(rate: float) -> None:
    exchange = _exchange(rate=rate)
    seconds = 4_000 / rate
    exchange.advance(T0 + int(seconds * SECOND))
    rows = sum(len(c.rows) for c in exchange.take_changes() if c.table == "orderBookL2")
    assert 0.5 * rate < rows / seconds < 2.5 * rate


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e9, float("nan")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="a crowd's rate is"):
        Crowd(T0, seed=1, rate=rate)
