"""The request budgets: continuous refill, two layers, and the ban."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chappie.simvenue.options import SECOND_NS, Limits
from chappie.simvenue.throttle import PEERS_MAX, Bucket, Throttle

T0 = 1_700_000_000 * SECOND_NS
PEER = "10.0.0.1"


def _headers(throttle: Throttle, at_ns: int, second_layer: bool = False) -> dict[str, str]:
    return dict(throttle.admit(at_ns, 1, PEER, second_layer).headers)


def test_the_headers_count_down_and_name_the_next_second_as_reset() -> None:
    throttle = Throttle(Limits())
    headers = _headers(throttle, T0)
    assert headers == {
        "x-ratelimit-limit": "120",
        "x-ratelimit-remaining": "119",
        "x-ratelimit-reset": "1700000001",
    }
    assert _headers(throttle, T0)["x-ratelimit-remaining"] == "118"


def test_tokens_come_back_one_by_one_and_not_at_the_minute() -> None:
    throttle = Throttle(Limits())
    for _ in range(120):
        assert throttle.admit(T0, 1, PEER, False).allowed
    refused = throttle.admit(T0, 1, PEER, False)
    assert not refused.allowed
    assert refused.retry_after_s == 1
    half = SECOND_NS // 2
    assert not throttle.admit(T0 + half - 1, 1, PEER, False).allowed
    assert throttle.admit(T0 + half, 1, PEER, False).allowed
    assert not throttle.admit(T0 + half, 1, PEER, False).allowed


def test_the_second_layer_lets_ten_through_in_a_second() -> None:
    throttle = Throttle(Limits())
    remaining = [
        dict(throttle.admit(T0, 1, PEER, True).headers)["x-ratelimit-remaining-1s"]
        for _ in range(10)
    ]
    assert remaining == [str(n) for n in range(9, -1, -1)]
    refused = throttle.admit(T0, 1, PEER, True)
    assert not refused.allowed
    assert refused.retry_after_s == 1
    assert dict(refused.headers)["x-ratelimit-limit-1s"] == "10"
    assert throttle.admit(T0, 1, PEER, False).allowed, "reading is not on the second layer"
    assert throttle.admit(T0 + SECOND_NS // 10, 1, PEER, True).allowed


def test_a_request_that_the_second_layer_refuses_has_cost_its_minute_token() -> None:
    throttle = Throttle(Limits())
    for _ in range(12):
        throttle.admit(T0, 1, PEER, True)
    assert _headers(throttle, T0)["x-ratelimit-remaining"] == "107"


def test_accounts_and_addresses_have_budgets_of_their_own() -> None:
    throttle = Throttle(Limits(per_minute=1, per_minute_public=1))
    assert throttle.admit(T0, 1, PEER, False).allowed
    assert throttle.admit(T0, 2, PEER, False).allowed
    assert throttle.admit(T0, None, PEER, False).allowed
    assert not throttle.admit(T0, 1, PEER, False).allowed
    assert not throttle.admit(T0, None, PEER, False).allowed
    assert throttle.admit(T0, None, "10.0.0.2", False).allowed


def test_too_many_errors_in_the_window_ban_the_address_for_an_hour_and_then_a_week() -> None:
    throttle = Throttle(Limits(ban_errors=3, ban_window_s=10))
    for n in range(3):
        assert not throttle.banned(T0 + n, PEER)
        throttle.note_error(T0 + n, PEER)
    hour_ns = 3600 * SECOND_NS
    assert throttle.banned(T0 + 2 + hour_ns - 1, PEER)
    assert not throttle.banned(T0 + 2 + hour_ns, PEER)
    assert not throttle.banned(T0 + 2, "10.0.0.2")
    again = T0 + 2 * hour_ns
    for _ in range(3):
        throttle.note_error(again, PEER)
    assert throttle.banned(again + 7 * 24 * hour_ns - 1, PEER)


def test_errors_that_are_spread_out_do_not_ban() -> None:
    throttle = Throttle(Limits(ban_errors=3, ban_window_s=10))
    for n in range(30):
        throttle.note_error(T0 + n * 6 * SECOND_NS, PEER)
        assert not throttle.banned(T0 + n * 6 * SECOND_NS, PEER)


def test_a_lifted_ban_is_forgotten() -> None:
    throttle = Throttle(Limits(ban_errors=1))
    throttle.note_error(T0, PEER)
    assert throttle.banned(T0, PEER)
    throttle.lift_bans()
    assert not throttle.banned(T0, PEER)


def test_connects_are_counted_by_the_hour() -> None:
    throttle = Throttle(Limits(ws_connects_per_hour=2))
    assert throttle.connect(T0, PEER)
    assert throttle.connect(T0, PEER)
    assert not throttle.connect(T0, PEER)
    assert throttle.connect(T0 + 1800 * SECOND_NS, PEER)


def test_a_drained_budget_is_empty() -> None:
    throttle = Throttle(Limits())
    throttle.drain(T0, 1)
    assert not throttle.admit(T0, 1, PEER, False).allowed


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    throttle = Throttle(Limits())
    for n in range(PEERS_MAX + 5):
        throttle.connect(T0, str(n))
    assert len(throttle._connects) == PEERS_MAX


@given(st.integers(1, 50), st.lists(st.integers(0, 3 * SECOND_NS), max_size=200))
def test_no_sequence_gets_more_than_the_burst_and_the_refill(
    capacity: int, gaps: list[int]
) -> None:
    period_ns = 7 * SECOND_NS
    bucket = Bucket(T0, capacity, period_ns)
    at_ns, taken = T0, 0
    for gap in gaps:
        at_ns += gap
        taken += bucket.take(at_ns)
        assert taken <= capacity + (at_ns - T0) * capacity // period_ns
        assert 0 <= bucket.remaining(at_ns) <= capacity


@given(st.integers(1, 50), st.integers(1, 100))
def test_the_promised_time_of_the_next_token_is_exact(capacity: int, requests: int) -> None:
    bucket = Bucket(T0, capacity, 7 * SECOND_NS)
    for _ in range(requests):
        bucket.take(T0)
    due_ns = bucket.next_token_ns(T0)
    if due_ns > T0:
        assert bucket.remaining(due_ns - 1) == 0
    assert bucket.remaining(due_ns) >= 1
