import pytest

from chappie.guardian.errands.sweep import Left
from chappie.model.units import SECOND_NS
from chappie.simulation.network import Network, Trip
from chappie.simvenue.options import Limits
from chappie.simvenue.orders import OrderRequest
from tests.guardian.errands.rig import DEAD, Scene

OURS = f"chp-me-{DEAD}-1"
OLDER = "chp-me-3-1"
LIVING = f"chp-me-{DEAD + 1}-1"


def test_what_the_dead_left_of_any_epoch_is_cancelled_by_its_id_and_proven_gone() -> None:
    scene = Scene()
    ids = {scene.place(OURS), scene.place(OLDER, "Sell", 70_000.0)}
    left = scene.sweep()
    assert (left.verified, left.ours, left.cancelled, left.position) == (True, 0, 2, 0)
    assert scene.working() == []
    (cancel,) = scene.sent("DELETE")
    assert cancel["path"].endswith("/order")
    assert all(order_id in cancel["body"] for order_id in ids)
    # Two reads after the cancel: one alone may lie.
    reads = scene.sent("GET", "/order")
    assert len([row for row in reads if row["number"] > cancel["number"]]) >= 2


def test_orders_of_others_are_counted_and_never_touched() -> None:
    scene = Scene()
    scene.place("somebody-else")
    scene.place(None, "Sell", 70_000.0)
    # Another bot of the same family, whose name begins with ours.
    scene.place("chp-me2-7-1")
    left = scene.sweep()
    assert (left.verified, left.ours, left.foreign) == (True, 0, 3)
    assert scene.sent("DELETE") == []
    assert len(scene.working()) == 3


def test_an_order_of_a_living_epoch_is_not_ours_to_cancel() -> None:
    scene = Scene()
    scene.place(LIVING)
    assert scene.sweep().verified
    assert scene.working() == [LIVING]
    assert scene.sent("DELETE") == []


def test_a_failed_read_is_not_an_empty_one() -> None:
    scene = Scene()
    scene.place(OURS)
    scene.arm("error_500", route="/order", method="GET", for_ms=60_000)
    left = scene.sweep(5.0)
    assert not left.verified
    assert left.ours is None
    assert "reading orders" in left.detail
    assert scene.working() == [OURS]


@pytest.mark.parametrize("lie", ["empty_read", "stale_read", "cut_read"])
def test_one_read_that_lies_is_seen_through(lie: str) -> None:
    scene = Scene()
    # Something to be stale: the same read, before the order was there.
    assert scene.sweep().verified
    scene.place(OURS)
    scene.arm(lie, route="/order", method="GET", count=1)
    left = scene.sweep()
    assert left.verified
    assert scene.working() == []


FAULTS: list[dict[str, object]] = [
    {"fault": "error_500", "count": 2},
    {"fault": "error_502", "executes": True, "count": 2},
    {"fault": "overload_503", "count": 2},
    {"fault": "throttle_429", "count": 2, "ms": 1_000},
    {"fault": "truncated_json", "count": 2},
    {"fault": "lose_request", "count": 1},
    {"fault": "accept_then_timeout", "count": 1},
    {"fault": "delay_answer", "ms": 4_000, "count": 1},
]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f['fault']}-{f.get('executes', '')}")
def test_what_fails_for_a_while_is_asked_again_until_it_is_proven(
    fault: dict[str, object], method: str
) -> None:
    scene = Scene()
    scene.place(OURS)
    fields = {name: value for name, value in fault.items() if name != "fault"}
    scene.arm(str(fault["fault"]), method=method, route="/order", **fields)
    left = scene.sweep(20.0)
    assert left.verified, left
    assert scene.working() == []


def test_a_venue_that_is_away_for_a_while_is_asked_again_and_not_stormed() -> None:
    scene = Scene()
    scene.place(OURS)
    scene.lose(6.0)
    left = scene.sweep(20.0)
    assert left.verified
    scene.lose(100.0)
    before = scene.network.fired["unreachable"]
    assert not scene.sweep(20.0).verified
    assert scene.network.fired["unreachable"] - before <= 10


