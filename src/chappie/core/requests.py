"""Requests under way: what each was for, so that its answer, or its silence, finds its meaning."""

from typing import TypeAlias

import msgspec

from chappie.core.budget import Budget
from chappie.core.outbox import Outbox
from chappie.model.commands import HttpCall, SendCall, SendOrder
from chappie.model.config import OrdersConfig
from chappie.model.enums import Lane
from chappie.model.orders import Approved, NewOrder
from chappie.model.reports import Read
from chappie.model.units import SECOND_NS, At, seconds_ns


class ForRead(msgspec.Struct, frozen=True):
    """A query; ``cl_ord_id`` where it is about one order, ``round`` where it belongs to one."""

    read: Read
    sent_ns: int
    round: int | None = None
    cl_ord_id: str | None = None


class ForNew(msgspec.Struct, frozen=True):
    cl_ord_id: str


class ForCancel(msgspec.Struct, frozen=True):
    """Orders of ours, by clOrdID."""

    cl_ord_ids: tuple[str, ...]


class ForSwitch(msgspec.Struct, frozen=True):
    disarm: bool


Purpose: TypeAlias = ForRead | ForNew | ForCancel | ForSwitch


class Requests:
    """Numbers requests, puts them on the outbox, and remembers why."""

    def __init__(
        self, config: OrdersConfig, budget: Budget, outbox: Outbox, max_skew_s: float = 1.0
    ) -> None:
        self._expires_ns = seconds_ns(config.expires_after_s)
        self._answer_ns = seconds_ns(config.ack_timeout_s)
        self._send_ns = seconds_ns(config.send_deadline_s)
        # By so much the venue's clock may be behind ours, and its expiry later.
        self._behind_ns = max(SECOND_NS, seconds_ns(max_skew_s))
        self._budget = budget
        self._outbox = outbox
        self._next_id = 1
        self._under_way: dict[int, tuple[Purpose, int]] = {}

    def call(
        self, at: At, lane: Lane, call: HttpCall, purpose: Purpose, answer_ns: int | None = None
    ) -> int:
        """Send a read, a cancel or the switch; ``answer_ns`` where less patience is wanted."""
        request_id = self._take(at, purpose)
        within_ns = self._answer_ns if answer_ns is None else min(answer_ns, self._answer_ns)
        self._outbox.put(SendCall(request_id, lane, call, self._expires_s(at.wall_ns), within_ns))
        return request_id

    def order(
        self, at: At, lane: Lane, order: Approved[NewOrder], call: HttpCall, decided_ns: int
    ) -> int:
        """Send an order that the gate approved."""
        request_id = self._take(at, ForNew(order.value.cl_ord_id))
        self._outbox.put(
            SendOrder(
                request_id,
                lane,
                order,
                call,
                self._expires_s(at.wall_ns),
                decided_ns + self._send_ns,
                self._answer_ns,
            )
        )
        return request_id

    def fence_ns(self, at: At) -> int:
        """When a request sent now can no longer arrive: its expiry by the venue's clock, which
        may differ from ours by as much as is tolerated.
        """
        return self.fence_of(at, at.wall_ns)

    def fence_of(self, at: At, sent_wall_ns: int) -> int:
        """The same for a request of a dead process, of which only the wall time is known: never
        later than for one sent now, should the wall clock have been set back since.
        """
        now_ns = at.wall_ns
        sent_ns = min(sent_wall_ns, now_ns)
        return at.now_ns + (self._expires_s(sent_ns) * SECOND_NS - now_ns) + self._behind_ns

    def ended(self, request_id: int) -> tuple[Purpose, int] | None:
        """What a request that got its answer, or never will, was for, and when it was sent; None
        when it is not ours.
        """
        known = self._under_way.pop(request_id, None)
        if known is not None:
            self._budget.ended(enters=_enters(known[0]))
        return known

    def read(
        self, at: At, read: Read, call: HttpCall, round_: int | None = None, name: str | None = None
    ) -> None:
        """Send a query."""
        self.call(at, Lane.RECONCILE, call, ForRead(read, at.now_ns, round_, name))

    def any_for(self, kind: type[ForRead] | type[ForSwitch] | type[ForCancel]) -> bool:
        return any(isinstance(purpose, kind) for purpose, _ in self._under_way.values())

    def _take(self, at: At, purpose: Purpose) -> int:
        request_id = self._next_id
        self._next_id += 1
        self._under_way[request_id] = purpose, at.now_ns
        self._budget.sent(at.now_ns, enters=_enters(purpose))
        return request_id

    def _expires_s(self, sent_wall_ns: int) -> int:
        """The first whole UNIX second at which the request is at least that old."""
        return -(-(sent_wall_ns + self._expires_ns) // SECOND_NS)


def _enters(purpose: Purpose) -> bool:
    """Whether the second layer of the venue's budget counts it; the dead man's switch is not
    among its routes (protocol section 3).
    """
    return isinstance(purpose, ForNew | ForCancel)
