"""All that a running gateway consists of, opened and closed in order."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.engines.arrays import offload
from service.engines.contract import ServingEngine
from service.errors import EngineUnavailable, ServiceError
from service.health import Drain, Readiness
from service.keys import Keyring, parse_keys
from service.pictures.workers.pool import CodecPool
from service.restoration import documents
from service.restoration.opening import open_service
from service.restoration.service import RequestResult, RestorationService
from service.results.cache import ResultCache
from service.results.stored import ResponseCache, StoredResponse
from service.scheduling.scheduler import Scheduler
from service.settings import Settings
from service.storage import Database, open_database
from service.telemetry.metrics import Metrics
from service.video.service import ClipService
from service.video.storage import ClipStore

log = logging.getLogger("rddm.gateway")
EVENTS = ("retried", "lost")


@dataclass(eq=False)
class Gateway:
    """A gateway that runs."""

    settings: Settings
    repository: ServingEngine
    scheduler: Scheduler
    results: ResultCache
    responses: ResponseCache
    database: Database
    codecs: CodecPool
    restoration: RestorationService
    clips: ClipService
    clip_store: ClipStore
    keyring: Keyring
    metrics: Metrics
    readiness: Readiness
    drain: Drain

    def __post_init__(self) -> None:
        scheduler, results, repository = self.scheduler, self.results, self.repository
        self.metrics.watch(
            gauges=[
                ("rddm_pending_megapixel_steps", "Work that is admitted and not done", lambda: scheduler.pending),
                ("rddm_capacity_megapixel_steps_per_second", "Work that is done when busy", lambda: scheduler.capacity),
                ("rddm_waiting_tiles", "Tiles that wait for a batch", lambda: scheduler.waiting),
                ("rddm_running_batches", "Batches at the engine", lambda: scheduler.running),
                ("rddm_working_requests", "Requests in work", lambda: self.drain.working),
                ("rddm_loaded_models", "Models that take requests", lambda: len(repository.models())),
                ("rddm_cache_bytes", "Kept results", lambda: results.entries.bytes),
                ("rddm_answers_bytes", "Kept answers", lambda: self.responses.entries.bytes),
            ],
            counters=[
                ("rddm_cache_hits", "Results that were there already", lambda: results.hits),
                ("rddm_cache_shared", "Results that were on their way already", lambda: results.shared),
                ("rddm_cache_misses", "Results that had to be computed", lambda: results.misses),
                ("rddm_codec_kills", "Picture processes ended at a limit", lambda: self.codecs.killed),
                *(
                    (f"rddm_engine_{event}_steps", f"Steps that the engine {event}", partial(self._count, event))
                    for event in EVENTS
                ),
            ],
        )

    async def warm(self) -> None:
        """Starts what the first picture would wait for and no readiness depends on."""
        try:
            await self.codecs.start()
        except ServiceError as error:
            log.warning("no process for pictures could be started yet: %s", error.detail)

    async def ready(self, *, any_model: bool = False) -> dict[str, Any]:
        """What /readyz says when every model answers, or any. Raises EngineUnavailable."""
        states = await self.readiness.states()
        if self.drain.closing:
            raise EngineUnavailable("this gateway is going down", models=states)
        answering = [state["ready"] for state in states.values()]
        if not (any(answering) if any_model else answering and all(answering)):
            failing = sorted(name for name, state in states.items() if not state["ready"])
            reason = f"models that do not answer: {failing}" if states else "no model is loaded"
            raise EngineUnavailable(reason, models=states, broken=dict(self.repository.broken))
        return {"status": "ready", "models": states}

    async def finish(
        self,
        caller: str,
        result: RequestResult,
        *,
        as_json: bool,
        several: bool,
        prefix: str = "",
        delivered_to: str | None = None,
    ) -> StoredResponse:
        """The result as a response, counted and kept; after a delivery to an address a note of it, and nothing is kept.

        prefix: of the path of what it refers to.
        """
        self.metrics.observe_timings(result.label, result.timings)
        if delivered_to is not None:
            return documents.delivery_of(result, delivered_to)
        size = sum(len(image) for image in result.images)
        responses = await offload(size, documents.stored_responses, result)
        locations = [f"{prefix}/results/{await self.responses.put(caller, response)}" for response in responses]
        return await offload(size, documents.content_of, result, responses, locations, as_json=as_json, several=several)

    def _count(self, event: str) -> float:
        return self.repository.events.get(event, 0)


def keyring_of(settings: Settings, database: Database | None = None) -> Keyring:
    """The keys of the file and of the environment; a shared database keeps their quotas. Raises OSError and ValueError."""
    try:
        text = settings.keys_file.read_text("utf-8") if settings.keys_file else ""
    except OSError as wrong:
        raise OSError(f"{settings.keys_file} cannot be read: {(wrong.strerror or str(wrong)).lower()}") from wrong
    except UnicodeDecodeError as wrong:
        raise ValueError(f"{settings.keys_file} is no text; expected lines of a name and the SHA-256 of a key") from wrong
    return Keyring(parse_keys(f"{text}\n{settings.keys.get_secret_value() if settings.keys else ''}"), database)


def database_of(settings: Settings) -> Database:
    """The database of the settings. Raises OSError for a named file that cannot be used."""
    url = settings.database_url.get_secret_value() if settings.database_url else None
    return open_database(url, settings.jobs_path, named=settings.jobs_file is not None)


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    engine: ServingEngine | None = None,
    metrics: Metrics | None = None,
    codecs: CodecPool | None = None,
) -> AsyncIterator[Gateway]:
    """Opens the restoration service and what HTTP needs beside it. See open_service for what is raised.

    Also OSError and ValueError for keys and a jobs file that cannot be read, StoreUnavailable for a database that does not answer.
    """
    metrics = metrics or Metrics()
    async with (
        aclosing(database_of(settings)) as database,
        open_service(settings, engine, codecs, partial(_note, metrics), starts_codecs=False) as restoration,
    ):
        keyring = keyring_of(settings, database)
        responses = ResponseCache(settings.answers_bytes, database, settings.job_seconds)
        await keyring.open()
        await responses.open()
        yield Gateway(
            settings=settings,
            repository=restoration.repository,
            scheduler=restoration.scheduler,
            results=restoration.results,
            responses=responses,
            database=database,
            codecs=restoration.codecs,
            restoration=restoration,
            clips=ClipService(restoration),
            clip_store=ClipStore(settings.clips_path),
            keyring=keyring,
            metrics=metrics,
            readiness=Readiness(restoration.repository, metrics),
            drain=Drain(),
        )


def _note(metrics: Metrics, model: str, rows: int, seconds: float, waited: float) -> None:
    """Counts a call once the request that waits for it has gone on to its next one."""
    asyncio.get_running_loop().call_soon(metrics.observe_call, model, rows, seconds, waited)
