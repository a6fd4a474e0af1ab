"""Whatever arrives, `receive` answers with reports: it never raises and never shows nonsense."""

import json
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chappie.model.enums import Stream
from chappie.model.reports import (
    Inconsistent,
    Outcome,
    Read,
    Refused,
    Report,
    Unknown,
    VenueComplained,
)
from chappie.venues.bitmex.session import MAX_FRAME_BYTES, BitmexSession
from tests.venues.bitmex.captured import CASES, Corpus
from tests.venues.bitmex.test_session import QUOTE, TRADE
from tests.venues.bitmex.test_table_mirror import FILL, MARGIN, ORDER, POSITION
from tests.venues.bitmex.wire import (
    BOOK_ROWS,
    INSTRUMENT_ROW,
    answered,
    booked,
    dialect,
    frame,
    instrument,
    level,
    partial,
    session,
    words,
)

WELCOME = b'{"info":"Welcome","timestamp":"2021-07-22T22:36:07.865Z","limit":{}}'
IMAGES: tuple[bytes, ...] = (
    partial("orderBookL2", BOOK_ROWS),
    partial("quote", [QUOTE]),
    partial("trade", [TRADE]),
    partial("order", [ORDER]),
    partial("execution", [FILL]),
    partial("position", [POSITION]),
    partial("margin", [MARGIN]),
    partial("instrument", [INSTRUMENT_ROW]),
)
DELTAS: tuple[bytes, ...] = (
    WELCOME,
    b'{"success":true,"subscribe":"order","request":{"op":"subscribe","args":["order"]}}',
    b'{"status":400,"error":"Unknown table: x","meta":{},"request":{"op":"subscribe","args":"x"}}',
    frame("orderBookL2", "update", [level("Sell", 30000.5, 7, 5), level("Buy", None, 8, 8)]),
    frame("orderBookL2", "insert", [level("Sell", 30010.5, 7, 6)]),
    frame("orderBookL2", "delete", [level("Buy", None, None, 8)]),
    frame("quote", "insert", [QUOTE]),
    frame("trade", "insert", [TRADE]),
    frame("order", "update", [{"orderID": "o1", "ordStatus": "Filled", "leavesQty": 0}]),
    frame("execution", "insert", [{**FILL, "execID": "e2"}]),
    frame("position", "update", [{"account": 1, "symbol": "XBTUSD", "currentQty": 0}]),
    frame("margin", "update", [{"account": 1, "currency": "XBt", "marginBalance": 3}]),
    frame("instrument", "update", [{"symbol": "XBTUSD", "markPrice": 1.5}]),
)
FRAMES = IMAGES + DELTAS


def synced() -> BitmexSession:
    s = session()
    for image in IMAGES:
        s.receive(image)
    return s


def sound(s: BitmexSession, reports: Sequence[Report]) -> None:
    """What must hold after any frame: neutral reports, and a book that could be true."""
    for report in reports:
        assert isinstance(report, get_args(Report))
    assert not s.book.is_crossed
    bid, ask = s.book.best_bid, s.book.best_ask
    assert bid is None or bid > 0
    assert ask is None or ask > 0


# --- cuts


@pytest.mark.parametrize("payload", FRAMES, ids=lambda raw: raw[:40].decode())
def test_a_frame_cut_anywhere_is_refused_and_never_raises(payload: bytes) -> None:
    for cut in range(len(payload)):
        s = synced()
        reports = s.receive(payload[:cut])
        assert [type(report) for report in reports] == [Refused], (cut, reports)
        sound(s, reports)


def test_a_cut_book_frame_costs_the_book_because_a_delta_is_lost() -> None:
    s = booked()
    payload = frame("orderBookL2", "update", [level("Sell", 30000.5, 7, 5)])
    reports = s.receive(payload[:-3])
    assert words(reports) == ["Refused NOT_JSON"]
    assert len(s.book) == 0
    assert words(s.receive(payload)) == ["EarlyDropped orderBook"]


