"""What a simulated venue can be told at start: its address, market, accounts, limits, delays.

Everything has a default that a developer's machine can live with; the limits are the real
venue's (protocol sections 3 and 6) and can be relaxed for tests that mean something else.
"""

from __future__ import annotations

import msgspec

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Request budgets and the ban, as the real venue has them (protocol section 3)."""

    per_minute: int = 120
    """Requests a minute of one account, refilled continuously."""
    per_minute_public: int = 30
    """Requests a minute of one address that sends no key."""
    per_second: int = 10
    """The second layer: order entry, cancels and the position routes of one account."""
    ws_connects_per_hour: int = 720
    ban_errors: int = 100
    """So many answers of 400 and above inside `ban_window_s` earn a ban of the address.

    The venue says only "many in a short time"; the number is ours.
    """
    ban_window_s: float = 60.0
    ban_s: float = 3600.0
    ban_again_s: float = 7 * 86_400.0
    ws_errors: int = 50
    """A websocket session that was refused this often is closed."""


class AccountOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One account and the key that opens it; several keys may open one account."""

    account: int
    api_key: str
    secret: str
    permissions: tuple[str, ...] = ("order",)
    """Any of `order`, `orderCancel`, `withdraw`; none at all is a key that only reads."""
    deposit: int = 100_000_000
    """Satoshi on a new account; an account restored from the state folder keeps its wallet."""


class VenueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The whole venue. `serve` of `server.py` takes one of these."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port; the urls are in what `ready` is called with."""
    symbol: str = "XBTUSD"
    seed: int = 1
    rate: float | None = None
    """Market events a second of the synthetic flow; none leaves the flow's own default."""
    tape: str | None = None
    """A recorded capture to replay instead of the synthetic flow."""
    speed: float = 1.0
    """The tape's speed."""
    loop: bool = True
    """Whether the tape begins again at its end."""
    state_dir: str | None = None
    """Where accounts and the demo key are kept between runs; none forgets them."""
    accounts: tuple[AccountOptions, ...] = ()
    """None makes a demo account with a key of its own."""
    demo_deposit: int = 100_000_000
    lifeline_fd: int | None = None
    """An inherited descriptor; the venue ends when its other side is closed."""
    limits: Limits = Limits()
    image_delay_ms: int = 200
    """How late the images of instrument and orderBookL2 come; up to 2500 at the real venue."""
    early_deltas: bool = False
    """Whether changes of a table may arrive before its image (protocol section 9, case 1).

    Off, as in the capture of 2021; clients that we did not write die of it.
    """
    publish_ms: int = 100
    """How often the throttled tables orderBookL2_25 and orderBook10 are compared and sent."""
    idle_close_s: float = 180.0
    send_queue_bytes_max: int = 64 * 1024 * 1024
    """A websocket client that lets more than this wait is closed."""
