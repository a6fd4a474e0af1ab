"""A start after a run that died, and orders that work although nobody wants them any more."""

from typing import Any

import pytest

from chappie.model.commands import Keep, SendOrder
from chappie.model.config import Config
from chappie.model.enums import OrdStatus
from chappie.model.events import StopAsked
from chappie.model.records import Adjusted, Ended, Intent, Kept
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, Contracts
from tests.core.parts import WALL_NS, asked, config
from tests.core.rig import Rig, execution_row, order_row

OLD = "chp-test-1-1"
BY_NAME = "/order?filter=%7B%22clOrdID"
# Half a second before the rig's first moment: it expires at 3 s, its fence is at 4 s.
INTENT = Intent(WALL_NS + SECOND_NS // 2, asked(name=OLD), 1)


def trading(**sections: dict[str, Any]) -> Config:
    return config(bot={"allow_trade": True, "id": "test"}, **sections)


def restarted(*kept: Kept, silent: tuple[str, ...] = ()) -> Rig:
    """The next run after one that died, wanting to buy, the switch granted."""
    rig = Rig(trading(), kept=kept, epoch=2, silent=silent)
    rig.target = 100
    rig.switch_works = True
    rig.start()
    return rig


def kept_by(rig: Rig) -> tuple[Kept, ...]:
    return tuple(command.record for command in rig.done if isinstance(command, Keep))


def ends(rig: Rig) -> list[tuple[str, OrdStatus | None, int]]:
    return [(r.cl_ord_id, r.ord_status, r.cum_qty) for r in kept_by(rig) if isinstance(r, Ended)]


def named(command: SendOrder) -> str:
    return command.order.value.cl_ord_id


# --- the boot fence


def test_nothing_is_sent_while_a_request_of_the_dead_run_may_still_arrive() -> None:
    rig = restarted(INTENT)
    rig.wait(2.9, rig.quote)
    assert rig.now_ns < 4 * SECOND_NS
    assert f"order_in_doubt:{OLD}" in rig.faults
    assert not rig.orders_sent
    rig.wait(2.5, rig.quote)
    assert ends(rig)[0] == (OLD, None, 0)
    assert len(rig.orders_sent) == 1
    assert named(rig.orders_sent[0]).startswith("chp-test-2-")


def test_an_order_of_the_dead_run_counts_at_its_worst_case() -> None:
    rig = restarted(INTENT)
    (order,) = rig.core.desk.account.blotter.live()
    assert order.leaves_worst == 100
    assert (order.status, order.in_doubt) == ("Unknown", True)


def test_one_that_arrives_late_is_cancelled_by_its_order_id_before_any_new_order() -> None:
    rig = restarted(INTENT)
    rig.wait(1.5, rig.quote)
    rig.orders = [order_row(OLD, "New")]
    rig.wait(1, rig.quote)
    cancel = rig.asked_for("DELETE", "/order")
    assert cancel.call.body == b'{"orderID":["venue-chp-test-1-1"]}'
    assert "leftover_orders" in rig.faults
    assert not rig.orders_sent
    rig.orders = [order_row(OLD, "Canceled")]
    rig.answer(cancel, rig.orders)
    rig.wait(4, rig.quote)
    assert ends(rig)[0] == (OLD, OrdStatus.CANCELED, 0)
    assert len(rig.orders_sent) == 1


def test_one_that_was_filled_meanwhile_is_booked_and_done_with() -> None:
    rig = Rig(trading(), kept=(INTENT,), epoch=2)
    rig.orders = [order_row(OLD, "Filled", cum=100)]
    rig.fills, rig.position = [execution_row("e1", OLD)], 100
    rig.target = 100
    rig.start()
    rig.wait(3, rig.quote)
    account = rig.core.desk.account
    assert (account.ledger.qty, account.in_doubt) == (100, [])
    assert ends(rig) == [(OLD, OrdStatus.FILLED, 100)]
    assert not rig.orders_sent, "the target is reached"


def test_the_doubt_of_the_dead_run_stops_the_next_one_too() -> None:
    rig = restarted(INTENT, silent=(BY_NAME,))
    for _ in range(40):
        for query in [c for c in rig.waiting if c.call.path.startswith(BY_NAME)]:
            rig.refuse(query, 502, "Bad Gateway")
        rig.wait(0.5, rig.quote)
    assert rig.stop is not None
    assert (rig.stop.reason, rig.stop.known) == ("order_unresolved", False)
    assert not rig.orders_sent
    again = restarted(INTENT, *kept_by(rig), silent=(BY_NAME,))
    assert f"order_in_doubt:{OLD}" in again.faults


def test_after_a_clean_end_a_start_waits_for_nothing_and_asks_for_nothing() -> None:
    rig = Rig(trading(), epoch=1)
    rig.target, rig.switch_works = 100, True
    rig.start()
    rig.wait(2, rig.quote)
    (order,) = rig.orders_sent
    row = order_row(named(order), "Filled", cum=100)
    rig.fills, rig.position = [execution_row("e1", named(order))], 100
    rig.say("execution", "insert", rig.fills[0])
    rig.answer(order, row)
    rig.deliver(StopAsked("operator", "enough"))
    rig.wait(1)
    assert rig.stop is not None
    assert ends(rig) == [(named(order), OrdStatus.FILLED, 100)]
    again = Rig(trading(), kept=kept_by(rig), epoch=2)
    again.fills, again.position, again.target = rig.fills, 100, 200
    again.switch_works = True
    again.start()
    again.wait(1.5, again.quote)
    assert not again.calls("GET", BY_NAME)
    assert len(again.orders_sent) == 1


def test_a_refused_order_and_one_that_never_left_are_proven_over_too() -> None:
    rig = restarted()
    rig.wait(2, rig.quote)
    (order,) = rig.orders_sent
    rig.refuse(order, 400, "Invalid orderQty")
    rig.wait(2, rig.quote)
    other = rig.orders_sent[1]
    rig.no_answer(other, sent=False)
    assert ends(rig) == [(named(order), None, 0), (named(other), None, 0)]


# --- the switch that the dead run may have left


def test_the_dead_runs_switch_is_disarmed_once_nothing_of_it_can_arrive_any_more() -> None:
    rig = Rig(trading(), kept=(INTENT,), epoch=2)
    rig.switch_works = True
    rig.start()
    rig.wait(2.9, rig.quote)
    assert not rig.calls("POST", "/order/cancelAllAfter")
    rig.wait(15, rig.quote)
    assert [c.body for c in rig.calls("POST", "/order/cancelAllAfter")] == [b'{"timeout":0}']


# --- orders that work although nobody wants them


def with_order_filled() -> tuple[Rig, str]:
    rig = restarted()
    rig.wait(2, rig.quote)
    (order,) = rig.orders_sent
    name = named(order)
    rig.orders = [order_row(name, "Filled", cum=100)]
    rig.fills, rig.position = [execution_row("e1", name)], 100
    rig.say("execution", "insert", rig.fills[0])
    rig.answer(order, rig.orders[0])
    rig.wait(2, rig.quote)
    assert rig.faults == []
    return rig, name


def test_an_ended_order_that_was_amended_up_by_hand_is_found_and_cancelled() -> None:
    rig, name = with_order_filled()
    rig.orders = [order_row(name, "PartiallyFilled", qty=300, cum=100)]
    rig.wait(12, rig.quote)
    assert rig.core.reconciler.last_was_clean is False
    assert "leftover_orders" in rig.faults
    cancel = rig.asked_for("DELETE", "/order")
    assert cancel.call.body == b'{"orderID":["venue-' + name.encode() + b'"]}'
    assert rig.core.desk.account.blotter.live()[0].leaves_worst == 200
    assert isinstance(kept_by(rig)[-1], Intent), "a crash now must find it in doubt"
    rig.orders = [order_row(name, "Canceled", qty=300, cum=100)]
    rig.answer(cancel, rig.orders)
    rig.wait(12, rig.quote)
    assert rig.faults == []
    assert rig.core.desk.account.expected_qty == 100
    assert ends(rig)[-1] == (name, OrdStatus.CANCELED, 100)


def test_a_list_asked_for_before_the_end_was_known_says_nothing_against_it() -> None:
    rig, _ = with_order_filled()
    rig.target, rig.silent = 200, ["/order?filter=%7B%22open"]
    rig.wait(2, rig.quote)
    order = rig.orders_sent[-1]
    rig.answer(order, order_row(named(order), "New"))
    rig.wait(10, rig.quote)
    (listing,) = [c for c in rig.waiting if c.call.path.startswith(rig.silent[0])]
    rig.say("order", "insert", order_row(named(order), "Canceled"))
    rig.answer(listing, [order_row(named(order), "New")])
    assert not rig.said("order_lives_again")
    assert "leftover_orders" not in rig.faults


def test_a_stale_list_that_shows_an_ended_order_costs_a_cancel_and_nothing_more() -> None:
    rig, name = with_order_filled()
    filled = rig.orders
    rig.orders = [order_row(name, "New")]
    rig.wait(10, rig.quote)
    rig.orders = filled
    cancel = rig.asked_for("DELETE", "/order")
    rig.answer(cancel, [{"orderID": f"venue-{name}", "clOrdID": name, "error": "Unable to cancel"}])
    rig.wait(3, rig.quote)
    assert rig.faults == []
    assert rig.core.desk.account.expected_qty == 100
    assert rig.core.desk.account.ledger.qty == 100


def test_an_order_accepted_after_it_was_proven_absent_is_cancelled_and_counted() -> None:
    rig = restarted()
    rig.wait(2, rig.quote)
    (order,) = rig.orders_sent
    rig.target = 0
    rig.no_answer(order)
    rig.wait(6, rig.quote)
    assert ends(rig) == [(named(order), None, 0)]
    rig.say("order", "insert", order_row(named(order), "New"))
    assert "leftover_orders" in rig.faults
    assert rig.core.desk.account.blotter.live()[0].leaves_worst == 100
    cancel = rig.asked_for("DELETE", "/order")
    assert b"orderID" in cancel.call.body


@pytest.mark.parametrize("held", [0, 100])
def test_what_the_venue_does_not_know_is_cleared_only_when_flat_and_missing_again_and_again(
    held: int,
) -> None:
    rig = restarted()
    rig.wait(2, rig.quote)
    (order,) = rig.orders_sent
    name = named(order)
    rig.orders = [order_row(name, "PartiallyFilled" if held else "New", cum=held, qty=200)]
    rig.answer(order, rig.orders[0])
    if held:
        rig.fills, rig.position = [execution_row("e1", name)], held
        rig.say("execution", "insert", rig.fills[0])
    rig.wait(2, rig.quote)
    rig.orders = []
    rig.wait(9, rig.quote)
    assert len(rig.core.desk.account.blotter.live()) == 1, "missing once proves nothing"
    rig.wait(15, rig.quote)
    live = [o.asked.cl_ord_id for o in rig.core.desk.account.blotter.live()]
    assert (name in live) is bool(held)
    assert bool(rig.said("order_vanished")) is not bool(held)


# --- another instance


NEWER = "chp-test-3-1"


@pytest.mark.parametrize("seen_by", ["stream", "rest", "execution", "history"])
def test_an_order_of_a_newer_epoch_stops_this_process_and_is_left_alone(seen_by: str) -> None:
    rig = restarted()
    rig.wait(2, rig.quote)
    (order,) = rig.orders_sent
    own = order_row(named(order), "New")
    rig.orders = [own]
    rig.answer(order, own)
    if seen_by == "stream":
        rig.say("order", "insert", order_row(NEWER, "New"))
    elif seen_by == "execution":
        rig.say("execution", "insert", execution_row("e9", NEWER))
    elif seen_by == "rest":
        rig.orders = [own, order_row(NEWER, "New")]
    else:
        rig.fills = [execution_row("e9", NEWER)]
    while not rig.calls("DELETE") and rig.now_ns < 20 * SECOND_NS:
        rig.wait(0.25, rig.quote)
    cancel = rig.asked_for("DELETE", "/order")
    assert named(order).encode() in cancel.call.body
    assert NEWER.encode() not in cancel.call.body
    rig.answer(cancel, [order_row(named(order), "Canceled")])
    assert rig.stop is not None
    assert (rig.stop.reason, rig.stop.known) == ("not_alone", False)
    assert NEWER in rig.stop.detail
    assert len(rig.orders_sent) == 1
    assert b'{"timeout":0}' not in [c.body for c in rig.calls("POST")], "the switch is its own now"


def test_an_order_of_our_name_that_is_not_what_we_asked_for_is_a_twins() -> None:
    rig = restarted()
    rig.wait(2, rig.quote)
    (order,) = rig.orders_sent
    rig.refuse(order, 400, "Duplicate clOrdID")
    rig.orders = [order_row(named(order), "New", side="Sell")]
    rig.wait(4, rig.quote)
    assert rig.stop is not None
    assert rig.stop.reason == "not_alone"
    assert len(rig.orders_sent) == 1


def test_a_start_beside_an_instance_of_a_newer_epoch_sends_nothing() -> None:
    rig = Rig(trading(), epoch=2)
    rig.orders = [order_row(NEWER, "New")]
    rig.target = 100
    rig.start()
    rig.wait(5, rig.quote)
    assert rig.stop is not None
    assert rig.stop.reason == "not_alone"
    assert not rig.calls("DELETE")
    assert not rig.calls("POST")


# --- an adjusted ledger


def test_a_start_after_an_adjustment_trades_on_from_the_accepted_position() -> None:
    accepted = Adjusted(WALL_NS + SECOND_NS // 2, Contracts(300), "resume --accept-position 300")
    rig = Rig(trading(), kept=(accepted,), epoch=2)
    rig.position, rig.target, rig.switch_works = 300, 400, True
    # An execution of before, by an order whose intent nobody kept: it is in the 300 already.
    rig.fills = [execution_row("e0", OLD) | {"transactTime": ns_iso(WALL_NS)}]
    rig.start()
    rig.wait(2, rig.quote)
    assert rig.faults == []
    assert rig.core.desk.account.ledger.qty == 300
    (order,) = rig.orders_sent
    assert order.order.value.qty == 100


def test_every_orphan_is_told_once_however_late_it_is_found() -> None:
    rig = restarted()
    rig.wait(1, rig.quote)
    for name in (OLD, "chp-test-1-2", OLD):
        rig.say("order", "insert", order_row(name, "New"))
    told = [line.fields["orderID"] for line in rig.said("leftover_orders")]
    assert told == [[f"venue-{OLD}"], ["venue-chp-test-1-2"]]
