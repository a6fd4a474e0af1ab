"""Everything on a connection that is no mirror: welcome, acknowledgements, errors, market rows."""

import msgspec
import pytest

from chappie.model.enums import Side, Stream
from chappie.model.reports import (
    Ponged,
    QuoteSeen,
    Subscribed,
    SubscriptionRefused,
    TradeSeen,
    VenueComplained,
    Welcomed,
)
from tests.venues.bitmex.wire import Row, frame, partial, session, words

TOPICS = [
    "quote:XBTUSD",
    "orderBookL2:XBTUSD",
    "trade:XBTUSD",
    "instrument:XBTUSD",
    "order",
    "execution",
    "position",
    "margin",
]
QUOTE: Row = {
    "timestamp": "2021-07-22T22:36:10.000Z",
    "symbol": "XBTUSD",
    "bidSize": 100,
    "bidPrice": 30000.0,
    "askPrice": 30000.5,
    "askSize": 200,
}
TRADE: Row = {"symbol": "XBTUSD", "side": "Sell", "size": 300, "price": 30000.0}


# --- the connection


@pytest.mark.parametrize(
    "more",
    [
        {"docs": "https://www.bitmex.com/app/wsAPI", "limit": {"remaining": 39}},
        {"version": "2.0.0", "heartbeatEnabled": False, "limit": {"remaining": 719}},
        {"version": "2.0.0", "limit": {}, "appName": "ws-feedhandler-76f8766675-2w4vj"},
        {},
    ],
)
def test_a_welcome_tells_the_venues_clock_with_and_without_a_limit(more: Row) -> None:
    """Since 2026-03-30 the limit is empty."""
    info = "Welcome to the BitMEX Realtime API."
    payload = msgspec.json.encode({"info": info, "timestamp": "2021-07-22T22:36:07.865Z", **more})
    assert session().receive(payload) == (Welcomed(1626993367865000000),)


def test_a_welcome_without_a_usable_time_is_a_welcome() -> None:
    assert session().receive(b'{"info":"hello"}') == (Welcomed(None),)
    assert session().receive(b'{"info":"hello","timestamp":"noon"}') == (Welcomed(None),)


def test_a_text_pong_is_no_json_and_understood() -> None:
    s = session()
    assert s.ping() == b"ping"
    assert s.receive(b"pong") == (Ponged(),)


def test_every_stream_is_subscribed_by_a_frame_of_its_own_so_that_a_refusal_names_it() -> None:
    asked = [msgspec.json.decode(payload) for payload in session().subscriptions()]
    assert asked == [{"op": "subscribe", "args": [topic]} for topic in TOPICS]


@pytest.mark.parametrize("stream", Stream)
def test_resubscribing_drops_one_topic_and_forgets_its_image(stream: Stream) -> None:
    s = session()
    table = "orderBookL2" if stream is Stream.BOOK else stream.value
    row = {"symbol": "XBTUSD", "id": 1, "side": "Buy", "price": 1.0, "size": 1}
    s.receive(partial(table))
    unsubscribe, subscribe = (msgspec.json.decode(raw) for raw in s.resubscribe(stream))
    (topic,) = unsubscribe["args"]
    assert (unsubscribe["op"], subscribe) == ("unsubscribe", {"op": "subscribe", "args": [topic]})
    assert topic in TOPICS
    assert words(s.receive(frame(table, "insert", [row]))) == [f"EarlyDropped {stream.value}"]


# --- acknowledgements


@pytest.mark.parametrize("args", [TOPICS, "quote:XBTUSD"])
@pytest.mark.parametrize("topic", TOPICS)
def test_an_acknowledgement_names_its_stream_whatever_form_the_request_is_echoed_in(
    topic: str, args: object
) -> None:
    payload = msgspec.json.encode(
        {"success": True, "subscribe": topic, "request": {"op": "subscribe", "args": args}}
    )
    (said,) = session().receive(payload)
    assert isinstance(said, Subscribed)
    table = topic.partition(":")[0]
    assert said.stream.value == ("orderBook" if table == "orderBookL2" else table)


def test_an_acknowledgement_that_failed_is_a_refusal() -> None:
    payload = b'{"success":false,"subscribe":"order","request":{}}'
    assert session().receive(payload) == (SubscriptionRefused(Stream.ORDER, "success False"),)


