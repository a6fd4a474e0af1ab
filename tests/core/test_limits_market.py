"""The gates on the market: shut at once, for new exposure only, and open by themselves (L7)."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chappie.core.limits_market import Health, Move
from chappie.core.market import Market
from chappie.model.config import LimitsConfig
from chappie.model.reports import InstrumentSeen, PositionSaid
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, Contracts, Ticks
from chappie.simvenue.market import MarketFloor
from tests.core.parts import INSTRUMENT, at
from tests.core.world import Calm, Target, World, trading

SEEN = InstrumentSeen(INSTRUMENT, 60_000.0, None, None, None)


def market(
    bid: int = 600_000, ask: int = 600_001, sizes: int = 1_000, *, stamp: str | None = None
) -> Market:
    found = Market()
    found.seen = msgspec.structs.replace(SEEN, funding_stamp=stamp)
    found.book.load({bid: sizes, bid - 1: sizes, -ask: sizes, -(ask + 1): sizes})
    return found


def shut(
    limits: LimitsConfig, seen: Market, said: PositionSaid | None = None, seconds: float = 1
) -> list[str]:
    return list(Health(limits).judge(at(seconds), seen, said))


def held(qty: int, liquidation: float | None) -> PositionSaid:
    return PositionSaid(Contracts(qty), None, None, None, liquidation)


def test_without_limits_any_market_is_fit() -> None:
    assert shut(LimitsConfig(), market(1, 900_000, 1)) == []


@pytest.mark.parametrize(
    ("limits", "good", "bad"),
    [
        (LimitsConfig(max_spread_ticks=3), market(ask=600_003), market(ask=600_004)),
        (LimitsConfig(max_spread_pct=0.01), market(ask=600_060), market(ask=600_061)),
        (LimitsConfig(min_depth_qty=2_000), market(), market(sizes=999)),
        (LimitsConfig(min_depth_qty=1_001, depth_levels=2), market(), market(sizes=500)),
        (LimitsConfig(min_depth_qty=1_000, depth_levels=1), market(), market(sizes=999)),
    ],
)
def test_a_book_is_fit_to_its_last_tick_and_contract(
    limits: LimitsConfig, good: Market, bad: Market
) -> None:
    assert shut(limits, good) == []
    (_,) = shut(limits, bad)


@pytest.mark.parametrize(("due_s", "is_shut"), [(61.1, False), (61, True), (1, True), (0, False)])
def test_nothing_new_is_opened_shortly_before_funding(due_s: float, is_shut: bool) -> None:
    limits = LimitsConfig(no_opening_before_funding_s=60.0)
    seen = market(stamp=ns_iso(at(due_s).wall_ns))
    assert bool(shut(limits, seen)) is is_shut


def test_a_contract_without_funding_is_never_before_it() -> None:
    assert shut(LimitsConfig(no_opening_before_funding_s=60.0), market()) == []


@pytest.mark.parametrize(
    ("said", "is_shut"),
    [
        (None, False),
        (held(0, 60_000.0), False),
        (held(100, None), False),
        (held(100, 54_000.0), False),
        (held(100, 54_001.0), True),
        (held(-100, 66_000.0), False),
        (held(-100, 65_999.0), True),
        (held(100, 61_000.0), True),
        (held(-100, 59_000.0), True),
    ],
)
def test_near_liquidation_nothing_is_added(said: PositionSaid | None, is_shut: bool) -> None:
    limits = LimitsConfig(min_liquidation_distance_pct=10.0)
    assert bool(shut(limits, market(), said)) is is_shut


def test_what_is_held_without_a_mark_is_near_liquidation() -> None:
    seen = market()
    seen.seen = msgspec.structs.replace(SEEN, mark_price=None)
    limits = LimitsConfig(min_liquidation_distance_pct=10.0)
    assert shut(limits, seen, held(100, 1.0)) == ["min_liquidation_distance_pct"]
    assert shut(limits, seen, held(0, None)) == []


def test_a_gate_opens_by_itself_when_it_had_no_reason_for_a_while() -> None:
    health = Health(LimitsConfig(max_spread_ticks=3, reopen_after_s=10.0))
    fit, wide = market(), market(ask=600_050)
    assert health.judge(at(1), fit, None) == {}
    assert health.judge(at(2), wide, None) == {"max_spread_ticks": "50 ticks wide"}
    assert health.judge(at(11.9), fit, None) != {}
    assert health.judge(at(12), fit, None) == {}


def test_a_market_at_the_edge_does_not_make_it_flap() -> None:
    health = Health(LimitsConfig(max_spread_ticks=3, reopen_after_s=10.0))
    fit, wide = market(), market(ask=600_050)
    health.judge(at(0), wide, None)
    for second in range(1, 100):
        assert health.judge(at(second), wide if second % 9 == 0 else fit, None) != {}


MIDS = st.lists(
    st.tuples(st.integers(-3_000, 3_000), st.sampled_from([0.25, 0.25, 0.5, 1.0, 2.0])),
    min_size=10,
    max_size=150,
)


@settings(max_examples=100)
@given(MIDS)
def test_no_move_within_the_window_is_missed(steps: Sequence[tuple[int, float]]) -> None:
    limits = LimitsConfig(max_move_pct=0.5, move_window_s=30.0, reopen_after_s=1.0)
    health = Health(limits)
    mid, now_s = 600_000, 0.0
    seen: list[tuple[float, int]] = []
    for change, seconds in steps:
        now_s += seconds
        mid = max(400_000, mid + change)
        seen.append((now_s, 2 * mid + 1))
        is_shut = bool(health.judge(at(now_s), market(mid, mid + 1), None))
        window = [twice for when, twice in seen if when >= now_s - 30]
        moved = (max(window) - min(window)) / min(window) > 0.005001
        if moved or now_s - seen[0][0] < 30:
            assert is_shut


def test_a_start_and_a_gap_are_watched_for_a_whole_window_first() -> None:
    move = Move(60.0)

    def watch(begin_s: float, end_s: float) -> None:
        now_s = begin_s
        while now_s <= end_s:
            move.see(at(now_s).now_ns, Ticks(600_000), Ticks(600_001))
            now_s += 0.25

    watch(0, 59.75)
    assert not move.is_whole(at(59.75).now_ns)
    watch(60, 70)
    assert move.is_whole(at(70).now_ns)
    watch(76, 76)
    assert move.is_whole(at(76).now_ns), "six seconds are no gap"
    watch(90, 149)
    assert not move.is_whole(at(149).now_ns)
    watch(149.25, 150)
    assert move.is_whole(at(150).now_ns)


def test_what_is_remembered_of_a_window_is_bounded() -> None:
    move = Move(60.0)
    for number in range(20_000):
        move.see(number * SECOND_NS // 50, Ticks(600_000 + number), Ticks(600_001 + number))
    assert len(move._parts) <= 63


# --- in a world


class Shaped(Calm):
    """A calm market whose ask can be taken away."""

    def __init__(self, ask: int) -> None:
        super().__init__()
        self.ask = ask

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        floor.set_level("Buy", 600_000, 1000)
        self._there = self.ask
        floor.set_level("Sell", self.ask, 1000)

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        super().advance(at_ns, floor)
        if self.ask != self._there:
            floor.set_level("Sell", self.ask, 1000)
            floor.set_level("Sell", self._there, 0)
            self._there = self.ask


def wide(policy: Target, shape: Shaped, **limits: object) -> World:
    return World(trading(limits=limits), policy=policy, market=shape)


def test_a_wide_market_is_closed_in_and_not_opened_in() -> None:
    policy, shape = Target(100), Shaped(600_001)
    world = wide(policy, shape, max_spread_ticks=10, reopen_after_s=5.0)
    assert world.run(20, lambda: world.bot.core.desk.account.ledger.qty == 100)
    shape.ask = 600_020
    policy.target = 300
    world.run(10)
    assert world.bot.faults == ["market_unfit:max_spread_ticks"]
    assert len(world.sent("POST", "/order")) == 1
    policy.target = 0
    world.run(3)
    assert world.bot.core.desk.account.ledger.qty == 0
    policy.target = 100
    world.run(10)
    assert world.bot.core.desk.account.ledger.qty == 0
    shape.ask = 600_001
    world.run(4)
    assert world.bot.core.desk.account.ledger.qty == 0, "not yet"
    world.run(4)
    assert world.bot.core.desk.account.ledger.qty == 100
    assert world.bot.faults == []


@pytest.mark.parametrize(
    ("limits", "subject"),
    [
        ({"min_depth_qty": 100_000, "depth_levels": 1}, "min_depth_qty"),
        ({"max_move_pct": 1.0, "move_window_s": 600.0}, "max_move_pct"),
        ({"no_opening_before_funding_s": 30_000.0}, "no_opening_before_funding_s"),
    ],
)
def test_in_an_unfit_market_nothing_is_opened(limits: dict[str, object], subject: str) -> None:
    world = World(trading(limits=limits), policy=Target(100), market=Calm())
    world.run(20)
    assert world.bot.faults == [f"market_unfit:{subject}"]
    assert world.sent("POST", "/order") == []


def test_what_the_venue_calls_near_its_liquidation_is_not_increased() -> None:
    limits: dict[str, object] = {"min_liquidation_distance_pct": 100.0}
    world = World(trading(limits=limits), policy=Target(300), market=Calm())
    world.run(20)
    assert world.bot.faults == ["market_unfit:min_liquidation_distance_pct"]
    assert 1 <= len(world.sent("POST", "/order")) <= 2


@pytest.mark.parametrize(
    "limits",
    [
        {"min_depth_qty": 700},
        {"max_move_pct": 1.0, "move_window_s": 5.0},
        {"no_opening_before_funding_s": 1.0},
        {"min_liquidation_distance_pct": 5.0},
        {"max_spread_ticks": 1, "max_spread_pct": 0.01},
    ],
)
def test_in_a_fit_one_it_is(limits: dict[str, object]) -> None:
    world = World(trading(limits=limits), policy=Target(300), market=Calm())
    world.run(25)
    assert world.bot.core.desk.account.ledger.qty == 300
