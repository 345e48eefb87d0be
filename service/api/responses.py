"""Results -> responses: the picture itself, a JSON envelope, or a stream of events."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.sse import ServerSentEvent, format_sse_event
from starlette.requests import ClientDisconnect, Request

from rddm.image import encode, to_pixels
from service.api.negotiation import JSON
from service.api.problems import of_error, request_id_of
from service.errors import ServiceError
from service.jobs.store import ResponseContent
from service.restoration.service import InferenceResult
from service.results.cache import CachedResponse
from service.sampling.pipeline import Listener, Step

T = TypeVar("T")
PING_SECONDS = 10.0
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Run = Callable[[Listener], Coroutine[Any, Any, T]]


def headers_of(result: InferenceResult) -> dict[str, str]:
    """What every answer tells of how it was made."""
    return {
        "X-Model": result.model.spec.name,
        "X-Model-Digest": result.model.digest,
        "X-Steps": str(result.steps),
        "X-Seed": str(result.seed),
        "Server-Timing": ", ".join(f"{part};dur={milliseconds:.1f}" for part, milliseconds in result.timings.items()),
        "Vary": "Accept",
    }


def base64_of(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def cached_responses(result: InferenceResult) -> list[CachedResponse]:
    """The pictures as GET /results/{id} gives them; their entity tags are computed."""
    headers = {name: value for name, value in headers_of(result).items() if name.startswith("X-")}
    answers = [CachedResponse(image.body, result.kind.media_type, headers) for image in result.images]
    for answer in answers:
        _ = answer.etag
    return answers


def facts_of(result: InferenceResult) -> dict[str, Any]:
    """What every envelope tells."""
    return {
        "media_type": result.kind.media_type,
        "width": result.size[1],
        "height": result.size[0],
        "model": result.model.spec.name,
        "digest": result.model.digest,
        "steps": result.steps,
        "seed": result.seed,
        "timings": {part: round(milliseconds, 1) for part, milliseconds in result.timings.items()},
    }


def envelope(result: InferenceResult, locations: list[str], several: bool) -> dict[str, Any]:
    """The JSON answer: one `image`, or several `images`."""
    if not several:
        return {"image": base64_of(result.images[0].body), **facts_of(result), "location": locations[0]}
    images = [
        {"image": base64_of(image.body), "seed": image.seed, "location": location}
        for image, location in zip(result.images, locations, strict=True)
    ]
    return {"images": images, **facts_of(result)}


def content_of(
    result: InferenceResult, answers: Sequence[CachedResponse], locations: list[str], *, as_json: bool, several: bool
) -> ResponseContent:
    """The body of the answer and its headers. locations: where the pictures can be got again."""
    headers = headers_of(result) if several else headers_of(result) | {"Content-Location": locations[0]}
    if as_json:
        return ResponseContent(to_json(envelope(result, locations, several)).encode(), JSON, headers)
    return ResponseContent(answers[0].body, answers[0].media_type, headers | {"ETag": answers[0].etag})


def response_of(result: ResponseContent) -> Response:
    """A finished answer as a response."""
    return Response(result.body, headers=result.headers, media_type=result.media_type)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; it is cancelled when the caller hangs up. Raises ClientDisconnect then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def preview_of(step: Step, begun: float) -> dict[str, Any]:
    """A step as its event tells it, with the predicted x_0 as a small JPEG."""
    data = encode(to_pixels(step.preview), "jpeg", quality=85)
    return {
        "step": step.step,
        "steps": step.steps,
        "preview": f"data:image/jpeg;base64,{base64_of(data)}",
        "width": step.preview.shape[3],
        "height": step.preview.shape[2],
        "elapsed_ms": round((time.monotonic() - begun) * 1000, 1),
    }


def to_wire(event: ServerSentEvent) -> bytes:
    """An event's bytes."""
    return format_sse_event(data_str=event.raw_data, event=event.event, id=event.id, comment=event.comment)


def events_response(request: Request, run: Run[T], told: Callable[[T], Awaitable[str]]) -> StreamingResponse:
    """A stream of the work's steps, then its result as told, or its problem. The work ends with the stream."""
    return StreamingResponse(_events(request, run, told), media_type="text/event-stream", headers=STREAM_HEADERS)


async def _events(request: Request, run: Run[T], told: Callable[[T], Awaitable[str]]) -> AsyncIterator[bytes]:
    steps: asyncio.Queue[Step | None] = asyncio.Queue()
    begun = time.monotonic()
    task = asyncio.ensure_future(unless_gone(request, run(steps.put_nowait)))
    task.add_done_callback(lambda _: steps.put_nowait(None))
    number = 0
    try:
        while True:
            try:
                step = await asyncio.wait_for(steps.get(), PING_SECONDS)
            except TimeoutError:
                yield to_wire(ServerSentEvent(comment="still at work"))
                continue
            if step is None:
                break
            number += 1
            data = await asyncio.to_thread(preview_of, step, begun)
            yield _event(number, "step", to_json(data))
        yield await _last(request, task, told, number + 1)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _last(request: Request, task: "asyncio.Future[T]", told: Callable[[T], Awaitable[str]], number: int) -> bytes:
    try:
        return _event(number, "result", await told(task.result()))
    except ServiceError as error:
        return _event(number, "error", to_json(of_error(error, request_id_of(request))))
    except ClientDisconnect:
        return b""


def _event(number: int, name: str, data: str) -> bytes:
    return to_wire(ServerSentEvent(id=str(number), event=name, raw_data=data))


def to_json(value: Mapping[str, Any]) -> str:
    """A mapping as the JSON that responses hold."""
    return bytes(JSONResponse(dict(value)).body).decode()
