"""Arming: the requests about the dead man's switch, when they are due, and a missed renewal.

What is known of the timer at the venue is `switch.py`.
"""

from chappie.core.account import Account
from chappie.core.budget import Budget
from chappie.core.outbox import Outbox
from chappie.core.requests import ForSwitch, Requests
from chappie.core.skew import Skew
from chappie.core.switch import Switch
from chappie.model.config import Config
from chappie.model.enums import Lane
from chappie.model.reports import Outcome, SwitchArmed
from chappie.model.timestamps import ns_iso
from chappie.model.units import SECOND_NS, At, seconds_ns
from chappie.venues.interface import Dialect

# At the end of a run the answer to a disarm is waited for no longer: there is no later step that
# repeats it, and a switch that stays armed takes the orders of others.
_LAST_ANSWER_NS = SECOND_NS


class Arming:
    """Arms before the first order, renews while all is well, disarms after the last (K6)."""

    def __init__(
        self,
        config: Config,
        dialect: Dialect,
        outbox: Outbox,
        requests: Requests,
        budget: Budget,
        skew: Skew,
        account: Account,
    ) -> None:
        answer_s = config.orders.ack_timeout_s
        self.switch = Switch(config.dead_man, answer_s, config.clock.max_skew_s)
        # A cancel that is sent now may take so long to be carried out.
        self._cancel_takes_ns = seconds_ns(answer_s)
        self._dialect = dialect
        self._outbox = outbox
        self._requests = requests
        self._budget = budget
        self._skew = skew
        self._account = account

    # --- observe

    def settled(self, purpose: ForSwitch, outcome: Outcome) -> None:
        """What became of a request about the switch."""
        if not isinstance(outcome, SwitchArmed):
            self.switch.unanswered()
            self._unproven(getattr(outcome, "detail", ""))
        elif self.switch.answered(outcome):
            done = "dead_man_disarmed" if purpose.disarm else "dead_man_armed"
            self._outbox.log("debug", done)
        else:
            self._unproven("the venue answered with another time than was asked for")

    def _unproven(self, detail: str) -> None:
        self._outbox.log("warning", "dead_man_unproven", detail=detail)

    # --- repair

    def arm(self, at: At) -> None:
        """Ask the venue to cancel for us if we fall silent; waits for no proof of health."""
        if self.switch.may_ask_for(at.now_ns, disarm=False):
            self._send(at, disarm=False)

    def disarmed(self, at: At) -> bool:
        """Whether the switch is off, or has to stay; asks for it where it is not. For the end of
        a run.
        """
        if self.switch.may_stand and self._skew.is_sure and self.switch.may_ask(at.now_ns):
            self._send(at, disarm=True, answer_ns=_LAST_ANSWER_NS)
        stands = self.switch.may_stand and self._skew.is_sure
        return not stands and not self.switch.pending

    def keep(self, at: At, healthy: bool) -> None:
        """Renew it while orders rely on it, name a renewal that is missed, disarm it when none
        of ours is left.
        """
        switch, account = self.switch, self._account
        switch.lapse(at.now_ns)
        relied_on = bool(account.blotter.live())
        if switch.is_missed(at, relied_on):
            assert switch.missed_wall_ns is not None
            due = ns_iso(switch.missed_wall_ns)
            self._outbox.log("warning", "dead_man_renewal_missed", due=due)
        if not switch.may_stand:
            return
        if relied_on:
            if healthy and switch.refresh_due(at.now_ns):
                self._send(at, disarm=False)
        elif (
            account.idle_since(switch.armed_ns)
            # A disarm that expires when nobody knows could undo an arming long after it.
            and self._skew.is_sure
            and switch.may_ask_for(at.now_ns, disarm=True)
        ):
            self._send(at, disarm=True)

    def runs_out(self, at: At) -> bool:
        """No renewal came, and it may fire before a cancel that is sent later is carried out."""
        return self.switch.runs_out(at.now_ns + self._cancel_takes_ns)

    def _send(self, at: At, disarm: bool, answer_ns: int | None = None) -> None:
        if not self._budget.is_open(Lane.CANCEL, at.now_ns):
            return
        call = self._dialect.arm_switch(0.0 if disarm else self.switch.timeout_s)
        self.switch.asked(at.now_ns, disarm, self._requests.fence_ns(at))
        self._requests.call(at, Lane.CANCEL, call, ForSwitch(disarm), answer_ns)
