import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import convert

from chappie.simvenue.changes import Row
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.orders import OrderRequest
from chappie.simvenue.tape import Tape
from chappie.simvenue.tapefile import ImageStep, LevelStep, TapeError, TradeStep, read_tape
from tests.simvenue.stage import ALICE, DEPOSIT, SECOND, T0

_RECORDINGS = Path(__file__).parents[3] / "shared/data/recordings"

_CAPTURE = """\
wss://www.bitmex.com/realtime <-> 1626993367.388005
wss://www.bitmex.com/realtime <- 1626993367.8: {"op":"subscribe","args":["trade:XBTUSD"]}
1626993368.0: {"info":"Welcome to the BitMEX Realtime API."}
1626993368.1: {"table":"orderBookL2","action":"update","data":[\
{"symbol":"XBTUSD","id":9,"side":"Buy","size":7}]}
1626993368.5: {"table":"orderBookL2","action":"partial","data":[\
{"symbol":"XBTUSD","id":4,"side":"Sell","size":2000,"price":32181},\
{"symbol":"XBTUSD","id":3,"side":"Sell","size":1000,"price":32180.5},\
{"symbol":"XBTUSD","id":2,"side":"Buy","size":5000,"price":32180},\
{"symbol":"XBTUSD","id":1,"side":"Buy","size":9000,"price":32179.5}]}
1626993369.0: {"table":"orderBookL2","action":"update","data":[\
{"symbol":"XBTUSD","id":2,"side":"Buy","size":4000},{"symbol":"ETHUSD","id":2,"side":"Buy","size":1}]}
1626993369.5: {"table":"trade","action":"insert","data":[\
{"symbol":"XBTUSD","side":"Sell","size":1500,"price":32180}]}
1626993369.6: {"table":"orderBookL2","action":"update","data":[\
{"symbol":"XBTUSD","id":2,"side":"Buy","size":2500}]}
1626993370.0: {"table":"trade","action":"insert","data":[\
{"symbol":"XBTUSD","side":"Sell","size":3000,"price":32180}]}
1626993370.5: {"table":"orderBookL2","action":"delete","data":[\
{"symbol":"XBTUSD","id":3,"side":"Sell"}]}
"""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "capture.raw"
    path.write_text(_CAPTURE)
    return path


def _exchange(tape: Tape) -> Exchange:
    exchange = Exchange(T0, tape)
    exchange.open_account(T0, ALICE, DEPOSIT)
    exchange.take_changes()
    return exchange


def _order(exchange: Exchange, side: str, qty: int, price: str | None) -> str:
    fields: dict[str, object] = {"symbol": "XBTUSD", "side": side, "orderQty": qty}
    fields["price" if price else "ordType"] = price or "Market"
    row = exchange.submit(T0, ALICE, convert(fields, OrderRequest))
    return str(row["orderID"])


def _status(exchange: Exchange, order_id: str) -> Row:
    return next(row for row in exchange.orders(ALICE) if row["orderID"] == order_id)


def test_a_capture_is_read_into_image_levels_and_trades(capture: Path) -> None:
    steps = read_tape(capture, "XBTUSD")
    kinds = [type(step) for step in steps]
    assert kinds == [ImageStep, LevelStep, TradeStep, LevelStep, TradeStep, LevelStep]
    # The old format has no price on updates and deletes: it is known from the image.
    assert steps[-1] == LevelStep(1_626_993_370_500_000_000, "Sell", 3_218_050, 0)


