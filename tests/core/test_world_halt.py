"""Halts seen from outside: what is cancelled, what is closed, and in what words it ends."""

import itertools
import json
from typing import Any

import msgspec
import pytest

from chappie.model.commands import DropOrders, SayHalted, SendCall, SendOrder
from chappie.model.config import Config
from chappie.model.events import Event, HaltAsked, StopAsked
from chappie.model.units import SECOND_NS
from chappie.simvenue.market import MarketFloor
from tests.core.world import ANOTHER_HAND, Calm, Target, World, trading

HALT, FLATTEN = HaltAsked("enough"), HaltAsked("enough", flatten=True)
RESTING = {"style": "post_only"}


class Thin(Calm):
    """A market that takes a hundred contracts of a seller each half second."""

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        floor.set_level("Buy", 600_000, 1000)
        floor.set_level("Sell", 600_001, 1000)

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        self._due_ns = at_ns + SECOND_NS // 2
        self._size += 100
        floor.set_level("Buy", 600_000, 100)
        floor.set_level("Sell", 610_000, self._size)


def holding(qty: int = 300, market: Calm | None = None, **sections: Any) -> World:
    """A bot that holds a position, with nothing at work."""
    bot: dict[str, object] = {"order_qty": 100, "max_position": 1000, **sections.pop("bot", {})}
    config = trading(bot=bot, **sections)
    world = World(config, policy=Target(qty), market=market or Calm())
    assert world.run(30, lambda: held(world) == qty), "it holds"
    world.run(3)
    assert world.bot.faults == []
    return world


def resting(config: Config | None = None) -> World:
    world = World(config or trading(orders=RESTING), policy=Target(100), market=Calm())
    assert world.run(20, lambda: bool(world.working)), "an order works"
    world.run(1)
    return world


def held(world: World) -> int:
    rows = world.truth()["position"]
    return int(rows[0]["currentQty"]) if rows else 0


def orders(world: World) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in world.sent("POST", "/order")]


def said_halted(world: World) -> list[str]:
    return [command.detail for _, command in world.bot.done if isinstance(command, SayHalted)]


def closing(world: World, before: int) -> list[dict[str, Any]]:
    """The orders since then, each a reduce-only one at market."""
    found = orders(world)[before:]
    assert all((one["ordType"], one["execInst"]) == ("Market", "ReduceOnly") for one in found)
    return found


# --- a halt


def test_a_halt_cancels_reads_and_ends_with_its_own_words() -> None:
    world = resting()
    reads = len(world.sent("GET", "/order"))
    world.bot.deliver(HALT)
    assert said_halted(world) == ["enough"], "at once: nothing is on its way"
    stop = world.run_to_stop(3)
    assert (stop.reason, stop.detail, stop.known) == ("halted", "enough", True)
    assert world.working == []
    assert len(world.sent("GET", "/order")) > reads, "a read after the halt shows it"


def test_a_halt_reads_although_nothing_worked() -> None:
    world = holding(300)
    reads = len(world.sent("GET", "/order"))
    world.bot.deliver(HALT)
    assert world.run_to_stop(3).known is True
    assert len(world.sent("GET", "/order")) > reads


def test_a_halt_does_not_wait_for_the_pause_after_rounds_that_disagreed() -> None:
    world = holding(300)
    world.order_by(ANOTHER_HAND, "Buy", 200)
    world.run(20)
    world.order_by(ANOTHER_HAND, "Sell", 200)
    world.run(0.1)
    world.bot.deliver(HALT)
    assert world.run_to_stop(3.5).known is True


@pytest.mark.parametrize("asked", [HALT, FLATTEN, StopAsked("operator", "SIGTERM")])
def test_when_a_stop_begins_what_has_not_left_is_withdrawn_before_anything_is_sent(
    asked: HaltAsked | StopAsked,
) -> None:
    world = resting()
    before = len(world.bot.done)
    world.bot.deliver(asked)
    sent = [c for _, c in world.bot.done[before:] if isinstance(c, DropOrders | SendCall)]
    assert isinstance(sent[0], DropOrders)
    assert len(sent) > 1


def test_a_halt_is_obeyed_only_when_an_order_on_its_way_can_no_longer_arrive() -> None:
    world = World(trading(), policy=Target(100), market=Calm())
    world.arm("delay_request", ms=1_500, route="/order", method="POST")
    assert world.run(20, lambda: bool(sent_orders(world)))
    world.bot.deliver(HALT)
    world.run(1)
    assert said_halted(world) == []
    assert orders(world) == []
    stop = world.run_to_stop(4)
    assert (stop.reason, stop.known) == ("halted", True)
    assert said_halted(world) == ["enough"]
    (arrived_ns,) = [at for at, c in world.bot.done if isinstance(c, SayHalted)]
    assert arrived_ns >= sent_orders(world)[0] + 1_500_000_000


def sent_orders(world: World) -> list[int]:
    return [at for at, command in world.bot.done if isinstance(command, SendOrder)]


