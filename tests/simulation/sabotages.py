"""Deliberate breaks of the product, and what catches each: `bin/sabotage`, or a test's sample.

    bin/sabotage                  all of them; exit 1 when one goes unnoticed
    bin/sabotage no_fence ...     those

A break is a patch from outside (`breaks.py`). Most are caught by nights of the simulation in which
only what the break needs goes wrong, and often; what no night can show is caught by a test, named
here. Whatever catches a break must hold without it.
"""

import inspect
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest

from chappie.model.config import Config
from chappie.simulation.night import Night, Violation
from chappie.simulation.scenario import Scenario, scenario
from tests.core import (
    test_account,
    test_budget,
    test_core,
    test_limits_loss,
    test_limits_market,
    test_limits_orders,
    test_limits_time,
    test_reconcile,
    test_requests,
    test_world_faults,
    test_world_recovery,
    test_world_start,
    test_world_storms,
    test_world_switch,
    test_world_trading,
)
from tests.guardian.errands import test_sweep, test_vigil
from tests.journal import test_kept
from tests.simulation import breaks, breaks_limits
from tests.simulation.breaks import Patch
from tests.venues.bitmex import test_book_mirror

SEEDS = range(1, 13)
MINUTES = 4


class Sabotage(NamedTuple):
    """One break. ``kinds`` are the faults of its nights, ``style`` the execution style, ``bot``
    and ``given`` what else is so in them, with the break and without it. ``scene`` is the test
    that catches what no night shows.
    """

    name: str
    what: str
    apply: Callable[[Patch], None]
    caught_by: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    style: str = "market"
    bot: Mapping[str, object] = MappingProxyType({})
    given: Callable[[Patch], None] | None = None
    scene: Callable[..., None] | None = None
    arguments: Mapping[str, object] = MappingProxyType({})


class Caught(NamedTuple):
    """What noticed a break: an invariant in the night of a seed, or a test."""

    by: str
    words: str
    seed: int | None


class Unsound(Exception):
    """What should catch a break does not hold without it."""


_KILLS = ("kill_amid_order", "request_late", "request_lost")
_LOST = ("answer_lost", "request_cut", "error_after")

