"""Load and faults: what fails, fails with a problem, and nothing is left behind."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from benchmarks.builds import address_of
from service import errors
from service.jobs.queue import new_job
from service.jobs.store import JobLimits, JobStore
from service.pictures.picture import Bounds
from service.pictures.workers.pool import CodecPool
from service.storage import open_database
from service.storage.sqlite import SqliteDatabase
from tests.service.conftest import RunningApp, file_of, pixels_of, running, settings_for
from tests.service.serving import FakeServingEngine

PNG = file_of(pixels_of(24, 40))


def held(gateway: RunningApp) -> tuple[float, int, int, int]:
    scheduler = gateway.state.scheduler
    return round(scheduler.pending, 9), scheduler.waiting, scheduler.running, gateway.state.drain.working


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (errors.EngineUnavailable("no server answers"), 503),
        (errors.BadAnswer("model lowlight gave NaN"), 500),
        (errors.DeadlineExceeded("the deadline passed"), 504),
        (errors.OutOfMemory("no memory"), 503),
        (RuntimeError("/secret/path and pixels"), 500),
        (MemoryError(), 500),
    ],
)
@pytest.mark.parametrize("path", ["/restore", "/generate?n=3", "/v1/images/generations"])
async def test_what_the_engine_does_wrong_is_a_problem_and_leaves_nothing(
    gateway: RunningApp, fault: Exception, status: int, path: str
) -> None:
    gateway.engine.fault = fault
    content: dict[str, Any] = (
        {"json": {"prompt": "-"}} if path.startswith("/v1") else {} if "generate" in path else {"content": PNG}
    )
    answer = await gateway.client.post(path, **content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert (await gateway.client.get("/readyz")).status_code == 503
    gateway.engine.fault = None
    assert (await gateway.client.post("/restore", content=PNG)).status_code == 200
    assert held(gateway) == (0, 0, 0, 0)


async def test_a_fault_while_steps_are_streamed_is_an_error_event(gateway: RunningApp) -> None:
    gateway.engine.fault = errors.EngineUnavailable("no server answers")
    answer = await gateway.client.post("/restore", content=PNG, headers={"Accept": "text/event-stream"})
    assert answer.status_code == 200
    assert "event: error" in answer.text
    assert json.loads(answer.text.split("data: ")[1].splitlines()[0])["status"] == 503


async def test_over_the_queue_is_429_with_a_time_to_wait(tmp_path: Path) -> None:
    engine = FakeServingEngine()
    picture = file_of(pixels_of(200, 200))
    async with running(settings_for(tmp_path, queue_megapixel_steps=0.2), engine) as gateway:
        engine.gate = asyncio.Event()
        burst = [asyncio.create_task(gateway.client.post(f"/restore?seed={seed}", content=picture)) for seed in range(10)]
        done: set[asyncio.Task[httpx2.Response]] = set()
        waiting = more = set(burst)
        while not done or more:  # until a second passes in which nobody else is refused
            more, waiting = await asyncio.wait(waiting, timeout=1)
            done |= more
        engine.gate.set()
        answers = await asyncio.gather(*burst)
        statuses = sorted(answer.status_code for answer in answers)
        assert set(statuses) == {200, 429}
        assert statuses.count(200) == len(waiting)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
        assert held(gateway) == (0, 0, 0, 0)


async def test_the_same_request_twice_at_once_is_computed_once_with_the_same_bytes(tmp_path: Path) -> None:
    engine = FakeServingEngine(seconds=0.02)
    async with running(settings_for(tmp_path), engine) as gateway:
        before = engine.calls
        first, second = await asyncio.gather(*(gateway.client.post("/restore?steps=4", content=PNG) for _ in range(2)))
        assert first.content == second.content
        assert engine.calls - before == 4
        third = await gateway.client.post("/restore?steps=4&format=webp", content=PNG)
        assert third.headers["content-type"] == "image/webp"
        assert engine.calls - before == 4


async def test_all_callers_leave_and_nothing_is_held(tmp_path: Path) -> None:
    engine = FakeServingEngine(seconds=0.01)
    async with running(settings_for(tmp_path), engine) as gateway:
        for seed in range(40):
            task = asyncio.create_task(gateway.client.post(f"/restore?steps=9&seed={seed}", content=PNG))
            await asyncio.sleep(0.002 * (seed % 20))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for _ in range(100):
            if held(gateway) == (0, 0, 0, 0):
                break
            await asyncio.sleep(0.02)
        assert held(gateway) == (0, 0, 0, 0)


async def test_a_picture_that_takes_its_reader_too_long_is_refused_and_the_reader_replaced(tmp_path: Path) -> None:
    bounds = Bounds(512 * 512, 8191)
    async with running(settings_for(tmp_path), codecs=CodecPool(bounds, 1, 0.05, 1 << 31)) as gateway:
        slow = file_of(np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8), "AVIF")
        answer = await gateway.client.post("/restore?format=avif", content=slow)
        assert answer.status_code == 413
        assert gateway.state.codecs.killed == 1
    async with running(settings_for(tmp_path), codecs=CodecPool(bounds, 1, 30.0, 1 << 31)) as gateway:
        await gateway.state.codecs.start()
        worker = gateway.state.codecs._idle.take()
        worker.process.kill()
        await worker.process.wait()
        gateway.state.codecs._idle.put(worker)
        assert (await gateway.client.post("/restore", content=PNG)).status_code == 200


async def test_a_model_that_is_taken_away_is_404_and_one_reloaded_goes_on(gateway: RunningApp) -> None:
    await gateway.client.post("/admin/models/lowlight/unload")
    gone = await gateway.client.post("/restore", content=PNG)
    assert gone.status_code == 404
    assert "keeper" in gone.json()["detail"]
    await gateway.client.post("/admin/models/lowlight/load")
    assert (await gateway.client.post("/restore", content=PNG)).status_code == 200


async def test_jobs_are_503_while_the_disk_is_full_and_pictures_go_on(gateway: RunningApp, monkeypatch: Any) -> None:
    async def full(*_: object) -> None:
        raise errors.StoreUnavailable("jobs cannot be kept now: OperationalError", retry_after=30)

    monkeypatch.setattr(JobStore, "submit", full)
    refused = await gateway.client.post("/restore", content=PNG, headers={"Prefer": "respond-async"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert (await gateway.client.get("/jobs")).json() == {"jobs": []}
    assert (await gateway.client.post("/restore", content=PNG)).status_code == 200


async def test_a_disk_that_is_full_is_said_in_our_words(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "jobs.sqlite")
    store = JobStore(database)
    await store.open()
    await database.run(lambda tx: tx.execute("pragma max_page_count = 10"))
    job = new_job(caller="ann", kind="restore", parameters="{}", accept=None, as_json=False, fingerprint="", bytes=0)
    with pytest.raises(errors.StoreUnavailable):
        await store.submit(job, b"x" * 10_000_000, None, JobLimits(9, 9, 1 << 30, 60, 60))
    assert await store.job(job.id) is None
    await database.aclose()


def test_a_job_file_that_cannot_be_used_is_an_error_only_where_it_was_named(tmp_path: Path, caplog: Any) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="file"):
        open_database(None, blocked / "jobs.sqlite", named=True)
    with pytest.raises(OSError, match=f"the jobs file {tmp_path} cannot be used: unable to open"):
        open_database(None, tmp_path, named=True)
    with caplog.at_level(logging.WARNING):
        asyncio.run(open_database(None, blocked / "jobs.sqlite", named=False).aclose())
    assert "RDDM_JOBS_FILE" in caplog.text


def test_two_gateways_do_not_share_a_job_file(tmp_path: Path) -> None:
    first = SqliteDatabase(tmp_path / "jobs.sqlite")
    with pytest.raises(Exception, match="locked"):
        SqliteDatabase(tmp_path / "jobs.sqlite")
    asyncio.run(first.aclose())


SERVING = """
import sys
from pathlib import Path
from service.api.front import Front
from service.gateway import open_gateway
from service.api.server import Server
from tests.service.conftest import settings_for
from service.pictures.workers.pool import CodecPool
from tests.service.serving import FakeServingEngine

