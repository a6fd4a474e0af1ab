"""REST is the truth: rounds of reads compared with what we believe (controls O8, O9).

A round is orders, fills and position, all answered and proven complete; a read that failed makes
the round worth nothing, never a smaller one (promise 8). A read may lie all the same (stale,
empty, cut), so where one alone would decide, two must say the same: the first clean round of a
process, a position that the ledger does not explain, an order that the venue does not show.
"""

from typing import assert_never

import msgspec

from chappie.core.budget import Budget
from chappie.core.desk import Desk
from chappie.core.faults import ActiveFaults
from chappie.core.outbox import Outbox
from chappie.core.pacing import Pace
from chappie.core.requests import ForRead, Requests
from chappie.model.commands import Keep
from chappie.model.config import ReconcileConfig
from chappie.model.enums import Lane
from chappie.model.faults import Fault
from chappie.model.records import Opening
from chappie.model.reports import Filled, FillsRead, Funded, OrdersRead, PositionRead, Read
from chappie.model.units import SECOND_NS, At, Contracts, Minor, seconds_ns
from chappie.venues.interface import Dialect

# Fills are read again this far back: the venue's history may lag behind its streams.
_OVERLAP_NS = 60 * SECOND_NS
# No round begins sooner than this after another; longer with every one in a row that failed or
# disagreed, up to the usual pause: the request budget is not ours alone to spend.
_AGAIN_NS = SECOND_NS
_READS = (Read.ORDERS, Read.FILLS, Read.POSITION)


class Round(msgspec.Struct):
    """The reads of one round so far.

    ``expected`` is every position that the ledger explained since it began: the venue's answer is
    of some moment in between, and a bot that trades all the time must reconcile too.
    """

    number: int
    began_ns: int
    expected: list[Contracts]
    unasked: list[Read] = msgspec.field(default_factory=lambda: list(_READS))
    orders: OrdersRead | None = None
    position: PositionRead | None = None
    fills_done: bool = False
    fills_rows: int = 0


