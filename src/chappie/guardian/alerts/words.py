"""The words of an alert: what happened, how the account stands, and what the person can do.

Pure. Whatever came from outside is cut and made printable, for it goes to other people's screens.
"""

from typing import assert_never

from chappie.guardian.alerts.happenings import (
    About,
    Alert,
    Alive,
    DiskFailed,
    FaultActive,
    ForeignOrders,
    GuardianEnds,
    HaltDone,
    Halted,
    Happening,
    Leftovers,
    RenewalMissed,
    Resumed,
    RunsAgain,
    Severity,
    Started,
    StayingDown,
    TraderNotStarted,
    TraderStalled,
    TraderStopped,
    VenueDied,
)
from chappie.guardian.restarts import CRASH_LOOP
from chappie.guardian.shown import Shown, faults_in_words
from chappie.live.log import printable
from chappie.model.faults import Fault, StopReason
from chappie.model.state import Mode, OrderState

HALTED = "halted"
_HALT_DONE, _HALT_INCOMPLETE, _RESUMED = "halt_done", "halt_incomplete", "resumed"
_BY_GUARDIAN = "killed by the guardian"
_TITLE_MAX = 140
_DETAIL_MAX = 300
_ORDERS_MAX = 5
_OLD_S = 2.0
_FOREIGN_MAX = 5

_INFO, _WARNING, _CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
_NOTHING = "nothing now."
_WATCH = "nothing now; if it comes again, look at `chappie status` and the log."
_AGAIN = "then start it again."
_GO_ON = "then run `chappie resume --reason TEXT`."
_RESUME = f"find out why, {_GO_ON}"
_ACCEPT = (
    "find out which position is right (a trade by hand? a lost state folder?), then run "
    "`chappie resume --reason TEXT --accept-position N`."
)
_BY_HAND = "look at the account at the venue and cancel by hand what should not rest there."

# What a person does about a stop; who starts it again stands before it.
_AFTER_STOP = {
    StopReason.OPERATOR: "nothing: it was asked to end.",
    StopReason.FEED_STALE: _WATCH,
    StopReason.FEED_UNSYNCED: _WATCH,
    StopReason.ORDER_UNRESOLVED: "nothing now; no new exposure until the venue says what became "
    "of the order. If it lasts, look for the order at the venue.",
    StopReason.POSITION_MISMATCH: _ACCEPT,
    StopReason.VENUE_REFUSED: "look at the API key at the venue (valid, enabled, may order, cannot "
    f"withdraw) and at a ban of this address; {_GO_ON[:-1]}, or, where the key came by the "
    "environment and is another now, end chappie and start it again.",
    StopReason.CLOCK_SKEW: "set this machine's clock right (NTP).",
    StopReason.INVARIANT_VIOLATED: "this is a bug in chappie: keep the state folder, look at the "
    "account at the venue, and do not go on before the cause is found; "
    "`chappie resume --reason TEXT` lifts the halt.",
    StopReason.LOOP_STALLED: _WATCH,
    StopReason.JOURNAL_FAILED: f"make room on the disk or mend it, {_GO_ON}",
    StopReason.VENUE_DEGRADED: "nothing now; look at the venue's status page.",
    StopReason.HALTED: _RESUME,
    StopReason.NOT_ALONE: f"find the other instance on this account, end one of the two, {_GO_ON}",
    StopReason.KILLED: "nothing now; if nobody killed it on purpose, look at the machine's memory.",
    StopReason.GUARDIAN_LOST: f"find out why the guardian ended, {_AGAIN}",
    StopReason.CONFIG: f"mend the configuration, {_AGAIN}",
    StopReason.INTERNAL_ERROR: "nothing now; look at the end of trader.log.",
}
_BY_WORD = {reason.word: reason for reason in StopReason}
_AFTER_FAULT = {
    Fault.POSITION_DISAGREES.value: _ACCEPT,
    Fault.LIQUIDATED.value: f"look at the account and at bot.max_position, {_GO_ON}",
    Fault.LIMIT_HALTED.value: f"find out what reached the limit; {_GO_ON}",
    Fault.LIMIT_REACHED.value: "find out what reached the limit; only reducing orders pass.",
    Fault.MARKET_UNFIT.value: "nothing: it goes on when the market is fit for it.",
    Fault.POLICY_FAILED.value: "look at the policy's error in trader.log.",
    Fault.INSTRUMENT_NOT_OPEN.value: "nothing: it goes on when the venue opens the instrument.",
    Fault.CLOCK_SKEWED.value: "set this machine's clock right (NTP).",
}
# These are not a matter of how long they last.
_CRITICAL_FAULTS = (
    Fault.POSITION_DISAGREES.value,
    Fault.LIQUIDATED.value,
    Fault.LIMIT_HALTED.value,
)


