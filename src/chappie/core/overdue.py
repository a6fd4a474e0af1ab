"""What REST and answers showed of our account and a private stream has not told (control F1).

A private table is never stale by silence, for nothing may have happened; it is overdue when
something did. Only what the stream must have told is held against it: of orders that it knows or
that were sent since its image, and of wallets that two reads in a row agree on.
"""

from collections.abc import Iterator

import msgspec

from chappie.core.feed import Feed
from chappie.core.orders import Order, rank
from chappie.model.enums import Stream
from chappie.model.records import Fill
from chappie.model.reports import MarginSaid, OrderSaid
from chappie.model.units import Minor, seconds_ns

# More orders than are ever looked at; the oldest are forgotten.
_TOLD_MAX = 1_000


class Word(msgspec.Struct, frozen=True):
    """How far an order has come, as one channel knows it."""

    rank: int
    cum_qty: int
    at_ns: int

    def covers(self, other: "Word") -> bool:
        return self.rank >= other.rank and self.cum_qty >= other.cum_qty


class _Shown(msgspec.Struct, frozen=True):
    word: Word
    born_ns: int
    status: str


class Overdue:
    """What waits to be told by the streams `order`, `execution` and `margin`."""

    def __init__(self, grace_s: float) -> None:
        self._grace_ns = seconds_ns(grace_s)
        # By clOrdID: what the stream told last, and what another channel showed beyond it.
        self._told: dict[str, Word] = {}
        self._shown: dict[str, _Shown] = {}
        # By execID: when it was booked without the stream, and when its order was sent.
        self._booked: dict[str, tuple[int, int]] = {}
        self._late_execution: str | None = None
        self._wallet: Minor | None = None
        # The wallet of the stream that a read contradicted, and when.
        self._doubted: tuple[Minor, int] | None = None
        self._late_wallet: str | None = None

    # --- what the streams told

    def order_told(self, row: OrderSaid, now_ns: int) -> None:
        name = row.cl_ord_id
        if not name:
            return
        before = self._told.pop(name, Word(0, 0, now_ns))
        reached = before.rank if row.ord_status is None else rank(row.ord_status)
        cum_qty = before.cum_qty if row.cum_qty is None else row.cum_qty
        self._told[name] = word = Word(reached, cum_qty, now_ns)
        if len(self._told) > _TOLD_MAX:
            del self._told[next(iter(self._told))]
        shown = self._shown.get(name)
        if shown is not None and word.covers(shown.word):
            del self._shown[name]

    def execution_told(self, exec_id: str) -> None:
        self._booked.pop(exec_id, None)

    def margin_told(self, said: MarginSaid) -> None:
        if said.wallet is not None and said.wallet != self._wallet:
            self._wallet = said.wallet
            self._doubted = None

    # --- what other channels showed

    def order_shown(self, order: Order, now_ns: int) -> None:
        """An order changed by some channel's word; the stream's own is told right after."""
        said, name = order.said, order.asked.cl_ord_id
        assert said is not None
        word = Word(rank(said.ord_status), said.cum_qty, now_ns)
        told = self._told.get(name)
        if told is not None and told.covers(word):
            return
        before = self._shown.get(name)
        since_ns = now_ns if before is None else before.word.at_ns
        word = Word(word.rank, word.cum_qty, since_ns)
        self._shown[name] = _Shown(word, order.born_ns, said.ord_status.value)

    def execution_shown(self, fill: Fill, order: Order | None, now_ns: int) -> None:
        """A fill was booked; the stream's own is told right after."""
        if order is not None:
            self._booked[fill.exec_id] = now_ns, order.born_ns

    def execution_is_late(self, words: str) -> None:
        """The order's row said filled past the grace, and only a read brought the execution."""
        self._late_execution = words

    def margin_read(self, said: MarginSaid, now_ns: int) -> bool:
        """Compare a read with the stream; True when it must be read once more to be sure."""
        wallet = self._wallet
        if wallet is None or said.wallet is None or said.wallet == wallet:
            self._doubted = None
            return False
        if self._doubted is None:
            self._doubted = wallet, now_ns
        elif now_ns - self._doubted[1] > self._grace_ns:
            self._late_wallet = f"wallet {wallet} by the stream, {said.wallet} by REST"
        return self._late_wallet is None

    # --- judge

    def judge(self, feed: Feed, now_ns: int) -> Iterator[tuple[Stream, str]]:
        """Each stream that is overdue, with what it lacks; told once."""
        words = self._order_lacks(feed, now_ns)
        if words is not None:
            yield Stream.ORDER, words
        words, self._late_execution = self._late_execution, None
        words = self._execution_lacks(feed, now_ns) or words
        if words is not None:
            yield Stream.EXECUTION, words
        words, self._late_wallet = self._late_wallet, None
        if words is not None:
            # Its next image tells the wallet anew.
            self._wallet = self._doubted = None
            yield Stream.MARGIN, words

    def _order_lacks(self, feed: Feed, now_ns: int) -> str | None:
        imaged_ns = feed.imaged_ns(Stream.ORDER)
        for name, shown in list(self._shown.items()):
            told = self._told.get(name)
            known = told is not None and imaged_ns is not None and told.at_ns >= imaged_ns
            if imaged_ns is None or not (shown.born_ns > imaged_ns or known):
                # Of a time that the image covers, or without one: nothing is owed.
                del self._shown[name]
            elif now_ns - shown.word.at_ns > self._grace_ns:
                self._shown.clear()
                return f"{name} is {shown.status}, cumQty {shown.word.cum_qty}, not by the stream"
        return None

    def _execution_lacks(self, feed: Feed, now_ns: int) -> str | None:
        imaged_ns = feed.imaged_ns(Stream.EXECUTION)
        for exec_id, (since_ns, born_ns) in list(self._booked.items()):
            if imaged_ns is None or born_ns <= imaged_ns:
                del self._booked[exec_id]
            elif now_ns - since_ns > self._grace_ns:
                self._booked.clear()
                return f"{exec_id} came by REST alone"
        return None
