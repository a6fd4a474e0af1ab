import pytest

from chappie.core.gate import Denial
from chappie.core.recovery import recover
from chappie.model.enums import OrdStatus, OrdType, Side
from chappie.model.records import Ended, Intent
from chappie.model.units import At
from chappie.simvenue.orders import OrderRequest
from tests.guardian.errands.rig import DEAD, Scene


def holding(scene: Scene, side: str = "Buy", qty: int = 300) -> Scene:
    """A position that a trader left."""
    request = OrderRequest(
        symbol="XBTUSD",
        side=side,
        order_qty=qty,
        price=None,
        ord_type="Market",
        cl_ord_id=f"chp-me-{DEAD}-0",
    )
    scene.exchange.submit(scene.now_ns, 1, request)
    return scene


@pytest.mark.parametrize(("side", "closes"), [("Buy", Side.SELL), ("Sell", Side.BUY)])
def test_one_reduce_only_order_at_market_closes_what_is_held(side: str, closes: Side) -> None:
    scene = holding(Scene(), side)
    scene.place(f"chp-me-{DEAD}-1")
    ended = scene.flatten()
    assert (ended.done, ended.position, ended.orders_sent) == (True, 0, 1)
    assert scene.position() == 0
    (sent,) = scene.orders()
    order = sent.order.value
    assert (order.side, order.qty, order.ord_type) == (closes, 300, OrdType.MARKET)
    assert (order.reduce_only, order.price) == (True, None)
    # Only once nothing of ours works, as two reads after the cancel showed.
    (cancel,) = scene.sent("DELETE")
    (post,) = scene.sent("POST", "/order")
    between = [
        row
        for row in scene.sent("GET", "/order")
        if cancel["number"] < row["number"] < post["number"]
    ]
    assert len(between) >= 2


def test_its_intent_is_kept_before_it_leaves_and_its_end_after_so_the_ledger_owns_it() -> None:
    scene = holding(Scene())
    assert scene.flatten().done
    kinds = [type(command).__name__ for command in scene.done.commands]
    assert kinds.index("Keep") < kinds.index("SendOrder")
    intent, end = scene.kept()
    assert isinstance(intent, Intent)
    assert isinstance(end, Ended)
    assert (end.ord_status, end.cum_qty) == (OrdStatus.FILLED, 300)
    # What the next start makes of it: an order that is over, whose fill is not booked yet.
    (order,) = recover((intent, end), At(1, 1), lambda at, wall_ns: 0).orders
    assert order.asked.cl_ord_id == intent.order.cl_ord_id
    assert order.unbooked_qty == 300


def test_with_nothing_held_nothing_is_sent() -> None:
    scene = Scene()
    ended = scene.flatten()
    assert (ended.done, ended.position, ended.orders_sent) == (True, 0, 0)
    assert scene.sent("POST") == []


def test_with_allow_trade_off_it_is_refused_in_words() -> None:
    scene = holding(Scene(allow_trade=False))
    ended = scene.flatten()
    assert (ended.done, ended.position) == (False, 300)
    assert Denial.ALLOW_TRADE_OFF.value in ended.detail
    assert scene.sent("POST") == []


def test_no_closing_order_leaves_while_orders_of_ours_may_work() -> None:
    scene = holding(Scene())
    scene.place(f"chp-me-{DEAD}-1")
    scene.arm("error_500", route="/order", method="DELETE", for_ms=600_000)
    ended = scene.flatten()
    assert not ended.done
    assert "no order of ours may work" in ended.detail
    assert scene.sent("POST") == []


UNKNOWN: list[tuple[str, dict[str, object], int]] = [
    # What happens to the order, and how many are sent in the end.
    ("accept_then_timeout", {"count": 1}, 1),
    ("error_502", {"count": 1, "executes": True}, 1),
    ("delay_answer", {"count": 1, "ms": 5_000}, 1),
    ("lose_request", {"count": 1}, 2),
    ("error_500", {"count": 1}, 2),
    ("overload_503", {"count": 2}, 3),
    ("throttle_429", {"count": 1, "ms": 1_000}, 2),
]


@pytest.mark.parametrize(("fault", "fields", "orders"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
def test_it_is_repeated_only_after_its_fate_is_known(
    fault: str, fields: dict[str, object], orders: int
) -> None:
    scene = holding(Scene())
    scene.arm(fault, route="/order", method="POST", **fields)
    ended = scene.flatten(30.0)
    assert (ended.done, ended.position, ended.orders_sent) == (True, 0, orders)
    assert scene.position() == 0
    names = [sent.order.value.cl_ord_id for sent in scene.orders()]
    assert len(set(names)) == orders
    # Each has an end on the disk before the next one is asked for.
    kept = [type(record).__name__ for record in scene.kept()]
    assert kept == ["Intent", "Ended"] * orders


def test_a_lost_order_is_not_taken_for_dead_before_it_can_no_longer_arrive() -> None:
    scene = holding(Scene())
    scene.arm("lose_request", route="/order", method="POST", count=1)
    assert scene.flatten(30.0).done
    first, second = scene.sent("POST", "/order")
    fence_s = scene.config.orders.expires_after_s + 1.0
    assert (second["atNs"] - first["atNs"]) / 1e9 > fence_s


def test_an_absence_that_one_read_shows_is_not_believed() -> None:
    scene = holding(Scene())
    # Carried out, the answer lost; and the first read that asks for it shows no rows.
    scene.arm("accept_then_timeout", route="/order", method="POST", count=1)

    def lie() -> None:
        scene.arm("empty_read", route="/order", method="GET", count=1)

    scene.later(4_000_000_000, lie)
    ended = scene.flatten(30.0)
    assert (ended.done, ended.orders_sent) == (True, 1)


def test_an_order_in_doubt_at_the_end_of_the_time_is_settled_before_the_next_one() -> None:
    scene = holding(Scene())
    scene.arm("accept_then_timeout", route="/order", method="POST", count=1)
    ended = scene.flatten(3.2)
    assert (ended.done, ended.position) == (False, None)
    assert "is not known yet" in ended.detail
    again = scene.flatten()
    assert (again.done, again.position, again.orders_sent) == (True, 0, 1)
    assert len(scene.sent("POST", "/order")) == 1


def test_a_refused_order_is_told_and_not_repeated() -> None:
    scene = holding(Scene())
    scene.arm(
        "refuse",
        status=400,
        text="Account has insufficient Available Balance, 1 XBt required",
        route="/order",
        method="POST",
        for_ms=600_000,
    )
    ended = scene.flatten()
    assert (ended.done, ended.orders_sent) == (False, 1)
    assert "refuses the closing order" in ended.detail
    assert scene.position() == 300


def test_a_market_that_is_not_open_takes_no_closing_order() -> None:
    scene = holding(Scene())
    scene.arm("instrument_state", value="Closed", for_ms=600_000)
    ended = scene.flatten()
    assert not ended.done
    assert Denial.INSTRUMENT_NOT_OPEN.value in ended.detail
    assert scene.sent("POST") == []


def test_more_than_one_order_of_the_bot_may_be_closed_at_once() -> None:
    scene = holding(Scene(order_qty=100), qty=700)
    ended = scene.flatten()
    assert (ended.done, ended.orders_sent) == (True, 1)
