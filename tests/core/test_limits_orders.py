"""The limits on behaviour, on random sequences of actions and through restarts (control L5)."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chappie.core.gate import Denial, examine
from chappie.core.limits_orders import OrderCounts
from chappie.model.commands import SetLatch
from chappie.model.config import LimitsConfig
from chappie.model.enums import Side
from chappie.model.orders import Approved
from chappie.model.records import Fill, Intent, Kept, Stopped
from chappie.model.units import SECOND_NS, At
from tests.core.parts import asked, at, fill
from tests.core.test_gate import circumstances
from tests.core.world import Calm, Target, World, trading

LIMITS = LimitsConfig(
    max_orders_per_minute=6,
    max_orders_per_decision=2,
    max_repeated_orders=3,
    repeated_within_s=120.0,
)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([*["buy"] * 4, *["sell"] * 2, "reduce", "decide", "restart"]),
        st.booleans(),
        st.integers(0, 25),
    ),
    min_size=20,
    max_size=80,
)


class Bot:
    """Sends whatever passes the gate; what is filled is kept, and a restart has nothing else."""

    def __init__(self, limits: LimitsConfig = LIMITS) -> None:
        self.limits = limits
        self.counts = OrderCounts(limits)
        self.kept: list[Kept] = []
        self.now = at(0)
        self.decision = 1
        self.sent: list[tuple[At, int, bool]] = []
        # The orders in a row that added and were filled, as the test counts them.
        self.row: list[tuple[At, Side]] = []

    def wait(self, seconds: float) -> None:
        ns = round(seconds * SECOND_NS)
        self.now = At(self.now.now_ns + ns, self.now.wall_ns + ns)

    def restart(self) -> None:
        """The clock that counts begins anew with a machine, and decisions with a process."""
        self.now = At(5 * SECOND_NS, self.now.wall_ns)
        self.counts = OrderCounts(self.limits)
        self.counts.restore(self.now, self.kept)
        self.decision = 1
        self.sent = [(moment, 0, reduces) for moment, _, reduces in self.sent]

    def order(self, side: Side, *, reduces: bool, filled: bool) -> Denial | None:
        order = asked(side, name=f"chp-test-1-{len(self.sent) + 1}", reduce_only=reduces)
        seen = circumstances(
            qty=-side.sign * 1000 if reduces else 0,
            counts=self.counts.counts(self.now, self.decision, 0, right_account=True),
        )
        verdict = examine(order, seen)
        if not isinstance(verdict, Approved):
            return verdict
        self.keep(Intent(self.now.wall_ns, order, self.decision))
        self.sent.append((self.now, self.decision, reduces))
        if filled:
            one = fill(f"e{len(self.sent)}", side, name=order.cl_ord_id)
            self.keep(msgspec.structs.replace(one, venue_ns=self.now.wall_ns))
            if reduces:
                self.row = []
            else:
                self.row = [entry for entry in self.row if entry[1] is side]
                self.row.append((self.now, side))
        return None

    def keep(self, record: Kept) -> None:
        self.kept.append(record)
        self.counts.note(self.now, record)

    def age_s(self, moment: At) -> float:
        return (self.now.wall_ns - moment.wall_ns) / SECOND_NS


@settings(max_examples=200)
@given(ACTIONS)
def test_no_sequence_of_orders_and_restarts_exceeds_a_limit(
    actions: Sequence[tuple[str, bool, int]],
) -> None:
    bot = Bot()
    for what, filled, seconds in actions:
        bot.wait(seconds)
        if what == "restart":
            bot.restart()
        elif what == "decide":
            bot.decision += 1
        else:
            side = Side.SELL if what == "sell" else Side.BUY
            before = len(bot.sent)
            denied = bot.order(side, reduces=what == "reduce", filled=filled)
            if what == "reduce":
                assert denied is None, "reducing risk waits for none of these"
            minute = [one for one in bot.sent[:before] if bot.age_s(one[0]) < 60]
            of_it = [one for one in bot.sent[:before] if one[1] == bot.decision]
            in_row = [one for one in bot.row if bot.age_s(one[0]) < 120]
            if denied is None and what != "reduce":
                assert len(minute) < 6
                assert len(of_it) < 2
                assert len(in_row) <= 3
            elif denied is not None:
                full = len(minute) >= 6 or len(of_it) >= 2 or len(in_row) >= 3
                assert full, f"{denied} without a reason"


def filled_in_a_row(bot: Bot, count: int) -> None:
    for _ in range(count):
        bot.decision += 1
        assert bot.order(Side.BUY, reduces=False, filled=True) is None
    bot.decision += 1


def test_a_restart_forgets_no_order_in_a_row() -> None:
    bot = Bot()
    filled_in_a_row(bot, 3)
    bot.restart()
    assert bot.order(Side.BUY, reduces=False, filled=True) is Denial.REPEATED
    assert bot.order(Side.SELL, reduces=False, filled=True) is None


def test_a_halt_that_a_human_ended_begins_the_row_anew() -> None:
    bot = Bot()
    filled_in_a_row(bot, 3)
    bot.keep(Stopped(bot.now.wall_ns, "halted", "limits"))
    bot.restart()
    assert bot.order(Side.BUY, reduces=False, filled=True) is None


def test_any_other_stop_does_not() -> None:
    bot = Bot()
    filled_in_a_row(bot, 3)
    bot.keep(Stopped(bot.now.wall_ns, "operator", ""))
    bot.restart()
    assert bot.order(Side.BUY, reduces=False, filled=True) is Denial.REPEATED


@pytest.mark.parametrize("parts", [1, 7])
def test_an_order_that_is_filled_in_parts_counts_once(parts: int) -> None:
    bot = Bot()
    filled_in_a_row(bot, 2)
    (name,) = {one.cl_ord_id for one in bot.kept[-1:] if isinstance(one, Fill)}
    for part in range(parts):
        bot.keep(fill(f"part{part}", Side.BUY, name=name))
    assert bot.order(Side.BUY, reduces=False, filled=True) is None


def test_an_order_of_which_nothing_was_filled_counts_in_no_row() -> None:
    bot = Bot(LimitsConfig(max_repeated_orders=3))
    for _ in range(20):
        assert bot.order(Side.BUY, reduces=False, filled=False) is None


def test_the_minute_of_an_earlier_run_goes_on() -> None:
    bot = Bot(LimitsConfig(max_orders_per_minute=2))
    for _ in range(2):
        assert bot.order(Side.BUY, reduces=False, filled=False) is None
    bot.wait(30)
    bot.restart()
    bot.wait(29.9)
    assert bot.order(Side.BUY, reduces=False, filled=False) is Denial.ORDERS_PER_MINUTE
    bot.wait(0.1)
    assert bot.order(Side.BUY, reduces=False, filled=False) is None


# --- in a world


def test_an_order_too_many_of_one_side_halts_until_resumed() -> None:
    policy = Target(1000)
    world = World(
        trading(limits={"max_repeated_orders": 3, "repeated_within_s": 600.0}),
        policy=policy,
        market=Calm(),
    )
    stop = world.run_to_stop(30)
    assert (stop.reason, stop.known) == ("halted", True)
    assert len(world.sent("POST", "/order")) == 3
    assert any(isinstance(one, SetLatch) for _, one in world.bot.done)
    kept = world.bot.kept
    world.start(2, kept)
    world.run(30)
    assert len(world.sent("POST", "/order")) == 6, "resumed, and three more"


def test_a_crash_in_a_row_of_orders_forgets_none() -> None:
    limits = {"max_repeated_orders": 3, "repeated_within_s": 600.0}
    world = World(trading(limits=limits), policy=Target(1000), market=Calm())
    assert world.run(30, lambda: len(world.sent("POST", "/order")) == 2)
    world.run(0.3)
    world.bot.die()
    world.start(2, world.bot.kept)
    world.run(30)
    assert len(world.sent("POST", "/order")) == 3


def test_the_account_of_the_configuration_is_traded_on() -> None:
    number = 1
    world = World(trading(limits={"account": number}), policy=Target(100), market=Calm())
    world.run(10)
    assert len(world.sent("POST", "/order")) == 1


def test_another_account_than_the_configured_one_is_refused() -> None:
    world = World(trading(limits={"account": 77}), policy=Target(100), market=Calm())
    stop = world.run_to_stop(10)
    assert stop.reason == "venue_refused"
    assert "limits.account is 77" in stop.detail
    assert world.sent("POST", "/order") == []


def test_so_many_orders_in_a_minute_and_then_the_next() -> None:
    world = World(trading(limits={"max_orders_per_minute": 2}), policy=Target(1000), market=Calm())
    world.run(30)
    assert len(world.sent("POST", "/order")) == 2
    assert world.bot.said("order_denied", why=Denial.ORDERS_PER_MINUTE.value)
    world.run(45)
    assert len(world.sent("POST", "/order")) == 4


def test_an_order_worth_too_much_is_never_sent() -> None:
    limits: dict[str, object] = {"max_order_value": 166_000}
    world = World(trading(limits=limits), policy=Target(100), market=Calm())
    world.run(10)
    assert world.sent("POST", "/order") == []
    assert world.bot.said("order_denied", why=Denial.ORDER_VALUE.value)
