"""Private streams that lack what REST and answers showed, each while all others flow."""

import msgspec
import pytest

from chappie.core.feed import Feed
from chappie.core.orders import Order, told
from chappie.core.overdue import Overdue
from chappie.model.config import FeedConfig
from chappie.model.enums import OrdStatus, Stream
from chappie.model.reports import MarginSaid
from chappie.model.units import SECOND_NS, Minor
from tests.core.parts import asked, fill, said, sent
from tests.core.world import World, cycle, trading

GRACE_S = 2.0


def s(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def synced(at_s: float) -> Feed:
    feed = Feed(FeedConfig(), GRACE_S)
    feed.begin(0)
    for stream in Stream:
        feed.imaged(stream, s(at_s))
    return feed


def order_of(status: OrdStatus, born_s: float, cum: int = 0) -> Order:
    """An order, sent then, of which something was shown."""
    order = msgspec.structs.replace(sent(asked()), born_ns=s(born_s))
    return told(order, said(status, cum), s(born_s))


def judged(overdue: Overdue, feed: Feed, at_s: float) -> list[Stream]:
    return [stream for stream, _ in overdue.judge(feed, s(at_s))]


@pytest.mark.parametrize(
    ("muted", "within_s"),
    [
        # At the answer to the next order, and the grace.
        ("order", 5 + 2 + 1),
        # The order's row tells of it, and after the grace REST is asked.
        ("execution", 5 + 2 + 2),
        ("position", 5 + 2 + 10 + 1),
        # Two rounds read the wallet.
        ("margin", 5 + 2 * 10 + 1),
    ],
)
def test_a_private_table_that_is_muted_alone_is_named_while_all_others_flow(
    muted: str, within_s: float
) -> None:
    world = World(trading(feed={"sync_fault_after_s": 30.0}), policy=cycle(period_s=5.0))
    world.run(20)
    assert world.bot.faults == []
    assert world.bot.said("stream_overdue") == []
    world.arm("mute_table", table=muted)
    named = f"stream_unsynced:{muted}"
    assert world.run(within_s, lambda: named in world.bot.faults), world.bot.faults
    others = [fault for fault in world.bot.faults if fault != named]
    # Until the next round finds that only the stream is wrong.
    assert others in ([], ["position_disagrees"] if muted == "position" else [])
    assert {str(line.fields["stream"]) for line in world.bot.said("stream_overdue")} == {muted}
    assert world.bot.said("resubscribing", stream=muted), "it is asked for anew"
    orders = len(world.sent("POST", "/order"))
    world.run(5)
    assert len(world.sent("POST", "/order")) == orders
    stop = world.run_to_stop(40)
    assert stop.reason == "feed_unsynced"
    assert stop.detail.startswith(f"{muted}:")


def test_nothing_is_overdue_while_all_flow() -> None:
    world = World(trading(orders={"style": "limit"}), policy=cycle(period_s=2.0))
    world.run(300)
    assert world.bot.said("stream_overdue") == []
    assert len(world.sent("POST", "/order")) > 100


def test_an_order_that_the_stream_tells_within_the_grace_is_not_overdue() -> None:
    overdue, feed = Overdue(GRACE_S), synced(1)
    order = order_of(OrdStatus.NEW, born_s=2)
    overdue.order_shown(order, s(2))
    assert judged(overdue, feed, 4) == []
    overdue.order_told(said(OrdStatus.NEW, 0), s(4))
    assert judged(overdue, feed, 60) == []


def test_each_further_step_of_an_order_is_owed_by_the_stream() -> None:
    overdue, feed = Overdue(GRACE_S), synced(1)
    overdue.order_told(said(OrdStatus.NEW, 0), s(3))
    overdue.order_shown(order_of(OrdStatus.FILLED, born_s=2, cum=100), s(5))
    overdue.order_told(said(OrdStatus.PARTIALLY_FILLED, 50), s(6))
    assert judged(overdue, feed, 7) == []
    assert judged(overdue, feed, 7.1) == [Stream.ORDER]
    assert judged(overdue, feed, 7.2) == [], "told once"


@pytest.mark.parametrize(("told_s", "owed"), [(None, False), (0.5, False), (1.5, True)])
def test_of_an_older_order_only_what_the_image_held_is_owed(
    told_s: float | None, owed: bool
) -> None:
    overdue, feed = Overdue(GRACE_S), synced(1)
    if told_s is not None:
        overdue.order_told(said(OrdStatus.NEW, 0), s(told_s))
    overdue.order_shown(order_of(OrdStatus.CANCELED, born_s=0), s(3))
    assert (judged(overdue, feed, 6) == [Stream.ORDER]) is owed


def test_a_stream_without_an_image_owes_nothing() -> None:
    overdue, feed = Overdue(GRACE_S), synced(1)
    overdue.order_shown(order_of(OrdStatus.NEW, born_s=2), s(2))
    overdue.execution_shown(fill("e1"), order_of(OrdStatus.NEW, born_s=2), s(2))
    feed.disconnected(s(3))
    assert judged(overdue, feed, 3.1) == []
    for stream in Stream:
        feed.imaged(stream, s(4))
    assert judged(overdue, feed, 60) == []


@pytest.mark.parametrize(("streamed", "owed"), [(False, True), (True, False)])
def test_an_execution_that_only_rest_brought_is_owed(streamed: bool, owed: bool) -> None:
    overdue, feed = Overdue(GRACE_S), synced(1)
    overdue.execution_shown(fill("e1"), order_of(OrdStatus.NEW, born_s=2), s(3))
    if streamed:
        overdue.execution_told("e1")
    assert judged(overdue, feed, 5) == []
    assert (judged(overdue, feed, 5.1) == [Stream.EXECUTION]) is owed


def wallet(satoshi: int) -> MarginSaid:
    return MarginSaid(Minor(satoshi), None, None)


def test_a_wallet_is_owed_when_two_reads_past_the_grace_contradict_the_same_word() -> None:
    overdue, feed = Overdue(GRACE_S), synced(1)
    overdue.margin_told(wallet(100))
    assert overdue.margin_read(wallet(90), s(10)), "read it once more"
    assert judged(overdue, feed, 20) == []
    assert not overdue.margin_read(wallet(90), s(20))
    assert judged(overdue, feed, 20) == [Stream.MARGIN]


def test_a_read_that_was_older_than_the_stream_is_no_contradiction() -> None:
    overdue, feed = Overdue(GRACE_S), synced(1)
    overdue.margin_told(wallet(100))
    assert overdue.margin_read(wallet(110), s(10))
    assert not overdue.margin_read(wallet(100), s(20))
    overdue.margin_read(wallet(90), s(30))
    overdue.margin_told(wallet(80))
    assert overdue.margin_read(wallet(90), s(40)), "the stream moved: the doubt begins anew"
    assert judged(overdue, feed, 40) == []
