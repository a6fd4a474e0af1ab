"""Blocking calls aside: each in a thread of its own, with a bound; nothing waits for a disk.

A daemon thread, because the process must be able to end while the call hangs.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(call: Callable[[], T], within_s: float) -> T:
    """What ``call`` returns or raises. Raises TimeoutError when it still hangs; it then goes on,
    and nobody hears of its end. The same where the machine has no thread left for it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # T may itself be None

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = call()
        # Whatever it is belongs to who asked, who is in another thread.
        except BaseException as error:  # noqa: BLE001
            failure = error
        # A loop that ended meanwhile wants no answer.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    try:
        threading.Thread(target=run, name="aside", daemon=True).start()
    except RuntimeError as error:
        raise TimeoutError(f"no thread can be started: {error}") from error
    return await asyncio.wait_for(done, within_s)
