"""The safety controls and promises, what is done for each, and the tests that show it.

`docs/controls.md` is written from it. A test is named by its file below `tests/` and its name
without `test_`, and stands for all its parameters.
"""

from typing import NamedTuple


class Control(NamedTuple):
    """One row; each test is a path as pytest names it."""

    id: str
    rule: str
    tests: tuple[str, ...]


def _shown(*named: str) -> tuple[str, ...]:
    """``core/test_feed: one; another`` as the paths of two tests."""
    paths = []
    for group in named:
        file, _, names = group.partition(": ")
        paths += [f"tests/{file}.py::test_{name}" for name in names.split("; ")]
    return tuple(paths)


_FEED = (
    Control(
        "F1",
        "Each stream is aged by its own clock; a private table that lacks what REST shows is named",
        _shown(
            "core/test_overdue: a_private_table_that_is_muted_alone_is_named_while_all_others_flow",
            "core/test_silence: half_of_the_market_that_is_muted_alone_makes_both_halves_unsynced",
            "system/test_silence: a_stream_that_is_muted_alone_is_named_and_no_order_follows",
        ),
    ),
    Control(
        "F2",
        "Market data silent for `feed.soft_stop_after_s`: the socket is closed, nothing is "
        "decided, our orders are cancelled over REST",
        _shown(
            "core/test_silence: the_soft_stop_comes_within_one_check_of_its_time",
            "core/test_world_faults: "
            "a_muted_market_is_left_at_five_seconds_its_orders_are_cancelled_and_it_stops",
            "system/test_bad_frames: "
            "silence_is_a_soft_stop_then_feed_stale_and_the_guardian_starts_it_again",
        ),
    ),
    Control(
        "F3",
        "Still silent at `feed.fault_after_s`: `feed_stale`; a loop that hangs is `loop_stalled`",
        _shown(
            "core/test_silence: "
            "the_hard_stop_comes_within_one_check_of_its_time_whatever_images_came",
            "system/test_hangs: a_stopped_trader_is_killed_its_order_cancelled_and_another_started",
            "system/test_every_stop: "
            "a_policy_that_never_returns_is_ended_by_the_watchdog_of_trade_alone",
        ),
    ),
    Control(
        "F4",
        "A stream without its image stops at a clock of its own, by name, whatever else flows",
        _shown(
            "core/test_silence: a_withheld_image_stops_at_its_own_clock_although_all_else_flows; "
            "neither_a_reconnect_nor_an_image_of_another_moves_the_clock_of_a_stream",
            "system/test_refusals: a_withheld_image_is_feed_unsynced_and_names_the_stream",
        ),
    ),
    Control(
        "F5",
        "Synced is an image and consistent increments; what cannot be true is unsynced at once",
        _shown(
            "venues/bitmex/test_table_mirror: deltas_before_the_image_are_dropped; "
            "a_delta_of_an_unknown_row_unsyncs_the_table",
            "venues/bitmex/test_book_mirror: what_cannot_be_true_empties_the_book_at_once",
            "core/test_core: book_and_quote_that_contradict_each_other_are_both_unsynced",
            "system/test_bad_frames: a_corrupt_book_is_never_believed",
        ),
    ),
    Control(
        "F6",
        "A subscription that is refused or forgotten is found and named",
        _shown(
            "venues/bitmex/test_session: an_error_names_the_stream_whose_subscription_it_refuses",
            "system/test_refusals: a_refused_subscription_is_feed_unsynced_and_names_the_stream",
        ),
    ),
    Control(
        "F7",
        "Half way to the soft stop one ping and one read label the cause, and postpone nothing",
        _shown(
            "core/test_probe: the_soft_stop_names_who_is_silent; "
            "a_probe_is_one_ping_and_one_read_at_half_the_silence_and_postpones_nothing",
        ),
    ),
    Control(
        "F8",
        "Reconnects are paced and counted by the hour, on disk; each begins from new images and a "
        "reconciliation; what flaps is a stop",
        _shown(
            "core/test_connection: a_used_budget_stops_in_words_and_holds_through_a_restart; "
            "each_loss_waits_twice_as_long_up_to_ten_seconds",
            "core/test_core: after_a_reconnect_everything_is_reconciled_before_the_next_decision",
            "system/test_silence: a_feed_that_speaks_now_and_then_does_not_escape",
        ),
    ),
    Control(
        "F9",
        "A quote that is old when it is handled, or steps that come late, take no decision",
        _shown(
            "core/test_lag: a_quote_that_is_old_when_it_is_handled_blocks_in_the_same_step; "
            "steps_that_come_late_again_and_again_take_no_decision; "
            "lag_that_lasts_stops_at_the_fault_time_and_says_so",
        ),
    ),
    Control(
        "F10",
        "The venue's clock is measured by its answers; skew stops new orders, then the bot",
        _shown(
            "core/test_skew: only_what_lies_outside_of_question_and_answer_counts",
            "core/test_own_clocks: a_wall_clock_that_jumps_drops_every_image_and_reconciles",
            "system/test_refusals: a_clock_that_goes_wrong_while_it_trades_is_clock_skew",
        ),
    ),
    Control(
        "F11",
        "State, tick, lot and limits come from the venue and gate orders",
        _shown(
            "core/test_gate: one_thing_wrong_is_denied_by_its_name",
            "core/test_world_faults: a_closed_instrument_takes_our_orders_away_and_opens_again",
            "system/test_bad_frames: a_closed_instrument_is_not_traded_and_an_open_one_is_again",
        ),
    ),
    Control(
        "F12",
        "The venue is judged by our own stream and requests; no status page is asked",
        _shown(
            "system/test_any_policy: "
            "nobody_asks_how_the_venue_is_but_by_our_own_stream_and_requests",
        ),
    ),
)

