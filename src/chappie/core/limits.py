"""The limits on money and behaviour: what is counted for the gate, and what they make a fault.

The table of `docs/limits.md` says what each does. They look once per periodic check and before an
order, never at market increments.
"""

from chappie.core.account import Account
from chappie.core.faults import ActiveFaults
from chappie.core.gate import Counts
from chappie.core.limits_orders import OrderCounts
from chappie.core.outbox import Outbox
from chappie.model.commands import SetLatch
from chappie.model.config import LimitsConfig
from chappie.model.faults import Fault
from chappie.model.records import Kept
from chappie.model.units import At


class Limits:
    """Every limit beyond the gate's own, with what it has counted so far."""

    def __init__(
        self, config: LimitsConfig, outbox: Outbox, faults: ActiveFaults, account: Account
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._faults = faults
        self._account = account
        self._orders = OrderCounts(config)
        # The account's number, by the venue's last word.
        self._number: int | None = None

    def restore(self, at: At, kept: tuple[Kept, ...]) -> None:
        """Go on where earlier runs ended."""
        self._orders.restore(at, kept)

    def judge(self, at: At) -> None:
        """Count what was just observed, and raise what it breaks."""
        self._count(at)
        self._judge_account(at)

    def counts(self, at: At, decision: int) -> Counts:
        """What the gate holds an order of this decision against."""
        self._count(at)
        wanted = self._config.account
        return self._orders.counts(
            at,
            decision,
            len(self._account.blotter.live()),
            right_account=not wanted or self._number == wanted,
        )

    def halt(self, at: At, words: str) -> None:
        """Trading ends here until a human resumes it: latched first, for a start must know."""
        if not self._faults.has(Fault.LIMIT_HALTED):
            self._outbox.put(SetLatch(f"limits: {words}"))
            self._faults.raise_(Fault.LIMIT_HALTED, at, words)

    def _count(self, at: At) -> None:
        for record in self._outbox.take_records():
            self._orders.note(at, record)

    def _judge_account(self, at: At) -> None:
        margin = self._account.margin
        if margin is not None and margin.account is not None:
            self._number = margin.account
        wanted = self._config.account
        if wanted and self._number not in (None, wanted):
            words = f"the key is of account {self._number}, limits.account is {wanted}"
            self._faults.raise_(Fault.VENUE_REFUSED, at, words)
