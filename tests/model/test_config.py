from collections.abc import Mapping

import msgspec
import pytest

from chappie.model.config import Config, ConfigError, check

# The contract's keys and defaults, by hand.
CONTRACT: dict[str, object] = {
    "venue.kind": "simulated",
    "venue.rest_url": "",
    "venue.ws_url": "",
    "venue.symbol": "XBTUSD",
    "bot.id": "chappie",
    "bot.allow_trade": False,
    "bot.policy": "hold",
    "bot.order_qty": 100,
    "bot.max_position": 1000,
    "policy.cycle.period_s": 5.0,
    "policy.cycle.qty": 100,
    "orders.style": "post_only",
    "orders.ack_timeout_s": 3.0,
    "orders.expires_after_s": 2.0,
    "orders.resolve_within_s": 15.0,
    "orders.send_deadline_s": 1.0,
    "orders.price_collar_pct": 5.0,
    "limits.account": 0,
    "limits.symbols": [],
    "limits.max_order_value": 0,
    "limits.max_working_orders": 1,
    "limits.max_orders_per_minute": 0,
    "limits.max_orders_per_decision": 0,
    "limits.max_repeated_orders": 0,
    "limits.repeated_within_s": 60.0,
    "limits.on_breach": "halt",
    "limits.max_daily_loss": 0,
    "limits.max_drawdown": 0,
    "limits.max_daily_fees": 0,
    "limits.max_rejects_per_hour": 0,
    "limits.max_spread_ticks": 0,
    "limits.max_spread_pct": 0.0,
    "limits.min_depth_qty": 0,
    "limits.depth_levels": 5,
    "limits.max_move_pct": 0.0,
    "limits.move_window_s": 60.0,
    "limits.no_opening_before_funding_s": 0.0,
    "limits.min_liquidation_distance_pct": 0.0,
    "limits.reopen_after_s": 10.0,
    "limits.max_order_age_s": 0.0,
    "limits.max_repricings": 0,
    "limits.max_holding_s": 0.0,
    "feed.check_every_s": 0.25,
    "feed.soft_stop_after_s": 5.0,
    "feed.fault_after_s": 20.0,
    "feed.sync_fault_after_s": 150.0,
    "feed.max_lag_s": 2.0,
    "feed.max_connects_per_hour": 40,
    "clock.max_skew_s": 1.0,
    "rate_limit.lock_below": 10,
    "rate_limit.unlock_above": 20,
    "reconcile.every_s": 10.0,
    "reconcile.grace_s": 2.0,
    "reconcile.fault_after_s": 60.0,
    "dead_man.timeout_s": 60.0,
    "dead_man.refresh_every_s": 15.0,
    "supervisor.max_restarts": 5,
    "supervisor.window_s": 600.0,
    "supervisor.backoff_initial_s": 1.0,
    "supervisor.backoff_max_s": 60.0,
    "supervisor.heartbeat_timeout_s": 5.0,
    "supervisor.startup_timeout_s": 60.0,
    "alerts.urls": [],
    "alerts.alive_every_s": 86_400.0,
    "alerts.repeat_after_s": 3_600.0,
    "operator.host": "127.0.0.1",
    "operator.port": 8642,
    "state.dir": "state",
    "state.max_bytes": 5_000_000_000,
}

# Whole numbers that 0 switches off.
NONE_AT_ZERO = (
    "limits.account",
    "limits.max_order_value",
    "limits.max_orders_per_minute",
    "limits.max_orders_per_decision",
    "limits.max_repeated_orders",
    "limits.max_daily_loss",
    "limits.max_drawdown",
    "limits.max_daily_fees",
    "limits.max_rejects_per_hour",
    "limits.max_spread_ticks",
    "limits.min_depth_qty",
    "limits.max_repricings",
)
# Numbers that 0 switches off, and what is too much.
OFF_AT_ZERO = {
    "limits.max_spread_pct": 101.0,
    "limits.max_move_pct": 101.0,
    "limits.min_liquidation_distance_pct": 101.0,
    "limits.no_opening_before_funding_s": 2_592_001.0,
    "limits.max_order_age_s": 2_592_001.0,
    "limits.max_holding_s": 2_592_001.0,
    "alerts.alive_every_s": 2_592_001.0,
}

