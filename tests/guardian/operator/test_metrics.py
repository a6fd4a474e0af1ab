"""What `/metrics` says, and what it keeps to itself."""

import asyncio
import os
import re
from collections.abc import Iterator

import aiohttp
import msgspec
import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chappie.guardian.operator.api import Api, bind
from chappie.guardian.operator.metrics import COUNTED, METRICS, Metrics
from chappie.guardian.operator.readings import ROWS, Kind
from chappie.guardian.shown import HaltState, Setting, Shown, TraderState, merge
from chappie.live.state_dir import LastStop
from chappie.model.faults import Fault, StopReason
from chappie.model.state import (
    DeadManState,
    FaultState,
    LagState,
    Mode,
    PositionState,
    ReconcileState,
    State,
)
from tests.guardian.states import faulted, healthy, order

SETTING = Setting(True, "cycle", "simulated", "XBTUSD", "c0ffee")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def full() -> State:
    """A state in which everything is known."""
    return msgspec.structs.replace(
        faulted(),
        position=PositionState("XBTUSD", 100, 50_000.5),
        dead_man=DeadManState("2026-01-01T00:00:31.000Z"),
        ended_orders={"filled": 3, "canceled": 2},
        lag=LagState(0.02, -0.1),
        last_reconcile=ReconcileState("2026-01-01T00:00:00.000Z", True, 7, 1),
        faults=[*faulted().faults, in_doubt(4.0)],
    )


def in_doubt(since_s: float) -> FaultState:
    return FaultState(Fault.ORDER_IN_DOUBT.value, "chp-a-1", since_s, "no answer", "an answer")


def running(state: State | None, **trader: object) -> Shown:
    facts = {"pid": os.getpid(), "beat_age_s": 0.5, **trader}
    return merge(SETTING, state, 0.0, True, TraderState(**facts))  # type: ignore[arg-type]


def down() -> Shown:
    stop = LastStop("feed_stale", 10, "silence", "2026-01-01T00:00:02.000Z", [], None, False)
    return merge(SETTING, full(), 30.0, False, TraderState(last_stop=stop, beat_age_s=30.0))


def samples(shown: Shown, metrics: Metrics | None = None) -> Samples:
    text = (metrics or Metrics(lambda: shown, 5.0)).scraped().decode()
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def names(found: Samples) -> set[str]:
    return {name for name, _ in found}


def base(name: str) -> str:
    """The metric that a sample belongs to."""
    histograms = [one.name for one in METRICS if one.kind is Kind.HISTOGRAM]
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if stem in histograms else name


def test_everything_that_is_scraped_is_in_the_table_and_all_of_the_table_can_be_scraped() -> None:
    shown = running(full(), next_start_s=1.0)
    metrics = Metrics(lambda: shown, 5.0)
    metrics.saw(msgspec.structs.replace(shown, orders=[]))
    assert metrics.failed is None
    found = {base(name) for name in names(samples(shown, metrics))}
    assert found == {one.name for one in METRICS}


def test_every_metric_has_help_a_unit_and_a_name_that_says_it() -> None:
    assert len({one.name for one in METRICS}) == len(METRICS)
    for one in METRICS:
        assert one.name.startswith("chappie_"), one.name
        assert one.help.rstrip(")").endswith((".", "(guardian", "(trader")), one.name
        assert one.unit, one.name
        assert one.name.endswith("_total") == (one.kind is Kind.COUNTER), one.name
        for unit in ("seconds", "requests", "contracts"):
            if one.unit == unit and one.kind is not Kind.COUNTER:
                assert one.name.endswith(f"_{unit}"), one.name


def test_what_is_not_known_is_absent_and_no_zero() -> None:
    found = names(samples(running(None, beat_age_s=None)))
    # Of the picture, only what the guardian itself knows.
    assert {row.metric.name for row in ROWS} & found == {
        "chappie_info",
        "chappie_mode",
        "chappie_ready",
        "chappie_trade_allowed",
        "chappie_halt_latched",
        "chappie_trader_up",
        "chappie_trader_restarts_total",
        "chappie_stream_synced",
        "chappie_account_known",
    }
    unsure = msgspec.structs.replace(healthy(), position=PositionState("XBTUSD"))
    assert "chappie_position_contracts" not in names(samples(running(unsure)))


def test_a_trader_that_is_down_has_no_reading_of_now_and_its_ages_grow() -> None:
    shown = down()
    found = samples(shown)
    assert found["chappie_mode", (("mode", "stopped"),)] == 1
    assert found["chappie_trader_up", ()] == 0
    assert found["chappie_stream_age_seconds", (("stream", "quote"),)] == 30.5
    assert found["chappie_stream_synced", (("stream", "quote"),)] == 0
    assert found["chappie_orders_ended_total", (("fate", "filled"),)] == 3
    gone = ("position_contracts", "budget_remaining_requests", "faults_active", "orders_live")
    assert {f"chappie_{name}" for name in gone} & names(found) == set()


def test_numbers_are_those_of_the_picture() -> None:
    found = samples(running(full()))
    assert found["chappie_orders_live", (("status", "New"),)] == 9
    assert found["chappie_orders_unknown_oldest_age_seconds", ()] == 4.0
    assert found["chappie_faults_active", (("fault", "stream_unsynced"),)] == 1
    assert found["chappie_faults_active", (("fault", "market_stale"),)] == 0
    assert found["chappie_posture", (("posture", "cancel_only"),)] == 1
    assert found["chappie_quote_lag_seconds", ()] == 0.02
    assert found["chappie_clock_offset_seconds", ()] == -0.1
    # The state is of second 1, the beat half a second old.
    assert found["chappie_reconcile_age_seconds", ()] == 1.5
    assert found["chappie_dead_man_left_seconds", ()] == 29.5
    assert found["chappie_reconcile_rounds_total", (("result", "unclean"),)] == 1
    assert found["chappie_ready", ()] == 0
    assert samples(running(healthy()))["chappie_ready", ()] == 1