@pytest.mark.parametrize(("suffix", "packed"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_a_compressed_tape_is_the_same_tape(
    capture: Path, suffix: str, packed: Callable[[bytes], bytes]
) -> None:
    path = capture.with_suffix(suffix)
    path.write_bytes(packed(_CAPTURE.encode()))
    assert read_tape(path, "XBTUSD") == read_tape(capture, "XBTUSD")


def test_the_venue_opens_with_the_first_image_and_follows_the_recording(capture: Path) -> None:
    exchange = _exchange(Tape(T0, capture))
    assert exchange.pit.book.top() == (321_800, 5_000, 321_805, 1_000)
    exchange.advance(T0 + 10 * SECOND)
    assert exchange.pit.book.top() == (321_800, 2_500, 321_810, 2_000)
    trades = [(row["side"], row["size"], row["price"]) for row in exchange.trades("XBTUSD")]
    assert trades == [("Sell", 1_500, 32_180.0), ("Sell", 3_000, 32_180.0)]


def test_a_resting_order_fills_after_the_size_that_was_ahead_of_it(capture: Path) -> None:
    exchange = _exchange(Tape(T0, capture))
    mine = _order(exchange, "Buy", 200, "32180")
    # 5000 stood ahead, 1000 of it went away behind us or from the front: we cannot know.
    exchange.advance(T0 + 1 * SECOND)
    assert _status(exchange, mine)["cumQty"] == 0
    exchange.advance(T0 + 3 * SECOND)
    row = _status(exchange, mine)
    assert (row["ordStatus"], row["cumQty"]) == ("Filled", 200)
    assert exchange.pit.book.size("Buy", 321_800) == 2_500


def test_our_crossing_order_takes_the_recorded_liquidity(capture: Path) -> None:
    exchange = _exchange(Tape(T0, capture))
    mine = _order(exchange, "Buy", 1_500, None)
    row = _status(exchange, mine)
    assert (row["ordStatus"], row["cumQty"]) == ("Filled", 1_500)
    assert exchange.pit.book.top()[2:] == (321_810, 1_500)


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 2.0), (4.0, 0.5), (0.5, 4.0)])
def test_speed_scales_the_recorded_pauses(capture: Path, speed: float, seconds: float) -> None:
    tape = Tape(T0, capture, speed=speed)
    exchange = _exchange(tape)
    end = T0 + int(seconds * SECOND)
    exchange.advance(end - 1)
    assert not tape.ended
    exchange.advance(end)
    assert tape.ended
    assert tape.next_deadline() is None


def test_a_looping_tape_begins_again_with_its_image(capture: Path) -> None:
    exchange = _exchange(Tape(T0, capture, loop=True))
    exchange.advance(T0 + 2 * SECOND)
    assert exchange.pit.book.best("Sell") == 321_810
    exchange.advance(T0 + 3 * SECOND)
    assert exchange.pit.book.top() == (321_800, 5_000, 321_805, 1_000)
    exchange.advance(T0 + 60 * SECOND)
    assert len(exchange.trades("XBTUSD")) > 20


_CSV = """\
timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional
2020-04-11T14:22:42.000Z,XBTUSD,Buy,40,6843,ZeroPlusTick,x,584520,0.005,40
2020-04-11T14:22:43.000Z,ETHUSD,Buy,40,158.05,ZeroPlusTick,x,584520,0.005,40
2020-04-11T14:22:44.000Z,XBTUSD,Sell,900,6842.5,MinusTick,x,584520,0.005,40
2020-04-11T14:22:45.000Z,XBTUSD,Buy,1000000,6850,PlusTick,x,584520,0.005,40
"""


@pytest.fixture
def trades(tmp_path: Path) -> Path:
    path = tmp_path / "trades.csv"
    path.write_text(_CSV)
    return path


def test_trades_without_a_book_get_one_round_each_print(trades: Path) -> None:
    exchange = _exchange(Tape(T0, trades))
    touches = []
    for seconds in (0, 2, 3):
        exchange.advance(T0 + seconds * SECOND)
        touches.append(exchange.pit.book.top())
    assert [(bid, ask) for bid, _, ask, _ in touches] == [
        (68_429, 68_430),
        (68_425, 68_426),
        (68_499, 68_500),
    ]
    assert exchange.pit.book.level_count("Buy") >= 50
    prints = [(row["side"], row["size"], row["price"]) for row in exchange.trades("XBTUSD")]
    # Sizes of the time of lot 1 are rounded up to whole lots.
    assert prints == [("Buy", 100, 6_843.0), ("Sell", 900, 6_842.5), ("Buy", 1_000_000, 6_850.0)]


def test_an_order_in_the_way_of_a_recorded_trade_is_filled(trades: Path) -> None:
    exchange = _exchange(Tape(T0, trades))
    mine = _order(exchange, "Sell", 300, "6845")
    exchange.advance(T0 + 2 * SECOND)
    assert _status(exchange, mine)["ordStatus"] == "New"
    exchange.advance(T0 + 3 * SECOND)
    assert _status(exchange, mine)["ordStatus"] == "Filled"


