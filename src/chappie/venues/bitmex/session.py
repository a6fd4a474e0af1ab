"""One websocket connection, decoded: frames in, reports out (protocol section 6).

The market tables are decoded into typed structs because they are the load; everything else goes
through one generic mirror. Whatever the venue sends, `BitmexSession.receive` answers with reports
and never raises: what it cannot read is `Refused` with a reason, never skipped.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from chappie.model.enums import Side, Stream
from chappie.model.instrument import Instrument, OffTickError
from chappie.model.reports import (
    Advanced,
    EarlyDropped,
    ImageApplied,
    Inconsistent,
    Ponged,
    QuoteSeen,
    Refused,
    Report,
    Subscribed,
    SubscriptionRefused,
    TradeSeen,
    VenueComplained,
    Welcomed,
    WireRefusal,
)
from chappie.model.timestamps import iso_ns
from chappie.model.units import Contracts, Ticks
from chappie.venues.bitmex.columns import (
    STREAM_OF_TABLE,
    RowRefusedError,
    execution_said,
    instrument_seen,
    margin_said,
    order_said,
    position_said,
    stream_of_topic,
)
from chappie.venues.bitmex.tables import L2Mirror, TableMirror, TickScale
from chappie.venues.bitmex.wire import (
    Envelope,
    Row,
    decode_envelope,
    decode_l2,
    decode_quote,
    decode_table,
    decode_trade,
)

MAX_FRAME_BYTES = 32 * 1024 * 1024
_DETAIL_CHARS = 200

# What reading a frame may raise; anything else is a bug of ours.
_UNREADABLE = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    RowRefusedError,
    OffTickError,
)

_QUOTE_ADVANCED = Advanced(Stream.QUOTE)
_TRADE_ADVANCED = Advanced(Stream.TRADE)

# Every frame of a table that was ever captured starts with these bytes; one that does not is
# decoded all the same, only slower.
_PREFIX = b'{"table":"'
_L2 = _PREFIX + b'orderBookL2"'
_QUOTE = _PREFIX + b'quote"'
_TRADE = _PREFIX + b'trade"'


class BitmexSession:
    """Acknowledgements, mirrors and the book of one connection, for one symbol."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._symbol = instrument.symbol
        self._scale = TickScale(instrument)
        self._l2 = L2Mirror(instrument)
        self.book = self._l2.book
        self._imaged = {Stream.QUOTE: False, Stream.TRADE: False}
        self._mirrors = {
            stream: TableMirror(stream)
            for stream in (
                Stream.INSTRUMENT,
                Stream.ORDER,
                Stream.EXECUTION,
                Stream.POSITION,
                Stream.MARGIN,
            )
        }
        self._rows: dict[Stream, Callable[[Row], Report | None]] = {
            Stream.INSTRUMENT: self._instrument_row,
            Stream.ORDER: lambda row: order_said(row, instrument),
            Stream.EXECUTION: self._execution_row,
            Stream.POSITION: self._position_row,
            Stream.MARGIN: self._margin_row,
        }
        self._read: dict[Stream, Callable[[bytes], Sequence[Report]]] = {
            stream: partial(self._mirrored, stream) for stream in self._mirrors
        }
        self._read[Stream.BOOK] = self._book_frame
        self._read[Stream.QUOTE] = self._quote_frame
        self._read[Stream.TRADE] = self._trade_frame

    # --- what to send

    def subscriptions(self) -> Sequence[bytes]:
        """One frame a stream, so that a refusal, which echoes the whole request, names it.

        Private ones are unfiltered: a foreign order on any symbol of the account matters, because
        the dead man's switch covers the whole account.
        """
        return tuple(_command("subscribe", [self._topic(stream)]) for stream in Stream)

    def resubscribe(self, stream: Stream) -> Sequence[bytes]:
        """Forget the stream's image and ask for a new one."""
        self._forget(stream)
        topic = self._topic(stream)
        return (_command("unsubscribe", [topic]), _command("subscribe", [topic]))

    def ping(self) -> bytes:
        return b"ping"

    def _forget(self, stream: Stream) -> None:
        if stream is Stream.BOOK:
            self._l2.forget()
        elif stream in self._imaged:
            self._imaged[stream] = False
        else:
            self._mirrors[stream].forget()

    def _topic(self, stream: Stream) -> str:
        return _TOPIC[stream].format(symbol=self._symbol)

    # --- what arrives

    def receive(self, payload: bytes) -> Sequence[Report]:
        """What one frame says."""
        stream: Stream | None = None
        try:
            if payload.startswith(_L2):
                stream = Stream.BOOK
            elif payload.startswith(_QUOTE):
                stream = Stream.QUOTE
            elif payload.startswith(_TRADE):
                stream = Stream.TRADE
            elif payload == b"pong":
                return (Ponged(),)
            elif len(payload) <= MAX_FRAME_BYTES:
                frame = decode_envelope(payload)
                if frame.table is None:
                    return self._word(frame, payload)
                stream = STREAM_OF_TABLE.get(frame.table)
                if stream is None:
                    detail = f"table {frame.table!r}"
                    return self._refused(WireRefusal.UNKNOWN_TABLE, None, detail)
            if stream is None or len(payload) > MAX_FRAME_BYTES:
                return self._refused(WireRefusal.TOO_LARGE, stream, f"{len(payload)} bytes")
            return self._read[stream](payload)
        except _UNREADABLE as error:
            return self._unreadable(error, payload, stream)

    def _unreadable(
        self, error: Exception, payload: bytes, stream: Stream | None
    ) -> Sequence[Report]:
        """Whatever is wrong with a frame becomes one `Refused`."""
        text, excerpt = str(error), _excerpt(payload)
        match error:
            case msgspec.ValidationError():
                why = WireRefusal.UNKNOWN_ENUM if "enum value" in text else WireRefusal.SHAPE
                return self._refused(why, stream, f"{text}: {excerpt}")
            case msgspec.DecodeError() | UnicodeDecodeError():
                return self._refused(WireRefusal.NOT_JSON, stream, f"{text}: {excerpt}")
            case RecursionError():
                # The decoder's own answer to brackets without end.
                return self._refused(WireRefusal.SHAPE, stream, f"nested too deep: {excerpt}")
            case RowRefusedError():
                return self._refused(error.why, stream, error.detail)
            case OffTickError():
                return self._refused(WireRefusal.OFF_TICK, stream, text)
            case _:
                raise error

    def _refused(self, why: WireRefusal, stream: Stream | None, detail: str) -> Sequence[Report]:
        """One refusal; a stream that lost a message holds nothing true until its next image."""
        if stream is not None:
            self._forget(stream)
        return (Refused(why, stream, detail[: 2 * _DETAIL_CHARS]),)

    def _book_frame(self, payload: bytes) -> Sequence[Report]:
        frame = decode_l2(payload)
        symbol = self._symbol
        for row in frame.data:
            if row.symbol != symbol:
                return self._refused(WireRefusal.FOREIGN_SYMBOL, None, f"orderBookL2 {row.symbol}")
        if not frame.data and frame.action != "partial":
            return ()
        return self._l2.apply(frame)

    def _quote_frame(self, payload: bytes) -> Sequence[Report]:
        frame = decode_quote(payload)
        for row in frame.data:
            if row.symbol != self._symbol:
                return self._refused(WireRefusal.FOREIGN_SYMBOL, None, f"quote {row.symbol}")
        marker = self._insert_only(Stream.QUOTE, frame.action, _QUOTE_ADVANCED)
        if not frame.data:
            return (marker,) if frame.action == "partial" else ()
        # Rows of one message are consecutive states: the last one holds.
        row = frame.data[-1]
        if not isinstance(marker, (Advanced, ImageApplied)):
            return (marker,)
        ticks = self._scale.ticks
        seen = QuoteSeen(
            None if row.bidPrice is None else Ticks(ticks(row.bidPrice)),
            Contracts(row.bidSize or 0),
            None if row.askPrice is None else Ticks(ticks(row.askPrice)),
            Contracts(row.askSize or 0),
            row.timestamp,
        )
        return (marker, seen)

    def _trade_frame(self, payload: bytes) -> Sequence[Report]:
        frame = decode_trade(payload)
        for row in frame.data:
            if row.symbol != self._symbol:
                return self._refused(WireRefusal.FOREIGN_SYMBOL, None, f"trade {row.symbol}")
        marker = self._insert_only(Stream.TRADE, frame.action, _TRADE_ADVANCED)
        if not isinstance(marker, Advanced):
            return (marker,)
        reports: list[Report] = [marker]
        for row in frame.data:
            if not row.side:
                return self._refused(WireRefusal.SHAPE, Stream.TRADE, "trade without side")
            reports.append(
                TradeSeen(
                    Side.BUY if row.side == "Buy" else Side.SELL,
                    Contracts(row.size),
                    Ticks(self._scale.ticks(row.price)),
                )
            )
        return reports if frame.data else ()

    def _insert_only(self, stream: Stream, action: str, advanced: Advanced) -> Report:
        if action == "partial":
            self._imaged[stream] = True
            return ImageApplied(stream)
        if not self._imaged[stream]:
            return EarlyDropped(stream)
        if action != "insert":
            return Inconsistent(stream, f"{action} in a table that only inserts")
        return advanced

    def _word(self, frame: Envelope, payload: bytes) -> Sequence[Report]:
        """A frame of no table: the venue speaks of the connection."""
        if frame.info is not None:
            return (Welcomed(iso_ns(frame.timestamp) if frame.timestamp else None),)
        if frame.error is not None:
            return (_refusal(frame.status, frame.error, frame.request),)
        if frame.subscribe is not None:
            stream = stream_of_topic(frame.subscribe)
            if stream is None:
                topic = f"subscribed {frame.subscribe}"
                return self._refused(WireRefusal.UNKNOWN_TABLE, None, topic)
            if frame.success is not True:
                return (SubscriptionRefused(stream, f"success {frame.success}"),)
            return (Subscribed(stream),)
        if frame.success is False:
            return (VenueComplained(frame.status, _excerpt(payload)),)
        if frame.unsubscribe is not None or frame.success is not None:
            return ()
        return self._refused(WireRefusal.SHAPE, None, _excerpt(payload))

    def _mirrored(self, stream: Stream, payload: bytes) -> Sequence[Report]:
        frame = decode_table(payload)
        what, rows = self._mirrors[stream].apply(frame.action, frame.keys, frame.data)
        reports: list[Report] = [] if what is None else [what]
        read = self._rows[stream]
        for row in rows:
            said = read(row)
            if said is not None:
                reports.append(said)
        return reports

    def _instrument_row(self, row: Row) -> Report | None:
        if row.get("symbol") != self._symbol:
            return None
        seen = instrument_seen(row)
        if seen.instrument.tick_size != self._instrument.tick_size:
            # Every mirrored price counts ticks of the old size: only a new session can be true.
            return Inconsistent(Stream.INSTRUMENT, f"tickSize is now {seen.instrument.tick_size}")
        return seen

    def _execution_row(self, row: Row) -> Report | None:
        if row.get("symbol") != self._symbol:
            return None
        return execution_said(row, self._instrument)

    def _position_row(self, row: Row) -> Report | None:
        return position_said(row) if row.get("symbol") == self._symbol else None

    def _margin_row(self, row: Row) -> Report | None:
        ours = row.get("currency") == self._instrument.settl_currency
        return margin_said(row) if ours else None


