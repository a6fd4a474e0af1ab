"""Requests under way: numbers, expiry, fence, and the purpose that an answer finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.budget import Budget
from chappie.core.gate import examine
from chappie.core.requests import ForCancel, ForNew, ForRead, Requests
from chappie.model.commands import HttpCall, SendCall, SendOrder
from chappie.model.config import OrdersConfig, RateLimitConfig
from chappie.model.enums import Lane
from chappie.model.orders import Approved
from chappie.model.reports import Read
from chappie.model.units import SECOND_NS, At
from tests.core.parts import NAME, WALL_NS, asked, at, outbox
from tests.core.test_gate import GOOD

CALL = HttpCall("GET", "/order")


def requests() -> tuple[Requests, Budget]:
    budget = Budget(RateLimitConfig())
    return Requests(OrdersConfig(), budget, outbox()), budget


@given(st.integers(0, 3 * SECOND_NS), st.integers(1, 5000))
def test_a_request_expires_late_enough_and_its_fence_lies_behind_any_arrival(
    into_ns: int, expires_ms: int
) -> None:
    box = outbox()
    config = OrdersConfig(expires_after_s=expires_ms / 1000)
    made = Requests(config, Budget(RateLimitConfig()), box)
    now = At(7 * SECOND_NS + into_ns, WALL_NS + into_ns)
    made.call(now, Lane.CANCEL, CALL, ForCancel(()))
    (command,) = box.take()
    assert isinstance(command, SendCall)
    expires_ns = command.expires_s * SECOND_NS
    # Whole seconds on the wire: rounded up, never down, by less than a second.
    assert 0 <= expires_ns - (now.wall_ns + expires_ms * 1_000_000) < SECOND_NS
    # On a clock that is a second behind ours the venue takes it until one second later.
    assert made.fence_ns(now) - now.now_ns == expires_ns - now.wall_ns + SECOND_NS


def test_an_order_has_a_deadline_that_counts_from_its_decision() -> None:
    box = outbox()
    made = Requests(OrdersConfig(send_deadline_s=1.0), Budget(RateLimitConfig()), box)
    approved = examine(asked(), GOOD)
    assert isinstance(approved, Approved)
    made.order(at(10), Lane.OPEN, approved, CALL, at(9.5).now_ns)
    (command,) = box.take()
    assert isinstance(command, SendOrder)
    assert command.send_by_ns == at(10.5).now_ns
    purpose, _ = made.ended(command.request_id) or (None, 0)
    assert purpose == ForNew(NAME)


def test_an_answer_finds_its_purpose_once() -> None:
    made, _ = requests()
    first = made.call(at(0), Lane.CANCEL, CALL, ForCancel(("a",)))
    second = made.call(at(0), Lane.CANCEL, CALL, ForCancel(("b",)))
    assert first != second
    purpose, _ = made.ended(second) or (None, 0)
    assert purpose == ForCancel(("b",))
    assert made.ended(second) is None
    assert made.ended(99) is None


@pytest.mark.parametrize("kind", [ForRead, ForCancel])
def test_it_knows_what_kind_of_request_is_under_way(kind: type[ForRead] | type[ForCancel]) -> None:
    made, _ = requests()
    assert not made.any_for(kind)
    made.read(at(0), Read.ORDERS, CALL)
    number = made.call(at(0), Lane.CANCEL, CALL, ForCancel(()))
    assert made.any_for(kind)
    made.ended(number)
    assert made.any_for(kind) is (kind is ForRead)


def test_every_request_is_counted_in_the_budget_when_it_leaves() -> None:
    made, budget = requests()
    for _ in range(5):
        made.read(at(0), Read.ORDERS, CALL)
    assert budget.remaining(0) == RateLimitConfig().lock_below - 5
