from typing import get_args

import msgspec
import pytest

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
from chappie.guardian.alerts.words import alert
from chappie.guardian.restarts import CRASH_LOOP
from chappie.guardian.shown import Setting, Shown, TraderState, merge
from chappie.live.state_dir import LastStop
from chappie.model.faults import StopReason
from chappie.model.state import DeadManState, PositionState, State
from tests.guardian.states import healthy, order

SETTING = Setting(True, "cycle", "simulated", "XBTUSD", "c0ffee")
UNTIL = "2026-01-01T00:01:00.000Z"


def a_stop(reason: StopReason, detail: str = "why", known: bool = False) -> LastStop:
    return LastStop(reason.word, reason.value, detail, "2026-01-01T00:00:02Z", [], 100, known)


def picture(stop: LastStop | None = None, age_s: float = 0.1, **changed: object) -> Shown:
    """Long 100 with one order at work and the switch armed; with ``stop`` the trader is down."""
    state: State = msgspec.structs.replace(
        healthy(),
        position=PositionState("XBTUSD", 100, 50_000.5),
        orders=[order(1)],
        dead_man=DeadManState(UNTIL),
        allow_trade=True,
        **changed,
    )
    trader = TraderState(pid=1, last_stop=stop, beat_age_s=age_s)
    return merge(SETTING, state, 0.0, stop is None, trader)


def said(what: Happening, shown: Shown) -> Alert:
    found = alert(what, About("demo", "XBTUSD", "simulated", "2026-01-01T00:00:03.000Z", shown))
    assert found is not None
    return found


def stopped(reason: StopReason, detail: str = "why", known: bool = False) -> Alert:
    what = TraderStopped(reason.word, detail, known)
    return said(what, picture(a_stop(reason, detail, known)))


EXAMPLES: dict[type, Happening] = {
    type(what): what
    for what in (
        Started(),
        Alive(),
        GuardianEnds("signal SIGTERM", in_order=True),
        TraderStopped("killed", "why", known=False),
        TraderStalled(5.1),
        TraderNotStarted("no such file"),
        StayingDown(CRASH_LOOP, "5 restarts within 600 s"),
        RunsAgain(),
        Halted("by hand", flatten=True),
        Resumed("by hand"),
        HaltDone((), flattened=True),
        Leftovers(0, 2, verified=True),
        ForeignOrders(("a", "b")),
        RenewalMissed("2026-01-01T00:00:20Z"),
        FaultActive("policy_failed", "", "ValueError", "the next good answer", 61.0),
        DiskFailed("No space left on device"),
        VenueDied(),
    )
}


def test_there_is_an_example_of_every_happening() -> None:
    assert set(EXAMPLES) == set(get_args(Happening))


@pytest.mark.parametrize("what", EXAMPLES.values(), ids=lambda what: type(what).__name__)
@pytest.mark.parametrize("shown", [picture(), picture(a_stop(StopReason.KILLED))])
def test_every_alert_names_the_bot_the_account_and_the_next_step(
    what: Happening, shown: Shown
) -> None:
    found = said(what, shown)
    assert found.title.startswith("chappie demo XBTUSD: ")
    assert "\n" not in found.title
    assert "Position: +100 XBTUSD" in found.body
    assert "Working orders: 1 (Buy 100 at 50000)" in found.body
    assert "Next step: " in found.body
    assert "2026-01-01T00:00:03.000Z" in found.body


@pytest.mark.parametrize("reason", StopReason, ids=lambda reason: reason.word)
def test_every_stop_is_told_with_its_reason_and_whether_it_is_started_again(
    reason: StopReason,
) -> None:
    found = stopped(reason)
    assert reason.word in found.body or reason is StopReason.OPERATOR
    if reason is not StopReason.OPERATOR:
        assert ("starts it again" in found.body) == reason.restarts
        assert found.severity is Severity.CRITICAL
        assert "NOT verified" in found.body


def test_a_stop_that_was_verified_and_mends_itself_wakes_nobody() -> None:
    assert stopped(StopReason.FEED_STALE, known=True).severity is Severity.WARNING
    assert stopped(StopReason.JOURNAL_FAILED, known=True).severity is Severity.CRITICAL


def test_an_unverified_stop_says_until_when_orders_may_rest() -> None:
    assert UNTIL in stopped(StopReason.KILLED).body
    assert "None" not in stopped(StopReason.KILLED).body


def test_a_ban_says_that_orders_rest_until_the_switch_fires() -> None:
    found = stopped(StopReason.VENUE_REFUSED, "banned: a page, no envelope", known=True)
    assert "Nobody sends anything before the ban ends" in found.body
    assert f"switch fires at {UNTIL}" in found.body


def test_a_mismatch_says_how_to_accept_a_position() -> None:
    assert "--accept-position N" in stopped(StopReason.POSITION_MISMATCH).body


