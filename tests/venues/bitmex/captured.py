"""How each captured file is fed to the dialect, and what must come of it, file by file.

In `CASES` a `Feed` says what a file holds, then come the counts of reports or outcomes that the
dialect makes of it, and why, where that is a refusal. A file that is in a folder and not in the
table fails a test, so nothing is skipped in silence.
"""

import json
import lzma
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from chappie.model.events import Answered
from chappie.model.instrument import Instrument
from chappie.model.reports import Read
from chappie.venues.bitmex import BitmexDialect
from chappie.venues.bitmex.columns import instrument_seen
from chappie.venues.bitmex.session import BitmexSession
from tests.venues.bitmex.wire import KEYS, Row, frame, partial, word


class Corpus:
    """The folder of captures, and the instrument rows found in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        rows_2021 = self.json("bitmex/cryptofeed/instrument_active_2021-07-22.json")
        self._rows_2021: dict[str, Row] = {row["symbol"]: row for row in rows_2021}
        self._rows_2024: dict[str, Row] = {
            row["symbol"]: row
            for row in (
                self.json("bitmex/nautilus_trader/http_get_instrument_xbtusd.json"),
                *self.json("bitmex/XChange/rest_api_v1_instrument_active.json"),
            )
        }

    def text(self, name: str) -> bytes:
        raw = (self.root / name).read_bytes()
        return lzma.decompress(raw) if name.endswith(".xz") else raw

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))

    def row(self, year: int, symbol: str, **changed: object) -> Row:
        """The instrument row of that time; one that was not captured is made from XBTUSD's."""
        rows = self._rows_2021 if year < 2024 else self._rows_2024
        return {**rows.get(symbol, rows["XBTUSD"]), "symbol": symbol, **changed}

    def instrument(self, year: int, symbol: str, **changed: object) -> Instrument:
        return instrument_seen(self.row(year, symbol, **changed)).instrument


Counts = Counter[str]
Feed = Callable[[Corpus, str], Counts]


def frames(
    year: int = 2024, symbol: str = "XBTUSD", *, image: str = "", tick: float | None = None
) -> Feed:
    """The file is one frame or a list of ``{"msg": frame}``; ``image`` names a table whose
    empty image comes first, or a file that is the image.
    """

    def feed(corpus: Corpus, name: str) -> Counts:
        changed: Row = {} if tick is None else {"tickSize": tick}
        session = BitmexSession(corpus.instrument(year, symbol, **changed))
        if image:
            _accept(session, partial(image) if image in KEYS else corpus.text(image))
        held = json.loads(corpus.text(name))
        payloads = (
            [corpus.text(name)]
            if isinstance(held, dict)
            else [msgspec.json.encode(item["msg"]) for item in held]
        )
        return _received(session, payloads)

    return feed


def row(
    table: str,
    action: str = "insert",
    year: int = 2024,
    symbol: str = "XBTUSD",
    tick: float | None = None,
) -> Feed:
    """The file is one bare row or a list of them, wrapped into a frame after an image.

    The image is empty, except where the row is an update and needs one to be merged into.
    """

    def feed(corpus: Corpus, name: str) -> Counts:
        changed: Row = {} if tick is None else {"tickSize": tick}
        session = BitmexSession(corpus.instrument(year, symbol, **changed))
        held = json.loads(corpus.text(name))
        rows = held if isinstance(held, list) else [held]
        before: list[Row] = []
        if action == "update":
            before = (
                [corpus.row(year, symbol, **changed)]
                if table == "instrument"
                else [{key: rows[0][key] for key in KEYS[table]}]
            )
        _accept(session, partial(table, before) if table in KEYS else None)
        return _received(session, [frame(table, action, rows)])

    return feed