@pytest.mark.parametrize(
    ("text", "symbol", "reason"),
    [
        ("", "XBTUSD", "holds nothing of XBTUSD"),
        (_CSV, "ADAUSD", "holds nothing of ADAUSD"),
        (_CSV.replace("Sell,900", "Sell,many"), "XBTUSD", "line 4: is no trade"),
        (_CSV.replace("Sell,900", "Sell,-900"), "XBTUSD", "line 4: a trade of size -900"),
        (_CSV.replace("Sell,900", "Up,900"), "XBTUSD", "line 4: the side 'Up'"),
        (_CSV.replace(",size,", ",amount,"), "XBTUSD", "line 1: the columns size are missing"),
        (_CSV.replace("14:22:44.000Z", "noon"), "XBTUSD", "line 4: is no trade"),
        ("hello\n", "XBTUSD", "line 1: is no frame of a capture"),
        (_CAPTURE + "1626993371.0: {broken\n", "XBTUSD", "line 11: is no frame of a capture"),
        (_CAPTURE.replace('"id":3,"side":"Sell"}', '"id":77,"side":"Sell"}'), "XBTUSD", "line 10"),
        (_CAPTURE.replace("32180.5", "32180.505"), "XBTUSD", "no whole number of cents"),
    ],
)
def test_a_bad_tape_is_refused_naming_file_and_line(
    tmp_path: Path, text: str, symbol: str, reason: str
) -> None:
    path = tmp_path / "bad.tape"
    path.write_text(text)
    with pytest.raises(TapeError) as met:
        read_tape(path, symbol)
    assert str(path) in str(met.value)
    assert reason in str(met.value)


def test_a_missing_or_damaged_file_is_a_tape_error(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="cannot be read"):
        read_tape(tmp_path / "nothing.csv", "XBTUSD")
    damaged = tmp_path / "damaged.xz"
    damaged.write_bytes(lzma.compress(_CAPTURE.encode())[:-20])
    with pytest.raises(TapeError, match="cannot be read"):
        read_tape(damaged, "XBTUSD")


def test_a_price_off_the_contracts_ticks_is_a_tape_error(tmp_path: Path) -> None:
    path = tmp_path / "fine.csv"
    path.write_text(_CSV.replace("6842.5", "6842.55"))
    with pytest.raises(TapeError, match="not on a tick"):
        Tape(T0, path)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), 1e7])
def test_an_impossible_speed_is_refused(capture: Path, speed: float) -> None:
    with pytest.raises(ValueError, match="a tape's speed"):
        Tape(T0, capture, speed=speed)


def _recording(name: str) -> Path:
    path = _RECORDINGS / name
    if not path.exists():
        pytest.skip("the recorded captures are not next to this repository")
    return path


def test_the_recorded_half_minute_replays_to_its_own_trades_and_an_uncrossed_book() -> None:
    tape = Tape(T0, _recording("bmoscon+cryptofeed/BITMEX.ws.1.0.xz"))
    exchange = _exchange(tape)
    assert exchange.pit.book.level_count("Buy") + exchange.pit.book.level_count("Sell") > 9_000
    values = []
    while not tape.ended:
        exchange.advance(exchange.next_deadline())
        bid, _, ask, _ = exchange.pit.book.top()
        assert bid is not None
        assert ask is not None
        assert bid < ask
        for change in exchange.take_changes():
            if change.table == "trade":
                values.extend(row["grossValue"] for row in change.rows if row["size"])
    assert len(values) == 15
    assert values[:3] == [310_747, 2_796_723, 310_728]


def test_a_recorded_minute_of_ticks_keeps_every_print() -> None:
    path = _recording("hfshr+bitmexr/trades_XBTUSD_2020-04-11.csv.xz")
    tape = Tape(T0, path, speed=100.0)
    exchange = _exchange(tape)
    exchange.advance(T0 + 60 * SECOND)
    assert tape.ended
    assert len(exchange.trades("XBTUSD")) == 2_000
    assert exchange.trades("XBTUSD")[-1]["price"] == 6_827.0
