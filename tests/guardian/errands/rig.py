"""The guardian's errands on virtual time: its hand, a simulated venue, and nothing else."""

from collections.abc import Sequence
from typing import Any

from chappie.guardian.errands.closing import Flattened
from chappie.guardian.errands.sweep import Left
from chappie.model.commands import Command, Keep, SendOrder
from chappie.model.config import BotConfig, Config
from chappie.model.records import Kept
from chappie.model.units import SECOND_NS
from chappie.policies.hold import Hold
from chappie.simulation.guard import Guard
from chappie.simulation.sockets import OUR_PEER, ROOT
from chappie.simulation.world import OURS, Watch
from chappie.simulation.world import World as SteadyWorld
from chappie.simvenue.options import Limits
from tests.core.world import ANOTHER_HAND, Calm

DEAD = 7
"""The epoch of the trader that died."""


class Done(Watch):
    """Remembers what the guardian did."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def guarding(self, command: Command) -> None:
        self.commands.append(command)


class Scene(SteadyWorld):
    """A calm market at 60000.0, one account, no trader."""

    def __init__(
        self, *, allow_trade: bool = True, limits: Limits | None = None, **bot: object
    ) -> None:
        self.done = Done()
        super().__init__(
            Config(bot=BotConfig(id="me", allow_trade=allow_trade, **bot)),  # type: ignore[arg-type]
            Hold(),
            Calm(),
            accounts=(OURS, ANOTHER_HAND),
            limits=limits,
            watch=self.done,
        )
        self.hand = self.guard = Guard(self)

    def place(self, name: str | None, side: str = "Buy", price: float | None = 50_000.0) -> str:
        """An order of 100 contracts on our account, under this name; its orderID."""
        body: dict[str, object] = {"symbol": "XBTUSD", "side": side, "orderQty": 100}
        body |= {"ordType": "Market"} if price is None else {"price": price}
        body |= {} if name is None else {"clOrdID": name}
        return str(self.ask("POST", "/order", body, user=OURS)["orderID"])

    def sweep(self, within_s: float = 10.0, *, disarm: bool = False) -> Left:
        told: list[Left] = []
        self.hand.sweep(DEAD + 1, within_s, told.append, disarm=disarm)
        assert self.run(within_s + 1.0, lambda: bool(told)), "the errand has no end"
        return told[0]

    def flatten(self, within_s: float = 20.0) -> Flattened:
        told: list[Flattened] = []
        self.hand.flatten(DEAD + 1, within_s, told.append)
        assert self.run(within_s + 1.0, lambda: bool(told)), "the errand has no end"
        return told[0]

    def working(self) -> list[str]:
        """The names of the orders that work."""
        rows = self.truth()["orders"]
        return [str(row.get("clOrdID")) for row in rows if row["leavesQty"] > 0]

    def position(self) -> int:
        return sum(int(row["currentQty"]) for row in self.truth()["position"])

    def truth(self) -> Any:
        return self.ask("GET", "/control/truth?account=1")

    def sent(self, method: str, path: str = "") -> list[Any]:
        """The guardian's requests as the venue's own log holds them."""
        return [
            row
            for row in self.ask("GET", "/control/requests")
            if row["peer"] == OUR_PEER
            and row["method"] == method
            and row["path"].startswith(ROOT + path)
        ]

    def kept(self) -> Sequence[Kept]:
        return [c.record for c in self.done.commands if isinstance(c, Keep)]

    def orders(self) -> list[SendOrder]:
        return [c for c in self.done.commands if isinstance(c, SendOrder)]

    def lose(self, seconds: float) -> None:
        """No connection comes about for so long."""
        self.network.unreachable_until_ns = self.now_ns + round(seconds * SECOND_NS)
