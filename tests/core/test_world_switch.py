"""The dead man's switch against the whole core: read back, renewed, missed, and its last minute."""

import pytest

from chappie.model.timestamps import iso_ns, ns_iso
from chappie.model.units import SECOND_NS
from tests.core.rig import Rig, execution_row, order_row
from tests.core.world import Calm, Target, World, trading

ROUTE = "/order/cancelAllAfter"
RESTING: dict[str, object] = {"style": "post_only"}


def resting(**dead_man: object) -> tuple[World, Target]:
    policy = Target(0)
    keys = {"timeout_s": 30.0, "refresh_every_s": 10.0} | dead_man
    world = World(trading(orders=RESTING, dead_man=keys), policy=policy, market=Calm())
    world.run(10)
    policy.target = 100
    assert world.run(10, lambda: bool(world.working))
    return world, policy


def missed_since(world: World) -> str | None:
    return world.bot.core.snapshot(world.at()).dead_man.missed_since


def test_a_renewal_that_keeps_failing_is_named_and_our_orders_go_before_the_venue_cancels() -> None:
    world, _ = resting()
    began_ns = world.now_ns
    world.arm("error_500", route=ROUTE)
    world.run(12.9)
    assert missed_since(world) is None, "a request's time limit is left to it"
    world.run(0.6)
    since = missed_since(world)
    assert since is not None
    due_ns = iso_ns(since)
    assert due_ns is not None
    assert abs(due_ns - (began_ns + 10_000_000_000)) < 300_000_000
    assert len(world.bot.said("dead_man_renewal_missed")) == 1
    assert world.working, "there is time left"
    assert world.run(20, lambda: not world.working)
    assert world.now_ns - began_ns < 29_000_000_000, "by our own hand"
    assert world.sent("DELETE", "/order")[-1]["status"] == 200
    assert world.bot.said("cancelling", why="the dead man's switch runs out")
    sent = len(world.sent("POST", "/order"))
    world.run(20)
    assert len(world.sent("POST", "/order")) == sent, "no new order without the switch"
    assert missed_since(world) is None, "nothing relies on it any more"
    assert len(world.bot.said("dead_man_renewal_missed")) == 1


def test_a_renewal_that_comes_late_ends_the_alarm() -> None:
    world, _ = resting()
    world.arm("error_500", route=ROUTE, for_ms=15_000)
    world.run(14)
    assert missed_since(world) is not None
    world.run(6)
    assert missed_since(world) is None
    assert world.working
    assert not world.sent("DELETE", "/order")


def test_renewals_in_time_are_never_missed() -> None:
    world, _ = resting()
    for _ in range(400):
        world.run(0.25)
        assert missed_since(world) is None
    assert not world.bot.said("dead_man_renewal_missed")
    assert world.working


def test_no_order_leaves_on_an_answer_that_armed_something_else() -> None:
    rig = Rig(trading())
    rig.target = 100
    rig.start()
    rig.wait(3, rig.quote)

    def answered(after_s: float | None) -> None:
        asked = rig.asked_for("POST", ROUTE)
        now_ns = rig.at.wall_ns
        fires = 0 if after_s is None else ns_iso(now_ns + round(after_s * SECOND_NS))
        rig.answer(asked, {"now": ns_iso(now_ns), "cancelTime": fires})
        rig.wait(3, rig.quote)

    answered(0.06)  # a client that took milliseconds for seconds
    assert rig.orders_sent == []
    answered(None)
    assert rig.orders_sent == []
    assert len(rig.said("dead_man_unproven")) == 2
    answered(60.5)
    assert len(rig.orders_sent) == 1


def test_foreign_orders_are_shown_by_their_ids_and_only_the_newest() -> None:
    rig = Rig(trading())
    rig.start()
    for number in range(30):
        rig.say("order", "insert", order_row(f"hand-{number}", "New"))
    rig.say("execution", "insert", execution_row("e1", "fast"))
    shown = rig.core.snapshot(rig.at).foreign_orders
    assert len(shown) == 20
    assert (shown[-1].order_id, shown[-1].cl_ord_id) == ("venue-fast", "fast")
    assert shown[0].cl_ord_id == "hand-11"
    assert len(rig.said("foreign_order")) == 30


@pytest.mark.parametrize("halted", ["by hand", None])
def test_the_switch_of_a_dead_run_whose_log_is_lost_is_taken_off(halted: str | None) -> None:
    """It would take the orders of others, long after ours are gone."""
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Calm())
    assert world.run(20, lambda: bool(world.working))
    world.bot.die()
    account = world.exchange.pit.accounts[1]
    assert account.cancel_at_ns is not None
    world.policy = Target(0)
    world.start(epoch=2, halted=halted)
    assert world.run(30, lambda: account.cancel_at_ns is None)
    assert world.working == []
