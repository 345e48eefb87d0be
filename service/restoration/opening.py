"""All parts of the restoration service, opened and closed in order."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service.engines.arrays import HOST
from service.engines.contract import Repository, ServingEngine
from service.engines.registry import open_engine
from service.errors import EngineUnavailable
from service.pictures.decode import Bounds
from service.pictures.pool import CodecPool
from service.restoration.service import RestorationService
from service.results.cache import ResultCache
from service.sampling.pipeline import Pipeline
from service.scheduling.scheduler import Call, Limits, Scheduler
from service.settings import Settings
from service.telemetry.tracing import StepSpans, TracedBatches, TracedSteps

log = logging.getLogger("rddm.restoration")


@asynccontextmanager
async def open_service(
    settings: Settings,
    engine: ServingEngine | None = None,
    codecs: CodecPool | None = None,
    on_call: Callable[[Call], None] | None = None,
    *,
    measured: bool = False,
) -> AsyncIterator[RestorationService]:
    """Starts the codec processes, the engine and the scheduler; ends them in reverse order.

    engine, codecs: instead of those that the settings name. on_call: told of each network call, in the event loop.
    measured: every model before the block begins, so that no request waits for it; else each before its first request.
    Raises EngineUnavailable where no model can be used, ModuleNotFoundError where the engine's packages are not installed.
    """
    engine, arrays = (engine, HOST) if engine is not None else open_engine(settings)
    bounds = Bounds(settings.max_pixels, settings.max_side)
    codecs = codecs or CodecPool(bounds, settings.codec_workers, settings.codec_seconds, settings.codec_memory_bytes)
    spans, limits = StepSpans(), Limits(settings.queue_megapixel_steps)
    scheduler = Scheduler(TracedBatches(engine, spans), lambda: engine.instances, limits, arrays, on_call=on_call)
    pipeline = Pipeline(TracedSteps(scheduler, spans), scheduler, arrays)
    service = RestorationService(settings, engine, scheduler, ResultCache(pipeline, settings.results_bytes), codecs)
    try:
        await codecs.start()  # before gRPC has threads, which it warns of when a process is started beside them
        await engine.start()
        service.models.warn_of_default()
        if measured:
            await calibrate(engine, scheduler)
        yield service
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
