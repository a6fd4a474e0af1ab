"""The world: one venue, one bot, one heap of what is under way, one clock.

`World` alone is a steady world for tests: nothing goes wrong but what the test does. `Night`
lets a seed decide what goes wrong.
"""

import heapq
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

import msgspec

from chappie.model.commands import Command, HttpCall
from chappie.model.config import Config
from chappie.model.events import Event, Started
from chappie.model.units import SECOND_NS, At
from chappie.model.view import View
from chappie.simulation.disk import Disk
from chappie.simulation.guard import Guard
from chappie.simulation.network import Network
from chappie.simulation.process import End, Process
from chappie.simulation.sockets import EPOCH_SPAN, ROOT, http_request
from chappie.simvenue.contract import Contract
from chappie.simvenue.envelopes import Answer, Effect, HangUp, HttpRequest, NoAnswer
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.market import Market
from chappie.simvenue.options import AccountOptions, Limits, VenueOptions
from chappie.simvenue.venue import Venue
from chappie.venues.bitmex.signing import BitmexSigner

T0 = 1_764_000_000 * SECOND_NS
OURS = AccountOptions(account=1, api_key="K" * 24, secret="k" * 48)
_SOMEBODY_ELSE = "10.0.0.9"


class Decides(Protocol):
    """A policy; one with ``period_s`` is asked that often."""

    def decide(self, view: View) -> int: ...


class Watch:
    """Somebody who looks on; the one of this class does not care."""

    def stepped(
        self, process: Process, at: At, event: Event, commands: Sequence[Command]
    ) -> None: ...

    def performing(self, process: Process, command: Command) -> None:
        """Just before a command is performed."""

    def guarding(self, command: Command) -> None:
        """Just before the guardian performs a command of its own."""

    def halt_said(self, process: Process) -> None:
        """The process said that it obeys a halt."""

    def venue_moved(self) -> None:
        """The venue took a request, or time passed for it."""


class World:
    """See the module. `run` lets time pass; a process is begun with `begin`."""

    def __init__(
        self,
        config: Config,
        policy: Decides,
        market: Market,
        *,
        network: Network | None = None,
        accounts: Sequence[AccountOptions] = (OURS,),
        key: AccountOptions = OURS,
        limits: Limits | None = None,
        contract: Contract | None = None,
        seed: int = 1,
        watch: Watch | None = None,
        begin_ns: int = T0,
    ) -> None:
        self.config = config
        self.policy = policy
        self.period_s = float(getattr(policy, "period_s", 1.0))
        self.key = key
        self.network = network or Network()
        self.watch = watch or Watch()
        self.disk = Disk()
        self.now_ns = begin_ns
        # When the machine's own clock stood at zero.
        self.boot_ns = begin_ns - SECOND_NS
        # What the machine's wall clock is wrong by.
        self.wall_offset_ns = 0
        self.exchange = Exchange(begin_ns, market, contract=contract, seed=seed)
        options = VenueOptions(accounts=tuple(accounts), limits=limits or Limits(), seed=seed)
        self.venue = Venue(begin_ns, self.exchange, options)
        self.process: Process | None = None
        # The guardian's own connection, where there is a guardian.
        self.guard: Guard | None = None
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._asked: dict[int, Effect] = {}

    # --- time

    def at(self) -> At:
        """What the machine's clocks show."""
        return At(self.now_ns - self.boot_ns, self.now_ns + self.wall_offset_ns)

    def later(self, delay_ns: int, thing: Callable[[], None]) -> None:
        self.at_ns(self.now_ns + delay_ns, thing)

    def at_ns(self, due_ns: int, thing: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (due_ns, self._count, thing))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let so much time pass, or less if ``until`` comes true, which is what it returns."""
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        while until is None or not until():
            due_ns, what = self._next()
            if due_ns > end_ns:
                self.now_ns = end_ns
                return until is not None and until()
            self.now_ns = max(self.now_ns, due_ns)
            what()
        return True

    def _next(self) -> tuple[int, Callable[[], None]]:
        """What comes first: the venue, what is under way, the process's own deadline."""
        due_ns, what = self.venue.next_deadline() or self.now_ns, self._advance_venue
        if self._heap and self._heap[0][0] < due_ns:
            due_ns, what = self._heap[0][0], self._arrive
        process = self.process
        if process is not None:
            tick_ns = process.next_deadline_ns()
            if tick_ns is not None and tick_ns < due_ns:
                return tick_ns, process.tick
        return due_ns, what

    def _advance_venue(self) -> None:
        self.venue.advance(self.now_ns)
        self.perform()

    def _arrive(self) -> None:
        heapq.heappop(self._heap)[2]()

    # --- the process

    def begin(self, process: Process, started: Started) -> None:
        """A new process runs; the one before it is gone, and so are its sockets."""
        if self.process is not None and self.process.alive:
            self.process.die()
        self.process = process
        self.disk.begin(process.epoch)
        process.deliver(started)

    def killed(self, process: Process) -> None:
        """The process was killed amid a step."""
        process.die()

    def ended(self, process: Process, end: End) -> None:
        """The process stopped by itself."""

    def draw_kill(self, commands: int) -> int:
        """Before which of a step's commands a kill strikes."""
        return Random(f"kill:{self.now_ns}").randrange(commands + 1)

    # --- the venue

    def request_arrived(self, request: HttpRequest) -> None:
        self.venue.http(self.now_ns, request)
        self.perform()

    def upgrade_arrived(self, conn: int, path: str, headers: dict[str, str], peer: str) -> None:
        self.venue.open(self.now_ns, conn, path, headers, peer)
        self.perform()

    def frame_arrived(self, conn: int, text: str) -> None:
        self.venue.receive(self.now_ns, conn, text)
        self.perform()

    def hung_up(self, conn: int) -> None:
        self.venue.closed(self.now_ns, conn)
        self.perform()

    def perform(self) -> None:
        """Send what the venue has to say on its way."""
        process = self.process
        for effect in self.venue.take_effects():
            of_request = isinstance(effect, (Answer, NoAnswer, HangUp))
            number = effect.request_id if of_request else effect.conn  # type: ignore[union-attr]
            if number in self._asked:
                self._asked[number] = effect
            elif process is not None and number // EPOCH_SPAN == process.epoch:
                process.sockets.route(effect)
            elif self.guard is not None and number // EPOCH_SPAN == self.guard.epoch:
                self.guard.sockets.route(effect)
        self.watch.venue_moved()

    def ask(
        self, method: str, path: str, body: object = None, *, user: AccountOptions | None = None
    ) -> Any:
        """Somebody else's request, answered without delay; the decoded body."""
        self._count += 1
        number = -self._count
        raw = path if path.startswith("/control") else ROOT + path
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"}
        if user is not None:
            call = HttpCall(method, path, data)
            headers |= BitmexSigner(user.api_key, user.secret).sign(
                call, ROOT, self.venue.timeline.wall_ns // SECOND_NS + 5
            )
        self._asked[number] = NoAnswer(number)
        self.request_arrived(http_request(number, method, raw, headers, data, _SOMEBODY_ELSE))
        answer = self._asked.pop(number)
        assert isinstance(answer, Answer), answer
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def arm(self, fault: str, **fields: object) -> None:
        """Switch on one of the venue's own faults."""
        self.ask("POST", "/control/faults", {"fault": fault, **fields})

    def clear(self, fault: str | None = None) -> None:
        """Switch off one of the venue's faults, or all."""
        self.ask("DELETE", "/control/faults" + (f"?fault={fault}" if fault else ""))
