"""A bot that dies at a bad moment and starts again, against the simulated venue."""

from collections.abc import Callable

import pytest

from chappie.model.records import Ended, Fill, Intent, Kept
from tests.core.world import ANOTHER_HAND, Calm, Target, World, trading


def held(world: World) -> int:
    rows = world.truth()["position"]
    return int(rows[0]["currentQty"]) if rows else 0


def killed_while_asking(
    fault: str,
    wait_s: float,
    keep: Callable[[Kept], bool] = lambda record: True,
    fields: dict[str, object] | None = None,
) -> tuple[World, int]:
    """A bot killed ``wait_s`` after its order left, and started again at once.

    Returns the number of the last request of the dead run.
    """
    policy = Target(0)
    world = World(trading(), policy=policy)
    world.run(10)
    world.arm(fault, route="/order", method="POST", count=1, **(fields or {}))
    policy.target = 100
    assert world.run(10, lambda: bool(world.bot.said("order_sent")))
    world.run(wait_s)
    kept = [record for record in world.bot.kept if keep(record)]
    number = world.sent()[-1]["number"]
    world.start(epoch=2, kept=kept)
    return world, number


@pytest.mark.parametrize("wait_s", [0.0, 0.2, 1.0])
@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("delay_request", {"ms": 1_500}),
        ("accept_then_timeout", {}),
        ("lose_request", {}),
        ("delay_answer", {"ms": 1_500}),
    ],
)
def test_an_order_whose_answer_the_dead_bot_never_got_is_settled_and_never_doubled(
    fault: str, fields: dict[str, object], wait_s: float
) -> None:
    world, _ = killed_while_asking(fault, wait_s, fields=fields)
    for _ in range(200):
        world.run(0.1)
        assert held(world) <= 100, "the target was bought twice"
    assert held(world) == 100
    assert world.bot.core.desk.account.ledger.qty == 100
    assert world.bot.faults == []
    assert world.working == []


def test_no_order_leaves_before_the_dead_bots_last_one_can_no_longer_arrive() -> None:
    world, number = killed_while_asking("lose_request", 0.1)
    world.run(20)
    (dead,) = [row for row in world.sent("POST", "/order") if row["number"] <= number]
    (first,) = [row for row in world.sent("POST", "/order") if row["number"] > number]
    assert first["atNs"] - dead["atNs"] > 3_000_000_000
    assert held(world) == 100


def test_a_lost_end_is_asked_for_and_a_lost_fill_is_read_again() -> None:
    world, _ = killed_while_asking(
        "accept_then_timeout", 1.0, lambda record: not isinstance(record, Ended | Fill)
    )
    world.run(20)
    assert held(world) == world.bot.core.desk.account.ledger.qty == 100
    assert world.bot.faults == []


def test_every_intent_of_a_run_has_its_end_once_it_is_calm() -> None:
    policy = Target(0)
    world = World(trading(orders={"style": "post_only"}), policy=policy, seed=3)
    for step in range(12):
        policy.target = (100, 0, -100, 0)[step % 4]
        world.run(10)
    policy.target = 0
    world.run(30)
    kept = world.bot.kept
    asked = [r.order.cl_ord_id for r in kept if isinstance(r, Intent)]
    over = [r.cl_ord_id for r in kept if isinstance(r, Ended)]
    assert len(asked) > 5
    assert sorted(over) == sorted(asked), "each once"
    world.start(epoch=2, kept=kept)
    world.run(5, lambda: world.bot.asked_policy)
    assert world.now_s < 4
    assert not [row for row in world.sent("GET", "/order") if "chp-test" in row["query"]]


def test_a_lost_state_folder_is_made_up_for_by_the_names_at_the_venue() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Calm())
    assert world.run(20, lambda: bool(world.working))
    (left,) = world.working
    number = world.sent()[-1]["number"]
    world.start(epoch=2)
    world.run(5)
    (now,) = world.working
    assert now["clOrdID"].startswith("chp-test-2-")
    cancels = [row for row in world.sent("DELETE") if row["number"] > number]
    assert [row["orderID"] for row in cancels] == [[left["orderID"]]]


def test_a_living_instance_with_a_newer_epoch_is_left_to_trade_alone() -> None:
    world = World(trading(orders={"style": "post_only"}), policy=Target(100), market=Calm())
    assert world.run(20, lambda: bool(world.working))
    other = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 100, "price": 50_000.0}
    world.ask("POST", "/order", other | {"clOrdID": "chp-test-zz-1"}, user=ANOTHER_HAND)
    stop = world.run_to_stop(5)
    assert (stop.reason, stop.known) == ("not_alone", False)
    world.run(1)
    assert [row["clOrdID"] for row in world.working] == ["chp-test-zz-1"]


def test_an_order_amended_up_while_the_stream_is_mute_is_cancelled_within_a_round() -> None:
    policy = Target(100)
    world = World(trading(orders={"style": "post_only"}), policy=policy, market=Calm())
    assert world.run(20, lambda: bool(world.working))
    (order,) = world.working
    world.arm("mute_table", table="order")
    policy.target = 0
    assert world.run(20, lambda: not world.working)
    name = order["clOrdID"]
    world.run(1)
    # The same name again: the venue allows it once the first is over (protocol section 5).
    again = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 100, "price": 50_000.0}
    world.ask("POST", "/order", again | {"clOrdID": name}, user=ANOTHER_HAND)
    assert world.run(15, lambda: not world.working)
    world.run(15)
    assert world.bot.faults == ["stream_unsynced:order"]
    world.clear()
    world.run(15)
    assert world.bot.faults == []


def test_a_crash_of_a_run_that_asked_for_nothing_leaves_no_switch_to_disarm() -> None:
    world = World(trading(bot={"allow_trade": False}))
    world.run(10)
    kept = world.bot.kept
    assert kept, "the ledger's opening"
    world.start(epoch=2, kept=kept)
    world.run(40)
    assert world.sent("POST") == []
