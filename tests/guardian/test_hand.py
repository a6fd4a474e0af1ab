"""The hand against a venue in a process of its own: real sockets, a real state folder."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chappie.guardian.hand import Access, Hand
from chappie.journal.kept import KeptLog
from chappie.live import clock
from chappie.live.state_dir import StateDir
from chappie.model.config import BotConfig, Config, OrdersConfig, VenueConfig
from chappie.model.records import Ended, Intent, Waits
from tests.system.rig import Seat, Venue, a_venue

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    with a_venue(seats=15) as made:
        yield made


@pytest.fixture
def seat(venue: Venue) -> Iterator[Seat]:
    yield venue.seat()
    venue.clear()


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, level: str, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


def config(seat: Seat, *, allow_trade: bool = True) -> Config:
    return Config(
        venue=VenueConfig(rest_url=seat.venue.rest_url, ws_url=seat.venue.ws_url),
        bot=BotConfig(allow_trade=allow_trade),
        orders=OrdersConfig(ack_timeout_s=1.0, expires_after_s=1.0),
    )


def a_hand(seat: Seat, folder: Path, log: Log, **more: bool) -> Hand:
    access = Access(seat.venue.rest_url, seat.key, seat.secret)
    return Hand(config(seat, **more), folder, lambda: access, log)


def place(seat: Seat, **order: Any) -> str:
    return str(seat.place(side="Buy", orderQty=100, price=50_000, **order)["orderID"])


def test_nothing_of_ours_is_left_and_a_stranger_s_order_is(seat: Seat, tmp_path: Path) -> None:
    place(seat, clOrdID="chp-chappie-aaaaaa-1")
    foreign = place(seat, clOrdID="by-hand")

    async def scene() -> None:
        left = await a_hand(seat, tmp_path, Log()).leave_nothing(10.0)
        assert (left.verified, left.cancelled, left.foreign) == (True, 1, 1)

    asyncio.run(scene())
    assert [order["orderID"] for order in seat.open_orders()] == [foreign]


def test_without_a_key_it_says_so_and_sends_nothing(seat: Seat, tmp_path: Path) -> None:
    async def scene() -> None:
        hand = Hand(config(seat), tmp_path, lambda: "CHAPPIE_API_KEY is missing", Log())
        left = await hand.leave_nothing(5.0)
        assert (left.verified, left.detail) == (False, "CHAPPIE_API_KEY is missing")
        ended = await hand.flatten(5.0)
        assert (ended.done, ended.detail) == (False, "CHAPPIE_API_KEY is missing")
        assert hand.cannot == "CHAPPIE_API_KEY is missing"

    asyncio.run(scene())
    assert seat.requests() == []


def test_a_venue_that_never_answers_costs_the_errand_its_time_and_no_more(
    seat: Seat, tmp_path: Path
) -> None:
    seat.arm("lose_request", for_ms=60_000)

    async def scene() -> None:
        left = await a_hand(seat, tmp_path, Log()).leave_nothing(1.5)
        assert not left.verified
        assert "no time left" in left.detail

    asyncio.run(scene())


def test_two_errands_take_turns_and_the_second_waits_only_for_its_own_time(
    seat: Seat, tmp_path: Path
) -> None:
    seat.arm("lose_request", for_ms=60_000)

    async def scene() -> None:
        hand = a_hand(seat, tmp_path, Log())
        first = asyncio.create_task(hand.leave_nothing(2.0))
        await asyncio.sleep(0.1)
        second = await hand.leave_nothing(0.3)
        assert second.detail == "another errand at the venue is still under way"
        assert not (await first).verified
        # An errand that is given up leaves its turn to the next one.
        given_up = asyncio.create_task(hand.leave_nothing(5.0))
        await asyncio.sleep(0.1)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        seat.venue.clear()
        assert (await hand.leave_nothing(10.0)).verified

    asyncio.run(scene())


def test_a_bug_in_an_errand_is_told_and_ends_nobody(
    seat: Seat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()

    def broken(*args: object) -> None:
        raise ValueError("a bug")

    async def scene() -> None:
        hand = a_hand(seat, tmp_path, log)
        with monkeypatch.context() as patch:
            patch.setattr("chappie.guardian.errands.sweep.Sweep._ask", broken)
            assert "a bug" in (await hand.leave_nothing(5.0)).detail
        assert "internal_error" in log.names()
        assert (await hand.leave_nothing(5.0)).verified

    asyncio.run(scene())


def test_a_flatten_closes_the_position_and_the_next_start_finds_its_intent(
    seat: Seat, tmp_path: Path
) -> None:
    seat.place(side="Buy", orderQty=300, ordType="Market", clOrdID="chp-chappie-aaaaaa-1")

    async def scene() -> None:
        ended = await a_hand(seat, tmp_path, Log()).flatten(15.0)
        assert (ended.done, ended.position, ended.orders_sent) == (True, 0, 1)

    asyncio.run(scene())
    assert seat.position_qty() == 0
    state = StateDir(tmp_path)
    intent, end = KeptLog(state.kept_path).records
    assert isinstance(intent, Intent)
    assert isinstance(end, Ended)
    (_, closing) = seat.new_orders()
    assert closing["clOrdID"] == [intent.order.cl_ord_id] == [end.cl_ord_id]
    assert "ReduceOnly" in closing["body"]
    # The next run is newer than the order, or it would take it for another instance's.
    epoch = int(intent.order.cl_ord_id.split("-")[2], 36)
    assert state.next_epoch(0) > epoch
    state.close()


def test_beside_a_living_trader_no_closing_order_is_sent(seat: Seat, tmp_path: Path) -> None:
    living = StateDir(tmp_path)

    async def scene() -> None:
        ended = await a_hand(seat, tmp_path, Log()).flatten(5.0)
        assert not ended.done
        assert "beside a living trader" in ended.detail

    asyncio.run(scene())
    living.close()
    assert seat.requests() == []


def test_with_allow_trade_off_a_flatten_is_refused_in_words(seat: Seat, tmp_path: Path) -> None:
    async def scene() -> None:
        ended = await a_hand(seat, tmp_path, Log(), allow_trade=False).flatten(5.0)
        assert not ended.done
        assert "bot.allow_trade is off" in ended.detail

    asyncio.run(scene())
    assert seat.requests() == []


def test_a_disk_that_takes_nothing_does_not_keep_a_position_open(
    seat: Seat, tmp_path: Path
) -> None:
    seat.place(side="Sell", orderQty=100, ordType="Market", clOrdID="chp-chappie-aaaaaa-1")
    log = Log()
    # A folder in the place of the log fails every write of it, as a broken disk does.
    (tmp_path / "kept.log").mkdir()

    async def scene() -> None:
        assert (await a_hand(seat, tmp_path, log).flatten(15.0)).done

    asyncio.run(scene())
    assert "record_not_kept" in log.names()
    assert seat.position_qty() == 0


def test_no_word_of_it_holds_the_secret(seat: Seat, tmp_path: Path) -> None:
    log = Log()
    access = Access(seat.venue.rest_url, seat.key, seat.secret)
    seat.arm("refuse", status=401, text=f"Invalid API Key {seat.key}", for_ms=60_000)

    async def scene() -> None:
        left = await a_hand(seat, tmp_path, log).leave_nothing(3.0)
        assert "***" in left.detail
        assert seat.key not in left.detail

    asyncio.run(scene())
    assert seat.key not in repr(access)
    assert seat.secret not in repr(access) + json.dumps(log.events)


def test_a_ban_that_an_earlier_run_was_told_binds_the_guardian_too(
    seat: Seat, tmp_path: Path
) -> None:
    wall_ns = clock.now().wall_ns
    kept = KeptLog(tmp_path / "kept.log")
    kept.append(Waits(wall_ns, wall_ns + 3_600_000_000_000, True))
    kept.close()

    async def scene() -> None:
        log = Log()
        hand = a_hand(seat, tmp_path, log)
        left = await hand.leave_nothing(2.0)
        assert not left.verified
        assert "banned" in left.detail
        assert seat.requests() == []
        # Until a person says that it is over.
        await hand.lift_ban()
        assert log.names() == ["ban_lifted"]
        assert (await hand.leave_nothing(10.0)).verified

    asyncio.run(scene())
