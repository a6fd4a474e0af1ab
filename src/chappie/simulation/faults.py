"""What can go wrong in a night: one row per kind, each ends by itself or with `Night.heal`.

A seed takes a random part of the rows, and how often they strike. The table in
`docs/simulation.md` is generated from `KINDS`.
"""

import msgspec

from chappie.simulation import strikes
from chappie.simulation.strikes import Strike


class FaultKind(msgspec.Struct, frozen=True):
    """One row. ``share`` is how often a seed that took the kind draws it, against the others.

    ``strike`` makes it happen now. A kind counts as fired only when it really struck something.
    """

    name: str
    what: str
    undone: str
    strike: Strike
    share: float = 1.0


KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        "request_lost",
        "requests never arrive and are never answered",
        "after 0.5 to 12 s",
        strikes.requests("request_lost"),
    ),
    FaultKind(
        "request_late",
        "requests arrive up to 8 s late, often after their expiry",
        "after 0.5 to 12 s",
        strikes.requests("request_late"),
    ),
    FaultKind(
        "answer_lost",
        "requests are carried out and their answer is lost",
        "after 0.5 to 12 s",
        strikes.requests("answer_lost"),
    ),
    FaultKind(
        "answer_late",
        "answers come up to 8 s late, often after we gave up",
        "after 0.5 to 12 s",
        strikes.requests("answer_late"),
    ),
    FaultKind(
        "request_cut",
        "the connection of a request breaks; every other one arrives all the same",
        "after 0.5 to 12 s",
        strikes.requests("request_cut"),
    ),
    FaultKind(
        "stream_break",
        "the websocket breaks, and both sides see it",
        "a new connection",
        strikes.stream_break,
    ),
    FaultKind(
        "stream_stall",
        "the websocket stands still and then delivers all at once",
        "after 0.2 to 9 s",
        strikes.stream_stall,
    ),
    FaultKind(
        "stream_half_open",
        "the websocket is dead and neither side is told",
        "a new connection",
        strikes.stream_half_open,
        0.5,
    ),
    FaultKind(
        "unreachable",
        "every connection is refused (maintenance)",
        "after 1 to 40 s",
        strikes.unreachable,
    ),
    FaultKind(
        "mute_table",
        "one table of the stream falls silent",
        "after 1 to 40 s",
        strikes.venue_fault(
            "mute_table", 1_000, 40_000, tables=(*strikes.PRIVATE, *strikes.MARKET)
        ),
        2.0,
    ),
    FaultKind(
        "mute_all",
        "all tables fall silent on an open socket",
        "after 1 to 25 s",
        strikes.venue_fault("mute_all", 1_000, 25_000),
        0.5,
    ),
    FaultKind(
        "drop",
        "single frames of one table are lost",
        "after 1 to 30 s",
        strikes.venue_fault(
            "drop",
            1_000,
            30_000,
            tables=(*strikes.PRIVATE, *strikes.MARKET),
            probability=(0.2, 0.6),
        ),
        2.0,
    ),
    FaultKind(
        "duplicate",
        "frames of one table come twice",
        "after 1 to 30 s",
        strikes.venue_fault("duplicate", 1_000, 30_000, tables=(*strikes.PRIVATE, *strikes.MARKET)),
    ),
    FaultKind(
        "frames_late",
        "frames leave up to 4 s late, in order",
        "after 1 to 15 s",
        strikes.venue_fault("delay", 1_000, 15_000, delay_ms=(50, 4_000)),
    ),
    FaultKind(
        "feed_lags",
        "every frame leaves later than the one before, up to 9 s late; then they catch up",
        "after 5 to 60 s",
        strikes.falling_behind,
        0.5,
    ),
    FaultKind(
        "image_withheld",
        "the image of one table never comes after a reconnect",
        "the next subscription",
        strikes.image_withheld,
    ),
    FaultKind(
        "early_changes",
        "changes come before the image",
        "after 1 to 60 s",
        strikes.at_a_new_connection("early_deltas", 1_000, 60_000),
    ),
    FaultKind(
        "book_corrupt",
        "a change of the book is wrong",
        "after one change",
        strikes.venue_fault(
            "corrupt_book", 1_000, 5_000, values=("unknown_id", "crossed", "negative"), count=1
        ),
    ),
    FaultKind(
        "frame_truncated",
        "half a frame of one table is sent",
        "after one frame",
        strikes.venue_fault(
            "truncated_json", 1_000, 10_000, tables=(*strikes.PRIVATE, *strikes.MARKET), count=1
        ),
        0.5,
    ),
    FaultKind(
        "unknown_word",
        "a frame holds a word that nobody knows",
        "after one frame",
        strikes.venue_fault("unknown_enum", 1_000, 10_000, tables=strikes.PRIVATE, count=1),
        0.5,
    ),
    FaultKind(
        "venue_cut", "the venue cuts or closes the websocket", "a new connection", strikes.venue_cut
    ),
    FaultKind(
        "upgrade_refused",
        "websockets are not let in (503)",
        "after 1 to 15 s",
        strikes.at_a_new_connection("refuse_upgrade", 1_000, 15_000, status=503),
        0.5,
    ),
    FaultKind(
        "overload",
        "order entry is shed with the documented 503",
        "after 0.5 to 20 s",
        strikes.venue_fault("overload_503", 500, 20_000, probability=(0.5, 1.0)),
    ),
    FaultKind(
        "throttle",
        "requests are refused as over budget (429)",
        "after 0.2 to 4 s",
        strikes.venue_fault(
            "throttle_429", 200, 4_000, delay_ms=(1_000, 3_000), probability=(0.5, 1.0)
        ),
    ),
    FaultKind(
        "error_before",
        "requests fail with 500 and were not carried out",
        "after 0.2 to 10 s",
        strikes.venue_fault("error_500", 200, 10_000, probability=(0.3, 1.0)),
    ),
    FaultKind(
        "error_after",
        "requests fail with 502 and were carried out",
        "after 0.2 to 10 s",
        strikes.venue_fault("error_502", 200, 10_000, probability=(0.3, 1.0), executes=True),
    ),
    FaultKind(
        "answer_truncated",
        "half an answer is sent",
        "after 0.2 to 6 s",
        strikes.venue_fault("truncated_json", 200, 6_000, probability=(0.3, 1.0), route="/order"),
    ),
    FaultKind(
        "refusal",
        "orders are refused (400)",
        "after 0.2 to 10 s",
        strikes.venue_fault(
            "refuse",
            200,
            10_000,
            status=400,
            text="Account has insufficient Available Balance, 1 XBt required",
            route="/order",
            method="POST",
            probability=(0.5, 1.0),
        ),
    ),
    FaultKind(
        "queue",
        "requests wait up to 0.9 s for the engine after their expiry was checked",
        "after 0.5 to 10 s",
        strikes.venue_fault("queue", 500, 10_000, delay_ms=(50, 900)),
    ),
    FaultKind(
        "stale_read",
        "a read shows what it showed the time before",
        "once",
        strikes.lie("stale_read"),
        2.0,
    ),
    FaultKind("empty_read", "a read shows no rows", "once", strikes.lie("empty_read"), 2.0),
    FaultKind("cut_read", "a read shows half of its rows", "once", strikes.lie("cut_read"), 2.0),
    FaultKind(
        "ban",
        "every request is answered with the page for banned addresses",
        "a person, when the process has stopped",
        strikes.venue_fault("ban_403", 60_000, 600_000),
        0.1,
    ),
    FaultKind(
        "closed_market",
        "the contract is not open for trading",
        "after 1 to 20 s",
        strikes.closed_market,
        0.5,
    ),
    FaultKind(
        "clock_skew",
        "the venue's clock is ahead by up to 30 s, or off by less than one",
        "after 2 to 40 s",
        strikes.clock_skew,
    ),
    FaultKind(
        "liquidation",
        "the account's money is gone, its position is liquidated",
        "a deposit; a person resumes and starts the bot",
        strikes.liquidation,
        0.3,
    ),
    FaultKind(
        "hand_rests",
        "another hand's orders rest on the account",
        "the hand cancels them after 1 to 60 s",
        lambda night, chance: night.hand.rest(chance),
    ),
    FaultKind(
        "hand_cancels",
        "another hand cancels our orders",
        "at once",
        lambda night, chance: night.hand.cancel_ours(chance),
    ),
    FaultKind(
        "hand_fills",
        "another hand trades, and the position moves under us",
        "the hand trades back, before or after we stopped",
        lambda night, chance: night.hand.trade(chance),
        0.2,
    ),
    FaultKind("kill", "the process is killed within its next acts", "a restart", strikes.kill),
    FaultKind(
        "kill_amid_order",
        "the process is killed amid the commands of a step that sends an order",
        "a restart",
        strikes.kill_amid_order,
        1.5,
    ),
    FaultKind(
        "power_loss",
        "the machine dies: sockets without a word, the journal's tail, a torn kept record",
        "a boot after 5 to 60 s",
        strikes.power_loss,
        0.4,
    ),
    FaultKind(
        "hang",
        "no step for up to 9 s; past the heartbeat's patience it is killed",
        "by itself, or a restart",
        strikes.hang,
    ),
    FaultKind(
        "suspend", "the machine sleeps for up to half an hour", "it wakes", strikes.suspend, 0.08
    ),
    FaultKind(
        "wall_jump",
        "the machine's wall clock is wrong by up to a minute",
        "after 0.5 to 30 s",
        strikes.wall_jump,
        0.5,
    ),
    FaultKind(
        "operator_restart",
        "somebody stops the bot and starts it again",
        "a start",
        strikes.operator_restart,
        0.5,
    ),
    FaultKind(
        "halt",
        "the operator halts the bot, half of the time while an order is on its way",
        "a person resumes after 10 to 60 s",
        strikes.halt(flatten=False),
        0.4,
    ),
    FaultKind(
        "halt_flatten",
        "the same, and its position is to be closed",
        "a person resumes after 10 to 60 s",
        strikes.halt(flatten=True),
        0.4,
    ),
    FaultKind(
        "disk_full",
        "the disk takes no further record",
        "a person, when it stopped",
        strikes.disk_full,
        0.2,
    ),
)

BY_NAME = {kind.name: kind for kind in KINDS}
