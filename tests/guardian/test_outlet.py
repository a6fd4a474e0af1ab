import os
import threading
import time
from pathlib import Path

import msgspec

from chappie.guardian.outlet import DisplayGoneError, Outlet, Tape
from chappie.guardian.shown import Shown
from tests.guardian.rig import Screen


def test_the_tape_gives_whole_lines_in_order_and_the_rest_at_the_end() -> None:
    tape = Tape()
    os.write(tape.fd, b"one\ntw")
    assert tape.new_lines() == ["one"]
    os.write(tape.fd, b"o\nthree")
    assert tape.new_lines() == ["two"]
    assert tape.new_lines(all_of_it=True) == ["three"]


def test_the_tape_is_bounded() -> None:
    tape = Tape()
    for _ in range(100):
        os.write(tape.fd, b"x" * 65_535 + b"\n")
        tape.new_lines()
    assert os.fstat(tape.fd).st_size < 2_000_000


def test_the_tape_is_bounded_though_nobody_reads_it() -> None:
    tape = Tape()
    os.write(tape.fd, b"first\n")
    assert tape.new_lines() == ["first"]
    for _ in range(300):
        os.write(tape.fd, b"x" * 65_535 + b"\n")
        tape.upkeep()
        assert os.fstat(tape.fd).st_size <= 8_100_000
    seen = []
    while lines := tape.new_lines():
        seen += lines
    # It was emptied twice, and what came after reads as whole lines.
    assert len(seen) == 300 - 2 * 123
    assert {len(line) for line in seen} == {65_535}


def test_a_burst_larger_than_one_look_is_read_in_full() -> None:
    tape = Tape()
    for number in range(40_000):
        os.write(tape.fd, b"%060d\n" % number)
    seen: list[str] = []
    while lines := tape.new_lines():
        seen += lines
    assert [int(line) for line in seen] == list(range(40_000))


def test_the_last_plain_line_is_what_was_said_to_people() -> None:
    tape = Tape()
    os.write(tape.fd, b'Traceback:\nModuleNotFoundError: x\x1b\n{"event":"stopped"}\n')
    assert tape.last_plain_line() == "ModuleNotFoundError: x\\x1b"
    assert Tape().last_plain_line() == ""


def test_events_reach_the_display_and_the_file_before_it_closes(tmp_path: Path) -> None:
    screen = Screen()
    outlet = Outlet(tmp_path, screen, lambda: None)
    outlet.start()
    for number in range(50):
        outlet.event("info", "counted", number=number)
    os.write(outlet.tape.fd, b"last words without an end")
    outlet.close(5.0)
    assert not outlet.is_stuck
    kept = [msgspec.json.decode(line) for line in (tmp_path / "guardian.log").open("rb")]
    assert [record["number"] for record in kept] == list(range(50))
    assert "last words without an end" in screen.seen
    assert screen.closed


def test_a_blocked_terminal_blocks_nobody_and_loses_the_oldest_lines_only(tmp_path: Path) -> None:
    held = threading.Event()

    class Held(Screen):
        def lines(self, lines: list[str]) -> None:
            held.wait()
            super().lines(lines)

    screen = Held()
    outlet = Outlet(tmp_path, screen, lambda: None)
    outlet.start()
    began = time.monotonic()
    for number in range(20_000):
        outlet.event("info", "counted", number=number)
    outlet.close(0.1)
    assert time.monotonic() - began < 5.0
    assert outlet.is_stuck
    held.set()
    outlet.close(5.0)
    assert screen.events()[-1]["number"] == 19_999


def test_a_lost_terminal_is_told_once_and_not_used_again(tmp_path: Path) -> None:
    told: list[bool] = []

    class Lost(Screen):
        def lines(self, lines: list[str]) -> None:
            raise DisplayGoneError

        def show(self, shown: Shown) -> None:
            raise AssertionError("a lost terminal was used again")

    outlet = Outlet(tmp_path, Lost(), lambda: told.append(True))
    outlet.start()
    outlet.event("info", "one")
    outlet.close(5.0)
    assert told == [True]


def test_a_state_folder_that_takes_no_bytes_costs_the_file_only(tmp_path: Path) -> None:
    screen = Screen()
    outlet = Outlet(tmp_path / "not there", screen, lambda: None)
    outlet.start()
    outlet.event("info", "one")
    outlet.close(5.0)
    assert screen.names() == ["one"]
