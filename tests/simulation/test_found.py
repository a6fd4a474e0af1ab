"""What seeds found, told as scenarios that a person can follow."""

from chappie.model.commands import SendOrder
from chappie.model.units import MILLISECOND_NS, SECOND_NS
from chappie.simulation.network import Network, Trip
from tests.core.world import STRANGER, Calm, Target, World, trading

SOON_NS = 20 * MILLISECOND_NS


class Trips(Network):
    """A steady network, but for the next POSTs, whose trips the test decides."""

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[Trip] = []

    def trip(self, now_ns: int, method: str) -> Trip:
        if method == "POST" and self.posts:
            return self.posts.pop(0)
        return super().trip(now_ns, method)


def world_with(policy: Target, style: str) -> tuple[World, Trips]:
    trips = Trips()
    world = World(trading(orders={"style": style}), policy=policy, market=Calm())
    world.network = trips
    return world, trips


def switch_ns(world: World) -> int | None:
    return world.exchange.pit.accounts[1].cancel_at_ns


def test_a_disarm_that_is_late_does_not_undo_a_later_arming() -> None:
    """Seeds 81 and 100. The connection of a disarm breaks, the disarm travels on; the next order
    arms the switch, and then the old disarm arrives.
    """
    policy = Target(100)
    world, trips = world_with(policy, "market")
    assert world.run(20, lambda: switch_ns(world) is not None)
    trips.posts = [Trip(SOON_NS // 4, SOON_NS // 4), Trip(1_800 * MILLISECOND_NS, None, SOON_NS)]
    assert world.run(30, lambda: not trips.posts), "filled, verified, disarmed"
    policy.target = 200
    assert world.run(10, lambda: world.bot.core.desk.arming.switch.holds(world.at().now_ns))
    armed_ns = world.now_ns
    while world.now_ns < armed_ns + 5 * SECOND_NS:
        world.run(0.1)
        believed = world.bot.core.desk.arming.switch.holds(world.at().now_ns)
        assert switch_ns(world) is not None or not believed


def test_what_a_dead_run_asked_for_is_settled_before_anything_new_is_sent() -> None:
    """Seed 8. The process dies as its order leaves, and is started again at once; the order
    arrives two seconds later.
    """
    policy = Target(100)
    world, trips = world_with(policy, "market")
    trips.posts = [Trip(SOON_NS // 4, SOON_NS // 4), Trip(1_900 * MILLISECOND_NS, None)]
    assert world.run(20, lambda: any(isinstance(one, SendOrder) for _, one in world.bot.done))
    dead = world.bot
    dead.die()
    world.start(epoch=2, kept=dead.kept)
    pit = world.exchange.pit
    assert not world.run(30, lambda: pit.accounts[1].position.qty > 100), "bought twice"
    assert pit.accounts[1].position.qty == 100


def test_a_start_with_an_intent_in_doubt_waits_for_the_instrument() -> None:
    """Seeds 15, 48, 56 and 82. A query about a dead run's order is answered before the
    instrument is known.
    """
    policy = Target(100)
    world, trips = world_with(policy, "market")
    trips.posts = [Trip(SOON_NS // 4, SOON_NS // 4), Trip(None, None)]
    assert world.run(20, lambda: any(isinstance(one, SendOrder) for _, one in world.bot.done))
    dead = world.bot
    dead.die()
    world.arm("error_500", route="/instrument")
    world.start(epoch=2, kept=dead.kept)
    world.run(10)
    assert world.bot.end is None
    world.clear()
    world.run(30)
    (row,) = world.truth()["position"]
    assert row["currentQty"] == 100


def test_one_stale_list_of_open_orders_does_not_bring_an_order_back_to_life() -> None:
    """Seed 257. A list of open orders is from before a cancel; while the old order is asked
    for, the new one fills.
    """
    policy = Target(-100)
    world, _ = world_with(policy, "post_only")
    account = world.exchange.pit.accounts[1]
    assert world.run(20, lambda: bool(account.open_orders))
    world.order_by(STRANGER, "Buy", 1_100)
    world.order_by(STRANGER, "Sell", 1_000, 60_000.1)
    assert world.run(10, lambda: world.bot.core.desk.account.ledger.qty == -100)
    policy.target = 0
    assert world.run(20, lambda: bool(account.open_orders))
    (old,) = account.open_orders
    listed = len(world.sent("GET", "/order"))
    assert world.run(20, lambda: len(world.sent("GET", "/order")) > listed), "the old one is listed"
    policy.target = -100
    assert world.run(8, lambda: old not in account.open_orders)
    policy.target = 0
    assert world.run(8, lambda: bool(account.open_orders))
    world.arm("stale_read", route="/order", method="GET", count=1)
    world.venue.faults.struck.clear()
    assert world.run(20, lambda: bool(world.venue.faults.struck)), "it showed the old one again"
    world.run(0.011)
    world.order_by(STRANGER, "Sell", 1_100)
    world.run(30)
    assert world.bot.end is None
    assert account.position.qty == 0


def test_a_start_that_never_learns_the_instrument_stops_for_the_order_in_doubt() -> None:
    """The dead run's order is in doubt and the instrument cannot be read. The stop cancels it all
    the same, and the answer to that cancel comes before any terms are known.
    """
    world, trips = world_with(Target(100), "market")
    trips.posts = [Trip(SOON_NS // 4, SOON_NS // 4), Trip(SOON_NS, None)]
    assert world.run(20, lambda: any(isinstance(one, SendOrder) for _, one in world.bot.done))
    dead = world.bot
    dead.die()
    world.arm("error_500", route="/instrument")
    world.start(epoch=2, kept=dead.kept)
    assert world.run_to_stop(60).reason == "order_unresolved"
    assert world.sent("DELETE", "/order"), "a stop cancels what may work"


def test_the_fence_lies_behind_an_arrival_on_every_clock_that_is_tolerated() -> None:
    """By reading. The configuration tolerates five seconds, the venue's clock is four behind, and
    an order arrives later than its fence and within its expiry.
    """
    config = trading(clock={"max_skew_s": 5.0})
    trips = Trips()
    world = World(config, policy=Target(100), market=Calm())
    world.network = trips
    world.arm("skew_clock", ms=-4_000)
    assert world.run(5, lambda: switch_ns(world) is not None)
    trips.posts = [Trip(6_500 * MILLISECOND_NS, None)]
    pit = world.exchange.pit
    assert not world.run(30, lambda: pit.accounts[1].position.qty > 100), "bought twice"


def test_a_market_that_opens_again_unheard_is_traded_on_again() -> None:
    """Seed 848. The contract closes; while its table is mute it opens again."""
    policy = Target(0)
    world, _ = world_with(policy, "market")
    world.run(10)
    world.arm("instrument_state", value="Closed")
    assert world.run(5, lambda: "instrument_not_open" in world.bot.faults)
    world.arm("mute_table", table="instrument")
    world.clear("instrument_state")
    policy.target = 100
    # A read contradicts the table, which is then asked for anew.
    assert world.run(15, lambda: "stream_unsynced:instrument" in world.bot.faults)
    world.clear()
    assert world.run(15, lambda: world.exchange.pit.accounts[1].position.qty == 100)
