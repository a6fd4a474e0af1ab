import asyncio
import threading

import pytest

from chappie.guardian.aside import aside


def test_what_a_call_returns_or_raises_comes_back() -> None:
    def fails() -> int:
        raise OSError("no")

    async def scene() -> None:
        assert await aside(lambda: 7, 5.0) == 7
        assert await aside(lambda: None, 5.0) is None
        with pytest.raises(OSError, match="no"):
            await aside(fails, 5.0)

    asyncio.run(scene())


def test_a_call_that_hangs_is_left_behind_and_the_loop_can_end() -> None:
    hangs = threading.Event()

    async def scene() -> None:
        with pytest.raises(TimeoutError):
            await aside(hangs.wait, 0.05)

    asyncio.run(scene())
    # Its end is nobody's business any more.
    hangs.set()
