"""The health of every stream, each on its own clock (controls F1, F2, F4, F5).

Quote and book together are the market data: it is stale when it was synced and then both fell
silent. Only increments reset its fault clock; a new image restarts no more than the soft clock.
"""

import msgspec

from chappie.model.config import FeedConfig
from chappie.model.enums import Stream
from chappie.model.units import seconds_ns

MARKET = (Stream.QUOTE, Stream.BOOK)
_SOFT_STOPS_TOLERATED = 2


class StreamHealth(msgspec.Struct):
    """Clocks of one stream, in the core's monotonic nanoseconds.

    ``unsynced_since_ns`` is None while synced; neither a reconnect nor a resubscription moves it.
    """

    unsynced_since_ns: int | None
    last_ns: int | None = None
    imaged_ns: int | None = None


class Feed:
    """What can be believed of the streams right now."""

    def __init__(self, config: FeedConfig, grace_s: float) -> None:
        self._soft_ns = seconds_ns(config.soft_stop_after_s)
        self._probe_ns = self._soft_ns // 2
        self._sync_ns = seconds_ns(config.sync_fault_after_s)
        self._grace_ns = seconds_ns(grace_s)
        self._health = {stream: StreamHealth(None) for stream in Stream}
        self._unsynced = 0
        self._quote = self._health[Stream.QUOTE]
        self._book = self._health[Stream.BOOK]
        self._market_ns = 0
        self._saw_market = False
        self._soft_base_ns = 0
        self._agreed_ns = 0
        self._soft_stops: list[int] = []

    def begin(self, now_ns: int) -> None:
        """The process starts: nothing is synced, and silence counts from here."""
        for health in self._health.values():
            health.unsynced_since_ns = now_ns
        self._unsynced = len(self._health)
        self._market_ns = self._soft_base_ns = self._agreed_ns = now_ns

    def health(self, stream: Stream) -> StreamHealth:
        return self._health[stream]

    # --- observations

    def advanced(self, stream: Stream, now_ns: int) -> None:
        """A consistent increment came."""
        self._health[stream].last_ns = now_ns
        if stream is Stream.QUOTE or stream is Stream.BOOK:
            self._market_ns = now_ns

    def imaged(self, stream: Stream, now_ns: int) -> None:
        """An image was applied: the stream is synced from here on."""
        health = self._health[stream]
        if health.unsynced_since_ns is not None:
            health.unsynced_since_ns = None
            self._unsynced -= 1
        health.last_ns = health.imaged_ns = now_ns
        if stream in MARKET:
            if not self._saw_market:
                self._saw_market = True
                self._market_ns = now_ns
            self._soft_base_ns = self._agreed_ns = now_ns

    def unsynced(self, stream: Stream, now_ns: int) -> None:
        """What we held of the stream is no longer true."""
        health = self._health[stream]
        if health.unsynced_since_ns is None:
            health.unsynced_since_ns = now_ns
            self._unsynced += 1
        if stream in MARKET:
            self._agreed_ns = now_ns

    def disconnected(self, now_ns: int) -> None:
        """The connection is gone: no image survives it (control F8)."""
        for stream in self._health:
            self.unsynced(stream, now_ns)

    def agreed(self, now_ns: int) -> None:
        """Top of book and quote showed the same prices."""
        self._agreed_ns = now_ns

    def soft_stopped(self, now_ns: int) -> None:
        self._soft_stops = [at for at in self._soft_stops if now_ns - at < self._sync_ns]
        self._soft_stops.append(now_ns)

    # --- judgements

    def synced(self, stream: Stream) -> bool:
        return self._health[stream].unsynced_since_ns is None

    def imaged_ns(self, stream: Stream) -> int | None:
        """When its image was applied; None while it is not synced."""
        health = self._health[stream]
        return health.imaged_ns if health.unsynced_since_ns is None else None

    @property
    def all_synced(self) -> bool:
        return self._unsynced == 0

    @property
    def market_synced(self) -> bool:
        return self._quote.unsynced_since_ns is None and self._book.unsynced_since_ns is None

    @property
    def silent_since_ns(self) -> int:
        """When the market data last moved; the process's start while there was none."""
        return self._market_ns

    def market_is_stale(self, now_ns: int) -> bool:
        """Synced and then silent for as long as the soft stop allows."""
        return self.market_synced and now_ns - self.soft_since_ns >= self._soft_ns

    @property
    def soft_since_ns(self) -> int:
        """From when on a silence counts for the soft stop."""
        return max(self._market_ns, self._soft_base_ns)

    def market_is_quiet(self, now_ns: int) -> bool:
        """Silent for half of that: time to ask who is there."""
        return self.market_synced and now_ns - self.soft_since_ns >= self._probe_ns

    def market_never_came(self) -> bool:
        return not self._saw_market

    def flaps(self, now_ns: int) -> bool:
        """Soft stops keep coming: reconnecting does not help."""
        recent = [at for at in self._soft_stops if now_ns - at < self._sync_ns]
        return len(recent) > _SOFT_STOPS_TOLERATED

    def disagrees(self, now_ns: int) -> bool:
        """Book and quote contradict each other for longer than messages may be under way."""
        return self.market_synced and now_ns - self._agreed_ns > self._grace_ns

    def age_ns(self, stream: Stream, now_ns: int) -> int | None:
        last = self._health[stream].last_ns
        return None if last is None else now_ns - last