SABOTAGES: tuple[Sabotage, ...] = (
    Sabotage(
        "no_answer_means_rejected",
        "an order without an answer counts as refused",
        breaks.no_answer_means_rejected,
        ("ask_before_repeating", "one_order"),
        _LOST,
    ),
    Sabotage(
        "no_fence",
        "absence proves death although the request may still arrive",
        breaks.no_fence,
        ("ask_before_repeating", "one_order"),
        ("request_cut",),
    ),
    Sabotage(
        "no_boot_fence",
        "a start forgets what the dead run had asked for",
        breaks.no_boot_fence,
        ("ask_before_repeating", "one_order", "active_knows_all"),
        _KILLS,
    ),
    Sabotage(
        "optimistic_cancel",
        "an order counts as gone when its cancel was sent",
        breaks.optimistic_cancel,
        ("one_order", "active_knows_all"),
        ("request_lost", "request_late"),
        "post_only",
    ),
    Sabotage(
        "leftovers_ignored",
        "orders of a dead run are left to rest",
        breaks.leftovers_ignored,
        ("active_knows_all", "one_order"),
        ("kill", "kill_amid_order"),
        "post_only",
    ),
    Sabotage(
        "duplicate_fills_booked",
        "a fill that comes twice is booked twice",
        breaks.duplicate_fills_booked,
        ("books_agree", "sides_agree", "calm", "no_bug"),
        ("duplicate",),
    ),
    Sabotage(
        "failed_read_as_empty",
        "a read that failed counts as one without rows",
        breaks.failed_read_as_empty,
        ("reconciled_first", "active_knows_all", "ask_before_repeating", "one_order"),
        ("kill_amid_order", "error_before", "answer_truncated", "error_after"),
        "post_only",
    ),
    Sabotage(
        "retry_of_a_post",
        "an order without an answer is sent again",
        breaks.retry_of_a_post,
        ("name_once",),
        _LOST,
    ),
    Sabotage(
        "intent_after_sending",
        "an order's intent is written when its request has left",
        breaks.intent_after_sending,
        ("intent_first",),
        ("kill",),
    ),
    Sabotage(
        "foreign_orders_adopted",
        "every order on the account counts as ours",
        breaks.foreign_orders_adopted,
        ("foreign_untouched",),
        ("hand_rests",),
    ),
    Sabotage(
        "position_never_compared",
        "the venue's position is not compared with ours",
        breaks.position_never_compared,
        ("position_true",),
        ("hand_fills",),
    ),
    Sabotage(
        "fills_from_the_stream_only",
        "fills are booked from the stream and never read again",
        breaks.fills_from_the_stream_only,
        ("fills_in_time", "calm", "sides_agree", "books_agree"),
        ("drop", "mute_table", "kill"),
    ),
    Sabotage(
        "switch_trusted_unproven",
        "orders are sent whether or not the dead man's switch is armed",
        breaks.switch_trusted_unproven,
        ("switch_armed",),
        ("request_lost",),
    ),
    Sabotage(
        "silence_unnoticed",
        "a market that fell silent is traded on",
        breaks.silence_unnoticed,
        ("market_fresh",),
        ("mute_all", "stream_half_open"),
        "post_only",
    ),
    Sabotage(
        "lag_unnoticed",
        "a market that falls behind is traded on",
        breaks.lag_unnoticed,
        ("market_young",),
        ("feed_lags",),
    ),
    Sabotage(
        "names_without_epoch",
        "every run names its orders alike",
        breaks.names_without_epoch,
        ("name_once", "calm"),
        ("kill",),
    ),
    Sabotage(
        "limit_ignored",
        "the gate lets orders pass that exceed max_position",
        breaks.limit_ignored,
        ("position_limit",),
        ("drop",),
    ),
    Sabotage(
        "commands_by_chance",
        "a command depends on what is not in the journal",
        breaks.commands_by_chance,
        ("replay",),
        ("kill",),
    ),
    Sabotage(
        "trades_before_reconciling",
        "a start trades before it read anything",
        breaks.trades_before_reconciling,
        ("reconciled_first",),
        ("kill",),
    ),
    Sabotage(
        "fault_never_cleared",
        "a budget that was low once is low for ever",
        breaks.fault_never_cleared,
        ("calm",),
        ("overload",),
    ),
    Sabotage(
        "first_page_of_fills_only",
        "fills are read up to the end of the first page",
        breaks.first_page_of_fills_only,
        ("fills_in_time", "calm", "sides_agree", "books_agree"),
        ("drop", "mute_table", "kill"),
        given=breaks.pages_of_five,
    ),
    Sabotage(
        "allow_trade_not_asked",
        "the gate does not look at allow_trade",
        breaks.allow_trade_not_asked,
        ("allowed",),
        ("kill",),
        bot={"allow_trade": False},
    ),
    Sabotage(
        "fence_at_once",
        "a request counts as unable to arrive as soon as it was sent",
        breaks.fence_at_once,
        ("ask_before_repeating", "one_order"),
        ("request_cut",),
    ),
    Sabotage(
        "old_words_win",
        "the word that came last counts, however old it is",
        breaks.old_words_win,
        ("no_bug", "one_order", "active_knows_all", "calm", "sides_agree"),
        ("frames_late", "answer_late", "stale_read"),
        "post_only",
    ),
    Sabotage(
        "anybodys_fill_is_ours",
        "another hand's fills are booked as ours",
        breaks.anybodys_fill_is_ours,
        ("position_true", "position_limit", "books_agree", "sides_agree"),
        ("hand_fills",),
    ),
    Sabotage(
        "cancels_everything_of_the_account",
        "a cancel takes every order of the account",
        breaks.cancels_everything_of_the_account,
        ("foreign_untouched",),
        ("hand_rests",),
        "post_only",
    ),
    Sabotage(
        "liquidation_unnoticed",
        "trading goes on after a liquidation",
        breaks.liquidation_unnoticed,
        ("halts_when_liquidated",),
        ("liquidation",),
    ),
    Sabotage(
        "stops_without_cancelling",
        "a stop leaves its orders working",
        breaks.stops_without_cancelling,
        ("stop_cancels",),
        ("operator_restart",),
        "post_only",
    ),
    Sabotage(
        "ends_as_known_without_reading",
        "a stop calls the account known and has not read it",
        breaks.ends_as_known_without_reading,
        ("known_is_true",),
        ("operator_restart", "frames_late"),
    ),
    Sabotage(
        "halt_said_at_once",
        "a halt is called obeyed while an order may still arrive",
        breaks.halt_said_at_once,
        ("halt_holds",),
        ("halt", "request_late", "queue"),
    ),
    Sabotage(
        "halt_forgotten_at_a_start",
        "a start does not look at the latch",
        breaks.halt_forgotten_at_a_start,
        ("halt_holds",),
        ("halt", "kill"),
    ),
    Sabotage(
        "closing_order_not_clipped",
        "a flatten closes more than is held",
        breaks.closing_order_not_clipped,
        ("closing_reduces",),
        ("halt_flatten",),
    ),
    Sabotage(
        "closing_order_repeated_blindly",
        "a flatten repeats its order before the fate of the last one is known",
        breaks.closing_order_repeated_blindly,
        ("ask_before_repeating",),
        ("halt_flatten", "request_cut"),
    ),
    # What nights cannot show, because something else stands before it, or because it is below them.
    Sabotage(
        "unknown_counts_for_nothing",
        "an order in doubt is not counted against max_position",
        breaks.unknown_counts_for_nothing,
        scene=test_account.test_unknown_orders_count_at_their_worst_on_their_side,
    ),
    Sabotage(
        "position_from_the_stream_only",
        "what REST says of the position is not compared",
        breaks.position_from_the_stream_only,
        scene=test_world_faults.test_a_moved_position_is_found_by_rest_alone_while_the_position_table_is_silent,
    ),
    Sabotage(
        "one_query_is_proof",
        "one query that does not find an order proves that it never arrived",
        breaks.one_query_is_proof,
        scene=test_world_faults.test_one_empty_answer_about_an_order_in_doubt_does_not_end_it,
    ),
    Sabotage(
        "one_round_is_proof",
        "one reconciliation is enough to begin",
        breaks.one_round_is_proof,
        scene=test_reconcile.test_a_first_list_that_lies_once_makes_nothing_clean,
    ),
    Sabotage(
        "send_deadline_ignored",
        "an order may leave long after it was decided",
        breaks.send_deadline_ignored,
        scene=test_requests.test_an_order_has_a_deadline_that_counts_from_its_decision,
    ),
    Sabotage(
        "not_alone_ignored",
        "another instance on the account is traded against",
        breaks.not_alone_ignored,
        scene=test_world_recovery.test_a_living_instance_with_a_newer_epoch_is_left_to_trade_alone,
    ),
    Sabotage(
        "switch_not_read_back",
        "any answer of the venue counts as the switch that was asked for",
        breaks.switch_not_read_back,
        scene=test_world_switch.test_no_order_leaves_on_an_answer_that_armed_something_else,
    ),
    Sabotage(
        "missed_renewal_unnoticed",
        "a renewal of the switch that never comes alarms nobody",
        breaks.missed_renewal_unnoticed,
        scene=test_world_switch.test_a_renewal_that_keeps_failing_is_named_and_our_orders_go_before_the_venue_cancels,
    ),
    Sabotage(
        "bucket_assumed_full",
        "a start takes the whole request budget for its own",
        breaks.bucket_assumed_full,
        scene=test_world_storms.test_a_venue_that_tells_no_budget_is_traded_at_by_our_own_count,
    ),
    Sabotage(
        "retry_after_ignored",
        "requests leave before the time that a 429 told",
        breaks.retry_after_ignored,
        ("waits_honoured",),
        ("throttle",),
    ),
    Sabotage(
        "ban_forgotten",
        "a ban binds only the process that was banned",
        breaks.ban_forgotten,
        scene=test_world_storms.test_a_ban_page_stops_at_once_and_nobody_sends_before_its_end,
    ),
    Sabotage(
        "reads_spend_the_reserve",
        "reads leave nothing of a low budget to cancels",
        breaks.reads_spend_the_reserve,
        scene=test_budget.test_reads_leave_a_part_of_the_reserve_to_cancels,
    ),
    Sabotage(
        "second_layer_unpaced",
        "an order takes the last request of a second",
        breaks.second_layer_unpaced,
        scene=test_world_storms.test_an_order_waits_for_the_second_in_which_the_venue_has_room,
    ),
    Sabotage(
        "collar_ignored",
        "an order pays any price",
        breaks.collar_ignored,
        scene=test_world_trading.test_no_order_follows_a_book_that_left_the_mark,
        arguments={"style": "market"},
    ),
    Sabotage(
        "clock_of_answers_unread",
        "a clock that drifts is not looked at while nothing is armed",
        breaks.clock_of_answers_unread,
        scene=test_world_start.test_a_clock_that_drifts_is_found_by_reads_alone_while_nothing_is_armed,
        arguments={"ahead_ms": -2_500},
    ),
    Sabotage(
        "changes_before_the_image_applied",
        "changes of the book count before its image came",
        breaks.changes_before_the_image_applied,
        scene=test_book_mirror.test_deltas_before_the_image_are_dropped,
        arguments={"action": "insert"},
    ),
    Sabotage(
        "liquidation_not_latched",
        "a halt for a liquidation is forgotten at the next start",
        breaks.liquidation_not_latched,
        scene=test_core.test_a_liquidation_is_booked_and_halts_for_good,
    ),
    Sabotage(
        "kept_log_not_synced",
        "an intent is written and may not be on the platter when its order leaves",
        breaks.kept_log_not_synced,
        scene=test_kept.test_each_append_reaches_the_platter_before_it_returns,
    ),
    Sabotage(
        "look_takes_failed_for_empty",
        "the guardian takes a failed read of the orders for an empty one",
        breaks.look_takes_failed_for_empty,
        ("swept_is_true",),
        ("kill", "error_before", "answer_truncated"),
        "post_only",
    ),
    Sabotage(
        "sweep_cancels_the_living",
        "the guardian cancels what a living trader asked for",
        breaks.sweep_cancels_the_living,
        scene=test_sweep.test_an_order_of_a_living_epoch_is_not_ours_to_cancel,
    ),
    Sabotage(
        "one_look_suffices",
        "the guardian looks once after a death, and not when nothing can arrive any more",
        breaks.one_look_suffices,
        scene=test_vigil.test_it_looks_at_once_and_again_when_nothing_can_arrive_any_more,
    ),
    Sabotage(
        "order_limits_not_asked",
        "the gate counts no orders",
        breaks_limits.order_limits_not_asked,
        scene=test_limits_orders.test_so_many_orders_in_a_minute_and_then_the_next,
    ),
    Sabotage(
        "counts_forgotten_at_a_start",
        "a restart begins every count of orders anew",
        breaks_limits.counts_forgotten_at_a_start,
        scene=test_limits_orders.test_a_crash_in_a_row_of_orders_forgets_none,
    ),
    Sabotage(
        "losses_forgotten_at_a_start",
        "a restart begins the day's fees and losses anew",
        breaks_limits.losses_forgotten_at_a_start,
        scene=test_limits_loss.test_spent_fees_leave_only_the_way_back,
    ),
    Sabotage(
        "losses_not_measured",
        "no result is held against its limit",
        breaks_limits.losses_not_measured,
        scene=test_limits_loss.test_spent_fees_halt_until_resumed_and_a_resume_gives_the_same_again,
    ),
    Sabotage(
        "unfit_market_traded",
        "nobody looks whether the market is fit for new exposure",
        breaks_limits.unfit_market_traded,
        scene=test_limits_market.test_a_wide_market_is_closed_in_and_not_opened_in,
    ),
    Sabotage(
        "tries_not_counted",
        "an order that is not filled is replaced for ever",
        breaks_limits.tries_not_counted,
        scene=test_limits_time.test_after_so_many_replacements_the_last_one_stays_where_it_is,
    ),
    Sabotage(
        "unfilled_orders_left_to_rest",
        "an order rests as long as it may",
        breaks_limits.unfilled_orders_left_to_rest,
        scene=test_limits_time.test_an_order_that_is_not_filled_in_time_is_replaced,
    ),
    Sabotage(
        "positions_held_for_ever",
        "nobody looks how long a position is held",
        breaks_limits.positions_held_for_ever,
        scene=test_limits_time.test_a_restart_gives_a_position_no_more_time,
    ),
)


