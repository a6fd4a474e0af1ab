"""How often people are told: the same alert once in a while, and never more than they can read.

Pure: time is an argument.
"""

import msgspec

from chappie.guardian.alerts.happenings import Alert, Severity

PER_HOUR = 20
"""At most so many alerts in any hour, and as many critical ones besides."""
_HOUR_S = 3_600.0
_NAMED_MAX = 5


class _Bucket:
    """Half of the hourly number at once and the other half evenly: never more in any hour."""

    def __init__(self) -> None:
        self._most = PER_HOUR / 2
        self._tokens = self._most
        self._at_s: float | None = None

    def take(self, now_s: float) -> bool:
        if self._at_s is not None:
            gained = max(0.0, now_s - self._at_s) * self._most / _HOUR_S
            self._tokens = min(self._most, self._tokens + gained)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Told(msgspec.Struct, frozen=True):
    """When a key was last told, and how often it came since."""

    alert: Alert
    at_s: float
    again: int = 0


class Flow:
    """Hand every alert to `admit` and call `due` now and then; tell what they return."""

    def __init__(self, repeat_after_s: float) -> None:
        self._repeat_after_s = repeat_after_s
        self._told: dict[str, _Told] = {}
        self._ordinary = _Bucket()
        # Kept for the critical ones, which no number of small matters may silence.
        self._reserve = _Bucket()
        self._held: list[str] = []
        self._held_count = 0

    def admit(self, alert: Alert, now_s: float) -> list[Alert]:
        """The alert, unless its like was told a short while ago or too many were."""
        for key in alert.forgets:
            self._told.pop(key, None)
        if not alert.key:
            return self._passed(alert, now_s)
        before = self._told.get(alert.key)
        if before is not None and now_s - before.at_s < self._repeat_after_s:
            self._told[alert.key] = msgspec.structs.replace(
                before, alert=alert, again=before.again + 1
            )
            return []
        self._told[alert.key] = _Told(alert, now_s)
        again = before.again if before is not None else 0
        return self._passed(_repeated(alert, again), now_s)

    def due(self, now_s: float) -> list[Alert]:
        """What was counted or held back and may be told now."""
        found: list[Alert] = []
        for key, told in list(self._told.items()):
            if now_s - told.at_s < self._repeat_after_s:
                continue
            if told.again:
                self._told[key] = _Told(told.alert, now_s)
                found += self._passed(_repeated(told.alert, told.again), now_s)
            else:
                del self._told[key]
        if self._held and self._ordinary.take(now_s):
            found.append(self._summary())
            self._held, self._held_count = [], 0
        return found

    def _passed(self, alert: Alert, now_s: float) -> list[Alert]:
        critical = alert.severity is Severity.CRITICAL
        if (critical and self._reserve.take(now_s)) or self._ordinary.take(now_s):
            return [alert]
        self._held = [*self._held, alert.title][-_NAMED_MAX:]
        self._held_count += 1
        return []

    def _summary(self) -> Alert:
        count = self._held_count
        named = "\n".join(f"- {title}" for title in self._held)
        return Alert(
            "held_back",
            Severity.WARNING,
            f"chappie: {count} alert{'s' if count > 1 else ''} held back",
            f"More than {PER_HOUR} in an hour are not sent. The last of those held back:\n{named}\n"
            "Next step: look at `chappie status` and guardian.log.",
        )


def _repeated(alert: Alert, again: int) -> Alert:
    if not again:
        return alert
    times = "once" if again == 1 else f"{again} times"
    return msgspec.structs.replace(
        alert, body=f"(This came {times} more since it was last told.)\n" + alert.body
    )
