import msgspec
import pytest

from chappie.guardian.alerts.happenings import (
    FaultActive,
    ForeignOrders,
    Halted,
    Happening,
    RenewalMissed,
    RunsAgain,
)
from chappie.guardian.alerts.noticed import LASTS_S, Seen, noticed
from chappie.guardian.shown import Setting, Shown, TraderState, merge
from chappie.live.state_dir import LastStop
from chappie.model.state import DeadManState, FaultState, ForeignOrder, Mode, State
from tests.guardian.states import healthy

SETTING = Setting(True, "cycle", "simulated", "XBTUSD", "c0ffee")
STOP = LastStop("killed", 22, "killed by SIGKILL", "2026-01-01T00:00:02Z", [], 0, False)


def picture(running: bool = True, stop: LastStop | None = None, **changed: object) -> Shown:
    state: State = msgspec.structs.replace(healthy(), **changed)
    return merge(SETTING, state, 0.0, running, TraderState(pid=1, last_stop=stop))


def fault(word: str, since_s: float, subject: str = "") -> FaultState:
    return FaultState(word, subject, since_s, "why", "what clears it")


def foreign(*names: str) -> list[ForeignOrder]:
    return [ForeignOrder(name, "") for name in names]


def told(*pictures: Shown) -> list[list[Happening]]:
    """What each picture in a row brings."""
    seen = Seen()
    found = []
    for shown in pictures:
        seen, news = noticed(seen, shown)
        found.append(news)
    return found


def test_a_healthy_trader_is_no_news() -> None:
    assert told(picture(), picture()) == [[], []]


def test_a_halt_is_news_once_and_again_after_it_was_lifted() -> None:
    halted = picture(mode=Mode.HALTED, faults=[fault("halt_latched", 0.0)])
    assert told(halted, halted, picture(), halted) == [[Halted("why")], [], [], [Halted("why")]]


def test_a_foreign_order_is_news_by_its_name() -> None:
    one, two = picture(foreign_orders=foreign("a")), picture(foreign_orders=foreign("a", "b"))
    news = told(one, one, two, one, picture())
    assert news == [[ForeignOrders(("a",))], [], [ForeignOrders(("a", "b"))], [], []]


def test_a_missed_renewal_is_news_until_it_is_made_up_for() -> None:
    missed = picture(dead_man=DeadManState("2026-01-01T00:01:00Z", "2026-01-01T00:00:20Z"))
    since = RenewalMissed("2026-01-01T00:00:20Z")
    assert told(missed, missed, picture(), missed) == [[since], [], [], [since]]


@pytest.mark.parametrize("word", ["position_disagrees", "liquidated"])
def test_what_never_should_be_is_news_at_once(word: str) -> None:
    (news,) = told(picture(faults=[fault(word, 0.0)]))
    assert [type(what) for what in news] == [FaultActive]


def test_another_fault_is_news_when_it_lasts_and_its_subjects_are_one_alert() -> None:
    young = picture(faults=[fault("stream_unsynced", LASTS_S - 1, "quote")])
    old = picture(
        faults=[fault("stream_unsynced", LASTS_S, name) for name in ("quote", "orderBook")]
    )
    counts = [len(news) for news in told(young, old, old, picture(), old)]
    assert counts == [0, 1, 0, 0, 1]


def test_faults_that_have_an_alert_of_their_own_are_not_told_twice() -> None:
    lasting = [fault("halt_latched", 999.0), fault("operator_stop", 999.0)]
    assert told(picture(faults=lasting)) == [[]]


def test_it_runs_again_after_a_stop_only_once_it_is_reconciled() -> None:
    down = picture(running=False, stop=STOP)
    starting = picture(mode=Mode.STARTING, stop=STOP)
    ready = picture(stop=STOP)
    assert told(ready, down, starting, ready, ready) == [[], [], [], [RunsAgain()], []]


def test_the_last_words_of_the_dead_are_no_news() -> None:
    down = picture(
        running=False, stop=STOP, foreign_orders=foreign("a"), faults=[fault("liquidated", 9.0)]
    )
    assert told(down) == [[]]
