import pytest

from chappie.guardian import alerting as alerting_module
from chappie.guardian.alerting import Alerts
from chappie.guardian.alerts import Alert, Halted, TraderStalled
from chappie.guardian.herald import Herald
from chappie.guardian.shown import Setting, Shown, TraderState, merge
from chappie.model.config import AlertsConfig, Config
from tests.guardian.states import healthy

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee")


class Ears(Herald):
    """A herald that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__((), lambda *_, **__: None)
        self.heard: list[Alert] = []

    def __bool__(self) -> bool:
        return True

    def tell(self, alert: Alert) -> None:
        self.heard.append(alert)

    def mute(self) -> tuple[str, ...]:
        return ("channel 2 (tgram://)",)


class Rig:
    def __init__(self, config: AlertsConfig) -> None:
        self.now_s = 1_000.0
        self.ears = Ears()
        self.logged: list[str] = []
        self.alerts = Alerts(Config(alerts=config), self.ears, self._log, lambda: self.now_s)

    def _log(self, level: str, event: str, **fields: object) -> None:
        self.logged.append(event)

    def titles(self) -> list[str]:
        return [alert.title.partition(": ")[2] for alert in self.ears.heard]


def picture() -> Shown:
    return merge(SETTING, healthy(), 0.0, True, TraderState(pid=1))


def test_a_sign_of_life_comes_each_period_and_names_the_channels_that_are_mute() -> None:
    rig = Rig(AlertsConfig(alive_every_s=100.0))
    for _ in range(1_000):
        rig.now_s += 0.25
        rig.alerts.look(picture())
    assert rig.titles() == ["alive, observing", "alive, observing"]
    assert "channel 2 (tgram://)" in rig.ears.heard[0].body


def test_with_zero_there_is_no_sign_of_life() -> None:
    rig = Rig(AlertsConfig(alive_every_s=0.0))
    rig.now_s += 10 * 86_400.0
    rig.alerts.look(picture())
    assert rig.titles() == []


def test_the_same_again_is_counted_and_told_when_its_time_is_over() -> None:
    rig = Rig(AlertsConfig(alive_every_s=0.0, repeat_after_s=100.0))
    for _ in range(3):
        rig.alerts.happened(TraderStalled(5.0), picture())
    assert len(rig.ears.heard) == 1
    rig.now_s += 100.0
    rig.alerts.look(picture())
    assert "2 times more" in rig.ears.heard[1].body


def test_a_bug_in_an_alert_is_logged_once_and_costs_the_guardian_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(AlertsConfig())

    def broken(*_: object) -> Alert:
        raise ZeroDivisionError

    monkeypatch.setattr(alerting_module, "alert", broken)
    rig.alerts.happened(Halted("x"), picture())
    rig.alerts.happened(Halted("x"), picture())
    rig.alerts.look(picture())
    assert rig.logged == ["alerts_failed"]


def test_without_channels_nothing_is_done() -> None:
    alerts = Alerts(Config(), Herald((), lambda *_, **__: None), lambda *_, **__: None)
    alerts.start()
    alerts.happened(Halted("x"), picture())
    alerts.look(picture())
    alerts.close(0.0)
