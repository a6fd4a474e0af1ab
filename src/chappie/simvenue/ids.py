"""Identifiers that the venue gives: deterministic for a seed, unique over restarts."""

import hashlib

#: Room for the ids of one run of the venue: an epoch is one start, and starts must not collide.
_PER_EPOCH = 1 << 32


class Ids:
    """Hands out orderIDs, execIDs, trdMatchIDs, transactIDs and book level ids.

    Executions, matches and transactions share one counter, as their captured ids do
    (protocol section 8: sequential-looking GUIDs, a trdMatchID lies between two execIDs).
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self._key = f"{seed}:{epoch}:".encode()
        self._events = epoch * _PER_EPOCH
        self._orders = 0
        self._levels = epoch * _PER_EPOCH

    def order(self) -> str:
        self._orders += 1
        text = hashlib.blake2b(self._key + b"%d" % self._orders, digest_size=16).hexdigest()
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def execution(self) -> str:
        self._events += 1
        return f"00000000-006d-1000-0000-{self._events:012x}"

    def transaction(self) -> str:
        self._events += 1
        return f"00000000-0075-1000-0000-{self._events:012x}"

    def level(self) -> int:
        """Arbitrary, as real ids are since 2023-06-26; never to be decoded into a price."""
        self._levels += 1
        return 62_400_000_000 + (self._levels * 7919) % 30_000_000_011


NO_ID = "00000000-0000-0000-0000-000000000000"
