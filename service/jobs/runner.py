"""Takes jobs from their list into the gateway, and brings back what came of them."""

import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from rddm.image import to_image
from service.errors import ServiceError
from service.gateway import Gateway
from service.jobs.queue import JobLimits, JobQueue, job_document
from service.jobs.store import Job, JobStore, Status
from service.jobs.webhooks import Webhooks
from service.pictures.formats import FORMATS
from service.restoration.budgets import RequestContext
from service.restoration.documents import preview_of
from service.restoration.parameters import GenerateParameters, RestoreParameters
from service.restoration.uploads import Uploads
from service.results.stored import StoredResponse
from service.sampling.pipeline import Listener, Step
from service.sampling.state import thumbnail
from service.settings import Settings
from service.video.facts import MEDIA_TYPES, SUFFIX_OF
from service.video.parameters import ClipParameters

if TYPE_CHECKING:
    from service.video.restoration import ClipProgress

STATUSES: tuple[Status, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
PREVIEW_SECONDS = 1.0
log = logging.getLogger("rddm.jobs")


class JobRunner:
    """Runs the jobs that callers left, and notifies their webhooks."""

    def __init__(self, gateway: Gateway, webhooks: Webhooks) -> None:
        self._gateway = gateway
        self._webhooks = webhooks

    async def run(self, job: Job, sources: Uploads | None, on_step: Listener) -> StoredResponse:
        """Raises what service.errors knows."""
        context = RequestContext(job.id, self._gateway.keyring.named(job.caller), time.monotonic())
        if job.kind == "video":  # not tracked: what a gateway that goes down leaves undone goes on at its next start
            return await self._run_clip(job, context, on_step)
        kind = FORMATS.get(job.accept or "")
        with self._gateway.drain.track():
            if sources is None:
                parameters = GenerateParameters.model_validate_json(job.parameters)
                result = await self._gateway.restoration.generate(parameters, kind, context, on_step)
                return await self._gateway.finish(
                    job.caller, result, as_json=job.as_json, several=parameters.n > 1 and not parameters.grid
                )
            result = await self._gateway.restoration.restore(
                RestoreParameters.model_validate_json(job.parameters), sources, kind, context, on_step
            )
            return await self._gateway.finish(job.caller, result, as_json=job.as_json, several=False)

    async def _run_clip(self, job: Job, context: RequestContext, on_step: Listener) -> StoredResponse:
        parameters = ClipParameters.model_validate_json(job.parameters)
        folder = self._gateway.clip_store.folder(job.id)
        target = folder.result(SUFFIX_OF[parameters.options().container])
        try:
            result, work = await self._gateway.clips.restore(
                folder.source, target, folder.work, parameters, context, Previews(on_step, job.steps or 0).show
            )
        except ServiceError:
            await folder.remove()  # it would fail again
            raise
        await folder.keep_result_only()
        headers = {
            "X-Model": work.model.spec.name,
            "X-Model-Digest": work.model.digest,
            "X-Steps": str(work.steps),
            "X-Seed": str(work.seed),
            "X-Steady": result.steady,
            "X-Frames": str(result.frames),
        }
        return StoredResponse(b"", MEDIA_TYPES[parameters.options().container], headers, str(target))

    async def notify(self, job: Job) -> None:
        """The job's webhook, where it has one."""
        if job.webhook is not None:
            await self._webhooks.tell(job.webhook, job.id, job_document(job))


class Previews:
    """Tells of a clip's frames as of steps, with the frame before and after: not of each, as many come in a second."""

    def __init__(self, on_step: Listener, frames: int) -> None:
        self._on_step, self._frames = on_step, frames
        self._at = -PREVIEW_SECONDS

    def show(self, done: "ClipProgress") -> None:
        """After each frame."""
        now = time.monotonic()
        frames = done.frames or self._frames
        if now - self._at >= PREVIEW_SECONDS or done.frame == frames:
            self._at = now
            before, after = (thumbnail(to_image(pixels)) for pixels in (done.before, done.after))
            self._on_step(Step(done.frame, frames, after, before))


def webhooks_of(settings: Settings) -> Webhooks:
    """As the operator allows them."""
    return Webhooks(settings.webhook_hosts, settings.webhook_secret.get_secret_value() if settings.webhook_secret else None)


def limits_of(settings: Settings) -> JobLimits:
    """What the settings say of jobs."""
    return JobLimits(
        settings.max_jobs,
        settings.max_jobs_per_caller,
        settings.max_jobs_bytes,
        settings.job_seconds,
        settings.request_timeout_seconds,
    )


def open_job_store(settings: Settings) -> JobStore:
    """The file of the settings; where none was named and the usual place cannot be used, memory, which the log tells.

    Raises OSError that names the file, for a named one that cannot be used.
    """
    try:
        return JobStore(settings.jobs_path)
    except (OSError, sqlite3.Error) as error:
        if settings.jobs_file is not None:
            raise OSError(f"the jobs file {settings.jobs_file} cannot be used: {error}") from error
        log.warning("jobs will not survive a restart: their file cannot be used (%s); name one with RDDM_JOBS_FILE", error)
        return JobStore(None)


@asynccontextmanager
async def open_job_queue(gateway: Gateway, webhooks: Webhooks) -> AsyncIterator[JobQueue]:
    """The job queue of a gateway, those of an earlier process among them."""
    runner = JobRunner(gateway, webhooks)
    clips = gateway.clip_store
    store, limits = open_job_store(gateway.settings), limits_of(gateway.settings)
    jobs = JobQueue(store, runner.run, limits, preview_of, runner.notify, clips.forget)
    await clips.sweep(job.id for job in await store.jobs())
    await jobs.start()
    gateway.metrics.watch(
        [(f"rddm_{status}_jobs", f"Jobs that are {status}", partial(jobs.count, status)) for status in STATUSES], []
    )
    try:
        yield jobs
    finally:
        await jobs.close()
