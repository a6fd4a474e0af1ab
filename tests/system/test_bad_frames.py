"""What may come over the websocket: every oddity is named, and none is believed."""

from typing import Any

import pytest

from tests.system.rig import FREE, SHORT, TRADING, Bot, Played, Scene, Seat, Venue, agree, play

pytestmark = pytest.mark.processes
# What is unsynced soon after it was subscribed waits 10 s for the next try; no clock of these
# tests may run out before.
PATIENT = (
    *SHORT,
    "feed.soft_stop_after_s=6",
    "feed.fault_after_s=15",
    "feed.sync_fault_after_s=40",
    "bot.policy=cycle",
    "policy.cycle.period_s=0.7",
)
RECOVERS_WITHIN_S = 30.0
PRIVATE = ("order", "execution", "position", "margin")


def is_well(bot: Bot) -> bool:
    """No fault is left, going by the log."""
    active: set[tuple[str, str]] = set()
    for line in bot.events():
        if line["event"] == "fault":
            active.add((line["fault"], line["subject"]))
        elif line["event"] == "fault_cleared":
            active.discard((line["fault"], line["subject"]))
    return not active


def unsynced(stream: str) -> Any:
    return lambda one: one.since("fault", fault="stream_unsynced", subject=stream)


def decides_twice(one: Played) -> bool:
    return len(one.since("decision")) >= 2


def well_and_decides(one: Played) -> bool:
    """Well, and with a decision later than the last fault that ended."""
    log = one.bot.events()[one.before :]
    ends = [n for n, line in enumerate(log) if line["event"] == "fault_cleared"]
    faulted = any(line["event"] == "fault" for line in log)
    later = log[ends[-1] :] if ends else []
    return faulted and is_well(one.bot) and any(line["event"] == "decision" for line in later)


def one(fault: str, **values: object) -> tuple[tuple[str, dict[str, Any]], ...]:
    return ((fault, values),)


def some_trades(played: Played) -> bool:
    return len(played.orders_since()) >= 3


SCENES: dict[str, Scene] = {
    "half a quote": Scene(unsynced("quote"), one("truncated_json", table="quote", count=1)),
    "half a book": Scene(
        unsynced("orderBook"), one("truncated_json", table="orderBookL2", count=1)),
    "half a trade": Scene(unsynced("trade"), one("truncated_json", table="trade", count=1)),
    "half an instrument": Scene(
        lambda p: p.since("stream_opened"), one("truncated_json", table="instrument", count=1)),
    "unknown table": Scene(lambda p: p.since("wire_refused"), one("unknown_table")),
    "unknown ordStatus": Scene(unsynced("order"), one("unknown_enum", table="order"), TRADING),
    "unknown execType": Scene(
        lambda p: unsynced("execution")(p) and len(p.bot.fills()) == len(p.seat.trades()),
        one("unknown_enum", table="execution"), TRADING),
    "10 MiB of book": Scene(decides_twice, one("huge_partial")),
    "10 MiB of nonsense": Scene(unsynced("order"), one("huge_partial", table="order")),
    "unknown level": Scene(unsynced("orderBook"), one("corrupt_book", value="unknown_id", count=1)),
    # Not every change can be crossed: one that only updates a size names no price.
    "crossed book": Scene(unsynced("orderBook"), one("corrupt_book", value="crossed", count=20)),
    "negative size": Scene(unsynced("orderBook"), one("corrupt_book", value="negative", count=9)),
    # A few lost changes may be mere sizes, which the next change heals unseen; not this many.
    "lost changes of the book": Scene(
        well_and_decides, one("drop", table="orderBookL2", count=80), (), RECOVERS_WITHIN_S),
    "everything private twice": Scene(
        some_trades, tuple(("duplicate", {"table": table}) for table in PRIVATE), TRADING),
    "no order message": Scene(unsynced("order"), one("drop", table="order"), TRADING),
    "no execution message": Scene(
        lambda p: unsynced("execution")(p) and len(p.bot.fills()) == len(p.seat.trades()),
        one("drop", table="execution"), TRADING),
    "cut": Scene(well_and_decides, one("cut")),
    "closed": Scene(well_and_decides, one("close", status=1012)),
    "everything at once": Scene(
        well_and_decides,
        (
            *one("truncated_json", table="quote", count=1),
            *one("unknown_table"),
            *one("corrupt_book", count=1),
            *one("huge_partial", table="order"),
            *one("duplicate", count=20),
            *one("cut"),
        ),
        (), RECOVERS_WITHIN_S),
}  # fmt: skip
NAMED = {
    "half a quote": "not_json",
    "half a book": "not_json",
    "half a trade": "not_json",
    "half an instrument": "not_json",
    "unknown table": "unknown_table",
    "unknown ordStatus": "unknown_enum",
    "unknown execType": "unknown_enum",
    "10 MiB of nonsense": "unknown_keys",
}


