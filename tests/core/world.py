"""A core against the simulated venue on virtual time, thin over `chappie.simulation`.

A steady network, no supervisor, and lists of everything that a shell would write down (events,
kept records, commands). Faults are the venue's own, armed with `World.arm`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from chappie.model.commands import AskPolicy, Command, Keep, Log, Stop
from chappie.model.config import Config
from chappie.model.events import Event, Started
from chappie.model.records import Kept
from chappie.model.units import SECOND_NS, At
from chappie.model.view import View
from chappie.policies.cycle import Cycle
from chappie.policies.hold import Hold
from chappie.simulation.process import Process
from chappie.simulation.sockets import OUR_PEER, ROOT
from chappie.simulation.world import OURS, T0, Decides, Watch
from chappie.simulation.world import World as SteadyWorld
from chappie.simvenue.crowd import Crowd
from chappie.simvenue.market import Market, MarketFloor
from chappie.simvenue.options import AccountOptions, Limits
from tests.core.parts import config as configured

WITHDRAWER = AccountOptions(
    account=1, api_key="W" * 24, secret="w" * 48, permissions=("order", "withdraw")
)
READER = AccountOptions(account=1, api_key="R" * 24, secret="r" * 48, permissions=())
ANOTHER_HAND = AccountOptions(account=1, api_key="H" * 24, secret="h" * 48)
STRANGER = AccountOptions(account=2, api_key="S" * 24, secret="s" * 48)


class Target:
    """A policy that wants what the test wants now."""

    period_s = 1.0

    def __init__(self, target: int = 0) -> None:
        self.target = target

    def decide(self, view: View) -> int:
        return self.target


class Calm:
    """A market in which nothing trades and the touch stays; a far level shows that it lives."""

    first_ticks = 600_000
    index_cents = 6_000_000

    def __init__(self) -> None:
        self._due_ns = T0
        self._size = 1000

    def start(self, at_ns: int, floor: MarketFloor) -> None:
        floor.set_level("Buy", 600_000, 1000)
        floor.set_level("Sell", 600_001, 1000)

    def next_deadline(self) -> int:
        return self._due_ns

    def advance(self, at_ns: int, floor: MarketFloor) -> None:
        self._due_ns = at_ns + SECOND_NS // 2
        self._size += 100
        floor.set_level("Buy", 590_000, self._size)


class Bot(Process):
    """A process that remembers everything it did."""

    def __init__(self, world: "World", epoch: int) -> None:
        super().__init__(world, epoch)
        self.born_ns = world.now_ns
        self.stopped_s = 0.0
        self.journal: list[tuple[At, Event]] = []
        self.done: list[tuple[int, Command]] = []
        self.kept: list[Kept] = []

    def said(self, event: str, **fields: object) -> list[Log]:
        """Log lines of one event, with these fields."""
        return [
            command
            for _, command in self.done
            if isinstance(command, Log)
            and command.event == event
            and fields.items() <= command.fields.items()
        ]

    @property
    def asked_policy(self) -> bool:
        return any(isinstance(command, AskPolicy) for _, command in self.done)

    @property
    def faults(self) -> list[str]:
        """Active faults, with their subject where they have one."""
        return [
            f"{active.fault.value}:{active.subject}" if active.subject else active.fault.value
            for active in self.core.faults.all()
        ]


class _Recorder(Watch):
    def stepped(self, process: Process, at: At, event: Event, commands: Sequence[Command]) -> None:
        assert isinstance(process, Bot)
        process.journal.append((at, event))

    def performing(self, process: Process, command: Command) -> None:
        assert isinstance(process, Bot)
        process.done.append((process.at().now_ns, command))
        if isinstance(command, Keep):
            process.kept.append(command.record)
        if isinstance(command, Stop):
            process.stopped_s = (process.world.now_ns - process.born_ns) / SECOND_NS


class World(SteadyWorld):
    """One venue, one bot, one clock. `run` lets time pass; `now_s` counts from the start."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        policy: Decides | None = None,
        seed: int = 1,
        rate: float = 5.0,
        key: AccountOptions = OURS,
        market: Market | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(
            config or configured(),
            policy or Hold(),
            market or Crowd(T0, seed=seed, rate=rate),
            accounts=(OURS, WITHDRAWER, READER, ANOTHER_HAND, STRANGER),
            key=key,
            limits=limits,
            seed=seed,
            watch=_Recorder(),
        )
        self.bot: Bot
        self.start()

    def start(self, epoch: int = 1, kept: Iterable[Kept] = (), halted: str | None = None) -> Bot:
        """A new process of the bot; the one before it is gone, and so are its sockets."""
        bot = Bot(self, epoch)
        self.begin(bot, Started(epoch, tuple(kept), halted))
        self.bot = bot
        return bot

    @property
    def now_s(self) -> float:
        """Seconds since the bot was started."""
        return (self.now_ns - self.bot.born_ns) / SECOND_NS

    def run_to_stop(self, seconds: float) -> Stop:
        """Let time pass until the bot stops; the test fails when it does not."""
        assert self.run(seconds, lambda: self.bot.stop is not None), "it went on"
        assert self.bot.stop is not None
        return self.bot.stop

    def order_by(
        self, user: AccountOptions, side: str, qty: int, price: float | None = None
    ) -> Any:
        """An order of another hand: at market without a price."""
        body: dict[str, object] = {"symbol": "XBTUSD", "side": side, "orderQty": qty}
        body |= {"ordType": "Market"} if price is None else {"price": price}
        return self.ask("POST", "/order", body, user=user)

    def truth(self, account: int = 1) -> Any:
        """What the venue knows of an account."""
        return self.ask("GET", f"/control/truth?account={account}")

    def sent(self, method: str | None = None, path: str | None = None) -> list[Any]:
        """The bot's requests as the venue's own log holds them, a path below the API's root."""
        rows = self.ask("GET", "/control/requests")
        return [
            row
            for row in rows
            if row["peer"] == OUR_PEER
            and method in (None, row["method"])
            and path in (None, row["path"].removeprefix(ROOT))
        ]

    @property
    def working(self) -> list[Any]:
        """Orders that the venue has working on our account."""
        return [row for row in self.truth()["orders"] if row["leavesQty"] > 0]


def trading(**sections: dict[str, object]) -> Config:
    """A configuration that trades at market unless it says otherwise."""
    bot = {"allow_trade": True, "id": "test", **sections.pop("bot", {})}
    orders = {"style": "market", **sections.pop("orders", {})}
    return configured(bot=bot, orders=orders, **sections)


def cycle(qty: int = 100, period_s: float = 5.0) -> Cycle:
    return Cycle(qty, period_s)
