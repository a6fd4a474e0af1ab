"""The steps between an order's values: words in any order, doubt, absence."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.orders import (
    Order,
    Outstanding,
    RequestKind,
    absent,
    adopted,
    cancelling,
    doubted,
    executed,
    refused,
    revived,
    told,
    vanished,
)
from chappie.model.enums import OrdStatus
from chappie.model.reports import OrderSaid
from tests.core.parts import asked, said, sent

S = OrdStatus
FENCE_NS = 10_000


def order(qty: int = 300) -> Order:
    return sent(asked(qty=qty), fence_ns=FENCE_NS)


def after(*words: OrderSaid, start: Order | None = None) -> Order:
    value = start or order()
    for now_ns, word in enumerate(words, start=1):
        value = told(value, word, now_ns)
    return value


@pytest.mark.parametrize(
    ("words", "status", "cum", "leaves", "live"),
    [
        ([said(S.PENDING_NEW)], S.PENDING_NEW, 0, 300, True),
        ([said(S.NEW)], S.NEW, 0, 300, True),
        ([said(S.NEW), said(S.PARTIALLY_FILLED, 100)], S.PARTIALLY_FILLED, 100, 200, True),
        ([said(S.NEW), said(S.FILLED, 300)], S.FILLED, 300, 0, False),
        ([said(S.NEW), said(S.CANCELED)], S.CANCELED, 0, 0, False),
        ([said(S.REJECTED)], S.REJECTED, 0, 0, False),
        ([said(S.EXPIRED, 100)], S.EXPIRED, 100, 0, False),
        # Only the final word is ever sent (protocol section 5, since 2020-08-24).
        ([said(S.FILLED, 300)], S.FILLED, 300, 0, False),
        # REST and the streams are not ordered among each other.
        ([said(S.FILLED, 300), said(S.NEW)], S.FILLED, 300, 0, False),
        ([said(S.CANCELED), said(S.NEW)], S.CANCELED, 0, 0, False),
        ([said(S.PARTIALLY_FILLED, 200), said(S.PARTIALLY_FILLED, 100)], S.PARTIALLY_FILLED, 200,
         100, True),
        ([said(S.PARTIALLY_FILLED, 100), said(S.NEW)], S.PARTIALLY_FILLED, 100, 200, True),
        # It ended with more filled than the first word of its end knew.
        ([said(S.CANCELED), said(S.PARTIALLY_FILLED, 100)], S.CANCELED, 100, 0, False),
        ([said(S.CANCELED, 100), said(S.FILLED, 300)], S.FILLED, 300, 0, False),
        # An update that leaves columns out says nothing of them.
        ([said(S.PARTIALLY_FILLED, 100), said(None, None)], S.PARTIALLY_FILLED, 100, 200, True),
        ([said(None, None)], S.NEW, 0, 300, True),
        # Amended by hand: the venue's leavesQty counts.
        ([said(S.NEW, 0, leaves=500)], S.NEW, 0, 500, True),
    ],
)  # fmt: skip
def test_words_in_any_order_add_up_to_what_is_true(
    words: list[OrderSaid], status: OrdStatus, cum: int, leaves: int, live: bool
) -> None:
    value = after(*words)
    assert value.said is not None
    assert (value.said.ord_status, value.cum_qty, value.leaves_worst, value.is_live) == (
        status,
        cum,
        leaves,
        live,
    )


@given(st.permutations([said(S.NEW), said(S.PARTIALLY_FILLED, 100), said(S.CANCELED, 200)]))
def test_every_order_of_the_same_words_ends_the_same(words: list[OrderSaid]) -> None:
    value = after(*words)
    assert (value.status, value.cum_qty, value.leaves_worst) == ("Canceled", 200, 0)


def test_an_order_of_unknown_fate_counts_at_its_worst() -> None:
    value = doubted(order())
    assert (value.status, value.leaves_worst, value.is_live) == ("Unknown", 300, True)


def test_no_refusal_reaches_an_order_that_the_venue_has_spoken_of() -> None:
    working = after(said(S.NEW))
    assert refused(working, 5, "late").is_live


def test_a_definite_refusal_ends_what_never_arrived() -> None:
    value = refused(order(), 5, "Invalid price")
    assert (value.is_live, value.end, value.leaves_worst) == (False, "Invalid price", 0)


def test_absence_before_the_fence_proves_nothing() -> None:
    value = doubted(order())
    assert absent(value, FENCE_NS - 1, 99_999) == value
    assert value.in_doubt


def test_absence_in_two_queries_begun_after_the_fence_proves_death() -> None:
    once = absent(doubted(order()), FENCE_NS, 20_000)
    assert (once.is_live, once.leaves_worst) == (True, 300), "a single read may be stale"
    assert absent(once, 19_999, 30_000) == once, "sent before the first one came back"
    value = absent(once, 20_000, 99_999)
    assert (value.is_live, value.ended_ns, value.leaves_worst) == (False, 99_999, 0)


def test_absence_never_ends_an_order_that_was_once_seen() -> None:
    value = doubted(after(said(S.NEW)))
    for now_ns in (FENCE_NS + 1, 20_000, 30_000):
        value = absent(value, now_ns, now_ns)
        assert value.is_live


def test_a_query_sent_before_the_venue_spoke_of_an_order_begins_no_absence() -> None:
    heard = told(doubted(order()), said(S.NEW), 50)
    assert absent(heard, 20, 60) == heard, "it was not there yet"


def test_a_word_of_the_venue_ends_an_absence() -> None:
    missed = absent(doubted(order()), FENCE_NS, 20_000)
    seen = told(missed, said(S.NEW), 25_000)
    assert seen.absent_since_ns is None
    gone = absent(seen, 30_000, 40_000)
    assert vanished(gone, 50_000).leaves_worst == 0


def test_doubt_survives_everything_but_a_word_of_the_venue() -> None:
    value = doubted(doubted(order()))
    assert doubted(absent(value, 0, 1)).in_doubt
    assert not told(value, said(S.NEW), 2).in_doubt


def test_doubt_about_a_cancel_survives_a_word_that_the_order_works() -> None:
    cancel = Outstanding(RequestKind.CANCEL, 2, 50, FENCE_NS)
    value = doubted(cancelling(after(said(S.NEW)), cancel))
    value = told(value, said(S.PARTIALLY_FILLED, 100), 60)
    assert value.in_doubt
    assert not told(value, said(S.CANCELED, 100), 70).in_doubt


def test_an_order_taken_for_dead_that_is_seen_alive_counts_again() -> None:
    dead = absent(absent(doubted(order()), FENCE_NS, 20_000), 20_000, 21_000)
    assert not dead.is_live
    alive = told(dead, said(S.NEW), 30_000)
    assert (alive.is_live, alive.leaves_worst) == (True, 300)
    assert alive.orphan, "whoever wanted it went on without it"


def test_an_ended_order_that_a_later_list_shows_working_counts_at_what_the_list_says() -> None:
    ended = after(said(S.FILLED, 300))
    assert told(ended, said(S.PARTIALLY_FILLED, 300, leaves=200), 9) == ended, "an old word"
    alive = revived(ended, said(S.PARTIALLY_FILLED, 300, leaves=200))
    assert (alive.is_live, alive.cum_qty, alive.leaves_worst, alive.orphan) == (
        True,
        300,
        200,
        True,
    )
    stale = revived(ended, said(S.NEW, 0, leaves=300))
    assert stale.cum_qty == 300, "what was filled stays filled"
    assert not told(alive, said(S.CANCELED, 300), 10).is_live


def test_an_order_that_only_the_venue_remembers_is_an_orphan_of_what_the_row_says() -> None:
    row = msgspec.structs.replace(said(S.PARTIALLY_FILLED, 100), qty=300, price=600_000)
    value = adopted(row, 5)
    assert value is not None
    assert (value.orphan, value.leaves_worst, value.asked.qty) == (True, 200, 300)
    assert adopted(msgspec.structs.replace(row, side=None), 5) is None


def test_an_amended_order_is_not_over_when_what_we_asked_for_is_filled() -> None:
    amended = after(said(S.NEW, 0, leaves=500))
    value = executed(amended, "venue-1", 300, 9)
    assert (value.status, value.leaves_worst) == ("PartiallyFilled", 200)


def test_an_execution_speaks_before_the_order_table_does() -> None:
    value = executed(order(), "venue-1", 100, 5)
    assert (value.status, value.cum_qty, value.leaves_worst) == ("PartiallyFilled", 100, 200)
    assert value.request is None
    assert told(value, said(S.NEW), 6) == value


def test_the_last_execution_ends_the_order() -> None:
    value = executed(executed(order(), "venue-1", 100, 5), "venue-1", 300, 6)
    assert (value.status, value.is_live, value.ended_ns) == ("Filled", False, 6)


def test_an_execution_that_the_order_table_knew_changes_nothing() -> None:
    value = after(said(S.PARTIALLY_FILLED, 200))
    booked = executed(value, "venue-1", 100, 9)
    assert booked == msgspec.structs.replace(value, booked_qty=100)
    assert booked.unbooked_qty == 100


@given(
    st.lists(
        st.tuples(st.sampled_from(list(S)), st.integers(0, 3).map(lambda lots: lots * 100)),
        max_size=8,
    )
)
def test_filled_quantity_never_shrinks_and_an_end_stays_an_end(
    words: list[tuple[OrdStatus, int]],
) -> None:
    value, cum, ended = order(), 0, False
    for now_ns, (status, filled) in enumerate(words):
        value = told(value, said(status, filled), now_ns)
        assert value.cum_qty >= cum
        assert not (ended and value.is_live)
        cum, ended = value.cum_qty, ended or not value.is_live
