"""Requests in the venue's spelling, and what its answers say (protocol sections 2 to 5)."""

import re
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from chappie.model.commands import HttpCall
from chappie.model.enums import OrdType, TimeInForce
from chappie.model.events import Answered
from chappie.model.instrument import Instrument, OffTickError
from chappie.model.orders import Approved, NewOrder
from chappie.model.redaction import REDACTED
from chappie.model.reports import (
    BudgetSeen,
    FillsRead,
    InstrumentRead,
    KeyRead,
    MarginRead,
    OrderAnswered,
    OrdersRead,
    Outcome,
    PositionRead,
    PositionSaid,
    Read,
    SwitchArmed,
    Unknown,
)
from chappie.model.timestamps import http_date_ns, iso_ns, ns_iso
from chappie.model.units import Contracts, Minor
from chappie.venues.bitmex.columns import (
    RowRefusedError,
    execution_said,
    instrument_seen,
    margin_said,
    order_said,
    position_said,
)
from chappie.venues.bitmex.session import BitmexSession
from chappie.venues.bitmex.texts import refusal
from chappie.venues.bitmex.wire import Row
from chappie.venues.interface import Capabilities

_PAGE = 500
_CURRENCY = "XBt"
_DETAIL_CHARS = 400
_TIMEOUT_UNIT = 1000  # cancelAllAfter counts milliseconds

# What a budget header may hold; anything else counts as missing.
_WHOLE = re.compile(r"[ \t]*-?[0-9]{1,18}[ \t]*")

_decode_rows = msgspec.json.Decoder(list[Row]).decode
_decode_row = msgspec.json.Decoder(Row).decode


class _ShapeError(Exception):
    """A 200 whose body is not what was asked for."""


