"""Orders that a trader left behind: the vigil's looks, done by the guardian's own hand."""

import asyncio
from collections.abc import Awaitable, Callable

from chappie.guardian.errands.sweep import Left
from chappie.guardian.errands.vigil import LOOK_NS, Vigil
from chappie.guardian.hand import Hand, Says
from chappie.guardian.process import Trader
from chappie.live import clock
from chappie.live.state_dir import LastStop
from chappie.model.config import Config
from chappie.model.faults import StopReason
from chappie.model.units import SECOND_NS

_LOOK_S = LOOK_NS / SECOND_NS
_BEFORE_START_S = 5.0
_NEVER_RAN = (StopReason.CONFIG, StopReason.NOT_ALONE)
_AT_OUR_END = (
    "a request of the killed trader may still arrive; what it leaves rests until the dead man's "
    "switch fires or chappie is started again"
)


class Leftovers:
    """Tell it of each start and end; never awaited while a trader lives."""

    def __init__(
        self, config: Config, hand: Hand, says: Says, verified: Callable[[Left], Awaitable[None]]
    ) -> None:
        """``verified`` is told what is true of the account once nothing can change it any more."""
        self._config = config
        self._hand = hand
        self._says = says
        self._verified = verified
        self._vigil = Vigil(config, clock.now())
        self._told = ""
        self._ran = False

    @property
    def quiet_s(self) -> float:
        """How long a request of a dead trader may still arrive."""
        return self._vigil.quiet_ns(clock.now()) / SECOND_NS

    @property
    def bound_s(self) -> float:
        """How long a start may be held back for them."""
        return self._vigil.bound_ns(clock.now()) / SECOND_NS

    def started(self) -> None:
        """A trader starts."""
        self._vigil.started()

    def ended(self, trader: Trader, stop: LastStop, reason: StopReason) -> None:
        """A trader is dead and reaped."""
        if reason in _NEVER_RAN and trader.beats == 0:
            # Somebody else may live in this folder, whose orders are not ours to cancel; but what
            # one before it left is left all the same.
            self._vigil.are_none = not self._ran or reason is StopReason.NOT_ALONE
            return
        self._ran = True
        self._hand.take_over(trader)
        exited = trader.returncode is not None and trader.returncode >= 0
        verified = exited and stop.known and not stop.orders
        lives_on = reason is StopReason.NOT_ALONE
        self._vigil.ended(clock.now(), verified=verified, lives_on=lives_on)

    async def before_start(self) -> None:
        """One look before a trader starts; it is bounded, for the trader looks again itself."""
        if not self._vigil.are_none:
            asked = clock.now()
            self._vigil.looked_before_start(asked, await self._look(_BEFORE_START_S))

    async def last_look(self, within_s: float) -> None:
        """At our own end: there is no time for the fence, so nothing is verified for good."""
        if not self._vigil.are_none and within_s > 0:
            await self._look(within_s)
            if self._config.bot.allow_trade:
                self._says("warning", "not_looked_at_again", detail=_AT_OUR_END)

    async def clear(self, *, stays_down: bool) -> None:
        """Until nothing of ours is left and nothing can arrive any more; cancel it to give up."""
        while (look := self._vigil.next(stays_down)) is not None:
            asked = clock.now()
            if asked.now_ns < look.due_ns:
                await asyncio.sleep((look.due_ns - asked.now_ns) / SECOND_NS)
                continue
            # A halt's own errand goes first; that ours would find no turn is nobody's news.
            await self._hand.idle()
            asked = clock.now()
            left = await self._look(_LOOK_S, disarm=look.disarm)
            if self._hand.cannot is not None and not stays_down:
                # Without a key there is nothing to wait for; whoever stays down waits anyway.
                return
            if self._vigil.looked(asked, clock.now(), look, left, stays_down):
                await self._verified(left)

    async def _look(self, within_s: float, *, disarm: bool = False) -> Left:
        left = await self._hand.leave_nothing(within_s, disarm=disarm)
        if left.verified or left.detail != self._told:
            self._told = left.detail
            good = left.verified and not left.cancelled
            self._says(
                "info" if good else "warning" if left.verified else "error",
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
