"""The configuration of the contract: every key, its type, its default and what is accepted.

`Config` is plain data. Reading files, the environment and flags is the command line's work; this
module says what is valid and words the complaint.
"""

import re
from typing import Literal

import msgspec

HOUR_S = 3_600.0

_BOT_ID = re.compile(r"[A-Za-z0-9_]{1,12}")


class ConfigError(Exception):
    """A configuration that cannot be run; the message names the key and what is accepted."""

    def __init__(self, key: str, accepted: str) -> None:
        super().__init__(f"{key}: {accepted}")
        self.key = key
        self.accepted = accepted


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class VenueConfig(_Section, frozen=True, forbid_unknown_fields=True):
    """Which exchange; ``simulated`` without urls means the embedded one."""

    kind: Literal["simulated", "bitmex"] = "simulated"
    rest_url: str = ""
    ws_url: str = ""
    symbol: str = "XBTUSD"


class BotConfig(_Section, frozen=True, forbid_unknown_fields=True):
    id: str = "chappie"
    allow_trade: bool = False
    policy: str = "hold"
    order_qty: int = 100
    max_position: int = 1000


class CycleConfig(_Section, frozen=True, forbid_unknown_fields=True):
    period_s: float = 5.0
    qty: int = 100


class PolicyConfig(_Section, frozen=True, forbid_unknown_fields=True):
    cycle: CycleConfig = CycleConfig()


class OrdersConfig(_Section, frozen=True, forbid_unknown_fields=True):
    style: Literal["post_only", "limit", "market"] = "post_only"
    ack_timeout_s: float = 3.0
    expires_after_s: float = 2.0
    resolve_within_s: float = 15.0
    send_deadline_s: float = 1.0
    price_collar_pct: float = 5.0


class FeedConfig(_Section, frozen=True, forbid_unknown_fields=True):
    check_every_s: float = 0.25
    soft_stop_after_s: float = 5.0
    fault_after_s: float = 20.0
    sync_fault_after_s: float = 150.0
    # A quote older than this when it is handled; never below twice clock.max_skew_s.
    max_lag_s: float = 2.0
    # Counted through restarts. The least that the venue was seen to grant is 40 (39 were left after
    # the first, in 2021); before that it was 20, later hundreds (protocol section 6).
    max_connects_per_hour: int = 40


class ClockConfig(_Section, frozen=True, forbid_unknown_fields=True):
    max_skew_s: float = 1.0


class RateLimitConfig(_Section, frozen=True, forbid_unknown_fields=True):
    lock_below: int = 10
    unlock_above: int = 20


class ReconcileConfig(_Section, frozen=True, forbid_unknown_fields=True):
    every_s: float = 10.0
    grace_s: float = 2.0
    fault_after_s: float = 60.0


class DeadManConfig(_Section, frozen=True, forbid_unknown_fields=True):
    timeout_s: float = 60.0
    refresh_every_s: float = 15.0


class SupervisorConfig(_Section, frozen=True, forbid_unknown_fields=True):
    max_restarts: int = 5
    window_s: float = 600.0
    backoff_initial_s: float = 1.0
    backoff_max_s: float = 60.0
    heartbeat_timeout_s: float = 5.0
    startup_timeout_s: float = 60.0


class AlertsConfig(_Section, frozen=True, forbid_unknown_fields=True):
    """The same alert comes again after ``repeat_after_s`` at the soonest; a sign of life every
    ``alive_every_s``, none with 0.
    """

    urls: tuple[str, ...] = ()
    alive_every_s: float = 86_400.0
    repeat_after_s: float = 3_600.0


