"""Every value of an order against every word of the venue, and every way a position can go.

Not examples: all values that can be reached are visited, and each rule is held against each step.
"""

import copy
from collections.abc import Callable, Iterator

import msgspec
import pytest

from chappie.core.account import Account
from chappie.core.blotter import Naming
from chappie.core.executor import Place, Terms, Withdraw, plan
from chappie.core.orders import (
    Order,
    Outstanding,
    RequestKind,
    absent,
    cancelling,
    doubted,
    executed,
    refused,
    revived,
    told,
    vanished,
)
from chappie.core.position import PositionState, state_of
from chappie.model.enums import OrdStatus, Side
from chappie.model.units import Ticks
from tests.core.parts import asked, fill, said, sent

QTY = 200
FENCE_NS = 100
BEFORE, AFTER, LATER = 50, 150, 250
CANCEL = Outstanding(RequestKind.CANCEL, 2, 50, FENCE_NS)

WORDS = [
    said(status, cum, leaves)
    for status in (*OrdStatus, None)
    for cum in (None, 0, 100, 200)
    for leaves in (None, 0, 300)
]


def steps(order: Order) -> Iterator[tuple[str, Order]]:
    """Everything that can happen to an order, with the value that it leads to."""
    for word in WORDS:
        yield "word", told(order, word, AFTER)
        if not order.is_live and word.ord_status is not None and not word.ord_status.is_terminal:
            yield "listed", revived(order, word)
    for booked in (100, 200):
        yield "execution", executed(order, "venue-1", booked, AFTER)
    yield "silence", doubted(order)
    yield "refusal", refused(order, AFTER, "no")
    for asked_ns in (BEFORE, AFTER, LATER):
        yield f"absent at {asked_ns}", absent(order, asked_ns, asked_ns + 10)
    if order.is_live and order.request is None:
        yield "cancel", cancelling(order, CANCEL)
    if order.is_live and order.said is not None and order.absent_since_ns is not None:
        yield "vanished", vanished(order, AFTER)


Step = tuple[str, Order, Order]


@pytest.fixture(scope="module")
def every() -> list[Step]:
    """Every step from every order that can be reached: how, before, after."""
    first = sent(asked(qty=QTY), fence_ns=FENCE_NS)
    found = {repr(first)}
    queue = [first]
    taken: list[Step] = []
    while queue:
        before = queue.pop()
        for how, after in steps(before):
            taken.append((how, before, after))
            if repr(after) not in found:
                found.add(repr(after))
                queue.append(after)
    return taken


def is_over(order: Order) -> bool:
    """By the venue's own word, not because we took it for dead."""
    return order.said is not None and order.said.ord_status.is_terminal


Rule = Callable[[str, Order, Order], bool]

RULES: dict[str, Rule] = {
    "filled contracts never shrink": lambda how, a, b: b.cum_qty >= a.cum_qty,
    "the dead live again only by the venue's word, as orphans": lambda how, a, b: (
        a.is_live
        or not b.is_live
        or (b.orphan and (how == "listed" or (how in ("word", "execution") and not is_over(a))))
    ),
    "what the venue called ended lives again by a list alone": lambda how, a, b: (
        not is_over(a) or not b.is_live or how == "listed"
    ),
    "nothing but a word, a refusal or absence after the fence ends one": lambda how, a, b: (
        not a.is_live
        or b.is_live
        or how in ("word", "execution", "refusal", "vanished")
        or (how != f"absent at {BEFORE}" and a.absent_since_ns is not None)
    ),
    "no refusal and no absence ends what the venue has spoken of": lambda how, a, b: (
        not a.is_live or b.is_live or a.said is None or how in ("word", "execution", "vanished")
    ),
    "doubt ends by no time, only by an answer": lambda how, a, b: (
        not a.in_doubt
        or b.in_doubt
        or how in ("word", "execution", "refusal", "vanished")
        or (not b.is_live and how != f"absent at {BEFORE}")
    ),
    "absence before the fence changes nothing": lambda how, a, b: (
        how != f"absent at {BEFORE}" or a.request is None or a == b
    ),
    "an orphan stays one": lambda how, a, b: b.orphan or not a.orphan,
    "an ended order counts for nothing, a silent one for all": lambda how, a, b: (
        b.leaves_worst == 0 if not b.is_live else b.said is not None or b.leaves_worst == QTY
    ),
    "an ended order has no request outstanding": lambda how, a, b: b.is_live or b.request is None,
    "an end has a name": lambda how, a, b: b.is_live == (b.ended_ns is None),
    "an order that the venue ended is not live": lambda how, a, b: not (is_over(b) and b.is_live),
}