def test_captured_frames_cut_anywhere_are_refused_and_never_raise(corpus: Corpus) -> None:
    for name in sorted(CASES):
        if "/ws_" in name or "/sample_" in name or "/book-" in name:
            payload = corpus.text(name)
            if not payload.startswith(b"{"):
                continue
            s = BitmexSession(corpus.instrument(2024, "XBTUSD"))
            for cut in range(0, len(payload), max(1, len(payload) // 300)):
                reports = s.receive(payload[:cut])
                assert [type(report) for report in reports] == [Refused], (name, cut)


# --- mutations


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["XBTUSD", "Buy", "Sell", "New", "partial", "insert", "order", 0.5, 30000.5]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["symbol", "id", "side", "size", "keys", "x"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_bytes_changed_at_random_never_raise_and_never_cross_the_book(data: st.DataObject) -> None:
    payload = bytearray(data.draw(st.sampled_from(FRAMES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3)
            | st.sampled_from([b"1", b"9e99", b"-", b"null", b"[", b'"', b"}"])
        )
        if not payload:
            break
    s = synced()
    sound(s, s.receive(bytes(payload)))
    for delta in DELTAS:
        sound(s, s.receive(delta))


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_columns_changed_at_random_never_raise_and_never_cross_the_book(
    data: st.DataObject,
) -> None:
    """Valid JSON with wrong values gets further in than torn bytes do."""
    message = json.loads(data.draw(st.sampled_from(FRAMES)))
    for _ in range(data.draw(st.integers(1, 3))):
        holder = message
        rows = message.get("data")
        if (
            isinstance(rows, list)
            and rows
            and isinstance(rows[0], dict)
            and data.draw(st.booleans())
        ):
            holder = data.draw(st.sampled_from([row for row in rows if isinstance(row, dict)]))
        name = data.draw(st.sampled_from([*holder, "extra"]))
        if data.draw(st.booleans()):
            holder[name] = data.draw(JSON)
        else:
            holder.pop(name, None)
    s = synced()
    sound(s, s.receive(msgspec.json.encode(message)))
    for delta in DELTAS:
        sound(s, s.receive(delta))


@settings(max_examples=300, deadline=None)
@given(frames=st.lists(st.sampled_from(FRAMES), max_size=30))
def test_frames_in_any_order_never_raise_and_never_cross_the_book(frames: list[bytes]) -> None:
    s = session()
    for payload in frames:
        sound(s, s.receive(payload))


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=60) | JSON.map(msgspec.json.encode))
def test_noise_never_raises(payload: bytes) -> None:
    s = synced()
    sound(s, s.receive(payload))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_answers_changed_at_random_never_raise(data: st.DataObject) -> None:
    rows: list[dict[str, Any]] = [
        dict(row) for row in (ORDER, FILL, POSITION, MARGIN, INSTRUMENT_ROW, {"id": "***"})
    ]
    row = data.draw(st.sampled_from(rows))
    row[data.draw(st.sampled_from([*row, "error", "cancelTime", "now"]))] = data.draw(JSON)
    answer = answered(
        data.draw(st.sampled_from([row, [row], {"error": row}])),
        data.draw(st.sampled_from([200, 200, 200, 400, 401, 403, 404, 429, 500, 503])),
        data.draw(
            st.dictionaries(
                st.sampled_from(["x-ratelimit-remaining", "x-ratelimit-limit", "retry-after"]),
                st.text(max_size=6),
            )
        ),
    )
    outcome, _ = dialect().understand(
        data.draw(st.sampled_from([None, *Read])), answer, instrument()
    )
    assert isinstance(outcome, get_args(Outcome))


# --- the named cases


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (b"", "NOT_JSON"),
        (b"{", "NOT_JSON"),
        (b"not json", "NOT_JSON"),
        (b"\xff\xfe\x00", "NOT_JSON"),
        (b'{"info":"\xff"}', "NOT_JSON"),
        (b"[]", "SHAPE"),
        (b"null", "SHAPE"),
        (b"{}", "SHAPE"),
        (b'{"hello":"world"}', "SHAPE"),
        (b'{"table":"orderBookL2"}', "SHAPE"),
        (b'{"table":"order","action":"partial"}', "SHAPE"),
        (b'{"table":"order","action":"partial","data":{}}', "SHAPE"),
        (b'{"table":"order","action":"partial","data":[1]}', "SHAPE"),
        (b'{"table":"order","action":"explode","data":[]}', "UNKNOWN_ENUM"),
        (b'{"table":"orderBookL2","action":"explode","data":[]}', "UNKNOWN_ENUM"),
        (b'{"table":"chat","action":"insert","data":[]}', "UNKNOWN_TABLE"),
        (b'{"table":"orderBookL2_25","action":"insert","data":[]}', "UNKNOWN_TABLE"),
        (b'{"table":"","action":"insert","data":[]}', "UNKNOWN_TABLE"),
        (b'{"table":"orderBookL2","x":' + b"[" * 100_000, "SHAPE"),
        (b'{"table":"order","action":"partial","data":[{"x":' + b"[" * 100_000, "SHAPE"),
    ],
    ids=lambda value: value[:50].decode("latin-1") if isinstance(value, bytes) else value,
)
def test_what_is_no_message_of_ours_is_refused_by_name(payload: bytes, refusal: str) -> None:
    s = synced()
    assert words(s.receive(payload)) == [f"Refused {refusal}"]


