"""What happens when …: what notices it, within which configured time, what becomes of our orders,
and what a person does. The table in `docs/safety.md` is generated from this, with the defaults;
`chappie whatif` shows it with the times of one configuration.
"""

import re
from collections.abc import Callable

import msgspec

_KEY = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)`")


class WhatIf(msgspec.Struct, frozen=True):
    """One row; a key of the configuration stands between backticks, without its value."""

    happens: str
    notices: str
    within: str
    orders: str
    do: str

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.happens, self.notices, self.within, self.orders, self.do)


HEAD = ("what happens", "what notices it", "within", "our orders", "what you do")


def keys_of(text: str) -> list[str]:
    """The keys that it names."""
    return _KEY.findall(text)


def with_keys(text: str, said: Callable[[str], str]) -> str:
    """The text with each key as ``said`` says it."""
    return _KEY.sub(lambda match: said(match[1]), text)


WHAT_IF: tuple[WhatIf, ...] = (
    WhatIf(
        "kill -9 of the trader",
        "the guardian reaps it: `killed`",
        "at once",
        "cancelled by name before any new one, and for `orders.expires_after_s` + 1 s none is "
        "sent: so long the dead run's last request can still arrive",
        "nothing: it is started again",
    ),
    WhatIf(
        "kill -9 of the guardian",
        "the trader: its pipe ends, `guardian_lost`",
        "at once",
        "cancelled by the trader, which then ends",
        "start `chappie up` again",
    ),
    WhatIf(
        "kill -9 of both",
        "the venue: nobody renews the switch",
        "`dead_man.timeout_s`",
        "taken by the switch",
        "start `chappie up` again; it settles what it finds",
    ),
    WhatIf(
        "the trader hangs, under `up`",
        "the guardian: no beat, so it kills; `loop_stalled`",
        "`supervisor.heartbeat_timeout_s`, until the first clean reconciliation "
        "`supervisor.startup_timeout_s`",
        "cancelled by name before any new one",
        "nothing: it is started again",
    ),
    WhatIf(
        "a policy that does not return, under `trade` alone",
        "the trader's own watchdog: `loop_stalled`",
        "`supervisor.heartbeat_timeout_s`",
        "cancelled at the next start, or by the switch",
        "mend the policy",
    ),
    WhatIf(
        "the whole process stands still, under `trade` alone",
        "the venue: a hung trader renews nothing",
        "`dead_man.timeout_s`",
        "taken by the switch",
        "let a supervisor kill and restart it",
    ),
    WhatIf(
        "what we send does not arrive",
        "answers that do not come, then no clean reconciliation: `venue_degraded`, or "
        "`order_unresolved`",
        "`orders.ack_timeout_s` for one request, `reconcile.fault_after_s` for the stop",
        "taken by the switch after `dead_man.timeout_s`",
        "nothing: it trades again when the network is back, unless it was out for "
        "`supervisor.max_restarts` starts",
    ),
    WhatIf(
        "what the venue sends does not arrive",
        "the market falls silent: soft stop, then `feed_stale`",
        "`feed.soft_stop_after_s`, `feed.fault_after_s`",
        "cancelled over REST, which arrives though its answer does not; the stop says that "
        "the account is not known",
        "nothing: it trades again when the network is back, unless it was out for "
        "`supervisor.max_restarts` starts",
    ),
    WhatIf(
        "the network is gone both ways",
        "silence and answers that do not come",
        "`feed.soft_stop_after_s`, `feed.fault_after_s`",
        "taken by the switch",
        "nothing: it trades again when the network is back, unless it was out for "
        "`supervisor.max_restarts` starts",
    ),
    WhatIf(
        "the venue is out",
        "silence, refused logins, failing requests: `feed_stale` or `venue_degraded`",
        "`feed.fault_after_s`, `reconcile.fault_after_s`",
        "the venue's: a cancel is tried, the switch is the venue's own",
        "look at the venue; past `supervisor.max_restarts` it stays down (`crash_loop`)",
    ),
    WhatIf(
        "the venue is overloaded or limits us",
        "503, 429, a low budget: `budget_low`",
        "with the answer",
        "rest; a cancel goes through",
        "nothing",
    ),
    WhatIf(
        "the venue bans us",
        "its page: `venue_refused`",
        "with the answer",
        "taken by the switch",
        "find out why, wait until the ban ends, start `chappie up` again",
    ),
    WhatIf(
        "the disk is full",
        "the next write: `journal_failed`",
        "at once",
        "cancelled, which waits for no disk",
        "make room, start `chappie up` again",
    ),
    WhatIf(
        "our clock jumps",
        "the wall clock against one that counts suspend",
        "the next step, for a jump of more than a second",
        "cancelled, as after a lost connection: every image is dropped, and nothing is sent "
        "before a clean reconciliation",
        "nothing",
    ),
    WhatIf(
        "our clock is wrong, or the venue's",
        "the venue's answers against our clock: `clock_skewed`, then `clock_skew`",
        "with the first answers past `clock.max_skew_s`; the stop after `feed.fault_after_s`",
        "cancelled",
        "set the clock (ntp); it is started again meanwhile",
    ),
    WhatIf(
        "somebody trades by hand on the account",
        "fills, websocket and REST do not agree: `position_mismatch`",
        "`reconcile.grace_s` to stop new orders, `reconcile.fault_after_s` for the stop",
        "cancelled",
        "say which position is right: `chappie resume --reason TEXT --accept-position N`",
    ),
    WhatIf(
        "somebody places an order by hand",
        "an order without our prefix",
        "the next reconciliation, `reconcile.every_s`",
        "go on; the foreign one is told of and never touched, but the switch takes it too",
        "keep it off this account",
    ),
    WhatIf(
        "a second bot of the same name on the account",
        "the older one sees an order of a newer run: `not_alone`",
        "with the first message of that order",
        "the older one's are cancelled by the newer",
        "end one of the two; two bots need two sub-accounts",
    ),
    WhatIf(
        "power loss",
        "the venue: nobody renews the switch",
        "`dead_man.timeout_s`",
        "taken by the switch; every intent was on the platter before its request left",
        "start the machine; a torn tail is cut, loudly",
    ),
    WhatIf(
        "the laptop sleeps",
        "on waking, a clock that counts suspend",
        "the first step",
        "taken by the switch meanwhile; what was filled is booked before anything else",
        "nothing: it stops, is started again and begins from what it finds",
    ),
    WhatIf(
        "the machine has no memory left",
        "the trader's own end, its watchdog, or the kernel: `internal_error` or `killed`",
        "at once",
        "cancelled by name before any new one",
        "give it memory; it is started again meanwhile",
    ),
)
