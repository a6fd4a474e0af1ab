"""Deliberate breaks of the product: each takes one safety property away, by a patch from outside.

A row says what is broken, by which function, which invariants may catch it, and which faults the
nights must hold for it to show. Nothing in the product knows of any of this.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from chappie.core import desk as desk_module
from chappie.core.blotter import Naming
from chappie.core.core import Core
from chappie.core.desk import Desk
from chappie.core.faults import ActiveFaults
from chappie.core.feed import Feed
from chappie.core.ledger import Ledger
from chappie.core.orders import Order, absent, refused
from chappie.core.outbox import Outbox
from chappie.core.reconcile import Reconciler
from chappie.core.requests import ForRead
from chappie.core.switch import Switch
from chappie.core.trading import Trading
from chappie.model.commands import Command, Keep
from chappie.model.config import Config
from chappie.model.enums import Lane
from chappie.model.events import Started
from chappie.model.faults import Fault
from chappie.model.records import Fill, Intent
from chappie.model.reports import (
    FillsRead,
    OrderSaid,
    OrdersRead,
    PositionRead,
    PositionSaid,
    Read,
    Unknown,
)
from chappie.model.units import Contracts


class Patch(Protocol):
    """How an attribute is replaced and put back: `pytest.MonkeyPatch.setattr`."""

    def __call__(self, target: Any, name: str, value: Any) -> None: ...


class Sabotage(NamedTuple):
    """One break. ``kinds`` are the faults of its nights, ``style`` the execution style."""

    name: str
    what: str
    apply: Callable[[Patch], None]
    caught_by: tuple[str, ...]
    kinds: tuple[str, ...]
    style: str = "market"


def _no_answer_means_rejected(patch: Patch) -> None:
    def doubt(self: Any, at: Any, order: Order, why: str) -> None:
        self.account.put(refused(order, at.now_ns, why), at.now_ns)

    patch(Desk, "_doubt", doubt)


def _no_fence(patch: Patch) -> None:
    def at_once(order: Order, asked_ns: int, now_ns: int) -> Order:
        fence_ns = order.request.fence_ns if order.request is not None else 0
        return absent(order, max(asked_ns, fence_ns), now_ns)

    patch(desk_module, "absent", at_once)


def _no_boot_fence(patch: Patch) -> None:
    true = Core._start

    def start(self: Core, at: Any, event: Started) -> None:
        kept = tuple(one for one in event.kept if not isinstance(one, Intent))
        true(self, at, msgspec.structs.replace(event, kept=kept))

    patch(Core, "_start", start)


def _optimistic_cancel(patch: Patch) -> None:
    def gone(order: Order, request: Any) -> Order:
        return msgspec.structs.replace(order, ended_ns=request.sent_ns, end="Canceled")

    patch(desk_module, "cancelling", gone)


def _leftovers_ignored(patch: Patch) -> None:
    _no_boot_fence(patch)
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


def _duplicate_fills_booked(patch: Patch) -> None:
    true = Ledger.book

    def book(self: Ledger, fill: Fill) -> bool:
        self._seen.discard(fill.exec_id)
        return true(self, fill)

    patch(Ledger, "book", book)


def _failed_read_as_empty(patch: Patch) -> None:
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


def _retry_of_a_post(patch: Patch) -> None:
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


def _intent_after_sending(patch: Patch) -> None:
    true = Outbox.take

    def take(self: Outbox) -> list[Command]:
        def late(command: Command) -> bool:
            return isinstance(command, Keep) and isinstance(command.record, Intent)

        commands = true(self)
        return [c for c in commands if not late(c)] + [c for c in commands if late(c)]

    patch(Outbox, "take", take)


def _foreign_orders_adopted(patch: Patch) -> None:
    patch(Naming, "is_ours", lambda self, cl_ord_id: True)
    if hasattr(Naming, "is_of_another_instance"):
        patch(Naming, "is_of_another_instance", lambda self, cl_ord_id: False)


def _position_never_compared(patch: Patch) -> None:
    patch(Reconciler, "_positions_differ", lambda self, *rest: None)
    patch(Reconciler, "_judge_stream_position", lambda self, *rest: None)


def _fills_from_the_stream_only(patch: Patch) -> None:
    true = Reconciler._fills

    def none(self: Reconciler, at: Any, current: Any, page: FillsRead) -> None:
        true(self, at, current, msgspec.structs.replace(page, fills=()))

    patch(Reconciler, "_fills", none)


def _switch_trusted_unproven(patch: Patch) -> None:
    patch(Switch, "holds", lambda self, until_ns: True)


def _silence_unnoticed(patch: Patch) -> None:
    patch(Feed, "market_is_stale", lambda self, now_ns: False)


def _names_without_epoch(patch: Patch) -> None:
    true = Naming.__init__

    def forget(self: Naming, bot_id: str, epoch: int) -> None:
        true(self, bot_id, 1)

    patch(Naming, "__init__", forget)


def _limit_ignored(patch: Patch) -> None:
    true = Trading.__init__

    def without(self: Any, config: Config, *rest: Any) -> None:
        bot = msgspec.structs.replace(config.bot, max_position=10**9)
        true(self, msgspec.structs.replace(config, bot=bot), *rest)

    patch(Trading, "__init__", without)


def _commands_by_chance(patch: Patch) -> None:
    """A counter that outlives the process: what a replay cannot know."""
    true = Outbox.log
    count = [0]

    def log(self: Outbox, level: str, event: str, **fields: object) -> None:
        count[0] += 1
        true(self, level, event, **fields, line=count[0])

    patch(Outbox, "log", log)


def _trades_before_reconciling(patch: Patch) -> None:
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


def _fault_never_cleared(patch: Patch) -> None:
    """Not a danger: a bot that never trades again."""
    true = ActiveFaults.clear

    def clear(self: ActiveFaults, fault: Fault, subject: str = "") -> bool:
        return fault is not Fault.BUDGET_LOW and true(self, fault, subject)

    patch(ActiveFaults, "clear", clear)


_KILLS = ("kill_amid_order", "request_late", "request_lost")
_LOST = ("answer_lost", "request_cut", "error_after")

SABOTAGES: tuple[Sabotage, ...] = (
    Sabotage(
        "no_answer_means_rejected",
        "an order without an answer counts as refused",
        _no_answer_means_rejected,
        ("ask_before_repeating", "one_order"),
        _LOST,
    ),
    Sabotage(
        "no_fence",
        "absence proves death although the request may still arrive",
        _no_fence,
        ("ask_before_repeating", "one_order"),
        ("request_cut",),
    ),
    Sabotage(
        "no_boot_fence",
        "a start forgets what the dead run had asked for",
        _no_boot_fence,
        ("ask_before_repeating", "one_order", "active_knows_all"),
        _KILLS,
    ),
    Sabotage(
        "optimistic_cancel",
        "an order counts as gone when its cancel was sent",
        _optimistic_cancel,
        ("one_order", "active_knows_all"),
        ("request_lost", "request_late"),
        "post_only",
    ),
    Sabotage(
        "leftovers_ignored",
        "orders of a dead run are left to rest",
        _leftovers_ignored,
        ("active_knows_all", "one_order"),
        ("kill", "kill_amid_order"),
        "post_only",
    ),
    Sabotage(
        "duplicate_fills_booked",
        "a fill that comes twice is booked twice",
        _duplicate_fills_booked,
        ("books_agree", "sides_agree", "calm", "no_bug"),
        ("duplicate",),
    ),
    Sabotage(
        "failed_read_as_empty",
        "a read that failed counts as one without rows",
        _failed_read_as_empty,
        ("reconciled_first", "active_knows_all", "ask_before_repeating", "one_order"),
        ("kill_amid_order", "error_before", "answer_truncated", "error_after"),
        "post_only",
    ),
    Sabotage(
        "retry_of_a_post",
        "an order without an answer is sent again",
        _retry_of_a_post,
        ("name_once",),
        _LOST,
    ),
    Sabotage(
        "intent_after_sending",
        "an order's intent is written when its request has left",
        _intent_after_sending,
        ("intent_first",),
        ("kill",),
    ),
    Sabotage(
        "foreign_orders_adopted",
        "every order on the account counts as ours",
        _foreign_orders_adopted,
        ("foreign_untouched",),
        ("hand_rests",),
    ),
    Sabotage(
        "position_never_compared",
        "the venue's position is not compared with ours",
        _position_never_compared,
        ("position_true",),
        ("hand_fills",),
    ),
    Sabotage(
        "fills_from_the_stream_only",
        "fills are booked from the stream and never read again",
        _fills_from_the_stream_only,
        ("fills_in_time", "calm", "sides_agree", "books_agree"),
        ("drop", "mute_table", "kill"),
    ),
    Sabotage(
        "switch_trusted_unproven",
        "orders are sent whether or not the dead man's switch is armed",
        _switch_trusted_unproven,
        ("switch_armed",),
        ("request_lost",),
    ),
    Sabotage(
        "silence_unnoticed",
        "a market that fell silent is traded on",
        _silence_unnoticed,
        ("market_fresh",),
        ("stream_half_open", "stream_stall"),
    ),
    Sabotage(
        "names_without_epoch",
        "every run names its orders alike",
        _names_without_epoch,
        ("name_once", "calm"),
        ("kill",),
    ),
    Sabotage(
        "limit_ignored",
        "the gate lets orders pass that exceed max_position",
        _limit_ignored,
        ("position_limit",),
        ("drop",),
    ),
    Sabotage(
        "commands_by_chance",
        "a command depends on what is not in the journal",
        _commands_by_chance,
        ("replay",),
        ("kill",),
    ),
    Sabotage(
        "trades_before_reconciling",
        "a start trades before it read anything",
        _trades_before_reconciling,
        ("reconciled_first",),
        ("kill",),
    ),
    Sabotage(
        "fault_never_cleared",
        "a budget that was low once is low for ever",
        _fault_never_cleared,
        ("calm",),
        ("overload",),
    ),
)
