import os
import subprocess
import sys
from pathlib import Path

import pytest

from chappie.guardian.instance import (
    Lock,
    NotAloneError,
    Run,
    forget_run,
    read_run,
    trader_is_there,
    write_run,
)
from chappie.live.state_dir import StateDir


def test_a_second_guardian_on_the_same_folder_is_refused_and_told_who_holds_it(
    tmp_path: Path,
) -> None:
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.take()
    with pytest.raises(NotAloneError, match=f"pid {os.getpid()}"):
        second.take()
    first.close()
    second.take()
    second.close()


@pytest.mark.processes
def test_the_lock_ends_with_its_process_and_children_do_not_keep_it(tmp_path: Path) -> None:
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.take()
    # A child that outlives the lock's owner must not hold the folder.
    child = subprocess.Popen(
        [sys.executable, "-c", "input(1)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    # Its parent may run on a moment before the kernel has closed what an exec closes.
    assert child.stdout is not None
    assert child.stdout.read(1) == b"1"
    first.close()
    second.take()
    second.close()
    child.kill()
    child.communicate()


def test_a_trader_that_holds_the_folder_is_seen_and_one_that_ended_is_not(tmp_path: Path) -> None:
    assert not trader_is_there(tmp_path)
    state = StateDir(tmp_path)
    assert trader_is_there(tmp_path)
    state.close()
    assert not trader_is_there(tmp_path)
    # Looking must not take it away from a trader that starts now.
    StateDir(tmp_path).close()


def test_who_may_not_look_takes_nobody_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    assert trader_is_there(tmp_path)


def test_run_json_reads_back_and_is_forgotten(tmp_path: Path) -> None:
    run = Run(pid=os.getpid(), operator="http://127.0.0.1:8642", trader_pid=5)
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run
    assert run.is_alive
    forget_run(tmp_path)
    assert read_run(tmp_path) is None
    forget_run(tmp_path)


def test_a_broken_run_json_is_nobody(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert read_run(tmp_path) is None
