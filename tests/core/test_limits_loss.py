"""Loss limits: what they are measured from survives every restart (control L6)."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chappie.core.carried import carried
from chappie.core.ledger import Ledger
from chappie.core.limits_loss import DAY_NS, Losses, Result, result
from chappie.core.market import Market
from chappie.core.recovery import recover
from chappie.model.config import LimitsConfig
from chappie.model.enums import OrdStatus, Side
from chappie.model.records import Adjusted, Ended, FundingPaid, Kept, LossBase, Stopped
from chappie.model.units import SECOND_NS, At, Contracts, Minor, Ticks
from tests.core.parts import INSTRUMENT, WALL_NS, at, fill
from tests.core.world import STRANGER, Calm, Target, World, cycle, trading

MIDNIGHT_NS = (WALL_NS // DAY_NS + 1) * DAY_NS
LIMITS = LimitsConfig(max_daily_loss=1_000, max_drawdown=2_000, max_daily_fees=300)


def losses(limits: LimitsConfig, kept: Sequence[Kept] = (), *, halted: bool = False) -> Losses:
    found = Losses(limits)
    found.restore(at(0), kept, halted=halted)
    return found


def reached(found: Losses, total: int, fees: int = 0, *, when: At | None = None) -> list[str]:
    now = Result(total, fees)
    found.measure(at(1) if when is None else when, now, sure=True)
    return list(found.reached(now))


def test_a_loss_of_the_day_is_reached_to_the_last_unit() -> None:
    found = losses(LimitsConfig(max_daily_loss=1_000))
    assert reached(found, 5_000) == []
    assert reached(found, 4_001) == []
    assert reached(found, 4_000) == ["max_daily_loss"]
    assert reached(found, 9_000) == ["max_daily_loss"], "until the day is over"


def test_a_new_day_begins_at_what_there_is() -> None:
    found = losses(LimitsConfig(max_daily_loss=1_000, max_daily_fees=50))
    assert reached(found, 0) == []
    assert len(reached(found, -1_500, 60)) == 2
    night = At(at(2).now_ns, MIDNIGHT_NS)
    assert reached(found, -1_500, 60, when=night) == []
    assert reached(found, -2_499, 109, when=night) == []
    assert len(reached(found, -2_500, 110, when=night)) == 2


def test_no_day_begins_while_something_is_wrong() -> None:
    found = losses(LimitsConfig(max_daily_loss=1_000))
    assert reached(found, 0) == []
    night = At(at(2).now_ns, MIDNIGHT_NS)
    found.measure(night, Result(-900, 0), sure=False)
    assert reached(found, -1_000, when=night) == [], "now it began, at what there is"
    found.measure(night, Result(-2_000, 0), sure=False)
    assert list(found.reached(None)) == ["max_daily_loss"]


def test_a_drawdown_counts_from_the_peak_and_outlives_the_day() -> None:
    found = losses(LimitsConfig(max_drawdown=2_000))
    assert reached(found, 0) == []
    assert reached(found, 10_000) == []
    assert reached(found, 8_021) == []
    # A hundredth early: the peak is kept in such steps.
    assert reached(found, 8_020) == ["max_drawdown"]
    night = At(at(2).now_ns, MIDNIGHT_NS)
    assert reached(found, 12_000, when=night) == ["max_drawdown"]


def test_the_peak_is_kept_in_few_records() -> None:
    found = losses(LimitsConfig(max_drawdown=2_000))
    records = [found.measure(at(n), Result(n, 0), sure=True) for n in range(2_000)]
    assert 90 <= len([one for one in records if one is not None]) <= 110


def test_a_reward_is_no_fee() -> None:
    found = losses(LimitsConfig(max_daily_fees=50))
    assert reached(found, 0, 0) == []
    assert reached(found, 0, -500) == []


STEPS = st.lists(
    st.tuples(
        st.integers(-400, 380),
        st.integers(-10, 60),
        st.sampled_from([0, 0, 0, 0, 1, 600, 40_000]),
        st.booleans(),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=100)
@given(STEPS)
def test_a_restart_at_any_moment_resets_nothing(
    steps: Sequence[tuple[int, int, int, bool]],
) -> None:
    steady = losses(LIMITS)
    often = losses(LIMITS)
    kept: list[Kept] = []
    total = fees = wall_s = 0
    day, worst, best, paid = -1, 0, 0, 0
    before: set[str] = set()
    for change, fee, seconds, restarts in steps:
        wall_s += seconds
        total += change
        fees += fee
        when, now = at(wall_s), Result(total, fees)
        steady.measure(when, now, sure=True)
        if restarts:
            if len(kept) % 2:
                kept = [carried(tuple(kept), "kept.000001.log")]
            often = losses(LIMITS, kept)
        record = often.measure(when, now, sure=True)
        kept += [] if record is None else [record]
        assert often.reached(now) == steady.reached(now)
        # And the limits themselves, reckoned in another way.
        if when.wall_ns // DAY_NS != day:
            best = best if day >= 0 else total
            day, worst, paid = when.wall_ns // DAY_NS, total, fees
            before -= {"max_daily_loss", "max_daily_fees"}
        best = max(best, total)
        there = set(often.reached(now))
        assert before <= there
        if worst - total >= 1_000:
            assert "max_daily_loss" in there
        if fees - paid >= 300:
            assert "max_daily_fees" in there
        if best - total >= 2_000:
            assert "max_drawdown" in there
        elif "max_drawdown" not in before and best - total < 1_980:
            assert "max_drawdown" not in there
        before = there


# --- a resume


REACHED = LossBase(WALL_NS, WALL_NS // DAY_NS, Minor(0), Minor(0), Minor(0), ("max_daily_loss",))


def test_what_a_resume_ended_is_measured_anew_and_nothing_else_is() -> None:
    kept = [REACHED, Stopped(WALL_NS, "halted", "limits")]
    found = losses(LIMITS, kept)
    assert reached(found, -1_500, 290) == []
    assert reached(found, -1_970, 290) == []
    assert reached(found, -1_980, 300) == ["max_drawdown", "max_daily_fees"]
    found = losses(LimitsConfig(max_daily_loss=1_000), kept)
    assert reached(found, -1_500) == []
    assert reached(found, -2_500) == ["max_daily_loss"]


def test_a_start_into_the_halt_forgives_nothing() -> None:
    found = losses(LIMITS, [REACHED, Stopped(WALL_NS, "halted", "limits")], halted=True)
    assert reached(found, -1_500) == ["max_daily_loss"]


def test_any_other_stop_forgives_nothing() -> None:
    found = losses(LIMITS, [REACHED, Stopped(WALL_NS, "operator", "")])
    assert reached(found, -1_500) == ["max_daily_loss"]


def test_a_resume_forgives_once() -> None:
    kept: list[Kept] = [REACHED, Stopped(WALL_NS, "halted", "limits")]
    first = losses(LIMITS, kept)
    record = first.measure(at(1), Result(-1_500, 0), sure=True)
    assert record is not None
    second = losses(LIMITS, [*kept, record])
    assert reached(second, -2_500, 0) == ["max_daily_loss", "max_drawdown"]


def test_the_sum_of_a_rolled_log_holds_it() -> None:
    rolled = carried((REACHED, Stopped(WALL_NS, "operator", "")), "kept.000001.log")
    assert rolled.loss_base == REACHED
    assert recover((rolled,), at(0), lambda moment, wall_ns: wall_ns).loss_base == REACHED


# --- the result


@pytest.mark.parametrize(
    ("side", "mark", "sign"),
    [
        (Side.BUY, 610_000, 1),
        (Side.BUY, 590_000, -1),
        (Side.SELL, 610_000, -1),
        (Side.SELL, 590_000, 1),
    ],
)
@pytest.mark.parametrize("inverse", [True, False])
def test_what_is_held_counts_at_the_mark_as_if_it_were_closed_there(
    side: Side, mark: int, sign: int, inverse: bool
) -> None:
    terms = INSTRUMENT
    if not inverse:
        terms = msgspec.structs.replace(INSTRUMENT, is_inverse=False, multiplier=100)

    def execution(name: str, side: Side, ticks: int) -> None:
        value = terms.value(Contracts(300), Ticks(ticks))
        cost = Minor(-side.sign * value if inverse else side.sign * value)
        ledger.book(msgspec.structs.replace(fill(name, side, 300, ticks, fee=9), cost=cost))

    ledger = Ledger()
    execution("e1", side, 600_000)
    ledger.pay(FundingPaid("f1", Minor(7), 0))
    held = result(ledger, terms, Ticks(mark))
    assert held is not None
    assert (held.total + 16) * sign > 0
    execution("e2", side.opposite, mark)
    closed = result(ledger, terms, Ticks(mark))
    assert closed == Result(held.total - 9, 18)


def test_what_cannot_be_measured_is_not_made_up() -> None:
    ledger = Ledger()
    assert result(ledger, INSTRUMENT, None) == Result(0, 0), "flat, and needs no mark"
    ledger.adjust(Adjusted(WALL_NS, Contracts(100), "by hand"))
    assert result(ledger, INSTRUMENT, Ticks(600_000)) is None


# --- refused orders


def ended(number: int, status: OrdStatus | None, seconds: float = 0) -> Ended:
    wall_ns = WALL_NS + round(seconds * SECOND_NS)
    return Ended(wall_ns, f"chp-test-1-{number}", status, Contracts(0))


def test_refused_orders_count_for_an_hour_and_through_restarts() -> None:
    limits = LimitsConfig(max_rejects_per_hour=3)
    kept = [
        ended(1, None, -3_599),
        ended(2, OrdStatus.REJECTED, -1),
        ended(2, OrdStatus.REJECTED, -1),
        ended(3, OrdStatus.CANCELED, -1),
        ended(4, OrdStatus.FILLED, -1),
    ]
    found = losses(limits, kept)
    assert found.refused(at(0)) is None
    found.note(at(0.5), ended(5, None, 0.5))
    assert found.refused(at(0.9)) is not None
    assert found.refused(at(1)) is None


# --- in a world


def fees(limit: int, on_breach: str) -> World:
    limits: dict[str, object] = {"max_daily_fees": limit, "on_breach": on_breach}
    return World(trading(limits=limits), policy=cycle(), market=Calm())


def test_spent_fees_leave_only_the_way_back() -> None:
    world = fees(400, "reduce_only")
    world.run(60)
    assert world.bot.faults == ["limit_reached:max_daily_fees"]
    sent = len(world.sent("POST", "/order"))
    # 83 satoshi each: the fifth reaches it, and the sixth closes what the fifth opened.
    assert sent == 6
    assert world.bot.core.desk.account.ledger.qty == 0
    world.bot.die()
    world.start(2, world.bot.kept)
    world.run(30)
    assert world.bot.faults == ["limit_reached:max_daily_fees"]
    assert len(world.sent("POST", "/order")) == sent


def test_a_resting_order_that_adds_goes_when_only_reducing_is_allowed() -> None:
    policy = Target(100)
    limits: dict[str, object] = {"max_daily_loss": 1, "on_breach": "reduce_only"}
    world = World(
        trading(limits=limits, orders={"style": "post_only"}), policy=policy, market=Calm()
    )
    assert world.run(30, lambda: bool(world.working))
    world.bot.core.desk.funding(FundingPaid("f1", Minor(10), 0))
    world.run(2)
    assert world.working == []
    assert world.bot.faults == ["limit_reached:max_daily_loss"]


def test_the_switch_is_kept_for_what_reduces() -> None:
    policy = Target(100)
    limits: dict[str, object] = {"max_daily_loss": 1_000, "on_breach": "reduce_only"}
    world = World(
        trading(limits=limits, orders={"style": "post_only"}), policy=policy, market=Calm()
    )
    assert world.run(30, lambda: bool(world.working))
    world.order_by(STRANGER, "Sell", 1_100)
    assert world.run(10, lambda: world.bot.core.desk.account.ledger.qty == 100)
    world.bot.core.desk.funding(FundingPaid("f1", Minor(1_000), 0))
    policy.target = 0
    world.run(100)
    assert world.bot.faults == ["limit_reached:max_daily_loss"]
    (row,) = world.working
    assert row["side"] == "Sell"
    assert len(world.sent("POST", "/order")) == 2, "the venue's timer of 60 s took none"


def test_spent_fees_halt_until_resumed_and_a_resume_gives_the_same_again() -> None:
    world = fees(300, "halt")
    stop = world.run_to_stop(60)
    assert (stop.reason, stop.known) == ("halted", True)
    assert "max_daily_fees is 300" in stop.detail
    first = len(world.sent("POST", "/order"))
    assert first == 4
    world.start(2, world.bot.kept, halted="limits")
    assert world.run_to_stop(30).reason == "halted"
    world.start(3, world.bot.kept)
    world.run_to_stop(60)
    assert len(world.sent("POST", "/order")) == 2 * first


def test_what_is_held_without_a_mark_lets_nothing_new_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: dict[str, object] = {"max_daily_loss": 1_000_000}
    policy = Target(100)
    world = World(trading(limits=limits), policy=policy, market=Calm())
    assert world.run(30, lambda: world.bot.core.desk.account.ledger.qty == 100)
    with monkeypatch.context() as patch:
        patch.setattr(Market, "mark", property(lambda self: None))
        world.run(1)
        assert world.bot.faults == ["limit_reached:result"]
    world.run(1)
    assert world.bot.faults == []
