"""Liquidation: the mark price takes a position, the liquidation engine closes it.

Protocol section 7: the contract's open orders are cancelled first; the position is taken over
at its bankruptcy price; what the engine gains or loses on it is the insurance fund's.
"""

from chappie.simvenue.account import Account, fill, weight_of
from chappie.simvenue.margin import backing, exit_cents, must_liquidate, needs
from chappie.simvenue.orders import Order
from chappie.simvenue.pit import LIQUIDATOR, Pit
from chappie.simvenue.rows import Match, trade_execution_row

_ORDER_TEXT = "Liquidation"


def liquidate_due(pit: Pit) -> None:
    """Liquidate every account whose position the mark price no longer supports."""
    for account in list(pit.accounts.values()):
        if not account.internal and must_liquidate(
            account, pit.contract, pit.funding.mark_cents, pit.funding.rate_ppm
        ):
            _liquidate(pit, account)


def _liquidate(pit: Pit, account: Account) -> None:
    for order in list(account.open_orders.values()):
        pit.cancel(order, f"Canceled: Position in liquidation\n{order.text}")
    contract, position = pit.contract, account.position
    need = needs(position, contract, pit.funding.rate_ppm)
    cents = exit_cents(position, contract, backing(account, need))
    if cents is None:
        cents = contract.price_max_cents
    # Rounded into the account's favour, so that it never loses more than what stood behind it.
    ticks = -(-cents // contract.tick_cents) if position.qty > 0 else cents // contract.tick_cents
    ticks = max(1, ticks)
    side = "Sell" if position.qty > 0 else "Buy"
    qty = abs(position.qty)
    match = Match(pit.ids.execution(), ticks, qty, side)
    _take_over(pit, account, match)
    _work_off(pit, match)


def _take_over(pit: Pit, account: Account, match: Match) -> None:
    """Move the position to the liquidation engine at the bankruptcy price, without fees."""
    contract = pit.contract
    engine = pit.accounts[LIQUIDATOR]
    weight = weight_of(contract.cents(match.ticks), match.qty)
    side = match.taker_side
    cost = contract.exec_cost(side, match.ticks, match.qty)
    account.position, paid = fill(account.position, side, match.qty, cost, 0, weight)
    account.wallet += paid
    other = "Buy" if side == "Sell" else "Sell"
    engine.position, gained = fill(engine.position, other, match.qty, -cost, 0, weight)
    engine.wallet += gained
    shortfall = max(0, -account.wallet)
    account.wallet += shortfall
    engine.wallet -= shortfall

    order = _order(pit, account.number, match, filled=True)
    row = trade_execution_row(order, contract, pit.ids.execution(), match, maker=False, comm=0)
    row["execType"] = "Liquidation"
    row["commission"] = 0.0
    row["text"] = _ORDER_TEXT
    pit.turn.executions.setdefault(account.number, []).append(row)
    pit.turn.accounts[engine.number] = None
    pit.book_payment(account, paid + shortfall, "RealisedPNL", exec_id=str(row["execID"]))


def _work_off(pit: Pit, match: Match) -> None:
    """One order of the engine for all it holds; it rests until the market takes it."""
    engine = pit.accounts[LIQUIDATOR]
    for resting in list(engine.open_orders.values()):
        pit.cancel(resting, _ORDER_TEXT)
    held = engine.position.qty
    if not held:
        return
    net = Match(match.match_id, match.ticks, abs(held), "Sell" if held > 0 else "Buy")
    pit.execute(pit.put(_order(pit, LIQUIDATOR, net, filled=False)))


def _order(pit: Pit, number: int, match: Match, *, filled: bool) -> Order:
    """An order of the venue's own making: filled already, or to be worked."""
    return Order(
        order_id=pit.ids.order(),
        cl_ord_id="",
        account=number,
        symbol=pit.contract.symbol,
        side=match.taker_side,
        order_qty=match.qty,
        price_ticks=match.ticks,
        ord_type="Limit",
        time_in_force="GoodTillCancel",
        ord_status="Filled" if filled else "New",
        working=not filled,
        leaves_qty=0 if filled else match.qty,
        cum_qty=match.qty if filled else 0,
        weight=weight_of(pit.contract.cents(match.ticks), match.qty) if filled else 0,
        text=_ORDER_TEXT,
        transact_ns=pit.now_ns,
        timestamp_ns=pit.now_ns,
    )
