"""What a client does with the gateway, each operation written once.

An operation is a generator: it yields its effects (`Send`, `ReadLine`, `Sleep`, `Notify`) and gets what came of it. It touches
neither network nor clock: `drivers` does, blocking or awaiting.
"""

import json
import os
import random
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2

from .errors import Unexpected, Unreachable, problem_of, retry_after, to_problem
from .models import (
    Analysed,
    Generated,
    GenerateOptions,
    Job,
    Restored,
    RestoreOptions,
    Step,
    read_generated,
    read_restored,
    to_analysed,
    to_generated,
    to_job,
    to_restored,
    to_step,
)

T = TypeVar("T")
Picture = bytes | str | os.PathLike[str]
RETRIED = frozenset({429, 502, 503})
OnStep = Callable[[Step], object]
OnStepAsync = Callable[[Step], Awaitable[object] | object]


@dataclass(frozen=True)
class Send:
    """Told: the response, or Unreachable. An event stream is left open for `ReadLine`; anything else is read whole."""

    request: httpx2.Request


@dataclass(frozen=True)
class ReadLine:
    """The next line of the open event stream. Told: the line, None at the end, or Unreachable."""


@dataclass(frozen=True)
class Sleep:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Notify:
    """Call the caller's own function with a step; its exceptions are the caller's."""

    listener: OnStepAsync
    step: Step


Effect = Send | ReadLine | Sleep | Notify
Operation = Generator[Effect, Any, T]
Event = tuple[str, dict[str, Any], str | None]


def parsed(read: Callable[[Any], T], answer: object) -> T:
    """read(answer); what does not fit the contract raises Unexpected."""
    try:
        return read(answer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unexpected(f"the answer is not this service's: {type(error).__name__}: {error}") from error


def next_event() -> Operation[Event | None]:
    """(event, data, id) of the open stream; None at its end. Raises Unreachable when it breaks off."""
    name, data, number = "message", list[str](), None
    while (line := (yield ReadLine())) is not None:
        if isinstance(line, Unreachable):
            raise line
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)
        elif key == "id":
            number = value
        elif not line and data:
            return name, parsed(json.loads, "\n".join(data)), number
    return None


def contents(picture: Picture) -> bytes:
    """bytes as they are; a path's file."""
    return picture if isinstance(picture, bytes) else Path(picture).read_bytes()


def to_address(base_url: str) -> httpx2.URL:
    """Raises ValueError for what is no address of http or https."""
    expected = f"{base_url!r} is no address of a gateway; expected http://HOST:PORT or https://HOST:PORT"
    try:
        address = httpx2.URL(base_url)
    except httpx2.InvalidURL as wrong:
        raise ValueError(expected) from wrong
    if address.scheme not in {"http", "https"} or not address.host:
        raise ValueError(expected)
    return address


def to_headers(api_key: str | None) -> dict[str, str]:
    """Raises ValueError for a key that no header can carry; the key is not shown."""
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("the API key has a character that no header can carry; expected printable ASCII in one line")
    return {"user-agent": "rddm-serve-client"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})


def job_path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def admin_path(model: str, verb: str) -> str:
    return f"/admin/models/{quote(model, safe='')}/{verb}"


def to_query(options: Mapping[str, Any]) -> dict[str, str]:
    """As the server reads them: `returns` is `return` there, true and false are lower case, None is left out."""
    said = {"return" if name == "returns" else name: value for name, value in options.items() if value is not None}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in said.items()}


