from hypothesis import given
from hypothesis import strategies as st

from chappie.guardian.alerts.flow import PER_HOUR, Flow
from chappie.guardian.alerts.happenings import Alert, Severity

REPEAT_S = 3_600.0
HOUR_S = 3_600.0
SEVERITIES = st.sampled_from(Severity)
# (seconds since the one before, key, severity)
STEPS = st.lists(
    st.tuples(st.floats(0.0, 2_000.0), st.integers(0, 60), SEVERITIES), min_size=1, max_size=150
)


def an_alert(key: str, severity: Severity = Severity.WARNING, *forgets: str) -> Alert:
    return Alert(key, severity, f"title of {key}", "body", forgets)


def test_the_same_alert_is_told_once_and_then_counted_into_the_next() -> None:
    flow = Flow(REPEAT_S)
    assert flow.admit(an_alert("a"), 0.0) == [an_alert("a")]
    assert flow.admit(an_alert("a"), 1.0) == []
    assert flow.admit(an_alert("a"), REPEAT_S - 1.0) == []
    assert flow.due(REPEAT_S - 0.5) == []
    (later,) = flow.admit(an_alert("a"), REPEAT_S)
    assert "2 times more" in later.body


def test_what_was_only_counted_is_told_when_its_time_is_over() -> None:
    flow = Flow(REPEAT_S)
    flow.admit(an_alert("a"), 0.0)
    flow.admit(an_alert("a"), 10.0)
    (later,) = flow.due(REPEAT_S)
    assert "once more" in later.body
    assert flow.due(2 * REPEAT_S) == []


def test_another_alert_is_no_repetition() -> None:
    flow = Flow(REPEAT_S)
    assert flow.admit(an_alert("a"), 0.0) != []
    assert flow.admit(an_alert("b"), 0.0) != []


def test_a_halt_after_a_resume_is_news() -> None:
    flow = Flow(REPEAT_S)
    for at_s in (0.0, 10.0, 20.0):
        assert flow.admit(an_alert("halted", Severity.CRITICAL, "resumed"), at_s) != []
        assert flow.admit(an_alert("resumed", Severity.WARNING, "halted"), at_s + 5.0) != []


def test_a_sign_of_life_is_never_taken_for_a_repetition() -> None:
    flow = Flow(REPEAT_S)
    assert flow.admit(an_alert("", Severity.INFO), 0.0) != []
    assert flow.admit(an_alert("", Severity.INFO), 1.0) != []


def test_a_flood_of_small_matters_leaves_room_for_the_critical_and_is_summed_up() -> None:
    flow = Flow(REPEAT_S)
    told = [found for n in range(100) for found in flow.admit(an_alert(f"small {n}"), 0.0)]
    assert len(told) == PER_HOUR // 2
    assert flow.admit(an_alert("dire", Severity.CRITICAL), 0.0) != []
    assert flow.due(1.0) == []
    (summary,) = flow.due(HOUR_S / 2)
    assert "90 alerts held back" in summary.title
    assert "title of small 99" in summary.body
    assert flow.due(HOUR_S) == []


@given(STEPS)
def test_nobody_gets_more_than_the_hourly_number_and_critical_ones_as_many_besides(
    steps: list[tuple[float, int, Severity]],
) -> None:
    flow = Flow(100.0)
    now_s = 0.0
    told: list[tuple[float, Severity]] = []
    for wait_s, key, severity in steps:
        now_s += wait_s
        found = flow.admit(an_alert(f"{severity.name} {key}", severity), now_s) + flow.due(now_s)
        told += [(now_s, alert.severity) for alert in found]
    for since_s, _ in told:
        within = [severity for at_s, severity in told if since_s <= at_s < since_s + HOUR_S]
        assert len(within) <= 2 * PER_HOUR
        assert len([s for s in within if s is not Severity.CRITICAL]) <= PER_HOUR


@given(STEPS)
def test_the_same_key_is_never_told_twice_within_its_time(
    steps: list[tuple[float, int, Severity]],
) -> None:
    flow = Flow(REPEAT_S)
    now_s = 0.0
    last: dict[str, float] = {}
    for wait_s, key, severity in steps:
        now_s += wait_s
        for found in flow.admit(an_alert(str(key), severity), now_s) + flow.due(now_s):
            if found.key != "held_back":
                assert now_s - last.get(found.key, -REPEAT_S) >= REPEAT_S
                last[found.key] = now_s


@given(STEPS)
def test_nothing_is_lost_without_a_word(steps: list[tuple[float, int, Severity]]) -> None:
    """Every alert is told, counted in a later one, or counted among those held back."""
    flow = Flow(REPEAT_S)
    now_s, given_, told, counted, held = 0.0, 0, 0, 0, 0

    def read(found: list[Alert]) -> None:
        nonlocal told, counted, held
        for alert in found:
            if alert.key == "held_back":
                held += int(alert.title.split()[1])
                continue
            told += 1
            first = alert.body.splitlines()[0]
            if first.startswith("(This came"):
                times = first.split()[2]
                counted += 1 if times == "once" else int(times)

    for wait_s, key, severity in steps:
        now_s += wait_s
        given_ += 1
        read(flow.admit(an_alert(str(key), severity), now_s))
        read(flow.due(now_s))
    for _ in range(400):
        now_s += 1_000.0
        read(flow.due(now_s))
    # What is told only to say that it came again stands for itself and for what it counts.
    assert told + held >= 1
    assert told + counted + held >= given_
