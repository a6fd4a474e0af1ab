"""What a start makes of what earlier runs kept."""

import msgspec
import pytest

from chappie.core.account import Account
from chappie.core.blotter import Naming
from chappie.core.budget import Budget
from chappie.core.outbox import Outbox
from chappie.core.recovery import Recovered, recover
from chappie.core.requests import Requests
from chappie.model.config import OrdersConfig, RateLimitConfig
from chappie.model.enums import OrdStatus, Side
from chappie.model.records import Adjusted, Ended, Fill, Intent, Kept, Opening
from chappie.model.units import SECOND_NS, Contracts, Minor
from tests.core.parts import NAME, WALL_NS, asked, at, fill

NOW = at(100)
OTHER = "chp-test-1-2"


def recovered(*kept: Kept) -> Recovered:
    requests = Requests(OrdersConfig(), Budget(RateLimitConfig()), Outbox())
    return recover(kept, NOW, requests.fence_of)


def intent(name: str = NAME, *, age_s: float = 0.5, qty: int = 100) -> Intent:
    return Intent(NOW.wall_ns - round(age_s * SECOND_NS), asked(qty=qty, name=name), 1)


def ended(name: str = NAME, status: OrdStatus | None = OrdStatus.FILLED, cum: int = 100) -> Ended:
    return Ended(NOW.wall_ns, name, status, Contracts(cum))


def stamped(one: Fill, wall_ns: int) -> Fill:
    return msgspec.structs.replace(one, venue_ns=wall_ns)


def test_the_ledger_is_rebuilt_and_each_fill_counts_once() -> None:
    found = recovered(intent(), fill("e1"), fill("e1"), fill("e2", Side.SELL), ended())
    ledger = found.ledger
    assert (ledger.qty, ledger.fills, ledger.fees) == (0, 2, 16)
    assert found.orders == []


def test_an_intent_without_its_end_is_in_doubt_at_its_worst_case() -> None:
    (order,) = recovered(intent(qty=300), intent(OTHER), ended(OTHER, cum=0)).orders
    assert order.asked.cl_ord_id == NAME
    assert (order.in_doubt, order.orphan, order.leaves_worst) == (True, True, 300)


def test_an_intent_whose_fills_are_all_there_needs_no_end() -> None:
    assert recovered(intent(), fill("e1")).orders == []
    assert recovered(intent(qty=200), fill("e1")).orders


@pytest.mark.parametrize(
    ("age_s", "fence_s"),
    [
        # Sent at 99.5 s, expires after 2 s, that is at 102 (whole seconds); one for clocks.
        (0.5, 103.0),
        (60.0, 43.0),
        # The wall clock was set back: never later than a request sent now.
        (-60.0, 103.0),
    ],
)
def test_the_fence_is_counted_from_the_intents_wall_time(age_s: float, fence_s: float) -> None:
    (order,) = recovered(intent(age_s=age_s)).orders
    assert order.request is not None
    assert order.request.fence_ns == fence_s * SECOND_NS


def test_an_order_that_lived_again_after_its_end_is_in_doubt_again() -> None:
    (order,) = recovered(intent(), ended(cum=0, status=None), intent()).orders
    assert order.in_doubt
    assert recovered(intent(), ended(cum=0, status=None), intent(), ended(cum=0)).orders == []


def test_an_end_whose_fills_are_not_all_kept_leaves_them_missing() -> None:
    (order,) = recovered(intent(qty=300), fill("e1"), ended(cum=300)).orders
    assert (order.is_live, order.cum_qty) == (False, 300)


def test_fills_are_read_again_since_the_oldest_order_that_is_not_done_with() -> None:
    opening = Opening(WALL_NS, Contracts(0), Minor(0))
    late = stamped(fill("e1"), NOW.wall_ns)
    assert recovered().whole_until_ns is None
    assert recovered(opening).whole_until_ns == WALL_NS
    assert recovered(opening, intent(), late, ended()).whole_until_ns == NOW.wall_ns
    old = intent(OTHER, age_s=50)
    assert recovered(opening, old, intent(), late, ended()).whole_until_ns == old.wall_ns


def account_of(*kept: Kept) -> Account:
    ours = Account()
    ours.naming = Naming("test", 7)
    ours.take_over(recovered(*kept))
    return ours


ADJUSTED = Adjusted(WALL_NS, Contracts(300), "moved by hand")


def test_a_ledger_goes_on_from_the_position_that_the_operator_accepted() -> None:
    found = recovered(
        intent(), fill("e1"), ended(), ADJUSTED, intent(OTHER), fill("e2", name=OTHER)
    )
    assert found.ledger.qty == 400
    assert found.orders == []


def test_what_was_asked_for_before_an_adjustment_is_done_with() -> None:
    assert recovered(intent(), ADJUSTED).orders == []
    assert recovered(ADJUSTED, intent()).orders


@pytest.mark.parametrize("start", [ADJUSTED, Opening(WALL_NS, Contracts(0), Minor(0))])
def test_an_execution_from_before_the_ledger_began_is_in_its_first_position(start: Kept) -> None:
    ours = account_of(intent(NAME), start, intent(OTHER))
    before, after = WALL_NS - SECOND_NS, WALL_NS + SECOND_NS
    late_name = "chp-test-1-9"
    assert ours.predates(stamped(fill("e1", name=late_name), before))
    assert not ours.predates(stamped(fill("e2", name=late_name), after))
    assert not ours.predates(stamped(fill("e3", name=OTHER), before)), "asked for since"
    assert not ours.predates(stamped(fill("e4", name="chp-test-7-1"), before)), "clocks differ"
    assert not ours.predates(stamped(fill("e5", name=late_name), 0)), "no time says nothing"
    assert ours.predates(stamped(fill("e6", name="", kind="Liquidation"), before))


def test_fills_are_read_since_an_adjustment() -> None:
    late = stamped(fill("e1"), WALL_NS - SECOND_NS)
    assert recovered(intent(), late, ended(), ADJUSTED).whole_until_ns == WALL_NS