def catch(sabotage: Sabotage) -> Caught | None:
    """Break it and see; None when nobody noticed. Raises `Unsound`."""
    return _by_scene(sabotage) if sabotage.scene is not None else _by_nights(sabotage)


def _by_nights(sabotage: Sabotage) -> Caught | None:
    for seed in SEEDS:
        with pytest.MonkeyPatch.context() as patch:
            sabotage.apply(patch.setattr)
            broken = _violation(sabotage, seed)
        if broken is not None:
            sound = _violation(sabotage, seed)
            if sound is not None:
                raise Unsound(f"{sabotage.name}: seed {seed} fails without it: {sound}")
            return Caught(broken.invariant, broken.words.splitlines()[0], seed)
    return None


def _violation(sabotage: Sabotage, seed: int) -> Violation | None:
    with pytest.MonkeyPatch.context() as patch:
        if sabotage.given is not None:
            sabotage.given(patch.setattr)
        result = Night(night_of(sabotage, seed)).whole(MINUTES / 60)
    return result.violations[0] if result.violations else None


def night_of(sabotage: Sabotage, seed: int) -> Scenario:
    """A night of the seed in which only what the sabotage needs goes wrong, and often."""
    plan = scenario(seed)
    config = msgspec.to_builtins(plan.config)
    config["orders"]["style"] = sabotage.style
    config["bot"]["max_position"] = max(config["bot"]["order_qty"], plan.qty - 100)
    config["bot"].update(sabotage.bot)
    return msgspec.structs.replace(
        plan,
        config=msgspec.convert(config, Config),
        kinds=sabotage.kinds,
        pace_s=4.0,
        period_s=2.0,
        per_minute=300,
    )


