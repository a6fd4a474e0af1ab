"""What an order has to pass, from the process down to the policy: which gates are shut, since when,
and what would open them. The core decides; here it is only put into words.
"""

import msgspec

from chappie.guardian.alerts.words import after_stop
from chappie.guardian.shown import HaltState, Shown
from chappie.live.log import printable
from chappie.live.state_dir import LastStop
from chappie.model.config import Config
from chappie.model.faults import FAULTS, After, Fault, Posture
from chappie.model.state import DecisionState, FaultState, Mode

_WORDS_MAX = 300
_ALLOWS = {
    Posture.ACTIVE: "orders may go on",
    Posture.REDUCE_ONLY: "only orders that reduce the position",
    Posture.CANCEL_ONLY: "only cancels and reads",
    Posture.HALTED: "only cancels and reads",
}
_ROWS = {fault.value: FAULTS[fault] for fault in Fault}


class Gate(msgspec.Struct, frozen=True):
    """One gate. ``since_s`` is for how long it has been shut, None where that is not known;
    ``allows`` is what may pass all the same, ``ends`` when it ends the run and with which reason.
    """

    gate: str
    shut: bool
    why: str = ""
    since_s: float | None = None
    since: str = ""
    opens: str = ""
    allows: str = ""
    ends: str = ""


def of_instance(shown: Shown, config: Config) -> list[Gate]:
    """As the running guardian tells it, in the order in which an order meets them."""
    gates = [_process(shown), _halt(shown.halt)]
    if shown.mode is not Mode.STOPPED:
        # The last beat of a trader that is down says nothing of now.
        gates += [_fault(fault, config) for fault in shown.faults]
        if not shown.faults:
            gates.append(Gate("faults", False, _no_fault()))
    return [*gates, _permission(shown.allow_trade), _policy(shown.policy, shown.decision)]


def of_silence(
    words: str, stop: LastStop | None, halt: HaltState | None, config: Config
) -> list[Gate]:
    """As the state folder tells it, where nobody answers; ``words`` says so, and ``stop`` is the
    last one where nobody is there at all.
    """
    opens = "chappie up, if nothing runs there; else what its log says"
    since = ""
    if stop is not None:
        words += f"; the last run stopped: {_stop_words(stop)}"
        opens = f"{after_stop(stop.reason).rstrip('.')}; chappie up starts it"
        since = stop.at
    process = Gate("process", True, _short(words), since=since, opens=opens)
    return [process, _halt(halt), _permission(config.bot.allow_trade)]


def _process(shown: Shown) -> Gate:
    trader = shown.trader
    if shown.mode is not Mode.STOPPED:
        age_s = trader.beat_age_s
        if age_s is not None and age_s > 1.0:
            why = f"the trader (pid {trader.pid}) last beat {age_s:.1f} s ago"
            opens = "its next beat; past supervisor.heartbeat_timeout_s the guardian kills it"
            return Gate("process", True, why, since_s=age_s, opens=opens)
        return Gate("process", False, f"the trader runs (pid {trader.pid})")
    stop = trader.last_stop
    why = "the trader is down" if stop is None else f"the trader stopped: {_stop_words(stop)}"
    if trader.next_start_s is not None:
        opens = f"the guardian starts it again in {trader.next_start_s:.0f} s"
    else:
        step = after_stop(stop.reason) if stop is not None else "look at guardian.log."
        opens = f"{step.rstrip('.')}; chappie resume --reason TEXT starts it again"
    since = stop.at if stop is not None else ""
    return Gate("process", True, _short(why), since=since, opens=opens)


def _stop_words(stop: LastStop) -> str:
    known = "" if stop.known else ", the account was not verified"
    return f"{stop.reason} ({stop.detail.rstrip('.')}{known})"


def _halt(halt: HaltState | None) -> Gate:
    if halt is None:
        return Gate("halt", False, "none is latched")
    return Gate(
        "halt",
        True,
        _short(f"halted: {halt.reason}"),
        since=halt.since,
        opens="chappie resume --reason TEXT",
        allows=_ALLOWS[Posture.HALTED],
    )


def _fault(fault: FaultState, config: Config) -> Gate:
    row = _ROWS.get(fault.fault)
    about = f" {fault.subject}" if fault.subject else ""
    ends = ""
    if row is not None and row.stop is not None:
        ends = f"{_when(row.after, config)} it ends the run: {row.stop.word}"
    return Gate(
        printable(f"{fault.fault}{about}")[:_WORDS_MAX],
        True,
        _short(fault.detail),
        since_s=round(fault.since_s, 1),
        opens=fault.clears,
        allows=_ALLOWS[row.posture] if row is not None else "",
        ends=ends,
    )


def _when(after: After, config: Config) -> str:
    if after is After.AT_ONCE:
        return "at once"
    section, _, name = after.value.partition(".")
    return f"after {getattr(getattr(config, section), name):g} s ({after.value})"


def _no_fault() -> str:
    return f"none of the {len(FAULTS)} of docs/safety.md is active"


def _permission(allow_trade: bool) -> Gate:
    if allow_trade:
        return Gate("allow_trade", False, "bot.allow_trade is true")
    return Gate(
        "allow_trade",
        True,
        "bot.allow_trade is off: it decides, and shows what it would send",
        opens="bot.allow_trade = true in the configuration, and a new start",
        allows=_ALLOWS[Posture.CANCEL_ONLY],
    )


def _policy(name: str, decision: DecisionState | None) -> Gate:
    if decision is None:
        opens = "the gates above: the policy is asked once they are open"
        return Gate("policy", True, f"{name} has not decided yet", opens=opens)
    target = "no target" if decision.target is None else f"target {decision.target:+d}"
    order = f", {decision.order}" if decision.order else ""
    note = f" ({decision.note})" if decision.note else ""
    words = f"{name}: decision {decision.number} at {decision.at}: {target}{order}{note}"
    return Gate("policy", False, _short(words))


def headline(gates: list[Gate], mode: Mode) -> str:
    """One line: what is so, and how many gates are shut."""
    shut = sum(gate.shut for gate in gates)
    if not shut:
        return f"{mode.value}: every gate is open"
    return f"{mode.value}: {shut} {'gate is' if shut == 1 else 'gates are'} shut"


def _short(text: str) -> str:
    return printable(text)[:_WORDS_MAX]
