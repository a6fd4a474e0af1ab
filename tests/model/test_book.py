"""The book against a naive one: a dictionary per side, searched anew for every question."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chappie.model.book import Book
from chappie.model.enums import Side
from chappie.model.units import Ticks

PRICES = st.integers(1, 12)
SIZES = st.integers(1, 1000)
SIDES = st.sampled_from(Side)


def key(side: Side, ticks: int) -> int:
    return ticks if side is Side.BUY else -ticks


class Naive:
    """What a book is, without any cleverness."""

    def __init__(self) -> None:
        self.sides: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}

    def levels(self, side: Side) -> list[tuple[int, int]]:
        return sorted(self.sides[side].items(), reverse=side is Side.BUY)


class Books(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.naive = Naive()

    @rule(side=SIDES, ticks=PRICES, size=SIZES)
    def put(self, side: Side, ticks: int, size: int) -> None:
        if ticks in self.naive.sides[side]:
            self.book.resize(key(side, ticks), size)
        else:
            self.book.add(key(side, ticks), size)
        self.naive.sides[side][ticks] = size

    @precondition(lambda self: any(self.naive.sides.values()))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        there = [(side, ticks) for side in Side for ticks in self.naive.sides[side]]
        side, ticks = data.draw(st.sampled_from(there))
        self.book.remove(key(side, ticks))
        del self.naive.sides[side][ticks]

    @rule(bids=st.dictionaries(PRICES, SIZES), asks=st.dictionaries(PRICES, SIZES))
    def load(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        sizes = {key(Side.BUY, ticks): size for ticks, size in bids.items()}
        sizes |= {key(Side.SELL, ticks): size for ticks, size in asks.items()}
        self.book.load(sizes)
        self.naive.sides = {Side.BUY: dict(bids), Side.SELL: dict(asks)}

    @rule()
    def clear(self) -> None:
        self.book.clear()
        self.naive = Naive()

    @invariant()
    def both_hold_the_same_levels_in_the_same_order(self) -> None:
        for side in Side:
            expected = self.naive.levels(side)
            assert self.book.levels(side, 99) == expected
            for count in range(4):
                assert self.book.levels(side, count) == expected[:count]
            for ticks in range(1, 13):
                assert self.book.size(side, Ticks(ticks)) == self.naive.sides[side].get(ticks, 0)
                assert (key(side, ticks) in self.book) is (ticks in self.naive.sides[side])
        assert len(self.book) == sum(len(levels) for levels in self.naive.sides.values())

    @invariant()
    def both_have_the_same_top_and_are_crossed_alike(self) -> None:
        bids, asks = self.naive.sides[Side.BUY], self.naive.sides[Side.SELL]
        bid = max(bids, default=None)
        ask = min(asks, default=None)
        assert (self.book.best_bid, self.book.best_ask) == (bid, ask)
        assert self.book.is_crossed is (bid is not None and ask is not None and bid >= ask)


TestBooks = Books.TestCase


def test_an_empty_book_has_no_top_and_is_not_crossed() -> None:
    book = Book()
    assert (book.best_bid, book.best_ask) == (None, None)
    assert not book.is_crossed
    assert book.levels(Side.BUY, 5) == []