def test_a_table_frame_is_understood_whatever_comes_first_in_it() -> None:
    """The fast path looks at the first bytes; JSON promises no order."""
    s = session()
    for table, row in (("orderBookL2", BOOK_ROWS[0]), ("quote", QUOTE), ("trade", TRADE)):
        body: dict[str, object] = {"keys": [], "data": [row], "action": "partial", "table": table}
        if table == "orderBookL2":
            del body["keys"]
        (said, *_) = words(s.receive(json.dumps(body, indent=1).encode()))
        assert said.startswith("ImageApplied")


def test_an_image_of_ten_megabytes_is_applied() -> None:
    rows = [level("Buy", 0.5 * tick, 100, tick) for tick in range(1, 60_000)]
    rows += [level("Sell", 30000 + 0.5 * tick, 100, 100_000 + tick) for tick in range(1, 90_000)]
    payload = partial("orderBookL2", rows)
    payload = payload[:-1] + b',"padding":"' + b"x" * (10 * 2**20 - len(payload)) + b'"}'
    assert len(payload) > 10 * 2**20
    s = session()
    assert words(s.receive(payload)) == ["ImageApplied orderBook"]
    assert len(s.book) == len(rows)
    assert (s.book.best_bid, s.book.best_ask) == (59_999, 60_001)


@pytest.mark.parametrize("head", [b'{"table":"orderBookL2","x":"', b'{"x":"', b"pong"])
def test_a_message_larger_than_the_limit_is_refused_unread(head: bytes) -> None:
    s = booked()
    reports = s.receive(head + b"x" * MAX_FRAME_BYTES)
    assert words(reports) == ["Refused TOO_LARGE"]
    (refused,) = reports
    assert isinstance(refused, Refused)
    assert len(refused.detail) < 100
    assert (len(s.book) == 0) is (refused.stream is Stream.BOOK)


def test_a_report_quotes_no_more_of_a_message_than_a_log_line_holds() -> None:
    long = b"y" * 100_000
    for payload in (
        long,
        b'{"table":"order","action":"' + long + b'"}',
        b'{"table":"' + long + b'","action":"insert"}',
        b'{"subscribe":"' + long + b'"}',
        b'{"error":"' + long + b'"}',
        b'{"success":false,"x":"' + long + b'"}',
        frame("quote", "insert", [{**QUOTE, "symbol": long.decode()}]),
        frame("order", "insert", [{**ORDER, "ordStatus": long.decode()}]),
    ):
        (report,) = synced().receive(payload)
        assert isinstance(report, (Refused, Inconsistent, VenueComplained))
        assert len(report.detail) < 1000


def test_an_outcome_quotes_no_more_of_an_answer_than_a_log_line_holds() -> None:
    row = {**ORDER, "ordStatus": "y" * 100_000}
    outcome, _ = dialect().understand(None, answered(row), instrument())
    assert isinstance(outcome, Unknown)
    assert len(outcome.detail) < 1000
