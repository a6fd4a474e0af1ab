"""Fixtures that every test may use."""

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Hide the account, key and configuration of whoever runs the tests from the tests."""
    for name in sorted(os.environ):
        if name.startswith("CHAPPIE_") and name != "CHAPPIE_PYTHON":
            del os.environ[name]
    give_children_default_signals()


def give_children_default_signals() -> None:
    """What `nohup` or a shell's background made us ignore, our children would ignore too.

    A signal that is caught, unlike one that is ignored, goes back to its default at exec; a
    catcher that does nothing keeps our own patience.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of captured messages and recordings, which lies beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared is not beside the project: the captured data cannot be read")
    return folder
