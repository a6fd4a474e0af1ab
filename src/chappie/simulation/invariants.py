"""The invariants: what must hold whatever goes wrong, checked on the venue's truth.

The witness sees what the process saw (events, commands) and what the venue knows. It asks the
core only for what it believes, never whether it was right (`truth.py`).
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from chappie.guardian.errands.sweep import Left
from chappie.model.commands import Command, Keep, SendCall, SendOrder, SetLatch
from chappie.model.enums import OrdType, Side
from chappie.model.events import (
    Answered,
    Event,
    FrameReceived,
    HaltAsked,
    Started,
    Unanswered,
)
from chappie.model.faults import StopReason
from chappie.model.records import Fill, FundingPaid, Intent
from chappie.model.timestamps import iso_ns
from chappie.model.units import SECOND_NS, At, seconds_ns
from chappie.simulation.process import End, Process
from chappie.simulation.truth import Truth, knows, live
from chappie.simulation.world import Watch
from chappie.venues.registry import VENUES

if TYPE_CHECKING:
    from chappie.simulation.night import Night

INVARIANTS: dict[str, str] = {
    "no_bug": "no process ends with `invariant_violated` or `internal_error`",
    "active_knows_all": "while ACTIVE, every working order of ours at the venue is known",
    "one_order": "at most one order of ours works at the venue",
    "ask_before_repeating": "no order is sent while the fate of an earlier one is unknown",
    "intent_first": "an order's intent is on the disk before its request leaves",
    "name_once": "no clOrdID is used twice",
    "allowed": "no order is sent while `allow_trade` is off, nor by any request but the gate's",
    "reconciled_first": "no order is sent before this process read orders, fills and position",
    "switch_armed": "no order is sent unless the switch at the venue outlasts its expiry",
    "market_fresh": "no order is sent on a market that was silent for longer than the soft stop",
    "market_young": "no order is sent on a quote that was long out of date when it was handled",
    "position_limit": "no order is sent that could take our position past `max_position`",
    "position_true": "no order is sent long after somebody else moved the position",
    "fills_in_time": "no order is sent while a fill older than promise 5 allows is not booked",
    "halts_when_liquidated": "no order is sent by a run long after it was liquidated",
    "halt_holds": "from a halt until a `resume` no order but a flatten's closing ones is sent, nor "
    "reaches the venue once the halt is said to be obeyed",
    "closing_reduces": "a flatten's order never makes our position larger, nor turns it",
    "foreign_untouched": "no request of ours touches an order without our prefix",
    "waits_honoured": "no run sends before the end of a wait that it was told by an answer",
    "stop_cancels": "a run that stops asks to cancel all that it knows to work, but for a ban",
    "known_is_true": "who ends and calls the account known has no order at work, and our position",
    "owned": "a working order of ours has an owner: a trader, a start that is due, or the switch",
    "guardian_silent": "while a trader lives, the guardian sends nothing",
    "swept_is_true": "once the guardian verified after the fence, none of ours works",
    "calm": "after everything heals the bot is ACTIVE and trades again, in bounded time",
    "sides_agree": "after calm, position and working orders are equal on both sides",
    "books_agree": "after calm, every fill and payment of the venue is booked once, to the satoshi",
    "replay": "each run's journal gives the same commands again",
}

# A stop reads for so long at most; what the venue takes meanwhile it cannot have seen.
_LAST_READS_NS = 3 * SECOND_NS

_BAN_NS = 3600 * SECOND_NS

BUGS = (StopReason.INVARIANT_VIOLATED, StopReason.INTERNAL_ERROR)

# Fates that only the venue can tell; a definite answer settles one.
_DEFINITE = (400, 401, 403, 404, 429)
_OVERLOADED = b"The system is currently overloaded. Please try again later."
_MARKET = (b'{"table":"quote"', b'{"table":"orderBookL2"')
_QUOTE = b'{"table":"quote"'
_READS = ("/order?", "/execution", "/position")


class _Sent(msgspec.Struct):
    """An order of which the process does not know yet what became of it."""

    side: Side
    qty: int
    reduce_only: bool
    expires_ns: int
    request: tuple[int, int]


class Witness(Watch):
    """Looks on all night."""

    def __init__(self, night: "Night") -> None:
        self._night = night
        self.truth = Truth(night)
        self.orders_sent = 0
        self._intents: dict[str, int] = {}
        # By clOrdID or orderID, the last run that asked to cancel it.
        self._cancelled: dict[str, int] = {}
        self._unknown: dict[str, _Sent] = {}
        self._paths: dict[tuple[int, int], tuple[str, str, int]] = {}
        self._seen_reads: dict[str, None] = {}
        self._epoch = 0
        self._market_ns = 0
        # The newest quote, and when it was handled.
        self._quote: tuple[bytes, int] | None = None
        # Which run was told to send nothing, and until when.
        self._told = 0, 0
        self._count_working = -1
        # Whether this run was told to halt, to flatten too, and whether it said that it obeys;
        # then also which order was the last by then.
        self._halted = False
        self._flattens = False
        self._last_at_halt: str | None = None
        reconcile, orders = night.config.reconcile, night.config.orders
        # Promise 5: so long a fill, or a position that moved, may stay unknown to a trading bot.
        self._read_within_ns = seconds_ns(
            reconcile.every_s + reconcile.grace_s + orders.ack_timeout_s
        )

    @property
    def hand_qty(self) -> int:
        return self.truth.hand_qty

    # --- what the process saw and did

    def stepped(self, process: Process, at: At, event: Event, commands: Sequence[Command]) -> None:
        if isinstance(event, Started | HaltAsked):
            self._halt_told(event)
        if type(event) is FrameReceived:
            if event.payload.startswith(_MARKET):
                self._market_ns = self._night.now_ns
                if event.payload.startswith(_QUOTE):
                    self._quote = event.payload, self._night.now_ns
            if self._unknown:
                self._mentioned(event.payload)
        elif type(event) is Answered:
            self._heard_wait(process, event)
            self._answered(process, event)
        elif type(event) is Unanswered and not event.sent:
            self._settle(process, event.request_id)
        if not process.core.faults:
            for order in self.truth.working():
                if not knows(process.core, order):
                    self._broken("active_knows_all", f"{order.cl_ord_id} works, and is not known")
        self._night.stepped(process, event, commands)

    def performing(self, process: Process, command: Command) -> None:
        if isinstance(command, SendOrder | SendCall):
            epoch, until_ns = self._told
            if epoch == process.epoch and self._night.now_ns < until_ns:
                left_s = (until_ns - self._night.now_ns) / SECOND_NS
                self._broken("waits_honoured", f"{command.call.path} {left_s:.3f} s too early")
        if type(command) is SendOrder:
            self._order(process, command)
        elif type(command) is SendCall:
            self._call(process, command)
        elif type(command) is SetLatch:
            self._halted = True
        elif type(command) is Keep and isinstance(command.record, Intent):
            self._intents[command.record.order.cl_ord_id] = command.record.decision

    def guarding(self, command: Command) -> None:
        process = self._night.process
        self._night.trace.guarded(command)
        if type(command) not in (SendCall, SendOrder):
            return
        if process is not None and process.alive:
            self._broken("guardian_silent", f"{command} beside epoch {process.epoch}")
        if type(command) is SendCall and command.call.method == "DELETE":
            self._cancels_ours(command.call.path, command.call.body)

    def swept(self, left: Left) -> None:
        """The guardian calls the account verified for good."""
        for order in self.truth.working():
            self._broken("swept_is_true", f"{order.cl_ord_id} works; {left.detail}")

    def _halt_told(self, event: Started | HaltAsked) -> None:
        if isinstance(event, Started):
            self._halted, self._flattens = event.halted is not None, False
            self._last_at_halt = None
        else:
            self._halted, self._flattens = True, self._flattens or event.flatten

    def halt_said(self, process: Process) -> None:
        if self._last_at_halt is None:
            self._last_at_halt = self.truth.last_order_id

    def venue_moved(self) -> None:
        self.truth.read()
        if self.truth.opened_by_closing:
            self._broken("closing_reduces", self.truth.opened_by_closing)
        if self._last_at_halt is not None:
            for name in self.truth.names_since(self._last_at_halt):
                if name not in self.truth.closing:
                    self._broken("halt_holds", f"{name} arrives after the halt was obeyed")
            self._last_at_halt = self.truth.last_order_id
        names = [order.cl_ord_id for order in self.truth.working()]
        if len(names) > 1 and len(names) != self._count_working:
            self._broken("one_order", f"at once: {', '.join(names)}")
        self._count_working = len(names)

    def _heard_wait(self, process: Process, event: Answered) -> None:
        epoch, until_ns = self._told
        if event.status == 429:
            for_ns = int(event.headers.get("retry-after", "1")) * SECOND_NS
        elif event.status == 403 and event.body.startswith(b"<html>"):
            for_ns = _BAN_NS
        else:
            return
        until_ns = until_ns if epoch == process.epoch else 0
        self._told = process.epoch, max(until_ns, self._night.now_ns + for_ns)

    # --- knowledge of fates

    def _answered(self, process: Process, event: Answered) -> None:
        key = process.epoch, event.request_id
        method, path, sent_ns = self._paths.pop(key, ("", "", 0))
        if method == "GET" and event.status == 200:
            for kind in _READS:
                if path.startswith(kind):
                    self._read(process, kind)
        if not self._unknown:
            return
        if event.status in _DEFINITE or (event.status == 503 and _OVERLOADED in event.body):
            self._settle(process, event.request_id)
        elif event.status == 200 and b'"error"' not in event.body:
            self._mentioned(event.body)
            if method == "GET" and path.startswith("/order"):
                self._absent(path, sent_ns)

    def _read(self, process: Process, kind: str) -> None:
        if self._epoch != process.epoch:
            self._epoch = process.epoch
            self._seen_reads = {}
        self._seen_reads[kind] = None

    def _mentioned(self, payload: bytes) -> None:
        for name in [name for name in self._unknown if name.encode() in payload]:
            del self._unknown[name]

    def _settle(self, process: Process, request_id: int) -> None:
        for name, sent in list(self._unknown.items()):
            if sent.request == (process.epoch, request_id):
                del self._unknown[name]

    def _absent(self, path: str, asked_ns: int) -> None:
        """A complete read that began when nothing could arrive any more, and did not show it."""
        for name, sent in list(self._unknown.items()):
            if asked_ns >= sent.expires_ns and (name in path or "open" in path):
                del self._unknown[name]

    # --- what is sent

    def _call(self, process: Process, command: SendCall) -> None:
        call = command.call
        self._paths[process.epoch, command.request_id] = call.method, call.path, self._night.now_ns
        if VENUES["simulated"].creates_or_amends(call):
            self._broken("allowed", f"{call.method} {call.path} without the gate")
        if call.method == "DELETE":
            self._cancel(process, call.path, call.body)

    def _cancel(self, process: Process, path: str, body: bytes) -> None:
        for one in self._cancels_ours(path, body):
            self._cancelled[one] = process.epoch

    def _cancels_ours(self, path: str, body: bytes) -> list[str]:
        """The names and ids of a cancel, all of which must be ours."""
        asked = json.loads(body) if body else {}
        names, ids = _listed(asked.get("clOrdID", [])), _listed(asked.get("orderID", []))
        foreign = [name for name in names if not self._night.is_ours(name)]
        foreign += [one for one in ids if not self.truth.is_ours(one)]
        if foreign or path != "/order" or not (names or ids):
            self._broken("foreign_untouched", f"DELETE {path} {body.decode()}")
        return [*names, *ids]

    def _order(self, process: Process, command: SendOrder) -> None:
        night, order = self._night, command.order.value
        name = order.cl_ord_id
        self.orders_sent += 1
        now_ns = night.now_ns
        config = night.config
        if name in night.names:
            self._broken("name_once", name)
        night.names[name] = process.epoch
        if name not in self._intents:
            self._broken("intent_first", name)
        if self._unknown:
            self._broken("ask_before_repeating", f"{name} while {', '.join(self._unknown)}")
        if not config.bot.allow_trade:
            self._broken("allowed", f"{name} with bot.allow_trade off")
        if self._epoch != process.epoch or len(self._seen_reads) < len(_READS):
            self._broken("reconciled_first", f"{name} after {', '.join(self._seen_reads)}")
        expires_ns = command.expires_s * SECOND_NS
        if self._flattens and order.reduce_only and order.ord_type is OrdType.MARKET:
            # What the gate lets pass is its business; what it does at the venue, `Truth` watches.
            self.truth.closing[name] = None
        else:
            self._check_exposure(process, name, expires_ns)
        self._check_limit(name, order.side, order.qty, order.reduce_only)
        since_ns = max(self.truth.hand_since_ns or now_ns, night.lies_until_ns)
        if now_ns - since_ns > self._read_within_ns:
            self._broken("position_true", f"{name} while another hand holds {self.hand_qty}")
        self._check_fills(process, name)
        self._unknown[name] = _Sent(
            order.side,
            order.qty,
            order.reduce_only,
            expires_ns,
            (process.epoch, command.request_id),
        )

    def _check_age(self, name: str) -> None:
        """By the engine's own stamps, which are true whatever the clocks of its gateway say."""
        if self._quote is None:
            return
        payload, handled_ns = self._quote
        frame = json.loads(payload)
        # The quote of an image is as old as the last change.
        if frame["action"] == "insert" and frame["data"]:
            stated_ns = iso_ns(frame["data"][-1]["timestamp"])
            assert stated_ns is not None
            age_ns = handled_ns - stated_ns
            config = self._night.config
            slack_s = 2 * config.clock.max_skew_s
            if age_ns > seconds_ns(max(config.feed.max_lag_s, slack_s) + slack_s):
                self._broken("market_young", f"{name} on a quote {age_ns / SECOND_NS:.1f} s old")

    def _check_exposure(self, process: Process, name: str, expires_ns: int) -> None:
        """What may be asked of every order but a closing one."""
        night, config = self._night, self._night.config
        if self._halted:
            self._broken("halt_holds", f"{name} is sent after a halt")
        switch_ns = self.truth.switch_ns
        if switch_ns is None or switch_ns < expires_ns - night.venue.timeline.skew_ns:
            self._broken("switch_armed", f"{name} expires at {expires_ns}, switch {switch_ns}")
        silent_ns = night.now_ns - self._market_ns
        if silent_ns > seconds_ns(config.feed.soft_stop_after_s + config.feed.check_every_s):
            self._broken("market_fresh", f"{name} after {silent_ns / SECOND_NS:.1f} s of silence")
        self._check_age(name)
        self._check_liquidation(process, name)

    def _check_limit(self, name: str, side: Side, qty: int, reduce_only: bool) -> None:
        if reduce_only:
            return
        worst = side.sign * self.truth.our_qty + qty
        working = {order.cl_ord_id: order for order in self.truth.working()}
        for order in working.values():
            same = (order.side == "Buy") == (side is Side.BUY)
            worst += order.leaves_qty if same else 0
        for other, sent in self._unknown.items():
            if other not in working and sent.side is side and not sent.reduce_only:
                worst += sent.qty
        if worst > self._night.config.bot.max_position:
            self._broken("position_limit", f"{name} could make it {worst}")

    def _check_fills(self, process: Process, name: str) -> None:
        """Promise 5, counted from the fill or from the last read that lied."""
        night = self._night
        ledger = process.core.desk.account.ledger
        for when_ns, row in reversed(self.truth.fills):
            late = night.now_ns - max(when_ns, night.lies_until_ns) > self._read_within_ns
            if late and not ledger.knows(row["execID"]):
                words = f"{name} while {row['execID']} of {row['clOrdID']} is not booked"
                self._broken("fills_in_time", words)
                return
            if night.now_ns - when_ns > 60 * SECOND_NS:
                return

    def _check_liquidation(self, process: Process, name: str) -> None:
        night, when_ns = self._night, self.truth.liquidated_ns
        if when_ns is None or when_ns < process.begun_ns:
            return
        if night.now_ns - max(when_ns, night.lies_until_ns) > self._read_within_ns:
            self._broken("halts_when_liquidated", name)

    # --- now and then

    def look(self) -> None:
        """What need not be checked at every step."""
        night = self._night
        process = night.process
        for order in self.truth.working():
            if self.truth.switch_ns is not None or night.supervisor.start_due_ns is not None:
                return
            if process is not None and process.alive:
                starting = not process.core.reconciler.ever_clean
                if starting or knows(process.core, order):
                    continue
            self._broken("owned", f"{order.cl_ord_id} works, and nobody answers for it")

    # --- at the end

    def ended(self, process: Process, end: End) -> None:
        """A run ended by itself."""
        working = list(self.truth.working())
        # A ban forbids it, and a bug is told by its own name.
        if end.reason not in (StopReason.VENUE_REFUSED, *BUGS):
            for order in working:
                asked = self._cancelled.get(order.cl_ord_id) or self._cancelled.get(order.order_id)
                if knows(process.core, order) and asked != process.epoch:
                    self._broken("stop_cancels", f"{order.cl_ord_id} at {end.reason.word}")
        if not end.known:
            return
        held = process.core.desk.account.ledger.qty
        if working:
            self._broken("known_is_true", f"{working[0].cl_ord_id} works")
        if end.detail.endswith("flattened, position 0") and self.truth.our_qty:
            self._broken("known_is_true", f"flattened, and the venue holds {self.truth.our_qty}")
        taken_ns = self.truth.liquidated_ns
        read_before = taken_ns is not None and self._night.now_ns - taken_ns < _LAST_READS_NS
        if held != self.truth.our_qty and not read_before:
            self._broken("known_is_true", f"ledger {held}, venue {self.truth.our_qty}")

    def sides_agree(self, process: Process) -> str:
        """Why bot and venue differ at this moment; empty when they do not."""
        account = process.core.desk.account
        if account.ledger.qty != self.truth.our_qty:
            return f"position: ledger {account.ledger.qty}, venue {self.truth.our_qty}"
        believed = live(process.core)
        working = {order.cl_ord_id: order.leaves_qty for order in self.truth.working()}
        if believed != working:
            return f"orders: believed {believed}, at the venue {working}"
        rows = [*(row for _, row in self.truth.fills), *self.truth.payments]
        missing = [row["execID"] for row in rows if not account.ledger.knows(row["execID"])]
        return f"not booked: {', '.join(missing)}" if missing else ""

    def books_agree(self, process: Process) -> str:
        """Why the books differ from the venue's, fill by fill; empty when they do not."""
        kept = self._night.disk.kept()
        booked = sorted(
            (r.exec_id, r.side.value, r.qty, r.cost, r.fee) for r in kept if isinstance(r, Fill)
        )
        true = sorted(
            (r["execID"], r["side"], r["lastQty"], r["execCost"], r["execComm"])
            for _, r in self.truth.fills
        )
        if booked != true:
            return f"kept and not true {_without(booked, true)}, true and not kept " + str(
                _without(true, booked)
            )
        paid = sorted((r.exec_id, r.fee) for r in kept if isinstance(r, FundingPaid))
        true_paid = sorted((r["execID"], r["execComm"]) for r in self.truth.payments)
        ledger = process.core.desk.account.ledger
        sums = (ledger.fills, ledger.fees, ledger.funding)
        true_sums = (len(true), sum(row[4] for row in true), sum(fee for _, fee in true_paid))
        if sums != true_sums or paid != true_paid:
            return f"fills, fees, funding: ledger {sums}, venue {true_sums}; paid {paid}"
        return ""

    def _broken(self, invariant: str, words: str) -> None:
        self._night.violated(invariant, words)


def _listed(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []


def _without(rows: list[Any], others: list[Any]) -> list[Any]:
    left = list(rows)
    for row in others:
        if row in left:
            left.remove(row)
    return left[:3]
