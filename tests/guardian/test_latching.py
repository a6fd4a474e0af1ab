import asyncio
import threading
from pathlib import Path

import pytest

from chappie.guardian import latching
from chappie.live import latch


class Log:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __call__(self, level: str, event: str, **fields: object) -> None:
        self.said.append((event, str(fields["detail"])))


def test_a_halt_is_latched_once_and_read_back(tmp_path: Path) -> None:
    log = Log()
    assert asyncio.run(latching.halted(tmp_path)) is None
    asyncio.run(latching.halt(tmp_path, "invariant_violated: two orders", log))
    assert asyncio.run(latching.halted(tmp_path)) == "invariant_violated: two orders"
    assert log.said == [("halted", "invariant_violated: two orders")]


def test_a_latch_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    log = Log()
    asyncio.run(latching.halt(tmp_path / "nowhere", "why", log))
    assert log.said[0][0] == "halt_not_latched"


def test_a_disk_that_does_not_answer_is_a_halt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(latching, "_DISK_WITHIN_S", 0.05)
    monkeypatch.setattr(latch, "read", lambda path: hangs.wait())
    assert "does not answer" in (asyncio.run(latching.halted(tmp_path)) or "")
    hangs.set()
