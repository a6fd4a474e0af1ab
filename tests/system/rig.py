"""The product as its users run it: processes, their folders, what they say, and a venue to hold
them against, whose own log of requests and truth are asked over its control routes.
"""

import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from chappie.journal.framing import FrameReader
from chappie.model.records import Fill, Kept
from tests.conftest import ROOT
from tests.simvenue.served import served

PATIENCE_S = 20.0
FREE = ("operator.port=0",)
# Everything in a tenth of its usual time, for what has to be waited out.
SHORT = (
    "orders.ack_timeout_s=0.6",
    "orders.expires_after_s=1",
    "orders.resolve_within_s=4",
    "feed.check_every_s=0.1",
    "feed.soft_stop_after_s=1.0",
    "feed.fault_after_s=3.0",
    "feed.sync_fault_after_s=8.0",
    "reconcile.every_s=1.0",
    "reconcile.grace_s=0.6",
    "reconcile.fault_after_s=6.0",
    "supervisor.backoff_initial_s=0.2",
)
TRADING = (
    "bot.allow_trade=true",
    "bot.policy=cycle",
    "policy.cycle.period_s=1.5",
    "orders.style=limit",
)
# What creates or amends, and what may exist only for the sake of an order.
_CHANGING = ("/order", "/position")


def get_json(
    url: str, method: str = "GET", body: str | None = None, headers: dict[str, str] | None = None
) -> Any:
    """The decoded answer of a local server."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        kind = {"content-type": "application/json"}
        connection.request(method, target, body, kind | (headers or {}))
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, f"{method} {url}: {answer.status} {data[:300]!r}"
        return json.loads(data)
    finally:
        connection.close()


class Seat:
    """One account of a venue: its key, its truth, and faults that hit nobody else."""

    def __init__(self, venue: "Venue", account: int) -> None:
        self.venue = venue
        self.account = account
        self.key = f"system-key-{account}-4711"
        self.secret = f"system-secret-{account}-do-not-show"

    def arm(self, fault: str, **values: object) -> None:
        self.venue.arm(fault, account=self.account, **values)

    def requests(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.venue.control(f"requests?account={self.account}")
        return rows

    def changes(self) -> list[dict[str, Any]]:
        """The requests that create or amend an order, or arm a switch for the sake of one."""
        return [
            row
            for row in self.requests()
            if row["method"] in ("POST", "PUT")
            and row["path"].removeprefix("/api/v1").startswith(_CHANGING)
        ]

    def new_orders(self) -> list[dict[str, Any]]:
        return [row for row in self.changes() if row["path"] == "/api/v1/order"]

    def truth(self) -> dict[str, Any]:
        found: dict[str, Any] = self.venue.control(f"truth?account={self.account}")
        return found

    def open_orders(self) -> list[dict[str, Any]]:
        return [row for row in self.truth()["orders"] if row["leavesQty"] > 0]

    def trades(self) -> list[dict[str, Any]]:
        return [row for row in self.truth()["executions"] if row["execType"] == "Trade"]

    def armed(self) -> list[dict[str, Any]]:
        """The faults of this account alone that still have a use left."""
        rows: list[dict[str, Any]] = self.venue.control("faults")["armed"]
        return [row for row in rows if row["account"] == self.account and row["left"] != 0]

    def mend(self) -> None:
        """Clear the faults of this account alone."""
        for row in self.armed():
            self.venue.control(f"faults?number={row['number']}", "DELETE")

    def place(self, **order: object) -> dict[str, Any]:
        """An order by somebody else: another program, or a person, on the same account."""
        body = json.dumps({"symbol": "XBTUSD", **order})
        path, expires = "/api/v1/order", str(int(time.time()) + 30)
        text = f"POST{path}{expires}{body}"
        signature = hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        signed = {"api-key": self.key, "api-expires": expires, "api-signature": signature}
        url = self.venue.rest_url.removesuffix("/api/v1") + path
        found: dict[str, Any] = get_json(url, "POST", body, signed)
        return found

    def position_qty(self) -> int:
        return sum(row["currentQty"] for row in self.truth()["position"])


class Venue:
    """The levers of one simulated venue, and seats at it, each handed out once."""

    def __init__(self, where: dict[str, Any], seats: int) -> None:
        self.rest_url: str = where["rest_url"]
        self.ws_url: str = where["ws_url"]
        self.process: subprocess.Popen[str] = where["process"]
        self._control_url: str = where["control_url"]
        self._seats = [Seat(self, number) for number in range(seats, 0, -1)]

    def seat(self) -> Seat:
        return self._seats.pop()

    def control(self, path: str, method: str = "GET", body: object = None) -> Any:
        text = None if body is None else json.dumps(body)
        return get_json(f"{self._control_url}/{path}", method, text)

    def get(self, path: str) -> Any:
        """What the venue's public API answers."""
        return get_json(f"{self.rest_url}{path}")

    def arm(self, fault: str, **values: object) -> None:
        self.control("faults", "POST", {"fault": fault, **values})

    def clear(self, fault: str | None = None) -> None:
        self.control("faults" if fault is None else f"faults?fault={fault}", "DELETE")


