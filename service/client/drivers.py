"""What carries out the effects of an operation: four of them, blocking or awaiting. httpx2's exceptions end here, as values."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import httpx2

from .errors import Unreachable
from .operations import Effect, Notify, Operation, ReadLine, Send, Sleep

T = TypeVar("T")


def is_stream(response: httpx2.Response) -> bool:
    return response.is_success and response.headers.get("content-type", "").startswith("text/event-stream")


class BlockingDriver:
    def __init__(self, http: httpx2.Client) -> None:
        self.http = http
        self.stream: httpx2.Response | None = None
        self.lines: Iterator[str] = iter(())

    def do(self, effect: Effect) -> object:
        match effect:
            case Send(request):
                return self.send(request)
            case ReadLine():
                return self.line()
            case Sleep(seconds):
                time.sleep(seconds)
                return None
            case Notify(listener, step):
                return listener(step)

    def send(self, request: httpx2.Request) -> httpx2.Response | Unreachable:
        self.close_stream()
        try:
            response = self.http.send(request, stream=True)
            if is_stream(response):
                self.stream, self.lines = response, response.iter_lines()
            else:
                response.read()
                response.close()
        except httpx2.RequestError as error:
            return unreachable(request, error)
        return response

    def line(self) -> str | Unreachable | None:
        try:
            return next(self.lines, None)
        except httpx2.RequestError as error:
            return unreachable(None, error)

    def close_stream(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream, self.lines = None, iter(())


class AwaitingDriver:
    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.stream: httpx2.Response | None = None
        self.lines: AsyncIterator[str] | None = None

    async def do(self, effect: Effect) -> object:
        match effect:
            case Send(request):
                return await self.send(request)
            case ReadLine():
                return await self.line()
            case Sleep(seconds):
                await asyncio.sleep(seconds)
                return None
            case Notify(listener, step):
                outcome = listener(step)
                return await outcome if inspect.isawaitable(outcome) else outcome

    async def send(self, request: httpx2.Request) -> httpx2.Response | Unreachable:
        await self.close_stream()
        try:
            response = await self.http.send(request, stream=True)
            if is_stream(response):
                self.stream, self.lines = response, response.aiter_lines()
            else:
                await response.aread()
                await response.aclose()
        except httpx2.RequestError as error:
            return unreachable(request, error)
        return response

    async def line(self) -> str | Unreachable | None:
        if self.lines is None:
            return None
        try:
            return await anext(self.lines, None)
        except httpx2.RequestError as error:
            return unreachable(None, error)

    async def close_stream(self) -> None:
        if self.stream is not None:
            await self.stream.aclose()
            self.stream, self.lines = None, None


def unreachable(request: httpx2.Request | None, error: httpx2.RequestError) -> Unreachable:
    where = "the stream" if request is None else f"{request.url.scheme}://{request.url.netloc.decode()}"
    what = "no gateway answers there" if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) else type(error).__name__
    failure = Unreachable(f"{where}: {what}: {error}", patient=isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout))
    failure.__cause__ = error
    return failure


def drive(operation: Operation[T], driver: BlockingDriver) -> T:
    """Run an operation to its end."""
    outcome: object = None
    try:
        while True:
            try:
                effect = operation.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            outcome = driver.do(effect)
    finally:
        operation.close()
        driver.close_stream()


async def drive_async(operation: Operation[T], driver: AwaitingDriver) -> T:
    """Run an operation to its end; cancelling the task closes the stream, which cancels the work on the server."""
    outcome: object = None
    try:
        while True:
            try:
                effect = operation.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            outcome = await driver.do(effect)
    finally:
        operation.close()
        await driver.close_stream()
