"""Turns what one event did into changes of tables."""

from chappie.simvenue.account import Account
from chappie.simvenue.changes import Change, Row, difference
from chappie.simvenue.pit import LIQUIDATOR, Pit, Turn
from chappie.simvenue.rows import ORDER_KEYS, order_row
from chappie.simvenue.stamps import stamp
from chappie.simvenue.statements import (
    MARGIN_KEYS,
    POSITION_KEYS,
    WALLET_KEYS,
    margin_row,
    position_row,
    wallet_row,
)


def public_changes(pit: Pit, at_ns: int) -> list[Change]:
    """Book, trades and quote of the present turn."""
    contract = pit.contract
    symbol = contract.symbol
    changes: list[Change] = []
    time = stamp(at_ns)
    for level in pit.book.changes(at_ns):
        row: Row = {"symbol": symbol, "id": level.level_id, "side": level.side}
        if level.action != "delete":
            row["size"] = level.size
        row["price"] = contract.price(level.ticks)
        row["timestamp"] = time
        row["transactTime"] = time
        _append(changes, "orderBookL2", level.action, row, symbol, None)
    if pit.turn.matches:
        rows = pit.ticker.record(at_ns, pit.turn.matches)
        changes.append(Change("trade", "insert", rows, symbol))
    quote = pit.ticker.quote(at_ns, pit.book.top())
    if quote is not None:
        changes.append(Change("quote", "insert", [quote], symbol))
    return changes


def private_changes(pit: Pit, turn: Turn, at_ns: int) -> list[Change]:
    """Orders, executions, positions, margins and wallets that the turn changed."""
    changes: list[Change] = []
    symbol = pit.contract.symbol
    for number, rows in turn.executions.items():
        if not pit.accounts[number].internal:
            changes.append(Change("execution", "insert", rows, symbol, number))
    for order_id, before in turn.orders_before.items():
        account = pit.accounts[turn.order_accounts[order_id]]
        after = account.orders.get(order_id)
        if after is None:
            continue
        row = order_row(after, pit.contract)
        if account.number == LIQUIDATOR:
            changes.extend(_liquidation_changes(row, existed=before is not None))
        elif before is None:
            _append(changes, "order", "insert", row, symbol, account.number)
        else:
            update = difference(order_row(before, pit.contract), row, ORDER_KEYS)
            if update is not None:
                _append(changes, "order", "update", update, symbol, account.number)
    for number in turn.accounts:
        account = pit.accounts[number]
        if not account.internal:
            changes.extend(account_changes(pit, account, at_ns))
    for number, rows in turn.transacts.items():
        changes.append(Change("transact", "insert", rows, None, number))
    return changes


def _append(
    changes: list[Change], table: str, action: str, row: Row, symbol: str, number: int | None
) -> None:
    """One message for the rows that one event changed, as long as table and action agree."""
    last = changes[-1] if changes else None
    if last is not None and (last.table, last.action, last.account) == (table, action, number):
        last.rows.append(row)
    else:
        changes.append(Change(table, action, [row], symbol, number))


def account_changes(pit: Pit, account: Account, at_ns: int) -> list[Change]:
    """Position, margin and wallet rows of one account since they were last told."""
    mark, rate = pit.funding.mark_cents, pit.funding.rate_ppm
    changes: list[Change] = []
    if account.has_position_row:
        row = position_row(account, pit.contract, mark, rate, at_ns)
        changes.extend(
            _told("position", account, account.told_position, row, POSITION_KEYS, row["symbol"])
        )
        account.told_position = row
    row = margin_row(account, pit.contract, mark, rate, at_ns)
    changes.extend(_told("margin", account, account.told_margin, row, MARGIN_KEYS))
    account.told_margin = row
    row = wallet_row(account)
    changes.extend(_told("wallet", account, account.told_wallet, row, WALLET_KEYS))
    account.told_wallet = row
    return changes


def _told(
    table: str,
    account: Account,
    before: Row,
    after: Row,
    keys: tuple[str, ...],
    symbol: object = None,
) -> list[Change]:
    name = symbol if isinstance(symbol, str) else None
    if not before:
        return [Change(table, "insert", [after], name, account.number)]
    update = difference(before, after, keys)
    return [] if update is None else [Change(table, "update", [update], name, account.number)]


def _liquidation_changes(order: Row, *, existed: bool) -> list[Change]:
    """The liquidation engine's orders are public, as rows of the liquidation table."""
    symbol = str(order["symbol"])
    row: Row = {name: order[name] for name in ("orderID", "symbol", "side", "price", "leavesQty")}
    keys: Row = {"orderID": order["orderID"], "symbol": symbol}
    changes: list[Change] = []
    if not existed:
        changes.append(Change("liquidation", "insert", [row], symbol))
    elif order["leavesQty"]:
        update: Row = {**keys, "leavesQty": order["leavesQty"]}
        changes.append(Change("liquidation", "update", [update], symbol))
    if not order["leavesQty"]:
        changes.append(Change("liquidation", "delete", [keys], symbol))
    return changes
