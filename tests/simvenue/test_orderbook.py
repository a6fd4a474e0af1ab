from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from chappie.simvenue.orderbook import ANONYMOUS, Book


def _book() -> Book:
    return Book(count(1).__next__)


def test_the_best_price_trades_first_and_within_a_price_the_oldest() -> None:
    book = _book()
    book.rest("Sell", 101, "a", 100)
    book.rest("Sell", 100, "b", 200)
    book.rest("Sell", 100, "c", 300)
    hits = book.take("Sell", None, 450)
    assert [(hit.ticks, hit.order_id, hit.qty) for hit in hits] == [
        (100, "b", 200),
        (100, "c", 250),
    ]
    assert book.top() == (None, 0, 100, 50)


def test_a_limit_stops_the_taking() -> None:
    book = _book()
    book.rest("Buy", 100, "a", 100)
    book.rest("Buy", 99, "b", 100)
    assert [hit.order_id for hit in book.take("Buy", 100, 500)] == ["a"]
    assert book.available("Buy", 99, 500) == 100


def test_strangers_leave_from_behind_a_client() -> None:
    book = _book()
    book.set_anonymous("Buy", 100, 500)
    book.rest("Buy", 100, "mine", 100)
    book.set_anonymous("Buy", 100, 900)
    book.set_anonymous("Buy", 100, 500)
    hits = book.take("Buy", None, 600)
    assert [(hit.order_id, hit.qty) for hit in hits] == [(ANONYMOUS, 500), ("mine", 100)]


def test_a_pure_decrease_keeps_the_place_in_the_queue() -> None:
    book = _book()
    book.rest("Buy", 100, "first", 300)
    book.rest("Buy", 100, "second", 100)
    book.reduce("Buy", 100, "first", 100)
    assert [hit.order_id for hit in book.take("Buy", None, 100)] == ["first"]


def test_changes_come_as_deletes_then_updates_then_inserts() -> None:
    book = _book()
    book.rest("Sell", 100, "a", 100)
    book.rest("Sell", 101, "b", 100)
    book.changes(1)
    book.rest("Buy", 99, "d", 100)
    book.take("Sell", 101, 150)
    assert [(c.action, c.side, c.ticks, c.size) for c in book.changes(2)] == [
        ("delete", "Sell", 100, 0),
        ("update", "Sell", 101, 50),
        ("insert", "Buy", 99, 100),
    ]
    assert book.changes(3) == []


def test_a_level_keeps_its_id_while_it_lives_and_gets_a_new_one_afterwards() -> None:
    book = _book()
    book.rest("Buy", 100, "a", 100)
    born = book.changes(1)[0].level_id
    book.rest("Buy", 100, "b", 100)
    assert book.changes(2)[0].level_id == born
    # Emptied and refilled within one event: for the outside it never died.
    book.take("Buy", None, 200)
    book.rest("Buy", 100, "c", 300)
    assert [(c.action, c.level_id) for c in book.changes(3)] == [("update", born)]
    book.remove("Buy", 100, "c")
    book.changes(4)
    book.rest("Buy", 100, "d", 100)
    assert book.changes(5)[0].level_id != born


def test_a_level_that_came_and_went_within_one_event_is_not_told() -> None:
    book = _book()
    book.rest("Buy", 100, "a", 100)
    book.remove("Buy", 100, "a")
    assert book.changes(1) == []


_acts = st.lists(
    st.tuples(
        st.sampled_from(["set", "take"]),
        st.sampled_from(["Buy", "Sell"]),
        st.integers(90, 110),
        st.integers(0, 9),
    ),
    max_size=60,
)


@given(_acts)
def test_a_reader_of_the_changes_always_has_the_same_book(
    acts: list[tuple[str, str, int, int]],
) -> None:
    book = _book()
    mirror: dict[int, tuple[str, int, int]] = {}
    for number, (act, side, ticks, qty) in enumerate(acts):
        # Bids stay below 100 and asks above, as the exchange keeps the book uncrossed.
        place = min(ticks, 99) if side == "Buy" else max(ticks, 101)
        if act == "set":
            book.set_anonymous(side, place, qty)
        else:
            book.take(side, None, qty)
        for change in book.changes(number):
            if change.action == "delete":
                del mirror[change.level_id]
            elif change.action == "insert":
                assert change.level_id not in mirror
                mirror[change.level_id] = (change.side, change.ticks, change.size)
            else:
                assert mirror[change.level_id][:2] == (change.side, change.ticks)
                mirror[change.level_id] = (change.side, change.ticks, change.size)
        held = [
            (side, ticks, level.size)
            for side in ("Buy", "Sell")
            for ticks, level in book.levels(side)
        ]
        assert sorted(mirror.values()) == sorted(held)
        assert all(size > 0 for _, _, size in held)
