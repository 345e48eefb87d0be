"""Many requests against a real gateway process: a mixed load with bad input, callers who hang up, and servers that are killed.

python -m benchmarks.endurance REPOSITORY [--requests 10000] [--triton] [-o report.json]

Every request must be answered: none lost, none hung; 5xx only with a problem body, and with Triton 503 only near a kill. The
gateway's memory is read all along: its slope over the second half, in per cent of its mean, is to be under 1 %.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.progress import Progress

from benchmarks.pictures import darkened, scene
from docker.triton.server import Server, free_ports, running
from rddm.image import encode

CALLERS = 16
HUNG_SECONDS, READY_SECONDS = 60.0, 300.0
NOTICE_SECONDS = 5.0  # in which a gateway notices that a server is there again, and proves it
SIDES = (16, 33, 64, 96)
FORMATS = ("png", "jpeg", "webp")
BAD = (b"", b"words", encode(np.zeros((8, 8, 3), np.uint8))[:40])


@dataclass
class Tally:
    """What came of the requests. memory: (requests so far, MiB) of the gateway and its picture processes."""

    statuses: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    hung: int = 0
    gone: int = 0
    without_problem: int = 0
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[int, float]] = field(default_factory=list)
    down: list[tuple[float, float]] = field(default_factory=list)
    unexcused: int = 0

    @property
    def done(self) -> int:
        """Requests that have ended."""
        return self.lost + self.hung + self.gone + sum(self.statuses.values())

    def note(self, answer: httpx.Response, begun: float, ended: float) -> None:
        """An answer, and when it was asked for and came."""
        self.seconds.append(ended - begun)
        self.statuses[str(answer.status_code)] += 1
        if answer.status_code >= 500:
            self.without_problem += answer.headers.get("content-type") != "application/problem+json"
            self.unexcused += not any(begun < end + NOTICE_SECONDS and ended > start for start, end in self.down)

    def slope(self) -> float:
        """How much memory grew over the second half, in per cent of its mean there."""
        half = self.memory[len(self.memory) // 2 :]
        at, used = np.array(half).T
        return float(np.polyfit(at, used, 1)[0] * (at[-1] - at[0]) / used.mean() * 100)

    def report(self) -> dict[str, Any]:
        """The figures."""
        return {
            "requests": self.done,
            "statuses": dict(sorted(self.statuses.items())),
            "lost": self.lost,
            "hung": self.hung,
            "hung_up_on_purpose": self.gone,
            "5xx_without_problem": self.without_problem,
            "servers_killed": len(self.down),
            "5xx_while_an_engine_lived": self.unexcused,
            "p50_seconds": round(float(np.percentile(self.seconds, 50)), 4),
            "p95_seconds": round(float(np.percentile(self.seconds, 95)), 4),
            "memory_mib": [round(self.memory[0][1], 1), round(self.memory[-1][1], 1)],
            "memory_slope_percent": round(self.slope(), 3),
        }


def resident(process: int) -> float:
    """MiB of a process and its children, shared pages counted once (proportional set size)."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    total = 0
    for one in (str(process), *children):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def pictures() -> list[bytes]:
    """Dark scenes of several sizes and formats."""
    drawn = [(np.asarray(darkened(scene(side, side + 8, side), 4.0)) * 255).astype(np.uint8) for side in SIDES]
    return [encode(pixels, kind) for pixels in drawn for kind in FORMATS]