_TOPIC: dict[Stream, str] = {
    Stream.QUOTE: "quote:{symbol}",
    Stream.BOOK: "orderBookL2:{symbol}",
    Stream.TRADE: "trade:{symbol}",
    Stream.INSTRUMENT: "instrument:{symbol}",
    Stream.ORDER: "order",
    Stream.EXECUTION: "execution",
    Stream.POSITION: "position",
    Stream.MARGIN: "margin",
}


def _command(op: str, args: list[str]) -> bytes:
    return msgspec.json.encode({"op": op, "args": args})


def _refusal(status: int | None, error: str, request: object) -> Report:
    """An error frame, pinned to the subscription that it answers where it says which."""
    if isinstance(request, dict) and request.get("op") == "subscribe":
        args = request.get("args")
        topics = [args] if isinstance(args, str) else args if isinstance(args, list) else []
        named = [topic for topic in topics if isinstance(topic, str)]
        # The whole list that was sent is echoed; the text names the topic at fault, if any does,
        # as in "Unknown table: order" and "already subscribed to this topic:instrument."
        words = [word.removeprefix("topic:") for word in re.findall(r"[\w:]+", error)]
        blamed = [t for t in named if t in words or t.partition(":")[0] in words]
        candidates = blamed or (named if len(named) == 1 else [])
        stream = stream_of_topic(candidates[0]) if candidates else None
        return SubscriptionRefused(stream, f"{status or ''} {error}".strip()[:_DETAIL_CHARS])
    return VenueComplained(status, error[:_DETAIL_CHARS])


def _excerpt(payload: bytes) -> str:
    return payload[:_DETAIL_CHARS].decode("utf-8", "replace")
