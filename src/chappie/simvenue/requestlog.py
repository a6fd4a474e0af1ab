"""The venue's own log of every API request: what was asked, by whom, and what came of it.

It is bounded and holds no signature, so that a test (or a person) can prove on the wire what a
client sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chappie.simvenue.envelopes import Json
from chappie.simvenue.query import Args
from chappie.simvenue.stamps import stamp

ENTRIES_MAX = 20_000
"""So many requests are remembered; the oldest are forgotten."""
BODY_MAX = 2_000


class Entry:
    """One request and, as it becomes known, what came of it."""

    def __init__(self, number: int, at_ns: int, method: str, path: str, peer: str) -> None:
        self.number = number
        self.at_ns = at_ns
        self.method = method
        self.path = path
        self.peer = peer
        self.query = ""
        self.body = ""
        self.account: int | None = None
        self.cl_ord_ids: Sequence[str] = ()
        self.order_ids: Sequence[str] = ()
        self.status: int | None = None
        """None while unanswered; 0 when the answer was withheld or the connection cut."""
        self.executed = False
        """Whether the request reached the exchange."""
        self.fault: str | None = None

    def read(self, args: Args) -> None:
        """Note the ids that the request names."""
        for name in ("clOrdID", "origClOrdID"):
            value = args.values.get(name)
            if isinstance(value, str) and value:
                self.cl_ord_ids = [*self.cl_ord_ids, value]
            elif isinstance(value, list):
                self.cl_ord_ids = [*self.cl_ord_ids, *(str(one) for one in value)]
        value = args.values.get("orderID")
        if isinstance(value, (str, list)) and value:
            self.order_ids = [value] if isinstance(value, str) else [str(one) for one in value]

    def row(self) -> dict[str, Json]:
        """The entry as the control route shows it."""
        return {
            "number": self.number,
            "at": stamp(self.at_ns),
            "atNs": self.at_ns,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "account": self.account,
            "status": self.status,
            "executed": self.executed,
            "fault": self.fault,
            "clOrdID": list(self.cl_ord_ids),
            "orderID": list(self.order_ids),
            "body": self.body,
            "peer": self.peer,
        }


class RequestLog:
    """The requests of one venue, newest last."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)
        self._numbers = 0

    def add(self, at_ns: int, method: str, path: str, query: str, body: bytes, peer: str) -> Entry:
        """Note a request as it arrives."""
        self._numbers += 1
        entry = Entry(self._numbers, at_ns, method, path, peer)
        entry.query = query[:BODY_MAX]
        entry.body = body[:BODY_MAX].decode(errors="replace")
        self._entries.append(entry)
        return entry

    def rows(self, since: int, account: int | None) -> list[dict[str, Json]]:
        """The entries after a number, of one account or of all."""
        return [
            entry.row()
            for entry in self._entries
            if entry.number > since and (account is None or entry.account == account)
        ]
