"""What the exchange tells its face: rows, changes of tables, and refusals."""

from typing import TypeAlias

import msgspec

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
Row: TypeAlias = dict[str, JSON]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One message of one table, in the order in which the tables changed.

    `symbol` is set for public tables and for rows of one contract, `account` for private tables.
    """

    table: str
    action: str
    rows: list[Row]
    symbol: str | None = None
    account: int | None = None


class Refusal(Exception):
    """A request that the venue answers with an HTTP error (protocol section 4)."""

    def __init__(
        self, status: int, message: str, name: str = "HTTPError", details: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.name = name
        self.details = details


def difference(before: Row, after: Row, keys: tuple[str, ...]) -> Row | None:
    """The update row that turns `before` into `after`: keys, changed columns, and an explicit
    null for every column that became empty (protocol section 6). None when nothing changed.
    """
    changed: Row = {name: value for name, value in after.items() if before.get(name) != value}
    for name in before:
        if name not in after and before[name] is not None:
            changed[name] = None
    if all(name == "timestamp" or name in keys for name in changed):
        return None
    row: Row = {name: after[name] for name in keys if name in after}
    row.update(changed)
    return row
