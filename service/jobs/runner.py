"""Takes jobs from their list into the gateway, and brings back what came of them."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from rddm.image import to_image
from service.errors import EngineUnavailable, QueueFull, ServiceError
from service.gateway import Gateway
from service.jobs.deliveries import DeliveryStore
from service.jobs.queue import Estimate, JobHooks, JobQueue
from service.jobs.store import Job, JobLimits, JobStore, Status
from service.jobs.webhooks import Courier, Webhooks
from service.keys import RequestContext
from service.pictures.formats import FORMATS
from service.references import References
from service.restoration.documents import preview_of
from service.restoration.models import steps_of
from service.restoration.parameters import GenerateParameters, RestoreOrder
from service.results.stored import StoredResponse
from service.sampling.state import thumbnail
from service.sampling.work import Listener, Step
from service.settings import Settings
from service.video.facts import MEDIA_TYPES, SUFFIX_OF
from service.video.parameters import ClipParameters

if TYPE_CHECKING:
    from service.video.restoration import ClipProgress, ClipResult

STATUSES: tuple[Status, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
PREVIEW_SECONDS = 1.0
MOST_PLANS = 40


class JobRunner:
    """Runs the jobs that callers left."""

    def __init__(self, gateway: Gateway, references: References) -> None:
        self._gateway, self._references = gateway, references

    async def run(self, job: Job, image: bytes | None, mask: bytes | None, on_step: Listener) -> StoredResponse:
        """Raises what service.errors knows."""
        context = self._gateway.keyring.named(job.id, job.caller)
        if job.kind == "video":  # not tracked: what a gateway that goes down leaves undone goes on at its next start
            return await self._run_clip(job, context, on_step)
        kind = FORMATS.get(job.accept or "")
        with self._gateway.drain.track():
            if image is None:
                parameters = GenerateParameters.model_validate_json(job.parameters)
                result = await self._gateway.restoration.generate(parameters, kind, context, on_step)
                return await self._gateway.finish(
                    job.caller, result, as_json=job.as_json, several=parameters.n > 1 and not parameters.grid
                )
            order = RestoreOrder.model_validate_json(job.parameters)
            result = await self._gateway.restoration.restore(order, image, mask, kind, context, on_step)
            if order.output_url is not None:
                await self._references.write(order.output_url, result.images[0], result.kind.media_type)
            return await self._gateway.finish(job.caller, result, as_json=job.as_json, several=False, delivered_to=order.output_url)

    async def _run_clip(self, job: Job, context: RequestContext, on_step: Listener) -> StoredResponse:
        parameters = ClipParameters.model_validate_json(job.parameters)
        folder = self._gateway.clip_store.folder(job.id)
        target = folder.result(SUFFIX_OF[parameters.options().container])
        try:
            result = await self._gateway.clips.restore(
                folder.source, target, folder.work, parameters, context, Previews(on_step, job.steps or 0).show
            )
        except (QueueFull, EngineUnavailable):
            raise  # it is tried again
        except ServiceError:
            await folder.remove()  # it would fail again
            raise
        await folder.keep_result_only()
        headers = {
            "X-Model": ", ".join(model.spec.name for model in result.models),
            "X-Model-Digest": ", ".join(model.digest for model in result.models),
            "X-Steps": ", ".join(str(steps_of(model.spec, parameters.steps)) for model in result.models),
            "X-Seed": str(parameters.seed),
            "X-Steady": result.steady,
            "X-Frames": str(result.frames),
            "X-Plan": json.dumps(plans_of(result)),
        }
        headers = {name: value for name, value in headers.items() if value}  # a clip that is left as it was has no model
        return StoredResponse(b"", MEDIA_TYPES[parameters.options().container], headers, str(target))

    def estimate(self, job: Job) -> Estimate | None:
        """From what the scheduler has of a job: by tiles, so that a large picture does not stand still between two steps.

        None of a clip, whose frames tell how far it is.
        """
        if job.kind == "video":
            return None
        scheduler = self._gateway.scheduler
        remaining = scheduler.remaining(job.caller, job.id)
        if remaining is None:
            return None
        ahead = min(scheduler.pending, remaining * scheduler.requests)  # requests take turns
        return Estimate(remaining, ahead / scheduler.capacity if scheduler.capacity else None)


def plans_of(result: "ClipResult") -> list[dict[str, Any]]:
    """The models that each shot went through, where they change: the first so many changes, as a header has its limits."""
    changes = result.plans[:MOST_PLANS]
    return [{"frame": frame, "models": [model.spec.name for model in models]} for frame, models in changes]


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
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
    return Webhooks(settings.webhook_hosts, secret, private=settings.webhook_private)


def limits_of(settings: Settings) -> JobLimits:
    """What the settings say of jobs."""
    return JobLimits(
        settings.max_jobs,
        settings.max_jobs_per_caller,
        settings.max_jobs_bytes,
        settings.job_seconds,
        settings.request_timeout_seconds,
    )


@asynccontextmanager
async def open_job_queue(gateway: Gateway, webhooks: Webhooks, references: References) -> AsyncIterator[JobQueue]:
    """The job queue of a gateway, and what sends its webhooks; jobs of an earlier process among them."""
    runner, courier, clips = JobRunner(gateway, references), Courier(DeliveryStore(gateway.database), webhooks), gateway.clip_store
    hooks = JobHooks(
        preview=preview_of,
        estimate=runner.estimate,
        closing=lambda: gateway.drain.closing,
        deliver=courier.wake,
        sweep=gateway.responses.sweep,
        has_source=lambda job: clips.folder(job.id).source.exists(),
        forget=clips.forget,
        public_url=gateway.settings.public_url,
    )
    store = JobStore(gateway.database)
    jobs = JobQueue(store, runner.run, limits_of(gateway.settings), hooks)
    await courier.start()
    try:
        await jobs.start()
        await clips.sweep(await store.ids())
        gateway.metrics.watch(
            [
                *(
                    (f"rddm_{status}_jobs", f"Jobs that are {status}, of all gateways", partial(jobs.count, status))
                    for status in STATUSES
                ),
                ("rddm_waiting_webhooks", "Webhook messages that nobody confirmed", lambda: courier.waiting),
            ],
            [],
        )
        yield jobs
    finally:
        await jobs.close()
        await courier.close()
