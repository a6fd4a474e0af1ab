"""The patches: each takes one safety property of the product away, from outside.

Nothing in the product knows of any of this. Where they belong, and what catches them, stands in
`sabotages.py`.
"""

import os
from typing import Any, Protocol

import msgspec

from chappie.core import account as account_module
from chappie.core import desk as desk_module
from chappie.core import flatten as flatten_module
from chappie.core import gate as gate_module
from chappie.core.account import Account
from chappie.core.blotter import Naming
from chappie.core.budget import Budget
from chappie.core.core import Core
from chappie.core.desk import Desk
from chappie.core.faults import ActiveFaults
from chappie.core.feed import Feed
from chappie.core.gate import Circumstances
from chappie.core.lag import Lag
from chappie.core.ledger import Ledger
from chappie.core.orders import Order, absent, refused, told
from chappie.core.outbox import Outbox
from chappie.core.reconcile import Reconciler
from chappie.core.requests import ForRead, Requests
from chappie.core.stopping import Stopping
from chappie.core.switch import Switch
from chappie.core.trading import Trading
from chappie.guardian.errands.asking import Asking, Heard
from chappie.guardian.errands.asking import Event as GuardEvent
from chappie.guardian.errands.sweep import Left, Sweep
from chappie.guardian.errands.vigil import Look, Vigil
from chappie.journal.framing import framed
from chappie.journal.kept import KeptLog
from chappie.model.commands import Command, HttpCall, Keep, SayHalted, SetLatch
from chappie.model.config import Config
from chappie.model.enums import Lane
from chappie.model.events import HaltAsked, Started
from chappie.model.faults import Fault
from chappie.model.orders import NewOrder
from chappie.model.records import Fill, Intent
from chappie.model.reports import (
    BudgetSeen,
    FillsRead,
    OrderSaid,
    OrdersRead,
    PositionRead,
    PositionSaid,
    Read,
    Unknown,
)
from chappie.model.units import At, Contracts
from chappie.venues.bitmex import dialect as dialect_module
from chappie.venues.bitmex.dialect import BitmexDialect
from chappie.venues.bitmex.tables import L2Mirror
from chappie.venues.bitmex.wire import L2Frame


class Patch(Protocol):
    """How an attribute is replaced and put back: `pytest.MonkeyPatch.setattr`."""

    def __call__(self, target: Any, name: str, value: Any) -> None: ...


def no_answer_means_rejected(patch: Patch) -> None:
    def doubt(self: Any, at: Any, order: Order, why: str) -> None:
        self.account.put(refused(order, at.now_ns, why), at.now_ns)

    patch(Desk, "_doubt", doubt)


def no_fence(patch: Patch) -> None:
    def at_once(order: Order, asked_ns: int, now_ns: int) -> Order:
        fence_ns = order.request.fence_ns if order.request is not None else 0
        return absent(order, max(asked_ns, fence_ns), now_ns)

    patch(desk_module, "absent", at_once)


def no_boot_fence(patch: Patch) -> None:
    true = Core._start

    def start(self: Core, at: Any, event: Started) -> None:
        kept = tuple(one for one in event.kept if not isinstance(one, Intent))
        true(self, at, msgspec.structs.replace(event, kept=kept))

    patch(Core, "_start", start)


def optimistic_cancel(patch: Patch) -> None:
    def gone(order: Order, request: Any) -> Order:
        return msgspec.structs.replace(order, ended_ns=request.sent_ns, end="Canceled")

    patch(desk_module, "cancelling", gone)


def leftovers_ignored(patch: Patch) -> None:
    no_boot_fence(patch)
    true_read, true_said = Core._read_settled, Desk.order_said

    def unknown(desk: Desk, row: OrderSaid) -> bool:
        naming = desk.account.naming
        assert naming is not None
        return naming.is_ours(row.cl_ord_id) and row.cl_ord_id not in desk.account.blotter

    def settled(self: Core, at: Any, purpose: ForRead, outcome: Any) -> None:
        if isinstance(outcome, OrdersRead):
            rows = tuple(row for row in outcome.orders if not unknown(self.desk, row))
            outcome = msgspec.structs.replace(outcome, orders=rows)
        true_read(self, at, purpose, outcome)

    def said(self: Desk, at: Any, row: OrderSaid) -> None:
        if not unknown(self, row):
            true_said(self, at, row)

    patch(Core, "_read_settled", settled)
    patch(Desk, "order_said", said)


