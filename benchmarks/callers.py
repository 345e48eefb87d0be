"""Callers in a process of their own: `python -m benchmarks.callers` runs workloads, one JSON object a line.

They speak plain HTTP over connections that stay open, with requests that were written before the clock starts: what a client
library costs its caller is no server's.
"""

import asyncio
import base64
import json
import re
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
import numpy as np
from PIL import Image

One = Callable[[int, float | None], Coroutine[Any, Any, None]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LIMIT = 1 << 20  # bytes that a connection holds before it is read
Style = Literal["gateway", "form", "json", "generate"]


@dataclass(frozen=True)
class Workload:
    """count requests with a picture file by so many callers at once, or, with `rate`, one after the other so many a second.

    steps are taken in turn. No request is like another, so that no answer is a kept one: with `own_seeds` each has its own seed,
    from `first` on, else it has its own picture, whose first pixel is the request's number. style: how the server wants it.
    """

    url: str
    style: Style
    count: int
    steps: list[int]
    callers: int = 1
    rate: float | None = None
    file: str | None = None
    first: int = 0
    own_seeds: bool = False


@dataclass(frozen=True)
class Measurement:
    """seconds of all, CPU seconds of the callers, seconds of each answered request, and the statuses that were not 200."""

    seconds: float
    cpu: float
    latencies: list[float]
    refused: list[int]


def request_of(workload: Workload, body: bytes, index: int) -> httpx2.Request:
    """The index-th request, as the server's style wants it."""
    facts = {"steps": workload.steps[index % len(workload.steps)]}
    if workload.own_seeds or not body:
        facts["seed"] = workload.first + index
    else:
        body = renumbered(body, workload.first + index)
    if workload.style == "form":
        return httpx2.Request("POST", f"{workload.url}/restore", params=facts, files={"image": ("a.png", body, "image/png")})
    if workload.style == "json":
        return httpx2.Request("POST", f"{workload.url}/predict", json=facts | {"image": base64.b64encode(body).decode()})
    if workload.style == "generate":
        return httpx2.Request("POST", f"{workload.url}/generate", params=facts)
    return httpx2.Request("POST", f"{workload.url}/restore", params=facts, content=body, headers={"Content-Type": "image/png"})


def renumbered(picture: bytes, number: int) -> bytes:
    """The picture as a PNG file whose first pixel holds the number's last 24 bits."""
    pixels = np.array(Image.open(BytesIO(picture)).convert("RGB"))
    pixels[0, 0] = tuple(number.to_bytes(8, "big")[-3:])
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def on_wire(request: httpx2.Request) -> bytes:
    """The request as it is sent."""
    request.read()
    head = [
        f"{request.method} {request.url.raw_path.decode()} HTTP/1.1".encode(),
        *(b": ".join(line) for line in request.headers.raw),
    ]
    return b"\r\n".join([*head, b"", request.content])


class Lines:
    """Connections to one server, as many as there are requests at once."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._free: list[Connection] = []

    async def status(self, request: bytes) -> int:
        """Sends a request and reads the whole answer. Raises OSError and asyncio.IncompleteReadError where there is none."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port, limit=LIMIT)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"\ncontent-length: *([0-9]+)", head)
        assert length is not None, head
        await reader.readexactly(int(length[1]))
        self._free.append((reader, writer))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Ends every connection."""
        for _, writer in self._free:
            writer.close()


async def measure(workload: Workload, body: bytes) -> Measurement:
    """Runs a workload and measures it."""
    latencies: list[float] = []
    refused: list[int] = []
    requests = [on_wire(request_of(workload, body, index)) for index in range(workload.count)]
    lines = Lines(workload.url)

    async def one(index: int, due: float | None) -> None:
        started = time.perf_counter() if due is None else due
        status = await lines.status(requests[index])
        if status == 200:
            latencies.append(time.perf_counter() - started)
        else:
            refused.append(status)

    started, cpu = time.perf_counter(), time.process_time()
    await (_by_callers(one, workload) if workload.rate is None else _by_rate(one, workload))
    measurement = Measurement(time.perf_counter() - started, time.process_time() - cpu, latencies, refused)
    lines.close()
    return measurement


async def _by_callers(one: One, workload: Workload) -> None:
    """Each caller asks again as soon as it is answered."""
    indices = iter(range(workload.count))

    async def caller() -> None:
        for index in indices:
            await one(index, None)

    await asyncio.gather(*(caller() for _ in range(workload.callers)))


async def _by_rate(one: One, workload: Workload) -> None:
    """Requests arrive evenly, whether earlier ones are answered or not."""
    assert workload.rate is not None
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for index in range(workload.count):
            due = started + index / workload.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(index, due))


def main() -> None:
    """Runs workloads from standard input until it ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        workload = Workload(**json.loads(line))
        body = Path(workload.file).read_bytes() if workload.file else b""
        print(json.dumps(asdict(asyncio.run(measure(workload, body)))), flush=True)


if __name__ == "__main__":
    main()