def alert(what: Happening, about: About) -> Alert | None:
    """The alert of a happening; None for one that another alert has already told."""
    found = _said(what, about)
    if found is None:
        return None
    key, severity, headline, lines, next_step, forgets = found
    title = printable(f"chappie {about.bot} {about.symbol}: {headline}")
    body = [*lines, *account(about.shown), f"Next step: {next_step}", f"({about.at})"]
    return Alert(key, severity, _cut(title, _TITLE_MAX), "\n".join(body), forgets)


_Said = tuple[str, Severity, str, list[str], str, tuple[str, ...]]


def _said(what: Happening, about: About) -> _Said | None:
    """Key, severity, headline, lines, next step, and keys that are over; None as `alert`."""
    shown = about.shown
    match what:
        case Started():
            trades = "may trade" if shown.allow_trade else "observe-only, sends no order"
            lines = [f"The guardian runs: policy {shown.policy} on {about.venue}, {trades}."]
            return "started", _INFO, "started", lines, _NOTHING, ()
        case Alive(mute=mute):
            lines = [_running(shown)]
            if mute:
                lines.append(f"These channels took nothing lately: {', '.join(mute)}.")
            return "", _INFO, f"alive, {shown.mode.value}", lines, _NOTHING, ()
        case GuardianEnds(why=why, in_order=in_order):
            if in_order:
                lines = [f"The guardian was asked to end ({_short(why)}). Nobody watches now."]
                if shown.known or not shown.allow_trade:
                    return "ends", _INFO, "ended", lines, "start it again when it should run.", ()
                return "ends", _CRITICAL, "ended, account not verified", lines, _BY_HAND, ()
            lines = [f"The guardian ended by itself: {_short(why)}. Nobody watches now."]
            return "ends", _CRITICAL, "GUARDIAN ENDED", lines, f"{_BY_HAND[:-1]}; {_AGAIN}", ()
        case TraderStopped(reason=word, detail=detail, known=known):
            if word == StopReason.LOOP_STALLED.word and detail.endswith(_BY_GUARDIAN):
                # People were told when it was killed, which is as long ago as its reaping took.
                return None
            return _stopped(word, detail, known, shown)
        case TraderStalled(silent_s=silent_s):
            word = StopReason.LOOP_STALLED.word
            detail = f"no beat for {silent_s:.1f} s; {_BY_GUARDIAN}"
            key, severity, _, lines, step, _ = _stopped(word, detail, False, shown)
            return key, severity, f"trader hangs, killed: {word}", lines, step, ()
        case TraderNotStarted(detail=detail):
            lines = [f"The trader could not be started: {_short(detail)}."]
            return "not_started", _CRITICAL, "trader not started", lines, _WATCH, ()
        case StayingDown(reason=reason, detail=detail):
            return _staying_down(reason, detail)
        case RunsAgain():
            lines = ["The trader is synced and reconciled again.", _running(shown)]
            return "runs_again", _INFO, "runs again", lines, _NOTHING, ()
        case Halted(reason=reason, flatten=flatten):
            lines = [f"The kill switch is latched: {_short(reason) or 'no reason given'}."]
            if flatten:
                lines.append("The position is to be closed once the cancels are verified.")
            return HALTED, _CRITICAL, "HALTED", lines, _RESUME, (_RESUMED,)
        case HaltDone():
            return _halt_done(what)
        case Resumed(reason=reason, halt=halt, was=was):
            what_ends = "The halt is lifted" if halt is not None else "The trader is started again"
            lines = [f"{what_ends}: {_short(reason)}."]
            # What a person looked at is over; when it comes again, it is news again.
            down = (f"staying_down:{was}", f"stopped:{was}")
            over = (HALTED, _HALT_DONE, _HALT_INCOMPLETE, *down)
            return _RESUMED, _WARNING, "resumed", lines, _NOTHING, over
        case Leftovers():
            return _leftovers(what)
        case ForeignOrders(order_ids=ids):
            lines = [
                f"The account holds {_count(len(ids), 'order')} that this bot did not send: "
                f"{_few(ids, _FOREIGN_MAX)}. They are not touched by us.",
                "But the venue's own dead man's switch takes the whole account: when it fires, it "
                "cancels these orders too.",
            ]
            step = "give this bot an account of its own; two bots need two sub-accounts."
            return "foreign_orders", _WARNING, "foreign order on the account", lines, step, ()
        case RenewalMissed(since=since):
            until = shown.dead_man.armed_until
            fires = f"at {until}" if until else "at a time that is not known"
            lines = [
                f"The dead man's switch should have been renewed at {since} and was not. Unless a "
                f"renewal succeeds, the venue cancels every order of the account {fires}.",
            ]
            return "renewal_missed", _CRITICAL, "switch not renewed", lines, _WATCH, ()
        case FaultActive():
            return _fault(what)
        case DiskFailed(detail=detail):
            lines = [f"The guardian cannot write its files: {_short(detail)}. It goes on watching."]
            step = "make room on the disk or mend it."
            return "disk", _CRITICAL, "disk full or unwritable", lines, step, ()
        case VenueDied():
            lines = ["The embedded exchange ended; the guardian starts it again."]
            return "venue_died", _WARNING, "embedded exchange died", lines, _WATCH, ()
        case _:
            assert_never(what)


