"""Results -> responses: the picture itself, a JSON envelope, or a stream of events."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi.responses import FileResponse, Response, StreamingResponse
from fastapi.sse import ServerSentEvent, format_sse_event
from starlette.requests import ClientDisconnect, Request

from service.api.problems import request_id_of
from service.errors import ServiceError
from service.restoration.documents import preview_of, to_json
from service.results.stored import StoredResponse
from service.sampling.work import Listener, Step

T = TypeVar("T")
PING_SECONDS = 10.0
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Run = Callable[[Listener], Coroutine[Any, Any, T]]


def response_of(result: StoredResponse) -> Response:
    """A finished answer as a response; of one that lies in a file, parts can be asked for."""
    if result.file is not None:
        return FileResponse(result.file, headers=dict(result.headers), media_type=result.media_type)
    return Response(result.body, headers=result.headers, media_type=result.media_type)


@asynccontextmanager
async def cancelled_when_gone(request: Request) -> AsyncIterator[None]:
    """Cancels the block when the caller hangs up. Raises ClientDisconnect then."""
    working, ended = asyncio.current_task(), False

    def cancel(gone: "asyncio.Task[None]") -> None:
        if working is not None and not ended and not gone.cancelled():
            working.cancel()

    gone = asyncio.create_task(request.scope["state"]["body"].disconnected())
    gone.add_done_callback(cancel)
    try:
        yield
    except asyncio.CancelledError:
        if working is not None and gone.done() and not working.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        ended = True
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)


def to_wire(event: ServerSentEvent) -> bytes:
    """An event's bytes."""
    return format_sse_event(data_str=event.raw_data, event=event.event, id=event.id, comment=event.comment)


@dataclass(frozen=True)
class EventWording(Generic[T]):
    """The name and the data of each event of a stream.

    step: of a step and the moment, on the clock of time.monotonic, at which the work began; None where nothing is said of it; it is
    called in a thread. result: of what came of the work, its data as JSON. error: of a problem document.
    """

    step: Callable[[Step, float], tuple[str, Mapping[str, Any]] | None]
    result: Callable[[T], Awaitable[tuple[str, str]]]
    error: Callable[[Mapping[str, Any]], tuple[str, Mapping[str, Any]]]


def restoration_wording(to_envelope: Callable[[T], Awaitable[str]]) -> EventWording[T]:
    """The service's own: `step`, `result` with its envelope, `error`."""

    async def result(value: T) -> tuple[str, str]:
        return "result", await to_envelope(value)

    return EventWording(lambda step, start: ("step", preview_of(step, start)), result, lambda problem: ("error", problem))


def events_response(request: Request, run: Run[T], wording: EventWording[T]) -> StreamingResponse:
    """A stream of the work's steps, then its result or its problem. The work ends with the stream."""
    return StreamingResponse(_events(request, run, wording), media_type="text/event-stream", headers=STREAM_HEADERS)


async def _events(request: Request, run: Run[T], wording: EventWording[T]) -> AsyncIterator[bytes]:
    steps: asyncio.Queue[Step | None] = asyncio.Queue()
    start = time.monotonic()

    async def work() -> T:
        async with cancelled_when_gone(request):
            return await run(steps.put_nowait)

    task = asyncio.create_task(work())
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
            if (event := await asyncio.to_thread(wording.step, step, start)) is not None:
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