@pytest.mark.parametrize("asked", [HALT, StopAsked("operator", "SIGTERM")])
@pytest.mark.parametrize("fate", ["lose_request", "accept_then_timeout"])
def test_a_stop_asks_again_for_a_disarm_whose_answer_is_lost(fate: str, asked: Event) -> None:
    world = resting()
    world.arm(fate, route="/order/cancelAllAfter", method="POST", count=1)
    world.bot.deliver(asked)
    stop = world.run_to_stop(3)
    assert (stop.known, world.working) == (True, [])
    assert world.exchange.pit.accounts[1].cancel_at_ns is None, "it would take foreign orders"


def test_another_stop_under_way_keeps_its_reason_when_a_halt_comes() -> None:
    world = resting()
    world.bot.deliver(StopAsked("operator", "SIGTERM"))
    world.bot.deliver(HALT)
    stop = world.run_to_stop(3)
    assert (stop.reason, stop.detail) == ("operator", "SIGTERM")
    assert said_halted(world) == ["enough"]


def test_a_start_into_a_halt_cancels_what_dead_runs_left_and_opens_nothing() -> None:
    world = resting()
    (left,) = world.working
    foreign = world.order_by(ANOTHER_HAND, "Buy", 100, 50_000.0)
    # The log of the dead run is lost: only the venue remembers the order.
    before = len(orders(world))
    world.bot.die()
    world.start(epoch=2, halted="by hand")
    stop = world.run_to_stop(10)
    assert (stop.reason, stop.detail, stop.known) == ("halted", "by hand", True)
    assert [one["orderID"] for one in world.working] == [foreign["orderID"]]
    assert left["orderID"] in world.sent("DELETE", "/order")[-1]["body"]
    assert len(orders(world)) == before
    assert not [one for one in world.sent() if one["path"].endswith("/realtime")][1:]


def test_a_start_into_a_halt_in_observe_only_cancels_too() -> None:
    world = resting()
    world.bot.die()
    world.config = trading(bot={"allow_trade": False})
    world.start(epoch=2, halted="by hand")
    stop = world.run_to_stop(10)
    assert (stop.reason, stop.known, world.working) == ("halted", True, [])


@pytest.mark.parametrize("fate", ["accept_then_timeout", "lose_request"])
def test_a_start_into_a_halt_resolves_what_a_dead_run_asked_for(fate: str) -> None:
    world = World(trading(orders=RESTING), policy=Target(100), market=Calm())
    world.arm(fate, route="/order", method="POST")
    assert world.run(20, lambda: bool(sent_orders(world)))
    world.bot.die()
    world.start(epoch=2, kept=world.bot.kept, halted="by hand")
    stop = world.run_to_stop(10)
    assert (stop.reason, stop.known, world.working) == ("halted", True, [])


def test_a_start_into_a_halt_ends_in_time_though_no_read_is_answered() -> None:
    world = World(trading(), policy=Target(0), market=Calm())
    world.run(1)
    world.bot.die()
    world.arm("lose_request", method="GET")
    world.start(epoch=2, halted="by hand")
    stop = world.run_to_stop(10.5)
    assert (stop.reason, stop.known) == ("halted", False)


# --- a flatten


def test_a_flatten_closes_the_position_with_one_order() -> None:
    world = holding(300)
    before = len(orders(world))
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(5)
    assert (stop.reason, stop.known) == ("halted", True)
    assert stop.detail == "enough; flattened, position 0"
    (order,) = closing(world, before)
    # One order, though it is more than bot.order_qty.
    assert (order["side"], order["orderQty"]) == ("Sell", 300)
    assert held(world) == 0


def test_a_closing_order_that_is_answered_late_is_neither_taken_back_nor_repeated() -> None:
    world = holding(300)
    before = len(orders(world))
    world.arm("delay_request", ms=1_200, route="/order", method="POST", count=1)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(10)
    assert (stop.detail, stop.known) == ("enough; flattened, position 0", True)
    assert len(closing(world, before)) == 1
    assert world.sent("DELETE", "/order") == []


def test_a_flatten_waits_until_the_cancels_are_verified() -> None:
    world = resting()
    world.order_by(ANOTHER_HAND, "Sell", 100)
    world.run(0.2)
    world.arm("lose_request", method="DELETE", for_ms=1_500)
    before = len(orders(world))
    world.bot.deliver(FLATTEN)
    world.run(1)
    assert len(orders(world)) == before
    stop = world.run_to_stop(20)
    assert world.working == []
    assert "position" in stop.detail


def test_a_flatten_of_nothing_sends_nothing() -> None:
    world = World(trading(), policy=Target(0), market=Calm())
    world.run(5)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(5)
    assert (stop.detail, stop.known) == ("enough; it was flat, position 0", True)
    assert orders(world) == []


