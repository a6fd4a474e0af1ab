"""The active probe of a silence: who still answers, so that the soft stop says what is silent
(control F7).

One ping and one read at half the silence that is allowed. It labels the cause, and postpones
nothing.
"""


class Probe:
    """What was asked in one silence, and what answered since."""

    def __init__(self) -> None:
        self._silent_since_ns: int | None = None
        self._asked_rest = False
        self._ponged = False
        self._rest_answered = False

    def is_due(self, silent_since_ns: int) -> bool:
        """Once for each silence."""
        return self._silent_since_ns != silent_since_ns

    def asked(self, silent_since_ns: int, *, rest: bool) -> None:
        """A ping was sent, and a read if the budget of requests allowed it."""
        self._silent_since_ns = silent_since_ns
        self._asked_rest = rest
        self._ponged = self._rest_answered = False

    def ponged(self) -> None:
        self._ponged = True

    def rest_answered(self) -> None:
        """The venue answered a request, whichever."""
        self._rest_answered = True

    def words(self, silent_since_ns: int) -> str:
        """What is silent, as far as this silence was probed."""
        if self.is_due(silent_since_ns):
            return "not probed"
        if not self._rest_answered and not self._asked_rest:
            return f"{'ping' if self._ponged else 'no ping'} is answered, REST was not asked"
        return _CAUSES[self._ponged, self._rest_answered]


_CAUSES = {
    (True, True): "ping and REST are answered: the venue's feed is silent, or the market quiet",
    (False, True): "REST is answered and no ping: the websocket is dead",
    (True, False): "ping is answered and no REST: the venue is in trouble, not our link",
    (False, False): "neither ping nor REST is answered: our link is down, or the venue gone",
}
