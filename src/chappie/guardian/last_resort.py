"""The last resort: a thread that ends the process when an orderly end takes too long."""

import os
import sys
import threading
from collections.abc import Callable

from chappie.model.faults import StopReason

_GONE_WITHIN_S = 4.8
"""From being asked to end until the last resort ends us; five seconds are promised."""


class LastResort(threading.Thread):
    """Ends the process, whatever its loop is stuck in, unless it is dismissed in time."""

    def __init__(self, kill_everything: Callable[[], None]) -> None:
        super().__init__(name="last-resort", daemon=True)
        self._kill_everything = kill_everything
        self._dismissed = threading.Event()

    def dismiss(self) -> None:
        self._dismissed.set()

    def run(self) -> None:
        if self._dismissed.wait(_GONE_WITHIN_S):
            return
        self._kill_everything()
        os.write(
            sys.stderr.fileno(),
            b"chappie: the orderly end took too long; everything was killed\n",
        )
        os._exit(StopReason.INTERNAL_ERROR.value)
