"""All that a running gateway consists of, opened and closed in order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from service.api import responses
from service.api.middleware import BodyLimits
from service.engines.arrays import HOST, Arrays, offload
from service.engines.contract import Engine, Repository
from service.errors import EngineUnavailable, ServiceError, ShuttingDown
from service.jobs.store import ResponseContent
from service.keys import Keyring, parse_keys
from service.pictures.decode import Bounds
from service.pictures.pool import CodecPool
from service.restoration.service import InferenceResult, InferenceService
from service.results.cache import ResponseCache, ResultCache
from service.sampling.pipeline import Pipeline
from service.scheduling.scheduler import Call, Limits, Scheduler
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import StepSpans, TracedBatches, TracedSteps

log = logging.getLogger("rddm.gateway")
EVENTS = ("retried", "lost")
CHECK_SECONDS = 2.0  # readiness is asked for often; an answer this young is given again
SCRAPE_SECONDS = 2.0  # that /metrics waits for golden answers; Prometheus itself waits for ten


class ServingEngine(Engine, Repository, Protocol):
    """An engine that is also its own repository, as both shipped ones are."""


@dataclass(eq=False)
class Drain:
    """Counts the requests in work, and turns new ones away once the gateway is closing."""

    closing: bool = False
    working: int = 0

    @contextmanager
    def track(self) -> Iterator[None]:
        """Holds the gateway open for the block. Raises ShuttingDown."""
        if self.closing:
            raise ShuttingDown("this gateway finishes what it has and takes nothing new", retry_after=5)
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1


class Readiness:
    """Golden inferences of every model, each at most once in CHECK_SECONDS, whoever asks."""

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._states: dict[str, dict[str, Any]] = {}
        self._at = -CHECK_SECONDS
        self._told: set[str] = set()
        self._asked: asyncio.Task[dict[str, dict[str, Any]]] | None = None

    async def states(self) -> dict[str, dict[str, Any]]:
        """{"ready", "version", "detail"?} by model."""
        async with self._lock:
            if time.monotonic() - self._at >= CHECK_SECONDS:
                models = self._repository.models()
                found = await asyncio.gather(*(self._state(name, model.version) for name, model in models.items()))
                self._states = dict(zip(models, found, strict=True))
                self._at = time.monotonic()
            return self._states

    async def refresh(self) -> None:
        """Bring the gauges up to date. Answers that take longer than SCRAPE_SECONDS, or fail, leave them as they were."""
        self._zero_missing()
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self.states())
        done, _ = await asyncio.wait({self._asked}, timeout=SCRAPE_SECONDS)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("readiness could not be found out: %s", type(error).__name__, exc_info=error)

    def _zero_missing(self) -> None:
        """Models that were unloaded, or could not be loaded, do not answer; `*` is no model, see TritonEngine.broken."""
        broken: Mapping[str, str] = getattr(self._repository, "broken", {})
        for name in (self._told | broken.keys()) - self._repository.models().keys() - {"*"}:
            self._metrics.observe_readiness(name, False)

    async def _state(self, name: str, version: int) -> dict[str, Any]:
        state: dict[str, Any] = {"ready": True, "version": version}
        try:
            await self._repository.check(name)
        except ServiceError as error:
            state |= {"ready": False, "detail": error.detail}
        self._told.add(name)
        self._metrics.observe_readiness(name, state["ready"])
        return state


@dataclass(eq=False)
class Gateway:
    """A gateway that runs."""

    settings: Settings
    repository: Repository
    scheduler: Scheduler
    results: ResultCache
    answers: ResponseCache
    codecs: CodecPool
    inference: InferenceService
    keyring: Keyring
    metrics: Metrics
    readiness: Readiness
    drain: Drain

    def __post_init__(self) -> None:
        scheduler, results, repository = self.scheduler, self.results, self.repository
        self.metrics.watch(
            gauges=[
                ("rddm_pending_megapixel_steps", "Work that is admitted and not done", lambda: scheduler.pending),
                ("rddm_waiting_tiles", "Tiles that wait for a batch", lambda: scheduler.waiting),
                ("rddm_running_batches", "Batches at the engine", lambda: scheduler.running),
                ("rddm_working_requests", "Requests in work", lambda: self.drain.working),
                ("rddm_loaded_models", "Models that take requests", lambda: len(repository.models())),
                ("rddm_cache_bytes", "Kept results", lambda: results.entries.bytes),
                ("rddm_answers_bytes", "Kept answers", lambda: self.answers.entries.bytes),
            ],
            counters=[
                ("rddm_cache_hits", "Results that were there already", lambda: results.hits),
                ("rddm_cache_shared", "Results that were on their way already", lambda: results.shared),
                ("rddm_cache_misses", "Results that had to be computed", lambda: results.misses),
                ("rddm_codec_kills", "Picture processes ended at a limit", lambda: self.codecs.killed),
                *(
                    (f"rddm_engine_{event}_steps", f"Steps that the engine {event}", partial(_count, repository, event))
                    for event in EVENTS
                ),
            ],
        )

    async def finish(self, caller: str, result: InferenceResult, *, as_json: bool, several: bool) -> ResponseContent:
        """The result as a response, counted and kept."""
        self.metrics.observe_timings(result.model.spec.name, result.timings)
        size = sum(len(image.body) for image in result.images)
        answers = await offload(size, responses.cached_responses, result)
        locations = [f"/results/{self.answers.put(caller, answer)}" for answer in answers]
        return await offload(size, responses.content_of, result, answers, locations, as_json=as_json, several=several)


def keyring_of(settings: Settings) -> Keyring:
    """The keys of the file and of the environment. Raises OSError and ValueError."""
    text = settings.keys_file.read_text("utf-8") if settings.keys_file else ""
    return Keyring(parse_keys(f"{text}\n{settings.keys.get_secret_value() if settings.keys else ''}"))


def body_limits(settings: Settings) -> BodyLimits:
    """What the middleware bounds bodies by."""
    return BodyLimits(settings.max_body_bytes, settings.body_timeout_seconds, settings.idle_timeout_seconds)


def open_engine(settings: Settings) -> tuple[ServingEngine, Arrays]:
    """The engine that the settings name, not started yet, and the arrays that it takes. What is not used is not imported."""
    if settings.device != "cpu":
        return _open_on_device(settings)
    if settings.engine == "triton":
        from service.engines.triton.engine import TritonEngine  # noqa: PLC0415

        return TritonEngine(settings.triton_urls), HOST
    from service.engines.embedded.engine import EmbeddedEngine, Threads, one_per_core  # noqa: PLC0415

    threads = Threads(settings.instances or max(1, one_per_core().instances // settings.threads), settings.threads)
    return EmbeddedEngine(Path(settings.model_repository), threads), HOST


def _open_on_device(settings: Settings) -> tuple[ServingEngine, Arrays]:
    """Sampler state stays on the GPU. Raises ModuleNotFoundError where the extra `gpu` is not installed."""
    from service.engines import gpu  # noqa: PLC0415

    device = gpu.find_device(settings.device)
    if settings.engine == "triton":
        from service.engines.triton.engine import TritonEngine  # noqa: PLC0415

        return TritonEngine(settings.triton_urls, make_region=gpu.make_region(device)), gpu.TorchArrays(device)
    from service.engines.embedded.engine import EmbeddedEngine, Threads  # noqa: PLC0415

    threads = Threads(settings.instances or 1, settings.threads)
    return EmbeddedEngine(Path(settings.model_repository), threads, gpu.IoBindingRunner(device)), gpu.TorchArrays(device)


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    engine: ServingEngine | None = None,
    metrics: Metrics | None = None,
    codecs: CodecPool | None = None,
    *,
    measured: bool = True,
) -> AsyncIterator[Gateway]:
    """Start the engine, the scheduler and the codec processes; end them in reverse order.

    measured: every model before the block begins, so that no request waits for it; else each before its first request.
    """
    engine, arrays = (engine, HOST) if engine is not None else open_engine(settings)
    metrics = metrics or Metrics()
    bounds = Bounds(settings.max_pixels, settings.max_side)
    codecs = codecs or CodecPool(bounds, settings.codec_workers, settings.codec_seconds, settings.codec_memory_bytes)
    keyring = keyring_of(settings)
    step_spans = StepSpans()
    limits = Limits(settings.queue_megapixel_steps)
    scheduler = Scheduler(
        TracedBatches(engine, step_spans),
        lambda: getattr(engine, "instances", 1),
        limits,
        arrays,
        on_call=partial(_note, metrics),
    )
    pipeline = Pipeline(TracedSteps(scheduler, step_spans), scheduler, arrays)
    results = ResultCache(pipeline, settings.results_bytes)
    inference = InferenceService(settings, engine, results, scheduler, codecs)
    try:
        await codecs.start()  # before gRPC has threads, which it warns of when a process is started beside them
        await engine.start()
        inference.warn_of_default()
        if measured:
            await calibrate(engine, scheduler)
        yield Gateway(
            settings=settings,
            repository=engine,
            scheduler=scheduler,
            results=results,
            answers=ResponseCache(settings.answers_bytes),
            codecs=codecs,
            inference=inference,
            keyring=keyring,
            metrics=metrics,
            readiness=Readiness(engine, metrics),
            drain=Drain(),
        )
    finally:
        await codecs.close()
        await scheduler.close()
        pipeline.close()
        await engine.close()


async def calibrate(repository: Repository, scheduler: Scheduler) -> None:
    """Measure every model; one that does not answer now is measured by its first batches."""
    for name, model in repository.models().items():
        try:
            await scheduler.ensure(model)
        except EngineUnavailable as error:
            log.warning("model %s could not be measured: %s", name, error.detail)


def _note(metrics: Metrics, call: Call) -> None:
    """After whoever waits for the call has gone on to the next one."""
    asyncio.get_running_loop().call_soon(metrics.observe_call, call.model, call.rows, call.seconds, call.waited)


def _count(repository: Repository, event: str) -> float:
    """What an engine that speaks to servers counts in `events`."""
    events: Mapping[str, int] = getattr(repository, "events", {})
    return events.get(event, 0)
