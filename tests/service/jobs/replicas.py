"""Gateways as processes that share a database, and jobs handed to them; used by a test and by a benchmark.

python -m tests.service.jobs.replicas FOLDER DATABASE_URL WEBHOOK_PORT SECONDS LEASE starts one; its engine only waits.
"""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.builds import address_of
from tests.calls import until
from tests.service.conftest import file_of, pixels_of

SECRET = "whsec_" + base64.b64encode(b"0123456789" * 3).decode()
ADDRESS = "https://hooks.example/jobs"
ROOT = Path(__file__).resolve().parents[3]


def serve(folder: Path, url: str, webhook_port: int, seconds: float, lease: float) -> None:
    """One gateway. What goes to hooks.example by https goes to a port of this machine by http."""
    from service.api.front import Front  # noqa: PLC0415
    from service.api.server import Server, bind  # noqa: PLC0415
    from service.gateway import open_gateway  # noqa: PLC0415
    from service.jobs import queue  # noqa: PLC0415
    from service.jobs.webhooks import Webhooks  # noqa: PLC0415
    from tests.service.conftest import settings_for  # noqa: PLC0415
    from tests.service.serving import FakeServingEngine  # noqa: PLC0415

    class Local(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            request.url = httpx2.URL(f"http://127.0.0.1:{webhook_port}/jobs")
            return await super().handle_async_request(request)

    import service.api.parts  # noqa: PLC0415

    queue.LEASE_SECONDS = lease
    service.api.parts.webhooks_of = lambda _: Webhooks(("hooks.example",), SECRET, Local())
    sockets = bind("127.0.0.1", 0)
    settings = settings_for(
        folder,
        port=sockets[0].getsockname()[1],
        jobs_file=None,
        database_url=url,
        webhook_hosts=("hooks.example",),
        webhook_secret=SECRET,
        max_jobs=2000,
        max_jobs_per_caller=2000,
    )
    engine = FakeServingEngine(seconds=seconds)
    Server(Front(settings, lambda settings, metrics: open_gateway(settings, engine, metrics)), settings).run(sockets)


@contextlib.contextmanager
def gateway(
    folder: Path, url: str, webhook_port: int, seconds: float, lease: float
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process and its address, once it answers."""
    command = [sys.executable, "-m", "tests.service.jobs.replicas", str(folder), url, str(webhook_port), str(seconds), str(lease)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)
    try:
        yield process, address_of(process)
    finally:
        process.kill()
        process.communicate()


@dataclass
class Receiver:
    """An HTTP server that takes every message. heard: how often each came, by its id."""

    heard: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard[headers["webhook-id"]] += 1
        self.bodies[headers["webhook-id"]] = json.loads(body)
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


@dataclass(frozen=True)
class Outcome:
    """jobs: ids by the gateway that took them in; messages: how often each came; seconds: from the kill to the last end."""

    jobs: dict[str, list[str]]
    results: dict[str, bytes]
    done_by_kill: int
    messages: Counter[str]
    seconds: float


async def hand_in(address: str, seeds: range) -> list[str]:
    """Jobs of pictures that differ, so that none is another's result."""
    ids = []
    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        for seed in seeds:
            body = file_of(pixels_of(16, 24, seed=seed))
            answer = await client.post(f"/restore?steps=2&webhook={ADDRESS}", content=body, headers={"Prefer": "respond-async"})
            assert answer.status_code == 202, answer.text
            ids.append(answer.json()["id"])
    return ids


async def succeeded(client: httpx2.AsyncClient) -> set[str]:
    jobs = (await client.get("/jobs")).json()["jobs"]
    assert all(job["status"] != "failed" for job in jobs), [job for job in jobs if job["status"] == "failed"][:1]
    return {job["id"] for job in jobs if job["status"] == "succeeded"}


async def until_done(client: httpx2.AsyncClient, number: int) -> set[str]:
    while len(done := await succeeded(client)) < number:  # noqa: ASYNC110 (it happens in other processes)
        await asyncio.sleep(0.1)
    return done


async def kill_one_of_two(folder: Path, url: str, jobs: int, seconds: float, lease: float, patience: float) -> Outcome:
    """Two gateways, half of the jobs to each; one is killed when a fifth is done; every result is fetched from the other."""
    receiver = Receiver()
    async with receiver.listening() as port:
        with (
            gateway(folder, url, port, seconds, lease) as (killed, first),
            gateway(folder, url, port, seconds, lease) as (_, second),
        ):
            halves = await asyncio.gather(hand_in(first, range(jobs // 2)), hand_in(second, range(jobs // 2, jobs)))
            async with httpx2.AsyncClient(base_url=second, timeout=60) as client, asyncio.timeout(patience):
                done = await until_done(client, jobs // 5)
                killed.kill()
                killed.wait()
                at = time.monotonic()
                await until_done(client, jobs)
                took = time.monotonic() - at
                results = {one: (await client.get(f"/jobs/{one}/result")).content for half in halves for one in half}
                await until(lambda: len(receiver.heard) >= 2 * jobs, patience)
    return Outcome(dict(zip((first, second), halves, strict=True)), results, len(done), receiver.heard, took)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:6]))
