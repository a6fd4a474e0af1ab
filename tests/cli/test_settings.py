"""The configuration: four layers, one precedence, and one useful line for whatever is wrong."""

import tomllib
from pathlib import Path

import pytest

from chappie.cli import settings
from chappie.cli.settings import EMBEDDED, ConfigProblem, Settings, give, load_for_up


def load(
    tmp_path: Path, text: str | None = None, *sets: str, env: dict[str, str] | None = None
) -> Settings:
    if text is not None:
        (tmp_path / "chappie.toml").write_text(text)
    return settings.load(None, sets, env or {}, tmp_path)


def test_with_nothing_said_every_value_is_the_contracts_default(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found.config.venue.kind == "simulated"
    assert found.config.bot.allow_trade is False
    assert found.config.orders.send_deadline_s == 1.0
    assert not found.sources
    assert {entry["source"] for entry in found.effective().values()} == {"default"}


@pytest.mark.parametrize(
    ("text", "env", "sets", "expected", "source"),
    [
        (None, {}, [], 100, "default"),
        ("[bot]\norder_qty = 200", {}, [], 200, "chappie.toml"),
        (
            "[bot]\norder_qty = 200",
            {"CHAPPIE_BOT__ORDER_QTY": "300"},
            [],
            300,
            "environment CHAPPIE_BOT__ORDER_QTY",
        ),
        (
            "[bot]\norder_qty = 200",
            {"CHAPPIE_BOT__ORDER_QTY": "300"},
            ["bot.order_qty=400"],
            400,
            "--set",
        ),
    ],
)
def test_flag_beats_environment_beats_file_beats_default(
    tmp_path: Path,
    text: str | None,
    env: dict[str, str],
    sets: list[str],
    expected: int,
    source: str,
) -> None:
    found = load(tmp_path, text, *sets, env=env)
    assert found.config.bot.order_qty == expected
    assert found.effective()["bot.order_qty"] == {"value": expected, "source": source}


def test_the_last_flag_of_two_wins(tmp_path: Path) -> None:
    assert load(tmp_path, None, "bot.id=a", "bot.id=b").config.bot.id == "b"


def test_a_key_in_a_nested_section_is_reached_from_every_layer(tmp_path: Path) -> None:
    assert load(tmp_path, "[policy.cycle]\nqty = 7").config.policy.cycle.qty == 7
    env = {"CHAPPIE_POLICY__CYCLE__QTY": "8"}
    assert load(tmp_path, None, env=env).config.policy.cycle.qty == 8
    assert load(tmp_path, None, "policy.cycle.qty=9").config.policy.cycle.qty == 9


def test_a_whole_number_is_a_good_number_of_seconds(tmp_path: Path) -> None:
    found = load(tmp_path, "[orders]\nack_timeout_s = 4", "reconcile.every_s=11")
    assert found.config.orders.ack_timeout_s == 4.0
    assert found.config.reconcile.every_s == 11.0


def test_the_contracts_own_example_is_the_default_configuration(tmp_path: Path) -> None:
    contract = Path(__file__).resolve().parents[3] / "shared" / "CONTRACT.md"
    if not contract.is_file():
        pytest.skip("the contract (../shared/CONTRACT.md) is not beside this repository")
    example = contract.read_text().partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(example)
    found = load(tmp_path, example)
    assert found.config == load(tmp_path / "nowhere").config
    # Keys of our own may come on top of the contract's.
    assert set(found.sources) <= set(settings.KEYS)


# (file, environment, flags) -> what the one line must name: where, which key, what is accepted.
WRONG: list[tuple[str, dict[str, str], list[str], list[str]]] = [
    # the file
    ("[bot\n", {}, [], ["chappie.toml", "not valid TOML", "line 1"]),
    ("[bot]\nid = maybe", {}, [], ["chappie.toml", "not valid TOML", "line 2"]),
    ("[bot]\nid = 'a'\nid = 'b'", {}, [], ["chappie.toml", "not valid TOML"]),
    ("x = " + "[" * 5000, {}, [], ["chappie.toml", "not valid TOML"]),
    # unknown keys and sections
    ("[bot]\nalow_trade = true", {}, [], ["bot.alow_trade", "did you mean bot.allow_trade"]),
    ("[bot]\nzzz = 1", {}, [], ["chappie.toml", "bot.zzz", "order_qty, max_position"]),
    ("[bots]\nid = 'a'", {}, [], ["unknown key bots", "did you mean bot", "venue, bot"]),
    ("id = 'a'", {}, [], ["unknown key id", "accepted sections are venue, bot"]),
    ("[policy.cykle]\nqty = 1", {}, [], ["policy.cykle", "did you mean policy.cycle"]),
    ("[policy.cycle]\nperiod = 1", {}, [], ["policy.cycle.period", "period_s, qty"]),
    ("bot = 3", {}, [], ["bot is a section", "accepted in [bot] are id, allow_trade"]),
    ("[venue]\napi_key = 'hunter2hunter2'", {}, [], ["venue.api_key", "CHAPPIE_API_SECRET"]),
    # wrong types
    ("[bot]\norder_qty = '100'", {}, [], ["bot.order_qty = '100'", "a whole number"]),
    ("[bot]\norder_qty = 1.5", {}, [], ["bot.order_qty = 1.5", "a whole number"]),
    ("[bot]\norder_qty = true", {}, [], ["bot.order_qty = true", "a whole number"]),
    ("[bot]\nid = 7", {}, [], ["bot.id = 7", "a string"]),
    ("[feed]\ncheck_every_s = true", {}, [], ["feed.check_every_s = true", "a number"]),
    ("[feed]\ncheck_every_s = nan", {}, [], ["feed.check_every_s = nan", "a number"]),
    ("[feed]\ncheck_every_s = inf", {}, [], ["feed.check_every_s = inf", "a number"]),
    ("[alerts]\nurls = 'json://x'", {}, [], ["alerts.urls = ***", "an array of strings"]),
    ("[alerts]\nurls = [1]", {}, [], ["alerts.urls = ***", "an array of strings"]),
    ("[bot]\norder_qty = 99999999999999999999", {}, [], ["bot.order_qty", "63 bits"]),
    ("[orders]\nstyle = 'maker'", {}, [], ["orders.style = 'maker'", "post_only, limit, market"]),
    ("[venue]\nkind = 'binance'", {}, [], ["venue.kind = 'binance'", "simulated, bitmex"]),
    ("[venue]\nkind = ['bitmex']", {}, [], ["venue.kind", "one of simulated, bitmex"]),
    # impossible values and combinations
    ("[bot]\nid = 'a b'", {}, [], ["chappie.toml: bot.id", "1 to 12 letters"]),
    ("[bot]\norder_qty = 0", {}, [], ["bot.order_qty", "above 0"]),
    ("[feed]\ncheck_every_s = 0", {}, [], ["feed.check_every_s", "above 0"]),
    ("[bot]\nmax_position = 50", {}, [], ["bot.max_position", "bot.order_qty = 100"]),
    ("[venue]\nkind = 'bitmex'", {}, [], ["venue.kind", "venue.rest_url and venue.ws_url"]),
    ("[venue]\nws_url = 'ws://h/x'", {}, [], ["venue.ws_url", "both or neither"]),
    ("[venue]\nrest_url = 'ftp://h'\nws_url='ws://h'", {}, [], ["venue.rest_url", "http://"]),
    ("[orders]\nresolve_within_s = 3.0", {}, [], ["orders.resolve_within_s", "must exceed"]),
    ("[dead_man]\ntimeout_s = 10", {}, [], ["dead_man.timeout_s", "refresh_every_s"]),
    ("[operator]\nport = 70000", {}, [], ["operator.port", "0 to 65535"]),
    ("[operator]\nhost = '0.0.0.0'", {}, [], ["operator.host", "loopback"]),
    ("[state]\ndir = ''", {}, [], ["state.dir", "a folder"]),
    (
        "[supervisor]\nheartbeat_timeout_s = 0.2",
        {},
        [],
        ["supervisor.heartbeat_timeout_s", "feed.check_every_s"],
    ),
    (
        "[bot]\npolicy = 'cycle'\n[policy.cycle]\nqty = 2000",
        {},
        [],
        ["policy.cycle.qty", "bot.max_position = 1000"],
    ),
    # the environment
    ("", {"CHAPPIE_BOT__ORDER_QTY": "many"}, [], ["CHAPPIE_BOT__ORDER_QTY", "a whole number"]),
    ("", {"CHAPPIE_BOT__ORDER_QTY": "1e3"}, [], ["CHAPPIE_BOT__ORDER_QTY", "a whole number"]),
    ("", {"CHAPPIE_BOT__ORDER_QTY": ""}, [], ["CHAPPIE_BOT__ORDER_QTY", "a whole number"]),
    ("", {"CHAPPIE_FEED__CHECK_EVERY_S": "nan"}, [], ["CHAPPIE_FEED__CHECK_EVERY_S", "a number"]),
    ("", {"CHAPPIE_BOT__ALOW_TRADE": "true"}, [], ["CHAPPIE_BOT__ALOW_TRADE", "bot.allow_trade"]),
    ("", {"CHAPPIE_bot__id": "a"}, [], ["CHAPPIE_bot__id", "unknown key"]),
    ("", {"CHAPPIE_POLICY__CYCLE": "a"}, [], ["CHAPPIE_POLICY__CYCLE", "is a section", "period_s"]),
    ("", {"CHAPPIE_ALERTS__URLS": "json://x"}, [], ["CHAPPIE_ALERTS__URLS", "array of strings"]),
    ("", {"CHAPPIE_BOT__MAX_POSITION": "5"}, [], ["CHAPPIE_BOT__MAX_POSITION", "order_qty"]),
    # the flags
    ("", {}, ["bot.order_qty"], ["--set bot.order_qty", "section.key=value"]),
    ("", {}, ["bot.qty=1"], ["--set", "bot.qty", "accepted in [bot]"]),
    ("", {}, ["bot=1"], ["--set", "bot is a section, not a value", "in [bot] are id"]),
    ("", {}, ["bott.x=1"], ["--set", "unknown key bott.x (did you mean bot?)", "venue, bot"]),
    ("", {}, ["orders.style=maker"], ["--set", "orders.style", "post_only, limit, market"]),
    ("", {}, ["bot.order_qty=0x10"], ["--set", "bot.order_qty = '0x10'", "a whole number"]),
    ("", {}, ["alerts.urls=['a']\nb=1"], ["--set", "alerts.urls", "array of strings"]),
    ("", {}, ["bot.id=a\x1b[2J"], ["--set", "bot.id", "\\x1b"]),
]


@pytest.mark.parametrize(("text", "env", "sets", "named"), WRONG)
def test_whatever_is_wrong_gets_one_line_that_says_where_what_and_what_is_accepted(
    tmp_path: Path, text: str, env: dict[str, str], sets: list[str], named: list[str]
) -> None:
    with pytest.raises(ConfigProblem) as caught:
        load(tmp_path, text, *sets, env=env)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 500
    for words in named:
        assert words in line


def test_there_are_enough_wrong_inputs_to_mean_something() -> None:
    assert len(WRONG) >= 25


def test_a_wrong_value_is_wrong_even_where_a_stronger_layer_overrides_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem, match=r"chappie\.toml: bot\.order_qty"):
        load(tmp_path, "[bot]\norder_qty = 'x'", "bot.order_qty=1")


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere.toml", "does not exist"), ("", "is a folder"), ("binary.toml", "not UTF-8")],
)
def test_a_configuration_file_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigProblem, match=words):
        settings.load(name, [], {}, tmp_path)


