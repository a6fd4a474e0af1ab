"""The core step by step, the venue played by hand: order of the start, doubt, contradiction."""

from typing import Any

import pytest

from chappie.core.core import Core
from chappie.model.commands import (
    CloseStream,
    Keep,
    Log,
    OpenStream,
    SendCall,
    SendFrame,
    SendOrder,
    SetLatch,
    Stop,
)
from chappie.model.config import Config
from chappie.model.events import Answered, Started, StopAsked, Ticked
from chappie.model.invariant import InvariantViolated
from chappie.model.records import Fill, Intent
from chappie.model.units import SECOND_NS
from chappie.venues.bitmex.dialect import BitmexDialect
from tests.core.parts import at, config
from tests.core.rig import TABLES, Rig, execution_row, level, order_row


def trading(**sections: dict[str, Any]) -> Config:
    return config(bot={"allow_trade": True, "id": "test"}, **sections)


def begun(rig: Rig) -> Rig:
    """Everything is synced, reconciled and decided on; a tick lets the policy be asked."""
    rig.start()
    rig.wait(1, rig.quote)
    return rig


def with_order_under_way() -> tuple[Rig, SendOrder]:
    """The switch armed, and one order's answer still out."""
    rig = Rig(trading())
    rig.target = 100
    begun(rig)
    rig.arm()
    (order,) = rig.orders_sent
    return rig, order


def name_of(order: SendOrder) -> str:
    return order.order.value.cl_ord_id


def in_doubt(rig: Rig) -> bool:
    return any(fault.startswith("order_in_doubt") for fault in rig.faults)


# --- the start


@pytest.mark.parametrize("missing", TABLES)
def test_the_policy_is_not_asked_before_every_image(missing: str) -> None:
    rig = Rig(config())
    rig.open()
    rig.welcome()
    for table in TABLES:
        if table != missing:
            rig.image(table)
    rig.wait(3)
    assert not rig.asked_policy
    rig.image(missing)
    rig.wait(1, rig.quote)
    assert rig.asked_policy


@pytest.mark.parametrize("path", ["/apiKey", "/order", "/execution", "/position"])
def test_the_policy_is_not_asked_before_every_read_is_answered(path: str) -> None:
    rig = Rig(config(), silent=(path,))
    begun(rig)
    assert not rig.asked_policy
    rig.silent.clear()
    for late in [command for command in rig.waiting if command.call.path.startswith(path)]:
        rig.no_answer(late)
    rig.wait(3, rig.quote)
    assert rig.asked_policy


def test_no_websocket_is_opened_before_the_terms_are_known() -> None:
    rig = Rig(config(), silent=("/instrument",))
    rig.wait(2)
    assert not [command for command in rig.done if isinstance(command, OpenStream)]
    (late,) = rig.waiting
    rig.silent.clear()
    rig.no_answer(late)
    rig.wait(2)
    assert [command for command in rig.done if isinstance(command, OpenStream)]


def test_a_key_whose_first_reading_was_lost_is_still_found_to_withdraw() -> None:
    rig = Rig(config(), silent=("/apiKey",))
    rig.permissions = ["order", "withdraw"]
    rig.no_answer(rig.asked_for("GET", "/apiKey"))
    rig.silent.clear()
    begun(rig)
    assert rig.stop is not None
    assert rig.stop.reason == "venue_refused"
    assert not rig.asked_policy


def test_the_policy_is_not_asked_while_the_clocks_disagree() -> None:
    rig = Rig(config())
    rig.open()
    rig.welcome(ahead_s=1.5)
    for table in TABLES:
        rig.image(table)
    rig.wait(2, rig.quote)
    assert rig.faults == ["clock_skewed"]
    assert not rig.asked_policy


def test_nothing_is_subscribed_before_the_welcome() -> None:
    rig = Rig(config())
    rig.open()
    assert not [command for command in rig.done if isinstance(command, SendFrame)]
    rig.welcome()
    sent = b"".join(c.payload for c in rig.done if isinstance(c, SendFrame))
    assert all(table.encode() in sent for table in TABLES)


def test_a_second_start_and_an_unknown_answer_are_bugs_of_ours() -> None:
    rig = Rig(config())
    with pytest.raises(InvariantViolated):
        rig.core.step(rig.at, Started(2))
    with pytest.raises(InvariantViolated):
        rig.core.step(rig.at, Answered(4711, 200, {}, b"[]"))


def test_before_the_start_there_is_no_deadline_and_nothing_to_do() -> None:
    core = Core(config(), BitmexDialect("XBTUSD"))
    assert core.next_deadline() is None
    assert core.step(at(1), Ticked()) == []


# --- an order's way


