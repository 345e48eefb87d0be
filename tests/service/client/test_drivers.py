"""Effects are carried out, blocking or awaiting; what goes wrong on the way is a value."""

from collections.abc import Generator
from typing import Any

import httpx2
import pytest

from service.client.drivers import AwaitingDriver, BlockingDriver, drive, drive_async, is_stream
from service.client.errors import Unreachable
from service.client.operations import Notify, ReadLine, Send, Sleep

REQUEST = httpx2.Request("GET", "http://gateway:8000/x")


def answered(request: httpx2.Request) -> httpx2.Response:
    """An event stream, an answer, or no answer, by the path."""
    if request.url.path == "/stream":
        return httpx2.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=b"a\nb\n")
    if request.url.path == "/late":
        raise httpx2.ReadTimeout("late", request=request)
    if request.url.path == "/gone":
        raise httpx2.ConnectError("refused", request=request)
    return httpx2.Response(200, json={"a": 1})


@pytest.fixture
def blocking() -> Generator[BlockingDriver, None, None]:
    with httpx2.Client(transport=httpx2.MockTransport(answered)) as http:
        yield BlockingDriver(http)


def request(path: str) -> Send:
    return Send(httpx2.Request("GET", f"http://gateway:8000{path}"))


def reading() -> Generator[Any, Any, list[Any]]:
    """The lines of a stream, and a line after its end."""
    yield request("/stream")
    first, second, third = (yield ReadLine()), (yield ReadLine()), (yield ReadLine())
    return [first, second, third]


def failing(path: str) -> Generator[Any, Any, Unreachable]:
    return (yield request(path))


def test_an_answer_is_read_whole_and_a_stream_line_by_line(blocking: BlockingDriver) -> None:
    answer = blocking.do(request("/x"))
    assert answer.json() == {"a": 1}  # type: ignore[attr-defined]
    assert drive(reading(), blocking) == ["a", "b", None]
    assert blocking.stream is None
    assert blocking.line() is None


@pytest.mark.parametrize(
    ("path", "patient", "words"), [("/late", True, "ReadTimeout: late"), ("/gone", False, "no gateway answers there: refused")]
)
def test_no_answer_is_a_value_that_names_the_place(blocking: BlockingDriver, path: str, patient: bool, words: str) -> None:
    failure = drive(failing(path), blocking)
    assert str(failure) == f"http://gateway:8000: {words}"
    assert failure.patient == patient
    assert isinstance(failure.__cause__, httpx2.RequestError)


async def test_awaiting_does_the_same() -> None:
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answered)) as http:
        driver = AwaitingDriver(http)
        assert await driver.line() is None
        assert await drive_async(reading(), driver) == ["a", "b", None]
        assert (await drive_async(failing("/late"), driver)).patient
        assert driver.stream is None


async def test_a_listener_may_be_a_function_or_awaited(blocking: BlockingDriver) -> None:
    async def later(step: Any) -> Any:
        return step

    async with httpx2.AsyncClient() as http:
        for listener in (later, lambda step: step):
            assert await AwaitingDriver(http).do(Notify(listener, "step")) == "step"  # type: ignore[arg-type]
    assert blocking.do(Notify(lambda step: step, "step")) == "step"  # type: ignore[arg-type]
    assert blocking.do(Sleep(0)) is None


def test_what_a_listener_raises_ends_the_operation_and_closes_the_stream(blocking: BlockingDriver) -> None:
    def operation() -> Generator[Any, Any, None]:
        yield request("/stream")
        yield Notify(lambda _: 1 / 0, None)  # type: ignore[arg-type]

    with pytest.raises(ZeroDivisionError):
        drive(operation(), blocking)
    assert blocking.stream is None


def test_only_a_good_answer_is_a_stream() -> None:
    events = {"content-type": "text/event-stream"}
    assert is_stream(httpx2.Response(200, headers=events, request=REQUEST))
    assert not is_stream(httpx2.Response(503, headers=events, request=REQUEST))
    assert not is_stream(httpx2.Response(200, json={}, request=REQUEST))