def _stopped(word: str, detail: str, known: bool, shown: Shown) -> _Said:
    reason = _BY_WORD.get(word, StopReason.INTERNAL_ERROR)
    lines = [f"The trader stopped: {word} ({_short(detail)})."]
    if reason is StopReason.OPERATOR:
        return f"stopped:{word}", _INFO, "stopped, as asked", lines, _AFTER_STOP[reason], ()
    if "banned" in detail:
        lines.append(
            "Nobody sends anything before the ban ends, so orders of ours rest at the venue until "
            f"its switch fires{_fires(shown)}."
        )
    elif not known:
        lines.append(
            "Orders of ours may rest at the venue until the guardian or the next start cancels "
            f"them, or the venue's switch fires{_fires(shown)}."
        )
    if reason.restarts:
        lines.append("The guardian starts it again after a pause.")
    else:
        lines.append("It is not started again by itself.")
    severity = _WARNING if reason.restarts and known else _CRITICAL
    headline = f"trader stopped: {word}"
    # The halt itself was told when it came; a trader that only found the latch is the first to say.
    key = HALTED if reason is StopReason.HALTED else f"stopped:{word}"
    return key, severity, headline, lines, _AFTER_STOP[reason], ()


def _fires(shown: Shown) -> str:
    until = shown.dead_man.armed_until
    return f" at {until}" if until else " (it is not known to be armed)"


def _staying_down(word: str, detail: str) -> _Said | None:
    reason = _BY_WORD.get(word)
    if reason is not None and not reason.restarts:
        # The alert of this stop has said so.
        return None
    lines = [f"The trader stays down: {_short(detail)}."]
    step = after_stop(word)
    headline = "CRASH LOOP, stays down" if word == CRASH_LOOP else f"stays down: {word}"
    return f"staying_down:{word}", _CRITICAL, headline, lines, step, ()


def _halt_done(what: HaltDone) -> _Said:
    if what.missing:
        lines = ["The halt is NOT complete:", *(f"- {_short(text)}" for text in what.missing)]
        step = f"{_BY_HAND[:-1]}; the latch holds until `chappie resume --reason TEXT`."
        return _HALT_INCOMPLETE, _CRITICAL, "HALT NOT COMPLETE", lines, step, ()
    lines = ["The halt holds: the trader obeys or is dead, and no order of ours works."]
    if what.flattened:
        lines.append("The position was closed.")
    return _HALT_DONE, _WARNING, "halt complete", lines, _RESUME, ()


