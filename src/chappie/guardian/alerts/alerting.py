"""The guardian's alerts: happenings in, alerts out, without ever making the guardian wait."""

import threading
from collections.abc import Callable, Mapping

import msgspec

from chappie.guardian.alerts.flow import Flow
from chappie.guardian.alerts.happenings import HEARD, About, Alert, Alive, Happening, TraderStopped
from chappie.guardian.alerts.herald import Event, Herald
from chappie.guardian.alerts.noticed import Seen, noticed
from chappie.guardian.alerts.words import alert
from chappie.guardian.clock import iso_now, now_s
from chappie.guardian.shown import Shown, ended
from chappie.model.config import Config
from chappie.model.faults import StopReason

_ENDING = "ending"
"""The guardian's log event when it begins to end."""
_BY_OUR_HAND = (StopReason.OPERATOR.word, StopReason.KILLED.word)


class Alerts:
    """Let it hear what is logged, show it every picture with `look`, and tell it anything else
    with `happened`.

    With nobody to tell it does nothing, and a bug of its own is logged and costs an alert, never
    the guard.
    """

    def __init__(
        self, config: Config, herald: Herald, event: Event, clock: Callable[[], float] = now_s
    ) -> None:
        self._config = config
        self._herald = herald
        self._event = event
        self._clock = clock
        self._flow = Flow(config.alerts.repeat_after_s)
        self._seen = Seen()
        self._alive_s = clock()
        self._failed = False
        self._ending = False
        # Some of what is logged is logged by a thread; what is done here never waits for anything.
        self._alone = threading.Lock()

    def start(self) -> None:
        self._herald.start()

    def heard(self, event: str, fields: Mapping[str, object], look: Callable[[], Shown]) -> None:
        """A log event of the guardian; most are no news to people."""
        if event == _ENDING:
            self._ending = True
        kind = HEARD.get(event)
        if kind is not None:
            self._guarded(lambda: self._heard(kind, fields, look()))

    def happened(self, what: Happening, shown: Shown) -> None:
        """Alert people of it, in the words of this moment; never waits."""
        self._guarded(lambda: self._happened(what, shown))

    def look(self, shown: Shown) -> None:
        """Find out what is new in the picture; called a few times a second."""
        self._guarded(lambda: self._look(shown))

    def close(self, within_s: float) -> None:
        """Give what is left a last chance, for at most so long."""
        if self._herald:
            self._herald.close(within_s)

    def _guarded(self, act: Callable[[], None]) -> None:
        if not self._herald:
            return
        try:
            with self._alone:
                act()
        # An edge of its own: whatever is wrong with an alert, the trader is watched.
        except Exception as error:  # noqa: BLE001
            if not self._failed:
                self._event("error", "alerts_failed", detail=repr(error))
            self._failed = True

    def _heard(self, kind: type[Happening], fields: Mapping[str, object], shown: Shown) -> None:
        what = msgspec.convert(fields, kind)
        if isinstance(what, TraderStopped):
            if self._ending and what.reason in _BY_OUR_HAND:
                # It is part of the guardian's own end, of which people are told once.
                return
            # Whoever logs it may not have taken the dead one out of the picture yet.
            shown = ended(shown)
        self._happened(what, shown)

    def _happened(self, what: Happening, shown: Shown) -> None:
        bot, venue = self._config.bot, self._config.venue
        made = alert(what, About(bot.id, venue.symbol, venue.kind, iso_now(), shown))
        if made is not None:
            self._tell(self._flow.admit(made, self._clock()))

    def _look(self, shown: Shown) -> None:
        self._seen, found = noticed(self._seen, shown)
        for what in found:
            self._happened(what, shown)
        at_s = self._clock()
        self._tell(self._flow.due(at_s))
        every_s = self._config.alerts.alive_every_s
        if every_s and at_s - self._alive_s >= every_s:
            self._alive_s = at_s
            self._happened(Alive(self._herald.mute()), shown)

    def _tell(self, alerts: list[Alert]) -> None:
        for one in alerts:
            self._herald.tell(one)