_ORDERS = (
    Control(
        "O1",
        "One table of legal steps for a position, one for an order; any other is a violation",
        _shown(
            "core/test_position: legal_steps_arrive_and_illegal_steps_are_violations",
            "core/test_orders: every_order_of_the_same_words_ends_the_same",
        ),
    ),
    Control(
        "O2",
        "An order's intent is durable before its request leaves",
        _shown(
            "live/test_trader: a_kept_record_is_durable_before_the_order_behind_it_leaves",
            "system/test_kills: what_the_dead_run_asked_for_is_settled_before_anything_new",
        ),
    ),
    Control(
        "O3",
        "A name is used once, ever; a newer epoch fences an older instance off",
        _shown(
            "live/test_state_dir: each_epoch_exceeds_the_wall_clock_and_every_epoch_before",
            "core/test_world_recovery: "
            "a_lost_state_folder_is_made_up_for_by_the_names_at_the_venue",
            "system/test_two_instances: of_two_that_begin_to_trade_at_once_the_newer_one_goes_on",
        ),
    ),
    Control(
        "O4",
        "Unknown counts at its worst and is asked for; no timer makes it a refusal",
        _shown(
            "core/test_orders: absence_before_the_fence_proves_nothing; "
            "an_order_of_unknown_fate_counts_at_its_worst",
            "system/test_bad_answers: an_order_taken_without_an_answer_is_found_before_the_next; "
            "an_order_that_stays_unknown_stops_it_and_is_not_sent_again",
        ),
    ),
    Control(
        "O5",
        "A decision older than `orders.send_deadline_s` is never sent",
        _shown("live/test_rest: an_order_past_its_send_deadline_never_leaves"),
    ),
    Control(
        "O6",
        "An order on which the stream is silent is asked for over REST",
        _shown("system/test_dropped_messages: a_lost_message_is_made_up_for_or_stops_by_name"),
    ),
    Control(
        "O7",
        "What the venue does not know is cleared only when flat, and missing again and again",
        _shown(
            "core/test_core_recovery: "
            "what_the_venue_does_not_know_is_cleared_only_when_flat_and_missing_again_and_again",
        ),
    ),
    Control(
        "O8",
        "Orders, fills and position are reconciled; a read that failed is never an empty one",
        _shown(
            "core/test_world_faults: a_failed_read_is_not_an_empty_one",
            "system/test_lying_reads: no_single_read_decides_at_a_start",
        ),
    ),
    Control(
        "O9",
        "Fills, stream and REST must agree on the position; else no order, at last a stop",
        _shown(
            "core/test_reconcile: "
            "a_lost_position_message_alone_costs_a_new_image_of_that_table; "
            "a_position_table_that_goes_on_contradicting_stops_the_process",
            "core/test_world_faults: a_position_that_another_hand_moved_stops_the_bot",
        ),
    ),
    Control(
        "O10",
        "A fill is booked once, whatever its source and order; a liquidation halts",
        _shown(
            "core/test_ledger: a_fill_that_comes_twice_is_booked_once",
            "core/test_core: a_liquidation_is_booked_and_halts_for_good",
            "system/test_reordered_messages: whatever_overtakes_what_each_fill_is_booked_once",
        ),
    ),
    Control(
        "O11",
        "One request per order is under way; a fill that overtakes a cancel is no error",
        _shown(
            "core/test_executor: an_order_with_a_request_outstanding_is_left_alone",
            "system/test_races: "
            "a_fill_that_overtakes_a_cancel_is_booked_and_the_cancel_is_no_error",
        ),
    ),
    Control(
        "O12",
        "Post-only refusals, partial fills and zero fills are ordinary",
        _shown(
            "venues/bitmex/test_dialect: a_post_only_order_that_would_cross_comes_back_canceled",
            "failures/test_scenarios: "
            "a_market_order_that_finds_nobody_is_no_fill_and_is_decided_anew",
        ),
    ),
    Control(
        "O13",
        "What a dead run left is cancelled by id, by the guardian and by the next start; foreign "
        "orders are untouched",
        _shown(
            "system/test_left_behind: what_a_killed_trader_left_is_gone_long_before_the_next_start",
            "system/test_crashes: a_foreign_order_is_reported_and_never_touched",
            "guardian/errands/test_sweep: orders_of_others_are_counted_and_never_touched",
        ),
    ),
    Control(
        "O14",
        "A reducing order provably reduces, and carries the venue's flag",
        _shown(
            "core/test_gate: a_reducing_order_passes_where_only_reducing_is_allowed; "
            "no_circumstances_get_an_order_past_a_shut_gate",
        ),
    ),
)

