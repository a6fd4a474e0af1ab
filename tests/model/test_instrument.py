import json
import lzma
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chappie.model.instrument import OffTickError
from chappie.model.units import Contracts, Ticks
from chappie.venues.bitmex.columns import instrument_seen
from chappie.venues.bitmex.tables import TickScale
from tests.model.terms import TICK_SIZES, terms

RECORDING = "recordings/bmoscon+cryptofeed/BITMEX.ws.1.0.xz"

# Up to 1e11 ticks a float tells ticks apart; no listed contract comes near (a price of 1e6 in
# ticks of 0.01 is 1e8).
TICKS = st.integers(1, 10**8)


@pytest.mark.parametrize("tick_size", TICK_SIZES)
@given(ticks=TICKS)
def test_a_price_in_ticks_survives_the_wire_and_back(tick_size: str, ticks: int) -> None:
    instrument = terms(tick_size)
    price = instrument.price(ticks)
    assert price == ticks * Decimal(tick_size)
    assert instrument.ticks(price) == ticks
    # What a JSON decoder makes of what we send.
    assert instrument.ticks(float(format(price, "f"))) == ticks


@pytest.mark.parametrize("tick_size", TICK_SIZES)
@given(ticks=TICKS)
def test_the_hot_path_finds_the_same_ticks_as_exact_arithmetic(tick_size: str, ticks: int) -> None:
    instrument = terms(tick_size)
    price = float(instrument.price(ticks))
    assert TickScale(instrument).ticks(price) == instrument.ticks(price) == ticks


@pytest.mark.parametrize("tick_size", TICK_SIZES)
@given(ticks=TICKS, tenths=st.integers(1, 9))
def test_a_price_between_two_ticks_is_found_out_by_both(
    tick_size: str, ticks: int, tenths: int
) -> None:
    instrument = terms(tick_size)
    price = float((ticks + Decimal(tenths) / 10) * Decimal(tick_size))
    with pytest.raises(OffTickError):
        instrument.ticks(price)
    with pytest.raises(OffTickError):
        TickScale(instrument).ticks(price)


@pytest.mark.parametrize("price", [0.0, -0.5, -30000.0, 1e-9, 1e12, 1e308])
def test_the_hot_path_takes_no_price_that_a_book_cannot_hold(price: float) -> None:
    with pytest.raises(OffTickError):
        TickScale(terms()).ticks(price)


def test_the_words_of_an_off_tick_price_name_symbol_price_and_tick() -> None:
    for ticks in (terms().ticks, TickScale(terms()).ticks):
        with pytest.raises(OffTickError, match=r"XBTUSD.*30000\.3.*0\.5"):
            ticks(30000.3)


def test_the_value_of_every_captured_trade_is_the_venues_own(shared_data: Path) -> None:
    """Per-lot rounding is the only rule that matches all of them (protocol section 7)."""
    rows = json.loads(
        (shared_data / "bitmex/cryptofeed/instrument_active_2021-07-22.json").read_bytes()
    )
    instrument = instrument_seen(next(row for row in rows if row["symbol"] == "XBTUSD")).instrument
    inserted: list[tuple[int, float, int]] = []
    for line in lzma.decompress((shared_data / RECORDING).read_bytes()).decode().splitlines():
        text = line.partition(": ")[2]
        if '"table":"trade"' in text and "<-" not in line[:80]:
            inserted += [
                (row["size"], row["price"], row["grossValue"])
                for row in json.loads(text)["data"]
                if row["symbol"] == "XBTUSD"
            ]
    assert len(inserted) == 16
    wrong = [
        (size, price, gross)
        for size, price, gross in inserted
        if instrument.value(Contracts(size), instrument.ticks(price)) != gross
    ]
    assert wrong == []
    # The test can tell the rules apart: rounding once over the whole gives other values.
    at_once = [round(Decimal(size) * 10**8 / Decimal(str(price))) for size, price, _ in inserted]
    assert at_once != [gross for _, _, gross in inserted]


@given(lots=st.integers(1, 500), split=st.integers(0, 500), ticks=st.integers(2_000, 400_000))
def test_the_value_of_whole_lots_does_not_depend_on_how_they_were_filled(
    lots: int, split: int, ticks: int
) -> None:
    instrument = terms()
    part = min(split, lots)
    whole = instrument.value(Contracts(100 * lots), Ticks(ticks))
    one = instrument.value(Contracts(100 * part), Ticks(ticks))
    rest = instrument.value(Contracts(100 * (lots - part)), Ticks(ticks))
    assert one + rest == whole


@given(qty=st.integers(0, 10**7), ticks=st.integers(2_000, 400_000))
def test_the_value_of_a_short_is_that_of_the_long(qty: int, ticks: int) -> None:
    instrument = terms()
    assert instrument.value(Contracts(-qty), Ticks(ticks)) == instrument.value(
        Contracts(qty), Ticks(ticks)
    )


def test_odd_contracts_are_valued_apart_from_the_lots() -> None:
    assert terms().value(Contracts(130), Ticks(60001)) == 333328 + 99998


def test_a_quanto_contract_is_worth_more_the_higher_the_price() -> None:
    eth = terms("0.05", lot_size=1, multiplier=100, is_inverse=False)
    assert eth.value(Contracts(10), Ticks(40_000)) == 10 * 2000 * 100