def duplicate_fills_booked(patch: Patch) -> None:
    true = Ledger.book

    def book(self: Ledger, fill: Fill) -> bool:
        self._seen.discard(fill.exec_id)
        return true(self, fill)

    patch(Ledger, "book", book)


def failed_read_as_empty(patch: Patch) -> None:
    true = Core._read_settled
    empty = {
        Read.ORDERS: OrdersRead(()),
        Read.FILLS: FillsRead((), 0, False),
        Read.POSITION: PositionRead(PositionSaid(Contracts(0), None, None, None, None)),
    }

    def settled(self: Core, at: Any, purpose: ForRead, outcome: Any) -> None:
        if isinstance(outcome, Unknown) and purpose.read in empty:
            outcome = empty[purpose.read]
        true(self, at, purpose, outcome)

    patch(Core, "_read_settled", settled)


def retry_of_a_post(patch: Patch) -> None:
    true_send, true_settled = Desk.send, Desk.new_settled
    sent: dict[str, Any] = {}

    def send(self: Desk, at: Any, approved: Any, decision: int, fence_ns: int) -> None:
        sent[approved.value.cl_ord_id] = approved
        true_send(self, at, approved, decision, fence_ns)

    def settled(self: Any, at: Any, cl_ord_id: str, outcome: Any) -> None:
        if isinstance(outcome, Unknown):
            approved = sent[cl_ord_id]
            call = self._dialect.new_order(approved, self._market.instrument)
            self._requests.order(at, Lane.OPEN, approved, call, at.now_ns)
        else:
            true_settled(self, at, cl_ord_id, outcome)

    patch(Desk, "send", send)
    patch(Desk, "new_settled", settled)


def intent_after_sending(patch: Patch) -> None:
    true = Outbox.take

    def take(self: Outbox) -> list[Command]:
        def late(command: Command) -> bool:
            return isinstance(command, Keep) and isinstance(command.record, Intent)

        commands = true(self)
        return [c for c in commands if not late(c)] + [c for c in commands if late(c)]

    patch(Outbox, "take", take)


def foreign_orders_adopted(patch: Patch) -> None:
    patch(Naming, "is_ours", lambda self, cl_ord_id: True)
    if hasattr(Naming, "is_of_another_instance"):
        patch(Naming, "is_of_another_instance", lambda self, cl_ord_id: False)


def position_never_compared(patch: Patch) -> None:
    patch(Reconciler, "_positions_differ", lambda self, *rest: None)
    patch(Reconciler, "_judge_stream_position", lambda self, *rest: None)


def fills_from_the_stream_only(patch: Patch) -> None:
    true = Reconciler._fills

    def none(self: Reconciler, at: Any, current: Any, page: FillsRead) -> None:
        true(self, at, current, msgspec.structs.replace(page, fills=()))

    patch(Reconciler, "_fills", none)


def switch_trusted_unproven(patch: Patch) -> None:
    patch(Switch, "holds", lambda self, until_ns: True)


def switch_not_read_back(patch: Patch) -> None:
    patch(Switch, "_is_what_was_asked", lambda self, armed: True)


def missed_renewal_unnoticed(patch: Patch) -> None:
    patch(Switch, "is_missed", lambda self, at, relied_on: False)


# --- what the venue allows


def bucket_assumed_full(patch: Patch) -> None:
    true = Budget.begin

    def begin(self: Budget, at: Any, waits: Any) -> None:
        true(self, at, waits)
        self.seen(at.now_ns, BudgetSeen(120, 120, None, 10, 10))

    patch(Budget, "begin", begin)


def retry_after_ignored(patch: Patch) -> None:
    patch(Budget, "limited", lambda self, at, retry_after_s, headers: None)


def ban_forgotten(patch: Patch) -> None:
    patch(Budget, "take_record", lambda self, at: None)


def second_layer_unpaced(patch: Patch) -> None:
    patch(Budget, "paces", lambda self, lane, now_ns: False)


def reads_spend_the_reserve(patch: Patch) -> None:
    true = Budget.is_open

    def is_open(self: Budget, lane: Lane, now_ns: int, requests: int = 1) -> bool:
        return lane is Lane.RECONCILE or true(self, lane, now_ns, requests)

    patch(Budget, "is_open", is_open)


def collar_ignored(patch: Patch) -> None:
    patch(gate_module, "_within_collar", lambda order, c: True)


def clock_of_answers_unread(patch: Patch) -> None:
    patch(BitmexDialect, "stated_time", lambda self, answer: None)


def silence_unnoticed(patch: Patch) -> None:
    patch(Feed, "market_is_stale", lambda self, now_ns: False)


