"""Several gateways on one PostgreSQL: any answers for any job, and the jobs of one that is killed are done by another."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import file_of, pixels_of, running, settings_for
from tests.service.jobs.replicas import kill_one_of_two
from tests.service.jobs.test_queue import LATER, begin, events_of
from tests.service.serving import FakeServingEngine


def sharing(tmp_path: Path, url: str, **changes: Any) -> Any:
    return settings_for(tmp_path, jobs_file=None, database_url=url, **changes)


async def check_kill(tmp_path: Path, url: str, jobs: int, seconds: float, lease: float, patience: float) -> None:
    outcome = await kill_one_of_two(tmp_path, url, jobs, seconds, lease, patience)
    ids = [one for half in outcome.jobs.values() for one in half]
    assert len(set(ids)) == len(outcome.results) == jobs
    assert outcome.done_by_kill < jobs
    assert len(set(outcome.results.values())) == jobs  # each its own picture
    async with running(settings_for(tmp_path)) as alone:
        for seed in (0, jobs // 2, jobs - 1):
            direct = await alone.client.post("/restore?steps=2", content=file_of(pixels_of(16, 24, seed=seed)))
            assert direct.is_success, direct.text
            assert outcome.results[ids[seed]] == direct.content
    for one in ids:
        assert outcome.messages[f"{one}-started"] >= 1
        assert outcome.messages[f"{one}-succeeded"] >= 1
    assert set(outcome.messages) == {f"{one}-{event}" for one in ids for event in ("started", "succeeded")}


@pytest.mark.timeout(280)
async def test_a_killed_gateways_jobs_are_done_and_given_by_the_other(tmp_path: Path, postgres_url: str) -> None:
    await check_kill(tmp_path, postgres_url, jobs=24, seconds=0.1, lease=3.0, patience=200)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_500_jobs_of_two_gateways_one_of_which_is_killed(tmp_path: Path, postgres_url: str) -> None:
    await check_kill(tmp_path, postgres_url, jobs=500, seconds=0.15, lease=15.0, patience=1500)


async def test_any_gateway_answers_for_any_job(tmp_path: Path, postgres_url: str) -> None:
    engine = FakeServingEngine()
    engine.gate = asyncio.Event()
    async with running(sharing(tmp_path, postgres_url), engine) as first:
        job = await begin(first, "/restore?steps=3&seed=5", headers={"Idempotency-Key": "once"})
        await engine.entered.wait()
        async with running(sharing(tmp_path, postgres_url)) as second:
            assert (await second.client.get(f"/jobs/{job['id']}")).json()["status"] == "running"
            again = await begin(second, "/restore?steps=3&seed=5", headers={"Idempotency-Key": "once"})
            assert again["id"] == job["id"]
            assert (await second.client.get(f"/jobs/{job['id']}/result")).status_code == 409
            following = asyncio.create_task(second.client.get(f"/jobs/{job['id']}/events"))
            engine.gate.set()
            events = events_of((await following).text)
            assert events[-1][:2] == (4, "result")
            assert [name for _, name, _ in events[:-1]] == ["step"] * (len(events) - 1)
            result = await second.client.get(f"/jobs/{job['id']}/result")
            direct = await second.client.post("/restore?steps=3&seed=5", content=file_of(pixels_of(24, 40)))
            assert result.content == direct.content
            place = direct.headers["content-location"]
            assert (await first.client.get(place)).content == direct.content


async def test_a_job_is_cancelled_by_any_gateway(tmp_path: Path, postgres_url: str) -> None:
    engine = FakeServingEngine()
    engine.gate = asyncio.Event()
    async with running(sharing(tmp_path, postgres_url), engine) as first:
        job = await begin(first)
        await engine.entered.wait()
        async with running(sharing(tmp_path, postgres_url)) as second:
            assert (await second.client.delete(f"/jobs/{job['id']}")).json()["status"] == "cancelled"
            assert (await second.client.get(f"/jobs/{job['id']}")).status_code == 404
        async with asyncio.timeout(20):
            while first.state.drain.working:  # noqa: ASYNC110 (until it is heard)
                await asyncio.sleep(0.05)
        assert (await first.client.get(f"/jobs/{job['id']}")).status_code == 404


async def test_a_gateway_that_stops_gives_its_jobs_to_another_at_once(tmp_path: Path, postgres_url: str) -> None:
    engine = FakeServingEngine()
    engine.gate = asyncio.Event()
    async with running(sharing(tmp_path, postgres_url)) as second:
        async with running(sharing(tmp_path, postgres_url), engine) as first:
            second.state.drain.closing = True  # takes nothing up
            job = await begin(first)
            await engine.entered.wait()
        second.state.drain.closing = False
        async with asyncio.timeout(10):  # less than a lease
            while (await second.client.get(f"/jobs/{job['id']}")).json()["status"] != "succeeded":  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_job_that_kills_every_gateway_is_given_up(tmp_path: Path, postgres_url: str) -> None:
    from service.jobs.store import JobStore  # noqa: PLC0415
    from service.storage import open_database  # noqa: PLC0415

    database = open_database(postgres_url, Path(), named=False)
    store = JobStore(database)
    async with running(sharing(tmp_path, postgres_url)) as gateway:
        gateway.state.drain.closing = True
        refused = gateway.client.post("/restore", content=file_of(pixels_of(8, 8)), headers=LATER)
        assert (await refused).status_code == 503
        gateway.state.drain.closing = False
        engine = gateway.engine
        engine.gate = asyncio.Event()
        job = await begin(gateway)
        await engine.entered.wait()
        # Gateways that died with it, as the store remembers them.
        await database.run(lambda tx: tx.execute("update rddm_jobs set losses = 3, lease = 0, owner = 'dead'"))
        engine.gate.set()
        async with asyncio.timeout(20):
            while (now := (await gateway.client.get(f"/jobs/{job['id']}")).json())["status"] != "failed":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert "4 gateways ended" in now["problem"]["detail"]
    assert await store.job(job["id"]) is not None
    await database.aclose()
