"""Websocket sessions: logins, subscriptions, images and changes (protocol section 6).

A topic is acknowledged at once, gets its image when the image is due, and changes from then
on. Tables keep their own order; nothing is promised between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from chappie.simvenue import auth, tables
from chappie.simvenue.changes import Change, Refusal
from chappie.simvenue.derived import ThrottledBook, complete_bins, quote_bins
from chappie.simvenue.envelopes import Close, Json, Pong, Push, rate_limited_text, to_json
from chappie.simvenue.exchange import Exchange
from chappie.simvenue.faults import Faults, Scene, corrupted, renamed, retry_after_s
from chappie.simvenue.options import MILLISECOND_NS, SECOND_NS, VenueOptions
from chappie.simvenue.query import OPEN_STATUSES, symbols_of
from chappie.simvenue.sessions import Row, Session, Topic
from chappie.simvenue.stamps import stamp
from chappie.simvenue.timeline import Timeline

UNAUTHENTICATED = "User requested an account-locked subscription but no authorization was provided."
PENDING_LIMIT = "Max Pending subscription limit reached, please try again later."
UNKNOWN_SYMBOL = "Unknown or expired symbol."
DOCS = "https://www.bitmex.com/app/wsAPI"

HUGE_BYTES = 10 * 1024 * 1024
"""The size that clients' decoding buffers are known to have (protocol section 6)."""

_BOOKS = ("orderBookL2", "orderBookL2_25")
_THROTTLED = ("orderBookL2_25", "orderBook10")


