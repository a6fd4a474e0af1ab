"""The accounts on disk: an SQLite file that a restarted venue continues from.

What was committed survives a killed process. Only accounts are kept; the market starts anew at
the last price.
"""

import sqlite3
from pathlib import Path

import msgspec

from chappie.simvenue.account import (
    DEAD_ORDERS_MAX,
    EXECUTIONS_MAX,
    HISTORY_MAX,
    Position,
)
from chappie.simvenue.changes import Row
from chappie.simvenue.orders import Order

_FORMAT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS venue (
    id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS account (number INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT NOT NULL UNIQUE,
    account INTEGER NOT NULL, open INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS execution (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, row BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS transact (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, row BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS orders_of ON orders (account, open, seq);
CREATE INDEX IF NOT EXISTS execution_of ON execution (account, seq);
CREATE INDEX IF NOT EXISTS transact_of ON transact (account, seq);
"""
#: After so many written history rows the oldest beyond the bounds are deleted.
_PRUNE_EVERY = 5_000


class StoreError(Exception):
    """The account file cannot be used; the message says which file and why."""


class VenueState(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside the accounts. `epoch` counts the starts and keeps ids unique."""

    format: int = _FORMAT
    symbol: str
    tick_cents: int
    epoch: int
    last_ticks: int
    fees_collected: int


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """One account without its orders and histories."""

    number: int
    wallet: int
    deposited: int
    position: Position
    has_position_row: bool
    cancel_at_ns: int | None
    wallet_changed_ns: int


class SavedAccount(msgspec.Struct, frozen=True):
    """One account as read back, oldest rows first."""

    state: AccountState
    orders: list[Order]
    executions: list[Row]
    history: list[Row]


class Batch(msgspec.Struct, frozen=True):
    """What changed since the last commit."""

    venue: VenueState
    accounts: list[AccountState]
    orders: list[Order]
    executions: list[tuple[int, Row]]
    transacts: list[tuple[int, Row]]


class Store:
    """Owner of the account file. One process at a time; a second one gets a StoreError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "venue.sqlite"
        self._written = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=2.0, isolation_level=None)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            # A killed process loses nothing that was committed; only a power cut could.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> StoreError:
        hint = " (is another venue using this folder?)" if "locked" in str(error) else ""
        return StoreError(f"account file {self._path}: {error}{hint}")

    def venue(self) -> VenueState | None:
        """The venue's own state, None for a new file."""
        try:
            found = self._db.execute("SELECT state FROM venue").fetchone()
            state = None if found is None else msgspec.json.decode(found[0], type=VenueState)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise self._error(error) from error
        if state is not None and state.format != _FORMAT:
            raise StoreError(
                f"account file {self._path}: format {state.format}, this program reads {_FORMAT}"
            )
        return state

    def accounts(self) -> list[SavedAccount]:
        """All accounts; histories cut to their bounds."""
        try:
            self._prune()
            states = self._db.execute("SELECT state FROM account ORDER BY number").fetchall()
            return [self._account(msgspec.json.decode(s, type=AccountState)) for (s,) in states]
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise self._error(error) from error

    def _account(self, state: AccountState) -> SavedAccount:
        number = (state.number,)
        orders = self._db.execute("SELECT state FROM orders WHERE account=? ORDER BY seq", number)
        executions = self._db.execute(
            "SELECT row FROM execution WHERE account=? ORDER BY seq", number
        )
        history = self._db.execute("SELECT row FROM transact WHERE account=? ORDER BY seq", number)
        return SavedAccount(
            state,
            [msgspec.json.decode(s, type=Order) for (s,) in orders],
            [msgspec.json.decode(s) for (s,) in executions],
            [msgspec.json.decode(s) for (s,) in history],
        )

    def save(self, batch: Batch) -> None:
        """Write one batch in one transaction."""
        encode = msgspec.json.encode
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.execute(
                    "INSERT INTO venue (id, state) VALUES (1, ?)"
                    " ON CONFLICT (id) DO UPDATE SET state = excluded.state",
                    (encode(batch.venue),),
                )
                self._db.executemany(
                    "INSERT INTO account (number, state) VALUES (?, ?)"
                    " ON CONFLICT (number) DO UPDATE SET state = excluded.state",
                    [(state.number, encode(state)) for state in batch.accounts],
                )
                self._db.executemany(
                    "INSERT INTO orders (order_id, account, open, state) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (order_id) DO UPDATE"
                    " SET open = excluded.open, state = excluded.state",
                    [(o.order_id, o.account, o.open, encode(o)) for o in batch.orders],
                )
                self._db.executemany(
                    "INSERT INTO execution (account, row) VALUES (?, ?)",
                    [(number, encode(row)) for number, row in batch.executions],
                )
                self._db.executemany(
                    "INSERT INTO transact (account, row) VALUES (?, ?)",
                    [(number, encode(row)) for number, row in batch.transacts],
                )
                self._written += len(batch.executions) + len(batch.orders)
                if self._written >= _PRUNE_EVERY:
                    self._prune()
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk has rolled back already, and that is what has to be told.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _prune(self) -> None:
        self._written = 0
        for (number,) in self._db.execute("SELECT number FROM account").fetchall():
            for table, bound, condition in (
                ("orders", DEAD_ORDERS_MAX, " AND open = 0"),
                ("execution", EXECUTIONS_MAX, ""),
                ("transact", HISTORY_MAX, ""),
            ):
                self._db.execute(
                    f"DELETE FROM {table} WHERE account = ?{condition} AND seq <= (SELECT seq"
                    f" FROM {table} WHERE account = ?{condition}"
                    " ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                    (number, number, bound),
                )

    def close(self) -> None:
        self._db.close()
