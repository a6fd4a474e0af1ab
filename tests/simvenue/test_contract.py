import lzma
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from chappie.simvenue.contract import Contract, fee, order_margin, price_of_value

_RECORDING = (
    Path(__file__).parents[3] / "shared/data/recordings/bmoscon+cryptofeed/BITMEX.ws.1.0.xz"
)
XBTUSD = Contract()


def test_the_value_per_lot_of_every_recorded_trade_is_reproduced() -> None:
    if not _RECORDING.exists():
        pytest.skip("the recorded captures are not next to this repository")
    seen = 0
    with lzma.open(_RECORDING, "rt") as lines:
        for line in lines:
            if '"trade"' not in line or "<-" in line or '"data"' not in line:
                continue
            for row in msgspec.json.decode(line.partition(": ")[2])["data"]:
                if row["symbol"] == "XBTUSD":
                    cents = int(Decimal(str(row["price"])) * 100)
                    assert XBTUSD.value(cents, row["size"]) == row["grossValue"]
                    seen += 1
    assert seen == 16


def test_value_is_rounded_per_lot_and_not_in_total() -> None:
    # A captured trade: 24300 at 32185.5 was 75499857; rounding the total gives 75499837.
    assert XBTUSD.value(3_218_550, 24_300) == 75_499_857


def test_a_buy_costs_negative_and_a_sell_positive() -> None:
    assert XBTUSD.exec_cost("Buy", 600_000, 100) == -166_667
    assert XBTUSD.exec_cost("Sell", 600_000, 100) == 166_667


def test_a_fee_is_truncated_and_a_rebate_too() -> None:
    assert fee(-9_495_200, 900) == 8_545
    assert fee(9_495_200, -900) == -8_545


@pytest.mark.parametrize(
    ("value", "fee_ppm", "margin"), [(107_287, 500, 1_181), (50_000_000_000, 750, 575_375_000)]
)
def test_the_order_margins_of_both_captures_are_reproduced(
    value: int, fee_ppm: int, margin: int
) -> None:
    assert order_margin(value, 10_000, fee_ppm) == margin


@pytest.mark.parametrize("ticks", [1, 322_065, 600_001, 978_937, 9_999_999])
def test_a_price_prints_as_the_exact_decimal(ticks: int) -> None:
    assert Decimal(repr(XBTUSD.price(ticks))) == Decimal(ticks) / 10


@pytest.mark.parametrize(
    ("price", "ticks"),
    [("60000", 600_000), ("60000.1", 600_001), ("60000.05", None), ("NaN", None), ("1e-9", None)],
)
def test_only_prices_on_a_tick_have_ticks(price: str, ticks: int | None) -> None:
    assert XBTUSD.ticks(Decimal(price)) == ticks


def test_the_average_of_a_value_is_its_price() -> None:
    assert price_of_value(XBTUSD.value(6_000_000, 1_000_000), 1_000_000) == pytest.approx(
        60_000, abs=0.2
    )
    assert price_of_value(0, 0) is None
