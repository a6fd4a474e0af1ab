"""What the core and the shell need of a venue; everything else of it stays in its own folder."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chappie.model.book import Book
from chappie.model.commands import HttpCall
from chappie.model.enums import Stream
from chappie.model.events import Answered
from chappie.model.instrument import Instrument
from chappie.model.orders import Approved, NewOrder
from chappie.model.reports import BudgetSeen, Outcome, Read, Report


class Capabilities(msgspec.Struct, frozen=True):
    """What a venue can do for our safety; what it lacks makes the bot more careful.

    ``cl_ord_ids_unique``: for ever, or only among open orders. ``dead_man``: what its switch
    covers. ``deadline_in_engine``: whether an expired request is refused by the matching engine
    or only at the door. ``page_rows``: the most rows one read returns.
    """

    cl_ord_ids_unique_for_ever: bool
    dead_man_covers: str
    deadline_in_engine: bool
    page_rows: int
    cl_ord_id_max: int


class Session(Protocol):
    """One websocket connection's worth of decoded state: acks, mirrors, the book."""

    book: Book

    def subscriptions(self) -> Sequence[bytes]:
        """The frames that subscribe to every stream, to be sent once welcomed."""
        ...

    def resubscribe(self, stream: Stream) -> Sequence[bytes]:
        """The frames that drop and ask anew for one stream, its mirror forgotten."""
        ...

    def ping(self) -> bytes:
        """A frame that the venue must answer."""
        ...

    def receive(self, payload: bytes) -> Sequence[Report]:
        """What one frame says. Never raises for what the venue sent."""
        ...


class Dialect(Protocol):
    """How a venue is spoken to, for one symbol."""

    capabilities: Capabilities

    def session(self, instrument: Instrument) -> Session: ...

    def read_key(self) -> HttpCall: ...

    def read_instrument(self) -> HttpCall: ...

    def read_open_orders(self) -> HttpCall: ...

    def read_order(self, cl_ord_id: str) -> HttpCall: ...

    def read_fills(self, since_ns: int, start: int) -> HttpCall: ...

    def read_position(self) -> HttpCall: ...

    def read_margin(self) -> HttpCall: ...

    def new_order(self, order: Approved[NewOrder], instrument: Instrument) -> HttpCall: ...

    def cancel(self, cl_ord_ids: Sequence[str], order_ids: Sequence[str]) -> HttpCall: ...

    def arm_switch(self, timeout_s: float) -> HttpCall: ...

    def understand(
        self, read: Read | None, answer: Answered, instrument: Instrument | None
    ) -> tuple[Outcome, BudgetSeen]:
        """What an answer says; ``read`` None for orders, cancels and the switch. Never raises."""
        ...

    def stated_time(self, answer: Answered) -> int | None:
        """The venue's time when it answered, UNIX nanoseconds cut to whole seconds; None where the
        answer does not say.
        """
        ...

    def upgrade_refused(self, status: int, detail: str, retry_after: str | None = None) -> Outcome:
        """What a refused websocket upgrade proves; ``status`` 0: nobody answered.

        ``retry_after`` is that header as it came.
        """
        ...


class Signer(Protocol):
    """Turns calls into signed ones. Holds the secret, so only the shell has one."""

    def sign(self, call: HttpCall, root: str, expires_s: int) -> dict[str, str]:
        """Headers for ``call`` under the url path ``root`` (such as ``/api/v1``)."""
        ...

    def login(self, path: str, expires_s: int) -> dict[str, str]:
        """Headers that log a websocket upgrade on ``path`` in."""
        ...
