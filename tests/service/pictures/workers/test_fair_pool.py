"""Few things, many callers: fair order, and nothing is lost when somebody leaves."""

import asyncio

import pytest

from service.pictures.workers.fair_pool import FairPool


async def test_a_caller_with_one_request_does_not_wait_for_all_of_anothers() -> None:
    turns: FairPool[str] = FairPool()
    order: list[str] = []

    async def use(caller: str, request: str) -> None:
        thing = await turns.wait(caller, request, 1.0)
        order.append(caller)
        turns.put(thing)

    tasks = [asyncio.create_task(use("ann", f"r{i}")) for i in range(6)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(use("bob", "r")))
    await asyncio.sleep(0)
    turns.put("worker")
    await asyncio.gather(*tasks)
    assert order.index("bob") <= 1
    assert len(turns) == 1


async def test_a_caller_that_leaves_while_waiting_or_as_it_is_served_takes_nothing_along() -> None:
    turns: FairPool[str] = FairPool()
    early, late, last = (asyncio.create_task(turns.wait("c", f"r{i}", 1.0)) for i in range(3))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.sleep(0)
    turns.put("worker")
    late.cancel()
    assert await last == "worker"
    for task in (early, late):
        with pytest.raises(asyncio.CancelledError):
            await task
    turns.put("worker")
    assert turns.take() == "worker"
    with pytest.raises(IndexError):
        turns.take()
