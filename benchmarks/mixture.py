"""The mixed load of `benchmarks.endurance`: what is asked, each request drawn by its number, and how its answer is judged."""

import asyncio
import base64
import contextlib
import functools
import hashlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from benchmarks.pictures import darkened, scene
from rddm.image import encode

SIDES = (64, 96, 128, 160)
WIDER = 24  # a picture is so many pixels wider than high
FORMATS = ("png", "jpeg", "webp")
SEEDS, STEPS = 50, (1, 2, 3)
BAD = ((b"", 400), (b"words", 415), (encode(np.zeros((8, 8, 3), np.uint8))[:40], 400))
READINGS = ("/models", "/metrics", "/openapi.json", "/jobs", "/readyz")
POLL_SECONDS = 0.2
Query = dict[str, str | int]


@dataclass(frozen=True)
class Dark:
    """A picture that is sent."""

    body: bytes
    size: tuple[int, int]
    kind: str


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    status: of the answer, of the stream's error event, or of the failed job; 0 where the caller hung up. fault: what is wrong with
    the answer, in words. picture: what was asked, and the SHA-256 of what was answered. wait: seconds that a refusal asks for.
    """

    kind: str
    status: int
    fault: str | None = None
    picture: tuple[tuple[Any, ...], str] | None = None
    wait: float = 0.0


@functools.cache
def pictures() -> tuple[Dark, ...]:
    """Dark scenes of several sizes and formats."""
    drawn = [(np.asarray(darkened(scene(side, side + WIDER, side), 4.0)) * 255).astype(np.uint8) for side in SIDES]
    return tuple(Dark(encode(pixels, kind), (pixels.shape[1], pixels.shape[0]), kind) for pixels in drawn for kind in FORMATS)


def refusal_of(kind: str, answer: httpx2.Response, *allowed: int) -> Outcome | None:
    """What is to be said of an answer that is no success; None for a success. allowed: refusals that are as they should be."""
    if answer.status_code < 300 and not allowed:
        return None
    status, wait = answer.status_code, float(answer.headers.get("retry-after", 0))
    if status not in allowed and (status < 500 or not wait):
        return Outcome(kind, status, f"{kind}: unexpected {status}, or no Retry-After", wait=wait)
    whole = answer.headers.get("content-type") == "application/problem+json" and is_problem(answer.json(), status)
    return Outcome(kind, status, None if whole else f"{kind}: {status} without a problem body", wait=wait)


def is_problem(body: Any, status: int) -> bool:
    """Whether it is a problem document of that status, with a request id."""
    return isinstance(body, dict) and body.get("status") == status and {"type", "detail", "request_id"} <= body.keys()


def picture_in(kind: str, asked: tuple[Any, ...], size: tuple[int, int], form: str, body: bytes) -> Outcome:
    """A success; its picture must be whole, and of that size and form."""
    fault = None
    try:
        with Image.open(BytesIO(body)) as picture:
            picture.load()
            if (picture.size, picture.format) != (size, form.upper()):
                fault = f"{kind}: a picture of another size or format"
    except (OSError, SyntaxError):
        fault = f"{kind}: 200 without a whole picture"
    return Outcome(kind, 200, fault, (asked, hashlib.sha256(body).hexdigest()))


@dataclass(frozen=True)
class MixedRequest:
    """A picture, and what is asked of it."""

    dark: Dark
    query: Query

    @property
    def form(self) -> str:
        """The format of the answer."""
        return str(self.query.get("format", self.dark.kind))

    def outcome(self, kind: str, body: bytes) -> Outcome:
        """The picture that came; the same request gives the same bytes, whatever way it takes."""
        asked = (self.dark.size, self.dark.kind, self.form, self.query["seed"], self.query["steps"])
        return picture_in(kind, asked, self.dark.size, self.form, body)


class Mixture:
    """Sends requests, each drawn by its number."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client, self._pictures = client, pictures()

    async def send(self, number: int) -> Outcome:
        """One request. Raises httpx2.TransportError where it got no answer."""
        draw = random.Random(number)
        [kind] = draw.choices(list(KINDS), [share for share, _ in KINDS.values()])
        return await KINDS[kind][1](self, draw)

    def request(self, draw: random.Random) -> MixedRequest:
        """Any picture, with any steps and seed; sometimes in another format."""
        query: Query = {"seed": draw.randrange(SEEDS), "steps": draw.choice(STEPS)}
        return MixedRequest(draw.choice(self._pictures), query | ({"format": draw.choice(FORMATS)} if draw.random() < 0.3 else {}))

    async def raw(self, draw: random.Random) -> Outcome:
        """The picture as the body."""
        request = self.request(draw)
        answer = await self._client.post("/restore", params=request.query, content=request.dark.body)
        return refusal_of("raw", answer) or request.outcome("raw", answer.content)

    async def form(self, draw: random.Random) -> Outcome:
        """As a multipart form."""
        request = self.request(draw)
        answer = await self._client.post("/restore", params=request.query, files={"image": ("a", request.dark.body)})
        return refusal_of("form", answer) or request.outcome("form", answer.content)

    async def envelope(self, draw: random.Random) -> Outcome:
        """As JSON, there and back."""
        request = self.request(draw)
        answer = await self._client.post("/restore", json={"image": base64.b64encode(request.dark.body).decode(), **request.query})
        return refusal_of("envelope", answer) or request.outcome("envelope", base64.b64decode(answer.json()["image"]))

    async def events(self, draw: random.Random) -> Outcome:
        """With an event for each step."""
        request = self.request(draw)
        headers = {"Accept": "text/event-stream"}
        answer = await self._client.post("/restore", params=request.query, content=request.dark.body, headers=headers)
        if refused := refusal_of("events", answer):
            return refused
        received = list(events_of(answer.text))
        if not received or received[-1][0] not in {"result", "error"}:
            return Outcome("events", 200, "events: the stream broke off")
        name, data = received[-1]
        if name == "error":
            return outcome_of("events", data)
        steps = [event["step"] for name, event in received[:-1] if name == "step"]
        if not steps or steps != list(range(steps[0], data["steps"] + 1)):  # a request that shares running work gets the rest
            return Outcome("events", 200, f"events: {steps} came of {data['steps']} steps")
        return request.outcome("events", base64.b64decode(data["image"]))

    async def job(self, draw: random.Random) -> Outcome:
        """As a job that is asked for until it is done, fetched, and forgotten."""
        request = self.request(draw)
        headers = {"Prefer": "respond-async"}
        answer = await self._client.post("/restore", params=request.query, content=request.dark.body, headers=headers)
        while not (refused := refusal_of("job", answer)) and (job := answer.json())["status"] in {"queued", "running"}:
            await asyncio.sleep(POLL_SECONDS)
            answer = await self._client.get(job["links"]["self"])
        if refused:
            return refused
        result = await self._client.get(job["links"]["result"])
        gone = await self._client.delete(job["links"]["self"])
        if refused := refusal_of("job", gone):
            return refused
        if job["status"] == "failed":
            return outcome_of("job", job["problem"])
        return refusal_of("job", result) or request.outcome("job", result.content)

    async def edit(self, draw: random.Random) -> Outcome:
        """As OpenAI's SDKs ask."""
        request = self.request(draw)
        request = MixedRequest(request.dark, {**request.query, "format": request.form})
        said = {"model": "lowlight", "output_format": request.form, "steps": request.query["steps"], "seed": request.query["seed"]}
        answer = await self._client.post("/v1/images/edits", data=said, files={"image": ("a", request.dark.body)})
        return refusal_of("edit", answer) or request.outcome("edit", base64.b64decode(answer.json()["data"][0]["b64_json"]))

    async def generate(self, draw: random.Random) -> Outcome:
        """A picture out of noise."""
        query: Query = {"model": "emoji", "seed": draw.randrange(SEEDS), "steps": draw.choice(STEPS)}
        answer = await self._client.post("/generate", params=query)
        asked = ("generated", query["seed"], query["steps"])
        return refusal_of("generate", answer) or picture_in("generate", asked, (64, 64), "png", answer.content)

    async def read(self, draw: random.Random) -> Outcome:
        """Something that needs no network."""
        answer = await self._client.get(draw.choice(READINGS))
        if answer.status_code == 503 and answer.url.path == "/readyz":  # which tells that no engine answers, not for how long
            return Outcome("read", 503, None if is_problem(answer.json(), 503) else "read: 503 without a problem body")
        return refusal_of("read", answer) or Outcome("read", 200)

    async def bad(self, draw: random.Random) -> Outcome:
        """What is no picture."""
        body, status = draw.choice(BAD)
        answer = await self._client.post("/restore", content=body)
        return refusal_of("bad", answer, status) or Outcome("bad", answer.status_code)

    async def hang_up(self, draw: random.Random) -> Outcome:
        """A caller that hangs up at any moment, in half of the cases while its request is still being sent."""
        request = self.request(draw)
        content = _slowly(request.dark.body) if draw.random() < 0.5 else request.dark.body
        query = request.query | {"seed": draw.randrange(10**6, 10**7)}
        with contextlib.suppress(TimeoutError, httpx2.TransportError):
            await asyncio.wait_for(self._client.post("/restore", params=query, content=content), draw.uniform(0, 0.3))
        return Outcome("hang_up", 0)


async def _slowly(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 256):
        yield body[start : start + 256]
        await asyncio.sleep(0.02)


def outcome_of(kind: str, problem: Any) -> Outcome:
    """A problem document within a success."""
    status = int(problem.get("status", 0))
    fault = None if is_problem(problem, status) and status >= 500 else f"{kind}: it failed with {status}"
    return Outcome(kind, status, fault, wait=float(problem.get("retry_after", 0)))


def events_of(text: str) -> list[tuple[str, Any]]:
    """(name, data) of each server-sent event."""
    blocks = (dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")) for block in text.split("\n\n"))
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


Sender = Callable[[Mixture, random.Random], Awaitable[Outcome]]
KINDS: dict[str, tuple[float, Sender]] = {  # per cent of all requests
    "raw": (40, Mixture.raw),
    "form": (32, Mixture.form),
    "envelope": (6, Mixture.envelope),
    "events": (6, Mixture.events),
    "job": (4, Mixture.job),
    "edit": (4, Mixture.edit),
    "generate": (3, Mixture.generate),
    "read": (3, Mixture.read),
    "bad": (1, Mixture.bad),
    "hang_up": (1, Mixture.hang_up),
}