def lag_unnoticed(patch: Patch) -> None:
    patch(Lag, "age_ns", lambda self, quote, handled_wall_ns, offset_ns, now_ns: None)


def names_without_epoch(patch: Patch) -> None:
    true = Naming.__init__

    def forget(self: Naming, bot_id: str, epoch: int) -> None:
        true(self, bot_id, 1)

    patch(Naming, "__init__", forget)


def limit_ignored(patch: Patch) -> None:
    true = Trading.__init__

    def without(self: Any, config: Config, *rest: Any) -> None:
        bot = msgspec.structs.replace(config.bot, max_position=10**9)
        true(self, msgspec.structs.replace(config, bot=bot), *rest)

    patch(Trading, "__init__", without)


def commands_by_chance(patch: Patch) -> None:
    """A counter that outlives the process: what a replay cannot know."""
    true = Outbox.log
    count = [0]

    def log(self: Outbox, level: str, event: str, **fields: object) -> None:
        count[0] += 1
        true(self, level, event, **fields, line=count[0])

    patch(Outbox, "log", log)


def trades_before_reconciling(patch: Patch) -> None:
    patch(Reconciler, "ever_clean", property(lambda self: True))
    true = Core._start

    def start(self: Core, at: Any, event: Any) -> None:
        true(self, at, event)
        self.faults._active = {
            key: one for key, one in self.faults._active.items() if key[0].value != "unreconciled"
        }

    patch(Core, "_start", start)
    patch(Reconciler, "doubt", lambda self, *rest, **more: None)
    patch(Reconciler, "repair", lambda self, *rest: None)


def fault_never_cleared(patch: Patch) -> None:
    """Not a danger: a bot that never trades again."""
    true = ActiveFaults.clear

    def clear(self: ActiveFaults, fault: Fault, subject: str = "") -> bool:
        return fault is not Fault.BUDGET_LOW and true(self, fault, subject)

    patch(ActiveFaults, "clear", clear)


# --- one source, one read, one page


def position_from_the_stream_only(patch: Patch) -> None:
    patch(Reconciler, "_positions_differ", lambda self, *rest: None)


def one_query_is_proof(patch: Patch) -> None:
    def at_once(order: Order, asked_ns: int, now_ns: int) -> Order:
        return absent(absent(order, asked_ns, now_ns), now_ns, now_ns)

    patch(desk_module, "absent", at_once)


def one_round_is_proof(patch: Patch) -> None:
    patch(Reconciler, "_says_the_same", lambda self, *rest: True)


def pages_of_five(patch: Patch) -> None:
    """No break: reads of fills are full so soon that a night has several pages."""
    patch(dialect_module, "_PAGE", 5)


def first_page_of_fills_only(patch: Patch) -> None:
    true = Reconciler._fills

    def first(self: Reconciler, at: Any, current: Any, page: FillsRead) -> None:
        true(self, at, current, msgspec.structs.replace(page, more=False))

    patch(Reconciler, "_fills", first)


# --- the gate and what it is told


def allow_trade_not_asked(patch: Patch) -> None:
    true = gate_module._denial

    def denial(order: NewOrder, c: Circumstances) -> Any:
        return true(order, msgspec.structs.replace(c, allow_trade=True))

    patch(gate_module, "_denial", denial)


def unknown_counts_for_nothing(patch: Patch) -> None:
    true = Order.leaves_worst.fget  # type: ignore[attr-defined]
    patch(Order, "leaves_worst", property(lambda self: 0 if self.in_doubt else true(self)))


def send_deadline_ignored(patch: Patch) -> None:
    true = Requests.__init__

    def without(self: Any, config: Any, *rest: Any) -> None:
        true(self, msgspec.structs.replace(config, send_deadline_s=3600.0), *rest)

    patch(Requests, "__init__", without)


def fence_at_once(patch: Patch) -> None:
    patch(Requests, "fence_of", lambda self, at, sent_wall_ns: at.now_ns)


# --- words, names and fills


def old_words_win(patch: Patch) -> None:
    """Whatever came last counts, however old it is."""

    def last(order: Order, row: OrderSaid, now_ns: int) -> Order:
        bare = msgspec.structs.replace(order, said=None, ended_ns=None, end="")
        return told(bare, row, now_ns)

    patch(account_module, "told", last)


def anybodys_fill_is_ours(patch: Patch) -> None:
    patch(Account, "owns", lambda self, fill: True)
    patch(Naming, "is_of_another_instance", lambda self, cl_ord_id: False)