class Load:
    """Sends requests, each drawn by its number."""

    def __init__(self, address: str, tally: Tally) -> None:
        self._address, self._tally, self._pictures = address, tally, pictures()

    async def send(self, client: httpx.AsyncClient, number: int) -> None:
        """One request, and its place in the tally."""
        draw = random.Random(number)
        share = draw.random()
        begun = time.perf_counter()
        try:
            if share < 0.01:
                await self._hang_up(client, draw)
                self._tally.gone += 1
                return
            answer = await asyncio.wait_for(self._ask(client, draw, share), HUNG_SECONDS)
        except TimeoutError:
            self._tally.hung += 1
        except httpx.TransportError:
            self._tally.lost += 1
        else:
            self._tally.note(answer, begun, time.perf_counter())

    async def _ask(self, client: httpx.AsyncClient, draw: random.Random, share: float) -> httpx.Response:
        picture, seed, steps = draw.choice(self._pictures), draw.randrange(200), draw.randint(1, 3)
        if share < 0.02:
            return await client.post("/restore", content=draw.choice(BAD))
        if share < 0.05:
            return await client.get(draw.choice(("/models", "/readyz", "/metrics", "/openapi.json", "/jobs")))
        if share < 0.10:
            return await client.post("/restore", json={"image": base64.b64encode(picture).decode(), "seed": seed, "steps": steps})
        if share < 0.15:
            return await client.post("/restore", content=picture, headers={"Accept": "text/event-stream"})
        form = {"files": {"image": ("picture", picture)}} if share < 0.5 else {"content": picture}
        query = {"seed": seed, "steps": steps} | ({"format": draw.choice(FORMATS)} if share < 0.6 else {})
        return await client.post("/restore", params=query, **form)  # type: ignore[arg-type]

    async def _hang_up(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        with contextlib.suppress(TimeoutError, httpx.TransportError):
            seed = draw.randrange(10**6)
            await asyncio.wait_for(client.post(f"/restore?steps=3&seed={seed}", content=self._pictures[-1]), draw.uniform(0, 0.05))


@contextlib.contextmanager
def gateway(repository: Path, port: int, triton: Server | None) -> Iterator[subprocess.Popen[bytes]]:
    """`rddm serve` with small caches, so that memory that grows is a leak and no cache."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "RDDM_MODEL_REPOSITORY": str(repository),
            "RDDM_JOBS_FILE": f"{folder}/jobs.sqlite",
            "RDDM_RESULTS_BYTES": str(4 << 20),
            "RDDM_ANSWERS_BYTES": str(4 << 20),
            "RDDM_LOG_LEVEL": "error",
        }
        if triton is not None:
            variables |= {"RDDM_ENGINE": "triton", "RDDM_TRITON_URLS": triton.url}
        command = [sys.executable, "-m", "rddm", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env={**os.environ, **variables})
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


async def ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
    """Wait until the gateway answers. Raises RuntimeError if it ends instead."""
    async for _ in _ticks(READY_SECONDS):
        if process.poll() is not None:
            raise RuntimeError("the gateway did not start")
        with contextlib.suppress(httpx.TransportError):
            if (await client.get("/readyz")).status_code == 200:
                return
    raise RuntimeError(f"the gateway is not ready after {READY_SECONDS:g} s")


async def _ticks(seconds: float) -> AsyncIterator[float]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield time.monotonic()
        await asyncio.sleep(0.2)


async def endure(repository: Path, requests: int, triton: Server | None, kill_every: int, progress: Progress) -> Tally:
    """All requests, CALLERS at once; a Triton server is killed and started again every kill_every of them."""
    [port], tally = free_ports(1), Tally()
    bar = progress.add_task("requests", total=requests)
    numbers = iter(range(requests))
    address = f"http://127.0.0.1:{port}"
    with gateway(repository, port, triton) as process:
        async with httpx.AsyncClient(base_url=address, timeout=HUNG_SECONDS + 30) as client:
            await ready(client, process)
            load = Load(address, tally)

            async def caller() -> None:
                for number in numbers:
                    await load.send(client, number)
                    progress.advance(bar)
                    if number % 50 == 0:
                        tally.memory.append((number, resident(process.pid)))
                    if triton is not None and number % kill_every == kill_every // 2:
                        await asyncio.to_thread(_kill, triton, tally)

            await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return tally


def _kill(triton: Server, tally: Tally) -> None:
    begun = time.perf_counter()
    tally.down.append((begun, float("inf")))
    triton.kill()
    triton.start()
    tally.down[-1] = begun, time.perf_counter()


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the figures, and fail where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__.splitlines()[0])
    parser.add_argument("repository", type=Path, help="a model repository with a model `lowlight`")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--triton", action="store_true", help="serve by a real tritonserver, killed now and then")
    parser.add_argument("--kill-every", type=int, default=2000, metavar="N", help="requests between two kills of it (2000)")
    parser.add_argument("-o", "--output", type=Path, help="write the figures there as JSON")
    given = parser.parse_args(argv)
    with Progress() as progress, running(given.repository) if given.triton else contextlib.nullcontext() as triton:
        tally = asyncio.run(endure(given.repository.resolve(), given.requests, triton, given.kill_every, progress))
    told = json.dumps(tally.report(), indent=2)
    print(told)
    if given.output is not None:
        given.output.write_text(told + "\n")
    return int(bool(tally.lost or tally.hung or tally.without_problem or tally.unexcused or tally.slope() >= 1))


if __name__ == "__main__":
    sys.exit(main())
