"""The settled beginning of the kept log as one record: nothing that a start needs is lost."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chappie.core.carried import carried, settled
from chappie.core.ledger import Ledger
from chappie.core.recovery import Recovered, recover
from chappie.model.enums import OrdStatus, Side
from chappie.model.records import (
    Adjusted,
    Carried,
    Connected,
    Ended,
    Fill,
    FundingPaid,
    Intent,
    Kept,
    Opening,
    Stopped,
    Waits,
)
from chappie.model.units import SECOND_NS, Contracts, Minor
from tests.core.parts import WALL_NS, asked, at, fill

HOUR_NS = 3600 * SECOND_NS
NOW = at(400 * 24 * 3600.0)


def start(kept: Sequence[Kept]) -> Recovered:
    return recover(tuple(kept), NOW, lambda moment, wall_ns: wall_ns)


def books(ledger: Ledger) -> dict[str, object]:
    """Everything in a ledger but which executions made it."""
    found = {name: value for name, value in vars(ledger).items() if not name.startswith("_")}
    # For people, who need none from before the log was rolled.
    del found["newest"]
    return found


def replaced(kept: Sequence[Kept], count: int) -> tuple[Kept, ...]:
    return (carried(tuple(kept[:count]), "kept.000001.log"), *kept[count:])


class History:
    """A kept log as a run writes it, an hour and more between its orders."""

    def __init__(self) -> None:
        self.kept: list[Kept] = [Opening(WALL_NS, Contracts(0), Minor(0))]
        self.wall_ns = WALL_NS
        self.count = 0

    def order(
        self, side: Side, parts: Sequence[int], *, ends: bool = True, lacking: int = 0
    ) -> None:
        self.count += 1
        name = f"chp-test-1-{self.count}"
        self.wall_ns += HOUR_NS
        qty = sum(parts) + lacking + 100
        self.kept.append(Intent(self.wall_ns, asked(side, qty, name=name), self.count))
        for number, part in enumerate(parts):
            one = fill(f"{name}-{number}", side, part, 600_000 + 10 * self.count, name=name)
            self.kept.append(msgspec.structs.replace(one, venue_ns=self.wall_ns + number))
        if ends:
            cum = Contracts(sum(parts) + lacking)
            self.kept.append(Ended(self.wall_ns, name, OrdStatus.CANCELED, cum))

    def funding(self, fee: int) -> None:
        self.count += 1
        self.kept.append(FundingPaid(f"f{self.count}", Minor(fee), self.wall_ns))

    def adjust(self, qty: int, cost: int | None) -> None:
        self.wall_ns += HOUR_NS
        entry = None if cost is None else Minor(cost)
        self.kept.append(Adjusted(self.wall_ns, Contracts(qty), "by hand", entry))

    def stop(self) -> None:
        self.kept.append(Stopped(self.wall_ns, "operator", ""))


sides = st.sampled_from(list(Side))
amounts = st.lists(st.integers(1, 9).map(lambda lots: lots * 100), max_size=3)


@st.composite
def histories(draw: st.DrawFn, *, unsettled: bool = True) -> list[Kept]:
    history = History()
    for _ in range(draw(st.integers(0, 40))):
        match draw(st.sampled_from(["order"] * 8 + ["funding", "stop", "adjust", "doubt", "lack"])):
            case "order":
                history.order(draw(sides), draw(amounts))
            case "funding":
                history.funding(draw(st.integers(-50, 50)))
            case "stop":
                history.stop()
            case "adjust":
                cost = draw(st.none() | st.integers(-500, 500))
                history.adjust(draw(st.integers(-3, 3)) * 100, cost)
            case "doubt" if unsettled:
                history.order(draw(sides), draw(amounts), ends=False)
            case "lack" if unsettled:
                history.order(draw(sides), draw(amounts), lacking=100)
    return history.kept


@given(histories(), st.data())
def test_the_books_are_the_same_wherever_the_log_is_split(
    kept: list[Kept], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(kept)))
    whole, split = start(kept), start(replaced(kept, count))
    assert books(split.ledger) == books(whole.ledger)


@given(histories(), st.integers(0, 30))
def test_a_start_from_what_is_left_is_the_start_from_the_whole_log(
    kept: list[Kept], newest: int
) -> None:
    whole, left = start(kept), start(replaced(kept, settled(tuple(kept), newest)))
    assert books(left.ledger) == books(whole.ledger)
    assert left.orders == whole.orders
    assert (left.whole_until_ns, left.from_ns) == (whole.whole_until_ns, whole.from_ns)


@given(histories(), st.data())
def test_carrying_what_was_carried_loses_nothing(kept: list[Kept], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(kept)))
    once = replaced(kept, first)
    twice = replaced(once, data.draw(st.integers(1, len(once))))
    assert books(start(twice).ledger) == books(start(kept).ledger)


@given(histories(), st.integers(0, 30))
def test_an_execution_that_may_be_told_again_is_still_known(kept: list[Kept], newest: int) -> None:
    whole_until_ns = start(kept).whole_until_ns
    left = start(replaced(kept, settled(tuple(kept), newest))).ledger
    for position, record in enumerate(kept):
        if isinstance(record, Fill | FundingPaid):
            assert whole_until_ns is not None
            young = record.venue_ns >= whole_until_ns - 24 * HOUR_NS
            if young or position >= len(kept) - newest:
                assert left.knows(record.exec_id)


def test_the_connects_of_the_last_hour_are_not_carried() -> None:
    minutes = (0, 100, 150, 159)
    kept = tuple(Connected(WALL_NS + minute * 60 * SECOND_NS) for minute in minutes)
    assert settled(kept, 0) == 1


@given(histories(), st.integers(0, 30))
def test_no_order_is_carried_in_part(kept: list[Kept], newest: int) -> None:
    count = settled(tuple(kept), newest)
    names = [
        {
            record.order.cl_ord_id if isinstance(record, Intent) else record.cl_ord_id
            for record in part
            if isinstance(record, Intent | Fill | Ended)
        }
        for part in (kept[:count], kept[count:])
    ]
    assert names[0].isdisjoint(names[1])


def a_long_history(count: int) -> History:
    history = History()
    for _ in range(count):
        history.order(Side.BUY, [100])
        history.order(Side.SELL, [100])
    return history


def test_of_a_long_history_most_is_settled() -> None:
    kept = tuple(a_long_history(1000).kept)
    assert len(kept) == 6001
    # The last 24 hours' orders stay, an hour apart from each other.
    assert settled(kept, newest=0) == 6001 - 25 * 3
    assert settled(kept) == 4000
    assert settled(kept[:2000]) == 0


def test_an_order_in_doubt_and_all_that_came_after_it_is_never_carried() -> None:
    history = a_long_history(50)
    before = len(history.kept)
    history.order(Side.BUY, [], ends=False)
    for _ in range(50):
        history.order(Side.SELL, [100])
    assert settled(tuple(history.kept[:before]), newest=0) > before - 100
    # Fills since a day before its intent may still be missing, and are read again.
    assert settled(tuple(history.kept), newest=0) == before - 24 * 3


def test_an_order_in_doubt_is_not_carried_though_no_fill_around_it_is_young() -> None:
    history = a_long_history(50)
    history.wall_ns += 48 * HOUR_NS
    before = len(history.kept)
    history.order(Side.BUY, [], ends=False)
    history.order(Side.SELL, [100])
    assert settled(tuple(history.kept), newest=0) == before


def test_an_order_found_alive_after_its_end_is_not_settled_before_its_second_end() -> None:
    history = a_long_history(50)
    intent, end = history.kept[1], history.kept[3]
    assert isinstance(intent, Intent)
    assert settled((*history.kept, intent), newest=0) == 1
    assert settled((*history.kept, intent, end), newest=0) == 1


def test_what_is_carried_says_where_it_stands() -> None:
    history = a_long_history(2)
    found = carried(tuple(history.kept), "kept.000007.log")
    assert isinstance(found, Carried)
    assert (found.file, found.records, found.fills) == ("kept.000007.log", 13, 4)
    assert (found.qty, found.opened) == (0, True)


def test_nothing_is_settled_in_an_empty_log() -> None:
    assert settled(()) == 0


def waits(until_s: float, *, banned: bool = False) -> Waits:
    return Waits(WALL_NS, WALL_NS + round(until_s * SECOND_NS), banned)


def test_a_wait_is_carried_and_of_several_the_last_one_counts() -> None:
    history = a_long_history(3)
    whole = (*history.kept, waits(60), waits(3600, banned=True), *a_long_history(3).kept[1:])
    assert start(whole).waits == waits(3600, banned=True)
    first = replaced(whole, len(history.kept) + 2)
    assert isinstance(first[0], Carried)
    assert first[0].waits == waits(3600, banned=True)
    assert start(first).waits == waits(3600, banned=True)
    second = replaced((*first, waits(0)), 3)
    assert start(second).waits == waits(0), "somebody lifted it"
    assert start((second[0],)).waits == waits(3600, banned=True)


def test_what_was_carried_by_an_older_version_holds_no_wait() -> None:
    found = carried(tuple(a_long_history(2).kept), "kept.000001.log")
    parts = msgspec.to_builtins(found)[:-1]
    assert msgspec.convert(parts, Carried) == found
    told = msgspec.structs.replace(found, waits=waits(60, banned=True))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Kept) == told