def test_a_named_file_is_the_source_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[bot]\nid = 'mine'")
    found = settings.load("mine.toml", [], {}, tmp_path)
    assert found.sources == {"bot.id": "mine.toml"}
    assert found.sources


@pytest.mark.parametrize("value", ["'maybe'", "'true'", "'True'", "1", "[]", "{}", "1979-05-27"])
def test_allow_trade_in_the_file_that_is_not_exactly_true_counts_as_false_loudly(
    tmp_path: Path, value: str
) -> None:
    found = load(tmp_path, f"[bot]\nallow_trade = {value}")
    assert found.config.bot.allow_trade is False
    assert ["counts as false" in warning for warning in found.warnings] == [True]


@pytest.mark.parametrize("value", ["maybe", "True", "TRUE", "1", "yes", "", " true"])
def test_allow_trade_as_text_that_is_not_exactly_true_counts_as_false_loudly(
    tmp_path: Path, value: str
) -> None:
    for found in (
        load(tmp_path, None, f"bot.allow_trade={value}"),
        load(tmp_path, None, env={"CHAPPIE_BOT__ALLOW_TRADE": value}),
    ):
        assert found.config.bot.allow_trade is False
        assert len(found.warnings) == 1


def test_allow_trade_true_is_true_from_every_layer_without_a_word(tmp_path: Path) -> None:
    for found in (
        load(tmp_path, None, "bot.allow_trade=true"),
        load(tmp_path, None, env={"CHAPPIE_BOT__ALLOW_TRADE": "true"}),
        load(tmp_path, "[bot]\nallow_trade = true"),
    ):
        assert found.config.bot.allow_trade is True
        assert found.warnings == ()


