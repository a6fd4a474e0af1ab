"""Keeps the embedded venue alive while a trader lives on it: a death is seen, told and mended."""

import asyncio
import contextlib
from collections.abc import Callable

from chappie.guardian.aside import aside
from chappie.guardian.clock import now_s
from chappie.guardian.outlet import Outlet
from chappie.guardian.restarts import back_off_s
from chappie.guardian.venue import Venue, VenueFailedError
from chappie.model.config import SupervisorConfig

_UPKEEP_EVERY_S = 2.0
_UPKEEP_WITHIN_S = 30.0


class Keeper:
    """Call `tend` often; it never waits. ``changed`` is told of a venue with another pid.

    The first new start comes at once, for the trader waits for its venue; the next ones back off
    like a trader's, until a venue has lived for the longest back-off.
    """

    def __init__(
        self, venue: Venue, limits: SupervisorConfig, outlet: Outlet, changed: Callable[[], None]
    ) -> None:
        self._venue = venue
        self._limits = limits
        self._outlet = outlet
        self._changed = changed
        self._start: asyncio.Task[None] | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._upkeep_due_s = 0.0
        self._told_dead = False
        self._deaths = 0
        self._started_s = 0.0
        self._not_before_s = 0.0

    async def ensure(self) -> None:
        """Wait until it serves, for a trader that is about to start. Raises `VenueFailedError`."""
        if self._start is not None:
            await asyncio.wait({self._start})
        if await asyncio.to_thread(self._venue.ensure):
            self._is_up()

    def tend(self) -> None:
        """Keep its log bounded; where it died, begin a new start once that is due."""
        self._bound_its_log()
        if self._start is not None:
            if not self._start.done():
                return
            # A bug in there is one of the guardian's own.
            self._start.result()
            self._start = None
        if self._venue.is_running:
            return
        if not self._told_dead:
            self._told_dead = True
            self._outlet.event("error", "venue_died", pid=self._venue.pid)
            if now_s() - self._started_s > self._limits.backoff_max_s:
                self._deaths = 0
        if now_s() >= self._not_before_s:
            # The next try after this one, should it fail or not live long.
            self._not_before_s = now_s() + back_off_s(self._deaths, self._limits)
            self._deaths += 1
            self._start = asyncio.create_task(self._start_again())

    def _bound_its_log(self) -> None:
        """Aside: a disk that hangs must not stop the watch, in which this is called."""
        if self._upkeep is None or (self._upkeep.done() and now_s() >= self._upkeep_due_s):
            self._upkeep_due_s = now_s() + _UPKEEP_EVERY_S
            self._upkeep = asyncio.create_task(self._upkeep_aside())

    async def _upkeep_aside(self) -> None:
        with contextlib.suppress(TimeoutError, OSError):
            await aside(self._venue.upkeep, _UPKEEP_WITHIN_S)

    async def stop(self, within_s: float) -> None:
        """End it, and with it a start that is under way."""
        await asyncio.to_thread(self._venue.stop, within_s)
        if self._start is not None:
            await asyncio.wait({self._start}, timeout=within_s)

    async def _start_again(self) -> None:
        try:
            if await asyncio.to_thread(self._venue.ensure):
                self._is_up()
        except VenueFailedError as error:
            self._outlet.event("error", "venue_not_started", detail=str(error))

    def _is_up(self) -> None:
        self._told_dead = False
        self._started_s = now_s()
        self._outlet.event("info", "venue_started", pid=self._venue.pid, url=self._venue.rest_url)
        self._changed()
