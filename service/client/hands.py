"""The hands that do what a conversation wants: four deeds, blocking or awaiting. httpx's exceptions end here, as values."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import httpx

from service.client.errors import Unreachable
from service.client.talks import Line, Pause, Send, Talk, Tell, Want

T = TypeVar("T")


def is_stream(response: httpx.Response) -> bool:
    return response.is_success and response.headers.get("content-type", "").startswith("text/event-stream")


class BlockingHands:
    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.stream: httpx.Response | None = None
        self.lines: Iterator[str] = iter(())

    def do(self, want: Want) -> object:
        match want:
            case Send(request):
                return self.send(request)
            case Line():
                return self.line()
            case Pause(seconds):
                time.sleep(seconds)
                return None
            case Tell(listener, step):
                return listener(step)

    def send(self, request: httpx.Request) -> httpx.Response | Unreachable:
        self.close_stream()
        try:
            response = self.http.send(request, stream=True)
            if is_stream(response):
                self.stream, self.lines = response, response.iter_lines()
            else:
                response.read()
                response.close()
        except httpx.TransportError as error:
            return unreachable(request, error)
        return response

    def line(self) -> str | Unreachable | None:
        try:
            return next(self.lines, None)
        except httpx.TransportError as error:
            return unreachable(None, error)

    def close_stream(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream, self.lines = None, iter(())


class AwaitingHands:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.stream: httpx.Response | None = None
        self.lines: AsyncIterator[str] | None = None

    async def do(self, want: Want) -> object:
        match want:
            case Send(request):
                return await self.send(request)
            case Line():
                return await self.line()
            case Pause(seconds):
                await asyncio.sleep(seconds)
                return None
            case Tell(listener, step):
                told = listener(step)
                return await told if inspect.isawaitable(told) else told

    async def send(self, request: httpx.Request) -> httpx.Response | Unreachable:
        await self.close_stream()
        try:
            response = await self.http.send(request, stream=True)
            if is_stream(response):
                self.stream, self.lines = response, response.aiter_lines()
            else:
                await response.aread()
                await response.aclose()
        except httpx.TransportError as error:
            return unreachable(request, error)
        return response

    async def line(self) -> str | Unreachable | None:
        if self.lines is None:
            return None
        try:
            return await anext(self.lines, None)
        except httpx.TransportError as error:
            return unreachable(None, error)

    async def close_stream(self) -> None:
        if self.stream is not None:
            await self.stream.aclose()
            self.stream, self.lines = None, None


def unreachable(request: httpx.Request | None, error: httpx.TransportError) -> Unreachable:
    where = "the stream" if request is None else f"{request.url.scheme}://{request.url.netloc.decode()}"
    found = Unreachable(
        f"{where}: {type(error).__name__}: {error}", patient=isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)
    )
    found.__cause__ = error
    return found


def drive(talk: Talk[T], hands: BlockingHands) -> T:
    """Hold a conversation to its end."""
    told: object = None
    try:
        while True:
            told = hands.do(talk.send(told))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        talk.close()
        hands.close_stream()


async def drive_async(talk: Talk[T], hands: AwaitingHands) -> T:
    """Hold a conversation to its end; cancelling the task closes the stream, which cancels the work on the server."""
    told: object = None
    try:
        while True:
            try:
                want = talk.send(told)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            told = await hands.do(want)
    finally:
        talk.close()
        await hands.close_stream()
