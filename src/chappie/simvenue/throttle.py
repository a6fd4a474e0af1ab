"""Request budgets: the token buckets of accounts and addresses, and the ban (protocol section 3).

Two layers, both refilled continuously: requests a minute of an account (or of an address that
sends no key), and requests a second on the routes of order entry. A 429 is an error like any
other, and too many errors in a short time ban the address.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

import msgspec

from chappie.simvenue.options import SECOND_NS, Limits

_V = TypeVar("_V")

PEERS_MAX = 10_000
"""So many addresses and accounts are remembered; past it the longest known one is forgotten."""


class Bucket:
    """Tokens that refill continuously; exact, in units of a token times the period."""

    def __init__(self, at_ns: int, capacity: int, period_ns: int) -> None:
        self.capacity = capacity
        self.period_ns = period_ns
        self._level = capacity * period_ns
        self._at_ns = at_ns

    def take(self, at_ns: int) -> bool:
        """Take one token if there is a whole one."""
        self._refill(at_ns)
        if self._level < self.period_ns:
            return False
        self._level -= self.period_ns
        return True

    def remaining(self, at_ns: int) -> int:
        """Whole tokens left."""
        self._refill(at_ns)
        return self._level // self.period_ns

    def next_token_ns(self, at_ns: int) -> int:
        """When the next request is possible: now, if a whole token is there."""
        self._refill(at_ns)
        missing = self.period_ns - self._level
        if missing <= 0 or self.capacity <= 0:
            return at_ns
        return at_ns + -(-missing // self.capacity)

    def drain(self, at_ns: int) -> None:
        """Empty the bucket, as a fault may."""
        self._refill(at_ns)
        self._level = 0

    def _refill(self, at_ns: int) -> None:
        elapsed = max(0, at_ns - self._at_ns)
        self._level = min(self.capacity * self.period_ns, self._level + elapsed * self.capacity)
        self._at_ns = max(self._at_ns, at_ns)


class Verdict(msgspec.Struct, frozen=True):
    """Whether a request may pass, and the headers that tell the client where it stands."""

    allowed: bool
    headers: tuple[tuple[str, str], ...]
    retry_after_s: int = 0


class Throttle:
    """All budgets of one venue. Bounded: the longest known address is forgotten first."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._minute: dict[str, Bucket] = {}
        self._second: dict[str, Bucket] = {}
        self._connects: dict[str, Bucket] = {}
        self._errors: dict[str, deque[int]] = {}
        self._banned_until_ns: dict[str, int] = {}

    def admit(self, at_ns: int, account: int | None, peer: str, second_layer: bool) -> Verdict:
        """Count one request. A request that the second layer refuses has cost its minute token."""
        limit = self.limits.per_minute if account is not None else self.limits.per_minute_public
        name = f"account {account}" if account is not None else f"peer {peer}"
        minute = _bucket(self._minute, name, at_ns, limit, 60 * SECOND_NS)
        allowed = minute.take(at_ns)
        binding = minute
        extra: tuple[tuple[str, str], ...] = ()
        if second_layer and account is not None:
            second = _bucket(self._second, name, at_ns, self.limits.per_second, SECOND_NS)
            if allowed and not second.take(at_ns):
                allowed = False
                binding = second
            extra = (
                ("x-ratelimit-limit-1s", str(self.limits.per_second)),
                ("x-ratelimit-remaining-1s", str(second.remaining(at_ns))),
            )
        # Captured answers put the reset one second ahead while tokens are left.
        reset_ns = max(binding.next_token_ns(at_ns), at_ns + SECOND_NS)
        headers = (
            ("x-ratelimit-limit", str(limit)),
            ("x-ratelimit-remaining", str(minute.remaining(at_ns))),
            ("x-ratelimit-reset", str(reset_ns // SECOND_NS)),
            *extra,
        )
        wait_ns = binding.next_token_ns(at_ns) - at_ns
        retry_after_s = 0 if allowed else max(1, -(-wait_ns // SECOND_NS))
        return Verdict(allowed, headers, retry_after_s)

    def connect(self, at_ns: int, peer: str) -> bool:
        """Count one websocket connection of an address."""
        hour_ns = 3600 * SECOND_NS
        limit = self.limits.ws_connects_per_hour
        return _bucket(self._connects, peer, at_ns, limit, hour_ns).take(at_ns)

    def note_error(self, at_ns: int, peer: str) -> None:
        """Count an answer of 400 or above; enough of them in the window ban the address."""
        times = self._errors.get(peer)
        if times is None:
            _bound(self._errors)
            times = self._errors[peer] = deque(maxlen=max(1, self.limits.ban_errors))
        times.append(at_ns)
        window_ns = int(self.limits.ban_window_s * SECOND_NS)
        if len(times) == times.maxlen and at_ns - times[0] <= window_ns:
            times.clear()
            again = peer in self._banned_until_ns
            ban_s = self.limits.ban_again_s if again else self.limits.ban_s
            _bound(self._banned_until_ns)
            self._banned_until_ns[peer] = at_ns + int(ban_s * SECOND_NS)

    def banned(self, at_ns: int, peer: str) -> bool:
        """Whether the address is banned now."""
        return at_ns < self._banned_until_ns.get(peer, at_ns)

    def drain(self, at_ns: int, account: int) -> None:
        """Take everything that is left of an account's minute."""
        name = f"account {account}"
        _bucket(self._minute, name, at_ns, self.limits.per_minute, 60 * SECOND_NS).drain(at_ns)

    def lift_bans(self) -> None:
        """Forget every ban and every counted error."""
        self._banned_until_ns.clear()
        self._errors.clear()


def _bucket(
    buckets: dict[str, Bucket], name: str, at_ns: int, capacity: int, period_ns: int
) -> Bucket:
    bucket = buckets.get(name)
    if bucket is None:
        _bound(buckets)
        bucket = buckets[name] = Bucket(at_ns, capacity, period_ns)
    return bucket


def _bound(remembered: dict[str, _V]) -> None:
    while len(remembered) >= PEERS_MAX:
        del remembered[next(iter(remembered))]