def body(read: Read | None, year: int = 2024, symbol: str = "XBTUSD", status: int = 200) -> Feed:
    """The file is the body of an answer to that read; None: to an order, cancel or amend."""

    def feed(corpus: Corpus, name: str) -> Counts:
        raw = corpus.text(name)
        if read is Read.INSTRUMENT and json.loads(raw).__class__ is dict:
            raw = b"[" + raw + b"]"
        return _understood(corpus, read, year, symbol, Answered(1, status, {}, raw))

    return feed


def cassette(read: Read | None, symbol: str = "XBTUSD") -> Feed:
    """The file is a list of recorded requests with their answers (testnet, 2018 to 2020)."""

    def feed(corpus: Corpus, name: str) -> Counts:
        counts: Counts = Counter()
        for recorded in corpus.json(name):
            response = recorded["response"]
            if response["type"] == "error":
                # Nothing came back: the shell reports `Unanswered`, the dialect is not asked.
                counts["(no answer)"] += 1
                continue
            headers = {key.lower(): value for key, value in response["headers"].items()}
            answer = Answered(1, response["status_code"], headers, response["body"].encode())
            counts += _understood(corpus, read, 2021, symbol, answer)
        return counts

    return feed


def raw_log(read: Read, symbol: str) -> Feed:
    """A log of REST answers, ``url -> time: body`` per line, between lines that are none."""

    def feed(corpus: Corpus, name: str) -> Counts:
        counts: Counts = Counter()
        for line in corpus.text(name).decode().splitlines():
            head, mark, rest = line.partition(" -> ")
            if mark and head.startswith("https://"):
                answer = Answered(1, 200, {}, rest.partition(": ")[2].encode())
                counts += _understood(corpus, read, 2021, symbol, answer)
        return counts

    return feed


def recording(symbols: int) -> Feed:
    """The raw websocket log of 2021: every frame to the session of its symbol."""

    def feed(corpus: Corpus, name: str) -> Counts:
        counts: Counts = Counter()
        sessions: dict[str, BitmexSession] = {}
        for _, symbol, payload in replayed(corpus, name):
            if symbol not in sessions:
                sessions[symbol] = BitmexSession(corpus.instrument(2021, symbol))
            counts.update(word(report) for report in sessions[symbol].receive(payload))
        assert len(sessions) == symbols
        return counts

    return feed


def no_message(corpus: Corpus, name: str) -> Counts:
    """The file is none of the venue's messages."""
    return Counter()


def replayed(corpus: Corpus, name: str) -> Iterator[tuple[int, str, bytes]]:
    """Line number, symbol and payload of every frame of a raw websocket log with one."""
    for number, line in enumerate(corpus.text(name).decode().splitlines()):
        _, mark, text = line.partition(": ")
        if not mark or "<-" in line[:80]:
            continue
        message = json.loads(text)
        if "table" in message:
            symbol = message.get("filter", {}).get("symbol") or message["data"][0]["symbol"]
        elif "subscribe" in message:
            symbol = message["subscribe"].partition(":")[2]
        else:
            symbol = "XBTUSD"
        yield number, symbol, text.encode()


def _accept(session: BitmexSession, image: bytes | None) -> None:
    """Apply an image that the file needs; one that is not taken would make the case worthless."""
    if image is not None:
        for report in session.receive(image):
            assert not word(report).startswith(("Refused", "Inconsistent")), report


def _received(session: BitmexSession, payloads: list[bytes]) -> Counts:
    return Counter(word(report) for payload in payloads for report in session.receive(payload))


def _understood(
    corpus: Corpus, read: Read | None, year: int, symbol: str, answer: Answered
) -> Counts:
    terms = corpus.instrument(year, symbol)
    outcome, _ = BitmexDialect(symbol).understand(read, answer, terms)
    counts: Counts = Counter([type(outcome).__name__])
    for name in ("orders", "fills", "failures"):
        if held := getattr(outcome, name, ()):
            counts[name] += len(held)
    return counts


class Case(NamedTuple):
    feed: Feed
    expected: dict[str, int]
    why: str = ""