def test_an_acknowledgement_of_what_we_never_asked_for_is_refused() -> None:
    payload = b'{"success":true,"subscribe":"chat"}'
    assert words(session().receive(payload)) == ["Refused UNKNOWN_TABLE"]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"success":true,"unsubscribe":"order","request":{"op":"unsubscribe","args":["order"]}}',
        b'{"success":true,"request":{"op":"authKeyExpires","args":["***",1,"***"]}}',
    ],
)
def test_other_acknowledgements_say_nothing_new(payload: bytes) -> None:
    assert session().receive(payload) == ()


def test_a_command_that_failed_without_words_is_a_complaint_and_not_skipped() -> None:
    (said,) = session().receive(b'{"success":false,"request":{"op":"authKeyExpires"}}')
    assert isinstance(said, VenueComplained)


# --- error frames


def refused(error: str, args: object, status: int | None = 400) -> object:
    body: Row = {"error": error, "meta": {}, "request": {"op": "subscribe", "args": args}}
    if status is not None:
        body["status"] = status
    (said,) = session().receive(msgspec.json.encode(body))
    return said


@pytest.mark.parametrize(
    ("error", "args", "stream"),
    [
        # The whole list is echoed; only the text says which topic is meant.
        ("Unknown table: order", TOPICS, Stream.ORDER),
        ("Unknown table: orderBookL2", ["order", *TOPICS], Stream.BOOK),
        ("Unknown table: margin:XBTUSD", ["order", "margin:XBTUSD"], Stream.MARGIN),
        (
            "You are already subscribed to this topic:instrument. Please see the documentation at "
            "https://www.bitmex.com/app/wsAPI.",
            TOPICS,
            Stream.INSTRUMENT,
        ),
        (
            "You are already subscribed to this topic: orderBookL2:XBTUSD.",
            ["order", *TOPICS],
            Stream.BOOK,
        ),
        ("Unknown or expired symbol.", TOPICS, None),
        ("Rate limit exceeded, retry in 1 seconds.", TOPICS, None),
        # One topic asked for: it is the one.
        ("Unknown or expired symbol.", ["quote:XBTUSD"], Stream.QUOTE),
        ("Unknown or expired symbol.", "trade:XBTUSD", Stream.TRADE),
        ("Unknown table: orderBook25", ["orderBook25"], None),
    ],
)
def test_an_error_names_the_stream_whose_subscription_it_refuses(
    error: str, args: object, stream: Stream | None
) -> None:
    assert refused(error, args) == SubscriptionRefused(stream, f"400 {error}")


def test_an_error_may_come_without_a_status() -> None:
    assert refused("Unknown table: order", TOPICS, None) == SubscriptionRefused(
        Stream.ORDER, "Unknown table: order"
    )


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b'{"error":"Session expired"}', VenueComplained(None, "Session expired")),
        (
            b'{"status":401,"error":"Not authorized","request":{"op":"authKeyExpires","args":[]}}',
            VenueComplained(401, "Not authorized"),
        ),
        (b'{"status":400,"error":"Huh?","request":"help"}', VenueComplained(400, "Huh?")),
        (b'{"status":400,"error":"Huh?","request":null}', VenueComplained(400, "Huh?")),
    ],
)
def test_an_error_that_answers_no_subscription_is_a_complaint(
    payload: bytes, complaint: VenueComplained
) -> None:
    assert session().receive(payload) == (complaint,)


def test_an_error_with_a_strange_echo_is_a_refused_subscription_without_a_name() -> None:
    assert refused("no", [1, None, {"a": 1}]) == SubscriptionRefused(None, "400 no")
    assert refused("no", {"a": 1}) == SubscriptionRefused(None, "400 no")


# --- quotes and trades


def test_the_last_quote_of_a_message_holds() -> None:
    s = session()
    s.receive(partial("quote"))
    reports = s.receive(frame("quote", "insert", [QUOTE, {**QUOTE, "bidPrice": 29999.5}]))
    assert words(reports) == ["Advanced quote", "QuoteSeen"]
    assert reports[1] == QuoteSeen(59999, 100, 60001, 200, QUOTE["timestamp"])  # type: ignore[arg-type]


