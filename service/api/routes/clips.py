"""POST /restore/video."""

from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from service.api.bodies import JobHeaders, from_headers, from_query, media_type
from service.api.dependencies import context_of, gateway_of, jobs_of, problems
from service.api.openapi import asked_by, clip_body, job_answer, once_asked
from service.api.prefix import below, prefix_of
from service.errors import UnsupportedMedia
from service.jobs.documents import fingerprint
from service.jobs.queue import new_job
from service.jobs.store import Job
from service.video.facts import ClipFacts
from service.video.parameters import ClipParameters

router = APIRouter(tags=["clips"])
TYPES = ("application/octet-stream", "application/mp4", "application/x-matroska", "application/ogg", "")


@router.post(
    "/restore/video",
    summary="Restore a clip",
    response_class=Response,
    status_code=202,
    responses=job_answer() | problems(400, 401, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=once_asked(lambda: {"requestBody": clip_body(), **asked_by(query=ClipParameters, header=JobHeaders)}),
)
async def restore_video(request: Request) -> Response:
    """The clip is the body itself; the answer is a job, whose steps are frames. A clip that cannot be read is refused at once."""
    gateway, context = gateway_of(request), context_of(request)
    parameters, headers = from_query(ClipParameters, request), from_headers(JobHeaders, request)
    with gateway.drain.track():
        _check_type(media_type(request))
        model = gateway.clips.check(parameters)
        if parameters.webhook is not None:
            request.app.state.webhooks.check(parameters.webhook)
        job = new_job(
            caller=context.caller,
            kind="video",
            parameters=parameters.model_dump_json(exclude_none=True),
            accept=None,
            as_json=False,
            fingerprint="",
            bytes=0,
            key=headers.idempotency_key,
            model=model,
            seed=parameters.seed,
            webhook=parameters.webhook,
        )
        folder = gateway.clip_store.folder(job.id)
        try:
            size, digest = await folder.receive(_pieces(request))
            facts = await gateway.clips.probe(folder.source, parameters)
            jobs = jobs_of(request)
            kept = await jobs.submit(_with_clip(job, size, digest, facts, parameters))
        except BaseException:
            await folder.remove()
            raise
        if kept.id != job.id:
            await folder.remove()
        document = below(prefix_of(request.scope), jobs.document(kept))
        return JSONResponse(document, status_code=202, headers={"Location": document["links"]["self"], **context.headers()})


def _check_type(kind: str) -> None:
    if not kind.startswith("video/") and kind not in TYPES:
        raise UnsupportedMedia(f"a body of {kind[:80]!r} is not read here; expected video/* or application/octet-stream")


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece


def _with_clip(job: Job, size: int, digest: str, facts: ClipFacts, parameters: ClipParameters) -> Job:
    options = parameters.options()
    clip = {
        "width": facts.width,
        "height": facts.height,
        "frames": facts.frames,
        "seconds": round(facts.seconds, 3),
        "steady": parameters.steady,
        "codec": options.codec,
        "container": options.container,
        "notes": list(facts.notes),
    }
    request = f"video {parameters.model_dump_json(exclude_none=True)}"
    return replace(job, bytes=size, clip=clip, steps=facts.frames or None, fingerprint=fingerprint(request, digest))