@dataclass(frozen=True)
class Operations:
    """retries: how often a request is sent again; max_wait: the longest pause, in seconds, that is kept."""

    base_url: httpx2.URL
    headers: Mapping[str, str] = field(repr=False)  # they hold the key
    timeout: httpx2.Timeout
    retries: int
    max_wait: float

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, **rest: Any) -> httpx2.Request:
        address = self.base_url.copy_with(raw_path=self.base_url.raw_path.rstrip(b"/") + path.encode())
        extensions = {"timeout": self.timeout.as_dict()}
        return httpx2.Request(method, address, headers={**self.headers, **(headers or {})}, extensions=extensions, **rest)

    def ask(self, build: Callable[[], httpx2.Request]) -> Operation[httpx2.Response]:
        """Send until it is answered: what is busy or unreachable is asked again, as late as it wishes. Raises ClientError."""
        for attempt in range(self.retries + 1):
            answer = yield Send(build())
            pause = self.pause(answer, attempt)
            if pause is None:
                break
            yield Sleep(pause)
        if isinstance(answer, Unreachable):
            raise answer
        if not answer.is_success:
            raise problem_of(answer)
        return answer  # type: ignore[no-any-return]

    def pause(self, answer: httpx2.Response | Unreachable, attempt: int) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        if attempt == self.retries:
            return None
        if isinstance(answer, Unreachable):
            return None if answer.patient else self.spread(attempt)
        if answer.status_code not in RETRIED:
            return None
        asked = retry_after(answer)
        if asked is None:
            return self.spread(attempt)
        return asked if asked <= self.max_wait else None

    def spread(self, attempt: int) -> float:
        """Twice as long after each attempt, and random, so that callers that failed together do not come back together."""
        return min(0.5 * 2.0**attempt, self.max_wait) * random.uniform(0.5, 1)  # noqa: S311 - hides nothing

    def read(self, path: str, read: Callable[[Any], T], method: str = "GET") -> Operation[T]:
        answer = yield from self.ask(lambda: self.request(method, path))
        return parsed(lambda response: read(response.json()), answer)

    def work(
        self, path: str, options: Mapping[str, Any], body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Operation[httpx2.Response]:
        query = to_query(options)
        return (yield from self.ask(lambda: self.request("POST", path, headers, params=query, **body)))

    def follow(self, on_step: OnStepAsync | None) -> Operation[Mapping[str, Any]]:
        """The result of the open stream. Raises Problem, or Unreachable when the stream ends without one."""
        while (event := (yield from next_event())) is not None:
            name, data, _ = event
            if name == "result":
                return data
            if name == "error":
                raise parsed(to_problem, data)
            if name == "step" and on_step is not None:
                yield Notify(on_step, parsed(to_step, data))
        raise Unreachable("the stream ended before the result")

    def restore(
        self, image: Picture, mask: Picture | None, options: RestoreOptions, on_step: OnStepAsync | None
    ) -> Operation[Restored]:
        body = to_body(image, mask)
        if on_step is None:
            return parsed(read_restored, (yield from self.work("/restore", options, body, {"accept": "image/*"})))
        yield from self.work("/restore", options, body, {"accept": "text/event-stream"})
        return parsed(to_restored, (yield from self.follow(on_step)))

    def analyse(self, image: Picture) -> Operation[Analysed]:
        answer = yield from self.work("/analyse", {}, to_body(image, None), {"accept": "application/json"})
        return parsed(lambda response: to_analysed(response.json()), answer)

    def generate(self, options: GenerateOptions, on_step: OnStepAsync | None) -> Operation[Generated]:
        if on_step is None:
            return parsed(read_generated, (yield from self.work("/generate", options, {}, {"accept": "application/json"})))
        yield from self.work("/generate", options, {}, {"accept": "text/event-stream"})
        return parsed(to_generated, (yield from self.follow(on_step)))

    def submit(self, path: str, options: Mapping[str, Any], body: Mapping[str, Any], key: str | None) -> Operation[Job]:
        """Hand work in. The idempotency key makes a retry the same job, not a second one."""
        headers = {"prefer": "respond-async", "idempotency-key": key or str(uuid.uuid4())}
        answer = yield from self.work(path, options, body, headers)
        return parsed(lambda response: to_job(response.json()), answer)

    def wait(self, job: Job, on_step: OnStepAsync | None) -> Operation[Restored | Generated]:
        """Follow a job to its end, taking the stream up again where it broke off; then fetch the result."""
        last: str | None = None
        for attempt in range(self.retries + 1):
            try:
                last = yield from self.attend(job, last, on_step)
                break
            except _BrokenOff as broken:
                last = broken.last
                if attempt == self.retries:
                    raise Unreachable(f"the events of job {job.id} broke off {attempt + 1} times") from broken
                yield Sleep(self.spread(attempt))
        return (yield from self.result(job))

    def attend(self, job: Job, last: str | None, on_step: OnStepAsync | None) -> Operation[str | None]:
        """The id of the last event, once the job has ended; _BrokenOff tells it too."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": last} if last else {})
        yield from self.ask(lambda: self.request("GET", job_path(job.id) + "/events", headers))
        try:
            while (event := (yield from next_event())) is not None:
                name, data, number = event
                last = number or last
                if name == "error":
                    raise parsed(to_problem, data)
                if name == "result":
                    return last
                if name == "step" and on_step is not None:
                    yield Notify(on_step, parsed(to_step, data))
        except Unreachable as error:
            raise _BrokenOff(last) from error
        raise _BrokenOff(last)

    def result(self, job: Job) -> Operation[Restored | Generated]:
        answer = yield from self.ask(lambda: self.request("GET", job_path(job.id) + "/result"))
        if job.kind == "restore":
            return parsed(read_restored, answer)
        return parsed(read_generated, answer)


class _BrokenOff(Exception):
    """An event stream that can be taken up again after the event `last`."""

    def __init__(self, last: str | None) -> None:
        super().__init__(last)
        self.last = last


def to_body(image: Picture, mask: Picture | None) -> dict[str, Any]:
    """httpx2's arguments for one picture, or for a picture and its mask."""
    if mask is None:
        return {"content": contents(image)}
    return {"files": {"image": ("image", contents(image)), "mask": ("mask", contents(mask))}}