class Reconciler:
    """When to read, what to compare, and whether the last comparison was clean."""

    def __init__(
        self,
        config: ReconcileConfig,
        dialect: Dialect,
        outbox: Outbox,
        faults: ActiveFaults,
        requests: Requests,
        budget: Budget,
        desk: Desk,
    ) -> None:
        self.last_was_clean: bool | None = None
        self.last_wall_ns: int | None = None
        # Whole rounds of this run.
        self.rounds_clean = 0
        self.rounds_unclean = 0
        self._every_ns = seconds_ns(config.every_s)
        self._grace_ns = seconds_ns(config.grace_s)
        self._dialect = dialect
        self._outbox = outbox
        self._faults = faults
        self._requests = requests
        self._budget = budget
        self._desk = desk
        self._account = desk.account
        self._round: Round | None = None
        self._count = 0
        self._due_ns = 0
        self._pace = Pace(_AGAIN_NS, max(_AGAIN_NS, self._every_ns))
        self._began_ns = 0
        self._clean_ns: int | None = None
        # When the last whole round began, if REST contradicted the ledger in it.
        self._contradicted_ns: int | None = None
        self._since_wall_ns = 0
        # Since when REST, and since when the websocket, contradicts the ledger: each by itself,
        # for one may agree while the other does not.
        self._disagreed_ns: int | None = None
        self._stream_disagreed_ns: int | None = None
        self._missing_ns: int | None = None
        self._orphans = 0
        # When the last round was asked for, and when something was last missed.
        self._read_ns = 0
        self._doubted_ns = 0
        # What the last whole round read: our working orders and the position.
        self._seen: tuple[tuple[str, ...], Contracts] | None = None
        # The last round lacked nothing but a second one that says the same.
        self._once = False
        self._position_lacks: str | None = None

    def begin(self, at: At) -> None:
        """The process starts, with the ledger that earlier runs kept."""
        self._began_ns = at.now_ns
        # What is kept says from when on fills may be missing. A folder without a history opens its
        # ledger at what it finds, so an older fill must not be booked on top of that.
        whole_ns = self._account.whole_until_ns
        self._since_wall_ns = at.wall_ns if whole_ns is None else whole_ns - _OVERLAP_NS
        self._faults.raise_(Fault.UNRECONCILED, at, "not reconciled yet", level="info")

    @property
    def ever_clean(self) -> bool:
        """Whether a reconciliation of this process was clean (promise 2)."""
        return self._clean_ns is not None

    def knows_since(self, moment_ns: int) -> bool:
        """Whether the last round was clean, and asked after a moment and after every doubt."""
        return bool(self.last_was_clean) and self._read_ns >= max(moment_ns, self._doubted_ns)

    def contradicted_since(self, moment_ns: int) -> bool:
        """Whether REST contradicts the ledger, in a whole round begun after a moment. What the
        websocket alone says otherwise, it may have missed; further rounds tell.
        """
        return self._contradicted_ns is not None and self._contradicted_ns >= moment_ns

    def doubt(self, at: At, why: str) -> None:
        """Something may have been missed: reconcile before the next decision, from now on."""
        self._faults.raise_(Fault.UNRECONCILED, at, why)
        self._doubted_ns = at.now_ns
        self._wait_no_more(at)
        # A round under way has read of a time before the doubt.
        self._round = None
        self.hasten(at)

    def verify(self, at: At, synced: bool) -> None:
        """What is said last of the account needs a round of now."""
        self._wait_no_more(at)
        self.hasten(at)
        self.repair(at, synced)

    def hurry(self, at: At) -> None:
        """The last rounds of a run need not wait for those before."""
        self._pace.settled()
        self._pace.release()
        self.hasten(at)

    def _wait_no_more(self, at: At) -> None:
        """The pause after a round is for rounds that were not clean."""
        if self._round is None and self.last_was_clean:
            self._pace.release()

    def disconnected(self, at: At) -> None:
        """The streams are gone, and with them what they said of the position."""
        self._account.said = None
        self.doubt(at, "reconnecting")

    def hasten(self, at: At) -> None:
        """Something happened that only REST can settle: the next round comes as soon as one may."""
        self._due_ns = min(self._due_ns, at.now_ns)

    # --- observe

    def read(
        self, at: At, purpose: ForRead, outcome: OrdersRead | FillsRead | PositionRead
    ) -> None:
        """One of a round's reads came back whole."""
        current = self._round
        if current is None or purpose.round != current.number:
            return
        match outcome:
            case OrdersRead():
                current.orders = outcome
            case PositionRead():
                current.position = outcome
            case FillsRead():
                self._fills(at, current, outcome)
            case _:
                assert_never(outcome)

    def _fills(self, at: At, current: Round, page: FillsRead) -> None:
        """Book what was missed, and read on until a page is not full."""
        for said in page.fills:
            match said:
                case Filled():
                    booked = self._desk.fill(at, said.fill, "rest")
                    if booked and self._is_late(at):
                        words = f"{said.fill.exec_id} came by REST alone"
                        self._desk.overdue.execution_is_late(words)
                case Funded():
                    self._desk.funding(said.paid)
                case _:
                    assert_never(said)
        current.fills_rows += page.rows
        current.fills_done = not page.more
        if page.more:
            self._ask_fills(at, current)

    def _is_late(self, at: At) -> bool:
        """Whether a fill is missing for longer than its execution may be on its way."""
        return self._missing_ns is not None and at.now_ns - self._missing_ns > self._grace_ns

    def failed(self, at: At, number: int | None) -> None:
        """A read came to nothing: so did its round."""
        if self._round is not None and self._round.number == number:
            self._end(at, clean=False)

    # --- judge

    def judge(self, at: At) -> None:
        """Compare a complete round; notice what the streams alone already contradict."""
        self._judge_orphans(at)
        self._judge_missing_fills(at)
        self._judge_stream_position(at)
        current = self._round
        if current is not None:
            if self._account.expected_qty != current.expected[-1]:
                current.expected.append(self._account.expected_qty)
            if current.orders and current.position and current.fills_done:
                self._compare(at, current, current.orders, current.position.position.qty)
        overdue_ns = 2 * self._every_ns + self._grace_ns
        if (
            self._clean_ns is not None
            and at.now_ns - self._clean_ns > overdue_ns
            and not self._faults.has(Fault.POSITION_DISAGREES)
        ):
            words = "no clean reconciliation"
            self._faults.raise_(Fault.UNRECONCILED, at, words, since_ns=self._clean_ns)

    def _judge_orphans(self, at: At) -> None:
        """What kept the last round from being clean is gone: the next one need not wait."""
        before, self._orphans = self._orphans, len(self._account.orphans)
        if before and not self._orphans:
            self._pace.settled()
            self._pace.release()
            self.hasten(at)

    def _judge_missing_fills(self, at: At) -> None:
        """Called filled, and no execution came: ask REST for it (promise 5)."""
        if not self._account.fills_missing:
            self._missing_ns = None
        elif self._missing_ns is None:
            self._missing_ns = at.now_ns
        elif self._is_late(at):
            self.hasten(at)

    def _judge_stream_position(self, at: At) -> None:
        """Without an image nothing is said; one that contradicts again does not get a new grace."""
        said = self._account.said
        expected = self._account.expected_qty
        if said is not None and said.qty == expected:
            self._stream_disagreed_ns = None
        if said is None or said.qty == expected or not self.ever_clean:
            return
        if self._stream_disagreed_ns is None:
            self._stream_disagreed_ns = at.now_ns
        elif at.now_ns - self._stream_disagreed_ns > self._grace_ns and not self._faults.has(
            Fault.POSITION_DISAGREES
        ):
            words = f"websocket {said.qty}, ledger {expected}"
            since_ns = self._stream_disagreed_ns
            self._faults.raise_(Fault.POSITION_DISAGREES, at, words, since_ns=since_ns)
            self.hasten(at)

    def _compare(self, at: At, current: Round, orders: OrdersRead, held: Contracts) -> None:
        account = self._account
        flat = (
            held == 0 and account.expected_qty == 0 and (not account.said or not account.said.qty)
        )
        listed = self._compare_orders(at, orders, current.began_ns, flat)
        twice = self._says_the_same(orders, held)
        if twice and not account.ledger.opened and account.ledger.fills == 0 and held == 0:
            # A ledger begins at flat only: a position that it does not explain stops (code 13).
            opening = Opening(at.wall_ns, held, Minor(0))
            account.ledger.open_with(opening)
            self._outbox.put(Keep(opening))
        said = account.said
        explained = held in current.expected
        self._contradicted_ns = None if explained else current.began_ns
        agree = explained and (said is None or said.qty in current.expected)
        if explained and not agree:
            self._position_overdue(at, held)
        if agree:
            self._disagreed_ns = None
            self._faults.clear(Fault.POSITION_DISAGREES)
        elif twice or self.ever_clean:
            self._positions_differ(at, held)
        # One that is missing since before this round, the round should have brought.
        missing = self._missing_ns is not None and self._missing_ns <= current.began_ns
        whole = agree and listed and not missing
        # Nothing is known before the first clean one, so a single lying read must not make it.
        clean = whole and (twice or self.ever_clean)
        self._once = whole and not clean
        if clean and not account.blotter.live():
            account.none_working_ns = current.began_ns
        self._end(at, clean)
        if clean:
            self._since_wall_ns = max(
                self._since_wall_ns, account.ledger.last_fill_ns - _OVERLAP_NS
            )
            account.begin()
            if self._faults.clear(Fault.UNRECONCILED):
                self._outbox.log("info", "reconciled", position=held, fills=account.ledger.fills)

    def take_overdue(self) -> str | None:
        """What REST proved the position table to lack; told once, for it to be asked for anew."""
        words, self._position_lacks = self._position_lacks, None
        return words

    def _position_overdue(self, at: At, held: Contracts) -> None:
        """Fills and REST agree, and past the grace the websocket alone does not: it lost one."""
        since_ns, said = self._stream_disagreed_ns, self._account.said
        if since_ns is not None and said is not None and at.now_ns - since_ns > self._grace_ns:
            self._position_lacks = f"websocket {said.qty}, fills and REST {held}"
            self._account.said = None

    def _says_the_same(self, orders: OrdersRead, held: Contracts) -> bool:
        """Whether two whole rounds in a row read the same orders of ours and the same position."""
        naming = self._account.naming
        assert naming is not None
        ours = sorted(row.order_id for row in orders.orders if naming.is_ours(row.cl_ord_id))
        before, self._seen = self._seen, (tuple(ours), held)
        return before == self._seen

    def _positions_differ(self, at: At, held: int) -> None:
        """A difference may be a message still on its way; past the grace it is a fault."""
        if self._disagreed_ns is None:
            self._disagreed_ns = at.now_ns
        if self.ever_clean and at.now_ns - self._disagreed_ns <= self._grace_ns:
            return
        said = self._account.said
        stream = "not known" if said is None else said.qty
        words = f"REST {held}, websocket {stream}, ledger {self._account.expected_qty}"
        since_ns = self._began_ns if self._clean_ns is None else self._clean_ns
        self._faults.raise_(Fault.POSITION_DISAGREES, at, words, since_ns=since_ns)
        self._faults.clear(Fault.UNRECONCILED)

    def _compare_orders(self, at: At, read: OrdersRead, began_ns: int, flat: bool) -> bool:
        """Hear every row; find ours that are missing, and those that nobody wants any more.

        True when the venue's list holds no order of ours but those that we want, and all of them.
        """
        account = self._account
        for row in read.orders:
            self._desk.listed(at, row, began_ns)
        listed = {row.cl_ord_id for row in read.orders}
        same = not account.orphans
        for order in account.blotter.live():
            name = order.asked.cl_ord_id
            # One sent or first heard of around the read is no contradiction: the next round tells.
            if name in listed or order.said is None or order.born_ns > began_ns:
                continue
            same = False
            absent_ns = order.absent_since_ns
            if absent_ns is not None and absent_ns < began_ns and flat:
                # Missing in two lists and in the query between them, and no position (O7).
                self._desk.clear_vanished(at, order)
            else:
                self._desk.ask(at, name)
        return same

    def _end(self, at: At, clean: bool) -> None:
        """The next round comes after the usual pause, or soon when this one was not clean."""
        assert self._round is not None, "a round ends once"
        self._read_ns = self._round.began_ns
        self.last_was_clean = clean
        self.last_wall_ns = at.wall_ns
        if clean:
            self.rounds_clean += 1
            self._clean_ns = at.now_ns
            self._pace.succeeded(at.now_ns)
            self._due_ns = at.now_ns + self._every_ns
        else:
            self.rounds_unclean += 1
            self._pace.failed(at.now_ns)
            self._due_ns = self._pace.until_ns
        self._round = None

    # --- repair

    def repair(self, at: At, synced: bool) -> None:
        """Begin the next round when it is due; a second one to agree with, once all is synced."""
        due_ns = max(self._due_ns, self._pace.until_ns)
        if self._once and synced:
            due_ns = 0
        if self._round is None and at.now_ns >= due_ns and self._may_read(at):
            self._count += 1
            self._round = Round(self._count, at.now_ns, [self._account.expected_qty])
        if self._round is not None:
            self._ask(at, self._round)

    def _may_read(self, at: At) -> bool:
        return self._budget.is_open(Lane.RECONCILE, at.now_ns)

    def _ask(self, at: At, current: Round) -> None:
        """Send its reads, all at once where the budget allows it, and one by one where it is low;
        what is compared with ``began_ns`` is then only older than it need be.
        """
        while current.unasked and self._may_read(at):
            read = current.unasked.pop(0)
            if read is Read.FILLS:
                self._ask_fills(at, current)
            elif read is Read.ORDERS:
                self._requests.read(at, read, self._dialect.read_open_orders(), current.number)
            else:
                self._requests.read(at, read, self._dialect.read_position(), current.number)
        if not current.unasked and self._desk.margin_due and self._may_read(at):
            self._desk.margin_due = False
            self._requests.read(at, Read.MARGIN, self._dialect.read_margin())

    def _ask_fills(self, at: At, current: Round) -> None:
        call = self._dialect.read_fills(self._since_wall_ns, current.fills_rows)
        self._requests.read(at, Read.FILLS, call, current.number)