class Streams:
    """All open websockets of one venue."""

    def __init__(
        self,
        exchange: Exchange,
        timeline: Timeline,
        faults: Faults,
        options: VenueOptions,
        keys: dict[str, auth.Key],
    ) -> None:
        self._exchange = exchange
        self._timeline = timeline
        self._faults = faults
        self._options = options
        self._keys = keys
        self.sessions: dict[int, Session] = {}
        self._books: dict[str, ThrottledBook] = {}
        self._compare_due = False
        self._bins_due = False

    # Coming and going

    def welcome(self, session: Session) -> None:
        """Let a session in and greet it as today's venue does."""
        self.sessions[session.conn] = session
        self._watch_idle(session)
        self._send_json(
            session,
            {
                "info": "Welcome to the BitMEX Realtime API.",
                "version": "2.0.0",
                "timestamp": stamp(self._timeline.wall_ns),
                "docs": DOCS,
                "heartbeatEnabled": False,
                "limit": {},
                "appName": "ws-feedhandler-simulated",
            },
        )

    def closed(self, conn: int) -> None:
        """A client is gone."""
        session = self.sessions.pop(conn, None)
        if session is not None:
            session.open = False

    def close(self, session: Session, code: int, reason: str = "") -> None:
        """Close a session from this side; 1006 cuts it."""
        if session.open:
            session.open = False
            self.sessions.pop(session.conn, None)
            self._timeline.emit(Close(session.conn, code, reason))

    def _watch_idle(self, session: Session) -> None:
        idle_ns = int(self._options.idle_close_s * SECOND_NS)

        def look() -> None:
            if not session.open:
                return
            if self._timeline.now_ns - session.heard_ns >= idle_ns:
                self.close(session, 1001, "idle")
            else:
                self._timeline.later(session.heard_ns + idle_ns, look)

        self._timeline.later(session.heard_ns + idle_ns, look)

    # Commands

    def ping(self, session: Session, payload: bytes) -> None:
        """A ping frame: answered, unless the venue plays dead."""
        session.heard_ns = self._timeline.now_ns
        if not self._strikes("mute_pongs", session):
            self._timeline.emit(Pong(session.conn, payload))

    def receive(self, session: Session, text: str) -> None:
        """One text frame of a client."""
        session.heard_ns = self._timeline.now_ns
        if text == "ping":
            if not self._strikes("mute_pongs", session):
                self._send(session, "pong")
            return
        if text == "help":
            self._send_json(session, tables.HELP)
            return
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            self._error(session, 400, "Could not parse the message as JSON.", text[:200])
            return
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            self._error(
                session, 400, f"Unrecognized request. Please see the documentation at {DOCS}.",
                request,
            )  # fmt: skip
            return
        self._command(session, request)

    def _command(self, session: Session, request: Row) -> None:
        limited = self._faults.take(
            self._timeline.now_ns,
            "throttle_429",
            Scene(account=session.account, conn=session.conn, route=request["op"]),
        ) if self._faults.armed("throttle_429") else None  # fmt: skip
        if limited is not None:
            wait_s = retry_after_s(limited)
            self._error(session, 429, rate_limited_text(wait_s), request, {"retryAfter": wait_s})
            return
        op, args = request["op"], request.get("args")
        if op == "subscribe":
            self.subscribe(session, _list(args), request)
        elif op == "unsubscribe":
            self._unsubscribe(session, _list(args), request)
        elif op == "authKeyExpires":
            self._log_in(session, _list(args), request)
        elif op == "cancelAllAfter":
            self._cancel_all_after(session, _list(args), request)
        elif op == "help":
            self._send_json(session, tables.HELP)
        else:
            self._error(session, 400, f"Unknown operation: {op}", request)

    def _log_in(self, session: Session, args: list[Json], request: Row) -> None:
        if self._strikes("close_on_login", session):
            self.close(session, 1006)
            return
        if self._strikes("silent_login", session):
            return
        if session.key is not None:
            self._error(session, 400, "You are already authenticated.", request)
            return
        if len(args) != 3:
            self._error(session, 400, "authKeyExpires needs key, expires and signature.", request)
            return
        claim = auth.Claim(str(args[0]), str(args[1]), str(args[2]))
        refusal = self._faults.take(
            self._timeline.now_ns, "refuse_login", Scene(conn=session.conn, route="/realtime")
        )
        try:
            if refusal is not None:
                raise auth.AuthRefusal(refusal.status or 401, refusal.text or auth.BAD_SIGNATURE)
            session.key = auth.log_in(
                self._keys, claim, "GET", "/realtime", b"", self._timeline.wall_ns
            )
        except auth.AuthRefusal as refused:
            self._error(session, refused.status, refused.message, request)
            return
        self._send_json(session, {"success": True, "request": request})

    def _cancel_all_after(self, session: Session, args: list[Json], request: Row) -> None:
        if session.key is None:
            self._error(session, 401, UNAUTHENTICATED, request)
            return
        if not session.key.may("orderCancel"):
            self._error(session, 403, auth.ACCESS_DENIED, request)
            return
        timeout = args[0] if args else None
        if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
            self._error(session, 400, "'timeout' is a required arg.", request)
            return
        try:
            row = self._exchange.cancel_all_after(
                self._timeline.now_ns, session.key.account, timeout, self._timeline.skew_ns
            )
        except Refusal as refusal:
            self._error(session, refusal.status, refusal.message, request)
            return
        self._send_json(session, {**row, "request": request})

    def subscribe(self, session: Session, names: Sequence[Json], request: Row) -> None:
        """Acknowledge or refuse each topic; images follow when they are due."""
        added = [topic for name in names if (topic := self._add_topic(session, name, request))]
        for topic in added:
            delay_ns = self._options.image_delay_ms * MILLISECOND_NS
            if topic.table.slow_image and delay_ns > 0:
                due_ns = self._timeline.now_ns + delay_ns
                self._timeline.later(due_ns, self._image_call(session, topic))
            else:
                self._send_image(session, topic)

    def _add_topic(self, session: Session, name: Json, request: Row) -> Topic | None:
        if not isinstance(name, str):
            self._error(session, 400, "A topic must be a string.", request)
            return None
        table_name, colon, selector = name.partition(":")
        table = tables.BY_NAME.get(table_name)
        if table is None:
            self._error(session, 400, f"Unknown table: {table_name}", request)
            return None
        if table.private and session.key is None:
            locked = ",".join(one.name for one in tables.ALL if one.private)
            notes = f"Account-locked tables include the following: {locked}"
            self._error(session, 401, UNAUTHENTICATED, request, {"notes": notes})
            return None
        if name in session.topics:
            text = (
                f"You are already subscribed to this topic:{name}. "
                f"Please see the documentation at {DOCS}."
            )
            self._error(session, 400, text, request)
            return None
        wanted = selector if colon and selector not in ("", "*") else None
        symbols: tuple[str, ...] | None = None
        if wanted is not None and table.filter_column == "symbol":
            symbols = symbols_of(wanted, self._exchange.instruments())
            if symbols is None:
                self._error(session, 400, UNKNOWN_SYMBOL, request)
                return None
        refusal = self._faults.take(
            self._timeline.now_ns, "refuse_subscription", self._scene(session, table_name, wanted)
        )
        if refusal is not None:
            status = refusal.status or 503
            self._error(session, status, refusal.text or PENDING_LIMIT, request)
            return None
        topic = Topic(name, table, wanted, symbols)
        session.add(topic)
        self._send_json(session, {"success": True, "subscribe": name, "request": request})
        return topic

    def _unsubscribe(self, session: Session, names: Sequence[Json], request: Row) -> None:
        for name in names:
            if isinstance(name, str) and session.remove(name):
                self._send_json(session, {"success": True, "unsubscribe": name, "request": request})
            else:
                text = f"You are not subscribed to this topic:{name}."
                self._error(session, 400, text, request)

    # Images

    def _image_call(self, session: Session, topic: Topic) -> Callable[[], None]:
        def send() -> None:
            # The client may have unsubscribed (and subscribed again) while the image was made.
            if session.open and session.topics.get(topic.name) is topic:
                self._send_image(session, topic)

        return send

    def _send_image(self, session: Session, topic: Topic) -> None:
        rows = topic.choose(self._image_rows(topic.table.name, session, topic))
        topic.live = True
        scene = self._scene(session, topic.table.name, _only(topic))
        if self._faults and self._faults.take(self._timeline.now_ns, "withhold_partial", scene):
            return
        text = _image_text(topic, session.account, rows)
        self._send_table(session, topic.table.name, scene.symbol, text, "partial", rows)

    def _image_rows(self, table: str, session: Session, topic: Topic) -> list[Row]:
        exchange, now_ns = self._exchange, self._timeline.now_ns
        account = session.account
        symbols = topic.symbols if topic.symbols is not None else self._symbols()
        if account is not None and table == "order":
            return [row for row in exchange.orders(account) if row["ordStatus"] in OPEN_STATUSES]
        if account is not None and table == "position":
            return list(exchange.positions(account))
        if account is not None and table == "margin":
            return [exchange.margin(account, "XBt")]
        if account is not None and table == "wallet":
            return [exchange.wallet(account)]
        if table == "instrument":
            return list(exchange.instruments())
        rows: list[Row] = []
        for symbol in symbols:
            rows.extend(self._public_rows(table, symbol, now_ns))
        return rows

    def _public_rows(self, table: str, symbol: str, now_ns: int) -> list[Row]:
        exchange = self._exchange
        if table == "orderBookL2":
            # The rows of an image carry the time at which it was made (protocol section 6).
            made = stamp(now_ns)
            return [{**row, "timestamp": made} for row in exchange.levels(symbol)]
        if table in _THROTTLED:
            self._compare(symbol)
            book = self._books[symbol]
            return book.image25() if table == "orderBookL2_25" else book.image10()
        if table == "quote":
            return list(exchange.quotes(symbol))[-1:]
        if table == "trade":
            return list(exchange.trades(symbol))[-1:]
        if table == "liquidation":
            return list(exchange.liquidations(symbol))
        if table == "funding":
            return list(exchange.fundings(symbol))[-1:]
        if table.startswith(("tradeBin", "quoteBin")):
            self._watch_bins()
            return self._bin_rows(table, symbol, now_ns)[-1:]
        return []

    def _bin_rows(self, table: str, symbol: str, at_ns: int) -> list[Row]:
        bin_ns = tables.BIN_NS[table[8:]]
        if table.startswith("tradeBin"):
            return complete_bins(self._exchange.bins(symbol, bin_ns), at_ns)
        return quote_bins(self._exchange.quotes(symbol), bin_ns, at_ns)

    def _symbols(self) -> list[str]:
        """The contracts: indices have neither a book nor quotes."""
        rows = self._exchange.instruments()
        return [str(row["symbol"]) for row in rows if not str(row["symbol"]).startswith(".")]

    # Changes

    def publish(self, changes: Sequence[Change]) -> None:
        """Send what happened to everybody who listens."""
        for change in changes:
            if change.table == "orderBookL2" and not self._compare_due:
                self._plan_compare()
            self._fan_out(change)

    def _fan_out(self, change: Change) -> None:
        shared: str | None = None
        for session in list(self.sessions.values()):
            for topic in session.by_table.get(change.table, ()):
                if topic.table.private and change.account != session.account:
                    continue
                if not topic.live and not self._early(session, topic):
                    continue
                if topic.covers_all(change):
                    if shared is None:
                        shared = _change_text(change.table, change.action, change.rows)
                    text, rows = shared, change.rows
                else:
                    rows = topic.choose(change.rows)
                    if not rows or (topic.symbols and change.symbol not in (None, *topic.symbols)):
                        continue
                    text = _change_text(change.table, change.action, rows)
                self._send_table(
                    session, change.table, change.symbol, text, change.action, rows
                )  # fmt: skip

    def _early(self, session: Session, topic: Topic) -> bool:
        if self._options.early_deltas:
            return True
        if not self._faults.armed("early_deltas"):
            return False
        scene = self._scene(session, topic.table.name, _only(topic))
        return self._faults.take(self._timeline.now_ns, "early_deltas", scene) is not None

    def _plan_compare(self) -> None:
        """Compare the throttled books a little later, if anybody listens to them."""
        wanted = any(
            session.by_table.get(table) for session in self.sessions.values()
            for table in _THROTTLED
        )  # fmt: skip
        if not wanted:
            return
        self._compare_due = True

        def compare() -> None:
            self._compare_due = False
            for symbol in self._symbols():
                self._compare(symbol)

        due_ns = self._timeline.now_ns + self._options.publish_ms * MILLISECOND_NS
        self._timeline.later(due_ns, compare)

    def _compare(self, symbol: str) -> None:
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = ThrottledBook(symbol)
        levels = self._exchange.levels(symbol)
        for change in book.compare(levels, self._timeline.now_ns):
            self._fan_out(change)

    def _watch_bins(self) -> None:
        """Send each bin when it ends, for as long as anybody listens to bins."""
        if self._bins_due:
            return
        self._bins_due = True
        minute_ns = tables.BIN_NS["1m"]
        end_ns = (self._timeline.now_ns // minute_ns + 1) * minute_ns

        def send() -> None:
            self._bins_due = False
            listened = [
                name for name in tables.BY_NAME
                if name.startswith(("tradeBin", "quoteBin"))
                and any(session.by_table.get(name) for session in self.sessions.values())
            ]  # fmt: skip
            for name in listened:
                if end_ns % tables.BIN_NS[name[8:]] == 0:
                    for symbol in self._symbols():
                        rows = self._bin_rows(name, symbol, end_ns)[-1:]
                        if rows and rows[0]["timestamp"] == stamp(end_ns):
                            self._fan_out(Change(name, "insert", rows, symbol))
            if listened:
                self._watch_bins()

        self._timeline.later(end_ns, send)

    # Frames

    def send_unknown_table(self, session: Session) -> None:
        """A frame of a table that nobody knows."""
        self._send(session, _change_text("novelTable", "insert", [{"id": 1, "novel": True}]))

    def send_huge_image(self, session: Session, table_name: str) -> None:
        """An image of at least 10 MiB, true in its nearest rows, to everyone who listens."""
        for topic in list(session.by_table.get(table_name, ())):
            rows = topic.choose(self._image_rows(table_name, session, topic))
            self._send(session, _image_text(topic, session.account, _grown(rows, table_name)))

    def _send_table(
        self, session: Session, table: str, symbol: str | None, text: str, action: str,
        rows: Sequence[Row],
    ) -> None:  # fmt: skip
        """Send a frame of a table through whatever faults are armed."""
        if not self._faults:
            self._send(session, text)
            return
        faults, now_ns = self._faults, self._timeline.now_ns
        scene = self._scene(session, table, symbol)
        for name in ("mute_all", "mute_table", "drop"):
            if faults.take(now_ns, name, scene):
                return
        if action != "partial":
            spoil = table in _BOOKS and faults.take(now_ns, "corrupt_book", scene)
            if spoil:
                action = "update" if spoil.value in (None, "unknown_id") else action
                text = _change_text(table, action, corrupted(rows, spoil.value))
            elif faults.take(now_ns, "unknown_enum", scene):
                text = _change_text(table, action, renamed(rows))
        if faults.take(now_ns, "truncated_json", scene):
            text = text[: len(text) // 2]
        copies = 2 if faults.take(now_ns, "duplicate", scene) else 1
        for _ in range(copies):
            self._send(session, text, scene)

    def _send_json(self, session: Session, value: Json) -> None:
        self._send(session, to_json(value).decode())

    def _error(
        self, session: Session, status: int, text: str, request: Json, meta: Json = None
    ) -> None:
        body = {"status": status, "error": text, "meta": meta or {}, "request": request}
        self._send_json(session, body)
        session.errors += 1
        if session.errors >= self._options.limits.ws_errors:
            self.close(session, 1008, "Too many errors.")

    def _send(self, session: Session, text: str, scene: Scene | None = None) -> None:
        """Put a frame on its way; delayed ones keep their place in line, as TCP does."""
        if not session.open:
            return
        delay_ns = 0
        if self._faults:
            scene = scene or self._scene(session, None, None)
            for name in ("delay", "slow"):
                fault = self._faults.take(self._timeline.now_ns, name, scene)
                delay_ns += 0 if fault is None else fault.delay_ns
        if delay_ns == 0 and session.waiting == 0:
            self._timeline.emit(Push(session.conn, text))
            return
        due_ns = max(self._timeline.now_ns + delay_ns, session.last_due_ns)
        session.last_due_ns = due_ns
        session.waiting += 1

        def send() -> None:
            session.waiting -= 1
            if session.open:
                self._timeline.emit(Push(session.conn, text))

        self._timeline.later(due_ns, send)

    def _strikes(self, name: str, session: Session) -> bool:
        if not self._faults.armed(name):
            return False
        scene = self._scene(session, None, None)
        return self._faults.take(self._timeline.now_ns, name, scene) is not None

    def _scene(self, session: Session, table: str | None, symbol: str | None) -> Scene:
        return Scene(account=session.account, conn=session.conn, table=table, symbol=symbol)


def _list(args: Json) -> list[Json]:
    if args is None:
        return []
    return args if isinstance(args, list) else [args]


def _only(topic: Topic) -> str | None:
    return topic.symbols[0] if topic.symbols and len(topic.symbols) == 1 else None


def _change_text(table: str, action: str, rows: Sequence[Row]) -> str:
    return to_json({"table": table, "action": action, "data": rows}).decode()


def _image_text(topic: Topic, account: int | None, rows: Sequence[Row]) -> str:
    image = {
        "table": topic.table.name,
        "action": "partial",
        "keys": topic.table.keys,
        "types": topic.table.types,
        "filter": topic.image_filter(account),
        "data": rows,
    }
    return to_json(image).decode()


def _grown(rows: list[Row], table: str) -> list[Row]:
    """The rows, and far-away ones of the same form until the image is huge."""
    if not rows:
        rows = [{"symbol": "XBTUSD", "id": 1, "side": "Sell", "size": 100, "price": 1_000_000.0}]
    model = rows[0]
    needed = HUGE_BYTES // len(to_json(model)) + 1
    if table not in _BOOKS:
        return [*rows, *({**model} for _ in range(needed))]
    return [
        *(
            {**model, "side": "Sell", "id": 10_000_000_000_000 + n, "price": 10_000_000.0 + n}
            for n in range(needed, 0, -1)
        ),
        *rows,
    ]