_LOCKS = (
    Control(
        "L1",
        "One place sends what creates or amends; it takes a typed approval, `allow_trade` last",
        _shown(
            "live/test_rest: a_call_that_could_create_or_amend_does_not_pass_without_approval; "
            "with_allow_trade_off_even_an_approved_order_is_a_violation",
            "core/test_gate: allow_trade_has_the_last_word",
        ),
    ),
    Control(
        "L2",
        "Observe-only decides and says what it would have sent",
        _shown("core/test_world_start: observing_sends_nothing_that_creates_amends_or_arms"),
    ),
    Control(
        "L3",
        "The request budget follows the headers and our own count, keeps a reserve, outlives a run",
        _shown(
            "core/test_budget: it_locks_below_and_unlocks_only_well_above; "
            "a_long_wait_is_kept_once_and_binds_the_next_process",
            "system/test_storms: the_budget_is_never_overdrawn_and_no_order_goes_into_the_reserve",
        ),
    ),
    Control(
        "L4",
        "Cancels go first; the wait that the venue asks for is kept; a ban is kept to its end",
        _shown(
            "live/test_rest: waiting_cancels_go_before_waiting_reads",
            "system/test_storms: a_working_order_is_cancelled_while_it_blows; "
            "after_each_429_nothing_that_can_wait_is_sent_before_its_time; "
            "the_page_of_a_ban_ends_it_and_nobody_asks_again",
        ),
    ),
)

