"""All parts of the restoration service, opened and closed in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from service.engines.arrays import HOST
from service.engines.contract import ServingEngine
from service.engines.registry import open_engine
from service.pictures.picture import Bounds
from service.pictures.workers.pool import CodecPool
from service.restoration.models import Parameters, choice_for, named_by
from service.restoration.service import RestorationService
from service.results.cache import ResultCache
from service.sampling.ensemble import FlipEnsemble
from service.sampling.pipeline import Pipeline
from service.scheduling.learned import LearnedFile
from service.scheduling.scheduler import OnCall, Scheduler
from service.settings import Settings


@asynccontextmanager
async def open_service(
    settings: Settings,
    engine: ServingEngine | None = None,
    codecs: CodecPool | None = None,
    on_call: OnCall | None = None,
    wanted: Parameters | None = None,
    *,
    one_request: bool = False,
    starts_codecs: bool = True,
) -> AsyncIterator[RestorationService]:
    """Starts a codec process, the engine and the scheduler; ends them in reverse order.

    engine, codecs: instead of those that the settings name. on_call: gets each network call, in the event loop. wanted: of the
    requests that will come, where all are for one model: only that one need be opened. one_request: there will be one at most.
    starts_codecs: else the first picture does, or whoever calls `codecs.start`.
    Raises EngineUnavailable where no model can be used, ModuleNotFoundError where the engine's packages are not installed, NotFound
    where there is no model for what is wanted.
    """
    engine, arrays = (engine, HOST) if engine is not None else open_engine(settings)
    if wanted is not None:
        engine.restrict(choice_for(settings, wanted), named=named_by(wanted), one_request=one_request)
    bounds = Bounds(settings.max_pixels, settings.max_side)
    codecs = codecs or CodecPool(bounds, settings.codec_workers, settings.codec_seconds, settings.codec_memory_bytes)
    scheduler = Scheduler(
        engine,
        lambda: engine.instances,
        settings.queue_megapixel_steps,
        arrays,
        on_call=on_call,
        file=LearnedFile(settings.learned_path, engine.identity),
        filled_rows=engine.filled_rows,
    )
    pipeline = Pipeline(scheduler, scheduler, arrays)
    service = RestorationService(settings, engine, scheduler, ResultCache(FlipEnsemble(pipeline), settings.results_bytes), codecs)
    try:
        await _together(engine.start(), *([codecs.start()] if starts_codecs else []))
        service.models.warn_of_default()
        for model in engine.models().values():
            scheduler.introduce(model)
        if settings.prove_at_start:
            await scheduler.learner.prove_all()
        yield service
    finally:
        await codecs.close()
        await scheduler.close()
        pipeline.close()
        await engine.close()


async def _together(*starts: Awaitable[None]) -> None:
    """All of them to their end, so that nothing half started is left behind; then the first error."""
    for outcome in await asyncio.gather(*starts, return_exceptions=True):
        if outcome is not None:
            raise outcome
