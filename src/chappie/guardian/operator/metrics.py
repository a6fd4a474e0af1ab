"""The metrics at `/metrics`: what a scrape reads from the picture, and what the guardian counts.

The registry is our own: nothing of ours stands in the library's global one.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from chappie.guardian.operator.readings import OTHER, ROWS, Kind, Metric, Row
from chappie.guardian.restarts import CRASH_LOOP
from chappie.guardian.shown import Shown
from chappie.model.faults import FAULTS, Fault, Posture, StopReason
from chappie.model.state import Mode

# When a counter was made is no metric of anybody, and would double the series.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_WITHIN_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_REASONS = (*(reason.word for reason in StopReason), CRASH_LOOP, OTHER)

STOPS = Metric(
    "chappie_stops_total",
    Kind.COUNTER,
    "Ends of a trader that this guardian saw, by reason.",
    "stops",
    ("reason",),
)
STAYED_DOWN = Metric(
    "chappie_stayed_down_total",
    Kind.COUNTER,
    "How often the guardian left the trader down until a resume, by reason.",
    "times",
    ("reason",),
)
STARTS = Metric(
    "chappie_trader_starts_total", Kind.COUNTER, "Traders that this guardian started.", "starts"
)
STALLS = Metric(
    "chappie_trader_stalls_total",
    Kind.COUNTER,
    "Traders that this guardian killed because no beat came.",
    "traders",
)
HALTS = Metric(
    "chappie_halts_asked_total", Kind.COUNTER, "Halts asked for at this guardian.", "halts"
)
RESUMES = Metric(
    "chappie_resumes_total", Kind.COUNTER, "Resumes carried out by this guardian.", "resumes"
)
VENUE_DEATHS = Metric(
    "chappie_embedded_venue_deaths_total",
    Kind.COUNTER,
    "Ends of the embedded venue that this guardian saw.",
    "deaths",
)
BEGUN = Metric(
    "chappie_faults_begun_total",
    Kind.COUNTER,
    "Faults that began, as beats showed them; one that ends between two beats is not seen.",
    "faults",
    ("fault",),
)
NOTICED = Metric(
    "chappie_fault_noticed_seconds",
    Kind.HISTOGRAM,
    "From the beginning of a fault until a beat showed it: up to a beat more than the core took.",
    "seconds",
    ("fault",),
)
SAFE = Metric(
    "chappie_fault_safe_seconds",
    Kind.HISTOGRAM,
    "From the beginning of a fault that cancels our orders until a beat showed none of ours live.",
    "seconds",
    ("fault",),
)
COUNTED = (
    *(STOPS, STAYED_DOWN, STARTS, STALLS, HALTS, RESUMES, VENUE_DEATHS),
    *(BEGUN, NOTICED, SAFE),
)
_PROCESS = (
    ("virtual_memory_bytes", Kind.GAUGE, "Virtual memory size in bytes.", "bytes"),
    ("resident_memory_bytes", Kind.GAUGE, "Resident memory size in bytes.", "bytes"),
    ("start_time_seconds", Kind.GAUGE, "When the process started, UNIX.", "seconds"),
    ("cpu_seconds_total", Kind.COUNTER, "CPU time spent, user and system.", "seconds"),
    ("open_fds", Kind.GAUGE, "Open file descriptors.", "descriptors"),
    ("max_fds", Kind.GAUGE, "Most file descriptors that may be open.", "descriptors"),
)
METRICS: tuple[Metric, ...] = (
    *(row.metric for row in ROWS),
    *COUNTED,
    # Read by the library from /proc, so on Linux only.
    *(
        Metric(f"chappie_{whose}_process_{name}", kind, f"{words} ({whose})", unit)
        for whose in ("guardian", "trader")
        for name, kind, words, unit in _PROCESS
    ),
)
"""Everything that `/metrics` may hold; the table in docs/metrics.md is made of it."""

# Counters by the guardian's log event that they count.
_PLAIN = {
    "trader_started": STARTS,
    "trader_stalled": STALLS,
    "halt_asked": HALTS,
    "resumed": RESUMES,
    "venue_died": VENUE_DEATHS,
}
_BY_REASON = {"trader_stopped": STOPS, "staying_down": STAYED_DOWN}


class _Picture(Collector):
    """The rows, read at each scrape."""

    def __init__(self, look: Callable[[], Shown], beat_timeout_s: float) -> None:
        self._look = look
        self._beat_timeout_s = beat_timeout_s

    def collect(self) -> Iterator[Family]:
        shown = self._look()
        for row in ROWS:
            yield self._family(row, shown)

    def describe(self) -> Iterator[Family]:
        """Names only, so that registering asks for no picture."""
        for row in ROWS:
            yield _empty(row.metric)

    def _family(self, row: Row, shown: Shown) -> Family:
        family = _empty(row.metric)
        for labels, value in row.read(shown, self._beat_timeout_s):
            family.add_metric(labels, value)
        return family


def _empty(metric: Metric) -> GaugeMetricFamily | CounterMetricFamily:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)


class Metrics:
    """Let it hear what is logged and see each picture; `scraped` is the answer to a scrape.

    A bug in here costs the metrics and never the guard: nothing more is counted, and a scrape
    fails, which is what a supervisor of metrics alerts on.
    """

    def __init__(self, look: Callable[[], Shown], beat_timeout_s: float) -> None:
        self.failed: str | None = None
        """The words of our own bug."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Picture(look, beat_timeout_s))
        self._counters = {one.name: self._counter(one) for one in COUNTED if _counts(one)}
        self._noticed = self._histogram(NOTICED)
        self._safe = self._histogram(SAFE)
        self._seen: dict[tuple[str, str], bool] = {}
        for of, labelled in ((_REASONS, (STOPS, STAYED_DOWN)), (_FAULTS, (BEGUN,))):
            for metric in labelled:
                for value in of:
                    # A series that begins at zero shows its first event to `increase`.
                    self._counters[metric.name].labels(value)
        ProcessCollector("chappie_guardian", registry=self._registry)
        ProcessCollector(
            "chappie_trader", pid=lambda: look().trader.pid or "none", registry=self._registry
        )

    def scraped(self) -> bytes:
        """The text of this moment. Raises whatever is wrong with it."""
        return generate_latest(self._registry)

    def heard(self, event: str, fields: Mapping[str, object]) -> None:
        """A log event of the guardian; any thread may call this."""
        self._guarded(lambda: self._hear(event, fields))

    def saw(self, shown: Shown) -> None:
        """A picture; called a few times a second by one thread."""
        self._guarded(lambda: self._see(shown))

    def _hear(self, event: str, fields: Mapping[str, object]) -> None:
        if event in _PLAIN:
            self._counters[_PLAIN[event].name].inc()
        elif event in _BY_REASON:
            reason = str(fields.get("reason"))
            label = reason if reason in _REASONS else OTHER
            self._counters[_BY_REASON[event].name].labels(label).inc()

    def _see(self, shown: Shown) -> None:
        """Which faults are new, and which of the known ones are safe by now."""
        if shown.at is None or shown.mode is Mode.STOPPED:
            self._seen = {}
            return
        seen: dict[tuple[str, str], bool] = {}
        for fault in shown.faults:
            if fault.fault not in _FAULTS:
                continue
            key = (fault.fault, fault.subject)
            if key not in self._seen:
                self._counters[BEGUN.name].labels(fault.fault).inc()
                self._noticed.labels(fault.fault).observe(fault.since_s)
            safe = self._seen.get(key, False)
            if not safe and _cancels(fault.fault) and not shown.orders:
                safe = True
                self._safe.labels(fault.fault).observe(fault.since_s)
            seen[key] = safe
        self._seen = seen

    def _guarded(self, act: Callable[[], None]) -> None:
        if self.failed is not None:
            return
        try:
            act()
        # An edge of its own: whatever is wrong with a metric, the trader is watched.
        except Exception as error:  # noqa: BLE001
            self.failed = repr(error)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(
            metric.name, metric.help, metric.labels, registry=self._registry, buckets=_WITHIN_S
        )


_FAULTS = tuple(fault.value for fault in Fault)


def _counts(metric: Metric) -> bool:
    return metric.kind is Kind.COUNTER


def _cancels(fault: str) -> bool:
    row = FAULTS[Fault(fault)]
    return row.posture >= Posture.CANCEL_ONLY and not row.rests
