"""Rounds of reads: when they come, what they prove, and what a read that lies can not do."""

from typing import Any

import pytest

from chappie.model.commands import Keep, SendCall, SendOrder
from chappie.model.config import Config
from chappie.model.events import StopAsked
from chappie.model.records import Opening
from chappie.model.units import SECOND_NS
from tests.core.parts import config
from tests.core.rig import Rig, execution_row, order_row

OPEN = "/order?filter=%7B%22open"


def trading(**sections: dict[str, Any]) -> Config:
    return config(bot={"allow_trade": True, "id": "test"}, **sections)


def started(rig: Rig, target: int = 0) -> Rig:
    rig.target, rig.switch_works = target, True
    rig.start()
    return rig


def with_order_out() -> tuple[Rig, SendOrder]:
    """A rig whose one order is not answered yet."""
    rig = started(Rig(trading()), 100)
    rig.wait(1, rig.quote)
    (order,) = rig.orders_sent
    return rig, order


def named(order: SendOrder) -> str:
    return order.order.value.cl_ord_id


def rounds(rig: Rig) -> int:
    return len(rig.calls("GET", "/position"))


def held_back(rig: Rig, path: str) -> SendCall | SendOrder:
    """The newest read of a path that waits for the test's answer; older ones serve no round."""
    return [c for c in rig.waiting if c.call.path.startswith(path)][-1]


def is_clean(rig: Rig) -> bool:
    return bool(rig.core.reconciler.last_was_clean)


# --- the start


def test_a_start_reconciles_twice_and_waits_for_nothing_in_between() -> None:
    rig = Rig(config())
    rig.start()
    assert rounds(rig) == 2
    assert rig.core.reconciler.ever_clean
    assert rig.now_ns == SECOND_NS


def test_a_first_list_that_lies_once_makes_nothing_clean() -> None:
    rig = Rig(trading(), silent=(OPEN,))
    rig.start()
    first = held_back(rig, OPEN)
    rig.silent.clear()
    rig.orders = [order_row("chp-test-0-1", "New")]
    rig.answer(first, [])
    assert not rig.core.reconciler.ever_clean, "the second list shows another truth"
    rig.wait(1, rig.quote)
    assert "leftover_orders" in rig.faults
    assert not rig.asked_policy


@pytest.mark.parametrize("lies", [["position"], ["position", "position"]])
def test_a_position_read_that_lies_at_the_start_is_no_fault_until_it_says_so_twice(
    lies: list[str],
) -> None:
    rig = Rig(config(), silent=("/position",))
    rig.start()
    for _ in lies:
        row = rig.position_row() | {"currentQty": 300}
        rig.answer(held_back(rig, "/position"), [row])
        if len(lies) == 1:
            assert "position_disagrees" not in rig.faults
        rig.wait(1.1, rig.quote)
    assert ("position_disagrees" in rig.faults) is (len(lies) == 2)
    assert not rig.asked_policy
    rig.silent.clear()
    rig.answer(held_back(rig, "/position"), [rig.position_row()])
    rig.wait(8, rig.quote)
    assert rig.faults == []
    assert rig.asked_policy


def test_the_ledger_opens_only_at_what_was_read_twice() -> None:
    rig = Rig(config(), silent=("/position",))
    rig.start()
    rig.answer(held_back(rig, "/position"), [rig.position_row()])
    assert not [c for c in rig.done if isinstance(c, Keep) and isinstance(c.record, Opening)]
    rig.answer(held_back(rig, "/position"), [rig.position_row()])
    assert [c for c in rig.done if isinstance(c, Keep) and isinstance(c.record, Opening)]


def test_a_reconnect_reconciles_at_once_and_does_not_wait_for_the_pause() -> None:
    rig = started(Rig(config()))
    rig.wait(3, rig.quote)
    rig.drop()
    rig.wait(0.5)
    rig.start()
    assert rig.faults == []
    assert is_clean(rig)


# --- a bot that trades all the time


def test_a_fill_while_the_reads_are_out_is_no_contradiction() -> None:
    rig, order = with_order_out()
    rig.answer(order, order_row(named(order), "New"))
    rig.silent = ["/position"]
    rig.wait(10, rig.quote)
    read = held_back(rig, "/position")
    rig.silent.clear()
    rig.say("execution", "insert", execution_row("e1", named(order)))
    # The venue answered the read before it executed the order.
    rig.answer(read, [rig.position_row() | {"currentQty": 0}])
    assert rig.core.desk.account.expected_qty == 100
    assert is_clean(rig)
    assert rig.faults == []


def test_a_position_that_the_ledger_never_explained_is_not_clean() -> None:
    rig, order = with_order_out()
    rig.answer(order, order_row(named(order), "New"))
    rig.silent = ["/position"]
    rig.wait(10, rig.quote)
    read = held_back(rig, "/position")
    rig.say("execution", "insert", execution_row("e1", named(order)))
    rig.answer(read, [rig.position_row() | {"currentQty": 200}])
    assert not is_clean(rig)


def test_a_fill_whose_execution_is_on_its_way_does_not_spoil_a_round() -> None:
    rig, order = with_order_out()
    rig.answer(order, order_row(named(order), "New"))
    rig.silent = ["/position"]
    rig.wait(10, rig.quote)
    read = held_back(rig, "/position")
    rig.say("position", "insert", rig.position_row())
    rig.say("order", "insert", order_row(named(order), "Filled", cum=100))
    rig.answer(read, [rig.position_row() | {"currentQty": 100}])
    assert is_clean(rig)
    rig.silent, rig.position = [], 100
    rig.wait(2.4, rig.quote)
    assert rounds(rig) > 3, "past the grace REST is asked for it"
    assert not is_clean(rig), "missing since before the round"


