"""Promise 1: whatever is not exactly true counts as off, and nothing of the order family leaves."""

from collections.abc import Iterator

import pytest

from tests.system.rig import FREE, Bot, Seat, Venue

pytestmark = pytest.mark.processes
SEEN = ("bot.policy=cycle", "policy.cycle.period_s=1", "orders.style=market")
# name: --set arguments, environment, chappie.toml, whether it is said to be doubtful
CASES: dict[str, tuple[tuple[str, ...], dict[str, str], str, bool]] = {
    "missing": ((), {}, "", False),
    "false by flag": (("bot.allow_trade=false",), {}, "", False),
    "false in the file": ((), {}, "[bot]\nallow_trade = false\n", False),
    "false by flag over a true file": (
        ("bot.allow_trade=false",), {}, "[bot]\nallow_trade = true\n", False),
    "maybe by flag": (("bot.allow_trade=maybe",), {}, "", True),
    "maybe in the file": ((), {}, '[bot]\nallow_trade = "maybe"\n', True),
    "the text true": ((), {}, '[bot]\nallow_trade = "true"\n', True),
    "a number": ((), {}, "[bot]\nallow_trade = 1\n", True),
    "a list": ((), {}, "[bot]\nallow_trade = [true]\n", True),
    "a table": ((), {}, "[bot.allow_trade]\nyes = true\n", True),
    "TRUE by environment": ((), {"CHAPPIE_BOT__ALLOW_TRADE": "TRUE"}, "", True),
    "yes by environment": ((), {"CHAPPIE_BOT__ALLOW_TRADE": "yes"}, "", True),
    "empty by environment": ((), {"CHAPPIE_BOT__ALLOW_TRADE": ""}, "", True),
}  # fmt: skip
UNREADABLE = {
    "cut short": b"[bot]\nallow_trade = tr",
    "not text": b"[bot]\nallow_trade = true # \xff\xfe\n",
    "a misspelt key": b"[bot]\nallow_trad = true\n",
}


@pytest.fixture(scope="module")
def ran(
    venue: Venue, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Bot, Seat]]]:
    """Every case at once, until each has said twice what it would have sent."""
    folder = tmp_path_factory.mktemp("ran")
    found: dict[str, tuple[Bot, Seat]] = {}
    try:
        for number, (name, (sets, env, toml, _)) in enumerate(CASES.items()):
            bot, seat = Bot(folder / str(number)), venue.seat()
            found[name] = (bot, seat)
            if toml:
                (bot.folder / "chappie.toml").write_text(toml)
            bot.start("trade", *SEEN, *sets, env=env, seat=seat)
        for bot, _ in found.values():
            bot.until(lambda bot=bot: len(bot.named("would_be_order")) >= 2, 40.0)
        for bot, _ in found.values():
            assert bot.stop() == 0
        yield found
    finally:
        for bot, _ in found.values():
            bot.kill()


@pytest.mark.parametrize("case", CASES)
def test_off_sends_no_order_and_no_switch(ran: dict[str, tuple[Bot, Seat]], case: str) -> None:
    bot, seat = ran[case]
    methods = {row["method"] for row in seat.requests()}
    assert methods == {"GET", "UPGRADE"}
    assert seat.truth()["orders"] == []
    assert {line["why"] for line in bot.named("would_be_order")} == {"bot.allow_trade is off"}


@pytest.mark.parametrize("case", CASES)
def test_off_is_shown_as_off_and_a_doubtful_value_is_said(
    ran: dict[str, tuple[Bot, Seat]], case: str
) -> None:
    bot, _ = ran[case]
    assert bot.named("started")[0]["allow_trade"] is False
    doubts = [line["detail"] for line in bot.named("configuration_doubtful")]
    assert any("counts as false" in doubt for doubt in doubts) == CASES[case][3]


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_file_stops_the_start_with_one_line(bot: Bot, seat: Seat, case: str) -> None:
    (bot.folder / "chappie.toml").write_bytes(UNREADABLE[case])
    assert bot.start("up", *FREE, *SEEN, seat=seat).ends() == 64
    assert seat.requests() == []
    (line,) = bot.said.splitlines()
    assert line.startswith("chappie.toml: ")


def test_true_does_trade_so_the_silence_above_proves_something(bot: Bot, seat: Seat) -> None:
    bot.start("trade", *SEEN, "bot.allow_trade=true", seat=seat)
    bot.until(lambda: seat.trades())
    assert bot.stop() == 0
    assert {row["method"] for row in seat.requests()} >= {"POST"}
