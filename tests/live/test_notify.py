"""The datagrams to systemd, byte for byte, at a socket of our own."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chappie.live import notify
from chappie.live.notify import Notify, Told, status_of
from chappie.model.link import Beat, Ending, HaltSeen
from chappie.model.state import Mode
from tests.guardian.states import faulted, healthy


class Ear:
    """What systemd would hear."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(str(tmp_path / "notify"))
    yield made
    made.socket.close()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(notify.time, "monotonic", made.monotonic)
    return made


def told(tmp_path: Path, **environ: str) -> Notify:
    return Notify.take({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environ})


def test_the_first_turn_is_ready_and_later_ones_prove_life(
    ear: Ear, tmp_path: Path, clock: Clock
) -> None:
    it = told(tmp_path, WATCHDOG_USEC="4000000")
    it.turned("starting")
    assert ear.heard() == ["READY=1\nWATCHDOG=1\nSTATUS=starting"]
    clock.now_s += 0.9
    it.turned("starting")
    assert ear.heard() == []
    clock.now_s += 0.1
    it.turned("trading")
    assert ear.heard() == ["WATCHDOG=1\nSTATUS=trading"]


def test_without_a_watchdog_only_ready_and_changes_are_told(
    ear: Ear, tmp_path: Path, clock: Clock
) -> None:
    it = told(tmp_path)
    for _ in range(5):
        it.turned("trading")
        clock.now_s += 10.0
    it.turned("faulted: market_stale")
    assert ear.heard() == ["READY=1\nSTATUS=trading", "STATUS=faulted: market_stale"]


def test_a_status_that_flickers_is_told_once_a_second_and_the_last_one_arrives(
    ear: Ear, tmp_path: Path, clock: Clock
) -> None:
    it = told(tmp_path)
    it.turned("a")
    it.turned("b")
    clock.now_s += 1.0
    it.turned("b")
    assert ear.heard() == ["READY=1\nSTATUS=a", "STATUS=b"]


def test_a_watchdog_that_is_meant_for_another_process_is_not_ours(ear: Ear, tmp_path: Path) -> None:
    told(tmp_path, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid() + 1)).turned("x")
    assert ear.heard() == ["READY=1\nSTATUS=x"]
    told(tmp_path, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid())).turned("x")
    assert "WATCHDOG=1" in ear.heard()[0]


def test_the_end_is_told_once_and_on_one_line(ear: Ear, tmp_path: Path) -> None:
    it = told(tmp_path)
    it.ending("signal\nSIGTERM")
    it.ending("again")
    assert ear.heard() == ["STOPPING=1\nSTATUS=ending: signal SIGTERM"]


def test_our_children_do_not_inherit_it(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/h"}
    Notify.take(environ)
    assert environ == {"HOME": "/h"}


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": ""}])
def test_without_a_socket_nobody_is_told(environ: dict[str, str]) -> None:
    it = Notify.take(dict(environ))
    it.turned("x")
    it.ending("y")


def test_an_abstract_socket_is_found() -> None:
    name = f"chappie-test-{os.getpid()}"
    ear = Ear("\0" + name)
    Notify.take({"NOTIFY_SOCKET": "@" + name}).turned("x")
    assert ear.heard() == ["READY=1\nSTATUS=x"]
    ear.socket.close()


def test_a_socket_that_is_gone_or_full_costs_nothing(ear: Ear, tmp_path: Path) -> None:
    it = told(tmp_path, WATCHDOG_USEC="1")
    for number in range(2_000):
        it.turned(str(number))
    ear.socket.close()
    it.ending("x")


def test_a_nonsense_period_is_no_watchdog(ear: Ear, tmp_path: Path) -> None:
    told(tmp_path, WATCHDOG_USEC="soon").turned("x")
    told(tmp_path, WATCHDOG_USEC="0").turned("x")
    assert ear.heard() == ["READY=1\nSTATUS=x"] * 2


def test_the_status_is_mode_and_faults_in_a_few_words() -> None:
    assert status_of(Mode.TRADING, []) == "trading"
    assert status_of(Mode.FAULTED, faulted().faults) == "faulted: stream_unsynced, budget_low"
    many = [msgspec.structs.replace(faulted().faults[0], fault=f"f{n}") for n in range(5)]
    assert status_of(Mode.FAULTED, many) == "faulted: f0, f1, f2 and 2 more"


class FakeLink:
    def __init__(self) -> None:
        self.got: list[object] = []

    def beat(self, beat: Beat) -> None:
        self.got.append(beat)

    def halt_seen(self, seen: HaltSeen) -> None:
        self.got.append(seen)

    def ending(self, ending: Ending) -> None:
        self.got.append(ending)


def test_systemd_and_the_guardian_hear_the_same(ear: Ear, tmp_path: Path) -> None:
    link = FakeLink()
    both = Told(told(tmp_path), link)
    said = [Beat(1, healthy()), HaltSeen("halted"), Ending("halted", 20, "too hot")]
    both.beat(said[0])  # type: ignore[arg-type]
    both.halt_seen(said[1])  # type: ignore[arg-type]
    both.ending(said[2])  # type: ignore[arg-type]
    assert link.got == said
    assert ear.heard() == ["READY=1\nSTATUS=observing", "STOPPING=1\nSTATUS=ending: halted"]
    alone = Told(told(tmp_path), None)
    alone.beat(Beat(1, healthy()))
    alone.halt_seen(HaltSeen("x"))
    alone.ending(Ending("operator", 0, "y"))
