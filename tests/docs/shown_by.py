"""Which tests show a row of the table "What happens when …", by what happens."""

SHOWN_BY: dict[str, tuple[str, ...]] = {
    "kill -9 of the trader": (
        "tests/system/test_crashes.py::test_a_killed_trader_is_started_again_and_first_cancels_what_it_left",
        "tests/system/test_kills.py::test_what_the_dead_run_asked_for_is_settled_before_anything_new",
    ),
    "kill -9 of the guardian": (
        "tests/system/test_crashes.py::test_a_killed_guardian_takes_its_trader_along_which_first_cancels",
    ),
    "kill -9 of both": (
        "tests/system/test_hangs.py::test_with_both_killed_at_once_the_switch_fires_and_the_next_start_finds_all_in_order",
    ),
    "the trader hangs, under `up`": (
        "tests/system/test_hangs.py::test_a_stopped_trader_is_killed_its_order_cancelled_and_another_started",
        "tests/system/test_hangs.py::test_a_trader_that_stood_still_for_less_than_its_time_is_left_alone",
    ),
    "a policy that does not return, under `trade` alone": (
        "tests/system/test_every_stop.py::test_a_policy_that_never_returns_is_ended_by_the_watchdog_of_trade_alone",
    ),
    "the whole process stands still, under `trade` alone": (
        "tests/system/test_hangs.py::test_a_hung_trader_that_nobody_watches_lets_the_switch_fire",
    ),
    "what we send does not arrive": (
        "tests/system/test_network.py::test_where_no_cancel_arrives_the_switch_takes_it",
        "tests/system/test_network.py::test_nothing_new_is_sent_into_it",
    ),
    "what the venue sends does not arrive": (
        "tests/system/test_network.py::test_the_working_order_is_gone_before_the_network_is_back",
        "tests/system/test_network.py::test_it_stops_by_name_says_that_it_does_not_know_and_trades_again_afterwards",
    ),
    "the network is gone both ways": (
        "tests/system/test_network.py::test_where_no_cancel_arrives_the_switch_takes_it",
        "tests/system/test_network.py::test_nothing_new_is_sent_into_it",
    ),
    "the venue is out": (
        "tests/system/test_crashes.py::test_the_venue_gone_for_good_is_a_clean_stop_of_trade",
        "tests/system/test_refusals.py::test_a_venue_that_is_not_there_is_a_stop_in_words",
        "tests/guardian/test_guardian.py::test_past_max_restarts_it_stays_down_as_a_crash_loop_and_keeps_serving",
    ),
    "the venue is overloaded or limits us": (
        "tests/system/test_storms.py::test_a_working_order_is_cancelled_while_it_blows",
        "tests/system/test_storms.py::test_the_venue_does_not_ban_us",
    ),
    "the venue bans us": (
        "tests/system/test_storms.py::test_the_page_of_a_ban_ends_it_and_nobody_asks_again",
    ),
    "the disk is full": (
        "tests/system/test_full_disk.py::test_the_trader_stops_for_good_and_the_guardian_stays_and_says_so",
    ),
    "our clock jumps": (
        "tests/core/test_own_clocks.py::test_a_wall_clock_that_jumps_drops_every_image_and_reconciles",
    ),
    "our clock is wrong, or the venue's": (
        "tests/system/test_refusals.py::test_a_clock_that_goes_wrong_while_it_trades_is_clock_skew",
    ),
    "somebody trades by hand on the account": (
        "tests/system/test_crashes.py::test_a_position_that_no_fill_explains_is_a_mismatch",
        "tests/core/test_world_faults.py::test_a_position_that_another_hand_moved_stops_the_bot",
        "tests/guardian/test_restarts.py::test_a_position_that_mismatches_twice_running_stays_down",
    ),
    "somebody places an order by hand": (
        "tests/system/test_crashes.py::test_a_foreign_order_is_reported_and_never_touched",
    ),
    "a second bot of the same name on the account": (
        "tests/system/test_two_instances.py::test_of_two_that_begin_to_trade_at_once_the_newer_one_goes_on",
        "tests/system/test_two_instances.py::test_one_that_shares_the_folder_stops_at_once_and_the_first_does_not_notice",
    ),
    "power loss": (
        "tests/simulation/test_disk.py::test_a_power_loss_keeps_every_kept_record_and_loses_a_tail_of_the_journal",
        "tests/journal/test_kept.py::test_a_torn_tail_is_cut_and_told_and_writing_goes_on_behind_it",
        "tests/system/test_kills.py::test_orders_that_worked_when_it_was_killed_are_cancelled_before_the_next",
    ),
    "the laptop sleeps": (
        "tests/system/test_sleep.py::test_a_laptop_that_slept_for_half_an_hour_begins_from_what_it_finds",
    ),
    "the machine has no memory left": (
        "tests/live/test_trader.py::test_a_bug_ends_the_process_even_where_nothing_can_be_said_any_more",
        "tests/live/test_watchdog.py::test_the_end_needs_no_further_thread",
    ),
}
