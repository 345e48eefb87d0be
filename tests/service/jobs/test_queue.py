"""Jobs: started, followed, cancelled, taken up again after a restart."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.errors import QuotaSpent, StoreUnavailable
from service.jobs.queue import JobFunction, JobHooks, JobQueue, new_job
from service.jobs.store import Job, JobLimits, JobStore
from service.results.stored import StoredResponse
from service.sampling.work import Listener
from service.storage.sqlite import SqliteDatabase
from tests.calls import until
from tests.service.conftest import RunningApp, file_of, pixels_of, running, settings_for
from tests.service.serving import FakeServingEngine

LATER = {"Prefer": "respond-async"}


FINISHED = StoredResponse(b"", "image/png", {"X-Model": "lowlight", "X-Steps": "2", "X-Seed": "0"})


@asynccontextmanager
async def queue_of(run_job: JobFunction, store: JobStore | None = None, patience: float = 300) -> AsyncIterator[JobQueue]:
    """A queue of two jobs at once, in memory."""
    database = SqliteDatabase(None)
    queue = JobQueue(
        store or JobStore(database), run_job, JobLimits(9, 9, 9, 60, patience), JobHooks(preview=lambda _step, _began: {})
    )
    await queue.start()
    yield queue
    await queue.close()
    await database.aclose()


async def ended_jobs(queue: JobQueue, caller: str = "ann") -> bool:
    return all(job.status == "succeeded" for job in await queue.of(caller))


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 (the store cannot be waited for)
            await asyncio.sleep(0.02)


def a_job(caller: str = "ann", **facts: Any) -> Job:
    return new_job(caller=caller, kind="generate", parameters="{}", accept=None, as_json=False, fingerprint="", bytes=0, **facts)


async def begin(gateway: RunningApp, path: str = "/restore", **more: Any) -> dict[str, Any]:
    headers = LATER | more.pop("headers", {})
    content = more.pop("content", file_of(pixels_of(24, 40)) if path.startswith("/restore") else b"")
    answer = await gateway.client.post(path, content=content, headers=headers, **more)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/jobs/{answer.json()['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    return answer.json()


async def ended(gateway: RunningApp, job: dict[str, Any]) -> dict[str, Any]:
    await gateway.client.get(f"/jobs/{job['id']}/events")
    return (await gateway.client.get(f"/jobs/{job['id']}")).json()


def events_of(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    collected = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            collected.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return collected


async def test_a_job_is_kept_for_a_while_from_the_start(gateway: RunningApp) -> None:
    job = await begin(gateway, headers={"Prefer": "respond-async; wait=1"})
    assert job["expires_at"] > job["created_at"]


async def test_a_job_ends_with_the_bytes_that_restore_answers(gateway: RunningApp, png: bytes) -> None:
    job = await begin(gateway, "/restore?steps=3&seed=4")
    assert (await ended(gateway, job))["status"] == "succeeded"
    result = await gateway.client.get(f"/jobs/{job['id']}/result")
    direct = await gateway.client.post("/restore?steps=3&seed=4", content=png)
    assert result.content == direct.content
    assert result.headers["x-steps"] == "3"
    assert result.headers["content-type"] == "image/png"


async def test_generated_pictures_of_a_job_are_those_of_its_seed(gateway: RunningApp) -> None:
    job = await begin(gateway, "/generate?n=2", content=b"")
    now = await ended(gateway, job)
    result = (await gateway.client.get(f"/jobs/{job['id']}/result")).json()
    assert [one["seed"] for one in result["images"]] == [now["seed"], now["seed"] + 1]
    again = await gateway.client.post(f"/generate?seed={now['seed'] + 1}")
    assert base64.b64decode(result["images"][1]["image"]) == again.content


async def test_events_replay_from_the_one_after_the_last_seen(gateway: RunningApp) -> None:
    job = await begin(gateway, "/restore?steps=3")
    await ended(gateway, job)
    events = events_of((await gateway.client.get(f"/jobs/{job['id']}/events")).text)
    assert [(number, name) for number, name, _ in events] == [(1, "step"), (2, "step"), (3, "step"), (4, "result")]
    assert events[-1][2]["status"] == "succeeded"
    rest = events_of((await gateway.client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "2"})).text)
    assert [number for number, _, _ in rest] == [3, 4]


async def test_the_same_idempotency_key_is_the_same_job_and_another_request_is_refused(gateway: RunningApp) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = await begin(gateway, headers=key), await begin(gateway, headers=key)
    assert first["id"] == again["id"]
    other = await gateway.client.post("/restore?seed=1", content=file_of(pixels_of(24, 40)), headers=LATER | key)
    assert other.status_code == 409


async def test_the_same_idempotency_key_is_the_same_job_whatever_seed_was_drawn(gateway: RunningApp) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = [await begin(gateway, "/generate", content=b"", headers=key) for _ in range(2)]
    assert (first["id"], first["seed"]) == (again["id"], again["seed"])
    other = await gateway.client.post("/generate?seed=1", headers=LATER | key)
    assert other.status_code == 409


async def test_the_same_idempotency_key_twice_at_once_is_one_job() -> None:
    async def run_job(_job: Job, _image: bytes | None, _mask: bytes | None, _on_step: Listener) -> StoredResponse:
        return FINISHED

    async with queue_of(run_job) as queue:
        for number in range(12):  # until there is something old to forget
            job = await queue.submit(a_job())
            await eventually(lambda: ended_jobs(queue))
            one, other = await asyncio.gather(*(queue.submit(a_job(key=f"{number}")) for _ in range(2)))
            assert one.id == other.id != job.id
            await eventually(lambda: ended_jobs(queue))
        assert len(await queue.of("ann")) == 18


async def test_a_job_that_could_not_be_stored_is_not_there() -> None:
    async def run_job(_job: Job, _image: bytes | None, _mask: bytes | None, _on_step: Listener) -> StoredResponse:
        return FINISHED

    async with queue_of(run_job) as queue:
        adding = asyncio.create_task(queue.submit(a_job()))
        await asyncio.sleep(0)
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)
        assert await queue.of("ann") == []


async def test_a_cancelled_job_leaves_the_engine_and_is_forgotten(settings: Any) -> None:
    engine = FakeServingEngine()
    async with running(settings, engine) as gateway:
        engine.gate = asyncio.Event()
        job = await begin(gateway)
        await engine.entered.wait()
        gone = await gateway.client.delete(f"/jobs/{job['id']}")
        assert gone.json()["status"] == "cancelled"
        assert (await gateway.client.get(f"/jobs/{job['id']}")).status_code == 404
        engine.gate.set()
        state = gateway.state
        await until(lambda: (state.scheduler.pending, state.scheduler.waiting, state.drain.working) == (0, 0, 0))


async def test_a_job_has_no_result_before_its_end(settings: Any) -> None:
    engine = FakeServingEngine()
    async with running(settings, engine) as gateway:
        engine.gate = asyncio.Event()
        job = await begin(gateway)
        assert (await gateway.client.get(f"/jobs/{job['id']}/result")).status_code == 409
        engine.gate.set()
        assert (await ended(gateway, job))["status"] == "succeeded"


async def test_a_job_that_waits_for_its_quota_leaves_its_place_to_others() -> None:
    async def run_job(job: Job, _image: bytes | None, _mask: bytes | None, _on_step: Listener) -> StoredResponse:
        if job.caller == "poor":
            raise QuotaSpent("spent", retry_after=60)
        return FINISHED

    async with queue_of(run_job) as queue:
        waiting = [await queue.submit(a_job(caller="poor")) for _ in range(2)]
        done = await queue.submit(a_job(caller="rich"))
        await eventually(lambda: has_status(queue, done, "succeeded"))
        assert [(await queue.find(job.id, "poor")).status for job in waiting] == ["running", "running"]


async def has_status(queue: JobQueue, job: Job, status: str) -> bool:
    return (await queue.find(job.id, job.caller)).status == status


class FullStore(JobStore):
    """Takes new jobs, and their ends only when there is room again."""

    fault: Exception = StoreUnavailable("the disk is full")
    refusals = 0
    full = True

    async def finish(self, *arguments: Any) -> bool:
        if self.full:
            self.refusals += 1
            raise self.fault
        return await super().finish(*arguments)


@pytest.mark.parametrize("fault", [FullStore.fault, RuntimeError("cannot schedule new futures")])
async def test_a_job_whose_end_cannot_be_kept_ends_when_the_store_takes_it(fault: Exception) -> None:
    async def run_job(_job: Job, _image: bytes | None, _mask: bytes | None, _on_step: Listener) -> StoredResponse:
        return FINISHED

    store = FullStore(SqliteDatabase(None))
    store.fault = fault
    async with queue_of(run_job, store) as queue:
        job = await queue.submit(a_job())
        await until(lambda: store.refusals > 1, 5)
        assert await has_status(queue, job, "running")
        store.full = False
        await eventually(lambda: has_status(queue, job, "succeeded"))


async def test_a_cancellation_that_nobody_asked_for_fails_the_job() -> None:
    async def run_job(_job: Job, _image: bytes | None, _mask: bytes | None, _on_step: Listener) -> StoredResponse:
        raise asyncio.CancelledError

    async with queue_of(run_job) as queue:
        job = await queue.submit(a_job())
        await eventually(lambda: has_status(queue, job, "failed"))
        assert (await queue.find(job.id, "ann")).problem


async def test_jobs_survive_a_restart(tmp_path: Path) -> None:
    settings, engine = settings_for(tmp_path), FakeServingEngine()
    async with running(settings, engine) as gateway:
        done = await begin(gateway, "/restore?seed=1")
        await ended(gateway, done)
        engine.gate = asyncio.Event()
        undone = await begin(gateway, "/restore?seed=2")
        await engine.entered.wait()
    async with running(settings) as gateway:
        assert (await gateway.client.get(f"/jobs/{done['id']}")).json()["status"] == "succeeded"
        assert (await gateway.client.get(f"/jobs/{done['id']}/result")).status_code == 200
        assert events_of((await gateway.client.get(f"/jobs/{done['id']}/events")).text)[-1][1] == "result"
        assert (await ended(gateway, undone))["status"] == "succeeded"
        result = await gateway.client.get(f"/jobs/{undone['id']}/result")
        assert result.content == (await gateway.client.post("/restore?seed=2", content=file_of(pixels_of(24, 40)))).content


async def test_a_damaged_picture_fails_the_job_with_its_problem(gateway: RunningApp) -> None:
    job = await ended(gateway, await begin(gateway, content=file_of(pixels_of(64, 64))[:500]))
    assert (job["status"], job["problem"]["status"]) == ("failed", 400)
    events = events_of((await gateway.client.get(f"/jobs/{job['id']}/events")).text)
    assert [name for _, name, _ in events] == ["error"]


async def test_expired_jobs_are_forgotten(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, job_seconds=0.05)) as gateway:
        job = await begin(gateway)
        async with asyncio.timeout(20):
            while (await gateway.client.get(f"/jobs/{job['id']}")).status_code != 404:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await gateway.client.get(f"/jobs/{job['id']}/result")).status_code == 404


async def test_no_more_jobs_than_the_limit_wait(tmp_path: Path) -> None:
    engine = FakeServingEngine()
    async with running(settings_for(tmp_path, max_jobs=3, max_jobs_per_caller=3), engine) as gateway:
        engine.gate = asyncio.Event()
        for seed in range(3):
            await begin(gateway, f"/restore?seed={seed}")
        refused = await gateway.client.post("/restore", content=file_of(pixels_of(8, 8)), headers=LATER)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert len((await gateway.client.get("/jobs")).json()["jobs"]) == 3
        engine.gate.set()


async def test_a_job_tells_how_far_it_is_between_two_steps(settings: Any) -> None:
    """Of a picture in one step, by its tiles."""
    engine = FakeServingEngine(seconds=0.05)
    async with running(settings, engine) as gateway:
        job = await begin(gateway, "/restore?steps=1", content=file_of(pixels_of(500, 500)))
        assert (job["progress"], job["eta"]) == (None, None)
        seen = []
        async with asyncio.timeout(30):
            while (now := (await gateway.client.get(f"/jobs/{job['id']}")).json())["status"] != "succeeded":
                seen.append(now)
                await asyncio.sleep(0.05)
        between = [one for one in seen if one["step"] == 0 and one["progress"] not in {None, 0, 1}]
        assert between, seen
        assert between[-1]["eta"] > between[-1]["created_at"]
        assert (now["progress"], now["eta"]) == (1.0, None)


async def test_links_begin_with_the_address_that_callers_know(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, public_url="https://pictures.example.com/rddm")) as gateway:
        answer = await gateway.client.post("/restore", content=file_of(pixels_of(8, 8)), headers=LATER)
        base = f"https://pictures.example.com/rddm/jobs/{answer.json()['id']}"
        assert answer.headers["location"] == base
        assert answer.json()["links"] == {"self": base, "events": f"{base}/events", "result": f"{base}/result"}