def _by_scene(sabotage: Sabotage) -> Caught | None:
    with pytest.MonkeyPatch.context() as patch:
        sabotage.apply(patch.setattr)
        words = _fails(sabotage)
    if words is None:
        return None
    sound = _fails(sabotage)
    if sound is not None:
        raise Unsound(f"{sabotage.name}: its test fails without it: {sound}")
    assert sabotage.scene is not None
    return Caught(sabotage.scene.__name__, words, None)


def _fails(sabotage: Sabotage) -> str | None:
    """Run the scene as pytest would; in what words it fails, None when it holds."""
    assert sabotage.scene is not None
    wanted = inspect.signature(sabotage.scene).parameters
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fixtures: dict[str, Any] = {"tmp_path": Path(folder), "monkeypatch": patch}
        given = {**sabotage.arguments} | {n: v for n, v in fixtures.items() if n in wanted}
        try:
            sabotage.scene(**given)
        except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001  any end but a good one
            return f"{type(failure).__name__} {failure}".splitlines()[0]
    return None


def main(names: Sequence[str]) -> int:
    known = {sabotage.name: sabotage for sabotage in SABOTAGES}
    wrong = [name for name in names if name not in known]
    if wrong:
        sys.stderr.write(f"no sabotage is named {', '.join(wrong)}; there are {', '.join(known)}\n")
        return 64
    missed = 0
    for sabotage in [known[name] for name in names] or SABOTAGES:
        began_s = time.monotonic()
        try:
            caught = catch(sabotage)
            unsound = ""
        except Unsound as error:
            caught, unsound = None, str(error)
        spent_s = time.monotonic() - began_s
        expected = sabotage.scene is not None or (
            caught is not None and caught.by in sabotage.caught_by
        )
        if caught is None or not expected:
            missed += 1
        sys.stdout.write(f"{_line(sabotage, caught, expected, unsound)}, {spent_s:.1f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"{missed} unnoticed\n" if missed else "all caught\n")
    return 1 if missed else 0


def _line(sabotage: Sabotage, caught: Caught | None, expected: bool, unsound: str) -> str:
    if caught is None:
        return f"UNNOTICED  {sabotage.name}: {unsound or sabotage.what}"
    where = "a test" if caught.seed is None else f"seed {caught.seed}"
    mark = "caught    " if expected else "BY CHANCE "
    return f"{mark} {sabotage.name}: {caught.by} ({caught.words[:90]}), {where}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
