"""Orders, fills and the position that follows: also when the world moves without us."""

import pytest

from chappie.core.account import Account
from chappie.core.blotter import Naming
from chappie.core.orders import absent, doubted
from chappie.core.position import PositionState
from chappie.model.enums import OrdStatus, Side
from chappie.model.invariant import InvariantViolated
from chappie.model.reports import OrderSaid
from tests.core.parts import NAME, asked, fill, said, sent

S, P = OrdStatus, PositionState


def account(*, held: int = 0) -> Account:
    """An account that was reconciled, perhaps with a position from fills of this bot."""
    made = Account()
    made.naming = Naming("test", 1)
    if held:
        made.book(
            fill("e0", Side.BUY if held > 0 else Side.SELL, abs(held), name="chp-test-0-1"), 0
        )
    made.begin()
    return made


def hear(ours: Account, row: OrderSaid, now_ns: int) -> None:
    order = ours.blotter.find(row)
    assert order is not None
    ours.hear(order, row, now_ns)


def state(of: Account) -> tuple[PositionState | None, int]:
    return of.machine.state, of.expected_qty


def test_an_order_opens_and_its_execution_makes_it_open() -> None:
    ours = account()
    ours.put(sent(asked()), 1)
    assert state(ours) == (P.OPENING, 0)
    ours.book(fill("e1"), 2)
    assert state(ours) == (P.OPEN, 100)


@pytest.mark.parametrize("order_table_first", [True, False])
def test_tables_may_come_in_any_order_and_the_expected_position_is_the_same(
    order_table_first: bool,
) -> None:
    ours = account()
    ours.put(sent(asked()), 1)
    if order_table_first:
        hear(ours, said(S.FILLED, 100), 2)
        assert state(ours) == (P.OPEN, 100)
        assert ours.fills_missing
        ours.book(fill("e1"), 3)
    else:
        ours.book(fill("e1"), 2)
        hear(ours, said(S.FILLED, 100), 3)
    assert state(ours) == (P.OPEN, 100)
    assert not ours.fills_missing
    assert ours.ledger.qty == 100


def test_a_liquidation_closes_the_position_without_an_order_of_ours() -> None:
    ours = account(held=100)
    assert ours.owns(fill("e1", Side.SELL, name="", kind="Liquidation"))
    ours.book(fill("e1", Side.SELL, name="", kind="Liquidation"), 5)
    assert state(ours) == (P.CLOSED, 0)


def test_a_late_fill_of_an_older_run_opens_a_position() -> None:
    ours = account()
    late = fill("e1", name="chp-test-0-7")
    assert ours.owns(late)
    ours.book(late, 5)
    assert state(ours) == (P.OPEN, 100)


def test_an_order_taken_for_dead_may_turn_out_filled() -> None:
    ours = account()
    ours.put(doubted(sent(asked(), fence_ns=10)), 1)
    order = ours.blotter.get(NAME)
    assert order is not None
    ours.put(absent(absent(order, 20, 30), 30, 31), 31)
    assert state(ours) == (P.CLOSED, 0)
    hear(ours, said(S.FILLED, 100), 40)
    assert state(ours) == (P.OPEN, 100)


def test_a_cancelled_order_that_had_filled_before_counts_what_filled() -> None:
    ours = account()
    ours.put(sent(asked(qty=300)), 1)
    hear(ours, said(S.CANCELED), 2)
    assert state(ours) == (P.CLOSED, 0)
    hear(ours, said(S.PARTIALLY_FILLED, 100), 3)
    assert state(ours) == (P.OPEN, 100)


def test_a_step_of_our_own_that_cannot_be_is_still_a_violation() -> None:
    ours = account(held=100)
    ours.put(sent(asked()), 1)
    assert state(ours) == (P.OPENING, 100)
    with pytest.raises(InvariantViolated, match="from opening to closing"):
        ours.put(sent(asked(Side.SELL, name="chp-test-1-2")), 2)


def test_a_fill_of_a_foreign_order_is_not_ours() -> None:
    assert not account().owns(fill("e1", name="somebody"))
    assert not account().owns(fill("e1", name=""))
    assert not account().owns(fill("e1", name="chp-testing-1-1")), "another bot's name"


def test_unknown_orders_count_at_their_worst_on_their_side() -> None:
    ours = account()
    ours.put(doubted(sent(asked(qty=300))), 1)
    assert (ours.working(Side.BUY), ours.working(Side.SELL)) == (300, 0)


def test_idle_means_verified_after_the_last_order_ended() -> None:
    ours = account()
    ours.put(sent(asked()), 1)
    hear(ours, said(S.CANCELED), 50)
    for verified_ns, idle in ((None, False), (50, False), (51, True)):
        ours.none_working_ns = verified_ns
        assert ours.idle_since(10) is idle
    assert not ours.idle_since(51)


def test_a_repeated_word_about_an_ended_order_is_no_new_end() -> None:
    ours = account()
    ours.put(sent(asked()), 1)
    hear(ours, said(S.CANCELED), 50)
    ours.none_working_ns = 60
    hear(ours, said(S.CANCELED), 70)
    assert ours.idle_since(10)


def test_names_tell_this_run_an_older_one_and_strangers_apart() -> None:
    run = Naming("test", 40)
    names = [run.next() for _ in range(40)]
    assert len(set(names)) == 40
    assert all(run.is_ours(name) and run.is_of_this_run(name) for name in names)
    older = Naming("test", 4).next()
    assert run.is_ours(older)
    assert not run.is_of_this_run(older)
    for foreign in (None, "", "mm_bitmex_1a", Naming("tes", 40).next(), Naming("test2", 1).next()):
        assert not run.is_ours(foreign)
    assert len(Naming("a" * 12, 2**40).next()) <= 36


def test_a_newer_epoch_or_a_number_never_given_out_is_another_instances() -> None:
    run = Naming("test", 40)
    own = run.next()
    assert not run.is_of_another_instance(own)
    assert not run.is_of_another_instance(Naming("test", 4).next())
    assert run.is_of_another_instance(Naming("test", 41).next())
    twin = Naming("test", 40)
    twin.next()
    assert run.is_of_another_instance(twin.next()), "two starts at the same moment"
    for odd in ("chp-test-", "chp-test-zz", "chp-test-zz-", "chp-test-z!-1", "chp-test-ZZ-1"):
        assert not run.is_of_another_instance(odd), "nobody's name: an orphan at most"
