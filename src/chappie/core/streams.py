"""The streams as a whole: one connection, its session, and what may be believed of each table.

Frames of the market end here; what a frame says of our account is handed back to the core.
"""

from collections.abc import Iterable, Sequence
from typing import assert_never

from chappie.core.budget import Budget
from chappie.core.connection import CONNECT_WITHIN_NS, Connection
from chappie.core.faults import ActiveFaults
from chappie.core.feed import MARKET, Feed
from chappie.core.lag import Lag
from chappie.core.market import Market
from chappie.core.outbox import Outbox
from chappie.core.pacing import Pace
from chappie.core.probe import Probe
from chappie.core.reconcile import Reconciler
from chappie.core.requests import Requests
from chappie.core.skew import Skew
from chappie.model.commands import CloseStream, Keep, OpenStream, SendFrame
from chappie.model.config import Config
from chappie.model.enums import InstrumentState, Lane, Stream
from chappie.model.events import StreamRefused
from chappie.model.faults import Fault
from chappie.model.records import Kept
from chappie.model.reports import (
    Advanced,
    EarlyDropped,
    Filled,
    Funded,
    ImageApplied,
    Inconsistent,
    InstrumentSeen,
    MarginSaid,
    NotAccepted,
    OrderSaid,
    Outcome,
    Ponged,
    PositionSaid,
    QuoteSeen,
    Read,
    Refused,
    Report,
    Subscribed,
    SubscriptionRefused,
    TradeSeen,
    VenueComplained,
    Welcomed,
    WireRefusal,
)
from chappie.model.units import SECOND_NS, At
from chappie.venues.interface import Dialect, Session

_RESUBSCRIBE_NS = 10 * SECOND_NS
# Images taken since are whole, so this is not about what we hold: a venue that sends what we cannot
# read may do so again, and each time our orders would be cancelled and placed anew.
_WIRE_CALM_NS = 10 * SECOND_NS
# A venue closes a socket on which its client was silent (protocol section 6: after 180 s).
_PING_EVERY_NS = 15 * SECOND_NS
# A feed that lagged and then showed no quote for so long is asked for one.
_LAG_UNKNOWN_NS = 5 * SECOND_NS