class OperatorConfig(_Section, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 8642


class StateConfig(_Section, frozen=True, forbid_unknown_fields=True):
    dir: str = "state"
    max_bytes: int = 5_000_000_000


class LimitsConfig(_Section, frozen=True, forbid_unknown_fields=True):
    """Limits on money and behaviour (controls L5 to L8; `docs/limits.md`). 0 is no limit."""

    # The venue's number of the account that may be traded on; 0: whichever the key belongs to.
    account: int = 0
    symbols: tuple[str, ...] = ()
    # Orders that add exposure; what reduces it waits for none of these. The value is in the
    # settlement currency's minor unit (XBTUSD: satoshi).
    max_order_value: int = 0
    max_working_orders: int = 1
    max_orders_per_minute: int = 0
    max_orders_per_decision: int = 0
    max_repeated_orders: int = 0
    repeated_within_s: float = 60.0
    # Of the account's result, in minor units; what reaching one does, and refused orders too.
    on_breach: Literal["reduce_only", "halt"] = "halt"
    max_daily_loss: int = 0
    max_drawdown: int = 0
    max_daily_fees: int = 0
    max_rejects_per_hour: int = 0
    # The market, and our place in it: new exposure only while none of these is exceeded.
    max_spread_ticks: int = 0
    max_spread_pct: float = 0.0
    min_depth_qty: int = 0
    depth_levels: int = 5
    max_move_pct: float = 0.0
    move_window_s: float = 60.0
    no_opening_before_funding_s: float = 0.0
    min_liquidation_distance_pct: float = 0.0
    reopen_after_s: float = 10.0
    # How long an order may stay unfilled, how often it is replaced then, how long a position is
    # held.
    max_order_age_s: float = 0.0
    max_repricings: int = 0
    max_holding_s: float = 0.0


class Config(_Section, frozen=True, forbid_unknown_fields=True):
    """The effective configuration. Credentials are never part of it."""

    venue: VenueConfig = VenueConfig()
    bot: BotConfig = BotConfig()
    policy: PolicyConfig = PolicyConfig()
    orders: OrdersConfig = OrdersConfig()
    limits: LimitsConfig = LimitsConfig()
    feed: FeedConfig = FeedConfig()
    clock: ClockConfig = ClockConfig()
    rate_limit: RateLimitConfig = RateLimitConfig()
    reconcile: ReconcileConfig = ReconcileConfig()
    dead_man: DeadManConfig = DeadManConfig()
    supervisor: SupervisorConfig = SupervisorConfig()
    alerts: AlertsConfig = AlertsConfig()
    operator: OperatorConfig = OperatorConfig()
    state: StateConfig = StateConfig()


_POSITIVE_SECONDS = (
    ("policy", "cycle.period_s"),
    ("orders", "ack_timeout_s"),
    ("orders", "expires_after_s"),
    ("orders", "resolve_within_s"),
    ("orders", "send_deadline_s"),
    ("feed", "check_every_s"),
    ("feed", "soft_stop_after_s"),
    ("feed", "fault_after_s"),
    ("feed", "sync_fault_after_s"),
    ("feed", "max_lag_s"),
    ("clock", "max_skew_s"),
    ("reconcile", "every_s"),
    ("reconcile", "grace_s"),
    ("reconcile", "fault_after_s"),
    ("dead_man", "timeout_s"),
    ("dead_man", "refresh_every_s"),
    ("supervisor", "window_s"),
    ("supervisor", "backoff_initial_s"),
    ("supervisor", "backoff_max_s"),
    ("supervisor", "heartbeat_timeout_s"),
    ("supervisor", "startup_timeout_s"),
    ("alerts", "repeat_after_s"),
    ("limits", "repeated_within_s"),
    ("limits", "move_window_s"),
    ("limits", "reopen_after_s"),
)
_POSITIVE_INTEGERS = (
    ("bot", "order_qty"),
    ("bot", "max_position"),
    ("policy", "cycle.qty"),
    ("feed", "max_connects_per_hour"),
    ("rate_limit", "lock_below"),
    ("supervisor", "max_restarts"),
    ("state", "max_bytes"),
    ("limits", "max_working_orders"),
    ("limits", "depth_levels"),
)
# 0 switches these off.
_NO_NEGATIVE = (
    ("limits", "account"),
    ("limits", "max_order_value"),
    ("limits", "max_orders_per_minute"),
    ("limits", "max_orders_per_decision"),
    ("limits", "max_repeated_orders"),
    ("limits", "max_daily_loss"),
    ("limits", "max_drawdown"),
    ("limits", "max_daily_fees"),
    ("limits", "max_rejects_per_hour"),
    ("limits", "max_spread_ticks"),
    ("limits", "min_depth_qty"),
    ("limits", "max_repricings"),
)
_PERCENTAGES = (
    ("limits", "max_spread_pct"),
    ("limits", "max_move_pct"),
    ("limits", "min_liquidation_distance_pct"),
)
_SECONDS_OR_NEVER = (
    ("limits", "no_opening_before_funding_s"),
    ("limits", "max_order_age_s"),
    ("limits", "max_holding_s"),
)
_LONGEST_S = 30 * 86_400.0


def _look_up(config: Config, section: str, path: str) -> object:
    value: object = getattr(config, section)
    for name in path.split("."):
        value = getattr(value, name)
    return value


def check(config: Config) -> None:
    """Raise `ConfigError` for the first impossible value or combination."""
    for section, path in _POSITIVE_SECONDS:
        value = _look_up(config, section, path)
        assert isinstance(value, (int, float))
        if not 0 < value <= _LONGEST_S:
            raise ConfigError(
                f"{section}.{path}", f"{value} is not a number of seconds above 0 (at most 30 days)"
            )
    for section, path in _POSITIVE_INTEGERS:
        value = _look_up(config, section, path)
        assert isinstance(value, int)
        if value < 1:
            raise ConfigError(f"{section}.{path}", f"{value} is not a whole number above 0")
    for section, path in _NO_NEGATIVE:
        value = _look_up(config, section, path)
        assert isinstance(value, int)
        if value < 0:
            raise ConfigError(f"{section}.{path}", f"{value} is not a whole number (0 for none)")
    for section, path in _PERCENTAGES:
        value = _look_up(config, section, path)
        assert isinstance(value, (int, float))
        if not 0 <= value <= 100:
            words = f"{value} is not a percentage (0 to 100; 0 for none)"
            raise ConfigError(f"{section}.{path}", words)
    for section, path in _SECONDS_OR_NEVER:
        value = _look_up(config, section, path)
        assert isinstance(value, (int, float))
        if not 0 <= value <= _LONGEST_S:
            words = f"{value} is not a number of seconds (at most 30 days; 0 for none)"
            raise ConfigError(f"{section}.{path}", words)
    for key, holds, accepted in _combinations(config):
        if not holds:
            raise ConfigError(key, accepted)


def _combinations(c: Config) -> tuple[tuple[str, bool, str], ...]:
    """(key, whether it holds, what is accepted) for values that depend on form or each other."""
    # By so much the venue's clock may be behind ours, and every expiry later.
    behind_s = max(1.0, c.clock.max_skew_s)
    return (
        (
            "bot.id",
            _BOT_ID.fullmatch(c.bot.id) is not None,
            f"{c.bot.id!r} is not 1 to 12 letters, digits or underscores",
        ),
        (
            "venue.symbol",
            re.fullmatch(r"[A-Z0-9_]{3,20}", c.venue.symbol) is not None,
            f"{c.venue.symbol!r} is not an instrument symbol such as XBTUSD",
        ),
        (
            "venue.rest_url",
            c.venue.rest_url == "" or _is_url(c.venue.rest_url, ("http", "https")),
            f"{c.venue.rest_url!r} is not a url such as http://127.0.0.1:9000/api/v1",
        ),
        (
            "venue.ws_url",
            c.venue.ws_url == "" or _is_url(c.venue.ws_url, ("ws", "wss")),
            f"{c.venue.ws_url!r} is not a url such as ws://127.0.0.1:9000/realtime",
        ),
        (
            "venue.ws_url",
            (c.venue.rest_url == "") == (c.venue.ws_url == ""),
            "venue.rest_url and venue.ws_url are given both or neither",
        ),
        (
            "venue.kind",
            c.venue.kind != "bitmex" or c.venue.rest_url != "",
            "bitmex needs venue.rest_url and venue.ws_url: the exchange closed on 2026-09-23",
        ),
        (
            "bot.policy",
            bool(c.bot.policy.strip()),
            'empty; accepted: hold, cycle, a model folder or "package.module:Class"',
        ),
        (
            "bot.max_position",
            c.bot.max_position >= c.bot.order_qty,
            f"{c.bot.max_position} is below bot.order_qty = {c.bot.order_qty}",
        ),
        (
            "orders.resolve_within_s",
            c.orders.resolve_within_s > c.orders.expires_after_s + behind_s,
            f"{c.orders.resolve_within_s} must exceed orders.expires_after_s + {behind_s:g} = "
            f"{c.orders.expires_after_s + behind_s}",
        ),
        (
            "orders.resolve_within_s",
            # Counted from the sending, like the other; an order would be given up before the
            # venue was ever asked for it. An acknowledgement that is waited for less long than
            # the order may arrive is fine: it is in doubt, and absent only after the fence.
            c.orders.resolve_within_s > c.orders.ack_timeout_s,
            f"{c.orders.resolve_within_s} must exceed orders.ack_timeout_s = "
            f"{c.orders.ack_timeout_s}",
        ),
        (
            "orders.price_collar_pct",
            0 < c.orders.price_collar_pct <= 100,
            f"{c.orders.price_collar_pct} is not a percentage above 0, at most 100",
        ),
        (
            "limits.symbols",
            not c.limits.symbols or c.venue.symbol in c.limits.symbols,
            f"{', '.join(c.limits.symbols)} do not include venue.symbol = {c.venue.symbol}",
        ),
        (
            "limits.repeated_within_s",
            # Older orders are no longer among the kept records of a start for certain.
            c.limits.repeated_within_s <= HOUR_S,
            f"{c.limits.repeated_within_s} is more than an hour",
        ),
        (
            "feed.fault_after_s",
            c.feed.fault_after_s > c.feed.soft_stop_after_s,
            f"{c.feed.fault_after_s} must exceed feed.soft_stop_after_s = "
            f"{c.feed.soft_stop_after_s}",
        ),
        (
            "feed.check_every_s",
            c.feed.check_every_s <= c.feed.soft_stop_after_s,
            f"{c.feed.check_every_s} must not exceed feed.soft_stop_after_s = "
            f"{c.feed.soft_stop_after_s}",
        ),
        (
            "rate_limit.unlock_above",
            c.rate_limit.unlock_above >= c.rate_limit.lock_below,
            f"{c.rate_limit.unlock_above} is below rate_limit.lock_below = "
            f"{c.rate_limit.lock_below}",
        ),
        (
            "reconcile.fault_after_s",
            c.reconcile.fault_after_s > c.reconcile.every_s,
            f"{c.reconcile.fault_after_s} must exceed reconcile.every_s = {c.reconcile.every_s}",
        ),
        (
            "dead_man.timeout_s",
            c.dead_man.timeout_s > c.dead_man.refresh_every_s,
            f"{c.dead_man.timeout_s} must exceed dead_man.refresh_every_s = "
            f"{c.dead_man.refresh_every_s}",
        ),
        (
            "dead_man.timeout_s",
            # An order may arrive this much later: its expiry is a whole second, and the venue's
            # clock may be behind. A switch that fires sooner would never allow an order.
            c.dead_man.timeout_s > c.orders.expires_after_s + 1 + behind_s,
            f"{c.dead_man.timeout_s} must exceed orders.expires_after_s + {1 + behind_s:g} = "
            f"{c.orders.expires_after_s + 1 + behind_s}",
        ),
        (
            "supervisor.backoff_max_s",
            c.supervisor.backoff_max_s >= c.supervisor.backoff_initial_s,
            f"{c.supervisor.backoff_max_s} is below supervisor.backoff_initial_s = "
            f"{c.supervisor.backoff_initial_s}",
        ),
        (
            "alerts.alive_every_s",
            0 <= c.alerts.alive_every_s <= _LONGEST_S,
            f"{c.alerts.alive_every_s} is not a number of seconds (at most 30 days; 0 for never)",
        ),
        (
            "operator.port",
            0 <= c.operator.port <= 65535,
            f"{c.operator.port} is not a port (0 to 65535; 0 picks a free one)",
        ),
        (
            "operator.host",
            c.operator.host in ("127.0.0.1", "::1", "localhost"),
            f"{c.operator.host!r} is not a loopback address (127.0.0.1, ::1, localhost)",
        ),
        ("state.dir", bool(c.state.dir.strip()), "empty; accepted: a folder"),
    )


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    scheme, mark, rest = text.partition("://")
    return scheme in schemes and mark != "" and re.match(r"[^/?#\s@]+(/\S*)?$", rest) is not None
