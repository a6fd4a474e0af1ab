"""The corpus of captured messages, read once."""

from pathlib import Path

import pytest

from tests.venues.bitmex.captured import Corpus


@pytest.fixture(scope="session")
def corpus(shared_data: Path) -> Corpus:
    return Corpus(shared_data)