settings = settings_for(Path(sys.argv[1]), port=0, codec_workers=1)
engine = FakeServingEngine(seconds=0.4)
app = Front(settings, lambda settings, metrics: open_gateway(settings, engine, metrics))
Server(app, settings).run()
"""


@pytest.fixture
def process(tmp_path: Path, root: Path) -> Any:
    command = [sys.executable, "-c", SERVING, str(tmp_path)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, cwd=root, env=variables, stdout=subprocess.PIPE, text=True)
    client = httpx2.Client(base_url=address_of(started), timeout=30)
    yield started, client
    started.kill()
    started.communicate()
    client.close()


def test_sigterm_finishes_what_runs_and_turns_new_work_away(process: Any) -> None:
    started, client = process

    async def scene() -> tuple[httpx2.Response, httpx2.Response, httpx2.Response]:
        async with httpx2.AsyncClient(base_url=client.base_url, timeout=30) as caller:
            runs = asyncio.create_task(caller.post("/restore?steps=8", content=PNG))
            for _ in range(100):
                if "rddm_working_requests 1.0" in (await caller.get("/metrics")).text:
                    break
                await asyncio.sleep(0.02)
            started.send_signal(signal.SIGTERM)
            while (ready := await caller.get("/readyz")).status_code == 200:  # noqa: ASYNC110 (until it is heard)
                await asyncio.sleep(0.02)
            refused = await caller.post("/restore", content=PNG)
            return await runs, refused, ready

    finished, refused, ready = asyncio.run(scene())
    assert finished.status_code == 200
    assert finished.headers["x-steps"] == "8"
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert refused.json()["type"] == "urn:rddm:problem:shutting-down"
    assert int(refused.headers["retry-after"]) >= 1
    assert ready.status_code == 503
    assert started.wait(60) in {0, -signal.SIGTERM}


def test_a_killed_gateway_leaves_no_worker_behind(process: Any) -> None:
    started, client = process
    assert client.post("/restore", content=PNG).status_code == 200
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    assert children
    started.kill()
    started.wait()
    until = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)