class BitmexDialect:
    """The BitMEX protocol for one symbol."""

    capabilities = Capabilities(
        cl_ord_ids_unique_for_ever=False,
        dead_man_covers="every order of the account",
        deadline_in_engine=False,
        page_rows=_PAGE,
        cl_ord_id_max=36,
    )

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol

    def session(self, instrument: Instrument) -> BitmexSession:
        return BitmexSession(instrument)

    # --- reads

    def read_key(self) -> HttpCall:
        return HttpCall("GET", "/apiKey")

    def read_instrument(self) -> HttpCall:
        return HttpCall("GET", "/instrument" + _query(symbol=self._symbol, count=1))

    def read_open_orders(self) -> HttpCall:
        """All open orders of the account, newest first."""
        return HttpCall(
            "GET", "/order" + _query(filter='{"open":true}', count=_PAGE, reverse="true")
        )

    def read_order(self, cl_ord_id: str) -> HttpCall:
        wanted = msgspec.json.encode({"clOrdID": cl_ord_id}).decode()
        return HttpCall("GET", "/order" + _query(filter=wanted, count=10, reverse="true"))

    def read_fills(self, since_ns: int, start: int) -> HttpCall:
        return HttpCall(
            "GET",
            "/execution/tradeHistory"
            + _query(
                symbol=self._symbol,
                startTime=ns_iso(since_ns),
                count=_PAGE,
                start=start,
                reverse="false",
            ),
        )

    def read_position(self) -> HttpCall:
        wanted = msgspec.json.encode({"symbol": self._symbol}).decode()
        return HttpCall("GET", "/position" + _query(filter=wanted))

    def read_margin(self) -> HttpCall:
        return HttpCall("GET", "/user/margin" + _query(currency=_CURRENCY))

    # --- requests that change something

    def new_order(self, order: Approved[NewOrder], instrument: Instrument) -> HttpCall:
        """POST /order for an order that passed the gate, its price an exact decimal."""
        asked = order.value
        fields: dict[str, object] = {
            "symbol": asked.symbol,
            "clOrdID": asked.cl_ord_id,
            "side": asked.side.value,
            "orderQty": asked.qty,
            "ordType": asked.ord_type.value,
        }
        if asked.ord_type is OrdType.LIMIT:
            assert asked.price is not None
            fields["price"] = msgspec.Raw(_decimal(instrument.price(asked.price)))
            if asked.time_in_force is not TimeInForce.GTC:
                fields["timeInForce"] = asked.time_in_force.value
        instructions = [
            word
            for word, wanted in (
                ("ParticipateDoNotInitiate", asked.post_only),
                ("ReduceOnly", asked.reduce_only),
            )
            if wanted
        ]
        if instructions:
            fields["execInst"] = ",".join(instructions)
        return HttpCall("POST", "/order", msgspec.json.encode(fields))

    def cancel(self, cl_ord_ids: Sequence[str], order_ids: Sequence[str]) -> HttpCall:
        """One request for any number of orders, each by its id: never everything there is."""
        assert cl_ord_ids or order_ids, "a cancel without ids would mean nothing"
        fields: dict[str, object] = {}
        if cl_ord_ids:
            fields["clOrdID"] = list(cl_ord_ids)
        if order_ids:
            fields["orderID"] = list(order_ids)
        return HttpCall("DELETE", "/order", msgspec.json.encode(fields))

    def arm_switch(self, timeout_s: float) -> HttpCall:
        """cancelAllAfter: 0 disarms, anything else replaces the timer."""
        body = msgspec.json.encode({"timeout": round(timeout_s * _TIMEOUT_UNIT)})
        return HttpCall("POST", "/order/cancelAllAfter", body)

    # --- answers

    def understand(
        self, read: Read | None, answer: Answered, instrument: Instrument | None
    ) -> tuple[Outcome, BudgetSeen]:
        """What an answer says, and what is left of the request budget."""
        budget = _budget(answer.headers)
        if answer.status != 200:
            return refusal(answer.status, answer.headers, answer.body), budget
        try:
            return self._success(read, answer.body, instrument), budget
        except (msgspec.DecodeError, UnicodeDecodeError, RowRefusedError, OffTickError) as error:
            return Unknown(200, f"undecodable answer: {error}"[:_DETAIL_CHARS]), budget
        except RecursionError:
            return Unknown(200, "undecodable answer: nested too deep"), budget
        except _ShapeError as error:
            return Unknown(200, str(error)), budget

    def stated_time(self, answer: Answered) -> int | None:
        """The Date header, UNIX nanoseconds: the venue's clock, cut to whole seconds."""
        return http_date_ns(answer.headers.get("date", ""))

    def upgrade_refused(self, status: int, detail: str, retry_after: str | None = None) -> Outcome:
        """What a refused websocket login proves; 0 is no answer at all."""
        headers = {} if retry_after is None else {"retry-after": retry_after}
        return refusal(status, headers, detail.encode()) if status else Unknown(0, detail)

    def _success(self, read: Read | None, body: bytes, instrument: Instrument | None) -> Outcome:
        if read is Read.INSTRUMENT:
            rows = [row for row in _decode_rows(body) if row.get("symbol") == self._symbol]
            if len(rows) != 1:
                raise _ShapeError(f"{len(rows)} instruments named {self._symbol}")
            return InstrumentRead(instrument_seen(rows[0]))
        if read is Read.KEY:
            return _key(body)
        if read is Read.MARGIN:
            row = _decode_row(body)
            if row.get("currency") != _CURRENCY:
                raise _ShapeError(f"margin in {row.get('currency')!r}, asked in {_CURRENCY}")
            return MarginRead(margin_said(row))
        if read is Read.POSITION:
            rows = _decode_rows(body)
            # A row without a symbol is no position: it must not be read as having none.
            if not all("symbol" in row for row in rows):
                raise _ShapeError("a position without symbol")
            rows = [row for row in rows if row["symbol"] == self._symbol]
            if len(rows) > 1:
                raise _ShapeError(f"{len(rows)} positions in {self._symbol}")
            none = PositionSaid(Contracts(0), Minor(0), None, None, None)
            return PositionRead(position_said(rows[0]) if rows else none)
        if instrument is None:
            # Reads wait for the instrument; a cancel never waits for anything.
            assert read is None, "orders and fills are read after the instrument"
            return Unknown(200, "answered before the instrument's terms were known")
        if read in (Read.ORDERS, Read.ORDER):
            rows = _decode_rows(body)
            if len(rows) >= _PAGE:
                raise _ShapeError(f"{len(rows)} open orders fill the page: more may exist")
            return OrdersRead(tuple(order_said(row, instrument) for row in rows))
        if read is Read.FILLS:
            rows = _decode_rows(body)
            if not all("execID" in row for row in rows):
                raise _ShapeError("an execution without execID")
            said = [
                execution_said(row, instrument) for row in rows if row.get("symbol") == self._symbol
            ]
            return FillsRead(
                tuple(fill for fill in said if fill is not None), len(rows), len(rows) >= _PAGE
            )
        return _changed(body, instrument)