def test_the_switch_stands_by_the_venues_word_before_the_first_order() -> None:
    rig = Rig(trading())
    rig.target = 100
    begun(rig)
    assert not rig.orders_sent
    rig.refuse(rig.asked_for("POST", "/order/cancelAllAfter"), 500, "Server Error")
    assert not rig.orders_sent
    rig.wait(1.5, rig.quote)
    rig.arm()
    assert len(rig.orders_sent) == 1


def test_an_intent_is_kept_before_its_order_is_sent() -> None:
    rig, order = with_order_under_way()
    (place,) = [
        number
        for number, command in enumerate(rig.done)
        if isinstance(command, Keep) and isinstance(command.record, Intent)
    ]
    assert place < rig.done.index(order)


def test_an_order_in_doubt_that_is_found_alive_is_no_fault_any_more() -> None:
    rig, order = with_order_under_way()
    rig.no_answer(order)
    assert in_doubt(rig)
    rig.orders = [order_row(name_of(order), "New")]
    rig.wait(1, rig.quote)
    assert not in_doubt(rig)
    rig.wait(30, rig.quote)
    assert rig.stop is None


@pytest.mark.parametrize("table", ["order", "execution"])
def test_doubt_ends_by_whichever_table_speaks_first(table: str) -> None:
    rig, order = with_order_under_way()
    rig.silent = ["/order"]
    rig.no_answer(order)
    assert in_doubt(rig)
    if table == "order":
        rig.say("order", "insert", order_row(name_of(order), "New"))
    else:
        rig.say("execution", "insert", execution_row("e1", name_of(order)))
    assert not in_doubt(rig)


def test_absence_is_asked_for_again_until_the_fence_has_passed() -> None:
    rig, order = with_order_under_way()
    rig.no_answer(order)
    rig.wait(1, rig.quote)
    assert in_doubt(rig), "it may still arrive"
    rig.wait(4, rig.quote)
    assert not in_doubt(rig)
    queries = rig.calls("GET", "/order?filter=%7B%22clOrdID")
    assert 2 <= len(queries) <= 9, "again and again, but not as fast as it can"
    assert len(rig.orders_sent) == 2, "the next decision's order, once the first is proven dead"


def test_an_order_that_stays_unknown_stops_the_process_at_its_deadline() -> None:
    rig, order = with_order_under_way()
    rig.silent = ["/order?filter=%7B%22clOrdID"]
    rig.no_answer(order)
    for _ in range(20):
        rig.wait(1, rig.quote)
        for query in [c for c in rig.waiting if "clOrdID" in c.call.path]:
            rig.refuse(query, 502, "Bad Gateway")
        rig.orders = []
    assert rig.stop is not None
    assert (rig.stop.reason, rig.stop.known) == ("order_unresolved", False)
    assert len(rig.orders_sent) == 1, "nothing new beside an unknown order"


def test_a_word_that_is_older_than_what_is_known_changes_nothing() -> None:
    rig, order = with_order_under_way()
    name = name_of(order)
    rig.say("order", "insert", order_row(name, "Filled", cum=100))
    rig.answer(order, order_row(name, "New"))
    assert rig.core.desk.account.expected_qty == 100
    known = rig.core.desk.account.blotter.get(name)
    assert known is not None
    assert known.status == "Filled"


def test_filled_without_an_execution_blocks_orders_and_is_fetched_by_rest() -> None:
    rig, order = with_order_under_way()
    name = name_of(order)
    rig.answer(order, order_row(name, "Filled", cum=100))
    rig.position = 100
    rig.target = 200
    rig.switch_works = True
    rig.wait(1.5, rig.quote)
    assert rig.core.desk.account.ledger.qty == 0
    assert len(rig.orders_sent) == 1
    rig.fills = [execution_row("e1", name)]
    rig.wait(3, rig.quote)
    assert rig.core.desk.account.ledger.qty == 100
    assert [line.fields["stream"] for line in rig.said("stream_overdue")] == ["execution"]
    assert rig.faults == ["stream_unsynced:execution"]
    rig.image("execution")
    rig.wait(1, rig.quote)
    assert len(rig.orders_sent) == 2


def test_a_fill_from_stream_and_rest_is_booked_once() -> None:
    rig, order = with_order_under_way()
    name = name_of(order)
    rig.say("execution", "insert", execution_row("e1", name))
    rig.answer(order, order_row(name, "Filled", cum=100))
    rig.fills, rig.position = [execution_row("e1", name)], 100
    rig.wait(25, rig.quote)
    ledger = rig.core.desk.account.ledger
    assert (ledger.qty, ledger.fills) == (100, 1)
    assert rig.stop is None