def test_nothing_is_sent_before_the_time_that_the_venue_asked_for() -> None:
    scene = Scene()
    scene.place(OURS)
    at = scene.at()
    scene.hand.asking.take_over(at, 120, 100, at.wall_ns + 30 * SECOND_NS, True)
    left = scene.sweep()
    assert not left.verified
    assert "banned" in left.detail
    assert scene.sent("GET") == []
    assert scene.sent("DELETE") == []
    scene.run(30.0)
    assert scene.sweep().verified


def test_a_ban_ends_the_errand_and_the_next_one_sends_nothing() -> None:
    scene = Scene()
    scene.place(OURS)
    scene.arm("ban_403", for_ms=600_000)
    assert not scene.sweep().verified
    sent = len(scene.sent("GET"))
    left = scene.sweep()
    assert "banned" in left.detail
    assert len(scene.sent("GET")) == sent == 1


def test_a_spent_budget_slows_reads_and_never_the_cancel() -> None:
    scene = Scene(limits=Limits(per_minute=120))
    scene.place(OURS)
    scene.hand.asking.take_over(scene.at(), 120, 3, 0, False)
    left = scene.sweep()
    assert left.verified
    assert not [row for row in scene.ask("GET", "/control/requests") if row["status"] == 429]


def test_a_venue_whose_clock_is_ahead_hears_the_cancel_all_the_same() -> None:
    scene = Scene()
    scene.place(OURS)
    scene.arm("skew_clock", ms=30_000, for_ms=600_000)
    assert scene.sweep().verified
    assert scene.working() == []


def test_a_position_on_which_two_reads_do_not_agree_is_not_verified() -> None:
    scene = Scene()
    told: list[Left] = []
    scene.hand.sweep(DEAD + 1, 3.0, told.append, disarm=False)

    def trade() -> None:
        request = OrderRequest(
            symbol="XBTUSD", side="Buy", order_qty=100, price=None, ord_type="Market"
        )
        scene.exchange.submit(scene.now_ns, 1, request)

    for number in range(1, 10):
        scene.later(number * 12_000_000, trade)
    scene.run(0.108)
    assert told == [], "it moved between any two reads"
    scene.run(0.1)
    (left,) = told
    assert left.position == 900


def test_a_refused_key_ends_it_at_once() -> None:
    scene = Scene()
    scene.place(OURS)
    scene.arm("refuse", status=401, text="Invalid API Key.", for_ms=60_000)
    left = scene.sweep()
    assert not left.verified
    assert "refuses our key" in left.detail


def test_the_switch_is_taken_off_after_zero_and_by_the_venue_s_own_answer() -> None:
    scene = Scene()
    scene.place(OURS)
    scene.ask("POST", "/order/cancelAllAfter", {"timeout": 60_000}, user=scene.key)
    scene.arm("accept_then_timeout", route="/order/cancelAllAfter", count=1)
    left = scene.sweep(disarm=True)
    assert (left.verified, left.disarmed) == (True, True)
    assert scene.exchange.pit.accounts[1].cancel_at_ns is None
    disarms = scene.sent("POST", "/order/cancelAllAfter")
    before = [r for r in scene.sent("GET", "/order") if r["number"] < disarms[0]["number"]]
    assert (len(before), len(disarms)) == (3, 2)
    # Its disarm that got no answer may still arrive for a moment.
    assert scene.hand.asking.stray_until_ns > 0


def test_the_switch_stays_on_while_orders_of_ours_may_work() -> None:
    scene = Scene()
    scene.place(OURS)
    scene.ask("POST", "/order/cancelAllAfter", {"timeout": 60_000}, user=scene.key)
    scene.arm("error_500", route="/order", method="DELETE", for_ms=600_000)
    left = scene.sweep(disarm=True)
    assert (left.verified, left.disarmed) == (False, False)
    assert scene.exchange.pit.accounts[1].cancel_at_ns is not None


class Late(Network):
    """The answers of one method come after everybody has given up."""

    def trip(self, now_ns: int, method: str) -> Trip:
        usual = super().trip(now_ns, method)
        return Trip(usual.up_ns, 4 * SECOND_NS) if method == "DELETE" else usual


def test_an_answer_that_comes_too_late_is_nobody_s() -> None:
    scene = Scene()
    scene.network = Late()
    scene.place(OURS)
    assert scene.sweep().verified
