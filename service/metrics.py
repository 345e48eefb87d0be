"""What Prometheus sees. Names end in a unit; labels are routes and models, never callers or addresses."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from service.door import Visit

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One registry per gateway."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("rddm_requests", "Answered requests", ["method", "route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "rddm_request_seconds",
            "Seconds from the head of a request to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.part_seconds = Histogram(
            "rddm_part_seconds", "Seconds of decode, sample and encode", ["part", "model"], buckets=SECONDS, registry=registry
        )
        self.batch_rows = Histogram(
            "rddm_batch_rows", "Rows of a batch as sent to the engine", ["model"], buckets=ROWS, registry=registry
        )
        self.step_seconds = Histogram(
            "rddm_step_seconds", "Seconds of a network call", ["model"], buckets=SECONDS, registry=registry
        )
        self.wait_seconds = Histogram("rddm_wait_seconds", "Longest wait in a batch", ["model"], buckets=SECONDS, registry=registry)
        self.pending = Gauge("rddm_pending_megapixel_steps", "Work that is admitted and not done", registry=registry)
        self.waiting = Gauge("rddm_waiting_items", "Tiles that wait for a batch", registry=registry)
        self.running = Gauge("rddm_running_batches", "Batches at the engine", registry=registry)
        self.working = Gauge("rddm_working_requests", "Orders being carried out", registry=registry)
        self.engine_ready = Gauge(
            "rddm_engine_ready_state", "1 where the model's last check was right", ["model"], registry=registry
        )
        self.cache_hits = Gauge("rddm_cache_hits_count", "Results that were there already", registry=registry)
        self.cache_shared = Gauge("rddm_cache_shared_count", "Results that were on their way already", registry=registry)
        self.cache_misses = Gauge("rddm_cache_misses_count", "Results that had to be computed", registry=registry)
        self.cache_bytes = Gauge("rddm_cache_bytes", "Memory of kept results", registry=registry)
        self.codec_kills = Gauge("rddm_codec_kills_count", "Picture processes ended at a limit", registry=registry)
        self.jobs = Gauge("rddm_jobs_count", "Jobs by status", ["status"], registry=registry)

    def visited(self, visit: Visit) -> None:
        """Count a request."""
        self.requests.labels(visit.method, visit.route, str(visit.status)).inc()
        self.request_seconds.labels(visit.route).observe(visit.seconds)

    def made(self, model: str, timings: Mapping[str, float]) -> None:
        """Note how long the parts of an order took, in milliseconds."""
        for part, milliseconds in timings.items():
            self.part_seconds.labels(part, model).observe(milliseconds / 1000)

    def exposition(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