def not_alone_ignored(patch: Patch) -> None:
    patch(Naming, "is_of_another_instance", lambda self, cl_ord_id: False)


def cancels_everything_of_the_account(patch: Patch) -> None:
    call = HttpCall("DELETE", "/order/all", b'{"symbol":"XBTUSD"}')
    patch(BitmexDialect, "cancel", lambda self, names, ids: call)


def liquidation_unnoticed(patch: Patch) -> None:
    true = ActiveFaults.raise_

    def raise_(self: ActiveFaults, fault: Fault, *rest: Any, **more: Any) -> bool:
        return fault is not Fault.LIQUIDATED and true(self, fault, *rest, **more)

    patch(ActiveFaults, "raise_", raise_)


def changes_before_the_image_applied(patch: Patch) -> None:
    true = L2Mirror.apply

    def apply(self: Any, frame: L2Frame) -> Any:
        if self._level is None:
            self._level = {}
        return true(self, frame)

    patch(L2Mirror, "apply", apply)


# --- the end of a run


def stops_without_cancelling(patch: Patch) -> None:
    true = Desk.cancel

    def cancel(self: Desk, at: Any, orders: Any, why: str) -> None:
        if not why.startswith("stopping"):
            true(self, at, orders, why)

    patch(Desk, "cancel", cancel)


def ends_as_known_without_reading(patch: Patch) -> None:
    patch(Stopping, "_account_is_known", lambda self, due: True)


def halt_said_at_once(patch: Patch) -> None:
    true = Stopping.halt

    def halt(self: Stopping, at: Any, asked: HaltAsked) -> None:
        true(self, at, asked)
        self._unsaid = None
        self._outbox.put(SayHalted(asked.detail))

    patch(Stopping, "halt", halt)


def halt_forgotten_at_a_start(patch: Patch) -> None:
    true = Core._start

    def start(self: Core, at: Any, event: Started) -> None:
        true(self, at, msgspec.structs.replace(event, halted=None))

    patch(Core, "_start", start)


def closing_order_not_clipped(patch: Patch) -> None:
    true = BitmexDialect.new_order

    def twice(order: NewOrder, c: Circumstances) -> Any:
        order = msgspec.structs.replace(order, qty=Contracts(2 * order.qty))
        return gate_module.Approved(order, gate_module.GateStamp.PASSED)

    def unflagged(self: BitmexDialect, order: Any, instrument: Any) -> HttpCall:
        call = true(self, order, instrument)
        return msgspec.structs.replace(
            call, body=call.body.replace(b',"execInst":"ReduceOnly"', b"")
        )

    patch(flatten_module, "examine", twice)
    patch(BitmexDialect, "new_order", unflagged)


def closing_order_repeated_blindly(patch: Patch) -> None:
    true = Desk._doubt

    def doubt(self: Any, at: Any, order: Order, why: str) -> None:
        # What no decision asked for is a flatten's.
        if order.decision == 0 and not order.orphan:
            self.account.put(refused(order, at.now_ns, why), at.now_ns)
        else:
            true(self, at, order, why)

    patch(Desk, "_doubt", doubt)


def liquidation_not_latched(patch: Patch) -> None:
    true = Outbox.put

    def put(self: Outbox, command: Command) -> None:
        if not isinstance(command, SetLatch):
            true(self, command)

    patch(Outbox, "put", put)


def kept_log_not_synced(patch: Patch) -> None:
    def append(self: Any, record: Any) -> None:
        os.write(self._fd, framed(self._encoder.encode(record)))

    patch(KeptLog, "append", append)


def look_takes_failed_for_empty(patch: Patch) -> None:
    hear = Asking.hear

    def broken(self: Asking, at: At, event: GuardEvent) -> Heard | None:
        heard = hear(self, at, event)
        if heard is None or not isinstance(heard.outcome, Unknown):
            return heard
        if isinstance(heard.purpose, ForRead) and heard.purpose.read is Read.ORDERS:
            return Heard(heard.purpose, heard.sent_ns, OrdersRead(()))
        return heard

    patch(Asking, "hear", broken)


def sweep_cancels_the_living(patch: Patch) -> None:
    patch(Sweep, "_is_left_behind", Sweep._is_ours)


def one_look_suffices(patch: Patch) -> None:
    def looked(self: Vigil, asked: At, at: At, look: Look, left: Left, stays_down: bool) -> bool:
        self.are_none = left.verified
        return left.verified

    patch(Vigil, "looked", looked)