def test_a_doubtful_allow_trade_in_a_stronger_layer_beats_true_in_a_weaker(
    tmp_path: Path,
) -> None:
    found = load(tmp_path, "[bot]\nallow_trade = true", "bot.allow_trade=maybe")
    assert found.config.bot.allow_trade is False


def test_credentials_and_foreign_variables_are_not_configuration(tmp_path: Path) -> None:
    env = {
        "CHAPPIE_API_KEY": "k",
        "CHAPPIE_API_SECRET_FILE": "f",
        "CHAPPIE_GUARDIAN_FD": "3",
        "OTHER__THING": "x",
    }
    assert not load(tmp_path, None, env=env).sources


def test_a_setting_with_one_underscore_too_few_is_warned_about(tmp_path: Path) -> None:
    found = load(tmp_path, None, env={"CHAPPIE_BOT_ALLOW_TRADE": "true"})
    assert found.config.bot.allow_trade is False
    assert "CHAPPIE_BOT__ALLOW_TRADE" in found.warnings[0]


def test_a_url_with_a_password_is_refused_without_showing_it(tmp_path: Path) -> None:
    text = "[venue]\nrest_url='http://me:hunter2@host/api'\nws_url='ws://host/x'"
    with pytest.raises(ConfigProblem) as caught:
        load(tmp_path, text)
    assert "venue.rest_url" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_value_of_an_unknown_key_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem) as caught:
        load(tmp_path, "[venue]\nsecret = 'hunter2hunter2'")
    assert "hunter2" not in str(caught.value)