# --- the last words


def test_an_operators_stop_reads_the_fills_that_the_stream_did_not_show() -> None:
    rig, order = with_order_out()
    rig.answer(order, order_row(named(order), "Filled", cum=100))
    rig.fills, rig.position = [execution_row("e1", named(order))], 100
    assert rig.core.desk.account.fills_missing
    rig.deliver(StopAsked("operator", "enough"))
    assert rig.core.desk.account.ledger.qty == 100
    assert rig.stop is not None
    assert rig.stop.known


def test_a_stop_reads_the_account_after_its_own_cancel_and_before_it_disarms() -> None:
    rig, order = with_order_out()
    rig.answer(order, order_row(named(order), "New"))
    rig.orders = [order_row(named(order), "New")]
    rig.wait(12, rig.quote)
    before = rounds(rig)
    rig.deliver(StopAsked("operator", "enough"))
    rig.silent = ["/position"]
    # It filled before the cancel came; neither table says so any more.
    rig.orders = [order_row(named(order), "Canceled", qty=100, cum=0)]
    rig.answer(rig.asked_for("DELETE", "/order"), rig.orders)
    assert rounds(rig) == before + 1
    assert b'{"timeout":0}' not in [c.body for c in rig.calls("POST")], "zero is not verified yet"
    assert rig.stop is None
    rig.answer(held_back(rig, "/position"), [rig.position_row()])
    assert rig.stop is not None
    assert (rig.stop.reason, rig.stop.known) == ("operator", True)
    assert rig.calls("POST")[-1].body == b'{"timeout":0}'


def test_nothing_read_before_a_disconnect_makes_the_account_known_after_it() -> None:
    rig = started(Rig(config()))
    rig.wait(3, rig.quote)
    assert is_clean(rig)
    rig.silent = ["/position"]
    rig.drop()
    rig.deliver(StopAsked("operator", "enough"))
    assert rig.stop is None
    rig.wait(3.1)
    assert rig.stop is not None
    assert not rig.stop.known


def test_without_its_streams_a_bot_reads_once_more_before_it_calls_the_account_known() -> None:
    rig = started(Rig(config()))
    rig.wait(3, rig.quote)
    rig.drop()
    rig.wait(0.2)
    assert is_clean(rig)
    before = rounds(rig)
    rig.deliver(StopAsked("operator", "enough"))
    assert rig.stop is not None
    assert (rig.stop.known, rounds(rig)) == (True, before + 1)


def test_an_idle_bot_that_was_just_read_ends_at_once() -> None:
    rig = started(Rig(config()))
    rig.wait(3, rig.quote)
    before = rounds(rig)
    rig.deliver(StopAsked("operator", "enough"))
    assert rig.stop is not None
    assert (rig.stop.known, rounds(rig)) == (True, before)


def test_a_stop_before_anything_was_reconciled_does_not_wait_to_read() -> None:
    rig = Rig(config(), silent=("/position",))
    rig.deliver(StopAsked("operator", "enough"))
    assert rig.stop is not None
    assert not rig.stop.known


# --- a stream that lacks something


def holding() -> tuple[Rig, dict[str, Any]]:
    """100 contracts, known to fills and REST; the row that the position table showed is older."""
    rig, order = with_order_out()
    rig.say("position", "insert", rig.position_row())
    rig.answer(order, order_row(named(order), "Filled", cum=100))
    rig.fills, rig.position = [execution_row("e1", named(order))], 100
    rig.say("execution", "insert", rig.fills[0])
    return rig, rig.position_row()


def test_a_lost_position_message_alone_costs_a_new_image_of_that_table() -> None:
    rig, row = holding()
    rig.wait(2.9, rig.quote)
    assert "stream_unsynced:position" in rig.faults
    assert rig.said("stream_overdue")
    rig.frame({"table": "position", "action": "partial", "keys": ["account", "symbol"],
               "data": [row]})  # fmt: skip
    rig.wait(3, rig.quote)
    assert rig.faults == []
    rig.wait(70, rig.quote)
    assert rig.stop is None
    assert len(rig.said("stream_overdue")) == 1


def test_a_position_table_that_goes_on_contradicting_stops_the_process() -> None:
    rig, row = holding()
    wrong = {"table": "position", "action": "partial", "keys": ["account", "symbol"],
             "data": [row | {"currentQty": 0}]}  # fmt: skip

    contradicted = []

    def again() -> None:
        rig.quote()
        if rig.faults == ["stream_unsynced:position"]:
            # Fills and REST agree once more; the image does not.
            rig.frame(wrong)
            contradicted.append(rig.now_ns)
            assert "position_disagrees" in rig.faults, "the second time there is no grace"

    rig.wait(75, again)
    assert rig.stop is not None
    assert rig.stop.reason == "position_mismatch"
    assert len(contradicted) > 2
    assert len(rig.orders_sent) == 1


def test_the_ledger_alone_against_both_others_is_no_matter_of_a_stream() -> None:
    rig = started(Rig(trading()))
    rig.wait(1, rig.quote)
    rig.position = 100
    rig.say("position", "insert", rig.position_row())
    rig.wait(12, rig.quote)
    assert rig.faults == ["position_disagrees"]
    assert not rig.said("stream_overdue")


def test_what_never_left_is_no_refusal_of_the_venue() -> None:
    rig, order = with_order_out()
    rig.no_answer(order, sent=False)
    (line,) = rig.said("order_refused")
    assert line.fields["detail"] == "no answer"
    assert not rig.core.desk.account.blotter.live()
