"""Results -> responses: the picture itself, a JSON envelope, or a stream of events."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi.responses import FileResponse, Response, StreamingResponse
from fastapi.sse import ServerSentEvent, format_sse_event
from starlette.requests import ClientDisconnect, Request

from service.api.problems import request_id_of
from service.errors import ServiceError
from service.restoration.documents import preview_of, to_json
from service.results.stored import StoredResponse
from service.sampling.pipeline import Listener, Step

T = TypeVar("T")
PING_SECONDS = 10.0
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Run = Callable[[Listener], Coroutine[Any, Any, T]]


def response_of(result: StoredResponse) -> Response:
    """A finished answer as a response; of one that lies in a file, parts can be asked for."""
    if result.file is not None:
        return FileResponse(result.file, headers=dict(result.headers), media_type=result.media_type)
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


def to_wire(event: ServerSentEvent) -> bytes:
    """An event's bytes."""
    return format_sse_event(data_str=event.raw_data, event=event.event, id=event.id, comment=event.comment)


@dataclass(frozen=True)
class EventWording(Generic[T]):
    """How a stream tells of work: the name and the data of each event.

    step: of a step and the moment, on the clock of time.monotonic, at which the work began; None where nothing is said of it; it is
    called in a thread. result: of what came of the work, its data as JSON. error: of a problem document.
    """

    step: Callable[[Step, float], tuple[str, Mapping[str, Any]] | None]
    result: Callable[[T], Awaitable[tuple[str, str]]]
    error: Callable[[Mapping[str, Any]], tuple[str, Mapping[str, Any]]]


def restoration_wording(told: Callable[[T], Awaitable[str]]) -> EventWording[T]:
    """The service's own: `step`, `result` with what is told of it, `error`."""

    async def result(value: T) -> tuple[str, str]:
        return "result", await told(value)

    return EventWording(lambda step, begun: ("step", preview_of(step, begun)), result, lambda problem: ("error", problem))


def events_response(request: Request, run: Run[T], wording: EventWording[T]) -> StreamingResponse:
    """A stream of the work's steps, then its result or its problem. The work ends with the stream."""
    return StreamingResponse(_events(request, run, wording), media_type="text/event-stream", headers=STREAM_HEADERS)


async def _events(request: Request, run: Run[T], wording: EventWording[T]) -> AsyncIterator[bytes]:
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
            if (event := await asyncio.to_thread(wording.step, step, begun)) is not None:
                number += 1
                yield _event(number, event[0], to_json(event[1]))
        yield await _last(request, task, wording, number + 1)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _last(request: Request, task: "asyncio.Future[T]", wording: EventWording[T], number: int) -> bytes:
    try:
        return _event(number, *await wording.result(task.result()))
    except ServiceError as error:
        name, data = wording.error(error.to_problem(request_id_of(request)))
        return _event(number, name, to_json(data))
    except ClientDisconnect:
        return b""


def _event(number: int, name: str, data: str) -> bytes:
    return to_wire(ServerSentEvent(id=str(number), event=name, raw_data=data))