def test_a_liquidation_is_booked_and_halts_for_good() -> None:
    rig, order = with_order_under_way()
    name = name_of(order)
    rig.say("execution", "insert", execution_row("e1", name))
    rig.answer(order, order_row(name, "Filled", cum=100))
    rig.say("execution", "insert", execution_row("e2", "", side="Sell", kind="Liquidation"))
    assert rig.core.desk.account.expected_qty == 0
    latch = rig.done.index(SetLatch("Liquidation: Sell 100 by the venue"))
    fills = {
        command.record.exec_id: place
        for place, command in enumerate(rig.done)
        if isinstance(command, Keep) and isinstance(command.record, Fill)
    }
    assert fills["e1"] < latch < fills["e2"], "a start that knows of the fill knows of the halt"
    rig.wait(5, rig.quote)
    assert len(rig.orders_sent) == 1, "no new exposure after a liquidation"
    assert rig.stop == Stop("halted", "Liquidation: Sell 100 by the venue", known=True)


def test_a_foreign_order_is_reported_once_and_never_named_in_a_request() -> None:
    rig = Rig(trading())
    begun(rig)
    for _ in range(3):
        rig.say("order", "insert", order_row("by-hand", "New"))
        rig.wait(1, rig.quote)
    assert len(rig.said("foreign_order")) == 1
    rig.deliver(StopAsked("operator", "the test ends"))
    rig.wait(3)
    assert rig.stop is not None
    assert not rig.calls("DELETE")


# --- the market


def test_book_and_quote_that_contradict_each_other_are_both_unsynced() -> None:
    rig = begun(Rig(config()))
    rig.wait(1.9, lambda: rig.quote(bid=59_990.0))
    assert rig.faults == []
    rig.wait(0.7, lambda: rig.quote(bid=59_990.0))
    assert rig.faults == ["stream_unsynced:orderBook", "stream_unsynced:quote"]


def test_a_quiet_market_is_stale_although_book_and_quote_agree() -> None:
    rig = begun(Rig(config()))
    rig.wait(4.5)
    assert rig.faults == []
    rig.wait(1)
    assert "market_stale" in rig.faults
    assert [command for command in rig.done if isinstance(command, CloseStream)]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("orderBookL2", level(99, "Buy", 59_000.0, 100)),
        ("order", {"orderID": "unknown", "ordStatus": "New"}),
    ],
)
def test_an_update_of_an_unknown_row_unsyncs_its_stream(table: str, row: dict[str, Any]) -> None:
    rig = begun(Rig(config()))
    rig.say(table, "update", row)
    (fault,) = rig.faults
    assert fault == f"stream_unsynced:{table.removesuffix('L2')}"
    resubscribed = [c for c in rig.done if isinstance(c, SendFrame)][-1]
    assert table.encode() in resubscribed.payload
    rig.image(table)
    assert rig.faults == []


def test_an_unreadable_frame_closes_the_socket_and_blocks_for_ten_seconds() -> None:
    rig = begun(Rig(config()))
    rig.frame("not an object")
    assert "wire_refused" in rig.faults
    assert [command for command in rig.done if isinstance(command, CloseStream)]
    rig.wait(1)
    rig.start()
    rig.wait(8, rig.quote)
    assert rig.faults == ["wire_refused"]
    rig.wait(2, rig.quote)
    assert rig.faults == []


def test_frames_of_a_closed_connection_are_not_for_us() -> None:
    rig = begun(Rig(config()))
    rig.drop()
    rig.quote(bid=1.0)
    assert rig.core.market.quote is None
    assert "stream_down" in rig.faults


def test_after_a_reconnect_everything_is_reconciled_before_the_next_decision() -> None:
    rig = begun(Rig(config()))
    rig.silent = ["/position"]
    rig.drop()
    rig.wait(1)
    rig.start()
    assert rig.faults == ["unreconciled"]
    before = rig.core.trading.asked
    rig.wait(2, rig.quote)
    assert rig.core.trading.asked == before


def test_soft_stops_three_times_over_stop_the_process() -> None:
    rig = begun(Rig(config(feed={"sync_fault_after_s": 150.0})))
    for _ in range(3):
        rig.wait(5.5)
        rig.wait(5)
        rig.start()
    assert rig.stop is not None
    assert rig.stop.reason == "feed_stale"
    assert len(rig.said("soft_stop")) == 3


def test_a_lost_connection_is_one_line_for_all_its_streams() -> None:
    rig = begun(Rig(config()))
    before = len(rig.done)
    rig.drop()
    assert [name for name in rig.faults if name.startswith("stream_unsynced")]
    rig.wait(1)
    rig.start()
    lines = [c for c in rig.done[before:] if isinstance(c, Log)]
    assert len([one for one in lines if one.fields.get("fault") == "stream_unsynced"]) == 0
    (lost,) = [one for one in lines if one.event == "stream_lost"]
    assert len(lost.fields["lost"]) == len(TABLES)  # type: ignore[arg-type]
    assert len([one for one in lines if one.event == "streams_synced"]) == 1


