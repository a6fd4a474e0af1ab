"""What refusals prove: the table of protocol sections 2 to 4."""

import pytest

from chappie.model.reports import (
    KeyRefused,
    NotAccepted,
    Rejected,
    RequestExpired,
    Unknown,
)
from chappie.venues.bitmex.texts import OVERLOADED, refusal
from tests.venues.bitmex.wire import dialect, envelope

BAN_PAGE = (
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    b"<center><h1>403 Forbidden</h1></center>\r\n</body>\r\n</html>\r\n"
)

REJECTIONS = (
    "Invalid orderID",
    "Duplicate orderID",
    "Invalid symbol",
    "Instrument expired",
    "Instrument not listed for trading yet",
    "Instrument has no mark price",
    "Accounts do not match",
    "Invalid account",
    "Account has no XBt",
    "Invalid ordStatus",
    "Invalid ordStatus: Filled",
    "Invalid ordStatus: Canceled",
    "Invalid triggered",
    "Invalid workingIndicator",
    "Invalid side",
    "Invalid orderQty",
    "Invalid orderQty or simpleOrderQty",
    "Invalid leavesQty",
    "Invalid leavesQty for lotSize",
    "Invalid cumQty",
    "Invalid avgPx",
    "Invalid price",
    "Invalid price tickSize",
    "Invalid displayQty",
    "Invalid stopPx for ordType",
    "Invalid pegPriceType for ordType",
    "Invalid execInst",
    "Invalid ordType for execInst",
    "Invalid origClOrdID",
    "Unsupported timeInForce",
    "orderID or origClOrdID must be sent.",
    "Price greater than limitUpPrice",
    "Price less than limitDownPrice",
    "Market is not open",
    "Account has insufficient Available Balance, 5929700 XBt required",
    "'symbol' is a required arg.",
)

KEY_REFUSALS = (
    (401, "Invalid API Key."),
    (401, "Signature not valid."),
    (401, "This key is disabled."),
    (401, "a text that nobody wrote down"),
    (403, "Access Denied"),
    (403, "Account is restricted"),
    (403, "This IP address is not allowed to use this key."),
    # The same words with a 400: the key is to blame all the same.
    (400, "Invalid API Key."),
    (400, "Signature not valid."),
    (400, "This key is disabled."),
    (400, "Account is suspended"),
)


def test_a_duplicate_name_proves_that_an_order_of_that_name_is_there() -> None:
    text = "Duplicate clOrdID"
    assert refusal(400, {}, envelope(text)) == Unknown(400, text)


@pytest.mark.parametrize("text", REJECTIONS)
def test_a_documented_refusal_proves_that_nothing_happened(text: str) -> None:
    assert refusal(400, {}, envelope(text)) == Rejected(400, text)


@pytest.mark.parametrize(("status", "text"), KEY_REFUSALS)
def test_a_refusal_of_our_key_is_told_from_one_of_the_order(status: int, text: str) -> None:
    assert refusal(status, {}, envelope(text)) == KeyRefused(status, text)


def test_a_refusal_in_the_newer_envelope_reads_the_same() -> None:
    body = (
        b'{"error":{"message":"Account has insufficient Available Balance, 5929700 XBt required",'
        b'"name":"CodedHTTPError","details":"19000"}}'
    )
    outcome = refusal(400, {}, body)
    assert isinstance(outcome, Rejected)
    assert outcome.detail.endswith("5929700 XBt required")


def test_not_found_with_an_envelope_is_a_refusal_and_without_one_unknown() -> None:
    assert refusal(404, {}, envelope("Not Found")) == Rejected(404, "Not Found")
    assert isinstance(refusal(404, {}, b"<html>no such page</html>"), Unknown)


def test_an_expired_request_tells_the_clock_of_the_venue() -> None:
    text = "This request has expired - `expires` is in the past. Current time: 1574621316"
    assert refusal(400, {}, envelope(text)) == RequestExpired(1574621316 * 10**9, text)


def test_an_expired_request_without_the_time_is_expired_all_the_same() -> None:
    text = "This request has expired - `expires` is in the past."
    assert refusal(400, {}, envelope(text)) == RequestExpired(None, text)


def test_an_absurd_server_time_is_no_time() -> None:
    text = "This request has expired - `expires` is in the past. Current time: " + "9" * 5000
    outcome = refusal(400, {}, envelope(text))
    assert isinstance(outcome, RequestExpired)
    assert outcome.venue_ns is None


def test_the_documented_overload_never_reached_the_engine() -> None:
    assert refusal(503, {}, envelope(OVERLOADED)) == NotAccepted(503, None, OVERLOADED)
    assert OVERLOADED == "The system is currently overloaded. Please try again later."


@pytest.mark.parametrize(
    "body",
    [
        envelope("Service unavailable"),
        envelope("The system is currently overloaded."),
        b"<html><body>503 Service Temporarily Unavailable</body></html>",
        b"",
        OVERLOADED.encode(),
    ],
)
def test_a_503_without_the_overload_text_proves_nothing(body: bytes) -> None:
    assert isinstance(refusal(503, {}, body), Unknown)


@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("body", [envelope("Server Error"), envelope(OVERLOADED), b"<html>", b""])
def test_a_failing_server_proves_nothing_whatever_it_says(status: int, body: bytes) -> None:
    outcome = refusal(status, {}, body)
    assert isinstance(outcome, Unknown)
    assert outcome.status == status


@pytest.mark.parametrize("status", [201, 204, 301, 302, 400, 404, 418])
def test_an_answer_without_an_envelope_proves_nothing(status: int) -> None:
    assert isinstance(refusal(status, {}, b"<html>"), Unknown)


def test_a_403_page_of_the_load_balancer_is_a_ban() -> None:
    outcome = refusal(403, {"content-type": "text/html"}, BAN_PAGE)
    assert isinstance(outcome, KeyRefused)
    assert "banned" in outcome.detail


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("1", 1.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_a_rate_limit_never_reached_the_engine_and_says_when_to_retry(
    retry_after: str | None, seconds: float | None
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    text = "Rate limit exceeded, retry in 1 seconds."
    assert refusal(429, headers, envelope(text)) == NotAccepted(429, seconds, text)


def test_a_rate_limit_needs_no_envelope() -> None:
    assert refusal(429, {"retry-after": "7"}, b"") == NotAccepted(429, 7.0, "")


def test_words_of_the_venue_are_cut_to_a_length_that_fits_a_log() -> None:
    outcome = refusal(400, {}, envelope("x" * 1_000_000))
    assert isinstance(outcome, Rejected)
    assert len(outcome.detail) < 1000


def test_a_refused_upgrade_says_the_same_as_a_refused_request() -> None:
    assert dialect().upgrade_refused(401, "") == KeyRefused(401, "")
    assert isinstance(dialect().upgrade_refused(403, "<html>"), KeyRefused)
    assert isinstance(dialect().upgrade_refused(429, ""), NotAccepted)
    assert dialect().upgrade_refused(429, "", "90") == NotAccepted(429, 90.0, "")
    assert isinstance(dialect().upgrade_refused(503, "maintenance"), Unknown)


def test_an_upgrade_that_nobody_answered_is_unknown() -> None:
    assert dialect().upgrade_refused(0, "connection refused") == Unknown(0, "connection refused")
