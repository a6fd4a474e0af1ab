import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chappie.simvenue.account import Account, Position, fill, unrealised_pnl, weight_of
from chappie.simvenue.contract import Contract, fee
from chappie.simvenue.margin import (
    backing,
    exit_cents,
    init_ppm,
    maint_ppm,
    must_liquidate,
    needs,
)

XBTUSD = Contract()


def _filled(position: Position, side: str, qty: int, price: float) -> tuple[Position, int]:
    ticks = round(price * 10)
    cost = XBTUSD.exec_cost(side, ticks, qty)
    comm = fee(cost, XBTUSD.taker_fee_ppm)
    return fill(position, side, qty, cost, comm, weight_of(ticks * 10, qty))


def test_the_documented_round_trip_gives_one_and_a_quarter_bitcoin() -> None:
    # 15,000 contracts from 750 to 800 make 1.25 XBT before fees (protocol section 7).
    position, paid = fill(Position(), "Buy", 15_000, -2_000_000_000, 0, 1)
    assert paid == 0
    position, paid = fill(position, "Sell", 15_000, 1_875_000_000, 0, 1)
    assert (position.qty, position.cost, paid) == (0, 0, 125_000_000)


def test_the_entry_of_a_single_fill_is_its_price_and_of_two_the_harmonic_mean() -> None:
    position, _ = _filled(Position(), "Buy", 100, 60_000.1)
    assert position.avg_entry_price == 60_000.1
    position, _ = _filled(position, "Buy", 100, 30_000.0)
    assert position.avg_entry_price == round(2 / (1 / 60_000.1 + 1 / 30_000.0), 4)


def test_the_result_of_a_closed_position_moves_to_the_previous_one() -> None:
    opened, first = _filled(Position(), "Sell", 300, 60_000.0)
    closed, second = _filled(opened, "Buy", 300, 59_000.0)
    assert closed == Position(prev_realised_pnl=first + second)
    assert closed.prev_realised_pnl < 0 or second > 0


def test_a_fill_through_zero_opens_the_other_side_at_its_own_price() -> None:
    position, _ = _filled(Position(), "Buy", 100, 60_000.0)
    position, _ = _filled(position, "Sell", 300, 61_000.0)
    assert position.qty == -200
    assert position.avg_entry_price == 61_000.0
    assert position.cost == XBTUSD.exec_cost("Sell", 610_000, 200)
    assert position.realised_pnl == -position.current_comm


_fills = st.lists(
    st.tuples(st.sampled_from(["Buy", "Sell"]), st.integers(1, 50), st.integers(100_000, 900_000)),
    min_size=1,
    max_size=30,
)


@given(_fills)
def test_a_round_trip_pays_the_cost_difference_less_the_fees_exactly(
    fills: list[tuple[str, int, int]],
) -> None:
    position, wallet, costs, fees = Position(), 0, 0, 0
    last = 600_000
    for side, lots, ticks in fills:
        position, paid, cost, comm = _step(position, side, lots * 100, ticks)
        wallet, costs, fees, last = wallet + paid, costs + cost, fees + comm, ticks
        # What is not realised yet is the cost of what is still held, to the satoshi.
        assert wallet == -(costs - position.cost) - fees
        assert (position.cost < 0) == (position.qty > 0)
    if position.qty:
        side = "Sell" if position.qty > 0 else "Buy"
        position, paid, cost, comm = _step(position, side, abs(position.qty), last)
        wallet, costs, fees = wallet + paid, costs + cost, fees + comm
    assert (position.qty, position.cost, position.weight) == (0, 0, 0)
    assert wallet == -costs - fees


def _step(position: Position, side: str, qty: int, ticks: int) -> tuple[Position, int, int, int]:
    cost = XBTUSD.exec_cost(side, ticks, qty)
    comm = fee(cost, 500)
    after, paid = fill(position, side, qty, cost, comm, weight_of(ticks * 10, qty))
    return after, paid, cost, comm


def test_unrealised_result_is_mark_value_less_cost() -> None:
    long, _ = _filled(Position(), "Buy", 1_000, 60_000.0)
    short, _ = _filled(Position(), "Sell", 1_000, 60_000.0)
    up = XBTUSD.value(6_000_000, 1_000) - XBTUSD.value(6_100_000, 1_000)
    assert unrealised_pnl(long, XBTUSD, 6_100_000) == up
    assert unrealised_pnl(short, XBTUSD, 6_100_000) == -up


def test_leverage_raises_the_initial_margin_only_when_isolated() -> None:
    position = Position(risk_limit=XBTUSD.risk_limit, leverage_centi=1_000)
    assert init_ppm(position, XBTUSD) == 10_000
    assert init_ppm(msgspec.structs.replace(position, cross=False), XBTUSD) == 100_000


def test_a_higher_risk_limit_raises_both_margins_by_a_step() -> None:
    position = Position(risk_limit=XBTUSD.risk_limit + XBTUSD.risk_step)
    assert init_ppm(position, XBTUSD) == 15_000
    assert maint_ppm(position, XBTUSD) == 10_000


@given(
    side=st.sampled_from(["Buy", "Sell"]),
    leverage=st.integers(100, 10_000),
    cross=st.booleans(),
    funding=st.integers(-1_000, 1_000),
)
def test_the_liquidation_price_is_where_liquidation_begins(
    side: str, leverage: int, cross: bool, funding: int
) -> None:
    account = Account(1, XBTUSD)
    account.wallet = 10_000_000
    opened, _ = _filled(Position(risk_limit=XBTUSD.risk_limit), side, 100_000, 60_000.0)
    account.position = msgspec.structs.replace(opened, cross=cross, leverage_centi=leverage)
    need = needs(account.position, XBTUSD, funding)
    cents = exit_cents(account.position, XBTUSD, backing(account, need) - need.pos_maint)
    if cents is None or cents == XBTUSD.price_max_cents:
        assert not must_liquidate(account, XBTUSD, 50_000_000, funding)
        return
    # Per-lot rounding of the mark value moves the instant by a little, and no more.
    slack = max(10, cents // 20_000)
    away = slack if side == "Buy" else -slack
    assert not must_liquidate(account, XBTUSD, cents + away, funding)
    assert must_liquidate(account, XBTUSD, cents - away, funding)