_KILL = (
    Control(
        "K1",
        "A halt over each path, with an order in flight, hung processes or a full disk",
        _shown(
            "system/test_halts: "
            "after_the_acknowledgement_no_order_is_created_and_it_holds_until_resumed; "
            "with_a_hung_trader_it_is_killed_and_what_it_left_is_cancelled; "
            "on_a_full_disk_it_latches_and_verifies; "
            "a_flatten_closes_the_position_with_one_reduce_only_order",
        ),
    ),
    Control(
        "K2",
        "The latch is a file; only `resume` with a reason clears the halt that it names",
        _shown(
            "live/test_latch: only_the_halt_that_was_named_is_cleared; "
            "any_file_and_any_folder_of_that_name_is_a_halt",
            "guardian/test_halting: a_latch_that_is_taken_away_by_hand_comes_back",
        ),
    ),
    Control(
        "K3",
        "Every stop has one reason, by a cause outside: code, file and last line say the same",
        _shown(
            "system/test_every_stop: there_is_a_cause_outside_for_every_reason; "
            "alone_its_exit_code_log_and_file_say_the_same; "
            "under_the_guardian_the_file_says_why_it_stopped",
        ),
    ),
    Control(
        "K4",
        "Starting is recovering; there is no other way to start",
        _shown(
            "core/test_core_recovery: "
            "nothing_is_sent_while_a_request_of_the_dead_run_may_still_arrive",
            "system/test_kills: a_request_that_outlives_its_sender_is_waited_for",
            "simulation/test_nights: every_invariant_holds_all_night",
        ),
    ),
    Control(
        "K5",
        "The guardian notices death, hang and silence, restarts with back-off, ends a crash loop",
        _shown(
            "guardian/test_restarts: "
            "one_restart_more_than_allowed_within_the_window_is_a_crash_loop",
            "system/test_left_behind: a_crash_loop_leaves_nothing_and_takes_the_switch_off",
            "system/test_hangs: "
            "on_a_full_disk_beside_a_receiver_that_never_answers_it_is_killed_and_cancelled_too",
        ),
    ),
    Control(
        "K6",
        "The switch is armed before the first order, read back, renewed by health alone",
        _shown(
            "core/test_switch: an_answer_with_another_time_than_was_asked_for_proves_nothing",
            "core/test_world_trading: a_sick_bot_does_not_hold_the_switch_off",
            "core/test_world_switch: a_renewal_that_keeps_failing_is_named_and_our_orders_go_"
            "before_the_venue_cancels",
            "system/test_hangs: with_both_killed_at_once_the_switch_fires_and_the_next_start_"
            "finds_all_in_order",
        ),
    ),
    Control(
        "K8",
        "Alerts leave from the guardian, once each and bounded, with the trader dead too",
        _shown(
            "system/test_alerts: a_killed_trader_is_told_with_reason_position_and_next_step",
            "guardian/alerts/test_flow: "
            "nobody_gets_more_than_the_hourly_number_and_critical_ones_as_many_besides",
            "guardian/alerts/test_herald: "
            "one_that_never_answers_holds_up_neither_the_others_nor_the_caller",
            "guardian/alerts/test_alerting: "
            "a_sign_of_life_comes_each_period_and_names_the_channels_that_are_mute",
        ),
    ),
    Control(
        "K9",
        "A full disk, a torn tail, no memory: a loud stop, and nothing acknowledged is lost",
        _shown(
            "system/test_full_disk: "
            "the_trader_stops_for_good_and_the_guardian_stays_and_says_so; "
            "trade_alone_ends_with_18_and_its_account_in_order",
            "journal/test_kept: a_torn_tail_is_cut_and_told_and_writing_goes_on_behind_it",
            "live/test_trader: a_bug_ends_the_process_even_where_nothing_can_be_said_any_more",
        ),
    ),
    Control(
        "K10",
        "Secrets come from environment or file and are starred everywhere; a key that can withdraw "
        "is refused",
        _shown(
            "system/test_secrets: neither_key_secret_signature_nor_operator_token_is_anywhere",
            "core/test_world_start: a_key_that_will_not_do_stops_before_anything_else",
        ),
    ),
    Control(
        "E1",
        "Whole nights on virtual time, each from one seed, each invariant with its sabotage",
        _shown(
            "simulation/test_nights: every_invariant_holds_all_night; "
            "the_same_seed_is_the_same_night",
            "simulation/test_sabotages: a_break_is_caught_and_nothing_fails_without_it",
        ),
    ),
)

