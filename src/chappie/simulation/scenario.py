"""What a seed decides before the night begins: bot, market, network, and what will go wrong."""

from random import Random

import msgspec

from chappie.model.config import Config
from chappie.model.view import View
from chappie.simulation.faults import KINDS, FaultKind

# Of each kind a seed takes this share, so that any two kinds meet alone in some seeds.
_TAKEN = 0.3
_STYLES = ("post_only", "limit", "market")


class Scenario(msgspec.Struct, frozen=True):
    """A night. ``pace_s`` is the mean time between two strikes; without a ``guardian`` the trader
    runs alone under another supervisor, which starts it again at once.
    """

    seed: int
    config: Config
    qty: int
    period_s: float
    rate: float
    tick_cents: int
    per_minute: int
    delay_ms: float
    before_funding_s: int
    guardian: bool
    kinds: tuple[str, ...]
    pace_s: float


def scenario(seed: int) -> Scenario:
    chance = Random(f"scenario:{seed}")
    kinds = tuple(kind.name for kind in KINDS if chance.random() < _TAKEN)
    order_qty = 100 * chance.randint(1, 3)
    qty = order_qty * chance.randint(1, 3)
    sections = {
        "bot": {
            "id": "sim",
            "allow_trade": True,
            "order_qty": order_qty,
            # Sometimes less than the policy wants: the gate has to say no.
            "max_position": chance.choice((qty, qty, 2 * qty, max(order_qty, qty - 100))),
        },
        "orders": {"style": chance.choice(_STYLES)},
        # A night breaks more connections in an hour than a year does.
        "feed": {
            "check_every_s": chance.choice((0.25, 0.25, 0.5)),
            "max_connects_per_hour": 100_000,
        },
        "reconcile": {"every_s": chance.choice((5.0, 10.0, 10.0))},
        "dead_man": {"timeout_s": chance.choice((30.0, 60.0)), "refresh_every_s": 10.0},
        "supervisor": {"backoff_max_s": 10.0},
    }
    return Scenario(
        seed=seed,
        config=msgspec.convert(sections, Config),
        qty=qty,
        period_s=chance.choice((1.0, 2.0, 5.0, 8.0)),
        rate=chance.choice((1.0, 2.0, 2.0, 4.0, 12.0)),
        tick_cents=chance.choice((10, 50)),
        per_minute=chance.choice((120, 300)),
        delay_ms=chance.choice((2.0, 10.0, 60.0)),
        guardian=chance.random() < 0.6,
        before_funding_s=chance.randint(20, 900),
        kinds=kinds or (chance.choice(KINDS).name,),
        pace_s=chance.choice((5.0, 12.0, 30.0)),
    )


def shares(kinds: tuple[str, ...]) -> tuple[list[FaultKind], list[float]]:
    """The rows that a scenario took, and how often each is drawn."""
    taken = [kind for kind in KINDS if kind.name in kinds]
    return taken, [kind.share for kind in taken]


class Wishes:
    """A policy that wants another position each period; what it wants depends on the time alone,
    so that a restart does not change it.
    """

    def __init__(self, seed: int, qty: int, period_s: float) -> None:
        self.period_s = period_s
        # What it wants from now on, whatever the time.
        self.fixed: int | None = None
        self._seed = seed
        self._qty = qty

    def decide(self, view: View) -> int:
        if self.fixed is not None:
            return self.fixed
        step = int(view.at / self.period_s + 0.01)
        wanted = Random(f"wish:{self._seed}:{step}").choice((-1, -1, 0, 1, 1))
        return wanted * self._qty
