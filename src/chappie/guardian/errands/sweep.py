"""The sweep: orders of ours that a dead trader left at the venue are cancelled, and it is proven.

Read the open orders, cancel by orderID what is ours, read again, until two reads in a row show
none of ours and the same position: one read alone may lie (stale, empty, cut). A read that failed
proves nothing (promise 8). Orders of others are counted and never touched (promise 4). Pure.
"""

import msgspec

from chappie.core.blotter import Naming
from chappie.core.pacing import Pace
from chappie.core.requests import ForCancel, ForRead, ForSwitch
from chappie.guardian.errands.asking import Asking, Event, Heard
from chappie.model.commands import Command
from chappie.model.enums import Lane
from chappie.model.reports import (
    InstrumentRead,
    KeyRefused,
    OrderAnswered,
    OrderSaid,
    OrdersRead,
    PositionRead,
    Read,
    SwitchArmed,
)
from chappie.model.units import MILLISECOND_NS, SECOND_NS, At

# A cancel that was answered, and the order works all the same: not again at once.
_AGAIN_NS = 250 * MILLISECOND_NS
_AGAIN_MOST_NS = 4 * SECOND_NS


class Left(msgspec.Struct, frozen=True):
    """What is left of ours at the venue.

    ``verified``: two whole reads in a row showed no order of ours and the same ``position``, and
    the first of them was asked for at or after ``asked_ns``. ``ours`` work as last read,
    ``cancelled`` were asked to be cancelled and are gone, ``foreign`` are somebody else's; None
    is not known. ``disarmed``: by the venue's own answer.
    """

    verified: bool
    ours: int | None
    cancelled: int
    foreign: int | None
    position: int | None
    asked_ns: int
    detail: str
    disarmed: bool = False


