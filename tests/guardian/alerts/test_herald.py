import threading
import time
from collections.abc import Callable

import pytest

from chappie.guardian.alerts import herald as herald_module
from chappie.guardian.alerts.happenings import Alert, Severity
from chappie.guardian.alerts.herald import Herald

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herald_module, "_PAUSE_S", 0.001)
    monkeypatch.setattr(herald_module, "_PAUSE_MAX_S", 0.002)


class Fake:
    """A channel that answers as its test says and remembers what it was given."""

    def __init__(
        self, answer: Callable[[Alert], str | None] = lambda _: None, label: str = "fake"
    ) -> None:
        self.label = label
        self.given: list[str] = []
        self._answer = answer
        self._changed = threading.Condition()

    def send(self, alert: Alert) -> str | None:
        with self._changed:
            self.given.append(alert.key)
            self._changed.notify_all()
        return self._answer(alert)

    def until(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.given) >= count, PATIENCE_S), self.given


class Log:
    """The outlet's side, with a way to wait for a line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []
        self._changed = threading.Condition()

    def event(self, level: str, event: str, **fields: object) -> None:
        with self._changed:
            self.lines.append((event, fields))
            self._changed.notify_all()

    def until(self, event: str) -> dict[str, object]:
        def found() -> list[dict[str, object]]:
            return [fields for name, fields in self.lines if name == event]

        with self._changed:
            assert self._changed.wait_for(lambda: found() != [], PATIENCE_S), self.lines
        return found()[0]

    def names(self) -> list[str]:
        return [name for name, _ in self.lines]


def an_alert(key: str, severity: Severity = Severity.INFO) -> Alert:
    return Alert(key, severity, key, key)


def started(log: Log, *channels: Fake) -> Herald:
    herald = Herald(channels, log.event)
    herald.start()
    return herald


def test_every_channel_gets_every_alert_in_order() -> None:
    log, one, two = Log(), Fake(), Fake()
    herald = started(log, one, two)
    for key in ("a", "b", "c"):
        herald.tell(an_alert(key))
    herald.close(PATIENCE_S)
    assert one.given == two.given == ["a", "b", "c"]


def test_one_that_never_answers_holds_up_neither_the_others_nor_the_caller() -> None:
    hold = threading.Event()
    silent, quick, log = Fake(lambda _: str(hold.wait())), Fake(), Log()
    herald = started(log, silent, quick)
    for number in range(200):
        herald.tell(an_alert(str(number)))
    quick.until(1)
    herald.tell(an_alert("last", Severity.CRITICAL))
    while "last" not in quick.given:
        quick.until(len(quick.given) + 1)
    silent.until(1)
    assert len(silent.given) == 1
    hold.set()


def test_when_too_many_wait_the_oldest_of_the_least_serious_are_dropped_and_counted() -> None:
    hold = threading.Event()
    slow, log = Fake(lambda _: None if hold.wait(PATIENCE_S) else "never"), Log()
    herald = started(log, slow)
    herald.tell(an_alert("first"))
    slow.until(1)
    herald.tell(an_alert("dire", Severity.CRITICAL))
    for number in range(60):
        herald.tell(an_alert(f"info {number}"))
    hold.set()
    assert log.until("alerts_dropped") == {"channel": "fake", "count": 11}
    slow.until(51)
    herald.close(PATIENCE_S)
    assert slow.given[:3] == ["first", "dire", "info 11"]


def test_a_failure_is_repeated_until_it_is_taken_and_logged_once() -> None:
    outcomes = ["refused", "refused", "refused", None]
    channel, log = Fake(lambda _: outcomes.pop(0)), Log()
    herald = started(log, channel)
    herald.tell(an_alert("a"))
    log.until("alert_delivered")
    assert channel.given == ["a"] * 4
    assert log.names() == ["alert_failed", "alert_delivered"]
    assert herald.mute() == ()


def test_it_is_given_up_after_a_bounded_number_of_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herald_module, "_TRIES_MAX", 3)
    channel, log = Fake(lambda _: "refused"), Log()
    herald = started(log, channel)
    herald.tell(an_alert("a"))
    assert log.until("alert_given_up")["detail"] == "refused"
    assert channel.given == ["a"] * 3
    assert herald.mute() == ("fake",)


def test_one_message_that_a_service_cannot_digest_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(herald_module, "_TRIES_MAX", 1_000_000)
    channel = Fake(lambda alert: "no" if alert.key == "poison" else None)
    log = Log()
    herald = started(log, channel)
    herald.tell(an_alert("poison", Severity.CRITICAL))
    channel.until(1)
    herald.tell(an_alert("good"))
    assert log.until("alert_delivered")["key"] == "good"


def test_an_attempt_that_hangs_is_left_behind_and_so_many_hold_the_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(herald_module, "_SEND_WITHIN_S", 0.01)
    monkeypatch.setattr(herald_module, "_TRIES_MAX", 8)
    hold = threading.Event()
    channel, log = Fake(lambda _: str(hold.wait())), Log()
    herald = started(log, channel)
    herald.tell(an_alert("a"))
    assert log.until("alert_given_up")["detail"] == "earlier attempts still hang"
    assert channel.given == ["a"] * 3
    hold.set()


def test_the_end_tries_once_more_and_waits_no_longer_than_it_was_told() -> None:
    hold = threading.Event()
    silent, log = Fake(lambda _: str(hold.wait())), Log()
    herald = started(log, silent)
    herald.tell(an_alert("a"))
    silent.until(1)
    began = time.monotonic()
    herald.close(0.05)
    assert time.monotonic() - began < PATIENCE_S
    hold.set()


def test_what_failed_before_gets_a_last_try_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herald_module, "_PAUSE_S", 60.0)
    monkeypatch.setattr(herald_module, "_PAUSE_MAX_S", 60.0)
    outcomes = ["refused", None]
    channel, log = Fake(lambda _: outcomes.pop(0)), Log()
    herald = started(log, channel)
    herald.tell(an_alert("a"))
    log.until("alert_failed")
    herald.close(PATIENCE_S)
    assert log.until("alert_delivered")["key"] == "a"


def test_with_nobody_to_tell_there_is_no_thread() -> None:
    before = threading.active_count()
    herald = started(Log())
    herald.tell(an_alert("a"))
    assert not herald
    assert threading.active_count() == before
    herald.close(PATIENCE_S)