@contextmanager
def a_venue(*, seats: int = 1, **options: Any) -> Iterator[Venue]:
    """A venue with accounts of known keys, no delays to wait for, and room for many requests."""
    # The accounts are made by the same rule as the seats.
    made = [Seat(None, number) for number in range(1, seats + 1)]  # type: ignore[arg-type]
    wanted = {
        "accounts": [{"account": s.account, "api_key": s.key, "secret": s.secret} for s in made],
        "image_delay_ms": 0,
        "limits": {"per_minute": 1200, "ban_errors": 10_000},
        **options,
    }
    with served(**wanted) as where:
        yield Venue(where, seats)


class Bot:
    """One `chappie` process, its folder and what it said."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: str,
        *sets: str,
        seat: Seat | None = None,
        key: str | None = None,
        secret: str | None = None,
        args: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> Self:
        """Start `chappie COMMAND` with an empty home, no terminal, and only these settings."""
        given: list[str] = []
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(ROOT / "src"),
        }
        if seat is not None:
            venue = seat.venue
            given += [f"venue.rest_url={venue.rest_url}", f"venue.ws_url={venue.ws_url}"]
            environ |= {
                "CHAPPIE_API_KEY_FILE": self.private("key", key or seat.key),
                "CHAPPIE_API_SECRET_FILE": self.private("secret", secret or seat.secret),
            }
        flags = [part for text in (*given, *sets) for part in ("--set", text)]
        (self.folder / "home").mkdir(exist_ok=True)
        with (self.folder / "out").open("ab") as out, (self.folder / "err").open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "chappie", command, *flags, *args],
                cwd=self.folder,
                env=environ | (env or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self

    def private(self, name: str, text: str) -> str:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text + "\n")
        return str(path)

    # --- what it said

    @property
    def said(self) -> str:
        return (self.folder / "out").read_text() + (self.folder / "err").read_text()

    def events(self) -> list[dict[str, Any]]:
        """The trader's log, of every run so far."""
        path = self.state / "trader.log"
        text = path.read_text() if path.exists() else ""
        # A line that is being written ends later.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def named(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of one event with these fields."""
        return [
            line
            for line in self.events()
            if line["event"] == event and all(line.get(k) == v for k, v in fields.items())
        ]

    def faults(self) -> list[tuple[str, str]]:
        return [(line["fault"], line["subject"]) for line in self.named("fault")]

    def last_stop(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "last_stop.json").read_text())
        return found

    def run_file(self) -> dict[str, Any]:
        path = self.state / "run.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def shown(self) -> dict[str, Any]:
        """The body of `/api/state`; empty while nobody serves it."""
        operator = self.run_file().get("operator")
        if operator is None:
            return {}
        with suppress(OSError, http.client.HTTPException):
            found: dict[str, Any] = get_json(f"{operator}/api/state")
            return found
        return {}

    def fills(self) -> list[Fill]:
        """The fills in the kept log, read beside its writer: a last record that is still being
        written is not there yet."""
        path = self.state / "kept.log"
        decoder = msgspec.msgpack.Decoder(Kept)
        frames = FrameReader(path) if path.exists() else ()
        records = [decoder.decode(payload) for payload in frames]
        return [record for record in records if isinstance(record, Fill)]

    # --- waiting

    def until(
        self, holds: Callable[[], object], within_s: float = PATIENCE_S, every_s: float = 0.05
    ) -> None:
        until_s = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < until_s, self._story()
            time.sleep(every_s)

    def until_event(self, event: str, within_s: float = PATIENCE_S, **fields: object) -> None:
        self.until(lambda: self.named(event, **fields), within_s)

    def until_decides(self) -> None:
        self.until_event("decision")

    def until_new(self, event: str, since: int, **fields: object) -> None:
        """Wait for an event after the first so many lines of the log."""

        def is_there() -> bool:
            lines = self.events()[since:]
            wanted = {"event": event, **fields}
            return any(all(line.get(k) == v for k, v in wanted.items()) for line in lines)

        self.until(is_there)

    def until_mode(self, mode: str, within_s: float = PATIENCE_S) -> None:
        self.until(lambda: self.shown().get("mode") == mode, within_s)

    def ends(self, within_s: float = PATIENCE_S) -> int:
        assert self.process is not None
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._story()) from None

    def stop(self) -> int:
        """Ask it to end, as an operator or a supervisor would."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.ends(6.0)

    def kill(self) -> None:
        """Whatever is left of it, at the end of a test."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)

    def _story(self) -> str:
        lines = [json.dumps(line)[:400] for line in self.events()[-25:]]
        return "\n".join(["it did not happen; the log ends so:", *lines, self.said[-2000:]])


