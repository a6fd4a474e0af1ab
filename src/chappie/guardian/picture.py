"""The picture of the moment: what is shown of a trader, and which of its changes are logged."""

from chappie.guardian.clock import now_s
from chappie.guardian.hand import Says
from chappie.guardian.plan import Plan
from chappie.guardian.process import Trader
from chappie.guardian.shown import (
    HaltState,
    Setting,
    Shown,
    TraderState,
    faults_in_words,
    merge,
    why_stopped,
)
from chappie.live.state_dir import LastStop
from chappie.model.state import Mode


class Picture:
    """Made from the trader's last words and from what the guardian sets here."""

    def __init__(self, plan: Plan, says: Says) -> None:
        # A trader is being started, or about to be.
        self.starting = True
        # When the next one is started; None while none is waited for.
        self.next_start_s: float | None = None
        self._says = says
        self._mode: Mode | None = None
        self._decided = False
        self._setting = Setting(
            allow_trade=plan.config.bot.allow_trade,
            policy=plan.config.bot.policy,
            venue=plan.config.venue.kind,
            symbol=plan.config.venue.symbol,
            config_hash=plan.config_hash,
        )

    def look(
        self,
        trader: Trader | None,
        before: Trader | None,
        restarts: int,
        last_stop: LastStop | None,
        halt: HaltState | None,
    ) -> Shown:
        """What is known now; ``before`` is the trader that is down."""
        # A trader that is down is shown by its last words, ageing; a new one knows nothing yet.
        source = trader if trader is not None else before
        age_s = source.beat_age_s if source is not None else None
        due_s = self.next_start_s
        shown = merge(
            self._setting,
            source.state if source is not None else None,
            age_s or 0.0,
            trader is not None or self.starting,
            TraderState(
                pid=trader.pid if trader is not None else None,
                restarts=restarts,
                last_stop=last_stop,
                beat_age_s=None if age_s is None else round(age_s, 3),
                next_start_s=None if due_s is None else max(0.0, due_s - now_s()),
            ),
        )
        shown.halt = halt
        return shown

    def tell(self, shown: Shown) -> None:
        """Log the mode when it is another one."""
        if shown.mode is self._mode:
            return
        was = self._mode.value if self._mode is not None else None
        because = why_stopped(shown)
        why: dict[str, object] = {"reason": because} if because else {}
        if words := faults_in_words(shown):
            why["faults"] = words
        self._says("info", "mode", mode=shown.mode.value, was=was, **why)
        self._mode = shown.mode

    def first_decision(self, trader: Trader) -> None:
        """The first decision is what an operator waits for after a start: say it loudly."""
        state = trader.state
        if self._decided or state is None or state.decision is None:
            return
        self._decided = True
        decision = state.decision
        self._says(
            "info",
            "first_decision",
            number=decision.number,
            target=decision.target,
            order=decision.order,
            allow_trade=state.allow_trade,
            **({"note": decision.note} if decision.note else {}),
        )
