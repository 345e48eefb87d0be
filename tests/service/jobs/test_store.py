"""Jobs in either database: one gateway at a time has a job, and nothing is lost or done twice in the records."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from service.errors import Conflict, QueueFull
from service.jobs.deliveries import DeliveryStore
from service.jobs.queue import new_job
from service.jobs.store import Claim, Job, JobLimits, JobStore
from service.jobs.webhooks import message
from service.results.stored import StoredResponse
from service.storage import Database

LIMITS = JobLimits(jobs=4, of_one_caller=3, bytes=100, kept_seconds=60, patience_seconds=60)
FINISHED = StoredResponse(b"picture", "image/png", {"X-Seed": "0"})


def a_job(caller: str = "ann", **facts: Any) -> Job:
    usual = {"fingerprint": "", "bytes": 1}
    return new_job(caller=caller, kind="restore", parameters="{}", accept=None, as_json=False, **(usual | facts))


@pytest.fixture
async def store(database: Database) -> JobStore:
    await DeliveryStore(database).open()
    store = JobStore(database)
    await store.open()
    return store


async def claimed(store: JobStore, owner: str = "here", lease: float = 60) -> Claim:
    claim = await store.claim(owner, lease)
    assert claim is not None
    return claim


async def test_jobs_are_claimed_in_the_order_in_which_they_came(store: JobStore) -> None:
    jobs = [(await store.submit(replace(a_job(), created=1000.0 + k), b"image", None, LIMITS))[0] for k in (1, 0, 2)]
    order = [(await claimed(store)).job.id for _ in jobs]
    assert order == [jobs[1].id, jobs[0].id, jobs[2].id]
    assert await store.claim("here", 60) is None
    assert await store.sources(jobs[0].id) == (b"image", None)


async def test_a_job_is_claimed_by_one_of_many(store: JobStore) -> None:
    await store.submit(a_job(), None, None, LIMITS)
    claims = await asyncio.gather(*(store.claim(f"gateway {k}", 60) for k in range(8)))
    assert sum(claim is not None for claim in claims) == 1


async def test_a_job_whose_gateway_no_longer_renews_is_taken_over_and_only_its_new_one_ends_it(store: JobStore) -> None:
    await store.submit(a_job(), None, None, LIMITS)
    first = await claimed(store, "dead", lease=60)
    assert await store.claim("here", 60) is None
    await store.renew("dead", 0, {first.job.id: (first.job, {"step": 1})})
    await asyncio.sleep(0.01)
    second = await claimed(store, "here")
    assert (second.job.id, second.losses) == (first.job.id, 1)
    assert second.job.started == first.job.started
    assert not await store.finish("dead", first.job, FINISHED)
    assert await store.finish("here", first.job, FINISHED)
    assert await store.answer(first.job.id) == FINISHED


async def test_renewing_keeps_a_job_and_tells_of_those_that_are_gone(store: JobStore) -> None:
    for _ in range(2):
        await store.submit(a_job(), None, None, LIMITS)
    kept, gone = [(await claimed(store, lease=0.05)).job for _ in range(2)]
    await store.remove(gone.id)
    reports = {job.id: (job, {"step": 1}) for job in (kept, gone)}
    assert await store.renew("here", 60, reports) == {kept.id}
    await asyncio.sleep(0.1)
    assert await store.claim("there", 60) is None
    assert await store.last_event(kept.id) == {"step": 1}


async def test_a_job_that_is_given_back_waits_for_its_pause(store: JobStore) -> None:
    await store.submit(a_job(), None, None, LIMITS)
    claim = await claimed(store)
    await store.release("here", claim.job, 0.2)
    assert await store.claim("there", 60) is None
    await asyncio.sleep(0.3)
    again = await claimed(store, "there")
    assert (again.job.id, again.losses) == (claim.job.id, 0)


async def test_limits_count_what_is_unfinished(store: JobStore) -> None:
    for _ in range(3):
        await store.submit(a_job(), None, None, LIMITS)
    with pytest.raises(QueueFull, match="3 jobs"):
        await store.submit(a_job(), None, None, LIMITS)
    with pytest.raises(QueueFull, match="over 100 bytes"):
        await store.submit(a_job("bob", bytes=98), None, None, LIMITS)
    await store.submit(a_job("bob"), None, None, LIMITS)
    with pytest.raises(QueueFull, match="4 jobs"):
        await store.submit(a_job("cid"), None, None, LIMITS)
    claim = await claimed(store)
    await store.finish("here", replace(claim.job, status="succeeded"), FINISHED)
    await store.submit(a_job("cid"), None, None, LIMITS)


async def test_a_key_that_comes_often_at_once_makes_one_job(store: JobStore) -> None:
    jobs = await asyncio.gather(*(store.submit(a_job(key="once"), None, None, LIMITS) for _ in range(8)))
    assert len({job.id for job, _ in jobs}) == 1
    with pytest.raises(Conflict):
        await store.submit(a_job(key="once", fingerprint="other"), None, None, LIMITS)
    other, _ = await store.submit(a_job("bob", key="once"), None, None, LIMITS)
    assert other.id != jobs[0][0].id


async def test_what_a_webhook_sends_is_written_with_what_it_speaks_of(store: JobStore, database: Database) -> None:
    deliveries = DeliveryStore(database)
    await store.submit(a_job(webhook="https://hooks.example/"), None, None, LIMITS)
    claim = await store.claim("here", 60, lambda job: [message(job.id, job.webhook or "", "started", {})])
    assert claim is not None
    ended = message(claim.job.id, "https://hooks.example/", "succeeded", {})
    assert not await store.finish("somebody else", claim.job, FINISHED, [ended])
    assert await deliveries.count() == 1
    await store.finish("here", claim.job, FINISHED, [ended])
    assert [one.id for one in await deliveries.claim()] == [f"{claim.job.id}-started", f"{claim.job.id}-succeeded"]
    assert await deliveries.claim() == []  # somebody is sending them


async def test_a_delivery_is_there_until_it_is_confirmed(store: JobStore, database: Database) -> None:
    deliveries = DeliveryStore(database)
    await store.submit(a_job(), None, None, LIMITS)
    await store.claim("here", 60, lambda job: [message(job.id, "https://hooks.example/", "started", {})])
    [first] = await deliveries.claim()
    await deliveries.postpone(first, 0)
    [again] = await deliveries.claim()
    assert (again.id, again.body, first.attempts, again.attempts) == (first.id, first.body, 1, 2)
    await deliveries.remove(again)
    assert await deliveries.count() == 0


async def test_clips_are_claimed_by_a_gateway_that_has_their_file(store: JobStore) -> None:
    clip, _ = await store.submit(replace(a_job(), kind="video"), None, None, LIMITS)
    assert await store.claim("here", 60) is None  # looks for pictures
    assert await store.claim("here", 60, clips=True, can_do=lambda _: False) is None
    claim = await store.claim("there", 60, clips=True, can_do=lambda job: job.id == clip.id)
    assert claim is not None
    assert claim.job.id == clip.id


async def test_old_jobs_that_make_room_are_named(store: JobStore) -> None:
    ended = []
    for _ in range(2 * LIMITS.jobs):
        job, forgotten = await store.submit(a_job(), None, None, LIMITS)
        assert forgotten == []
        claim = await claimed(store)
        await store.finish("here", replace(claim.job, status="succeeded"), FINISHED)
        ended.append(job.id)
    _, forgotten = await store.submit(a_job(), None, None, LIMITS)
    assert forgotten == ended[:1]
