"""Takes jobs from their list into the gateway, and brings back what came of them."""

import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from service.gateway import Gateway
from service.jobs.queue import JobLimits, JobQueue, job_document
from service.jobs.store import Job, JobStore, Status
from service.jobs.webhooks import Webhooks
from service.pictures.kinds import KINDS
from service.restoration.budgets import RequestContext
from service.restoration.documents import preview_of
from service.restoration.parameters import GenerateParameters, RestoreParameters
from service.restoration.uploads import Uploads
from service.results.stored import StoredResponse
from service.sampling.pipeline import Listener
from service.settings import Settings

STATUSES: tuple[Status, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
log = logging.getLogger("rddm.jobs")


class JobRunner:
    """Runs the jobs that callers left, and notifies their webhooks."""

    def __init__(self, gateway: Gateway, webhooks: Webhooks) -> None:
        self._gateway = gateway
        self._webhooks = webhooks

    async def run(self, job: Job, sources: Uploads | None, on_step: Listener) -> StoredResponse:
        """Raises what service.errors knows."""
        context = RequestContext(job.id, self._gateway.keyring.named(job.caller), time.monotonic())
        kind = KINDS.get(job.accept or "")
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

    async def notify(self, job: Job) -> None:
        """The job's webhook, where it has one."""
        if job.webhook is not None:
            await self._webhooks.tell(job.webhook, job.id, job_document(job))


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
    jobs = JobQueue(open_job_store(gateway.settings), runner.run, limits_of(gateway.settings), preview_of, runner.notify)
    await jobs.start()
    gateway.metrics.watch(
        [(f"rddm_{status}_jobs", f"Jobs that are {status}", partial(jobs.count, status)) for status in STATUSES], []
    )
    try:
        yield jobs
    finally:
        await jobs.close()