def test_alert_urls_are_masked_where_the_configuration_is_shown(tmp_path: Path) -> None:
    found = load(tmp_path, "[alerts]\nurls = ['tgram://token/chat', 'bare']")
    assert found.config.alerts.urls == ("tgram://token/chat", "bare")
    assert found.effective()["alerts.urls"] == {
        "value": ["tgram://***", "***"],
        "source": "chappie.toml",
    }


def test_alert_urls_in_a_flag_are_warned_about_for_they_are_seen(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, None, "alerts.urls=['tgram://t0k3n/chat']").warnings
    assert "CHAPPIE_ALERTS__URLS" in warning
    assert "t0k3n" not in warning
    env = {"CHAPPIE_ALERTS__URLS": "['tgram://t0k3n/chat']"}
    assert load(tmp_path, None, env=env).warnings == ()


def test_the_hash_follows_the_effective_values_and_not_their_sources(tmp_path: Path) -> None:
    plain = load(tmp_path)
    assert load(tmp_path, None, "bot.order_qty=100").hash() == plain.hash()
    assert load(tmp_path, None, "bot.order_qty=200").hash() != plain.hash()


def test_what_the_guardian_found_out_comes_with_its_source_and_wins(tmp_path: Path) -> None:
    env = give("embedded venue", {"venue.rest_url": "http://x/", "venue.ws_url": "ws://x/?a=b"})
    found = load(tmp_path, None, "venue.rest_url=", env=env)
    assert found.config.venue.ws_url == "ws://x/?a=b"
    assert found.effective()["venue.rest_url"] == {"value": "http://x/", "source": "embedded venue"}
    assert found.warnings == ()


def test_what_is_given_is_checked_like_anything_else(tmp_path: Path) -> None:
    for key, says in (("BOT__POLCY", "unknown key bot.polcy"), ("BOT__ORDER_QTY", "a whole")):
        with pytest.raises(ConfigProblem, match=says):
            load(tmp_path, None, env={f"CHAPPIE_GIVEN__{key}": "somebody=much"})


def test_guardian_and_trader_have_one_hash_whatever_port_the_venue_got(tmp_path: Path) -> None:
    guardians = load_for_up(None, ["bot.order_qty=7"], {}, tmp_path)
    assert guardians.config.bot.policy == "cycle"
    for port in (1, 2):
        env = {
            **give("default of up", {"bot.policy": "cycle"}),
            **give(EMBEDDED, {"venue.rest_url": f"http://x:{port}/", "venue.ws_url": "ws://x/"}),
        }
        traders = load(tmp_path, None, "bot.order_qty=7", env=env)
        assert traders.hash() == guardians.hash()
        assert traders.effective()["bot.policy"] == guardians.effective()["bot.policy"]
    theirs = load(tmp_path, None, "venue.rest_url=http://x/", "venue.ws_url=ws://x/")
    assert theirs.hash() != load(tmp_path).hash()
