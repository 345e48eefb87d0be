"""Callers in a process of their own: `python -m benchmarks.callers` answers orders, one JSON object a line."""

import asyncio
import base64
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx

One = Callable[[int, float], Awaitable[None]]
Style = Literal["gateway", "form", "json", "generate"]


@dataclass(frozen=True)
class Order:
    """count requests with a picture file by so many callers at once, or, with `rate`, one after the other so many a second.

    steps are taken in turn; seeds from `seed` on, so that no answer is a kept one. style: how the server wants it.
    """

    url: str
    style: Style
    count: int
    steps: list[int]
    callers: int = 1
    rate: float | None = None
    file: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Told:
    """seconds of all, CPU seconds of the callers, seconds of each answered request, and the statuses that were not 200."""

    seconds: float
    cpu: float
    latencies: list[float]
    refused: list[int]


def request_of(order: Order, body: bytes, index: int) -> httpx.Request:
    """The index-th request, as the server's style wants it."""
    facts = {"steps": order.steps[index % len(order.steps)], "seed": order.seed + index}
    if order.style == "form":
        return httpx.Request("POST", f"{order.url}/restore", params=facts, files={"image": ("a.png", body, "image/png")})
    if order.style == "json":
        return httpx.Request("POST", f"{order.url}/predict", json=facts | {"image": base64.b64encode(body).decode()})
    if order.style == "generate":
        return httpx.Request("POST", f"{order.url}/generate", params=facts)
    return httpx.Request("POST", f"{order.url}/restore", params=facts, content=body, headers={"Content-Type": "image/png"})


async def carry_out(order: Order, body: bytes) -> Told:
    """Runs an order and measures it."""
    latencies: list[float] = []
    refused: list[int] = []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(timeout=600, limits=limits) as client:

        async def one(index: int, begun: float) -> None:
            answer = await client.send(request_of(order, body, index))
            if answer.status_code == 200:
                latencies.append(time.perf_counter() - begun)
            else:
                refused.append(answer.status_code)

        begun, cpu = time.perf_counter(), time.process_time()
        if order.rate is None:
            await _by_callers(one, order)
        else:
            await _by_rate(one, order)
        return Told(time.perf_counter() - begun, time.process_time() - cpu, latencies, refused)


async def _by_callers(one: One, order: Order) -> None:
    """Each caller asks again as soon as it is answered."""
    indices = iter(range(order.count))

    async def caller() -> None:
        for index in indices:
            await one(index, time.perf_counter())

    await asyncio.gather(*(caller() for _ in range(order.callers)))


async def _by_rate(one: One, order: Order) -> None:
    """Requests arrive evenly, whether earlier ones are answered or not."""
    assert order.rate is not None
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for index in range(order.count):
            due = begun + index / order.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(index, due))


def main() -> None:
    """Answers orders from standard input until it ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = Order(**json.loads(line))
        body = Path(order.file).read_bytes() if order.file else b""
        print(json.dumps(asdict(asyncio.run(carry_out(order, body)))), flush=True)


if __name__ == "__main__":
    main()
