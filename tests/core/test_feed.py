"""The clocks of the streams: stale, unsynced, contradicting, flapping."""

import pytest

from chappie.core.feed import Feed
from chappie.model.config import FeedConfig
from chappie.model.enums import Stream
from chappie.model.units import SECOND_NS

QUOTE, BOOK = Stream.QUOTE, Stream.BOOK
MS = SECOND_NS // 1000


def feed(*, synced_at: float | None = 0.0) -> Feed:
    """A feed that began at 0, every stream synced at a moment or not at all."""
    made = Feed(FeedConfig(), grace_s=2.0)
    made.begin(0)
    if synced_at is not None:
        for stream in Stream:
            made.imaged(stream, s(synced_at))
    return made


def s(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def test_nothing_is_synced_at_the_start() -> None:
    start = feed(synced_at=None)
    assert not any(start.synced(stream) for stream in Stream)
    assert start.market_never_came()
    assert not start.market_is_stale(s(1000)), "before the first image only the sync clock runs"


def test_only_an_image_syncs_a_stream() -> None:
    start = feed(synced_at=None)
    start.advanced(Stream.ORDER, s(1))
    assert not start.synced(Stream.ORDER)
    start.imaged(Stream.ORDER, s(2))
    assert start.synced(Stream.ORDER)
    assert not start.all_synced
    assert feed().all_synced


def test_market_data_is_stale_at_five_seconds_and_not_before() -> None:
    silent = feed()
    assert not silent.market_is_stale(s(5) - 1)
    assert silent.market_is_stale(s(5))


@pytest.mark.parametrize("stream", [QUOTE, BOOK])
def test_either_half_of_the_market_keeps_it_fresh(stream: Stream) -> None:
    half = feed()
    half.advanced(stream, s(4))
    assert not half.market_is_stale(s(9) - 1)
    assert half.market_is_stale(s(9))


@pytest.mark.parametrize("stream", [one for one in Stream if one not in (QUOTE, BOOK)])
def test_no_other_stream_keeps_the_market_fresh(stream: Stream) -> None:
    other = feed()
    other.advanced(stream, s(4))
    assert other.market_is_stale(s(5))


def test_a_new_image_restarts_the_soft_clock_and_not_the_fault_clock() -> None:
    again = feed()
    again.advanced(BOOK, s(1))
    again.imaged(BOOK, s(6))
    assert not again.market_is_stale(s(11) - 1)
    assert again.market_is_stale(s(11))
    assert again.silent_since_ns == s(1)
    again.advanced(BOOK, s(12))
    assert again.silent_since_ns == s(12)


def test_the_first_image_ever_ends_the_silence_of_the_start() -> None:
    start = feed(synced_at=None)
    start.imaged(QUOTE, s(3))
    assert not start.market_never_came()
    assert start.silent_since_ns == s(3)


def test_an_unsynced_stream_keeps_the_moment_at_which_it_was_lost() -> None:
    lost = feed()
    lost.unsynced(QUOTE, s(10))
    lost.unsynced(QUOTE, s(20))
    lost.disconnected(s(30))
    assert lost.health(QUOTE).unsynced_since_ns == s(10)
    assert lost.health(BOOK).unsynced_since_ns == s(30)


def test_no_image_survives_a_disconnection() -> None:
    gone = feed()
    gone.disconnected(s(1))
    assert not any(gone.synced(stream) for stream in Stream)
    assert not gone.market_is_stale(s(100))


def test_book_and_quote_may_contradict_each_other_for_as_long_as_messages_travel() -> None:
    pair = feed()
    pair.agreed(s(1))
    assert not pair.disagrees(s(3))
    assert pair.disagrees(s(3) + 1)
    pair.unsynced(BOOK, s(3) + 2)
    assert not pair.disagrees(s(60)), "an unsynced pair says nothing"


def test_the_third_soft_stop_within_the_sync_time_flaps() -> None:
    stops = feed()
    for at_s in (10, 20):
        stops.soft_stopped(s(at_s))
        assert not stops.flaps(s(at_s))
    stops.soft_stopped(s(30))
    assert stops.flaps(s(30))


def test_soft_stops_far_apart_do_not_flap() -> None:
    stops = feed()
    for at_s in (0, 80, 160, 240):
        stops.soft_stopped(s(at_s))
        assert not stops.flaps(s(at_s))


def test_ages_count_from_the_last_word_and_are_unknown_before_it() -> None:
    start = feed(synced_at=None)
    assert start.age_ns(QUOTE, s(9)) is None
    start.imaged(QUOTE, s(9))
    start.advanced(QUOTE, s(10))
    assert start.age_ns(QUOTE, s(10) + 5 * MS) == 5 * MS
