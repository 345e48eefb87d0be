"""Finished answers as responses, and work as a stream of events."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.responses import FileResponse
from fastapi.sse import ServerSentEvent
from starlette.requests import ClientDisconnect, Request

from service.api import responses
from service.api.middleware import BodyLimits, RequestBody
from service.api.responses import EventWording, cancelled_when_gone, events_response, response_of, to_wire
from service.errors import TooLarge
from service.results.stored import StoredResponse
from service.sampling.work import Listener, Step


def request(*, gone: bool = False) -> Request:
    async def receive() -> Mapping[str, Any]:
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    scope: dict[str, Any] = {"type": "http", "headers": [], "state": {"request_id": "r-1"}}
    scope["state"]["body"] = RequestBody(scope, receive, BodyLimits(10, 5.0, 1.0))  # type: ignore[arg-type]
    return Request(scope, receive)


async def result(value: int) -> tuple[str, str]:
    return "result", str(value)


WORDING = EventWording[int](lambda step, _: ("step", {"step": step.step}), result, lambda problem: ("error", problem))


async def events(run: Any, wording: EventWording[int] = WORDING) -> str:
    response = events_response(request(), run, wording)
    return b"".join([bytes(piece) async for piece in response.body_iterator]).decode()  # type: ignore[arg-type]


def test_a_body_in_memory_and_one_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(b"clip")
    short = response_of(StoredResponse(b"body", "image/png", {"X-Steps": "2"}))
    assert (bytes(short.body), short.media_type, short.headers["x-steps"]) == (b"body", "image/png", "2")
    assert isinstance(response_of(StoredResponse(b"", "video/mp4", {}, str(tmp_path / "clip"))), FileResponse)


def test_an_event_on_the_wire() -> None:
    assert to_wire(ServerSentEvent(id="1", event="step", raw_data="{}")) == b"event: step\ndata: {}\nid: 1\n\n"


async def test_work_ends_when_the_caller_hangs_up() -> None:
    ended = asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return 1

    with pytest.raises(ClientDisconnect):
        async with cancelled_when_gone(request(gone=True)):
            await work()
    assert ended.is_set()


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def work() -> None:
        async with cancelled_when_gone(request()):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_caller_that_hangs_up_after_the_work_cancels_nothing() -> None:
    async with cancelled_when_gone(request(gone=True)):
        pass
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_a_result_and_an_error_come_through() -> None:
    async def fails() -> int:
        raise TooLarge("too large")

    async with cancelled_when_gone(request()):
        assert await asyncio.sleep(0, 7) == 7
    with pytest.raises(TooLarge):
        async with cancelled_when_gone(request()):
            await fails()


async def test_steps_come_in_order_and_then_the_result() -> None:
    async def run(on_step: Listener) -> int:
        for number in (1, 2):
            on_step(Step(number, 2, np.zeros((1, 3, 4, 4), np.float32)))
        return 42

    blocks = (await events(run)).strip().split("\n\n")
    assert blocks == [
        'event: step\ndata: {"step":1}\nid: 1',
        'event: step\ndata: {"step":2}\nid: 2',
        "event: result\ndata: 42\nid: 3",
    ]


async def test_a_failure_is_an_error_event_with_the_requests_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "PING_SECONDS", 0.001)

    async def run(_: Listener) -> int:
        await asyncio.sleep(0.02)
        raise TooLarge("too large")

    stream = await events(run)
    assert stream.startswith(": still at work\n\n")
    assert "event: error\n" in stream
    assert '"request_id"' in stream
    assert "r-1" in stream