_NODE = "bitmex/BitMEX_api-connectors/"
_NAUTILUS = "bitmex/nautilus_trader/"
_XCHANGE = "bitmex/XChange/"
_CRYPTOFEED = "bitmex/cryptofeed/"
_BITRICH = "recordings/bitrich-info+xchange-stream/"
_BMOSCON = "recordings/bmoscon+cryptofeed/"
_SZABELIN = "recordings/szabelin+bitmex-trading-market-data-handler/"
_FREMANTLE = "recordings/fremantle-industries+ex_bitmex/"

# The folders whose every file must be in the table.
FOLDERS = ("bitmex", _BITRICH, _BMOSCON, _SZABELIN, _FREMANTLE)

_ONE_ORDER = {"OrderAnswered": 1, "orders": 1}
_NOT_ASKED = "an answer to a question that we do not ask: taken for an order answer, it is Unknown"
_NOT_SUBSCRIBED = "a table that we never subscribe to"

CASES: dict[str, Case] = {
    "bitmex/SOURCES.txt": Case(no_message, {}, "where the files come from"),
    _NODE + "swagger.json": Case(no_message, {}, "the description of the REST interface"),
    _NODE + "nodejs_ws_fixtures_2020_extracted.json": Case(
        frames(2021),
        {
            "Welcomed": 2,
            "Subscribed trade": 2,
            "Subscribed order": 2,
            "ImageApplied trade": 1,
            "ImageApplied order": 2,
            "Advanced order": 3,
            "OrderSaid": 3,
            "Refused FOREIGN_SYMBOL": 1,
            "Refused UNKNOWN_TABLE": 8,
        },
        "trades of every symbol and acks and frames of orderBookL2_25, which we never ask for",
    ),
    _NAUTILUS + "credential_post_order.json": Case(no_message, {}, "a request: see test_signing"),
    _NAUTILUS + "http_error_response.json": Case(body(None, status=401), {"KeyRefused": 1}),
    _NAUTILUS + "http_get_executions.json": Case(body(Read.FILLS), {"FillsRead": 1, "fills": 2}),
    _NAUTILUS + "http_get_instrument_xbtm26_xbtu26_spread.json": Case(
        body(Read.INSTRUMENT, symbol="XBTM26-XBTU26"), {"InstrumentRead": 1}
    ),
    _NAUTILUS + "http_get_instrument_xbtusd.json": Case(
        body(Read.INSTRUMENT), {"InstrumentRead": 1}
    ),
    _NAUTILUS + "http_get_orders.json": Case(body(Read.ORDERS), {"OrdersRead": 1, "orders": 2}),
    _NAUTILUS + "http_get_positions.json": Case(body(Read.POSITION), {"PositionRead": 1}),
    _NAUTILUS + "http_get_trade_bins.json": Case(body(None), {"Unknown": 1}, _NOT_ASKED),
    _NAUTILUS + "http_get_trades.json": Case(body(None), {"Unknown": 1}, _NOT_ASKED),
    _NAUTILUS + "http_get_wallet.json": Case(body(None), {"Unknown": 1}, _NOT_ASKED),
    _NAUTILUS + "ws_execution.json": Case(row("execution"), {"Advanced execution": 1, "Filled": 1}),
    _NAUTILUS + "ws_execution_cancel_reject.json": Case(
        row("execution"),
        {"Advanced execution": 1},
        "an execution that changes nothing of ours: no symbol, no side, nothing filled",
    ),
    _NAUTILUS + "ws_funding_rate.json": Case(
        row("funding"), {"Refused UNKNOWN_TABLE": 1}, _NOT_SUBSCRIBED
    ),
    _NAUTILUS + "ws_instrument.json": Case(
        row("instrument", "update"), {"Advanced instrument": 1, "InstrumentSeen": 1}
    ),
    _NAUTILUS + "ws_instrument_index_update.json": Case(
        row("instrument", "update"), {"Advanced instrument": 1, "InstrumentSeen": 1}
    ),
    _NAUTILUS + "ws_instrument_mark_update.json": Case(
        row("instrument", "update", symbol="DOTUSDT"),
        {"Advanced instrument": 1, "InstrumentSeen": 1},
    ),
    _NAUTILUS + "ws_liquidation.json": Case(
        row("liquidation"), {"Refused UNKNOWN_TABLE": 1}, _NOT_SUBSCRIBED
    ),
    _NAUTILUS + "ws_margin.json": Case(row("margin"), {"Advanced margin": 1, "MarginSaid": 1}),
    _NAUTILUS + "ws_order.json": Case(row("order"), {"Advanced order": 1, "OrderSaid": 1}),
    _NAUTILUS + "ws_orderbook_10.json": Case(
        row("orderBook10"), {"Refused UNKNOWN_TABLE": 1}, _NOT_SUBSCRIBED
    ),
    _NAUTILUS + "ws_orderbook_l2.json": Case(row("orderBookL2"), {"Advanced orderBook": 1}),
    _NAUTILUS + "ws_position.json": Case(
        row("position"), {"Advanced position": 1, "PositionSaid": 1}
    ),
    _NAUTILUS + "ws_quote.json": Case(
        row("quote", symbol="BCHUSDT", tick=0.05), {"Advanced quote": 1, "QuoteSeen": 1}
    ),
    _NAUTILUS + "ws_trade.json": Case(row("trade"), {"Advanced trade": 1, "TradeSeen": 1}),
    _NAUTILUS + "ws_trade_bin_1m.json": Case(
        row("tradeBin1m"), {"Refused UNKNOWN_TABLE": 1}, _NOT_SUBSCRIBED
    ),
    _NAUTILUS + "ws_wallet.json": Case(
        row("wallet"), {"Refused UNKNOWN_TABLE": 1}, _NOT_SUBSCRIBED
    ),
    _CRYPTOFEED + "BITMEX.0": Case(raw_log(Read.INSTRUMENT, "XBTUSD"), {"InstrumentRead": 1}),
    _CRYPTOFEED + "instrument_active_2021-07-22.json": Case(
        body(Read.INSTRUMENT), {"InstrumentRead": 1}
    ),
    _XCHANGE + "rest_api_v1_execution_tradehistory.json": Case(
        body(Read.FILLS, symbol="TRUMP_USDT"), {"FillsRead": 1, "fills": 2}
    ),
    _XCHANGE + "rest_api_v1_instrument_active.json": Case(
        body(Read.INSTRUMENT, symbol="XBT_USDT"), {"InstrumentRead": 1}
    ),
    _XCHANGE + "rest_api_v1_order_all-open-orders.json": Case(
        body(Read.ORDERS, symbol="ETH_USDT"), {"OrdersRead": 1, "orders": 2}
    ),
    _XCHANGE + "rest_api_v1_order_cancel-order.json": Case(
        body(None, symbol="ETH_USDT"), _ONE_ORDER
    ),
    _XCHANGE + "rest_api_v1_order_error-insufficient-balance.json": Case(
        body(None, status=400), {"Rejected": 1}
    ),
    **{
        _XCHANGE + f"rest_api_v1_order_{name}.json": Case(
            body(Read.ORDER, symbol=symbol), {"OrdersRead": 1, "orders": 1}
        )
        for name, symbol in (
            ("filled-limit-buy-order", "XBT_USDT"),
            ("filled-limit-sell-order", "XBT_USDT"),
            ("filled-marked-buy-order", "ETH_USDT"),
            ("filled-market-sell-order", "SOL_USDT"),
            ("filtered-open-orders", "XBT_USDT"),
            ("pending-limit-buy-order", "XBT_USDT"),
            ("pending-limit-sell-order", "XBT_USDT"),
        )
    },
    **{
        _XCHANGE + f"rest_api_v1_order_{name}.json": Case(body(None, symbol="XBT_USDT"), _ONE_ORDER)
        for name in (
            "new-limit-buy-order",
            "new-limit-sell-order",
            "new-marked-buy-order",
            "new-market-sell-order",
        )
    },
    _XCHANGE + "rest_api_v1_position.json": Case(
        body(Read.POSITION, symbol="SOL_USDT"), {"PositionRead": 1}
    ),
    _XCHANGE + "rest_api_v1_user_wallet.json": Case(body(None), {"Unknown": 1}, _NOT_ASKED),
    _XCHANGE + "rest_api_v1_user_wallethistory.json": Case(body(None), {"Unknown": 1}, _NOT_ASKED),
    _XCHANGE + "rest_api_v1_wallet_assets.json": Case(body(None), {"Unknown": 1}, _NOT_ASKED),
    _XCHANGE + "rest_example-trades_2017.json": Case(body(None), {"Unknown": 1}, _NOT_ASKED),
    _XCHANGE + "ws_execution-spec.json": Case(frames(2021), {"ImageApplied execution": 1}),
    _XCHANGE + "ws_execution.json": Case(
        row("execution", year=2021), {"Advanced execution": 1, "Filled": 1}
    ),
    _XCHANGE + "ws_execution_market-buy.json": Case(
        frames(symbol="XBT_USDT", image="execution"), {"Advanced execution": 1, "Filled": 1}
    ),
    _XCHANGE + "ws_execution_market-sell.json": Case(
        frames(symbol="XBT_USDT", image="execution"), {"Advanced execution": 1, "Filled": 1}
    ),
    _XCHANGE + "ws_position_initial.json": Case(
        frames(), {"ImageApplied position": 1, "PositionSaid": 1}
    ),
    _XCHANGE + "ws_position_update-close.json": Case(
        frames(image=_XCHANGE + "ws_position_initial.json"),
        {"Advanced position": 1, "PositionSaid": 1},
    ),
    _XCHANGE + "ws_position_update-open.json": Case(
        frames(image=_XCHANGE + "ws_position_initial.json"),
        {"Advanced position": 1, "PositionSaid": 1},
    ),
    _BITRICH + "book-insert.json": Case(
        frames(2021, image=_BITRICH + "book-partial.json.xz"), {"Advanced orderBook": 1}
    ),
    _BITRICH + "book-partial.json.xz": Case(frames(2021), {"ImageApplied orderBook": 1}),
    _BITRICH + "book-update.json": Case(
        frames(2021, image=_BITRICH + "book-partial.json.xz"), {"Advanced orderBook": 1}
    ),
    _BITRICH + "execution-spec.json": Case(frames(2021), {"ImageApplied execution": 1}),
    _BITRICH + "execution.json": Case(
        row("execution", year=2021), {"Advanced execution": 1, "Filled": 1}
    ),
    _BITRICH + "margin.json": Case(
        row("margin", "update"), {"Advanced margin": 1, "MarginSaid": 1}
    ),
    _BITRICH + "position.json": Case(row("position"), {"Advanced position": 1, "PositionSaid": 1}),
    _BMOSCON + "BITMEX.0-2021-07.xz": Case(
        raw_log(Read.INSTRUMENT, "XBTUSD"), {"InstrumentRead": 1}
    ),
    _BMOSCON + "BITMEX.ws.1.0.xz": Case(
        recording(10),
        {
            "Welcomed": 1,
            "Subscribed orderBook": 10,
            "Subscribed quote": 10,
            "Subscribed trade": 10,
            "ImageApplied orderBook": 10,
            "ImageApplied quote": 10,
            "ImageApplied trade": 10,
            "Advanced orderBook": 1969,
            "Advanced quote": 83,
            "Advanced trade": 7,
            "QuoteSeen": 93,
            "TradeSeen": 17,
        },
    ),
    **{
        _SZABELIN + f"sample_{action}_message_xbtusd.json": Case(
            frames(image=_SZABELIN + "sample_partial_message_xbtusd.json.xz"),
            {"Inconsistent orderBook": 1},
            "taken 20 minutes after the image: its levels are not the image's; alone, see below",
        )
        for action in ("delete", "insert", "update")
    },
    _SZABELIN + "sample_partial_message_ethusd.json.xz": Case(
        frames(2021, symbol="ETHUSD", tick=0.01), {"ImageApplied orderBook": 1}
    ),
    _SZABELIN + "sample_partial_message_xbtusd.json.xz": Case(
        frames(), {"ImageApplied orderBook": 1}
    ),
    **{
        _FREMANTLE + f"rest__{name}.json": Case(cassette(read), expected)
        for name, read, expected in (
            ("http_client__auth_delete_ok", None, _ONE_ORDER),
            ("http_client__auth_get_ok", Read.ORDERS, {"OrdersRead": 1, "orders": 1}),
            ("http_client__auth_put_ok", None, _ONE_ORDER),
            ("orders__amend_bulk_error", None, {**_ONE_ORDER, "Rejected": 1}),
            ("orders__amend_bulk_ok", None, {"OrderAnswered": 2, "orders": 2}),
            ("orders__amend_ok", None, _ONE_ORDER),
            ("orders__buy_limit_error_bad_request", None, {"Rejected": 1}),
            ("orders__cancel_bulk_ok", None, {"OrderAnswered": 2, "orders": 2}),
            ("orders__cancel_ok", None, _ONE_ORDER),
            ("orders__create_buy_limit_ok", None, _ONE_ORDER),
            ("orders__create_insufficient_balance", None, {"Rejected": 1}),
            ("position__index_ok", Read.POSITION, {"PositionRead": 1}),
            ("request__error_bad_gateway", None, {"Unknown": 1}),
            ("request__error_bad_request", None, {"Rejected": 1}),
            ("request__error_invalid_signature", None, {"KeyRefused": 1}),
            ("request__error_ip_forbidden", None, {"KeyRefused": 1}),
            ("request__error_no_connection", None, {"(no answer)": 1}),
            ("request__error_nonce_not_increasing", None, {"Rejected": 1}),
            ("request__error_not_found", None, {"Rejected": 1}),
            ("request__error_overloaded", None, {"NotAccepted": 1}),
            ("request__error_rate_limited", None, {"NotAccepted": 1}),
            ("user__margin_ok", Read.MARGIN, {"MarginRead": 1}),
        )
    },
    _FREMANTLE + "rest__user__margin_all_ok.json": Case(
        cassette(Read.MARGIN), {"Unknown": 1}, "margin of all currencies; we ask for one"
    ),
    _FREMANTLE + "rest__instrument__active_ok.json": Case(
        cassette(Read.INSTRUMENT), {"InstrumentRead": 1}
    ),
    _FREMANTLE + "rest__instrument__active_and_indices_ok.json.xz": Case(
        cassette(Read.INSTRUMENT), {"InstrumentRead": 1}
    ),
    _FREMANTLE + "rest__instrument__index_ok.json.xz": Case(
        cassette(Read.INSTRUMENT), {"InstrumentRead": 1}
    ),
    _FREMANTLE + "rest__instrument__index_with_params_ok.json": Case(
        cassette(Read.INSTRUMENT), {"Unknown": 1}, "one settled contract, not the one asked for"
    ),
    _FREMANTLE + "rest__instrument__indices_ok.json": Case(
        cassette(Read.INSTRUMENT), {"Unknown": 1}, "indices only, not the contract asked for"
    ),
    **{
        _FREMANTLE + f"rest__{name}.json": Case(cassette(None), {"Unknown": 1}, _NOT_ASKED)
        for name in (
            "funding__index_ok",
            "http_client__non_auth_get_ok",
            "instrument__active_intervals_ok",
            "instrument__composite_index_ok",
            "instrument__composite_index_with_params_ok",
            "request__ok_payload_json",
            "request__ok_with_rate_limit",
            "trade__index_ok",
            "user__affiliate_status_ok",
            "user__commission_ok",
            "user__wallet_history_ok",
            "user__wallet_ok",
        )
    },
}