# key=value pairs that cannot be run, and the key that is blamed.
IMPOSSIBLE: tuple[tuple[Mapping[str, object], str], ...] = (
    *(
        ({key: value}, key)
        for key, default in CONTRACT.items()
        if isinstance(default, float) and key not in OFF_AT_ZERO
        for value in (0.0, -1.0, 30 * 86_400.0 + 1, float("inf"), float("nan"))
    ),
    # Here zero stands for never.
    *(({key: value}, key) for key, most in OFF_AT_ZERO.items() for value in (-1.0, most)),
    *(({key: float("nan")}, key) for key in OFF_AT_ZERO),
    *(
        ({key: value}, key)
        for key in (
            "bot.order_qty",
            "bot.max_position",
            "policy.cycle.qty",
            "rate_limit.lock_below",
            "supervisor.max_restarts",
            "state.max_bytes",
            "limits.max_working_orders",
            "limits.depth_levels",
        )
        for value in (0, -5)
    ),
    *(({key: -1}, key) for key in NONE_AT_ZERO),
    ({"limits.repeated_within_s": 3_601.0}, "limits.repeated_within_s"),
    ({"limits.symbols": ["ETHUSD", "XRPUSD"]}, "limits.symbols"),
    *(({"bot.id": text}, "bot.id") for text in ("", "thirteen_long", "my-bot", "café", "a b")),
    *(({"venue.symbol": text}, "venue.symbol") for text in ("", "xbtusd", "XBT/USD", "X")),
    ({"venue.rest_url": "ftp://x/", "venue.ws_url": "ws://x/"}, "venue.rest_url"),
    ({"venue.rest_url": "http://", "venue.ws_url": "ws://x/"}, "venue.rest_url"),
    ({"venue.rest_url": "http://x/", "venue.ws_url": "http://x/"}, "venue.ws_url"),
    ({"venue.rest_url": "http://user@x/", "venue.ws_url": "ws://x/"}, "venue.rest_url"),
    ({"venue.rest_url": "http://x/api/v1"}, "venue.ws_url"),
    ({"venue.ws_url": "ws://x/realtime"}, "venue.ws_url"),
    ({"venue.kind": "bitmex"}, "venue.kind"),
    ({"bot.policy": ""}, "bot.policy"),
    ({"bot.policy": "  "}, "bot.policy"),
    ({"bot.order_qty": 200, "bot.max_position": 100}, "bot.max_position"),
    ({"orders.expires_after_s": 5.0, "orders.resolve_within_s": 6.0}, "orders.resolve_within_s"),
    ({"orders.ack_timeout_s": 15.0}, "orders.resolve_within_s"),
    ({"feed.soft_stop_after_s": 20.0}, "feed.fault_after_s"),
    ({"feed.check_every_s": 6.0}, "feed.check_every_s"),
    ({"rate_limit.lock_below": 21}, "rate_limit.unlock_above"),
    ({"reconcile.every_s": 60.0}, "reconcile.fault_after_s"),
    ({"dead_man.refresh_every_s": 60.0}, "dead_man.timeout_s"),
    ({"supervisor.backoff_initial_s": 61.0}, "supervisor.backoff_max_s"),
    ({"operator.port": -1}, "operator.port"),
    ({"operator.port": 65_536}, "operator.port"),
    *(({"operator.host": host}, "operator.host") for host in ("0.0.0.0", "", "example.org")),
    ({"state.dir": " "}, "state.dir"),
)

POSSIBLE: tuple[Mapping[str, object], ...] = (
    {},
    {
        "venue.rest_url": "http://127.0.0.1:9000/api/v1",
        "venue.ws_url": "ws://127.0.0.1:9000/realtime",
    },
    {
        "venue.kind": "bitmex",
        "venue.rest_url": "https://x/api/v1",
        "venue.ws_url": "wss://x/realtime",
    },
    {"bot.order_qty": 1000},
    {"orders.expires_after_s": 5.0, "orders.resolve_within_s": 6.01},
    {"orders.ack_timeout_s": 0.5, "orders.expires_after_s": 5.0},
    {"orders.ack_timeout_s": 14.9},
    {"feed.check_every_s": 5.0},
    {"rate_limit.lock_below": 20},
    {"supervisor.backoff_initial_s": 60.0},
    {"operator.port": 0},
    {"limits.symbols": ["ETHUSD", "XBTUSD"]},
    {"limits.repeated_within_s": 3_600.0},
    {"operator.host": "::1"},
    {"bot.policy": "package.module:Class"},
)


def configured(changes: Mapping[str, object]) -> Config:
    tree: dict[str, object] = msgspec.to_builtins(Config())
    for key, value in changes.items():
        *path, name = key.split(".")
        node = tree
        for part in path:
            inner = node[part]
            assert isinstance(inner, dict)
            node = inner
        assert name in node, key
        node[name] = value
    return msgspec.convert(tree, Config)


def test_keys_and_defaults_are_those_of_the_contract() -> None:
    found: dict[str, object] = {}

    def walk(prefix: str, node: dict[str, object]) -> None:
        for name, value in node.items():
            if isinstance(value, dict):
                walk(f"{prefix}{name}.", value)
            else:
                found[prefix + name] = list(value) if isinstance(value, tuple) else value

    walk("", msgspec.to_builtins(Config()))
    assert found == CONTRACT


@pytest.mark.parametrize("changes", POSSIBLE, ids=str)
def test_a_configuration_that_can_be_run_is_let_through(changes: Mapping[str, object]) -> None:
    check(configured(changes))


@pytest.mark.parametrize(("changes", "key"), IMPOSSIBLE, ids=str)
def test_what_cannot_be_run_is_refused_by_key_and_says_what_is_accepted(
    changes: Mapping[str, object], key: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(configured(changes))
    assert refused.value.key == key
    words = str(refused.value)
    assert words.startswith(f"{key}: ")
    assert "\n" not in words
    assert len(words) > len(key) + 20


@pytest.mark.parametrize(
    "tree",
    [
        {"venue": {"kindd": "simulated"}},
        {"veneu": {}},
        {"policy": {"cycle": {"step": 1}}},
        {"venue": {"kind": "binance"}},
        {"orders": {"style": "stop"}},
        {"bot": {"order_qty": 1.5}},
        {"bot": {"order_qty": "100"}},
        {"orders": {"ack_timeout_s": "3"}},
        {"alerts": {"urls": "json://x"}},
    ],
    ids=str,
)
def test_an_unknown_key_or_a_wrong_type_is_no_configuration(tree: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(tree, Config)


def test_a_configuration_cannot_be_changed_once_made() -> None:
    with pytest.raises(AttributeError):
        Config().bot.allow_trade = True  # type: ignore[misc]