def creates_or_amends(call: HttpCall) -> bool:
    """Whether a call could put exposure on the venue (control L1).

    Anything but reads, cancels and the dead man's switch counts, known route or not.
    """
    path = call.path.partition("?")[0]
    if call.method in ("GET", "DELETE"):
        return False
    return path != "/order/cancelAllAfter"


def _changed(body: bytes, instrument: Instrument) -> Outcome:
    """The answer to a new order (a row), a cancel (rows), or the switch (a pair of times)."""
    if body.lstrip()[:1] == b"[":
        rows = _decode_rows(body)
    else:
        row = _decode_row(body)
        if "cancelTime" in row:
            return _switch(row)
        rows = [row]
    orders = []
    failures = []
    for row in rows:
        error = row.get("error")
        if isinstance(error, str) and error:
            failures.append((str(row.get("orderID") or row.get("clOrdID") or ""), error))
        else:
            orders.append(order_said(row, instrument))
    return OrderAnswered(tuple(orders), tuple(failures))


def _switch(row: Row) -> Outcome:
    now = iso_ns(str(row.get("now")))
    cancel_time = row.get("cancelTime")
    if now is None:
        raise _ShapeError("cancelAllAfter without a time")
    if cancel_time == 0 or cancel_time is None:
        return SwitchArmed(now, None)
    fires = iso_ns(str(cancel_time))
    if fires is None:
        raise _ShapeError(f"cancelAllAfter with cancelTime {cancel_time!r}")
    return SwitchArmed(now, fires)


def _key(body: bytes) -> Outcome:
    """What our key may do. Without permissions it can read and log in, nothing more."""
    rows = _decode_rows(body)
    if not rows:
        raise _ShapeError("no api key in the answer")
    if not all("id" in row for row in rows):
        raise _ShapeError("an api key without id")
    # The answer lists every key of the account; ours is the one whose id the shell scrubbed.
    ours = [row for row in rows if row.get("id") == REDACTED]
    granted: list[str] = []
    for row in ours or rows:
        permissions = row.get("permissions")
        granted += [str(p) for p in permissions] if isinstance(permissions, list) else []
    return KeyRead(can_trade="order" in granted, can_withdraw="withdraw" in granted)


def _budget(headers: dict[str, str]) -> BudgetSeen:
    return BudgetSeen(
        limit=_whole(headers.get("x-ratelimit-limit")),
        remaining=_whole(headers.get("x-ratelimit-remaining")),
        reset_s=_whole(headers.get("x-ratelimit-reset")),
        remaining_1s=_whole(headers.get("x-ratelimit-remaining-1s")),
        limit_1s=_whole(headers.get("x-ratelimit-limit-1s")),
    )


def _whole(text: str | None) -> int | None:
    if text is None or _WHOLE.fullmatch(text) is None:
        return None
    return int(text)


def _query(**fields: object) -> str:
    return "?" + urlencode(fields)


def _decimal(value: Decimal) -> bytes:
    return format(value, "f").encode()
