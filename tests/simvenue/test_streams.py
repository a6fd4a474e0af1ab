"""The websocket face: greetings, logins, subscriptions, images and changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chappie.simvenue import tables
from chappie.simvenue.crowd import Crowd
from chappie.simvenue.options import SECOND_NS, Limits
from chappie.simvenue.stamps import stamp
from tests.simvenue.rig import ALICE, BOB, T0, Rig, Socket


@pytest.fixture
def rig() -> Rig:
    return Rig()


def _only_error(socket: Socket) -> tuple[int, str]:
    (frame,) = socket.errors()
    assert set(frame) == {"status", "error", "meta", "request"}
    return frame["status"], frame["error"]


def test_a_client_is_greeted_with_an_empty_limit(rig: Rig) -> None:
    socket = rig.sockets[rig.connect()]
    (welcome,) = socket.frames
    assert welcome["info"] == "Welcome to the BitMEX Realtime API."
    assert welcome["version"] == "2.0.0"
    assert welcome["limit"] == {}
    assert welcome["heartbeatEnabled"] is False
    assert welcome["timestamp"] == stamp(T0)


# Logins


def test_a_login_in_the_headers_of_the_upgrade(rig: Rig) -> None:
    conn = rig.connect(ALICE)
    assert rig.subscribe(conn, "order").of("order", "partial")[0]["filter"] == {"account": 1}


def test_a_login_in_the_query_string(rig: Rig) -> None:
    key, expires, signed = rig.login(ALICE)
    query = f"api-key={key}&api-expires={expires}&api-signature={signed}&subscribe=order"
    conn = rig.connect(query=query)
    assert rig.sockets[conn].of("order", "partial")
    assert rig.log()[0]["query"] == "subscribe=order"


@pytest.mark.parametrize("milliseconds", [False, True])
def test_a_login_by_command_echoes_the_request(rig: Rig, milliseconds: bool) -> None:
    conn = rig.connect()
    expires = (T0 // SECOND_NS + 5) * (1000 if milliseconds else 1)
    key, text, signed = rig.login(ALICE, expires)
    request = {"op": "authKeyExpires", "args": [key, int(text), signed]}
    rig.say(conn, request)
    assert rig.sockets[conn].frames[-1] == {"success": True, "request": request}
    rig.say(conn, request)
    assert _only_error(rig.sockets[conn])[0] == 400


def test_a_bad_login_on_the_upgrade_is_a_401(rig: Rig) -> None:
    key, expires, _ = rig.login(ALICE)
    headers = {"api-key": key, "api-expires": expires, "api-signature": "0" * 64}
    socket = rig.sockets[rig.connect(headers=headers)]
    assert socket.refused is not None
    assert socket.refused.status == 401
    assert json.loads(socket.refused.body)["error"]["message"] == "Signature not valid."
    assert not socket.texts


def test_a_bad_login_by_command_is_told_and_the_socket_lives(rig: Rig) -> None:
    conn = rig.connect()
    rig.say(conn, {"op": "authKeyExpires", "args": ["x" * 24, T0 // SECOND_NS + 5, "0"]})
    assert _only_error(rig.sockets[conn]) == (401, "Invalid API Key.")
    rig.say(conn, "ping")
    assert rig.sockets[conn].texts[-1] == "pong"


def test_only_the_realtime_path_is_a_socket(rig: Rig) -> None:
    refused = rig.sockets[rig.connect(path="/realtimemd")].refused
    assert refused is not None
    assert refused.status == 404


def test_connects_beyond_the_hourly_allowance_are_refused_with_429() -> None:
    rig = Rig(limits=Limits(ws_connects_per_hour=2))
    sockets = [rig.sockets[rig.connect()] for _ in range(3)]
    assert [socket.accepted for socket in sockets] == [True, True, False]
    assert sockets[2].refused is not None
    assert sockets[2].refused.status == 429


# Subscriptions


def test_every_topic_is_acknowledged_before_any_image_with_the_whole_request(rig: Rig) -> None:
    conn = rig.connect()
    request = {"op": "subscribe", "args": ["quote:XBTUSD", "trade:XBTUSD"]}
    rig.say(conn, request)
    frames = rig.sockets[conn].frames[1:]
    assert frames[:2] == [
        {"success": True, "subscribe": "quote:XBTUSD", "request": request},
        {"success": True, "subscribe": "trade:XBTUSD", "request": request},
    ]
    assert [frame["action"] for frame in frames[2:]] == ["partial", "partial"]


def test_args_sent_as_a_string_are_echoed_as_a_string(rig: Rig) -> None:
    conn = rig.connect()
    rig.say(conn, {"op": "subscribe", "args": "trade:*"})
    ack, image = rig.sockets[conn].frames[1:]
    assert ack["request"] == {"op": "subscribe", "args": "trade:*"}
    assert image["filter"] == {}


@pytest.mark.parametrize(
    ("topic", "status", "text"),
    [
        ("orderBook25", 400, "Unknown table: orderBook25"),
        ("quote:DOGE", 400, "Unknown or expired symbol."),
        (
            "position",
            401,
            "User requested an account-locked subscription but no authorization was provided.",
        ),
    ],
)
def test_a_topic_that_cannot_be_had_is_refused_in_the_venues_words(
    rig: Rig, topic: str, status: int, text: str
) -> None:
    conn = rig.connect()
    rig.say(conn, {"op": "subscribe", "args": [topic, "trade"]})
    assert _only_error(rig.sockets[conn]) == (status, text)
    assert rig.sockets[conn].of("trade", "partial"), "the other topics are served"


def test_the_same_topic_twice_is_refused(rig: Rig) -> None:
    conn = rig.connect(query="subscribe=quote:XBTUSD")
    rig.say(conn, {"op": "subscribe", "args": ["quote:XBTUSD"]})
    assert _only_error(rig.sockets[conn]) == (
        400,
        "You are already subscribed to this topic:quote:XBTUSD. "
        "Please see the documentation at https://www.bitmex.com/app/wsAPI.",
    )


def test_after_unsubscribing_nothing_comes_until_a_new_image(rig: Rig) -> None:
    conn = rig.connect()
    socket = rig.subscribe(conn, "orderBookL2:XBTUSD")
    request = {"op": "unsubscribe", "args": ["orderBookL2:XBTUSD"]}
    rig.say(conn, request)
    assert socket.frames[-1] == {
        "success": True, "unsubscribe": "orderBookL2:XBTUSD", "request": request,
    }  # fmt: skip
    socket.clear()
    rig.quote()
    assert socket.texts == []
    rig.subscribe(conn, "orderBookL2:XBTUSD")
    (image,) = socket.of("orderBookL2")
    assert len(image["data"]) == 2


def test_unsubscribing_while_the_image_is_made_stops_it(rig: Rig) -> None:
    conn = rig.connect()
    rig.say(conn, {"op": "subscribe", "args": ["orderBookL2"]})
    rig.say(conn, {"op": "unsubscribe", "args": ["orderBookL2"]})
    rig.wait(5)
    assert rig.sockets[conn].of("orderBookL2") == []


# Images and changes


@pytest.mark.parametrize("name", [table.name for table in tables.ALL])
def test_every_table_has_an_image_that_describes_itself(rig: Rig, name: str) -> None:
    rig.quote()
    rig.order("Buy", 100)
    conn = rig.connect(ALICE)
    (image,) = rig.subscribe(conn, name).of(name)
    table = tables.BY_NAME[name]
    assert list(image) == ["table", "action", "keys", "types", "filter", "data"]
    assert image["keys"] == list(table.keys)
    assert image["filter"] == ({"account": 1} if table.private else {})
    for row in image["data"]:
        assert set(row) >= set(table.keys)
        unknown = set(row) - set(image["types"])
        assert not unknown, "every column of a row has a type"


def test_todays_keys(rig: Rig) -> None:
    assert tables.BY_NAME["execution"].keys == ()
    assert tables.BY_NAME["position"].keys == ("account", "symbol", "strategy")
    assert tables.BY_NAME["orderBookL2"].keys == ("symbol", "id", "side")


def test_the_slow_images_come_late_and_changes_wait_for_them(rig: Rig) -> None:
    conn = rig.connect()
    rig.say(conn, {"op": "subscribe", "args": ["orderBookL2:XBTUSD"]})
    rig.wait(0.1)
    rig.quote()
    assert rig.sockets[conn].of("orderBookL2") == []
    rig.wait(0.1)
    (image,) = rig.sockets[conn].of("orderBookL2")
    assert (image["action"], len(image["data"])) == ("partial", 2)
    rig.order("Buy", 100, 59_990)
    assert rig.sockets[conn].of("orderBookL2")[-1]["action"] == "insert"


def test_changes_may_come_before_the_image_if_asked_for() -> None:
    rig = Rig(early_deltas=True)
    conn = rig.connect()
    rig.say(conn, {"op": "subscribe", "args": ["orderBookL2:XBTUSD"]})
    rig.quote()
    rig.wait(1)
    actions = [frame["action"] for frame in rig.sockets[conn].of("orderBookL2")]
    assert actions == ["insert", "insert", "partial"]


def test_the_book_comes_from_high_to_low_with_the_time_of_the_image(rig: Rig) -> None:
    for price in (59_990, 59_980, 60_010, 60_020):
        rig.order("Buy" if price < 60_000 else "Sell", 100, price, user=BOB)
    rig.wait(3)
    conn = rig.connect()
    (image,) = rig.subscribe(conn, "orderBookL2:XBTUSD").of("orderBookL2")
    assert [row["price"] for row in image["data"]] == [60_020, 60_010, 59_990, 59_980]
    assert {row["timestamp"] for row in image["data"]} == {stamp(rig.now_ns)}


def test_the_image_of_orders_holds_the_open_ones_and_executions_none(rig: Rig) -> None:
    kept = rig.order("Buy", 100, 59_000)
    gone = rig.order("Buy", 100, 59_000)
    rig.ask("DELETE", "/order", {"orderID": gone["orderID"]})
    conn = rig.connect(ALICE)
    socket = rig.subscribe(conn, "order", "execution")
    (orders,) = socket.of("order")
    assert [row["orderID"] for row in orders["data"]] == [kept["orderID"]]
    assert socket.of("execution")[0]["data"] == []


def test_private_rows_reach_their_account_only(rig: Rig) -> None:
    alice = rig.subscribe(rig.connect(ALICE), "order", "execution", "position", "margin")
    bob = rig.subscribe(rig.connect(BOB), "order", "execution", "position", "margin")
    for socket in (alice, bob):
        socket.clear()
    rig.order("Buy", 100, 59_000)
    assert [row["account"] for frame in alice.of("order") for row in frame["data"]] == [1]
    assert bob.texts == []


def test_one_order_gives_one_order_frame_in_its_final_state(rig: Rig) -> None:
    rig.quote()
    socket = rig.subscribe(rig.connect(ALICE), "order", "execution")
    socket.clear()
    rig.order("Buy", 100)
    (order,) = socket.of("order")
    assert (order["action"], order["data"][0]["ordStatus"]) == ("insert", "Filled")
    (execution,) = socket.of("execution")
    assert [row["execType"] for row in execution["data"]] == ["New", "Trade"]


def test_a_topic_with_a_symbol_gets_that_symbol_only(rig: Rig) -> None:
    socket = rig.subscribe(rig.connect(), "instrument:XBTUSD", "instrument:INDICES")
    images = socket.of("instrument", "partial")
    assert [[row["symbol"] for row in image["data"]] for image in images] == [
        ["XBTUSD"],
        [".BXBT"],
    ]
    assert [image["filter"] for image in images] == [{"symbol": "XBTUSD"}, {"symbol": "INDICES"}]
    socket.clear()
    rig.wait(5)
    rig.control("POST", "/faults", {"fault": "instrument_state", "value": "Closed"})
    updates = socket.of("instrument", "update")
    assert {"XBTUSD"} <= {row["symbol"] for frame in updates for row in frame["data"]}
    for frame in updates:
        assert len({row["symbol"] for row in frame["data"]}) == 1


def test_margin_is_selected_by_currency(rig: Rig) -> None:
    socket = rig.subscribe(rig.connect(ALICE), "margin:XBt", "wallet")
    (image,) = socket.of("margin")
    assert image["filter"] == {"account": 1, "currency": "XBt"}
    assert [row["currency"] for row in image["data"]] == ["XBt"]
    socket.clear()
    rig.order("Buy", 100, 59_000)
    assert socket.of("margin", "update")


class _Mirror:
    """A client that keeps tables by the keys of their images, and fails on any surprise."""

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}
        self.rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}

    def read(self, frames: list[Any]) -> None:
        for frame in frames:
            table = frame.get("table")
            if table is None:
                continue
            if frame["action"] == "partial":
                self.keys[table], self.rows[table] = frame["keys"], {}
            rows = self.rows[table]
            for row in frame["data"]:
                key = tuple(row[name] for name in self.keys[table])
                if frame["action"] in ("partial", "insert"):
                    assert key not in rows
                    rows[key] = row
                elif frame["action"] == "update":
                    rows[key] = {**rows[key], **row}
                else:
                    del rows[key]


def test_a_mirror_of_the_book_follows_the_crowd_without_a_surprise() -> None:
    rig = Rig(market=Crowd(T0, seed=5))
    conn = rig.connect()
    topics = ("orderBookL2:XBTUSD", "orderBookL2_25:XBTUSD", "orderBook10:XBTUSD")
    socket = rig.subscribe(conn, *topics)
    socket_frames = 0
    mirror = _Mirror()
    for _ in range(20):
        rig.wait(1)
        mirror.read(socket.frames[socket_frames:])
        socket_frames = len(socket.frames)
        truth = rig.exchange.levels("XBTUSD")
        assert {(row["id"], row["size"]) for row in mirror.rows["orderBookL2"].values()} == {
            (row["id"], row["size"]) for row in truth
        }
        assert len(mirror.rows["orderBookL2_25"]) == 50
        bids = [row["price"] for row in mirror.rows["orderBookL2"].values() if row["side"] == "Buy"]
        asks = [
            row["price"] for row in mirror.rows["orderBookL2"].values() if row["side"] == "Sell"
        ]
        assert max(bids) < min(asks)
    (ten,) = mirror.rows["orderBook10"].values()
    assert len(ten["bids"]) == len(ten["asks"]) == 10


def test_the_same_seed_and_the_same_acts_give_the_same_frames() -> None:
    def told() -> list[str]:
        rig = Rig(market=Crowd(T0, seed=9))
        topics = ("orderBookL2_25", "orderBook10", "trade", "quote", "order", "execution", "margin")
        socket = rig.subscribe(rig.connect(ALICE), *topics)
        rig.arm("drop", table="trade", probability=0.5)
        for n in range(10):
            rig.order("Buy" if n % 2 else "Sell", 100, clOrdID=f"o{n}")
            rig.wait(1)
        return socket.texts

    assert told() == told()


def test_a_bin_is_sent_when_its_minute_ends(rig: Rig) -> None:
    rig.quote()
    socket = rig.subscribe(rig.connect(), "tradeBin1m:XBTUSD", "quoteBin1m:XBTUSD")
    socket.clear()
    rig.order("Buy", 300)
    rig.wait(59.9)
    (trade_bin,) = socket.of("tradeBin1m", "insert")
    assert trade_bin["data"][0]["volume"] == 300
    assert trade_bin["data"][0]["timestamp"] == stamp(T0 + 60 * SECOND_NS)
    rig.wait(60)
    assert len(socket.of("tradeBin1m", "insert")) == 2


# Commands, liveness and closing


def test_text_pings_frame_pings_and_help(rig: Rig) -> None:
    conn = rig.connect()
    socket = rig.sockets[conn]
    rig.say(conn, "ping")
    assert socket.texts[-1] == "pong"
    rig.venue.ping(rig.now_ns, conn, b"x")
    rig.wait(0)
    assert socket.pongs == [b"x"]
    rig.say(conn, "help")
    assert "subscriptionSubjects" in socket.frames[-1]
    rig.say(conn, {"op": "help"})
    assert "subscriptionSubjects" in socket.frames[-1]


@pytest.mark.parametrize("text", ["{", "[1,2]", '{"op":5}', "5", '{"op":"dance"}'])
def test_nonsense_is_answered_with_an_error_and_nothing_breaks(rig: Rig, text: str) -> None:
    conn = rig.connect()
    rig.say(conn, text)
    assert _only_error(rig.sockets[conn])[0] == 400


def test_a_session_with_too_many_errors_is_closed() -> None:
    rig = Rig(limits=Limits(ws_errors=3))
    conn = rig.connect()
    for _ in range(3):
        rig.say(conn, "{")
    assert rig.sockets[conn].close_code == 1008
    rig.say(conn, "ping")


def test_the_dead_mans_switch_by_websocket(rig: Rig) -> None:
    rig.order("Buy", 100, 59_000)
    conn = rig.connect(ALICE)
    rig.say(conn, {"op": "cancelAllAfter", "args": 60_000})
    assert rig.sockets[conn].frames[-1] == {
        "now": stamp(T0),
        "cancelTime": stamp(T0 + 60 * SECOND_NS),
        "request": {"op": "cancelAllAfter", "args": 60_000},
    }
    rig.say(conn, {"op": "cancelAllAfter", "args": 0})
    assert rig.sockets[conn].frames[-1]["cancelTime"] == 0
    assert [entry["method"] for entry in rig.log()[-2:]] == ["WS", "WS"]
    rig.say(rig.connect(), {"op": "cancelAllAfter", "args": 1})
    rig.wait(100)
    assert len(rig.ask("GET", '/order?filter={"open":true}').json) == 1


def test_a_silent_client_is_closed_after_three_minutes_and_a_pinging_one_is_not(
    rig: Rig,
) -> None:
    silent, lively = rig.connect(), rig.connect()
    for _ in range(5):
        rig.wait(35)
        rig.say(lively, "ping")
    assert rig.sockets[silent].close_code is None
    rig.wait(5)
    assert rig.sockets[silent].close_code == 1001
    assert rig.sockets[lively].close_code is None
    rig.wait(175)
    assert rig.sockets[lively].close_code == 1001


def test_a_client_that_left_is_sent_nothing(rig: Rig) -> None:
    conn = rig.connect()
    rig.say(conn, {"op": "subscribe", "args": ["orderBookL2"]})
    rig.venue.closed(rig.now_ns, conn)
    rig.sockets[conn].close_code = 1000
    rig.quote()
    rig.wait(200)
    assert rig.control("GET", "/connections") == []


def test_the_connections_can_be_listed(rig: Rig) -> None:
    conn = rig.connect(ALICE)
    rig.subscribe(conn, "order")
    (row,) = rig.control("GET", "/connections")
    assert (row["conn"], row["account"], row["topics"]) == (conn, 1, ["order"])