def test_a_status_that_nobody_expected_makes_no_new_series() -> None:
    strange = msgspec.structs.replace(order(1), ord_status="<b>Odd</b>")
    found = samples(running(msgspec.structs.replace(healthy(), orders=[strange])))
    assert found["chappie_orders_live", (("status", "other"),)] == 1
    assert not [labels for name, labels in found if "Odd" in str(labels)]


def test_stops_are_counted_by_reason_and_every_reason_begins_at_zero() -> None:
    shown = running(healthy())
    metrics = Metrics(lambda: shown, 5.0)
    metrics.heard("trader_stopped", {"reason": "feed_stale"})
    metrics.heard("trader_stopped", {"reason": "made up"})
    metrics.heard("staying_down", {"reason": "crash_loop"})
    metrics.heard("halt_asked", {"reason": "looks odd"})
    found = samples(shown, metrics)
    for reason in StopReason:
        expected = float(reason is StopReason.FEED_STALE)
        assert found["chappie_stops_total", (("reason", reason.word),)] == expected
    assert found["chappie_stops_total", (("reason", "other"),)] == 1
    assert found["chappie_stayed_down_total", (("reason", "crash_loop"),)] == 1
    assert found["chappie_halts_asked_total", ()] == 1


def stale(since_s: float, *orders: int) -> Shown:
    fault = FaultState(Fault.MARKET_STALE.value, "quote", since_s, "silent", "an increment")
    state = msgspec.structs.replace(
        healthy(), mode=Mode.FAULTED, faults=[fault], orders=[order(number) for number in orders]
    )
    return running(state)


def test_a_fault_is_noticed_once_and_safe_once_its_orders_are_gone() -> None:
    metrics = Metrics(lambda: stale(0.0), 5.0)
    for shown in (stale(5.2, 1), stale(5.4, 1), stale(6.4), stale(7.0), running(healthy())):
        metrics.saw(shown)
    label = (("fault", "market_stale"),)
    found = samples(stale(0.0), metrics)
    assert found["chappie_faults_begun_total", label] == 1
    assert found["chappie_fault_noticed_seconds_sum", label] == 5.2
    assert found["chappie_fault_noticed_seconds_count", label] == 1
    assert found["chappie_fault_safe_seconds_sum", label] == 6.4
    assert found["chappie_fault_safe_seconds_count", label] == 1
    metrics.saw(stale(0.3))
    assert samples(stale(0.0), metrics)["chappie_faults_begun_total", label] == 2


def test_a_fault_that_lets_orders_rest_has_no_time_to_safe() -> None:
    low = FaultState(Fault.BUDGET_LOW.value, "", 1.0, "", "more")
    shown = running(msgspec.structs.replace(healthy(), faults=[low]))
    metrics = Metrics(lambda: shown, 5.0)
    metrics.saw(shown)
    assert "chappie_fault_safe_seconds_count" not in names(samples(shown, metrics))


def test_two_guardians_in_one_process_share_nothing_and_the_global_registry_has_none() -> None:
    shown = running(healthy())
    one, other = Metrics(lambda: shown, 5.0), Metrics(lambda: shown, 5.0)
    one.heard("halt_asked", {})
    assert samples(shown, other)["chappie_halts_asked_total", ()] == 0
    assert b"chappie" not in prometheus_client.generate_latest(prometheus_client.REGISTRY)


def test_a_bug_in_here_costs_the_metrics_and_not_the_guard() -> None:
    shown = running(healthy())

    async def play() -> None:
        api = Api(bind("127.0.0.1", 0), lambda: shown, 5.0)
        api.saw(None)  # type: ignore[arg-type]
        api.saw(shown)
        await api.start()
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{api.url}/metrics") as answer:
                assert answer.status == 500
                assert "a bug in the metrics" in await answer.text()
            async with session.get(f"{api.url}/readyz") as answer:
                assert answer.status == 200
        await api.stop()

    asyncio.run(play())


def test_the_api_serves_them_and_tells_them_what_it_hears() -> None:
    halted = msgspec.structs.replace(running(healthy()), halt=HaltState("why", "since"))

    async def play() -> str:
        api = Api(bind("127.0.0.1", 0), lambda: halted, 5.0)
        api.heard("venue_died", {}, b"{}")
        await api.start()
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{api.url}/metrics") as answer,
            ):
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                return await answer.text()
        finally:
            await api.stop()

    text = asyncio.run(play())
    assert "chappie_halt_latched 1.0\n" in text
    assert "chappie_embedded_venue_deaths_total 1.0\n" in text


def labels_of(found: Samples) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, labels in found:
        yield base(name), tuple(key for key, _ in labels if key != "le")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_series_carries_the_labels_of_the_table(metric: object) -> None:
    shown = running(full(), next_start_s=1.0)
    metrics = Metrics(lambda: shown, 5.0)
    metrics.saw(msgspec.structs.replace(shown, orders=[]))
    carried = {labels for name, labels in labels_of(samples(shown, metrics)) if name == metric.name}  # type: ignore[attr-defined]
    assert carried == {tuple(sorted(metric.labels))}  # type: ignore[attr-defined]


def test_every_counted_metric_is_of_a_kind_that_counts() -> None:
    assert {one.kind for one in COUNTED} == {Kind.COUNTER, Kind.HISTOGRAM}