_PROMISES = (
    Control(
        "promise 1",
        "With `allow_trade` off nothing that creates or amends is ever sent",
        _shown(
            "system/test_any_policy: off_sends_nothing_but_reads_whatever_the_policy_answers; "
            "on_the_same_answers_do_trade_so_the_silence_proves_something",
            "system/test_halts: in_observe_only_a_flatten_is_refused_in_words_and_the_halt_holds",
        ),
    ),
    Control(
        "promise 2",
        "None while stale, unsynced, locked, halted, faulted, unreconciled or the switch unarmed",
        _shown(
            "system/test_accounts_agree: no_order_left_before_the_switch_was_armed",
            "system/test_bad_frames: "
            "a_lost_position_message_stops_all_orders_until_there_is_an_image",
            "core/test_gate: every_denial_has_a_case_of_its_own",
            "core/test_faults: the_posture_is_the_highest_that_any_fault_demands",
        ),
    ),
    Control(
        "promise 3",
        "Nothing of unknown outcome is repeated; one working order per decision",
        _shown(
            "system/test_bad_answers: the_accounts_agree_and_no_request_for_an_order_was_repeated",
            "system/test_accounts_agree: at_most_one_order_works_at_a_time",
        ),
    ),
    Control(
        "promise 4",
        "Every order has our name; an order without it is reported and untouched",
        _shown(
            "system/test_crashes: a_foreign_order_is_reported_and_never_touched",
            "guardian/alerts/test_words: "
            "a_foreign_order_says_that_the_switch_takes_the_whole_account",
        ),
    ),
    Control(
        "promise 5",
        "Every fill is in the ledger in time, or no order is sent and at last it stops",
        _shown(
            "system/test_accounts_agree: every_execution_is_in_the_ledger_once",
            "core/test_core: filled_without_an_execution_blocks_orders_and_is_fetched_by_rest",
        ),
    ),
    Control(
        "promise 6",
        "Every stop cancels our orders, and again when nothing of it can still arrive",
        _shown(
            "system/test_every_stop: no_order_of_the_stopped_run_is_left_once_another_runs; "
            "no_order_is_left_where_nobody_is_started_again",
            "guardian/errands/test_vigil: "
            "it_looks_at_once_and_again_when_nothing_can_arrive_any_more",
            "system/test_crashes: trade_alone_cancels_at_its_next_start_what_a_kill_left",
        ),
    ),
    Control(
        "promise 7",
        "The switch is armed while orders may work, renewed while healthy, disarmed at zero",
        _shown(
            "core/test_world_trading: "
            "the_switch_is_refreshed_while_orders_rest_and_disarmed_when_none_does",
            "system/test_hangs: a_hung_trader_that_nobody_watches_lets_the_switch_fire",
        ),
    ),
    Control(
        "promise 8",
        "A failed read is never an empty one",
        _shown(
            "system/test_bad_answers: a_failed_read_is_not_taken_for_an_empty_one",
            "guardian/errands/test_sweep: a_failed_read_is_not_an_empty_one",
            "cli/test_halt: a_failed_read_is_not_an_empty_one",
        ),
    ),
    Control(
        "promise 9",
        "A halt holds through restarts until `resume`",
        _shown(
            "system/test_halts: "
            "after_the_acknowledgement_no_order_is_created_and_it_holds_until_resumed",
            "system/test_left_behind: a_halt_that_is_latched_at_the_start_starts_no_trader",
        ),
    ),
    Control(
        "promise 10",
        "No secret is printed, logged, journalled or served",
        _shown(
            "system/test_secrets: neither_key_secret_signature_nor_operator_token_is_anywhere; "
            "key_and_secret_of_the_environment_are_nowhere",
            "system/test_alerts: a_killed_trader_is_told_with_reason_position_and_next_step",
        ),
    ),
)

CONTROLS: tuple[Control, ...] = (*_FEED, *_ORDERS, *_LOCKS, *_KILL, *_PROMISES)