def test_an_image_of_quotes_shows_its_quote() -> None:
    reports = session().receive(partial("quote", [QUOTE]))
    assert words(reports) == ["ImageApplied quote", "QuoteSeen"]


def test_a_side_without_liquidity_is_none_and_not_zero() -> None:
    s = session()
    s.receive(partial("quote"))
    row = {"symbol": "XBTUSD", "askPrice": 30000.5, "askSize": 5, "bidPrice": None}
    (_, quote) = s.receive(frame("quote", "insert", [row]))
    assert quote == QuoteSeen(None, 0, 60001, 5, None)  # type: ignore[arg-type]


def test_trades_show_the_aggressor_the_contracts_and_the_price() -> None:
    s = session()
    s.receive(partial("trade", [TRADE]))
    reports = s.receive(frame("trade", "insert", [TRADE, {**TRADE, "side": "Buy"}]))
    assert list(reports[1:]) == [
        TradeSeen(Side.SELL, 300, 60000),  # type: ignore[arg-type]
        TradeSeen(Side.BUY, 300, 60000),  # type: ignore[arg-type]
    ]


def test_trades_of_the_image_are_history_and_not_reported() -> None:
    assert words(session().receive(partial("trade", [TRADE]))) == ["ImageApplied trade"]


@pytest.mark.parametrize(("table", "row"), [("quote", QUOTE), ("trade", TRADE)])
def test_market_rows_before_their_image_are_dropped(table: str, row: Row) -> None:
    assert words(session().receive(frame(table, "insert", [row]))) == [f"EarlyDropped {table}"]


@pytest.mark.parametrize(("table", "row"), [("quote", QUOTE), ("trade", TRADE)])
@pytest.mark.parametrize("action", ["update", "delete"])
def test_quotes_and_trades_only_insert(table: str, row: Row, action: str) -> None:
    s = session()
    s.receive(partial(table))
    assert words(s.receive(frame(table, action, [row]))) == [f"Inconsistent {table}"]


@pytest.mark.parametrize("table", ["quote", "trade"])
def test_an_insert_without_rows_is_no_evidence(table: str) -> None:
    s = session()
    s.receive(partial(table))
    assert list(s.receive(frame(table, "insert", []))) == []


@pytest.mark.parametrize(("table", "row"), [("quote", QUOTE), ("trade", TRADE)])
def test_rows_of_another_symbol_are_refused_wherever_they_stand(table: str, row: Row) -> None:
    s = session()
    s.receive(partial(table))
    rows = [{**row, "symbol": "ETHUSD"}, row]
    assert words(s.receive(frame(table, "insert", rows))) == ["Refused FOREIGN_SYMBOL"]


@pytest.mark.parametrize(("table", "row"), [("quote", QUOTE), ("trade", TRADE)])
def test_an_image_of_another_symbol_is_not_ours(table: str, row: Row) -> None:
    s = session()
    foreign = partial(table, [{**row, "symbol": "ETHUSD"}])
    assert words(s.receive(foreign)) == ["Refused FOREIGN_SYMBOL"]
    assert words(s.receive(frame(table, "insert", [row]))) == [f"EarlyDropped {table}"]


@pytest.mark.parametrize(
    ("table", "row", "why"),
    [
        ("quote", {**QUOTE, "bidPrice": 30000.3}, "OFF_TICK"),
        ("quote", {**QUOTE, "bidSize": "many"}, "SHAPE"),
        ("trade", {**TRADE, "price": 30000.3}, "OFF_TICK"),
        ("trade", {**TRADE, "price": 0}, "OFF_TICK"),
        ("trade", {**TRADE, "size": 1.5}, "SHAPE"),
        ("trade", {**TRADE, "side": "Byu"}, "UNKNOWN_ENUM"),
        ("trade", {**TRADE, "side": ""}, "SHAPE"),
        ("trade", {**TRADE, "side": None}, "SHAPE"),
    ],
)
def test_a_market_row_that_cannot_be_read_unsyncs_its_table(table: str, row: Row, why: str) -> None:
    s = session()
    s.receive(partial(table))
    good = QUOTE if table == "quote" else TRADE
    assert words(s.receive(frame(table, "insert", [good, row]))) == [f"Refused {why}"]
    assert words(s.receive(frame(table, "insert", [good]))) == [f"EarlyDropped {table}"]
