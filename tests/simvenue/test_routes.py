"""The REST face: encodings, envelopes, permissions, budgets, and what each route answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from chappie.simvenue.envelopes import Answer, HttpRequest
from chappie.simvenue.options import SECOND_NS, Limits
from chappie.simvenue.routes import ROUTES
from chappie.simvenue.stamps import stamp
from tests.simvenue.rig import ALICE, BOB, CANCELLER, READER, T0, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_an_order_rests_is_found_amended_and_cancelled(rig: Rig) -> None:
    row = rig.order("Buy", 100, 59_000.5, clOrdID="one", text="hello")
    assert (row["ordStatus"], row["price"], row["leavesQty"]) == ("New", 59_000.5, 100)
    (found,) = rig.ask("GET", '/order?filter={"clOrdID":"one"}').json
    assert found == row
    amended = rig.ask("PUT", "/order", {"origClOrdID": "one", "price": 59_001}).json
    assert amended["price"] == 59_001
    (gone,) = rig.ask("DELETE", "/order", {"orderID": row["orderID"]}).json
    assert (gone["ordStatus"], gone["workingIndicator"]) == ("Canceled", False)
    assert rig.ask("GET", '/order?filter={"open":true}').json == []


def test_a_cancel_may_come_as_json_form_or_query(rig: Rig) -> None:
    """What ccxt, nautilus and sample-market-maker send with DELETE (protocol section 2)."""
    for name in ("json", "form", "query", "list", "form list"):
        rig.order("Buy", 100, 59_000.5, clOrdID=name)
    assert rig.ask("DELETE", "/order", {"clOrdID": "json"}).status == 200
    assert rig.ask("DELETE", "/order", {"clOrdID": "form"}, form=True).status == 200
    assert rig.ask("DELETE", "/order?clOrdID=query").status == 200
    rows = rig.ask("DELETE", "/order", {"clOrdID": ["list"]}).json
    assert [row["clOrdID"] for row in rows] == ["list"]
    body = {"clOrdID": '["form list"]'}
    assert rig.ask("DELETE", "/order", body, form=True).json[0]["ordStatus"] == "Canceled"
    assert rig.ask("GET", '/order?filter={"open":true}').json == []


def test_an_order_may_come_as_a_form(rig: Rig) -> None:
    body = {"symbol": "XBTUSD", "side": "Sell", "orderQty": "200", "price": "61000.1"}
    row = rig.ask("POST", "/order", body, form=True).json
    assert (row["side"], row["orderQty"], row["price"]) == ("Sell", 200, 61_000.1)


def test_the_signature_covers_the_raw_query_and_body(rig: Rig) -> None:
    path = "/order?filter=" + quote('{"symbol": "XBTUSD"}')
    assert rig.ask("GET", path).status == 200
    wrong = rig.ask("GET", path, sign="0" * 64)
    assert (wrong.status, wrong.message) == (401, "Signature not valid.")
    assert wrong.json["error"]["name"] == "HTTPError"


def test_a_late_request_is_refused_before_the_exchange_sees_it(rig: Rig) -> None:
    body = {"symbol": "XBTUSD", "orderQty": 100, "price": 59_000}
    late = rig.ask("POST", "/order", body, expires=T0 // SECOND_NS - 1)
    assert late.status == 400
    assert late.message.startswith("This request has expired - `expires` is in the past. Curr")
    assert rig.ask("GET", "/order").json == []
    assert rig.log()[0]["executed"] is False


def test_a_public_route_refuses_a_stale_login_too(rig: Rig) -> None:
    assert rig.ask("GET", "/instrument", expires=T0 // SECOND_NS - 1).status == 400
    assert rig.ask("GET", "/instrument", user=None).status == 200


def test_a_private_route_needs_a_login(rig: Rig) -> None:
    for method, path in (("GET", "/order"), ("POST", "/order"), ("GET", "/user/margin")):
        reply = rig.ask(method, path, user=None)
        assert (reply.status, reply.message) == (401, "Authorization Required")


def test_permissions_decide_what_a_key_may_do(rig: Rig) -> None:
    order = {"symbol": "XBTUSD", "orderQty": 100, "price": 59_000}
    for user in (CANCELLER, READER):
        reply = rig.ask("POST", "/order", order, user=user)
        assert (reply.status, reply.message) == (403, "Access Denied")
        assert rig.ask("GET", "/order", user=user).status == 200
    timer = ("POST", "/order/cancelAllAfter", {"timeout": 60_000})
    assert rig.ask(*timer, user=CANCELLER).status == 200
    assert rig.ask("DELETE", "/order/all", user=CANCELLER).json == []
    assert rig.ask(*timer, user=READER).status == 403


def test_unknown_routes_and_missing_arguments_have_the_venues_texts(rig: Rig) -> None:
    nowhere = rig.ask("DELETE", "/stats")
    assert (nowhere.status, nowhere.json) == (
        404,
        {"error": {"message": "Not Found", "name": "HTTPError"}},
    )
    missing = rig.ask("POST", "/order", {"orderQty": 1})
    assert (missing.status, missing.message) == (400, "'symbol' is a required arg.")
    assert rig.ask("POST", "/order/cancelAllAfter", {}).message == "'timeout' is a required arg."
    assert rig.ask("GET", "/orderBook/L2").message == "'symbol' is a required arg."
    assert rig.ask("POST", "/order", b"{oops").status == 400


def test_the_api_is_only_below_its_base(rig: Rig) -> None:
    for path in ("/order", "/api/v2/order", "/realtime", "/api/v1"):
        number = 10_000 + len(rig.answers)
        request = HttpRequest(request_id=number, method="GET", raw_path=path, headers={})
        rig.venue.http(rig.now_ns, request)
        rig.wait(0)
        answer = rig.answers[number]
        assert isinstance(answer, Answer)
        assert answer.status == 404


def test_a_body_in_a_get_is_refused(rig: Rig) -> None:
    reply = rig.ask("GET", "/order", {"symbol": "XBTUSD"})
    assert reply.message == "Body should not be included in a GET request."


@pytest.mark.parametrize(
    "wrong",
    [
        {"orderQty": 0.5},
        {"orderQty": "many"},
        {"price": "NaN"},
        {"price": [1]},
        {"price": 59_000.05},
        {"orderQty": 50},
        {"symbol": "DOGEUSD"},
        {"ordType": "Weird"},
        {"clOrdID": "x" * 37},
    ],
)
def test_an_impossible_order_is_a_400_with_an_envelope(rig: Rig, wrong: dict[str, Any]) -> None:
    body = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 100, "price": 59_000, **wrong}
    reply = rig.ask("POST", "/order", body)
    assert reply.status == 400
    assert reply.message.startswith("Invalid")
    assert rig.ask("GET", "/order").json == []


def test_insufficient_balance_has_the_coded_envelope(rig: Rig) -> None:
    body = {"symbol": "XBTUSD", "side": "Buy", "orderQty": 9_000_000, "price": 59_000}
    error = rig.ask("POST", "/order", body).json["error"]
    assert error["name"] == "CodedHTTPError"
    assert error["details"] == "19000"
    assert error["message"].startswith("Account has insufficient Available Balance, ")


def test_an_unknown_id_cannot_be_cancelled(rig: Rig) -> None:
    assert rig.ask("DELETE", "/order", {"clOrdID": "nobody"}).status == 404
    assert rig.ask("DELETE", "/order", {}).status == 400


def test_cancel_all_takes_a_side_and_leaves_the_other(rig: Rig) -> None:
    rig.quote()
    rows = rig.ask("DELETE", "/order/all", {"filter": '{"side":"Buy"}'}, user=BOB).json
    assert [row["side"] for row in rows] == ["Buy"]
    rows = rig.ask("DELETE", "/order/all?symbol=XBTUSD", user=BOB).json
    assert [row["side"] for row in rows] == ["Sell"]
    assert rig.ask("DELETE", "/order/all", {"symbol": "DOGE"}, user=BOB).status == 400


def test_the_dead_mans_switch_fires_after_its_milliseconds(rig: Rig) -> None:
    rig.order("Buy", 100, 59_000)
    armed = rig.ask("POST", "/order/cancelAllAfter", {"timeout": 60_000}).json
    assert armed == {"now": stamp(T0), "cancelTime": stamp(T0 + 60 * SECOND_NS)}
    rig.wait(59.9)
    assert len(rig.ask("GET", '/order?filter={"open":true}').json) == 1
    rig.wait(0.1)
    assert rig.ask("GET", '/order?filter={"open":true}').json == []


def test_a_wrong_clock_states_wrong_times_of_a_switch_that_fires_in_time(rig: Rig) -> None:
    rig.order("Buy", 100, 59_000)
    rig.arm("skew_clock", ms=700)
    armed = rig.ask("POST", "/order/cancelAllAfter", {"timeout": 60_000}).json
    wrong_ns = T0 + 700_000_000
    assert armed == {"now": stamp(wrong_ns), "cancelTime": stamp(wrong_ns + 60 * SECOND_NS)}
    rig.wait(59.9)
    assert len(rig.ask("GET", '/order?filter={"open":true}').json) == 1
    rig.wait(0.1)
    assert rig.ask("GET", '/order?filter={"open":true}').json == []


def test_a_position_closes_by_its_own_route(rig: Rig) -> None:
    rig.quote()
    rig.order("Buy", 300)
    (position,) = rig.ask("GET", '/position?filter={"symbol":"XBTUSD"}').json
    assert position["currentQty"] == 300
    row = rig.ask("POST", "/order/closePosition", {"symbol": "XBTUSD"}).json
    assert (row["side"], row["ordStatus"], row["cumQty"]) == ("Sell", "Filled", 300)
    assert rig.ask("GET", "/position").json[0]["currentQty"] == 0


def test_executions_hold_every_event_and_the_history_only_what_moved_money(rig: Rig) -> None:
    rig.quote()
    rig.order("Buy", 300)
    kinds = [row["execType"] for row in rig.ask("GET", "/execution").json]
    assert kinds == ["New", "Trade"]
    history = rig.ask("GET", "/execution/tradeHistory?symbol=XBTUSD").json
    assert [row["execType"] for row in history] == ["Trade"]
    since = stamp(T0 + SECOND_NS)
    assert rig.ask("GET", f"/execution?startTime={since}").json == []
    columns = rig.ask("GET", '/execution?columns=["lastQty"]').json[1]
    assert set(columns) == {"execID", "lastQty"}


def test_the_position_routes_set_leverage_and_isolation(rig: Rig) -> None:
    row = rig.ask("POST", "/position/leverage", {"symbol": "XBTUSD", "leverage": 10}).json
    assert (row["leverage"], row["crossMargin"]) == (10, False)
    row = rig.ask("POST", "/position/isolate", {"symbol": "XBTUSD", "enabled": False}).json
    assert row["crossMargin"] is True
    body = {"symbol": "XBTUSD", "riskLimit": 25_000_000_000}
    assert rig.ask("POST", "/position/riskLimit", body).json["riskLimit"] == 25_000_000_000
    assert rig.ask("POST", "/position/leverage", {"symbol": "XBTUSD"}).status == 400
    assert rig.ask("POST", "/position/leverage", {"symbol": "X", "leverage": 1}).status == 400
    no_position = {"symbol": "XBTUSD", "amount": 1000}
    assert rig.ask("POST", "/position/transferMargin", no_position).status == 400


def test_margin_and_wallet_come_as_one_row_or_as_a_list(rig: Rig) -> None:
    margin = rig.ask("GET", "/user/margin").json
    assert margin["walletBalance"] == ALICE.deposit
    assert rig.ask("GET", "/user/margin?currency=all").json == [margin]
    wallet = rig.ask("GET", "/user/wallet?currency=XBt").json
    assert rig.ask("GET", "/user/wallet?currency=all").json == [wallet]
    (deposit,) = rig.ask("GET", "/user/walletHistory").json
    assert (deposit["transactType"], deposit["amount"]) == ("Deposit", ALICE.deposit)
    assert rig.ask("GET", "/user/margin?currency=USDt").status == 400


def test_a_key_lists_the_keys_of_its_account_and_no_secret(rig: Rig) -> None:
    reply = rig.ask("GET", "/apiKey")
    assert [(row["id"][0], row["permissions"]) for row in reply.json] == [
        ("A", ["order"]),
        ("C", ["orderCancel"]),
        ("R", []),
    ]
    assert ALICE.secret.encode() not in reply.body


def test_the_instrument_routes_divide_contracts_and_indices(rig: Rig) -> None:
    def symbols(path: str) -> list[str]:
        return [row["symbol"] for row in rig.ask("GET", path, user=None).json]

    assert symbols("/instrument") == ["XBTUSD", ".BXBT"]
    assert symbols("/instrument/active") == ["XBTUSD"]
    assert symbols("/instrument/indices") == [".BXBT"]
    assert symbols("/instrument?symbol=XBT:perpetual") == ["XBTUSD"]
    assert symbols("/instrument?symbol=DOGEUSD") == []
    assert symbols('/instrument?filter={"state":"Open"}') == ["XBTUSD"]
    intervals = rig.ask("GET", "/instrument/activeIntervals", user=None).json
    assert intervals == {"intervals": ["XBT:perpetual"], "symbols": ["XBTUSD"]}


def test_the_book_has_the_depth_that_was_asked_for(rig: Rig) -> None:
    for n in range(30):
        rig.order("Buy", 100, 59_000 - n, user=BOB)
    book = rig.ask("GET", "/orderBook/L2?symbol=XBTUSD", user=None).json
    assert len(book) == 25
    assert book[0]["price"] == 59_000
    assert len(rig.ask("GET", "/orderBook/L2?symbol=XBTUSD&depth=0", user=None).json) == 30
    assert len(rig.ask("GET", "/orderBook/L2?symbol=xbt&depth=3", user=None).json) == 3


def test_trades_quotes_and_bins_are_public(rig: Rig) -> None:
    rig.quote()
    rig.order("Buy", 300)
    rig.wait(130)
    (trade,) = rig.ask("GET", "/trade?symbol=XBTUSD&count=1000", user=None).json
    assert (trade["side"], trade["size"], trade["price"]) == ("Buy", 300, 60_001)
    newest = rig.ask("GET", "/quote?symbol=XBTUSD&reverse=true&count=1", user=None).json[0]
    assert (newest["bidPrice"], newest["askPrice"], newest["askSize"]) == (59_999, 60_001, 700)
    bins = rig.ask("GET", "/trade/bucketed?binSize=1m&symbol=XBTUSD", user=None).json
    assert bins[-2]["volume"] == 300 or bins[-1]["volume"] == 300
    assert all(row["timestamp"].endswith(":00.000Z") for row in bins)
    with_partial = rig.ask("GET", "/trade/bucketed?partial=true&symbol=XBTUSD", user=None).json
    assert len(with_partial) == len(bins) + 1
    assert rig.ask("GET", "/trade/bucketed?binSize=7m", user=None).status == 400
    assert rig.ask("GET", "/quote/bucketed?binSize=1m&symbol=XBTUSD", user=None).json
    assert rig.ask("GET", "/trade?count=1001", user=None).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/funding", "/liquidation", "/settlement", "/insurance", "/announcement",
        "/announcement/urgent", "/stats", "/schema", "/schema/websocketHelp", "/wallet/assets",
        "/trade", "/quote", "/trade/bucketed", "/quote/bucketed", "/instrument/activeAndIndices",
    ],
)  # fmt: skip
def test_every_public_route_answers_without_a_key(rig: Rig, path: str) -> None:
    reply = rig.ask("GET", path, user=None)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    json.loads(reply.body)


def test_the_users_commission_is_that_of_the_instrument(rig: Rig) -> None:
    commission = rig.ask("GET", "/user/commission").json
    assert commission["XBTUSD"]["takerFee"] == 0.0005
    assert rig.ask("GET", "/user").json["id"] == 1


def test_every_answer_carries_the_budget_and_the_venues_time(rig: Rig) -> None:
    rig = Rig(limits=Limits())
    headers = rig.ask("GET", "/order").headers
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("120", "119")
    assert int(headers["x-ratelimit-reset"]) == T0 // SECOND_NS + 1
    assert headers["date"] == "Mon, 24 Nov 2025 16:00:00 GMT"
    assert "x-ratelimit-remaining-1s" not in headers
    headers = rig.ask("DELETE", "/order/all").headers
    assert headers["x-ratelimit-remaining-1s"] == "9"
    assert rig.ask("GET", "/stats", user=None).headers["x-ratelimit-limit"] == "30"


def test_the_second_layer_covers_exactly_the_listed_routes() -> None:
    """Protocol section 3; closePosition is an order under another name."""
    covered = {f"{method} {path}" for (method, path), row in ROUTES.items() if row.second_layer}
    assert covered == {
        "POST /order", "PUT /order", "DELETE /order", "DELETE /order/all",
        "POST /order/closePosition", "POST /position/isolate", "POST /position/leverage",
        "POST /position/transferMargin",
    }  # fmt: skip


def test_over_budget_is_a_429_with_the_wait(rig: Rig) -> None:
    rig = Rig(limits=Limits(per_minute=2))
    for _ in range(2):
        assert rig.ask("GET", "/order").status == 200
    reply = rig.ask("GET", "/order")
    assert (reply.status, reply.message) == (429, "Rate limit exceeded, retry in 30 seconds.")
    assert (reply.headers["retry-after"], reply.headers["x-ratelimit-remaining"]) == ("30", "0")
    rig.wait(30)
    assert rig.ask("GET", "/order").status == 200


def test_too_many_errors_ban_the_address_on_both_doors(rig: Rig) -> None:
    rig = Rig(limits=Limits(ban_errors=5))
    for _ in range(5):
        assert rig.ask("GET", "/nowhere", user=None).status == 404
    reply = rig.ask("GET", "/order")
    assert (reply.status, reply.headers["server"]) == (403, "awselb/2.0")
    assert reply.body.startswith(b"<html>")
    refused = rig.sockets[rig.connect()].refused
    assert refused is not None
    assert refused.status == 403
    assert rig.ask("GET", "/order", peer="10.0.0.9").status == 200
    rig.wait(3600)
    assert rig.ask("GET", "/order").status == 200


def test_the_log_of_requests_says_what_was_sent_and_keeps_no_signature(rig: Rig) -> None:
    rig.order("Buy", 100, 59_000, clOrdID="mine")
    rig.ask("DELETE", "/order", {"clOrdID": ["mine", "other"]})
    rig.ask("GET", "/instrument", user=None)
    post, delete, get = rig.log()
    assert (post["method"], post["path"], post["status"]) == ("POST", "/api/v1/order", 200)
    assert (post["account"], post["clOrdID"], post["executed"]) == (1, ["mine"], True)
    assert json.loads(post["body"])["orderQty"] == 100
    assert delete["clOrdID"] == ["mine", "other"]
    assert get["account"] is None
    assert [entry["number"] for entry in rig.log(since=post["number"])] == [2, 3]
    text = json.dumps(rig.log())
    assert ALICE.secret not in text
    assert "signature" not in text


def test_the_truth_is_the_exchanges_own(rig: Rig) -> None:
    rig.quote()
    rig.order("Buy", 300, clOrdID="t")
    truth = rig.control("GET", "/truth?account=1")
    assert truth["orders"][0]["clOrdID"] == "t"
    assert truth["position"][0]["currentQty"] == 300
    assert [row["execType"] for row in truth["executions"]] == ["New", "Trade"]
    assert truth["margin"] == rig.ask("GET", "/user/margin").json
    assert rig.ask("GET", "/control/truth", user=None).status == 400
    assert rig.ask("GET", "/control/truth?account=x", user=None).status == 400
    stranger = rig.ask("GET", "/control/truth?account=987654", user=None)
    assert (stranger.status, stranger.json["accounts"]) == (400, [-1, -2, 1, 2])
    assert rig.ask("GET", "/control/nothing", user=None).status == 404