def test_enough_values_are_reached_to_mean_something(every: list[Step]) -> None:
    orders = [after for _, _, after in every]
    assert len(orders) > 30_000
    assert any(order.in_doubt and order.said is not None for order in orders)
    assert any(order.orphan and order.is_live for order in orders)


@pytest.mark.parametrize("rule", RULES)
def test_no_step_breaks(rule: str, every: list[Step]) -> None:
    holds = RULES[rule]
    for how, before, after in every:
        assert holds(how, before, after), f"{how}\n{before}\n{after}"


# --- the position, with our own steps and everything that the venue can do in between


class Situation(msgspec.Struct):
    account: Account
    number: int = 0

    def key(self) -> tuple[object, ...]:
        account = self.account
        live = [
            (
                o.asked.side,
                o.leaves_worst,
                o.cum_qty,
                o.status,
                o.request and o.request.kind,
                o.orphan,
                account.unbooked(o),
                account.ledger.booked(o.asked.cl_ord_id),
            )
            for o in account.blotter.all()
            if o.is_live or account.unbooked(o)
        ]
        return account.machine.state, account.ledger.qty, tuple(live)


def ways(now: Situation) -> Iterator[tuple[str, Situation]]:
    """Follow some target one step, or let the venue do something to one of our orders."""
    account = now.account
    for target in (-200, 0, 200):
        live = [order for order in account.blotter.live() if not order.orphan]
        terms = Terms("limit", QTY, 100)
        step = plan(target, account.expected_qty, live, Ticks(9), Ticks(10), terms, 0)
        allowed = not account.in_doubt and not account.fills_missing and not account.orphans
        if isinstance(step, Place) and allowed:
            after = copy.deepcopy(now)
            after.number += 1
            wanted = step.wanted
            wish = asked(wanted.side, wanted.qty, name=f"chp-test-1-{after.number}")
            after.account.put(sent(wish, fence_ns=FENCE_NS), 1)
            yield f"asked for {wanted.side.value} {wanted.qty}", after
        elif isinstance(step, Withdraw):
            after = copy.deepcopy(now)
            mine = after.account.blotter.get(step.cl_ord_id)
            assert mine is not None
            after.account.put(cancelling(mine, CANCEL), 1)
            yield "withdrew", after
    for order in account.blotter.all():
        if order.is_live or account.unbooked(order):
            yield from _by_the_venue(now, order)
    if account.ledger.qty:
        after = copy.deepcopy(now)
        side = Side.SELL if account.ledger.qty > 0 else Side.BUY
        taken = fill(f"x{now.number}", side, abs(account.ledger.qty), name="", kind="Liquidation")
        after.account.book(taken, 1)
        yield "liquidated", after


def _by_the_venue(now: Situation, order: Order) -> Iterator[tuple[str, Situation]]:
    name = order.asked.cl_ord_id
    for word in (
        said(OrdStatus.NEW, name=name),
        said(OrdStatus.NEW, leaves=300, name=name),
        said(OrdStatus.PARTIALLY_FILLED, 100, name=name),
        said(OrdStatus.FILLED, order.asked.qty, name=name),
        said(OrdStatus.CANCELED, order.cum_qty, name=name),
        said(OrdStatus.REJECTED, order.cum_qty, name=name),
    ):
        after = copy.deepcopy(now)
        after.account.hear(order, word, 1)
        yield f"{name} {word.ord_status}", after
    booked = now.account.ledger.booked(name)
    if booked < order.asked.qty:
        after = copy.deepcopy(now)
        after.account.book(fill(f"{name}/{booked}", order.asked.side, 100, name=name), 1)
        yield f"{name} executed", after
    after = copy.deepcopy(now)
    after.account.put(doubted(order), 1)
    yield f"{name} unanswered", after
    gone = absent(absent(doubted(order), AFTER, AFTER), LATER, LATER)
    if not gone.is_live:
        after = copy.deepcopy(now)
        after.account.put(gone, 1)
        yield f"{name} never arrived", after


def test_no_order_of_events_breaks_the_position_machine() -> None:
    account = Account()
    account.naming = Naming("test", 1)
    account.begin()
    first = Situation(account)
    seen = {first.key()}
    queue = [first]
    states = set()
    while queue:
        now = queue.pop()
        for how, after in ways(now):
            ours = after.account
            side = [
                order.asked.side.sign * ours.expected_qty < 0
                for order in ours.blotter.live()
                if order.leaves_worst
            ]
            true = state_of(ours.expected_qty, False in side, True in side)
            assert ours.machine.state is true, how
            assert abs(ours.ledger.qty) <= 2 * QTY
            states.add(true)
            key = after.key()
            if key not in seen and len(seen) < 3_000:
                seen.add(key)
                queue.append(after)
    assert states == set(PositionState)
    assert 150 < len(seen) < 3_000, "all that can be reached was visited"
