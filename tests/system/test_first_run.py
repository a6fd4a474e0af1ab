"""What a newcomer sees: `chappie up`, with nothing but an empty home and no terminal."""

import json
import time

import pytest

from tests.cli.test_up_embedded import gone
from tests.system.rig import FREE, Bot, descendants, get_json

pytestmark = pytest.mark.processes


def test_bare_up_decides_within_10_s_observes_and_leaves_no_process(bot: Bot) -> None:
    began = time.monotonic()
    bot.start("up", *FREE)
    bot.until_decides()
    assert time.monotonic() - began < 10.0
    bot.until_mode("observing")
    assert bot.process is not None
    below = descendants(bot.process.pid)
    assert len(below) == 2, "a trader and a venue"
    began = time.monotonic()
    assert bot.stop() == 0
    assert time.monotonic() - began < 5.0
    assert all(gone(pid, 0.2) for pid in below)
    assert bot.last_stop()["known"] is True
    # Every line of a plain log is one JSON object, and nobody was shown a traceback.
    for line in bot.said.splitlines():
        assert isinstance(json.loads(line), dict), line


def test_bare_up_sends_its_venue_only_reads_although_it_would_trade(bot: Bot) -> None:
    bot.start("up", *FREE, "policy.cycle.period_s=1")
    bot.until(lambda: len(bot.named("would_be_order")) >= 2)
    url = bot.named("configuration")[0]["values"]["venue.rest_url"]["value"]
    requests = get_json(url.replace("/api/v1", "/control/requests"))
    assert {row["method"] for row in requests} == {"GET", "UPGRADE"}
    assert len(requests) >= 6


def test_the_effective_configuration_and_its_sources_begin_the_log(bot: Bot) -> None:
    (bot.folder / "chappie.toml").write_text('[bot]\nid = "filed"\norder_qty = 200\n')
    bot.start("up", *FREE, "bot.order_qty=300", env={"CHAPPIE_ORDERS__STYLE": "market"})
    bot.until_decides()
    values = bot.named("configuration")[0]["values"]
    assert [line["event"] for line in bot.events()][:2] == ["started", "configuration"]
    assert values["bot.id"] == {"value": "filed", "source": "chappie.toml"}
    assert values["bot.order_qty"] == {"value": 300, "source": "--set"}
    assert values["orders.style"]["value"] == "market"
    assert values["orders.style"]["source"].startswith("environment")
    assert values["feed.fault_after_s"] == {"value": 20.0, "source": "default"}
    assert values["venue.rest_url"]["source"] == "embedded venue"
    # Guardian, trader and API speak of one configuration, whatever port its venue got.
    assert bot.named("configuration")[0]["hash"] == bot.shown()["config_hash"]
    assert not [key for key in values if "secret" in key or "api_key" in key]


def test_a_target_less_than_a_lot_away_is_not_called_reached(bot: Bot) -> None:
    bot.start("up", *FREE, "policy.cycle.qty=50")
    bot.until(lambda: (bot.shown().get("decision") or {}).get("order"))
    assert "less than a lot" in bot.shown()["decision"]["order"]
    assert bot.stop() == 0