def test_with_allow_trade_off_a_flatten_is_refused_in_words_and_the_halt_holds() -> None:
    world = holding(100)
    world.bot.die()
    world.config = trading(bot={"allow_trade": False})
    world.start(epoch=2, kept=world.bot.kept)
    world.run(5)
    before = len(orders(world))
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(5)
    assert stop.reason == "halted"
    assert stop.detail == "enough; not flattened: bot.allow_trade is off; position 100 stays open"
    assert len(orders(world)) == before
    assert held(world) == 100


def test_on_a_full_disk_a_halt_is_obeyed_and_a_flatten_refused_in_words() -> None:
    world = holding(300)
    before = len(sent_orders(world))
    world.disk.full = True
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(5)
    words = "enough; not flattened: no intent can be written any more; position 300 stays open"
    assert (stop.reason, stop.detail, stop.known) == ("halted", words, True)
    assert len(sent_orders(world)) == before


def test_a_closing_order_whose_answer_is_lost_is_asked_for_and_not_repeated() -> None:
    world = holding(300)
    before = len(orders(world))
    # Nor does the stream tell.
    for table in ("order", "execution", "position"):
        world.arm("mute_table", table=table)
    world.arm("accept_then_timeout", route="/order", method="POST", count=1)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(20)
    assert (stop.detail, stop.known) == ("enough; flattened, position 0", True)
    assert len(closing(world, before)) == 1
    assert held(world) == 0


def test_a_closing_order_that_never_arrives_is_repeated_once_that_is_certain() -> None:
    world = holding(300)
    before = len(sent_orders(world))
    world.arm("lose_request", route="/order", method="POST", count=1)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(20)
    assert (stop.detail, stop.known) == ("enough; flattened, position 0", True)
    first_ns, second_ns = sent_orders(world)[before:]
    assert second_ns - first_ns > 3 * SECOND_NS, "not before it can no longer arrive"
    assert held(world) == 0


def test_a_closing_order_that_is_shed_is_repeated_no_sooner_than_the_venue_wants() -> None:
    world = holding(300)
    before = len(sent_orders(world))
    world.arm("overload_503", for_ms=1_200)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(20)
    assert (stop.detail, stop.known) == ("enough; flattened, position 0", True)
    times = sent_orders(world)[before:]
    assert len(times) >= 3
    assert all(b - a >= SECOND_NS // 2 for a, b in itertools.pairwise(times))


def test_a_venue_that_sheds_for_long_is_asked_a_few_times_and_the_words_say_so() -> None:
    world = holding(300)
    before = len(sent_orders(world))
    world.arm("overload_503")
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(21)
    words = "enough; not flattened: 6 closing orders did not do it; position 300 stays open"
    assert (stop.reason, stop.detail) == ("halted", words)
    assert len(sent_orders(world)) - before == 6


def test_a_partly_filled_closing_order_goes_on_with_the_rest() -> None:
    world = holding(300, Thin())
    before = len(orders(world))
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(20)
    assert (stop.detail, stop.known) == ("enough; flattened, position 0", True)
    assert [one["orderQty"] for one in closing(world, before)] == [300, 200, 100]
    assert held(world) == 0


def test_a_position_that_another_hand_moved_is_not_flattened() -> None:
    world = holding(300)
    before = len(orders(world))
    world.order_by(ANOTHER_HAND, "Buy", 200)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(20)
    assert (stop.reason, stop.known) == ("halted", False)
    words = "enough; not flattened: websocket 500, ledger 300; position 300 stays open"
    assert stop.detail == words
    assert len(orders(world)) == before


def test_a_halt_that_is_under_way_becomes_a_flatten_when_it_is_asked_for() -> None:
    world = holding(300)
    world.bot.deliver(HALT)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(5)
    assert stop.detail == "enough; flattened, position 0"
    assert said_halted(world) == ["enough", "enough"]


@pytest.mark.parametrize("fault", ["lose_request", "error_500"])
def test_a_flatten_that_cannot_read_ends_in_its_time_and_calls_nothing_known(fault: str) -> None:
    world = holding(300)
    before = len(orders(world))
    world.arm(fault, method="GET")
    world.bot.deliver(FLATTEN)
    begun_s = world.now_s
    stop = world.run_to_stop(21)
    assert 19.5 <= world.now_s - begun_s <= 20.5
    assert (stop.reason, stop.known) == ("halted", False)
    assert stop.detail == "enough; not flattened: no time is left; position 300 stays open"
    assert len(orders(world)) == before


def test_a_position_of_less_than_a_lot_is_said_to_be_left() -> None:
    world = holding(300)
    market = world.bot.core.market
    assert market.seen is not None
    coarse = msgspec.structs.replace(market.seen.instrument, lot_size=1_000)
    market.seen = msgspec.structs.replace(market.seen, instrument=coarse)
    world.bot.deliver(FLATTEN)
    stop = world.run_to_stop(5)
    assert "it is less than a lot of 1000; position 300 stays open" in stop.detail
