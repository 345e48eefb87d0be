"""What Prometheus sees. Names end in a unit or in what they count; labels are routes and models, never callers or addresses."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from service.telemetry.requests import RequestRecord

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
ROWS = (1, 2, 4, 8, 16, 32, 64)
Level = tuple[str, str, Callable[[], float]]


class Metrics:
    """One registry per gateway."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("rddm_requests", "Answered requests", ["method", "route", "status"], registry=registry)
        self._request_seconds = _seconds(
            "rddm_request_seconds", "From the head of a request to the end of its answer", "route", registry
        )
        self._part_seconds = _seconds("rddm_part_seconds", "Decode, sample and encode", "model", registry, "part")
        self._rows = Histogram("rddm_batch_rows", "Rows that were asked in a batch", ["model"], buckets=ROWS, registry=registry)
        self._step_seconds = _seconds("rddm_step_seconds", "One call of the network", "model", registry)
        self._wait_seconds = _seconds("rddm_wait_seconds", "The longest wait in a batch", "model", registry)
        self._ready = Gauge("rddm_engine_ready", "1 where the model's last golden answer was right", ["model"], registry=registry)

    def observe_request(self, record: RequestRecord) -> None:
        """Count a request."""
        self._requests.labels(record.method, record.route, str(record.status)).inc()
        self._request_seconds.labels(record.route).observe(record.seconds)

    def observe_timings(self, model: str, timings: Mapping[str, float]) -> None:
        """Note how long the parts of a request took, in milliseconds."""
        for part, milliseconds in timings.items():
            self._part_seconds.labels(model, part).observe(milliseconds / 1000)

    def observe_call(self, model: str, rows: int, seconds: float, waited: float) -> None:
        """Note a call of the network."""
        self._rows.labels(model).observe(rows)
        self._step_seconds.labels(model).observe(seconds)
        self._wait_seconds.labels(model).observe(waited)

    def observe_readiness(self, model: str, ready: bool) -> None:
        """Note a golden answer."""
        self._ready.labels(model).set(ready)

    def watch(self, gauges: Iterable[Level], counters: Iterable[Level]) -> None:
        """Read these whenever Prometheus asks."""
        self._registry.register(Levels(tuple(gauges), tuple(counters)))

    def exposition(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class Levels(Collector):
    """Numbers that somebody else keeps: (name, help, how to read it)."""

    def __init__(self, gauges: tuple[Level, ...], counters: tuple[Level, ...]) -> None:
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        """Read them now."""
        for name, words, read in self._gauges:
            yield GaugeMetricFamily(name, words, value=read())
        for name, words, read in self._counters:
            yield CounterMetricFamily(name, words, value=read())


def _seconds(name: str, words: str, label: str, registry: CollectorRegistry, *more: str) -> Histogram:
    return Histogram(name, f"{words}, seconds", [label, *more], buckets=SECONDS, registry=registry)
