"""Orders that a trader left behind: when the guardian looks for them, and until when it goes on.

At once when a trader is dead, and again when nothing of it can still arrive (promise 6): only what
that second look verified is the truth. Once it is, nothing is asked again until a trader that may
trade was started.
"""

import asyncio
from collections.abc import Callable

from chappie.guardian.clock import now_s
from chappie.guardian.hand import Hand, Says
from chappie.guardian.process import Trader
from chappie.guardian.sweep import Left
from chappie.live.state_dir import LastStop
from chappie.model.config import Config
from chappie.model.faults import StopReason

SWEEP_S = 10.0
_BEFORE_START_S = 5.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_SWITCH_LATE_S = 10.0
"""A request may start the switch's timer so much later than it was sent."""


class Leftovers:
    """Whether anything of ours may be at the venue, and the way to nothing."""

    def __init__(
        self, config: Config, hand: Hand, says: Says, verified: Callable[[Left], None]
    ) -> None:
        """``verified`` is told what is true of the account once nothing can change it any more."""
        self._config = config
        self._hand = hand
        self._says = says
        self._verified = verified
        # None of ours works, as two reads showed, and nobody could send one since.
        self.are_none = False
        self._told = ""
        # The trader before us may have died a moment ago.
        self._died()

    def _died(self) -> None:
        orders, skew_s = self._config.orders, self._config.clock.max_skew_s
        # An expiry is a whole second, by a clock that may be behind ours (as the core's fence).
        self._fence_s = now_s() + orders.expires_after_s + 1.0 + max(1.0, skew_s)
        self._switch_until_s = now_s() + self._config.dead_man.timeout_s + _SWITCH_LATE_S

    @property
    def bound_s(self) -> float:
        """How long a start may be held back for them: the fence, and one look after it. In
        observe-only nothing can be on its way to the venue, so nothing is waited for.
        """
        if self.are_none or not self._config.bot.allow_trade:
            return 0.0
        return max(0.0, self._fence_s - now_s()) + SWEEP_S

    def started(self) -> None:
        """A trader starts. In observe-only it sends nothing that could be left behind."""
        if self._config.bot.allow_trade:
            self.are_none = False

    def ended(self, trader: Trader, stop: LastStop, reason: StopReason) -> None:
        """A trader is dead and reaped."""
        if reason in (StopReason.CONFIG, StopReason.NOT_ALONE) and trader.beats == 0:
            # It never ran, and somebody else may live here, whose orders are not ours to cancel.
            self.are_none = True
            return
        self._hand.take_over(trader)
        self._died()
        exited = trader.returncode is not None and trader.returncode >= 0
        if exited and stop.known and not stop.orders:
            # Its own last reads verified it, and it ended with nothing on its way.
            self.are_none = True

    async def before_start(self) -> None:
        """One look before a trader starts; it is bounded, for the trader looks again itself."""
        if not self.are_none:
            left = await self._look(_BEFORE_START_S)
            self.are_none = left.verified

    async def last_look(self, within_s: float) -> None:
        """At our own end: there is no time for the fence, so nothing is verified for good."""
        if not self.are_none and within_s > 0:
            await self._look(within_s)
            if self._config.bot.allow_trade:
                self._says("warning", "not_looked_at_again", detail=_AT_OUR_END)

    async def clear(self, *, stays_down: bool) -> None:
        """Until nothing of ours is left and nothing can arrive any more; cancel it to give up.

        ``stays_down``: no trader follows that would keep the dead man's switch, so it is taken off
        then, or it would cancel the orders of others (promise 7).
        """
        disarm = stays_down and self._config.bot.allow_trade
        pause_s = _FIRST_PAUSE_S
        while not self.are_none:
            past_fence = now_s() >= self._fence_s
            left = await self._look(SWEEP_S, disarm=disarm and past_fence)
            if self._hand.cannot is not None:
                return
            if left.verified and past_fence:
                self._verified(left)
                if left.disarmed or not disarm or now_s() > self._switch_until_s:
                    self.are_none = True
                    return
            if left.verified and not past_fence:
                await asyncio.sleep(max(0.0, self._fence_s - now_s()))
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _look(self, within_s: float, *, disarm: bool = False) -> Left:
        left = await self._hand.leave_nothing(within_s, disarm=disarm)
        level = "info" if left.verified else "error"
        if left.verified and left.cancelled:
            level = "warning"
        if left.verified or left.detail != self._told:
            self._told = left.detail
            self._says(
                level,
                "leftovers",
                verified=left.verified,
                ours=left.ours,
                cancelled=left.cancelled,
                foreign=left.foreign,
                position=left.position,
                disarmed=left.disarmed,
                detail=left.detail,
            )
        return left


_AT_OUR_END = (
    "a request of the killed trader may still arrive; what it leaves rests until the dead man's "
    "switch fires or chappie is started again"
)