def agree(bot: Bot, seat: Seat, *, told: bool = True) -> None:
    """At the end: no order is left, and ledger and position are the venue's.

    With ``told`` False the streams were kept from telling: a fill of the last moment may then be
    missing, and the stop has to say that the account is not known.
    """
    assert seat.open_orders() == []
    stop = bot.last_stop()
    if told or stop["known"]:
        fills = sorted(fill.exec_id for fill in bot.fills())
        assert fills == sorted(row["execID"] for row in seat.trades())
        assert stop["position"] == seat.position_qty()


@dataclass(frozen=True)
class Scene:
    """A bot that is struck while it runs, and what to wait for before and after."""

    happens: Callable[["Played"], object]
    strikes: tuple[tuple[str, dict[str, Any]], ...]
    sets: tuple[str, ...] = ()
    within_s: float = PATIENCE_S
    when: Callable[["Played"], object] | None = None


class Played:
    """A scene that was played: the bot, stopped by now, its seat, and what it said before."""

    def __init__(self, bot: Bot, seat: Seat) -> None:
        self.bot = bot
        self.seat = seat
        self.before = 0
        self.hit = 0
        self.code: int | None = None
        self.failure: AssertionError | None = None

    def since(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of one event after the strike."""
        wanted = {"event": event, **fields}
        lines = self.bot.events()[self.before :]
        return [line for line in lines if all(line.get(k) == v for k, v in wanted.items())]

    def orders_since(self) -> list[dict[str, Any]]:
        """The requests for new orders after the strike."""
        return [row for row in self.seat.new_orders() if row["number"] > self.hit]


def play(
    venue: Venue, folder: Path, scenes: dict[str, Scene], sets: Sequence[str]
) -> dict[str, Played]:
    """Play all scenes at once, for waiting is most of what they do; each has its own account.

    One that goes wrong keeps its failure for the test that asks for it.
    """
    played = {
        name: Played(Bot(folder / str(number)), venue.seat()) for number, name in enumerate(scenes)
    }

    def each(act: Callable[[Scene, Played], None]) -> None:
        for name, one in played.items():
            if one.failure is None:
                try:
                    act(scenes[name], one)
                except AssertionError as failure:
                    one.failure = failure

    began_s = 0.0

    def left_s(within_s: float) -> float:
        """What is left of a time that began for all of them at once."""
        return max(1.0, began_s + within_s - time.monotonic())

    def strike(scene: Scene, one: Played) -> None:
        if scene.when is not None:
            one.bot.until(lambda: scene.when(one), left_s(60.0), every_s=0.01)
        one.before = len(one.bot.events())
        one.hit = max(row["number"] for row in one.seat.requests())
        for fault, values in scene.strikes:
            one.seat.arm(fault, **values)

    def end(scene: Scene, one: Played) -> None:
        one.code = one.bot.stop()

    try:
        each(lambda scene, one: void(one.bot.start("trade", *sets, *scene.sets, seat=one.seat)))
        began_s = time.monotonic()
        each(lambda scene, one: decides(one.bot, left_s(60.0)))
        began_s = time.monotonic()
        each(strike)
        began_s = time.monotonic()
        each(lambda s, one: one.bot.until(lambda: s.happens(one), left_s(s.within_s)))
        each(end)
    finally:
        for one in played.values():
            one.bot.kill()
        venue.clear()
    return played


def decides(bot: Bot, within_s: float) -> None:
    """Wait for the first decision, and not for one of a bot that has ended already."""
    process = bot.process
    assert process is not None
    bot.until(lambda: bot.named("decision") or process.poll() is not None, within_s)
    assert bot.named("decision"), bot._story()


def void(_: object) -> None:
    """For a call whose answer is of no use."""


def descendants(pid: int) -> list[int]:
    """The processes below one, as the kernel lists them."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found
