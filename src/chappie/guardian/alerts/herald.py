"""The herald: carries alerts to their channels, each in a thread of its own.

A receiver that never answers, refuses or is slow delays nothing but its own later alerts. Nothing
here is written to a disk, and nothing on the guardian's loop ever waits for it but `close`, which
says for how long.
"""

import threading
from collections.abc import Callable, Sequence

import msgspec

from chappie.guardian.alerts.channel import Channel
from chappie.guardian.alerts.happenings import Alert, Severity
from chappie.guardian.clock import now_s

_WAITING_MAX = 50
_TRIES_MAX = 60
"""With these pauses nearly an hour: who is offline for long is told of it by silence."""
_PAUSE_S = 1.0
_PAUSE_MAX_S = 60.0
_SEND_WITHIN_S = 30.0
_STUCK_MAX = 3
_RANK = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}

Event = Callable[..., None]
"""Logs: `event(level, name, **fields)`. Never blocks."""


class _Waiting(msgspec.Struct):
    alert: Alert
    number: int
    tries: int = 0


class Herald:
    """Start it once; `tell` from any thread."""

    def __init__(self, channels: Sequence[Channel], event: Event) -> None:
        self._tellers = [_Teller(channel, event) for channel in channels]

    def __bool__(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._tellers)

    def start(self) -> None:
        for teller in self._tellers:
            teller.start()

    def tell(self, alert: Alert) -> None:
        """Queue it for every channel. Never waits."""
        for teller in self._tellers:
            teller.tell(alert)

    def mute(self) -> tuple[str, ...]:
        """The channels whose last attempt failed."""
        return tuple(teller.label for teller in self._tellers if teller.is_mute)

    def close(self, within_s: float) -> None:
        """Try what is left once more, for at most so long; what then still hangs is left behind."""
        until_s = now_s() + within_s
        for teller in self._tellers:
            teller.close()
        for teller in self._tellers:
            teller.join(max(0.0, until_s - now_s()))


class _Teller:
    """One channel, its queue and its thread."""

    def __init__(self, channel: Channel, event: Event) -> None:
        self.label = channel.label
        self.is_mute = False
        self._channel = channel
        self._event = event
        self._waiting: list[_Waiting] = []
        self._number = 0
        self._dropped = 0
        self._stuck: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="herald", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, alert: Alert) -> None:
        with self._changed:
            self._number += 1
            self._waiting.append(_Waiting(alert, self._number))
            if len(self._waiting) > _WAITING_MAX:
                # The least serious goes first, and of those the oldest.
                least = max(self._waiting, key=lambda one: (_RANK[one.alert.severity], -one.number))
                self._waiting.remove(least)
                self._dropped += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            for one in self._waiting:
                one.tries = 0
            self._changed.notify_all()

    def join(self, within_s: float) -> None:
        self._thread.join(within_s)

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._changed:
                if pause_s and not self._closing:
                    self._changed.wait_for(lambda: self._closing, pause_s)
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                # What was refused before waits behind what was not: one message that a service
                # cannot digest must not hold up the others.
                one = min(
                    self._waiting,
                    key=lambda one: (one.tries, _RANK[one.alert.severity], one.number),
                )
                self._waiting.remove(one)
                dropped, self._dropped = self._dropped, 0
            why = self._send(one.alert)
            pause_s = self._after(one, why, dropped, pause_s)

    def _after(self, one: _Waiting, why: str | None, dropped: int, pause_s: float) -> float:
        """Log it, put it back if it may be tried again, and say how long to pause."""
        if dropped:
            self._event("warning", "alerts_dropped", channel=self.label, count=dropped)
        key, self.is_mute = one.alert.key, why is not None
        if why is None:
            self._event("info", "alert_delivered", channel=self.label, key=key)
            return 0.0
        one.tries += 1
        if one.tries >= _TRIES_MAX or self._closing:
            self._event("error", "alert_given_up", channel=self.label, key=key, detail=why)
        else:
            # Every further failure of the same alert would only repeat the line.
            if one.tries == 1:
                self._event("warning", "alert_failed", channel=self.label, key=key, detail=why)
            with self._changed:
                self._waiting.append(one)
        return min(_PAUSE_MAX_S, max(_PAUSE_S, 2 * pause_s))

    def _send(self, alert: Alert) -> str | None:
        """Within a bounded time. A receiver that answers a byte a minute satisfies every timeout
        of a socket, so the attempt has a thread that can be left behind; so many of those, and
        the channel is not tried again before one of them ends.
        """
        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if len(self._stuck) >= _STUCK_MAX:
            return "earlier attempts still hang"
        outcome: list[str | None] = []
        thread = threading.Thread(
            target=lambda: outcome.append(self._channel.send(alert)), name="alert", daemon=True
        )
        thread.start()
        thread.join(_SEND_WITHIN_S)
        if outcome:
            return outcome[0]
        self._stuck.append(thread)
        return f"no answer within {_SEND_WITHIN_S:g} s"
