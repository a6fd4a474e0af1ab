"""One websocket client as the venue sees it: who it is and what it listens to."""

from __future__ import annotations

from collections.abc import Sequence

from chappie.simvenue.auth import Key
from chappie.simvenue.changes import Change
from chappie.simvenue.envelopes import Json
from chappie.simvenue.tables import Table

Row = dict[str, Json]


class Topic:
    """One subscription of one session."""

    def __init__(
        self, name: str, table: Table, selector: str | None, symbols: tuple[str, ...] | None
    ) -> None:
        self.name = name
        self.table = table
        self.selector = selector
        self.symbols = symbols
        """The instruments it covers; none means all, or a table that has no instruments."""
        self.live = False
        """Whether changes are sent: from the image on."""

    def image_filter(self, account: int | None) -> Row:
        """What the image says that it covers."""
        selected: Row = {}
        if self.table.private:
            selected["account"] = account
        if self.selector is not None and self.table.filter_column is not None:
            selected[self.table.filter_column] = self.selector
        return selected

    def choose(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that the topic covers."""
        if self.selector is None or self.table.filter_column is None:
            return list(rows)
        if self.symbols is not None:
            return [row for row in rows if row.get("symbol") in self.symbols]
        column = self.table.filter_column
        return [row for row in rows if row.get(column, self.selector) == self.selector]

    def covers_all(self, change: Change) -> bool:
        """Whether the change can be sent as it is, which is the usual case."""
        if self.selector is None:
            return True
        if self.symbols is None or change.symbol is None:
            return False
        return change.symbol in self.symbols


class Session:
    """One open websocket."""

    def __init__(self, conn: int, peer: str, key: Key | None, at_ns: int) -> None:
        self.conn = conn
        self.peer = peer
        self.key = key
        self.opened_ns = at_ns
        self.heard_ns = at_ns
        self.topics: dict[str, Topic] = {}
        self.by_table: dict[str, list[Topic]] = {}
        self.errors = 0
        self.waiting = 0
        """Frames that are held back; the ones behind them queue up."""
        self.last_due_ns = at_ns
        self.open = True

    @property
    def account(self) -> int | None:
        """Whose session it is, once logged in."""
        return None if self.key is None else self.key.account

    def add(self, topic: Topic) -> None:
        """Listen to a topic."""
        self.topics[topic.name] = topic
        self.by_table.setdefault(topic.table.name, []).append(topic)

    def remove(self, name: str) -> bool:
        """Stop listening; false when it did not listen."""
        topic = self.topics.pop(name, None)
        if topic is None:
            return False
        self.by_table[topic.table.name].remove(topic)
        return True
