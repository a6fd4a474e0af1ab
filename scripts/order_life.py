"""Every value that an order can have and every step between them, found by taking the steps.

The tables of docs/orders.md and the rules of tests/core/test_every_step.py read the same steps: the
real functions of `core/orders.py`, from every order that they can reach.
"""

from collections.abc import Iterator
from enum import Enum

import msgspec

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
from chappie.model.enums import OrdStatus, OrdType, Side, TimeInForce
from chappie.model.orders import NewOrder
from chappie.model.reports import OrderSaid
from chappie.model.units import Contracts, Ticks

NAME = "chp-test-1-1"
QTY = 200
FENCE_NS = 100
BEFORE_NS, AFTER_NS, LATER_NS = 50, 150, 250
CANCEL = Outstanding(RequestKind.CANCEL, 2, 50, FENCE_NS)


class Standing(Enum):
    """Where an order stands, as its three parts together say; the second text is what it means."""

    SENT = "sent", "its request left, and nothing came back yet"
    IN_DOUBT = "in doubt", "no answer came that proves anything: it may work, or yet arrive"
    MISSED = "missed once", "unheard of, and a query sent after the fence did not find it"
    WORKING = "working", "the venue spoke of it, and it is not over"
    CANCELLING = "cancelling", "it works, and our cancel is under way"
    CANCEL_IN_DOUBT = "cancel in doubt", "it may work or be over: no answer to our cancel"
    NOT_LISTED = "not listed", "the venue spoke of it, and a query does not find it any more"
    ENDED = "ended", "over by the venue's word: filled, cancelled, rejected, expired"
    REFUSED = "refused", "a definite refusal of its request, or it never left this machine"
    NEVER_ARRIVED = "never arrived", "two queries sent after the fence found nothing of it"
    VANISHED = "vanished", "the venue, which once spoke of it, shows it nowhere, and no position"

    def __init__(self, words: str, meaning: str) -> None:
        self.words = words
        self.meaning = meaning


class Word(Enum):
    """What can happen to an order; the second text is what it is."""

    WORKS = "works", "the venue says that it works: a row of any channel, in any order"
    OVER = "over", "the venue says that it is over"
    PART = "part filled", "an execution of a part of it is booked"
    LAST = "rest filled", "an execution of all that was asked for is booked"
    REFUSAL = "refusal", "its outstanding request was refused, or never left"
    SILENCE = "silence", "its outstanding request got no answer that proves anything"
    ABSENT_EARLY = "absent early", "a query sent before the fence does not find it"
    ABSENT = "absent", "a query sent after the fence does not find it"
    CANCEL = "cancel sent", "we ask to cancel it"
    LISTED = "listed", "a list asked for after its end shows it working"
    GONE = "gone", "two lists and the query between them lack it, and there is no position"

    def __init__(self, words: str, meaning: str) -> None:
        self.words = words
        self.meaning = meaning


class Step(msgspec.Struct, frozen=True, gc=False):
    word: Word
    before: Order
    after: Order


def row(status: OrdStatus | None, cum: int | None, leaves: int | None) -> OrderSaid:
    """The venue's word on the order; None where it does not say."""
    return OrderSaid(
        order_id="venue-1",
        cl_ord_id=NAME,
        symbol="XBTUSD",
        side=Side.BUY,
        ord_status=status,
        price=None,
        qty=None,
        leaves_qty=None if leaves is None else Contracts(leaves),
        cum_qty=None if cum is None else Contracts(cum),
        text=None,
        venue_ns=None,
    )


ROWS = [
    row(status, cum, leaves)
    for status in (*OrdStatus, None)
    for cum in (None, 0, 100, QTY)
    for leaves in (None, 0, 300)
]


def first() -> Order:
    """The order of which everything else becomes: its request has just left."""
    asked = NewOrder(
        cl_ord_id=NAME,
        symbol="XBTUSD",
        side=Side.BUY,
        qty=Contracts(QTY),
        ord_type=OrdType.LIMIT,
        price=Ticks(600_000),
        time_in_force=TimeInForce.GTC,
        post_only=False,
        reduce_only=False,
    )
    return Order(asked, 1, 0, request=Outstanding(RequestKind.NEW, 1, 0, FENCE_NS))


def standing(order: Order) -> Standing:
    """The one state of an order's value."""
    said, request = order.said, order.request
    if not order.is_live:
        if said is None:
            return Standing.NEVER_ARRIVED if order.absent_since_ns else Standing.REFUSED
        return Standing.ENDED if said.ord_status.is_terminal else Standing.VANISHED
    if said is None:
        assert request is not None, "without a word of the venue our request is all there is"
        if order.absent_since_ns is not None:
            return Standing.MISSED
        return Standing.IN_DOUBT if request.in_doubt else Standing.SENT
    if order.absent_since_ns is not None:
        return Standing.NOT_LISTED
    if request is None:
        return Standing.WORKING
    assert request.kind is RequestKind.CANCEL, "whatever the venue speaks of has arrived"
    return Standing.CANCEL_IN_DOUBT if request.in_doubt else Standing.CANCELLING


def steps(order: Order) -> Iterator[tuple[Word, Order]]:
    """Everything that can happen to an order, with the value that it leads to."""
    for said in ROWS:
        over = said.ord_status is not None and said.ord_status.is_terminal
        yield Word.OVER if over else Word.WORKS, told(order, said, AFTER_NS)
        if not order.is_live and said.ord_status is not None and not over:
            yield Word.LISTED, revived(order, said)
    yield Word.PART, executed(order, "venue-1", 100, AFTER_NS)
    yield Word.LAST, executed(order, "venue-1", QTY, AFTER_NS)
    yield Word.SILENCE, doubted(order)
    yield Word.REFUSAL, refused(order, AFTER_NS, "no")
    yield Word.ABSENT_EARLY, absent(order, BEFORE_NS, BEFORE_NS + 10)
    for asked_ns in (AFTER_NS, LATER_NS):
        yield Word.ABSENT, absent(order, asked_ns, asked_ns + 10)
    if order.is_live and order.request is None:
        yield Word.CANCEL, cancelling(order, CANCEL)
    if order.is_live and order.said is not None and order.absent_since_ns is not None:
        yield Word.GONE, vanished(order, AFTER_NS)


def every_step() -> list[Step]:
    """Every step from every order that can be reached."""
    begin = first()
    found = {repr(begin)}
    queue = [begin]
    taken: list[Step] = []
    while queue:
        before = queue.pop()
        for word, after in steps(before):
            taken.append(Step(word, before, after))
            key = repr(after)
            if key not in found:
                found.add(key)
                queue.append(after)
    return taken