@pytest.fixture(scope="module")
def all_played(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    return play(venue, tmp_path_factory.mktemp("frames"), SCENES, PATIENT)


@pytest.fixture
def played(all_played: dict[str, Played], request: pytest.FixtureRequest) -> Played:
    found = all_played[request.param]
    if found.failure is not None:
        raise found.failure
    return found


def of(*names: str) -> Any:
    return pytest.mark.parametrize("played", names, indirect=True)


@of(*SCENES)
def test_it_is_survived_and_nobody_is_shown_a_traceback(played: Played) -> None:
    assert played.code == 0
    assert "Traceback" not in played.bot.said
    assert "internal_error" not in played.bot.said


@pytest.mark.parametrize(("played", "why"), NAMED.items(), indirect=["played"])
def test_what_cannot_be_read_is_refused_by_name_and_blocks_orders(played: Played, why: str) -> None:
    assert played.since("wire_refused")[0]["why"] == why
    assert played.since("fault", fault="wire_refused")


@of("half a quote", "half a book", "half a trade")
def test_half_a_frame_of_the_market_costs_its_stream_alone(played: Played) -> None:
    assert not played.since("stream_lost")
    assert len(played.since("fault", fault="stream_unsynced")) == 1


@of("half an instrument")
def test_half_a_frame_of_any_other_table_costs_the_connection(played: Played) -> None:
    assert played.since("stream_lost")
    assert played.since("stream_opened", conn=2)
    assert played.since("fault", fault="unreconciled")


@of("10 MiB of book")
def test_an_image_of_10_mib_that_is_true_is_taken_in(played: Played) -> None:
    assert not played.since("wire_refused")
    # A venue that is busy with such images may answer a read late.
    assert {line["fault"] for line in played.since("fault")} <= {"unreconciled"}


@of("unknown level", "crossed book", "negative size")
def test_a_corrupt_book_is_never_believed(played: Played, request: pytest.FixtureRequest) -> None:
    words = {
        "unknown level": ("unknown level",),
        "crossed book": ("crossed", "changed price"),
        "negative size": ("size -",),
    }[request.node.callspec.id]
    # A venue that goes on lying is found out again after each new image.
    fault, *_ = played.since("fault", fault="stream_unsynced")
    assert any(word in fault["detail"] for word in words)
    # Until there is a new image nothing is decided on it.
    log = played.bot.events()
    since = log[log.index(fault) :]
    names = [(line["event"], line.get("subject")) for line in since]
    ended = ("fault_cleared", "orderBook")
    cleared = names.index(ended) if ended in names else len(names)
    assert "decision" not in [name for name, _ in names[:cleared]]


@of("lost changes of the book")
def test_after_lost_changes_a_new_image_is_asked_for_and_it_decides_again(played: Played) -> None:
    assert played.since("resubscribing", stream="orderBook")


@of("cut", "closed")
def test_after_a_broken_connection_it_reconciles_before_it_decides(played: Played) -> None:
    names = [line["event"] for line in played.bot.events()[played.before :]]
    lost = names.index("stream_lost")
    assert "decision" in names[lost:]
    assert names.index("reconciled", lost) < names.index("decision", lost)


@of("everything private twice", "no order message", "no execution message", "unknown execType")
def test_every_fill_is_in_the_ledger_once_all_the_same(
    played: Played, request: pytest.FixtureRequest
) -> None:
    agree(played.bot, played.seat, told="twice" in request.node.callspec.id)
    assert len(played.bot.fills()) > 0


def test_an_unknown_state_of_the_instrument_stops_all_orders(own_venue: Venue, bot: Bot) -> None:
    seat = own_venue.seat()
    bot.start("trade", *PATIENT, *TRADING, seat=seat)
    bot.until_decides()
    own_venue.arm("instrument_state", value="Weird")
    bot.until_event("wire_refused", why="unknown_enum")
    assert ("stream_unsynced", "instrument") in bot.faults()
    assert bot.stop() == 0


def test_a_closed_instrument_is_not_traded_and_an_open_one_is_again(
    own_venue: Venue, bot: Bot
) -> None:
    seat = own_venue.seat()
    bot.start("trade", *PATIENT, *TRADING, seat=seat)
    bot.until_decides()
    own_venue.arm("instrument_state", value="Closed")
    bot.until_event("fault", fault="instrument_not_open")
    sent, known = len(seat.new_orders()), len(seat.requests())
    # Several rounds of reconciling pass without an order.
    bot.until(lambda: len(seat.requests()) >= known + 9)
    assert len(seat.new_orders()) == sent
    own_venue.clear()
    bot.until(lambda: len(seat.new_orders()) > sent)
    assert bot.stop() == 0


def test_a_lost_position_message_stops_all_orders_until_there_is_an_image(
    bot: Bot, seat: Seat
) -> None:
    bot.start("trade", *PATIENT, *TRADING, "feed.sync_fault_after_s=4", seat=seat)
    bot.until(lambda: bot.fills())
    seat.arm("drop", table="position")
    bot.until_event("fault", fault="position_disagrees")
    sent = len(seat.new_orders())
    bot.until_event("resubscribing", stream="position")
    # Nor does the image come: the table is named, not a mismatch of what agrees.
    assert bot.ends() == 11
    assert len(seat.new_orders()) == sent
    assert bot.last_stop()["detail"].startswith("position:")


def test_silence_is_a_soft_stop_then_feed_stale_and_the_guardian_starts_it_again(
    bot: Bot, seat: Seat
) -> None:
    resting = ("orders.style=post_only", "feed.soft_stop_after_s=2", "feed.fault_after_s=5")
    bot.start("up", *FREE, *SHORT, *TRADING, *resting, seat=seat)
    bot.until(lambda: seat.open_orders())
    seat.arm("mute_all")
    bot.until_event("soft_stop")
    # Promise 6: our resting order goes over REST while the socket says nothing.
    bot.until(lambda: not seat.open_orders(), 2.0)
    sent = len(seat.new_orders())
    bot.until(lambda: bot.shown().get("trader", {}).get("restarts") == 1)
    stop = bot.shown()["trader"]["last_stop"]
    assert (stop["reason"], stop["code"]) == ("feed_stale", 10)
    assert len(seat.new_orders()) == sent
    seat.venue.clear()
    bot.until_mode("trading", RECOVERS_WITHIN_S)
    assert bot.stop() == 0
