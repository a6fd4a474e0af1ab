import ast

import msgspec
import pytest

from chappie.guardian.alerts import alerting as alerting_module
from chappie.guardian.alerts.alerting import Alerts
from chappie.guardian.alerts.happenings import HEARD, Alert, Halted, TraderStalled
from chappie.guardian.alerts.herald import Herald
from chappie.guardian.shown import Setting, Shown, TraderState, merge
from chappie.live.state_dir import LastStop
from chappie.model.config import AlertsConfig, Config
from tests.conftest import ROOT
from tests.guardian.states import healthy, order

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


STOPPED = {"pid": 1, "reason": "killed", "code": 22, "detail": "by SIGKILL", "known": False}


def test_what_the_guardian_logs_is_what_people_are_told() -> None:
    rig = Rig(AlertsConfig())
    rig.alerts.heard("trader_stopped", STOPPED, picture)
    rig.alerts.heard("run_file_not_written", {"detail": "No space left on device"}, picture)
    rig.alerts.heard("trader_started", {"pid": 2, "restarts": 1}, picture)
    assert rig.titles() == ["trader stopped: killed", "disk full or unwritable"]
    assert rig.logged == []


def test_the_account_of_a_stop_is_that_of_its_last_stop_and_not_of_the_last_beat() -> None:
    rig = Rig(AlertsConfig())
    stop = LastStop("feed_stale", 10, "silent", "2026-01-01T00:00:02Z", [], 0, known=True)
    state = msgspec.structs.replace(healthy(), orders=[order(1)])
    still_running = merge(SETTING, state, 0.0, True, TraderState(pid=1, last_stop=stop))
    fields = {"reason": "feed_stale", "code": 10, "detail": "silent", "known": True}
    rig.alerts.heard("trader_stopped", fields, lambda: still_running)
    assert "Working orders: none." in rig.ears.heard[0].body
    assert "read at the venue at the stop" in rig.ears.heard[0].body


@pytest.mark.parametrize("reason", ["operator", "killed"])
def test_an_end_by_our_own_hand_is_told_with_the_guardian_s(reason: str) -> None:
    rig = Rig(AlertsConfig())
    rig.alerts.heard("ending", {"why": "signal SIGTERM"}, picture)
    rig.alerts.heard("trader_stopped", {**STOPPED, "reason": reason}, picture)
    assert rig.titles() == []
    rig.alerts.heard("trader_stopped", {**STOPPED, "reason": "position_mismatch"}, picture)
    assert rig.titles() == ["trader stopped: position_mismatch"]


def logged() -> dict[str, list[str]]:
    """Every event that the guardian logs with a level, and the fields that it gives by name."""
    found: dict[str, list[str]] = {}
    for module in (ROOT / "src/chappie/guardian").glob("*.py"):
        for call in ast.walk(ast.parse(module.read_text())):
            if not isinstance(call, ast.Call) or len(call.args) != 2:
                continue
            name = call.args[1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                fields = [word.arg or "**" for word in call.keywords]
                found.setdefault(name.value, []).extend(fields)
    return found


def test_every_event_that_is_heard_is_logged_with_the_fields_that_its_words_need() -> None:
    there = logged()
    assert set(HEARD) <= set(there)
    for event, kind in HEARD.items():
        given = there.get(event, ["**"])
        needed = [field.name for field in msgspec.structs.fields(kind) if field.required]
        lacking = [name for name in needed if name not in given]
        assert not lacking or "**" in given, f"{event} is logged without {lacking}"


def test_without_channels_nothing_is_done() -> None:
    alerts = Alerts(Config(), Herald((), lambda *_, **__: None), lambda *_, **__: None)
    alerts.start()
    alerts.happened(Halted("x"), picture())
    alerts.look(picture())
    alerts.close(0.0)