def _leftovers(what: Leftovers) -> _Said | None:
    if what.verified and not what.cancelled:
        return None
    lines = [
        f"The guardian looked for orders of ours that nobody holds any more and cancelled "
        f"{what.cancelled}."
    ]
    if what.verified:
        lines.append("Reads at the venue after that show none of ours.")
        return "leftovers", _WARNING, "leftover orders cancelled", lines, _NOTHING, ()
    left = "it is not known how many" if what.ours is None else what.ours
    why = f" ({_short(what.detail)})" if what.detail else ""
    lines.append(f"It is NOT verified that none is left{why}; last read: {left}.")
    return "leftovers_open", _CRITICAL, "LEFTOVER ORDERS not verified gone", lines, _BY_HAND, ()


def _fault(what: FaultActive) -> _Said:
    about = f" {what.subject}" if what.subject else ""
    why = f": {_short(what.detail)}" if what.detail else ""
    lasting = "" if what.fault in _CRITICAL_FAULTS else f" for {what.since_s:.0f} s"
    lines = [f"The fault {what.fault}{about} keeps the bot from trading{lasting}{why}."]
    lines.append(f"What clears it: {what.clears}.")
    severity = _CRITICAL if what.fault in _CRITICAL_FAULTS else _WARNING
    step = _AFTER_FAULT.get(what.fault, _WATCH)
    return f"fault:{what.fault}", severity, f"fault {what.fault}{about}", lines, step, ()


def after_stop(word: str) -> str:
    """What a person does about a stop of that reason, `crash_loop` included."""
    reason = _BY_WORD.get(word)
    return f"look at the causes, {_GO_ON}" if reason is None else _AFTER_STOP[reason]


def account(shown: Shown) -> list[str]:
    """Position, orders, and how far that can be believed."""
    position = shown.position
    if position.qty is None:
        lines = ["Position: not known."]
    else:
        entry = f" at {position.avg_entry_px:g} on average" if position.avg_entry_px else ""
        qty = f"{position.qty:+d}" if position.qty else "0"
        lines = [f"Position: {qty} {position.symbol}{entry}."]
    if shown.orders:
        orders = _few([_order(order) for order in shown.orders], _ORDERS_MAX)
        lines.append(f"Working orders: {len(shown.orders)} ({orders}).")
    else:
        lines.append("Working orders: none" + ("." if shown.known else " that we know of."))
    lines.append(_believed(shown))
    return lines


def _believed(shown: Shown) -> str:
    stop = shown.trader.last_stop
    if shown.mode is Mode.STOPPED and stop is not None:
        if shown.known:
            return f"This was read at the venue at the stop ({stop.at})."
        return f"This was NOT verified at the stop ({stop.at}); the venue may hold something else."
    age_s = shown.trader.beat_age_s
    if age_s is not None and age_s > _OLD_S and shown.at is not None:
        return f"This is {age_s:.0f} s old: the trader has not spoken since {shown.at}."
    if shown.known:
        read_at = shown.last_reconcile.at
        return f"This agrees with the venue, last read at {read_at}." if read_at else "It is known."
    if shown.at is None:
        return "The account is not known: the trader has not read it yet."
    return f"This is NOT verified; it is what the trader last said at {shown.at}."


def _running(shown: Shown) -> str:
    faults = faults_in_words(shown)
    parts = [f"Mode {shown.mode.value}", _count(shown.trader.restarts, "restart")]
    if faults:
        parts.append(f"faults: {', '.join(faults)}")
    decision = shown.decision
    if decision is not None:
        parts.append(f"{decision.number} decisions, the last at {decision.at}")
    parts.append(_count(shown.account.fills, "fill"))
    return "; ".join(parts) + "."


def _order(order: OrderState) -> str:
    price = f" at {order.price:g}" if order.price is not None else ""
    return f"{order.side} {order.leaves_qty}{price}"


def _few(texts: "list[str] | tuple[str, ...]", most: int) -> str:
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(text: str) -> str:
    return _cut(printable(text).rstrip("."), _DETAIL_MAX)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
