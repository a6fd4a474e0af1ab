"""The limits on money and behaviour: what is counted for the gate, and what they make a fault.

The table of `docs/limits.md` says what each does. They look once per periodic check and before an
order, never at market increments.
"""

import msgspec

from chappie.core.account import Account
from chappie.core.faults import ActiveFaults
from chappie.core.gate import Counts
from chappie.core.limits_loss import DAILY_FEES, DAILY_LOSS, DRAWDOWN, REJECTS, Losses, result
from chappie.core.limits_market import Health
from chappie.core.limits_orders import OrderCounts
from chappie.core.market import Market
from chappie.core.outbox import Outbox
from chappie.core.reconcile import Reconciler
from chappie.model.commands import Keep, SetLatch
from chappie.model.config import LimitsConfig
from chappie.model.faults import Fault, Posture
from chappie.model.records import Kept
from chappie.model.units import At, seconds_ns

_UNMEASURED = "result"
_OF_LOSS = (DAILY_LOSS, DRAWDOWN, DAILY_FEES, REJECTS)


class Limits:
    """Every limit beyond the gate's own, with what it has counted so far."""

    def __init__(
        self,
        config: LimitsConfig,
        outbox: Outbox,
        faults: ActiveFaults,
        market: Market,
        account: Account,
        reconciler: Reconciler,
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._faults = faults
        self._market = market
        self._account = account
        self._reconciler = reconciler
        self._orders = OrderCounts(config)
        self._losses = Losses(config)
        self._health = Health(config)
        self._unfit: list[str] = []
        # What is wanted (the target, after how many fills), and the orders sent for it.
        self._wish = (0, 0)
        self._tried = 0
        self._max_tries = config.max_repricings + 1 if config.max_repricings else 0
        self._holding_ns = seconds_ns(config.max_holding_s)
        self._seen_held_ns: int | None = None
        # The account's number, by the venue's last word.
        self._number: int | None = None

    def restore(self, at: At, kept: tuple[Kept, ...], *, halted: bool) -> None:
        """Go on where earlier runs ended; ``halted``: the latch is still set."""
        self._orders.restore(at, kept)
        self._losses.restore(at, kept, halted=halted)

    def judge(self, at: At) -> None:
        """Count what was just observed, and raise what it breaks."""
        self._count(at)
        self._judge_account(at)
        # Before that the ledger may lack fills, and no order leaves anyhow.
        if self._reconciler.ever_clean:
            self._judge_losses(at)
        self._judge_market(at)

    def wish(self, target: int) -> None:
        """What is wanted now: another target, or anything filled, begins the tries anew."""
        wish = (target, self._account.ledger.fills)
        if wish != self._wish:
            self._wish, self._tried = wish, 0

    def tried(self) -> None:
        """One more order was sent for it."""
        self._tried += 1

    @property
    def gives_up(self) -> bool:
        """Whether no further order will be sent for what is wanted."""
        return 0 < self._max_tries <= self._tried

    def held_too_long(self, at: At) -> bool:
        """Whether the position must be closed by now, whatever the policy wants."""
        if not self._holding_ns:
            return False
        ledger = self._account.ledger
        if not ledger.qty:
            self._seen_held_ns = None
            return False
        if self._seen_held_ns is None:
            self._seen_held_ns = at.wall_ns
        # Where the venue stated no time, since it was first seen here.
        since_ns = ledger.held_since_ns or self._seen_held_ns
        return at.wall_ns - since_ns >= self._holding_ns

    def counts(self, at: At, decision: int) -> Counts:
        """What the gate holds an order of this decision against."""
        self._count(at)
        wanted = self._config.account
        counts = self._orders.counts(
            at,
            decision,
            len(self._account.blotter.live()),
            right_account=not wanted or self._number == wanted,
        )
        return msgspec.structs.replace(counts, tried=self._tried, max_tries=self._max_tries)

    def halt(self, at: At, words: str) -> None:
        """Trading ends here until a human resumes it: latched first, for a start must know."""
        if not self._faults.has(Fault.LIMIT_HALTED):
            self._outbox.put(SetLatch(f"limits: {words}"))
            self._faults.raise_(Fault.LIMIT_HALTED, at, words)

    def _count(self, at: At) -> None:
        for record in self._outbox.take_records():
            self._orders.note(at, record)
            self._losses.note(at, record)

    def _judge_account(self, at: At) -> None:
        margin = self._account.margin
        if margin is not None and margin.account is not None:
            self._number = margin.account
        wanted = self._config.account
        if wanted and self._number not in (None, wanted):
            words = f"the key is of account {self._number}, limits.account is {wanted}"
            self._faults.raise_(Fault.VENUE_REFUSED, at, words)

    def _judge_market(self, at: At) -> None:
        shut = self._health.judge(at, self._market, self._account.said)
        for key, words in shut.items():
            self._faults.raise_(Fault.MARKET_UNFIT, at, words, key)
        for key in self._unfit:
            if key not in shut:
                self._faults.clear(Fault.MARKET_UNFIT, key)
        self._unfit = list(shut)

    def _judge_losses(self, at: At) -> None:
        reached: dict[str, str] = {}
        if self._losses.is_measured:
            reached = self._measure(at)
        refused = self._losses.refused(at)
        if refused is not None:
            reached[REJECTS] = refused
        if reached and self._config.on_breach == "halt":
            self.halt(at, "; ".join(reached.values()))
            return
        for key in _OF_LOSS:
            if key in reached:
                self._faults.raise_(Fault.LIMIT_REACHED, at, reached[key], key)
            else:
                self._faults.clear(Fault.LIMIT_REACHED, key)

    def _measure(self, at: At) -> dict[str, str]:
        """By limit of the result, that it was reached, in words."""
        instrument = self._market.instrument
        assert instrument is not None, "nothing is reconciled without the instrument"
        now = result(self._account.ledger, instrument, self._market.mark)
        if now is None:
            # A limit that cannot be measured allows nothing that it would have to stop.
            words = "no mark, or the entry price of what is held is not known"
            self._faults.raise_(Fault.LIMIT_REACHED, at, words, _UNMEASURED)
            return self._losses.reached(None)
        self._faults.clear(Fault.LIMIT_REACHED, _UNMEASURED)
        record = self._losses.measure(at, now, sure=self._faults.posture < Posture.CANCEL_ONLY)
        reached = self._losses.reached(now)
        if record is not None:
            if record.reached and self._config.on_breach == "halt":
                # Latched before it is written that the limit was reached: a resume is then one of
                # a halt, whatever dies in between.
                self.halt(at, "; ".join(reached.values()))
            self._outbox.put(Keep(record))
        return reached