class Streams:
    """Keeps the connection, feeds the mirrors, and names what is not true any more."""

    def __init__(
        self,
        config: Config,
        dialect: Dialect,
        outbox: Outbox,
        faults: ActiveFaults,
        requests: Requests,
        budget: Budget,
        market: Market,
        reconciler: Reconciler,
        skew: Skew,
    ) -> None:
        self.feed = Feed(config.feed, config.reconcile.grace_s)
        self.lag = Lag(config.feed.max_lag_s, config.clock.max_skew_s)
        self.probe = Probe()
        self.connection = Connection(config.feed.max_connects_per_hour)
        self._dialect = dialect
        self._outbox = outbox
        self._faults = faults
        self._requests = requests
        self._budget = budget
        self._market = market
        self._reconciler = reconciler
        self._skew = skew
        self._session: Session | None = None
        self._began_ns = 0
        self._asking = {stream: Pace(_RESUBSCRIBE_NS) for stream in Stream}
        self._quote_asked_ns = 0
        self._budget_told = False
        self._wire_refused_ns: int | None = None
        self._pinged_ns = 0
        # Whether this connection was ever synced as a whole.
        self._synced_once = False
        self._early_told: dict[Stream, bool] = {}
        self._imaged: dict[Stream, bool] = {}

    def begin(self, at: At, kept: Iterable[Kept]) -> None:
        """Every knowledge fault about the streams holds until it is disproved."""
        self.connection.restore(at, kept)
        self._began_ns = at.now_ns
        self.feed.begin(at.now_ns)
        for stream in Stream:
            self._faults.raise_(Fault.STREAM_UNSYNCED, at, "no image yet", stream.value, told=False)
        self._faults.raise_(Fault.STREAM_DOWN, at, "not connected yet", level="info")
        self._faults.raise_(Fault.INSTRUMENT_UNKNOWN, at, "not read yet", level="info")

    # --- observe

    def receive(self, at: At, conn: int, payload: bytes) -> Sequence[Report] | None:
        """Apply one frame: the hot path.

        None when it held nothing but increments of the market; otherwise what it says of our
        account, for the core to hear.
        """
        session = self._session
        if session is None or conn != self.connection.conn:
            return None
        now_ns = at.now_ns
        rare: list[Report] | None = None
        for report in session.receive(payload):
            kind = type(report)
            if kind is Advanced:
                self.feed.advanced(report.stream, now_ns)  # type: ignore[union-attr, arg-type]
            elif kind is QuoteSeen:
                self._market.quote = report  # type: ignore[assignment]
                self._market.quote_wall_ns = at.wall_ns
                if self._market.agrees():
                    self.feed.agreed(now_ns)
            elif kind is TradeSeen:
                self._market.trade = report  # type: ignore[assignment]
            else:
                if rare is None:
                    rare = []
                rare.append(report)
        if rare is None:
            return None
        return [report for report in rare if not self._heard(at, report)]

    def _heard(self, at: At, report: Report) -> bool:
        """Take a report about the streams themselves; False for one about our account."""
        match report:
            case OrderSaid() | Filled() | Funded() | PositionSaid() | MarginSaid():
                return False
            case InstrumentSeen():
                self.instrument(at, report)
            case ImageApplied():
                self.feed.imaged(report.stream, at.now_ns)
                self._first_image(report.stream)
                self._early_told.pop(report.stream, None)
                self._faults.clear(Fault.STREAM_UNSYNCED, report.stream.value)
                if report.stream is Stream.QUOTE:
                    self._quote_imaged(at)
            case EarlyDropped():
                self._early_dropped(report.stream)
            case Inconsistent():
                self._inconsistent(at, report)
            case Refused():
                self._wire_refused(at, report)
            case Welcomed():
                self._welcomed(at, report)
            case SubscriptionRefused():
                self._subscription_refused(at, report)
            case VenueComplained():
                self._outbox.log(
                    "warning", "venue_complained", status=report.status, text=report.detail
                )
            case Ponged():
                self.probe.ponged()
            case Subscribed() | Advanced() | QuoteSeen() | TradeSeen():
                pass
            case _:
                assert_never(report)
        return True

    def _quote_imaged(self, at: At) -> None:
        """Its quote may be of any age, but the image is no older than the question for it."""
        self.lag.imaged(self._market.quote)
        if at.now_ns - self._quote_asked_ns <= self.lag.over_ns:
            self._faults.clear(Fault.FEED_LAGS, Stream.QUOTE.value)

    def _first_image(self, stream: Stream) -> None:
        """The subscription was answered: a stream that goes wrong now is asked for at once."""
        if stream not in self._imaged:
            self._imaged[stream] = True
            self._asking[stream].release()

    def _early_dropped(self, stream: Stream) -> None:
        """Said once per wait for an image: a busy table drops hundreds of them a second."""
        if stream not in self._early_told:
            self._early_told[stream] = True
            self._outbox.log("debug", "early_deltas_dropped", stream=stream.value)

    def opened(self, at: At, conn: int) -> None:
        if conn == self.connection.conn:
            self._outbox.put(Keep(self.connection.reached(at)))
            self.connection.opened(at.now_ns)
            self._outbox.log("info", "stream_opened", conn=conn)

    def refused(self, at: At, event: StreamRefused) -> Outcome | None:
        """The upgrade was refused; what that proves about our key and clock."""
        if event.conn != self.connection.conn:
            return None
        status, detail = event.status, event.detail
        self.connection.lost(at.now_ns)
        if status:
            self._outbox.put(Keep(self.connection.reached(at)))
        self._outbox.log("warning", "stream_refused", status=status, detail=detail)
        refusal = self._dialect.upgrade_refused(status, detail, event.retry_after)
        # The venue's own sentence, without its envelope, is what a person reads.
        words = f"{status or 'no answer:'} {getattr(refusal, 'detail', detail)}"
        self._faults.raise_(Fault.STREAM_DOWN, at, f"upgrade refused: {words}")
        if isinstance(refusal, NotAccepted):
            # Too many connects: that says nothing of the budget of requests.
            self.connection.hold(at.now_ns, refusal.retry_after_s or 0.0)
            return None
        return refusal

    def closed(self, at: At, conn: int, code: int, detail: str) -> None:
        if conn == self.connection.conn and self.connection.is_up:
            self._lost(at, f"closed by the venue, code {code} {detail}".rstrip())

    def instrument_read(self, at: At, seen: InstrumentSeen) -> None:
        """The venue's terms by REST. The read may be older than what the stream told, or newer, or
        the stream has lost a word: where they contradict each other a new image tells.
        """
        held, read = self._market.instrument, seen.instrument
        if held is not None and self.connection.is_up and read.tick_size != held.tick_size:
            self._terms_changed(at, f"tickSize is now {read.tick_size}")
        elif held is not None and self.feed.synced(Stream.INSTRUMENT) and read.state != held.state:
            words = f"state {held.state.value} by the stream, {read.state.value} by REST"
            self.overdue(at, Stream.INSTRUMENT, words)
        else:
            self.instrument(at, seen)

    def instrument(self, at: At, seen: InstrumentSeen) -> None:
        """The venue's terms (control F11)."""
        self._market.seen = seen
        self._faults.clear(Fault.INSTRUMENT_UNKNOWN)
        if seen.instrument.state is InstrumentState.OPEN:
            self._faults.clear(Fault.INSTRUMENT_NOT_OPEN)
        else:
            state = seen.instrument.state.value
            self._faults.raise_(Fault.INSTRUMENT_NOT_OPEN, at, f"the venue says state {state}")

    def _welcomed(self, at: At, report: Welcomed) -> None:
        assert self._session is not None
        self.connection.welcome()
        self._faults.clear(Fault.STREAM_DOWN)
        if report.venue_ns is not None:
            self._skew.measured(report.venue_ns, at, self.connection.began_ns)
        for pace in self._asking.values():
            pace.failed(at.now_ns)
        self._quote_asked_ns = at.now_ns
        for frame in self._session.subscriptions():
            self._outbox.put(SendFrame(self.connection.conn, frame))

    def _inconsistent(self, at: At, report: Inconsistent) -> None:
        if report.stream is Stream.INSTRUMENT:
            self._terms_changed(at, report.detail)
        else:
            self._unsync(at, report.stream, report.detail)

    def _terms_changed(self, at: At, detail: str) -> None:
        """What is mirrored counts ticks of another size: the terms are read anew before anything
        is mirrored again. Answers under way are still read by the old ones.
        """
        self._faults.raise_(Fault.INSTRUMENT_UNKNOWN, at, detail)
        self._close(at, detail)

    def _wire_refused(self, at: At, report: Refused) -> None:
        why = report.why
        self._outbox.log("error", "wire_refused", why=why.name.lower(), detail=report.detail)
        self._wire_refused_ns = at.now_ns
        self._faults.raise_(Fault.WIRE_REFUSED, at, f"{why.value}: {report.detail}")
        if report.stream is not None:
            self._unsync(at, report.stream, why.value)
        elif why not in (WireRefusal.UNKNOWN_TABLE, WireRefusal.FOREIGN_SYMBOL):
            # It may have been any stream's: no image is certain to be whole any more.
            self._close(at, f"unreadable message: {why.value}")

    def _subscription_refused(self, at: At, report: SubscriptionRefused) -> None:
        stream = report.stream
        name = "unnamed" if stream is None else stream.value
        self._outbox.log("error", "subscription_refused", stream=name, detail=report.detail)
        if stream is not None:
            words = f"subscription refused: {report.detail}"
            self.feed.unsynced(stream, at.now_ns)
            self._faults.raise_(Fault.STREAM_UNSYNCED, at, words, stream.value)
            self._asking[stream].failed(at.now_ns)

    def _unsync(self, at: At, stream: Stream, detail: str) -> None:
        """A mirror is no longer true: name it, and ask for a new image."""
        self.feed.unsynced(stream, at.now_ns)
        self._faults.raise_(Fault.STREAM_UNSYNCED, at, detail, stream.value)
        if stream in MARKET:
            self._market.quote = None
        self._resubscribe(at, stream)

    def overdue(self, at: At, stream: Stream, detail: str) -> None:
        """REST shows what a private stream has not: ask it for a new image."""
        self._outbox.log("warning", "stream_overdue", stream=stream.value, detail=detail)
        if self.feed.synced(stream):
            self._unsync(at, stream, detail)

    def _resubscribe(self, at: At, stream: Stream) -> None:
        """At most once per pause: a stream that stays wrong must not become a storm."""
        pace = self._asking[stream]
        if self._session is None or not (self.connection.welcomed and pace.is_due(at.now_ns)):
            return
        pace.failed(at.now_ns)
        if stream is Stream.QUOTE:
            self._quote_asked_ns = at.now_ns
        self._outbox.log("warning", "resubscribing", stream=stream.value)
        for frame in self._session.resubscribe(stream):
            self._outbox.put(SendFrame(self.connection.conn, frame))

    def distrust(self, at: At, why: str) -> None:
        """Nothing that we hold is certain any more: drop all images and reconcile."""
        self._outbox.log("error", "distrust", detail=why)
        if self.connection.is_up:
            self._close(at, why)
        else:
            self._reconciler.doubt(at, why)

    def _close(self, at: At, why: str) -> None:
        if self.connection.is_up:
            self._outbox.put(CloseStream(self.connection.conn, why))
            self._lost(at, why)

    def _lost(self, at: At, why: str) -> None:
        """No image survives the connection, and everything is reconciled before deciding (F8)."""
        self.connection.lost(at.now_ns)
        self._session = None
        self.feed.disconnected(at.now_ns)
        self._market.quote = None
        self._imaged.clear()
        # One line for all of them: none is lost without the others.
        self._outbox.log("warning", "stream_lost", detail=why, lost=[s.value for s in Stream])
        self._faults.raise_(Fault.STREAM_DOWN, at, why)
        for stream in Stream:
            self._faults.raise_(Fault.STREAM_UNSYNCED, at, why, stream.value, told=False)
        self._synced_once = False
        self._reconciler.disconnected(at)

    # --- judge

    def judge(self, at: At) -> None:
        """Silence, contradiction and calm, each by its own clock."""
        now_ns = at.now_ns
        feed, faults = self.feed, self._faults
        if feed.market_never_came():
            words, since_ns = "no market data yet", self._began_ns
            faults.raise_(Fault.MARKET_STALE, at, words, since_ns=since_ns, level="info")
        elif feed.market_is_stale(now_ns):
            self._soft_stop(at)
        elif self._market_moves_again():
            faults.clear(Fault.MARKET_STALE)
        self._judge_lag(at)
        if self._market.agrees():
            feed.agreed(now_ns)
        elif feed.disagrees(now_ns):
            words = self._market.disagreement()
            for stream in MARKET:
                self._unsync(at, stream, words)
        if feed.all_synced and not self._synced_once:
            # What happened while we could not see it, REST must tell before the next decision.
            self._synced_once = True
            self._outbox.log("info", "streams_synced")
            self._reconciler.doubt(at, "synced anew")
        if feed.all_synced:
            self.connection.settled(now_ns)
        refused_ns = self._wire_refused_ns
        if refused_ns is not None and now_ns - refused_ns > _WIRE_CALM_NS:
            self._wire_refused_ns = None
            faults.clear(Fault.WIRE_REFUSED)

    def _judge_lag(self, at: At) -> None:
        """A market that we handle late is not the market (control F9)."""
        lag, faults, quote = self.lag, self._faults, self._market.quote
        # Without a sure clock no age is known; that is a fault, or a reconnect, of its own.
        if quote is not None and self._skew.is_sure:
            offset_ns = self._skew.offset_ns or 0
            was_of_now = not lag.not_of_now
            age_ns = lag.age_ns(quote, self._market.quote_wall_ns, offset_ns, at.now_ns)
            if was_of_now and lag.not_of_now:
                self._outbox.log("warning", "quotes_not_of_now", stamp=quote.stamp)
            if age_ns is not None and age_ns > lag.limit_ns:
                words = f"a quote was {age_ns / SECOND_NS:.2f} s old when it was handled"
                faults.raise_(Fault.FEED_LAGS, at, words, Stream.QUOTE.value)
            elif age_ns is not None and age_ns <= lag.over_ns:
                faults.clear(Fault.FEED_LAGS, Stream.QUOTE.value)
        if (
            faults.has(Fault.FEED_LAGS, Stream.QUOTE.value)
            and at.now_ns - lag.known_ns > _LAG_UNKNOWN_NS
            and self.feed.synced(Stream.QUOTE)
        ):
            self._unsync(at, Stream.QUOTE, "it lagged, and no quote came since")
        if lag.steps_lag(at.now_ns):
            faults.raise_(Fault.FEED_LAGS, at, "steps come late again and again", "loop")
        else:
            faults.clear(Fault.FEED_LAGS, "loop")

    def _keep_alive(self, at: At, conn: int) -> None:
        """Be heard now and then; whether the venue lives is judged by what it sends unasked."""
        if self._session is not None and at.now_ns - self._pinged_ns >= _PING_EVERY_NS:
            self._pinged_ns = at.now_ns
            self._outbox.put(SendFrame(conn, self._session.ping()))

    def _probe(self, at: At, conn: int) -> None:
        """Who answers in a silence? It costs a request, so none where none is to spare."""
        since_ns = self.feed.soft_since_ns
        if self._session is None or not self.probe.is_due(since_ns):
            return
        spare = self._budget.is_open(Lane.OPEN, at.now_ns)
        self.probe.asked(since_ns, rest=spare)
        self._outbox.put(SendFrame(conn, self._session.ping()))
        if spare:
            self._requests.read(at, Read.INSTRUMENT, self._dialect.read_instrument())

    def _market_moves_again(self) -> bool:
        """Only an increment ends a silence; at the start the first image does."""
        since_ns = self._faults.since_ns(Fault.MARKET_STALE)
        return since_ns is not None and self.feed.silent_since_ns > since_ns

    def _soft_stop(self, at: At) -> None:
        """Silence on an open socket: leave it, decide nothing, cancel over REST (control F2)."""
        silent_ns = self.feed.silent_since_ns
        cause = self.probe.words(self.feed.soft_since_ns)
        words = f"no market data for {(at.now_ns - silent_ns) / SECOND_NS:.2f} s; {cause}"
        self._faults.raise_(Fault.MARKET_STALE, at, words, since_ns=silent_ns)
        self.feed.soft_stopped(at.now_ns)
        self._outbox.log("warning", "soft_stop", detail=words)
        self._close(at, words)
        if self.feed.flaps(at.now_ns):
            self._faults.raise_(Fault.FEED_FLAPS, at, f"again and again {words}")

    # --- repair

    def _wait_for_budget(self, at: At) -> None:
        """Nothing is opened: say so where it is for the sake of the hour's budget."""
        wait_ns = self.connection.budget_wait_ns(at.now_ns)
        if wait_ns and not self.connection.is_opening:
            words = f"connection budget used: next in {wait_ns / SECOND_NS:.0f} s"
            self._faults.raise_(Fault.STREAM_DOWN, at, words)
            if not self._budget_told:
                self._outbox.log("warning", "connection_budget_used", detail=words)
        self._budget_told = wait_ns > 0

    def repair(self, at: At) -> None:
        """Connect, and ask again for what is still missing."""
        instrument = self._market.instrument
        if instrument is None or self._faults.has(Fault.INSTRUMENT_UNKNOWN):
            return
        if self.connection.welcome_overdue(at.now_ns):
            self._close(at, "no welcome from the venue")
        if self.connection.open_due(at.now_ns):
            self._session = self._dialect.session(instrument)
            self._market.book = self._session.book
            self._outbox.put(OpenStream(self.connection.opening(at.now_ns), CONNECT_WITHIN_NS))
        elif not self.connection.is_up:
            self._wait_for_budget(at)
        elif self.connection.welcomed:
            self._keep_alive(at, self.connection.conn)
            if self.feed.market_is_quiet(at.now_ns):
                self._probe(at, self.connection.conn)
            for stream in () if self.feed.all_synced else Stream:
                if not self.feed.synced(stream):
                    self._resubscribe(at, stream)