def test_a_read_that_fails_is_not_said_to_be_a_low_budget() -> None:
    rig = Rig(trading(), silent=("/position",))
    rig.start()
    for _ in range(20):
        for read in [c for c in rig.waiting if c.call.path.startswith("/position")]:
            rig.refuse(read, 502, "Bad Gateway")
        rig.wait(0.5, rig.quote)
    assert not [line for line in rig.said("fault") if line.fields["fault"] == "budget_low"]
    assert "budget_low" not in rig.faults


def test_no_order_relies_on_a_switch_that_a_stray_disarm_may_still_take_away() -> None:
    rig, order = with_order_under_way()
    rig.target = 0
    rig.wait(1, rig.quote)
    rig.answer(order, order_row(name_of(order), "Canceled"))
    for _ in range(60):
        if b'{"timeout":0}' not in [c.body for c in rig.calls("POST")]:
            rig.wait(0.25, rig.quote)
    asked_ns = rig.now_ns
    rig.no_answer(rig.asked_for("POST", "/order/cancelAllAfter"))
    rig.switch_works, rig.target = True, 100
    rig.wait(2, rig.quote)
    assert len(rig.orders_sent) == 1
    rig.wait(3, rig.quote)
    assert len(rig.orders_sent) == 2
    armed = [c for c in rig.done if isinstance(c, SendCall) and b'"timeout":60000' in c.call.body]
    assert len(armed) == 2
    assert rig.now_ns - asked_ns > 3 * SECOND_NS


# --- the end


def test_a_stop_cancels_what_works_disarms_and_then_ends() -> None:
    rig, order = with_order_under_way()
    name = name_of(order)
    rig.answer(order, order_row(name, "New"))
    rig.deliver(StopAsked("operator", "enough"))
    cancel = rig.asked_for("DELETE", "/order")
    assert name.encode() in cancel.call.body
    assert rig.stop is None
    assert rig.waiting == [cancel], "no disarming while an order may work"
    rig.answer(cancel, [order_row(name, "Canceled")])
    disarm = rig.asked_for("POST", "/order/cancelAllAfter")
    assert b'"timeout":0' in disarm.call.body
    rig.answer(disarm, {"now": "2025-11-24T16:00:01.000Z", "cancelTime": 0})
    assert rig.stop is not None
    assert (rig.stop.reason, rig.stop.known) == ("operator", True)


def test_a_stop_does_not_wait_for_ever_and_says_what_it_does_not_know() -> None:
    rig, order = with_order_under_way()
    rig.answer(order, order_row(name_of(order), "New"))
    rig.deliver(StopAsked("operator", "enough"))
    rig.wait(3)
    assert rig.stop is not None
    assert not rig.stop.known


def test_a_fill_that_rest_does_not_show_either_is_no_reason_to_storm_it() -> None:
    rig, order = with_order_under_way()
    rig.switch_works = True
    rig.answer(order, order_row(name_of(order), "Filled", cum=100))
    rig.position = 100
    for _ in range(200):
        rig.now_ns += SECOND_NS // 10
        rig.quote()
    assert 3 <= len(rig.calls("GET", "/execution")) <= 8
    assert len(rig.orders_sent) == 1


# --- a policy that is broken


def test_a_policy_that_raises_has_its_orders_cancelled_and_trades_again_once_it_answers() -> None:
    rig, order = with_order_under_way()
    rig.answer(order, order_row(name_of(order), "New"))
    rig.policy_raises = True
    rig.wait(2, rig.quote)
    assert rig.faults == ["policy_failed"]
    cancel = rig.asked_for("DELETE", "/order")
    rig.answer(cancel, [order_row(name_of(order), "Canceled")])
    rig.wait(5, rig.quote)
    assert len(rig.orders_sent) == 1, "a broken policy's last target is nobody's wish"
    rig.policy_raises = False
    rig.wait(2, rig.quote)
    assert rig.faults == []
    assert len(rig.orders_sent) == 2


def test_a_cancel_whose_answer_is_lost_is_sent_again_while_a_fault_wants_the_order_gone() -> None:
    rig, order = with_order_under_way()
    rig.answer(order, order_row(name_of(order), "New"))
    rig.wait(6.0)
    assert rig.said("soft_stop")
    first = rig.asked_for("DELETE", "/order")
    rig.no_answer(first)
    rig.wait(1.5)
    # Long before the fence of the first, whose fate nobody knows.
    assert len(rig.calls("DELETE", "/order")) == 2
