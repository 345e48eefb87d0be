"""Jobs: what `Prefer: respond-async` begins."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import ServerSentEvent

from service.api import responses
from service.api.dependencies import ContextDependency, JobQueueDependency, LinkedContextDependency, problems
from service.api.prefix import below, prefix_of, response_below
from service.restoration.documents import to_json

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problems(401))
Identity = Annotated[str, Path(description="as in the 202 answer", max_length=64)]
Until = Annotated[int | None, Query(description="of a link: when it ends, in seconds of the epoch", ge=0, le=2**53)]
Signature = Annotated[str | None, Query(description="of a link", max_length=64)]
LastEvent = Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,9}$")]


@router.get("")
async def own_jobs(request: Request, jobs: JobQueueDependency, context: ContextDependency) -> dict[str, Any]:
    """The caller's own jobs, the newest first."""
    prefix = prefix_of(request.scope)
    return {"jobs": [below(prefix, jobs.document(job)) for job in await jobs.of(context.caller)]}


@router.get("/{job}", responses=problems(404, 422))
async def job(request: Request, job: Identity, jobs: JobQueueDependency, context: ContextDependency) -> dict[str, Any]:
    """How a job stands."""
    return below(prefix_of(request.scope), jobs.document(await jobs.find(job, context.caller)))


@router.delete("/{job}", responses=problems(404, 422))
async def cancel(request: Request, job: Identity, jobs: JobQueueDependency, context: ContextDependency) -> dict[str, Any]:
    """Stop a job and forget it and its result."""
    return below(prefix_of(request.scope), jobs.document(await jobs.cancel(job, context.caller)))


@router.get("/{job}/result", response_class=Response, responses=problems(404, 409, 422))
async def result(
    request: Request,
    job: Identity,
    jobs: JobQueueDependency,
    context: LinkedContextDependency,
    until: Until = None,
    signature: Signature = None,
) -> Response:
    """What /restore or /generate would have answered. The address of a link needs no key."""
    if context is None:
        answer = await jobs.linked_result(job, until or 0, signature or "")
    else:
        answer = await jobs.result(job, context.caller)
    return responses.response_of(response_below(prefix_of(request.scope), answer))


@router.post("/{job}/link", responses=problems(404, 409, 422))
async def link(request: Request, job: Identity, jobs: JobQueueDependency, context: ContextDependency) -> dict[str, Any]:
    """An address of the result that needs no key for an hour: for what plays or loads it and sends none, such as a page's video."""
    return below(prefix_of(request.scope), await jobs.link(job, context.caller))


@router.get("/{job}/events", response_class=StreamingResponse, responses=problems(404, 422))
async def events(
    request: Request, job: Identity, jobs: JobQueueDependency, context: ContextDependency, last_event: LastEvent = None
) -> StreamingResponse:
    """The job's steps as server-sent events, from the one after Last-Event-ID on, to its end."""
    await jobs.find(job, context.caller)
    stream = jobs.events(job, context.caller, int(last_event or 0))
    return StreamingResponse(
        _wire(stream, prefix_of(request.scope)), media_type="text/event-stream", headers=responses.STREAM_HEADERS
    )


async def _wire(stream: AsyncIterator[tuple[int, str, dict[str, Any]] | None], prefix: str) -> AsyncIterator[bytes]:
    async for event in stream:
        if event is None:
            yield responses.to_wire(ServerSentEvent(comment="still at work"))
        else:
            number, name, data = event
            yield responses.to_wire(
                ServerSentEvent(id=str(number), event=name, raw_data=await asyncio.to_thread(to_json, below(prefix, data)))
            )