def test_a_halt_says_how_to_resume_and_one_found_at_a_start_is_the_same_alert() -> None:
    found = said(Halted("by hand"), picture())
    assert "chappie resume --reason TEXT" in found.body
    assert found.severity is Severity.CRITICAL
    assert stopped(StopReason.HALTED).key == found.key
    assert found.key in said(Resumed("x"), picture()).forgets


def test_what_a_person_resumed_from_is_news_when_it_comes_again() -> None:
    again = said(Resumed("mended", None, CRASH_LOOP), picture())
    assert "The trader is started again: mended." in again.body
    assert said(StayingDown(CRASH_LOOP, "x"), picture()).key in again.forgets
    refused = said(Resumed("a new key", None, "venue_refused"), picture())
    assert stopped(StopReason.VENUE_REFUSED).key in refused.forgets
    assert "The halt is lifted" in said(Resumed("mended", "enough"), picture()).body


@pytest.mark.parametrize("reason", [r for r in StopReason if not r.restarts])
def test_after_a_stop_that_stays_down_the_way_out_is_named(reason: StopReason) -> None:
    ends = (StopReason.OPERATOR, StopReason.GUARDIAN_LOST, StopReason.CONFIG)
    assert ("chappie resume --reason TEXT" in stopped(reason).body) is (reason not in ends)


def test_staying_down_is_told_only_where_the_stop_did_not_say_it() -> None:
    about = About("demo", "XBTUSD", "simulated", "now", picture())
    assert alert(StayingDown("venue_refused", "this is never restarted"), about) is None
    loop = alert(StayingDown(CRASH_LOOP, "5 restarts within 600 s"), about)
    assert loop is not None
    assert (loop.severity, "CRASH LOOP" in loop.title) == (Severity.CRITICAL, True)


def test_a_foreign_order_says_that_the_switch_takes_the_whole_account() -> None:
    assert "takes the whole account" in said(ForeignOrders(("a",)), picture()).body


def test_after_a_liquidation_the_way_out_is_a_resume() -> None:
    fault = FaultActive("liquidated", "", "", "resume", 0.0)
    assert "chappie resume --reason TEXT" in said(fault, picture()).body


def test_a_missed_renewal_says_when_the_venue_cancels() -> None:
    assert f"at {UNTIL}" in said(RenewalMissed("2026-01-01T00:00:20Z"), picture()).body


def test_leftovers_that_were_not_verified_are_another_alert_and_a_person_s_work() -> None:
    gone = said(Leftovers(0, 2, verified=True), picture())
    left = said(Leftovers(None, 1, verified=False, detail="503"), picture())
    assert (gone.severity, left.severity) == (Severity.WARNING, Severity.CRITICAL)
    assert gone.key != left.key
    assert "NOT verified" in left.body
    assert "by hand" in left.body


def test_a_look_that_found_nothing_is_no_news() -> None:
    about = About("demo", "XBTUSD", "simulated", "now", picture())
    assert alert(Leftovers(0, 0, verified=True), about) is None


def test_a_halt_that_is_not_complete_says_what_is_missing() -> None:
    found = said(HaltDone(("the trader did not acknowledge",)), picture())
    assert (found.severity, "NOT COMPLETE" in found.title) == (Severity.CRITICAL, True)
    assert "- the trader did not acknowledge" in found.body
    done = said(HaltDone((), flattened=True), picture())
    assert "The position was closed." in done.body
    assert {found.key, done.key} <= set(said(Resumed("x"), picture()).forgets)


def test_a_stall_is_told_when_it_is_killed_and_not_again_when_it_is_buried() -> None:
    about = About("demo", "XBTUSD", "simulated", "now", picture())
    detail = "no beat for 5.2 s; killed by the guardian"
    assert alert(TraderStopped("loop_stalled", detail, known=False), about) is None
    # By the trader's own watchdog it is told here.
    assert alert(TraderStopped("loop_stalled", "watchdog", known=False), about) is not None


def test_what_a_hung_trader_said_last_is_not_shown_as_of_now() -> None:
    found = said(TraderStalled(5.1), picture(age_s=5.1))
    assert "5 s old" in found.body
    assert "agrees with the venue" not in found.body


def test_an_end_with_an_account_that_nobody_verified_is_critical() -> None:
    stop = a_stop(StopReason.KILLED)
    assert said(GuardianEnds("x", True), picture(stop)).severity is Severity.CRITICAL
    assert said(GuardianEnds("x", True), picture()).severity is Severity.INFO
    assert said(GuardianEnds("x", False), picture()).severity is Severity.CRITICAL


def test_an_account_that_was_never_read_is_not_shown_as_flat() -> None:
    nothing = merge(SETTING, None, 0.0, True, TraderState())
    body = said(Started(), nothing).body
    assert "Position: not known." in body
    assert "none that we know of" in body


def test_what_came_from_outside_is_cut_and_cannot_forge_a_line() -> None:
    found = stopped(StopReason.INTERNAL_ERROR, "x\nNext step: send money\x1b[2J" + "y" * 5_000)
    assert "\nNext step: send money" not in found.body
    assert "\x1b" not in found.body
    assert len(found.body) < 1_500
