"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Hide the account, key and configuration of whoever runs the tests from the tests."""
    for name in sorted(os.environ):
        if name.startswith("CHAPPIE_") and name != "CHAPPIE_PYTHON":
            del os.environ[name]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of captured messages and recordings, which lies beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared is not beside the project: the captured data cannot be read")
    return folder
