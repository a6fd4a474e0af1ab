"""The log: JSON for programs, lines for people, a last line, and never a secret."""

import json
import os
import pty
from pathlib import Path

import pytest

from chappie.live import log as log_module
from chappie.live.log import Log, LogFile
from chappie.live.redact import Redactor

SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"


class Piped:
    """A log that writes into a pipe, and what came out of it."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.log = Log(Redactor(SECRET), fd=write)

    def lines(self) -> list[dict[str, object]]:
        try:
            return [json.loads(line) for line in os.read(self._read, 1 << 20).splitlines()]
        except BlockingIOError:
            return []


def test_elsewhere_than_on_a_terminal_a_line_is_one_object_of_json() -> None:
    piped = Piped()
    piped.log.info("stream_opened", conn=1, ratio=0.5, nothing=None)
    (line,) = piped.lines()
    assert line.pop("at")
    assert line == {
        "level": "info",
        "event": "stream_opened",
        "conn": 1,
        "ratio": 0.5,
        "nothing": None,
    }


def test_a_secret_is_starred_wherever_it_hides() -> None:
    piped = Piped()
    piped.log.warning(
        "frame",
        text=f"key={SECRET}",
        raw=SECRET.encode(),
        nested={"list": [SECRET, {"deep": SECRET}]},
        odd=ValueError(SECRET),
    )
    (line,) = piped.lines()
    assert SECRET not in json.dumps(line)
    assert json.dumps(line).count("***") == 5


def test_a_secret_cut_in_half_by_the_limit_is_starred_too() -> None:
    piped = Piped()
    piped.log.info("long", text="x" * (log_module._VALUE_MAX - 20) + SECRET)
    (line,) = piped.lines()
    assert SECRET[:20] not in str(line["text"])


def test_control_characters_are_escaped() -> None:
    piped = Piped()
    piped.log.info("odd", text="a\x1b[2Jb\nc\u202e\x9bd")
    (line,) = piped.lines()
    assert line["text"] == "a\\x1b[2Jb\\nc\\u202e\\x9bd"


def test_long_values_and_long_lines_are_cut_and_stay_json() -> None:
    piped = Piped()
    piped.log.info("long", text="x" * 10_000)
    piped.log.info("wide", a=1, many=["x" * 400] * 1000)
    long, wide = piped.lines()
    assert str(long["text"]).endswith("(10000 characters)")
    assert wide["a"] == 1
    assert wide["cut"] is True
    assert wide["many"] is None


def test_the_last_line_is_the_stop_and_is_written_once() -> None:
    piped = Piped()
    piped.log.stopped({"reason": "operator", "code": 0})
    piped.log.info("too late")
    piped.log.stopped({"reason": "loop_stalled", "code": 17})
    (line,) = piped.lines()
    assert (line["event"], line["reason"], line["code"]) == ("stopped", "operator", 0)


def test_a_reader_that_hangs_or_goes_away_does_not_hold_us_up() -> None:
    read, write = os.pipe()
    log = Log(fd=write)
    for _ in range(2_000):
        log.info("line", text="x" * 100)
    os.close(read)
    log.info("into nowhere")
    os.close(write)
    log.info("into a closed descriptor")


def test_the_file_gets_every_line_as_json_even_when_a_person_watches(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    log = Log(Redactor(SECRET), fd=theirs)
    log.attach(tmp_path / "trader.log")
    log.error("order_refused", detail=f"no {SECRET}", code=4)
    shown = os.read(ours, 10_000).decode()
    assert shown.split(" ", 1)[1].strip() == '!! order refused  detail="no ***"  code=4'
    (line,) = (tmp_path / "trader.log").read_text().splitlines()
    assert json.loads(line)["detail"] == "no ***"


def test_the_file_is_bounded_by_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_FILE_BYTES_MAX", 1000)
    file = LogFile(tmp_path / "trader.log")
    for number in range(100):
        file.write(b"%099d\n" % number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["trader.log", "trader.log.1", "trader.log.2", "trader.log.3"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert (tmp_path / "trader.log").read_bytes().endswith(b"99\n")


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    LogFile(tmp_path / "trader.log").write(b"line\n")
    assert (tmp_path / "trader.log").stat().st_mode & 0o077 == 0


def test_a_line_for_people_needs_no_utf_8_terminal() -> None:
    ours, theirs = pty.openpty()
    Log(fd=theirs).info("odd", text="\udcff")
    assert b"\\udcff" in os.read(ours, 10_000)