class Sweep:
    """One errand with an end: `step` it with answers and at `next_deadline` until ``left``.

    ``below_epoch``: orders of this epoch and of later ones belong to somebody alive. ``disarm``:
    once nothing of ours is left the dead man's switch is taken off, which only may be asked for
    when no refresh of a dead process can arrive any more (promise 7).
    """

    def __init__(
        self, asking: Asking, below_epoch: int, at: At, until_ns: int, *, disarm: bool = False
    ) -> None:
        self.left: Left | None = None
        self._asking = asking
        self._naming = Naming(asking.config.bot.id, below_epoch)
        self._until_ns = until_ns
        self._disarm = disarm
        self._why = "the venue was not asked yet"
        # What is to be cancelled before the next read.
        self._cancel: dict[str, str] = {}
        self._asked_for: dict[str, None] = {}
        self._pace = Pace(_AGAIN_NS, _AGAIN_MOST_NS)
        self._ours: int | None = None
        self._foreign: int | None = None
        # Of the round of reads under way.
        self._read_ns: int | None = None
        self._listed: tuple[OrderSaid, ...] | None = None
        # The position of the last whole round that showed none of ours, and when it began.
        self._once: tuple[int, int] | None = None
        self._verified: Left | None = None

    def step(self, at: At, event: Event | None = None) -> list[Command]:
        """Take an answer, or the time; do what follows."""
        asking = self._asking
        if self.left is None:
            heard = None if event is None else asking.hear(at, event)
            if heard is not None:
                self._hear(at, heard)
            if self.left is None:
                self._go_on(at)
        return asking.take()

    def next_deadline(self, at: At) -> int:
        """When to step next, should no answer come before."""
        if self._asking.is_waiting:
            return self._until_ns
        return min(self._until_ns, self._due_ns(at))

    def _due_ns(self, at: At) -> int:
        lane = Lane.CANCEL if self._cancel or self._verified is not None else Lane.RECONCILE
        return max(self._pace.until_ns, self._asking.due_ns(at, lane))

    # --- what the venue said

    def _hear(self, at: At, heard: Heard) -> None:
        outcome = heard.outcome
        match heard.purpose:
            case ForSwitch():
                if isinstance(outcome, SwitchArmed) and outcome.fires_ns is None:
                    assert self._verified is not None, "disarmed only after zero was verified"
                    self.left = msgspec.structs.replace(self._verified, disarmed=True)
                    return
                asking = self._asking
                asking.stray_until_ns = asking.fence_ns(at)
                self._why = f"the switch is not proven to be off: {_words(outcome)}"
            case ForCancel():
                # Whatever the answer: what became of them is read, not believed.
                if not isinstance(outcome, OrderAnswered):
                    self._why = f"a cancel: {_words(outcome)}"
                self._begin_anew()
            case ForRead(read=read):
                match outcome:
                    case OrdersRead() if read is Read.ORDERS:
                        self._orders(at, outcome)
                    case PositionRead():
                        self._position(outcome.position.qty)
                    case InstrumentRead():
                        pass
                    case _:
                        # A failed read is not an empty one: its round is worth nothing.
                        self._why = f"reading {read.value}: {_words(outcome)}"
                        self._begin_anew()
            case _:
                pass
        if isinstance(outcome, KeyRefused):
            self._end(f"the venue refuses our key: {outcome.detail}")

    def _orders(self, at: At, read: OrdersRead) -> None:
        working = [row for row in read.orders if _works(row)]
        ours = [row for row in working if self._is_left_behind(row)]
        self._ours, self._foreign = len(ours), sum(not self._is_ours(row) for row in working)
        self._listed = tuple(working)
        if ours:
            self._why = f"{len(ours)} orders of ours work"
            self._once = None
            self._cancel = {row.order_id: row.cl_ord_id or "" for row in ours}
            if any(row.order_id in self._asked_for for row in ours):
                self._pace.failed(at.now_ns)

    def _position(self, qty: int) -> None:
        """The end of a round that showed none of ours."""
        assert self._read_ns is not None, "the orders are read first"
        before, self._once = self._once, (qty, self._read_ns)
        self._listed = None
        if before is None or before[0] != qty:
            self._why = "read once, not twice"
            return
        self._verified = Left(
            verified=True,
            ours=0,
            cancelled=len(self._asked_for),
            foreign=self._foreign,
            position=qty,
            asked_ns=before[1],
            detail=f"none of ours works, position {qty}",
        )
        if not self._disarm:
            self.left = self._verified

    def _begin_anew(self) -> None:
        self._listed = None
        self._once = None

    def _is_ours(self, row: OrderSaid) -> bool:
        return self._naming.is_ours(row.cl_ord_id)

    def _is_left_behind(self, row: OrderSaid) -> bool:
        """Ours, and of no instance that may be alive."""
        name = row.cl_ord_id
        if name is None or not self._naming.is_ours(name):
            return False
        return not self._naming.is_of_another_instance(name)

    # --- what to do next

    def _go_on(self, at: At) -> None:
        asking = self._asking
        if at.now_ns >= self._until_ns:
            asking.drop()
            self._end(f"no time left; {self._why}")
            return
        if asking.is_waiting:
            return
        due_ns = self._due_ns(at)
        if due_ns >= self._until_ns:
            wait_s = (due_ns - at.now_ns) / SECOND_NS
            banned = ", for we are banned" if asking.banned else ""
            self._end(f"the venue wants no request for {wait_s:.1f} s{banned}; {self._why}")
        elif at.now_ns >= due_ns:
            self._ask(at)

    def _ask(self, at: At) -> None:
        asking, dialect = self._asking, self._asking.dialect
        if self._verified is not None:
            asking.ask(at, Lane.CANCEL, dialect.arm_switch(0.0), ForSwitch(disarm=True))
        elif self._cancel:
            ids, names = tuple(self._cancel), tuple(self._cancel.values())
            self._cancel = {}
            self._asked_for |= dict.fromkeys(ids)
            asking.ask(at, Lane.CANCEL, dialect.cancel((), ids), ForCancel(names))
        elif asking.instrument is None:
            call = dialect.read_instrument()
            asking.ask(at, Lane.RECONCILE, call, ForRead(Read.INSTRUMENT, at.now_ns))
        elif self._listed is None:
            self._read_ns = at.now_ns
            call = dialect.read_open_orders()
            asking.ask(at, Lane.RECONCILE, call, ForRead(Read.ORDERS, at.now_ns))
        else:
            call = dialect.read_position()
            asking.ask(at, Lane.RECONCILE, call, ForRead(Read.POSITION, at.now_ns))

    def _end(self, detail: str) -> None:
        """Not in the time that there was; what was verified before the switch stays verified."""
        if self._verified is not None:
            self.left = msgspec.structs.replace(self._verified, detail=detail)
            return
        self.left = Left(
            verified=False,
            ours=self._ours,
            cancelled=len(self._asked_for),
            foreign=self._foreign,
            position=None,
            asked_ns=0,
            detail=detail,
        )


def _works(row: OrderSaid) -> bool:
    return row.ord_status is None or not row.ord_status.is_terminal


def _words(outcome: object) -> str:
    return str(getattr(outcome, "detail", "") or "an answer to something else")
