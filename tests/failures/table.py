"""The failures of trading bots that were reported in public, our rule for each, and the tests.

`docs/failures.md` is written from it. The numbers and the sources are those of the protocol
facts, section 9; a test is named as pytest names it, and stands for all its parameters.
"""

from typing import NamedTuple

_FAULTS = "tests/core/test_world_faults.py::"
_START = "tests/core/test_world_start.py::"
_CORE = "tests/core/test_core.py::"
_HERE = "tests/failures/test_scenarios.py::"
_ANSWERS = "tests/system/test_bad_answers.py::"
_FRAMES = "tests/system/test_bad_frames.py::"
_MIRROR = "tests/venues/bitmex/test_table_mirror.py::"
_TEXTS = "tests/venues/bitmex/test_texts.py::"


class Reported(NamedTuple):
    """One row. ``occurs`` is False where our design leaves it no place: then the rule that does
    so is what is tested.
    """

    number: int
    failure: str
    rule: str
    tests: tuple[str, ...]
    occurs: bool = True


FAILURES: tuple[Reported, ...] = (
    Reported(
        1,
        "Changes of a table arrive before its image, and the handler dies",
        "Changes before the image are dropped and counted for nothing; a stream is synced by its "
        "image alone",
        (
            _MIRROR + "test_deltas_before_the_image_are_dropped",
            "tests/venues/bitmex/test_book_mirror.py::test_deltas_before_the_image_are_dropped",
            "tests/core/test_feed.py::test_only_an_image_syncs_a_stream",
        ),
    ),
    Reported(
        2,
        "The image of one private table never comes while all others flow; the bot trades blind",
        "Every stream has its own clock: without its image nothing is decided, it is asked for "
        "again, and at last the stop names it",
        (
            _HERE + "test_an_image_that_one_private_table_never_sends_holds_every_decision",
            _FAULTS + "test_a_stream_whose_image_never_comes_stops_at_its_own_clock_by_name",
        ),
    ),
    Reported(
        3,
        "After days nothing is received any more on a socket that looks open",
        "Silence is judged by increments of the market, not by the socket: a soft stop, then the "
        "stop `feed_stale`",
        (
            _FAULTS
            + "test_a_muted_market_is_left_at_five_seconds_its_orders_are_cancelled_and_it_stops",
            _FRAMES
            + "test_silence_is_a_soft_stop_then_feed_stale_and_the_guardian_starts_it_again",
        ),
    ),
    Reported(
        4,
        "Values freeze, or the book drifts away from the market over hours",
        "Top of book and quote must agree, and a book must be possible; else both are unsynced at "
        "once and asked for anew",
        (
            _CORE + "test_book_and_quote_that_contradict_each_other_are_both_unsynced",
            _FAULTS + "test_a_book_that_cannot_be_true_is_asked_for_anew",
            _FRAMES + "test_after_lost_changes_a_new_image_is_asked_for_and_it_decides_again",
        ),
    ),
    Reported(
        5,
        "The venue closes a socket on which its client was silent for three minutes",
        "The socket is spoken on all the time, also by a bot that only observes",
        (
            "tests/core/test_keep_alive.py::"
            "test_an_observing_bot_keeps_its_socket_past_the_idle_time_of_the_venue",
            _HERE + "test_an_idle_connection_is_spoken_on_long_before_the_venue_hangs_up",
        ),
    ),
    Reported(
        6,
        "Connections close now and then, without a reason",
        "A closed connection takes all images with it; it is opened again, and everything is "
        "reconciled before the next decision",
        (
            _HERE
            + "test_a_connection_that_closes_again_and_again_costs_no_fill_and_no_second_order",
            _FAULTS + "test_a_cut_connection_is_opened_again_and_reconciled_before_the_next_order",
            _FRAMES + "test_after_a_broken_connection_it_reconciles_before_it_decides",
        ),
    ),
    Reported(
        7,
        "A request for an order times out, the order is filled all the same, and the bot sends "
        "it again and again",
        "Unanswered is unknown: it counts at its worst case and is asked for at the venue; no "
        "request is repeated",
        (
            _ANSWERS + "test_an_order_taken_without_an_answer_is_found_before_the_next",
            _FAULTS + "test_an_accepted_order_without_an_answer_is_resolved_and_never_sent_twice",
            "tests/system/test_races.py::"
            "test_an_order_taken_long_after_it_was_given_up_is_found_and_counted",
        ),
    ),
    Reported(
        8,
        "A client that is too slow for the book hears of its own orders minutes late",
        "What REST shows counts before what a late stream says; nothing is decided on a quote that "
        "was older than `feed.max_lag_s` when it was handled, and lag that lasts is a stop",
        (
            _HERE + "test_what_a_late_feed_says_of_our_orders_is_overtaken_by_rest",
            _HERE + "test_nothing_is_decided_on_a_market_that_is_sixteen_seconds_old",
            _HERE + "test_a_feed_that_falls_behind_and_stays_there_stops_and_says_so",
        ),
    ),
    Reported(
        9,
        "A subscription that filters open orders gets empty messages when one ends",
        "No subscription filters, and a message without rows is no evidence of anything",
        (
            _MIRROR + "test_an_increment_without_rows_is_no_evidence",
            _MIRROR + "test_a_filled_update_is_completed_from_the_mirror",
        ),
        occurs=False,
    ),
    Reported(
        10,
        "The stream calls an order new that is being cancelled",
        "A word that is older than what is known changes nothing; an end stays an end unless a "
        "later list of the venue says otherwise",
        (
            _CORE + "test_a_word_that_is_older_than_what_is_known_changes_nothing",
            "tests/core/test_orders.py::test_filled_quantity_never_shrinks_and_an_end_stays_an_end",
            "tests/system/test_reordered_messages.py::"
            "test_whatever_overtakes_what_each_fill_is_booked_once",
        ),
    ),
    Reported(
        11,
        "A market order is answered with success, and was cancelled with nothing filled",
        "An answer means what its row says; zero fills are an ordinary end, and the target is "
        "decided anew",
        (
            _HERE + "test_a_market_order_that_finds_nobody_is_no_fill_and_is_decided_anew",
            "tests/venues/bitmex/test_dialect.py::"
            "test_a_post_only_order_that_would_cross_comes_back_canceled",
        ),
    ),
    Reported(
        12,
        "A change names a row that the image did not hold",
        "The stream is unsynced at once and asked for anew",
        (
            _MIRROR + "test_a_delta_of_an_unknown_row_unsyncs_the_table",
            _CORE + "test_an_update_of_an_unknown_row_unsyncs_its_stream",
        ),
    ),
    Reported(
        13,
        "The start hangs for ever: the image of an empty account, or one that is dropped, is "
        "waited for",
        "An empty image is the answer that there is nothing; one that does not come has a clock "
        "and ends in a stop that names it",
        (
            _MIRROR + "test_an_empty_image_says_that_there_is_nothing",
            _FAULTS + "test_a_stream_whose_image_never_comes_stops_at_its_own_clock_by_name",
        ),
    ),
    Reported(
        14,
        "After many errors the address is banned, and the bot's loop makes the ban longer",
        "The page of a ban stops the bot for good; nothing but its last cancel is tried",
        (
            _START + "test_a_venue_that_bans_us_is_left_in_peace",
            _TEXTS + "test_a_403_page_of_the_load_balancer_is_a_ban",
        ),
    ),
    Reported(
        15,
        "Rate limits are ignored until an hour's ban",
        "The wait that the venue asks for is kept; answers that go on failing are tried ever more "
        "slowly",
        (
            _FAULTS + "test_a_429_is_waited_out",
            _FAULTS + "test_a_venue_that_keeps_failing_is_not_stormed_into_a_ban",
            _ANSWERS + "test_a_rate_limit_is_waited_out_as_told",
        ),
    ),
    Reported(
        16,
        "Requests are refused as expired: the clock is wrong by seconds, or they waited here",
        "The venue's clock is measured and the stop names a wrong one; what waited past its time "
        "never leaves",
        (
            _START + "test_a_wrong_clock_at_the_start_is_named_as_the_cause",
            _START + "test_a_clock_that_goes_wrong_while_trading_stops_new_orders_and_then_the_bot",
            "tests/live/test_rest.py::"
            "test_a_call_that_the_venue_must_refuse_as_expired_never_leaves",
            "tests/live/test_rest.py::test_an_order_past_its_send_deadline_never_leaves",
        ),
    ),
    Reported(
        17,
        "After a duplicate name, the order found under it is not the one that was asked for",
        "A name is used once, ever; being told of a duplicate proves nothing and is asked about",
        (
            _HERE + "test_a_duplicate_name_is_no_refusal_and_is_not_sent_again",
            "tests/live/test_state_dir.py::"
            "test_each_epoch_exceeds_the_wall_clock_and_every_epoch_before",
        ),
        occurs=False,
    ),
    Reported(
        18,
        "Blind retries in a storm of 503, amending by what was left: far more is filled than was "
        "wanted",
        "The documented 503 proves that nothing happened, any other proves nothing; each try is a "
        "decision of its own, and nothing is amended",
        (
            _HERE + "test_a_storm_of_503_ends_in_the_position_that_was_wanted_and_not_more",
            _FAULTS + "test_a_definite_503_is_no_doubt_and_is_retried_as_a_new_decision_not_sooner",
        ),
    ),
    Reported(
        19,
        "Reads time out without end, until a retry limit crashes the bot",
        "Reads are tried more and more slowly; without a clean reconciliation for too long the "
        "stop is `venue_degraded`",
        (
            _HERE + "test_reads_that_are_never_answered_stop_by_name_and_are_not_stormed",
            _FAULTS + "test_requests_that_fail_for_too_long_stop_the_process",
        ),
    ),
    Reported(
        20,
        "A bot waits for the message New, which no longer comes, and places orders without end",
        "The first word of an order may be its last; until there is one, its request counts",
        (
            _MIRROR + "test_the_first_word_of_an_order_may_be_its_last",
            "tests/core/test_world_trading.py::test_at_most_one_order_of_ours_works_at_any_time",
            _FRAMES + "test_every_fill_is_in_the_ledger_once_all_the_same",
        ),
    ),
    Reported(
        21,
        "The update of a filled order lacks columns, and the parser dies",
        "An update is completed from the mirror; a row that cannot be read costs its table and "
        "never the process",
        (
            _MIRROR + "test_a_filled_update_is_completed_from_the_mirror",
            _MIRROR
            + "test_a_row_that_cannot_be_read_is_refused_and_its_table_is_no_longer_believed",
        ),
    ),
    Reported(
        22,
        "After a reconnect a change names a row of the old connection",
        "Each connection has its own mirrors, which begin empty; frames of another one are not "
        "for us",
        (
            _CORE + "test_frames_of_a_closed_connection_are_not_for_us",
            "tests/core/test_feed.py::test_no_image_survives_a_disconnection",
        ),
    ),
    Reported(
        23,
        "After half a day the position of the stream is wrong, and the bot acts on the wrong side",
        "Fills, stream and REST must agree on the position; else no order, a new image, and at "
        "last a stop",
        (
            "tests/core/test_reconcile.py::"
            "test_a_lost_position_message_alone_costs_a_new_image_of_that_table",
            "tests/core/test_reconcile.py::"
            "test_a_position_table_that_goes_on_contradicting_stops_the_process",
            "tests/system/test_dropped_messages.py::"
            "test_a_lost_message_is_made_up_for_or_stops_by_name",
        ),
    ),
    Reported(
        24,
        "The part that reads the feed crashes, and screens and prices go on with its last quote",
        "There is no such part: one loop reads and decides, a bug in it ends the process, and "
        "what is shown ages",
        (
            "tests/live/test_trader.py::test_a_bug_in_a_step_ends_the_process_with_its_own_reason",
            "tests/guardian/test_shown.py::test_ages_grow_while_no_beat_comes",
            "tests/guardian/test_shown.py::"
            "test_a_trader_that_is_down_has_no_synced_stream_and_its_mode_is_stopped",
        ),
        occurs=False,
    ),
    Reported(
        25,
        "Reconnecting in a storm uses up the connects of an hour",
        "Each wait is twice the last, up to ten seconds, only a connection that settled starts "
        "anew, and a run without a connection stops",
        (
            _HERE + "test_a_venue_that_takes_no_upgrade_is_a_stop_after_few_tries",
            _HERE + "test_a_run_that_may_try_for_hours_does_not_storm_either",
            "tests/core/test_connection.py::test_each_loss_waits_twice_as_long_up_to_ten_seconds",
            "tests/core/test_connection.py::"
            "test_a_connection_that_lives_just_past_its_images_is_one_of_a_series",
        ),
    ),
    Reported(
        26,
        "Updates of mark and index are dropped unseen; one unknown instrument aborts the start",
        "The mark is read where the venue writes it, in captured messages; rows of other symbols "
        "say nothing",
        (
            _MIRROR + "test_an_instrument_update_keeps_the_terms_and_moves_the_mark",
            "tests/venues/bitmex/test_captured.py::"
            "test_a_captured_index_update_moves_the_index_and_keeps_the_terms",
            _MIRROR + "test_rows_of_another_symbol_say_nothing_of_our_position_fills_or_terms",
        ),
    ),
    Reported(
        27,
        "The history of trades returns only its last week",
        "The ledger is kept here and never rebuilt from the history; a position that it does not "
        "explain stops",
        (
            _HERE + "test_a_start_that_the_history_does_not_explain_trades_nothing",
            "tests/core/test_carried.py::"
            "test_a_start_from_what_is_left_is_the_start_from_the_whole_log",
        ),
    ),
    Reported(
        28,
        "The venue's own bad days: private feeds silent beside a moving book, a wrong book, an "
        "engine that stands still, a market that only takes cancels",
        "No stream vouches for another, REST is asked all the time, and without knowledge "
        "nothing is sent",
        (
            _HERE
            + "test_private_feeds_that_fall_silent_beside_a_moving_book_are_made_up_for_by_rest",
            _HERE + "test_an_engine_that_stands_still_is_a_stop_and_not_a_storm",
            _FAULTS + "test_a_book_that_cannot_be_true_is_asked_for_anew",
            _FAULTS + "test_a_closed_instrument_takes_our_orders_away_and_opens_again",
        ),
    ),
)
