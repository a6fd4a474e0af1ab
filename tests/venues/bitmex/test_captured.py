import msgspec
import pytest

from chappie.model.enums import Side
from chappie.model.reports import FillsRead, InstrumentSeen, OrderSaid, PositionSaid, Read
from chappie.venues.bitmex import BitmexDialect
from chappie.venues.bitmex.session import BitmexSession
from tests.venues.bitmex.captured import CASES, FOLDERS, Corpus
from tests.venues.bitmex.wire import answered, partial, word, words

NAUTILUS = "bitmex/nautilus_trader/"
XCHANGE = "bitmex/XChange/"
SZABELIN = "recordings/szabelin+bitmex-trading-market-data-handler/"


def test_every_captured_file_stands_in_the_table(corpus: Corpus) -> None:
    found = sorted(
        str(path.relative_to(corpus.root))
        for folder in FOLDERS
        for path in (corpus.root / folder).rglob("*")
        if path.is_file()
    )
    assert found == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_captured_file_decodes_or_is_refused_as_the_table_says(corpus: Corpus, name: str) -> None:
    case = CASES[name]
    assert dict(case.feed(corpus, name)) == case.expected


def test_every_refusal_in_the_table_says_why() -> None:
    # The errors of the cassettes are captures of refusals: their own name says why.
    unexplained = [
        name
        for name, case in CASES.items()
        if not case.why
        and (
            not case.expected or any(n.startswith(("Refused", "Inc", "Unk")) for n in case.expected)
        )
    ]
    assert unexplained == [
        "recordings/fremantle-industries+ex_bitmex/rest__request__error_bad_gateway.json"
    ]


@pytest.mark.parametrize("action", ["insert", "update", "delete"])
def test_a_delta_of_2025_applies_to_a_book_that_holds_its_levels(
    corpus: Corpus, action: str
) -> None:
    """The captured image is 20 minutes older, so the image is made of the delta's own rows."""
    payload = corpus.text(SZABELIN + f"sample_{action}_message_xbtusd.json")
    rows = msgspec.json.decode(payload)["data"]
    session = BitmexSession(corpus.instrument(2024, "XBTUSD"))
    image = [] if action == "insert" else [{**row, "size": 1} for row in rows]
    session.receive(partial("orderBookL2", image))

    assert words(session.receive(payload)) == ["Advanced orderBook"]

    left = {row["id"]: row for row in rows} if action != "delete" else {}
    assert len(session.book) == len(left)
    for row in left.values():
        ticks = session._instrument.ticks(row["price"])
        assert session.book.size(Side(row["side"]), ticks) == row["size"]


def test_a_book_of_2025_is_ordered_by_price_and_not_by_id(corpus: Corpus) -> None:
    name = SZABELIN + "sample_partial_message_xbtusd.json.xz"
    session = BitmexSession(corpus.instrument(2024, "XBTUSD"))
    session.receive(corpus.text(name))
    rows = corpus.json(name)["data"]
    bids = [row["price"] for row in rows if row["side"] == "Buy"]
    asks = [row["price"] for row in rows if row["side"] == "Sell"]
    assert len(session.book) == len(rows) == 5689
    assert session.book.best_bid == round(max(bids) * 10)
    assert session.book.best_ask == round(min(asks) * 10)


def test_captured_fills_keep_every_amount_of_the_venue(corpus: Corpus) -> None:
    name = XCHANGE + "rest_api_v1_execution_tradehistory.json"
    instrument = corpus.instrument(2024, "TRUMP_USDT")
    outcome, _ = BitmexDialect("TRUMP_USDT").understand(
        Read.FILLS, answered(corpus.text(name)), instrument
    )
    assert isinstance(outcome, FillsRead)
    assert not outcome.more
    for said, row in zip(outcome.fills, corpus.json(name), strict=True):
        assert word(said) == "Filled"
        fill = said.fill  # type: ignore[union-attr]
        assert (fill.exec_id, fill.order_id) == (row["execID"], row["orderID"])
        assert (fill.cost, fill.fee, fill.qty) == (
            row["execCost"],
            row["execComm"],
            row["lastQty"],
        )
        assert float(instrument.price(fill.price)) == row["lastPx"]


def test_a_captured_index_update_moves_the_index_and_keeps_the_terms(corpus: Corpus) -> None:
    """Reported failure: an adapter assumed an indexPrice column and lost every update."""
    before = corpus.row(2024, "XBTUSD")
    session = BitmexSession(corpus.instrument(2024, "XBTUSD"))
    session.receive(partial("instrument", [before]))
    update = corpus.json(NAUTILUS + "ws_instrument_index_update.json")
    reports = session.receive(
        msgspec.json.encode({"table": "instrument", "action": "update", "data": [update]})
    )
    seen = reports[1]
    assert isinstance(seen, InstrumentSeen)
    assert seen.index_price == 75847.62
    assert seen.mark_price == before["markPrice"]
    assert seen.instrument == corpus.instrument(2024, "XBTUSD")


def test_a_captured_position_close_clears_what_it_sends_as_null(corpus: Corpus) -> None:
    session = BitmexSession(corpus.instrument(2024, "XBTUSD"))
    image = corpus.json(XCHANGE + "ws_position_initial.json")
    for row in image["data"]:
        if row["symbol"] == "XBTUSD":
            row.update(currentQty=100, posCost=-107287, avgEntryPrice=93208.0)
    (_, before) = session.receive(msgspec.json.encode(image))
    assert before == PositionSaid(100, -107287, 93208.0, 0, None)  # type: ignore[arg-type]

    (_, after) = session.receive(corpus.text(XCHANGE + "ws_position_update-close.json"))
    assert after == PositionSaid(0, 0, None, 0, None)  # type: ignore[arg-type]


def test_a_captured_order_keeps_its_exact_price(corpus: Corpus) -> None:
    instrument = corpus.instrument(2024, "XBT_USDT")
    outcome, _ = BitmexDialect("XBT_USDT").understand(
        None,
        answered(corpus.text(XCHANGE + "rest_api_v1_order_new-limit-sell-order.json")),
        instrument,
    )
    (said,) = outcome.orders  # type: ignore[union-attr]
    assert isinstance(said, OrderSaid)
    assert said.price == 220001
    assert (said.cl_ord_id, said.side, said.leaves_qty) == (
        "new-limit-sell-order",
        Side.SELL,
        10000,
    )
