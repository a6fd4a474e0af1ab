"""The closing order where the venue is played by hand: what no simulated venue does."""

from chappie.core.core import Core
from chappie.model.commands import SendOrder, Stop
from chappie.model.events import HaltAsked
from tests.core.rig import Rig, execution_row, order_row
from tests.core.test_core import name_of, with_order_under_way

FLATTEN = HaltAsked("enough", flatten=True)


def holding() -> Rig:
    """A bot that holds 100 contracts, nothing at work, in a quiet market."""
    rig, order = with_order_under_way()
    rig.switch_works = True
    fill = execution_row("e1", name_of(order))
    rig.fills, rig.position = [fill], 100
    rig.answer(order, order_row(name_of(order), "Filled", cum=100))
    rig.say("execution", "insert", fill)
    rig.say("position", "insert", rig.position_row())
    rig.wait(1, rig.quote)
    assert ledger(rig.core) == 100
    return rig


def ledger(core: Core) -> int:
    return core.desk.account.ledger.qty


def closing_order(rig: Rig) -> SendOrder:
    _, closing = rig.orders_sent
    assert closing.order.value.reduce_only
    return closing


def test_a_closing_order_that_works_on_at_the_venue_is_taken_back_after_a_second() -> None:
    rig = holding()
    rig.deliver(FLATTEN)
    closing = closing_order(rig)
    row = order_row(name_of(closing), "New", side="Sell")
    rig.orders = [row]
    rig.answer(closing, row)
    rig.wait(0.9, rig.quote)
    assert rig.calls("DELETE") == []
    rig.wait(0.5, rig.quote)
    assert len(rig.calls("DELETE")) == 1


def test_no_closing_order_follows_while_the_fate_of_one_is_unknown() -> None:
    rig = holding()
    rig.silent = ["/order?filter=%7B%22clOrdID"]
    rig.deliver(FLATTEN)
    rig.no_answer(closing_order(rig))
    rig.wait(19, rig.quote)
    assert closing_order(rig)
    rig.wait(2, rig.quote)
    assert rig.stop is not None
    assert rig.stop.detail == "enough; not flattened: no time is left; position 100 stays open"
    assert rig.stop.known is False


def test_after_a_closing_order_that_the_venue_refuses_it_reads_what_is_left() -> None:
    rig = holding()
    rig.deliver(FLATTEN)
    first = closing_order(rig)
    rig.wait(0.1)
    # A liquidation took it meanwhile.
    taken = execution_row("e2", "", side="Sell", kind="Liquidation")
    rig.fills, rig.position = [*rig.fills, taken], 0
    rig.refuse(first, 400, "Order had execInst of ReduceOnly and side of Sell but current position")
    rig.say("position", "update", rig.position_row())
    rig.wait(3, rig.quote)
    assert rig.stop == Stop("halted", "enough; flattened, position 0", known=True)
    assert closing_order(rig) is first


def test_beside_another_instance_nothing_is_flattened() -> None:
    rig = holding()
    rig.silent = ["/position"]
    rig.deliver(FLATTEN)
    rig.say("order", "insert", order_row("chp-test-zz-1", "New"))
    rig.wait(4, rig.quote)
    assert rig.stop is not None
    words = "enough; not flattened: another instance of this bot asked for chp-test-zz-1"
    assert rig.stop.detail.startswith(words)
    assert len(rig.orders_sent) == 1
