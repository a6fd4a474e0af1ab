"""The faults: each one does what its row says, to whom it says, and as often as it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chappie.simvenue.envelopes import HangUp, NoAnswer
from chappie.simvenue.faults import KINDS, Fault, FaultError, Faults, Scene
from chappie.simvenue.options import SECOND_NS
from tests.simvenue.rig import ALICE, BOB, T0, Reply, Rig, Socket

ORDER = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 100, "price": 59_000, "clOrdID": "o"}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _working(rig: Rig) -> int:
    truth = rig.control("GET", "/truth?account=1")
    return sum(row["ordStatus"] == "New" for row in truth["orders"])


# Arming and matching


def test_an_unknown_fault_or_field_is_refused_with_what_is_known(rig: Rig) -> None:
    reply = rig.ask("POST", "/control/faults", {"fault": "explode"}, user=None)
    assert reply.status == 400
    assert "mute_all" in reply.json["error"]
    for body in ({"fault": "drop", "tabel": "x"}, {"fault": 5}, {}, "x"):
        assert rig.ask("POST", "/control/faults", body, user=None).status == 400
    wrong = {"fault": "drop", "probability": 2}
    assert rig.ask("POST", "/control/faults", wrong, user=None).status == 400
    assert rig.control("GET", "/faults")["armed"] == []


def test_every_row_of_the_table_can_be_armed_and_cleared(rig: Rig) -> None:
    rig.connect(ALICE)
    for kind in KINDS:
        rig.arm(kind.name, account=99)
    known = [row["fault"] for row in rig.control("GET", "/faults")["known"]]
    assert known == [kind.name for kind in KINDS]
    assert len(known) == len(set(known))
    rig.clear()
    assert rig.control("GET", "/faults")["armed"] == []


def test_several_can_be_armed_at_once_and_one_cleared(rig: Rig) -> None:
    state = rig.control("POST", "/faults", [{"fault": "drop"}, {"fault": "duplicate"}])
    first, second = state["numbers"]
    assert rig.control("DELETE", f"/faults?number={first}")["cleared"] == 1
    (left,) = rig.control("GET", "/faults")["armed"]
    assert (left["number"], left["fault"]) == (second, "duplicate")
    assert rig.control("DELETE", "/faults?fault=drop")["cleared"] == 0
    assert rig.control("DELETE", "/faults?fault=duplicate")["cleared"] == 1


def test_count_skip_and_duration_bound_a_fault() -> None:
    faults = Faults(1)
    faults.arm(T0, Fault(fault="drop", skip=1, count=2, for_ms=1000))
    taken = [faults.take(T0, "drop", Scene()) is not None for _ in range(5)]
    assert taken == [False, True, True, False, False]
    faults.arm(T0, Fault(fault="drop", for_ms=1000))
    assert faults.take(T0 + SECOND_NS - 1, "drop", Scene())
    assert not faults.take(T0 + SECOND_NS, "drop", Scene())


def test_every_filter_must_fit() -> None:
    full = {"account": 1, "conn": 2, "table": "t", "symbol": "s", "route": "/r", "method": "GET"}
    for name in full:
        faults = Faults(1)
        faults.arm(T0, Fault(fault="drop", **{name: full[name]}))  # type: ignore[arg-type]
        assert faults.take(T0, "drop", Scene(**full))  # type: ignore[arg-type]
        assert not faults.take(T0, "drop", Scene())


def test_chance_is_drawn_from_the_seed() -> None:
    def draws(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.arm(T0, Fault(fault="drop", probability=0.5))
        return [faults.take(T0, "drop", Scene()) is not None for _ in range(100)]

    assert draws(1) == draws(1) != draws(2)
    assert 30 < sum(draws(1)) < 70


def test_the_number_of_armed_faults_is_bounded() -> None:
    faults = Faults(1)
    for _ in range(256):
        faults.arm(T0, Fault(fault="drop"))
    with pytest.raises(FaultError, match="armed already"):
        faults.arm(T0, Fault(fault="drop"))


# Requests


def test_accepted_then_timed_out_executes_and_never_answers(rig: Rig) -> None:
    rig.arm("accept_then_timeout", route="/order", method="POST", count=1)
    number = rig.send("POST", "/order", ORDER)
    assert isinstance(rig.answers[number], NoAnswer)
    assert _working(rig) == 1
    entry = rig.log()[-1]
    assert (entry["status"], entry["executed"]) == (0, True)
    assert entry["fault"] == "accept_then_timeout"
    assert rig.ask("GET", "/order").status == 200


def test_a_lost_request_never_reaches_the_exchange(rig: Rig) -> None:
    rig.arm("lose_request", method="POST")
    number = rig.send("POST", "/order", ORDER)
    rig.wait(100)
    assert isinstance(rig.answers[number], NoAnswer)
    assert _working(rig) == 0
    assert rig.log()[-1]["executed"] is False


@pytest.mark.parametrize("executes", [False, True])
def test_a_cut_connection_may_or_may_not_have_executed(rig: Rig, executes: bool) -> None:
    rig.arm("hang_up", executes=executes)
    number = rig.send("POST", "/order", ORDER)
    assert isinstance(rig.answers[number], HangUp)
    rig.clear()
    assert _working(rig) == int(executes)


@pytest.mark.parametrize("executes", [False, True])
@pytest.mark.parametrize(("fault", "status"), [("error_500", 500), ("error_502", 502)])
def test_a_server_error_may_or_may_not_have_executed(
    rig: Rig, fault: str, status: int, executes: bool
) -> None:
    rig.arm(fault, executes=executes, method="POST", route="/order")
    assert rig.ask("POST", "/order", ORDER).status == status
    assert _working(rig) == int(executes)


def test_a_delayed_answer_is_late_and_the_order_is_not(rig: Rig) -> None:
    rig.arm("delay_answer", ms=3000)
    number = rig.send("POST", "/order", ORDER)
    rig.clear()
    assert number not in rig.answers
    assert _working(rig) == 1
    rig.wait(2.999)
    assert number not in rig.answers
    rig.wait(0.001)
    answer = Reply(rig.answers[number])  # type: ignore[arg-type]
    assert (answer.status, answer.json["ordStatus"]) == (200, "New")


def test_a_request_in_the_queue_executes_after_its_expiry(rig: Rig) -> None:
    """The expiry is checked before the queue and takes nothing out of it (section 2)."""
    rig.arm("queue", ms=10_000)
    number = rig.send("POST", "/order", ORDER, expires=T0 // SECOND_NS + 2)
    rig.clear()
    rig.wait(9.9)
    assert _working(rig) == 0
    rig.wait(0.1)
    assert _working(rig) == 1
    assert Reply(rig.answers[number]).status == 200  # type: ignore[arg-type]


def test_a_request_that_is_late_on_its_way_is_refused_by_its_expiry(rig: Rig) -> None:
    rig.arm("delay_request", ms=10_000)
    number = rig.send("POST", "/order", ORDER, expires=T0 // SECOND_NS + 2)
    rig.wait(10)
    late = Reply(rig.answers[number])  # type: ignore[arg-type]
    assert late.status == 400
    assert "expired" in late.message
    rig.clear()
    assert _working(rig) == 0


def test_an_overload_sheds_order_entry_and_lets_cancels_and_reads_pass(rig: Rig) -> None:
    rig.quote()
    row = rig.ask("POST", "/order", ORDER).json
    rig.order("Buy", 100)
    rig.arm("overload_503")
    shed = rig.ask("POST", "/order", {**ORDER, "clOrdID": "p"})
    assert (shed.status, shed.body) == (
        503,
        b'{"error":{"message":"The system is currently overloaded. Please try again later.",'
        b'"name":"HTTPError"}}',
    )
    assert rig.ask("PUT", "/order", {"orderID": row["orderID"], "price": 1}).status == 503
    leverage = {"symbol": "XBTUSD", "leverage": 5}
    assert rig.ask("POST", "/position/leverage", leverage).status == 503
    assert rig.ask("DELETE", "/order", {"orderID": row["orderID"]}).status == 200
    assert rig.ask("DELETE", "/order/all").status == 200
    assert rig.ask("GET", "/position").status == 200
    closing = {"symbol": "XBTUSD", "execInst": "Close", "ordType": "Market"}
    assert rig.ask("POST", "/order", {**closing, "orderQty": 100, "side": "Sell"}).status == 503
    assert rig.ask("POST", "/order", closing).json["ordStatus"] == "Filled"
    headers = rig.ask("POST", "/order", ORDER).headers
    assert "x-ratelimit-remaining" in headers, "a shed request has cost its token"


def test_an_overload_of_a_named_route_still_lets_its_cancels_pass(rig: Rig) -> None:
    row = rig.ask("POST", "/order", ORDER).json
    rig.arm("overload_503", route="/order")
    assert rig.ask("GET", "/order").status == 503
    assert rig.ask("DELETE", "/order", {"orderID": row["orderID"]}).status == 200


def test_refusals_logins_budgets_and_bans_by_fault(rig: Rig) -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"fault": "refuse", "text": "Account is suspended", "status": 400}, 400, "Account is s"),
        ({"fault": "refuse"}, 400, "Invalid orderQty"),
        ({"fault": "refuse_login"}, 401, "This key is disabled."),
        ({"fault": "throttle_429", "ms": 7000}, 429, "Rate limit exceeded, retry in 7 seconds."),
    ]
    for fault, status, text in cases:
        rig.arm(**fault, count=1)
        reply = rig.ask("POST", "/order", ORDER)
        assert reply.status == status
        assert reply.message.startswith(text)
    assert reply.headers["retry-after"] == "7"
    rig.arm("ban_403", count=1)
    assert rig.ask("POST", "/order", ORDER).body.startswith(b"<html>")
    assert _working(rig) == 0


def test_a_fault_for_one_account_leaves_the_other_alone(rig: Rig) -> None:
    rig.arm("error_500", account=1)
    assert rig.ask("GET", "/order").status == 500
    assert rig.ask("GET", "/order", user=BOB).status == 200


def test_half_an_answer_is_no_json_and_headers_can_be_missing(rig: Rig) -> None:
    rig.arm("truncated_json", count=1, method="GET")
    with pytest.raises(json.JSONDecodeError):
        _ = rig.ask("GET", "/user/margin").json
    rig.arm("omit_ratelimit_headers", count=1)
    assert not [name for name in rig.ask("GET", "/order").headers if "ratelimit" in name]


def test_a_skewed_clock_refuses_honest_requests_and_shows_in_the_date(rig: Rig) -> None:
    rig.arm("skew_clock", ms=60_000, for_ms=5000)
    late = rig.ask("GET", "/order")
    assert late.message.endswith(f"Current time: {T0 // SECOND_NS + 60}")
    assert late.headers["date"] == "Mon, 24 Nov 2025 16:01:00 GMT"
    rig.wait(5)
    assert rig.ask("GET", "/order").status == 200


def test_a_closed_instrument_says_so_and_takes_no_orders(rig: Rig) -> None:
    socket = rig.subscribe(rig.connect(), "instrument:XBTUSD")
    rig.wait(1)
    socket.clear()
    rig.arm("instrument_state", value="Closed", for_ms=10_000)
    assert socket.of("instrument")[0]["data"][0]["state"] == "Closed"
    assert rig.ask("GET", "/instrument?symbol=XBTUSD").json[0]["state"] == "Closed"
    assert rig.ask("POST", "/order", ORDER).message == "Market is not open"
    rig.wait(10)
    assert socket.of("instrument")[-1]["data"][0]["state"] == "Open"
    assert rig.ask("POST", "/order", ORDER).status == 200


def test_a_drained_budget_is_over_at_once() -> None:
    rig = Rig()
    rig.arm("drain_budget", account=1)
    assert rig.ask("GET", "/order").status == 429
    assert rig.ask("GET", "/order", user=BOB).status == 200


def test_slow_delays_the_exchange_and_the_frames(rig: Rig) -> None:
    socket = rig.subscribe(rig.connect(ALICE), "order")
    socket.clear()
    rig.arm("slow", ms=500)
    number = rig.send("POST", "/order", ORDER)
    rig.wait(0.5)
    assert number in rig.answers
    assert socket.of("order") == []
    rig.wait(0.5)
    assert len(socket.of("order")) == 1


# Frames


def _book(rig: Rig) -> Socket:
    rig.quote()
    socket = rig.subscribe(rig.connect(ALICE), "orderBookL2:XBTUSD", "order", "instrument")
    socket.clear()
    return socket


def test_mute_all_silences_every_table_but_not_the_pongs(rig: Rig) -> None:
    socket = _book(rig)
    rig.arm("mute_all")
    rig.ask("POST", "/order", ORDER)
    rig.wait(10)
    assert socket.texts == []
    rig.say(next(iter(rig.sockets)), "ping")
    assert socket.texts == ["pong"]
    rig.clear()
    rig.ask("DELETE", "/order", {"clOrdID": "o"})
    assert socket.of("order", "update")


def test_mute_table_silences_one_table(rig: Rig) -> None:
    socket = _book(rig)
    rig.arm("mute_table", table="order")
    rig.ask("POST", "/order", ORDER)
    assert socket.of("order") == []
    assert socket.of("orderBookL2")


def test_drop_loses_as_many_frames_as_it_says(rig: Rig) -> None:
    socket = _book(rig)
    rig.arm("drop", table="order", count=1)
    rig.ask("POST", "/order", ORDER)
    rig.ask("DELETE", "/order", {"clOrdID": "o"})
    assert [frame["action"] for frame in socket.of("order")] == ["update"]


def test_duplicate_sends_the_same_frame_twice(rig: Rig) -> None:
    socket = _book(rig)
    rig.arm("duplicate", table="order", count=1)
    rig.ask("POST", "/order", ORDER)
    first, second = socket.of("order")
    assert first == second


def test_delayed_frames_keep_their_place_in_line(rig: Rig) -> None:
    conn = rig.connect(ALICE)
    socket = rig.subscribe(conn, "order", "orderBookL2:XBTUSD")
    socket.clear()
    rig.arm("delay", table="order", ms=1000)
    rig.ask("POST", "/order", ORDER)
    rig.say(conn, "ping")
    rig.wait(0.999)
    after_order = [text for text in socket.texts if '"table":"order"' in text or text == "pong"]
    assert after_order == [], "what comes after a late frame waits behind it, as on TCP"
    rig.wait(0.001)
    kinds = ["pong" if text == "pong" else json.loads(text)["table"] for text in socket.texts]
    assert kinds.index("order") < kinds.index("pong")
    rig.clear()
    rig.say(conn, "ping")
    assert socket.texts[-1] == "pong"


def test_a_withheld_image_is_acknowledged_and_its_changes_come(rig: Rig) -> None:
    rig.arm("withhold_partial", table="execution")
    socket = rig.subscribe(rig.connect(ALICE), "execution", "order")
    rig.ask("POST", "/order", ORDER)
    assert [frame["action"] for frame in socket.of("execution")] == ["insert"]
    assert [frame["action"] for frame in socket.of("order")] == ["partial", "insert"]


@pytest.mark.parametrize("how", ["unknown_id", "crossed", "negative"])
def test_a_corrupted_book_is_wrong_in_the_way_that_was_asked_for(rig: Rig, how: str) -> None:
    socket = _book(rig)
    known = {row["id"] for row in rig.exchange.levels("XBTUSD")}
    rig.arm("corrupt_book", value=how, count=1)
    rig.order("Buy", 100, 59_999, user=BOB)
    (frame,) = socket.of("orderBookL2")
    (row,) = frame["data"]
    if how == "unknown_id":
        assert frame["action"] == "update"
        assert row["id"] not in known
    elif how == "crossed":
        assert row["price"] > 60_001
    else:
        assert row["size"] < 0


def test_unknown_words_tables_and_half_frames(rig: Rig) -> None:
    socket = _book(rig)
    rig.arm("unknown_enum", table="order", count=1)
    rig.ask("POST", "/order", ORDER)
    assert socket.of("order")[0]["data"][0]["ordStatus"] == "Novel"
    rig.arm("unknown_table")
    assert socket.of("novelTable", "insert")
    socket.clear()
    rig.arm("truncated_json", table="order", count=1)
    rig.ask("DELETE", "/order", {"clOrdID": "o"})
    broken = [text for text in socket.texts if '"table":"order"' in text]
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[0])


def test_a_huge_image_is_huge_and_still_an_image(rig: Rig) -> None:
    socket = _book(rig)
    rig.arm("huge_partial")
    (text,) = socket.texts
    assert len(text) > 10 * 1024 * 1024
    image = json.loads(text)
    assert image["action"] == "partial"
    ids = [row["id"] for row in image["data"]]
    assert len(ids) == len(set(ids))


def test_early_changes_by_fault(rig: Rig) -> None:
    rig.arm("early_deltas", table="orderBookL2")
    conn = rig.connect()
    rig.say(conn, {"op": "subscribe", "args": ["orderBookL2:XBTUSD"]})
    rig.quote()
    rig.wait(1)
    assert rig.sockets[conn].of("orderBookL2")[0]["action"] == "insert"


def test_a_socket_can_be_cut_closed_refused_and_left_without_pongs(rig: Rig) -> None:
    cut, closed = rig.connect(), rig.connect(BOB)
    rig.arm("cut", conn=cut)
    rig.arm("close", account=2, status=1012)
    assert (rig.sockets[cut].close_code, rig.sockets[closed].close_code) == (1006, 1012)
    rig.arm("refuse_upgrade", status=503, count=1)
    refused = rig.sockets[rig.connect()].refused
    assert refused is not None
    assert refused.status == 503
    rig.arm("hang_up", count=1)
    refused = rig.sockets[rig.connect()].refused
    assert refused is not None
    assert refused.status == 0
    conn = rig.connect()
    rig.arm("mute_pongs")
    rig.say(conn, "ping")
    rig.venue.ping(rig.now_ns, conn, b"")
    rig.wait(1)
    assert rig.sockets[conn].texts[1:] == []
    assert rig.sockets[conn].pongs == []


def test_logins_and_subscriptions_can_be_refused_cut_or_left_unanswered(rig: Rig) -> None:
    rig.arm("refuse_login", count=1)
    refused = rig.sockets[rig.connect(ALICE)].refused
    assert refused is not None
    assert refused.status == 401
    conn = rig.connect()
    key, expires, signed = rig.login(ALICE)
    request = {"op": "authKeyExpires", "args": [key, int(expires), signed]}
    rig.arm("refuse_login", count=1, status=403, text="Access Denied")
    rig.say(conn, request)
    assert rig.sockets[conn].errors()[-1]["error"] == "Access Denied"
    rig.arm("silent_login", count=1)
    rig.sockets[conn].clear()
    rig.say(conn, request)
    assert rig.sockets[conn].texts == []
    rig.arm("refuse_subscription", table="trade", count=1)
    rig.say(conn, {"op": "subscribe", "args": ["trade"]})
    assert rig.sockets[conn].errors()[-1]["status"] == 503
    rig.arm("throttle_429", count=1, route="subscribe")
    rig.say(conn, {"op": "subscribe", "args": ["trade"]})
    assert rig.sockets[conn].errors()[-1] == {
        "status": 429,
        "error": "Rate limit exceeded, retry in 1 seconds.",
        "meta": {"retryAfter": 1},
        "request": {"op": "subscribe", "args": ["trade"]},
    }
    rig.arm("close_on_login", count=1)
    rig.say(conn, request)
    assert rig.sockets[conn].close_code == 1006


# Reads that lie


def _open_orders(rig: Rig) -> list[str]:
    path = "/order?filter=%7B%22open%22%3Atrue%7D"
    return [row["orderID"] for row in rig.ask("GET", path).json]


def test_a_stale_read_shows_what_it_showed_the_time_before(rig: Rig) -> None:
    rig.order("Buy", 100, 59_000)
    (first,) = _open_orders(rig)
    rig.order("Buy", 100, 59_000)
    rig.arm("stale_read", method="GET", count=1)
    assert _open_orders(rig) == [first]
    assert len(_open_orders(rig)) == 2


def test_the_first_answer_to_a_question_cannot_be_stale(rig: Rig) -> None:
    rig.order("Buy", 100, 59_000)
    rig.arm("stale_read", method="GET")
    assert len(_open_orders(rig)) == 1


def test_an_empty_and_a_cut_read_look_like_any_other(rig: Rig) -> None:
    for _ in range(3):
        rig.order("Buy", 100, 59_000)
    rig.arm("empty_read", method="GET", count=1)
    assert _open_orders(rig) == []
    rig.arm("cut_read", method="GET", count=1)
    assert len(_open_orders(rig)) == 1
    assert rig.log()[-1]["fault"] == "cut_read"
    assert len(_open_orders(rig)) == 3


def test_whoever_counts_learns_which_fault_struck() -> None:
    faults = Faults(1)
    first = faults.arm(T0, Fault(fault="drop", count=2))
    second = faults.arm(T0, Fault(fault="duplicate"))
    for name in ("drop", "duplicate", "drop", "drop"):
        faults.take(T0, name, Scene())
    assert list(faults.struck) == [first, second, first]
