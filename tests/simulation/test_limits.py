"""Limits in nights in which the bot is killed again and again: no restart resets one."""

import msgspec
import pytest

from chappie.model.config import LimitsConfig
from chappie.model.records import Intent
from chappie.model.units import SECOND_NS
from chappie.simulation.night import Night
from chappie.simulation.scenario import Scenario, scenario
from tests.simulation.breaks_limits import counts_forgotten_at_a_start

MOST = 5
MINUTES = 2


def killed_often(seed: int, limits: LimitsConfig) -> Scenario:
    plan = scenario(seed)
    config = msgspec.structs.replace(
        plan.config,
        limits=limits,
        orders=msgspec.structs.replace(plan.config.orders, style="market"),
    )
    kinds = ("kill", "kill_amid_order", "answer_lost")
    return msgspec.structs.replace(
        plan, config=config, kinds=kinds, pace_s=5.0, period_s=1.0, guardian=False
    )


def beyond(night: Night) -> list[str]:
    """Orders that add exposure and had too many before them, whatever run sent those."""
    asked = [record for record in night.disk.kept() if isinstance(record, Intent)]
    found = []
    for number, intent in enumerate(asked):
        begin_ns = intent.wall_ns - 60 * SECOND_NS
        before = [one for one in asked[:number] if one.wall_ns > begin_ns]
        if not intent.order.reduce_only and len(before) >= MOST:
            found.append(intent.order.cl_ord_id)
    return found


def dark(seed: int) -> Night:
    night = Night(killed_often(seed, LimitsConfig(max_orders_per_minute=MOST)))
    result = night.whole(MINUTES / 60)
    assert result.violations == ()
    assert result.orders > 2 * MOST
    assert sum(result.restarts.values()) > 3
    return night


@pytest.mark.parametrize("seed", [1, 2])
def test_no_run_sends_what_the_one_before_it_used_up(seed: int) -> None:
    assert beyond(dark(seed)) == []


def test_a_restart_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    counts_forgotten_at_a_start(monkeypatch.setattr)
    assert beyond(dark(1))


def test_with_every_limit_on_time_a_night_ends_like_any_other() -> None:
    limits = LimitsConfig(max_order_age_s=6.0, max_repricings=2, max_holding_s=30.0)
    assert Night(killed_often(4, limits)).whole(MINUTES / 60).violations == ()
