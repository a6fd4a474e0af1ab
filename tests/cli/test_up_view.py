import os

import msgspec
import pytest
from rich.console import Console

from chappie.cli.live_view import Lines, status_record
from chappie.cli.view import ago, money, number, picture, signed, tail_line
from chappie.guardian.shown import Setting, Shown, TraderState, merge
from chappie.live.state_dir import LastStop
from chappie.model.state import FaultState, Mode
from tests.guardian.states import faulted, healthy, order

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee123456")
STOP = LastStop("feed_stale", 10, "no increment for 20 s", "2026-01-02T03:04:05Z", [], 0, True)


def shown(**changes: object) -> Shown:
    trader = TraderState(pid=7123, restarts=2, beat_age_s=0.2, last_stop=STOP)
    return msgspec.structs.replace(merge(SETTING, healthy(41), 0.2, True, trader), **changes)


def drawn(what: Shown, width: int = 80, height: int = 24, tail: str = "") -> str:
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(picture(what, width, height, tail, "Ctrl-C ends everything"))
    return capture.get()


def test_everything_that_an_operator_asks_for_is_on_one_screen() -> None:
    text = drawn(shown(), tail='{"at":"2026-01-01T00:00:09Z","level":"info","event":"x_y","n":1}')
    for words in (
        "OBSERVING",
        "observe-only",
        "sends no order (allow_trade off)",
        "XBTUSD on simulated",
        "policy cycle",
        "50,002.5",
        "49,998.0",
        "orderBook",
        "118 of 120 left",
        "#41 target +100",
        "Buy 100 @ 50000.0 post-only",
        "41 so far",
        "0 · closed",
        "1.00000000 XBT",
        "none working",
        "pid 7123 · restarts 2",
        "feed_stale (10) 01-02 03:04",
        "00:00:09 x y  n=1",
    ):
        assert words in text, words


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 40), (120, 30), (200, 50), (60, 24)])
@pytest.mark.parametrize("what", [healthy(), faulted(), None])
def test_it_fits_the_screen_whatever_is_wrong(width: int, height: int, what: object) -> None:
    state = what if what is None else msgspec.structs.replace(
        what, orders=[order(n) for n in range(60)], faults=faulted().faults * 20
    )  # fmt: skip
    text = drawn(merge(SETTING, state, 0.1, True, TraderState(pid=1)), width, height)
    lines = text.rstrip("\n").split("\n")
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_what_does_not_fit_is_counted() -> None:
    text = drawn(shown(orders=[order(n) for n in range(9)]))
    listed = text.count("@ 50,000 New")
    assert listed >= 1
    assert f"(+{9 - listed} more)" in text


def test_a_fault_says_since_when_and_what_clears_it() -> None:
    fault = FaultState("stream_unsynced", "quote", 12.34, "no image", "a new image")
    text = drawn(shown(mode=Mode.FAULTED, faults=[fault]))
    assert "because of stream_unsynced quote" in text
    assert "stream_unsynced quote for 12.3 s · clears: a new image · no image" in text


def test_unknown_is_a_dash_and_never_a_zero() -> None:
    text = drawn(merge(SETTING, None, 0.0, True, TraderState(pid=1)))
    assert "position   – · – · not verified" in text
    assert "wallet     – · available – · unrealised –" in text
    assert "orders     not known" in text
    assert "faults     –" in text


def test_a_trader_that_is_down_says_when_it_starts_again() -> None:
    text = drawn(shown(mode=Mode.STOPPED, trader=TraderState(next_start_s=7.6)))
    assert "the trader is down; it starts again in 8 s" in text


def test_faults_of_a_trader_that_is_down_are_not_shown_as_of_now() -> None:
    faulty = merge(SETTING, faulted(), 0.2, True, TraderState(pid=None, last_stop=STOP))
    text = drawn(msgspec.structs.replace(faulty, mode=Mode.STOPPED))
    assert "clears:" not in text
    assert "feed_stale" in text


def test_words_of_the_venue_cannot_steer_the_terminal() -> None:
    nasty = FaultState("venue_failing", "", 1.0, "\x1b[2J\x07\r[red]boo", "an answer")
    text = drawn(shown(faults=[nasty]), 200, 40, tail="\x1b[31mred")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]boo" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (1234.5, "1,234.5"), (0.00001, "0.00001"), (float("nan"), "–")],
)
def test_numbers_read_as_people_write_them(value: float | None, text: str) -> None:
    assert number(value) == text


def test_money_positions_and_ages_read_as_people_write_them() -> None:
    assert money(None, "XBt") == "–"
    assert money(-150, "XBt") == "-0.00000150 XBT"
    assert money(1_234, "USDt") == "1,234 USDt"
    assert [signed(qty) for qty in (None, 0, 5, -1_000)] == ["–", "0", "+5", "-1,000"]
    assert [ago(age) for age in (None, 0.04, 120.0, 7_200.0)] == ["–", "0.0 s", "2 min", "2 h"]


def test_a_log_line_that_is_no_record_is_shown_as_it_is() -> None:
    assert tail_line("Traceback: boo") == "Traceback: boo"
    assert tail_line("[1, 2]") == "[1, 2]"


def test_a_status_goes_by_when_the_mode_changes_and_not_at_every_look() -> None:

    read_end, write_end = os.pipe()
    lines = Lines(write_end)
    for what in (shown(), shown(), shown(mode=Mode.FAULTED), shown(mode=Mode.FAULTED)):
        lines.show(what)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as read:
        modes = [msgspec.json.decode(line)["mode"] for line in read]
    assert modes == ["observing", "faulted"]


def test_the_status_line_holds_what_one_looks_for() -> None:
    record = status_record(shown())
    assert record["bid"] == 50_000.0
    assert record["ask"] == 50_000.5
    assert record["target"] == 100
    assert record["would_be_orders"] == 41
