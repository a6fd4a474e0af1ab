"""When to look for orders that a trader left behind, and what a look proves.

At once when a trader is dead, and again when nothing of it can still arrive (promise 6): only what
that second look verified is the truth. After it nothing is asked again until a trader that may
trade was started. Pure.
"""

import msgspec

from chappie.core.pacing import Pace
from chappie.guardian.errands.sweep import Left
from chappie.model.config import Config
from chappie.model.units import SECOND_NS, At, seconds_ns

LOOK_NS = 10 * SECOND_NS
"""The longest that one look may take."""
_FIRST_PAUSE_NS = SECOND_NS // 2
_LONGEST_PAUSE_NS = 30 * SECOND_NS
# A request may start the switch's timer so much later than it was sent.
_SWITCH_LATE_NS = 10 * SECOND_NS


def fence_s(config: Config) -> float:
    """So long after a death a request of the dead may still arrive: its expiry is a whole second,
    by a clock that may be behind ours (as the core's fence).
    """
    return config.orders.expires_after_s + 1.0 + max(1.0, config.clock.max_skew_s)


class Look(msgspec.Struct, frozen=True):
    """Look at the venue, no sooner than at ``due_ns``; ``disarm``: and take the switch off."""

    due_ns: int
    disarm: bool


class Vigil:
    """Whether anything of ours may be at the venue while no trader lives."""

    def __init__(self, config: Config, at: At) -> None:
        # None of ours works, as two reads showed, and nobody could send one since.
        self.are_none = False
        self._config = config
        self._may_trade = config.bot.allow_trade
        self._pace = Pace(_FIRST_PAUSE_NS, _LONGEST_PAUSE_NS)
        # Another instance goes on at this account, and the switch is its own.
        self._lives_on = False
        # The trader before us may have died a moment ago.
        self._died(at)

    def _died(self, at: At) -> None:
        self.fence_ns = at.now_ns + seconds_ns(fence_s(self._config))
        timeout_ns = seconds_ns(self._config.dead_man.timeout_s)
        self._switch_until_ns = at.now_ns + timeout_ns + _SWITCH_LATE_NS
        self._pace = Pace(_FIRST_PAUSE_NS, _LONGEST_PAUSE_NS)

    def started(self) -> None:
        """A trader starts. In observe-only it sends nothing that could be left behind."""
        if self._may_trade:
            self.are_none = False

    def ended(self, at: At, *, verified: bool, lives_on: bool = False) -> None:
        """A trader is dead; ``verified``: by its own last reads, with nothing on its way.
        ``lives_on``: another instance of this bot goes on at the account.
        """
        self._died(at)
        self.are_none = self.are_none or verified
        self._lives_on = lives_on

    def quiet_ns(self, at: At) -> int:
        """How long a request of a dead trader may still arrive. In observe-only nothing can be on
        its way to the venue, so nothing is waited for.
        """
        if self.are_none or not self._may_trade:
            return 0
        return max(0, self.fence_ns - at.now_ns)

    def bound_ns(self, at: At) -> int:
        """How long a start may be held back: the fence, and one look after it."""
        if self.are_none or not self._may_trade:
            return 0
        return self.quiet_ns(at) + LOOK_NS

    def next(self, stays_down: bool) -> Look | None:
        """The next look; None: there is nothing to look for.

        ``stays_down``: no trader follows that would keep the dead man's switch, so it is taken
        off once no refresh can arrive, or it would cancel the orders of others (promise 7). Not
        where another instance goes on: it is that one's now, and covers its orders.
        """
        if self.are_none:
            return None
        due_ns = self._pace.until_ns
        return Look(due_ns, self._is_to_disarm(stays_down) and due_ns >= self.fence_ns)

    def _is_to_disarm(self, stays_down: bool) -> bool:
        return stays_down and self._may_trade and not self._lives_on

    def looked_before_start(self, asked: At, left: Left) -> None:
        """What the one look before a start found. A start does not wait for the fence, for the
        trader looks again itself; whoever stays down after all has to.
        """
        arrives = self._may_trade and asked.now_ns < self.fence_ns
        self.are_none = left.verified and not arrives

    def looked(self, asked: At, at: At, look: Look, left: Left, stays_down: bool) -> bool:
        """What a look found that was begun at ``asked``; True when it is true for good."""
        if not left.verified:
            self._pace.failed(at.now_ns)
            return False
        if asked.now_ns < self.fence_ns:
            self._pace.settled()
            self._pace.hold(self.fence_ns)
            return False
        wants_disarm = self._is_to_disarm(stays_down) and at.now_ns < self._switch_until_ns
        self.are_none = left.disarmed or not wants_disarm
        # Only the switch is missing: again, and with it, at once if that was not asked for.
        if look.disarm:
            self._pace.failed(at.now_ns)
        else:
            self._pace.hold(self.fence_ns)
        return True
