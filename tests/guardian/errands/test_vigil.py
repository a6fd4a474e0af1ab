import msgspec
import pytest

from chappie.guardian.errands.sweep import Left
from chappie.guardian.errands.vigil import LOOK_NS, Look, Vigil
from chappie.model.config import BotConfig, Config
from chappie.model.units import SECOND_NS, At

ZERO = Left(True, 0, 0, 0, 0, 0, "")
NOT_PROVEN = Left(False, None, 0, None, None, 0, "no answer")
# expires_after_s 2, a whole second, and max_skew_s 1.
FENCE_S = 4.0


def at(seconds: float) -> At:
    ns = round(seconds * SECOND_NS)
    return At(ns, ns)


def vigil(*, allow_trade: bool = True) -> Vigil:
    watched = Vigil(Config(bot=BotConfig(allow_trade=allow_trade)), at(0))
    watched.started()
    watched.ended(at(100), verified=False)
    return watched


def look(watched: Vigil, seconds: float, left: Left, *, stays_down: bool = False) -> bool:
    due = watched.next(stays_down)
    assert due is not None
    assert due.due_ns <= at(seconds).now_ns, "nobody looks sooner than due"
    found = left
    if left.verified and due.disarm:
        found = msgspec.structs.replace(left, disarmed=True)
    return watched.looked(at(seconds), at(seconds), due, found, stays_down)


def test_it_looks_at_once_and_again_when_nothing_can_arrive_any_more() -> None:
    watched = vigil()
    assert watched.next(stays_down=False) == Look(0, False)
    assert look(watched, 100, ZERO) is False
    assert watched.next(stays_down=False) == Look(at(100 + FENCE_S).now_ns, False)
    assert look(watched, 100 + FENCE_S, ZERO) is True
    assert watched.next(stays_down=False) is None


def test_a_look_that_began_before_the_fence_proves_nothing_for_good() -> None:
    watched = vigil()
    due = watched.next(stays_down=False)
    assert due is not None
    assert not watched.looked(at(103.9), at(105), due, ZERO, stays_down=False)
    assert not watched.are_none


def test_what_is_not_proven_is_looked_at_again_ever_more_rarely_and_for_ever() -> None:
    watched, seconds, pauses = vigil(), 100.0, []
    for _ in range(12):
        assert not look(watched, seconds, NOT_PROVEN)
        due = watched.next(stays_down=False)
        assert due is not None
        pauses.append(due.due_ns / SECOND_NS - seconds)
        seconds = due.due_ns / SECOND_NS
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses[-1] == 30.0


def test_who_stays_down_takes_the_switch_off_after_the_fence_and_never_before() -> None:
    watched = vigil()
    assert look(watched, 100, ZERO, stays_down=True) is False
    due = watched.next(stays_down=True)
    assert due == Look(at(100 + FENCE_S).now_ns, True)
    assert look(watched, 100 + FENCE_S, ZERO, stays_down=True) is True
    assert watched.are_none


def test_a_switch_that_is_not_proven_off_is_asked_for_until_it_has_fired_by_itself() -> None:
    watched = vigil()
    due = Look(0, True)
    assert watched.looked(at(105), at(106), due, ZERO, stays_down=True)
    assert not watched.are_none
    # timeout_s 60, and what may start it late.
    assert watched.looked(at(171), at(172), due, ZERO, stays_down=True)
    assert watched.are_none


@pytest.mark.parametrize("stays_down", [False, True])
def test_observe_only_asks_for_no_switch_and_holds_no_start_back(stays_down: bool) -> None:
    watched = vigil(allow_trade=False)
    assert watched.bound_ns(at(100)) == 0
    assert not look(watched, 100, ZERO, stays_down=stays_down)
    assert look(watched, 104, ZERO, stays_down=stays_down)
    assert watched.are_none
    # No trader of this kind can leave anything.
    watched.started()
    watched.ended(at(200), verified=False)
    assert watched.next(stays_down) is None


def test_a_start_is_held_back_for_the_fence_and_one_look_at_most() -> None:
    watched = vigil()
    assert watched.bound_ns(at(101)) == (FENCE_S - 1) * SECOND_NS + LOOK_NS
    assert watched.bound_ns(at(500)) == LOOK_NS


def test_a_trader_that_verified_its_own_end_leaves_nothing_to_look_for() -> None:
    watched = Vigil(Config(bot=BotConfig(allow_trade=True)), at(0))
    watched.started()
    watched.ended(at(100), verified=True)
    assert watched.next(stays_down=True) is None
    assert watched.bound_ns(at(100)) == 0
    watched.started()
    assert watched.next(stays_down=False) is not None


def test_a_look_before_a_start_that_does_not_come_is_done_again_after_the_fence() -> None:
    # It died, a start was about to come, and then a halt kept it from coming.
    watched = vigil()
    watched.looked_before_start(at(101), ZERO)
    due = watched.next(stays_down=True)
    assert due is not None
    assert watched.quiet_ns(at(101)) == (FENCE_S - 1) * SECOND_NS
    assert look(watched, 100, ZERO, stays_down=True) is False
    assert watched.next(stays_down=True) == Look(at(100 + FENCE_S).now_ns, True)
    watched.looked_before_start(at(100 + FENCE_S), ZERO)
    assert watched.next(stays_down=False) is None
    assert watched.quiet_ns(at(101)) == 0


def test_where_another_instance_goes_on_the_switch_is_left_to_it() -> None:
    watched = Vigil(Config(bot=BotConfig(allow_trade=True)), at(0))
    watched.started()
    watched.ended(at(100), verified=False, lives_on=True)
    assert look(watched, 100, ZERO, stays_down=True) is False
    assert watched.next(stays_down=True) == Look(at(100 + FENCE_S).now_ns, False)
    assert look(watched, 100 + FENCE_S, ZERO, stays_down=True) is True
    assert watched.are_none
