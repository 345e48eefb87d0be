"""A clip's worker processes."""

import asyncio
from typing import Any

import pytest

from service.errors import EngineUnavailable
from service.pictures.workers.pool import Worker
from service.video.process import ProcessLimits, open_processes

LIMITS = ProcessLimits(1 << 31, 1 << 20, 60.0)


def test_processes_that_are_opened_together_all_start_before_the_first_has_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    start, ask = Worker.start, Worker.ask

    async def started(*given: Any) -> Worker:
        events.append("start")
        return await start(*given)

    async def asked(worker: Worker, facts: dict[str, Any]) -> dict[str, Any]:
        events.append("ask")
        return await ask(worker, facts)

    async def use() -> None:
        async with open_processes(LIMITS, LIMITS) as (one, other):
            assert one is not other

    monkeypatch.setattr(Worker, "start", started)
    monkeypatch.setattr(Worker, "ask", asked)
    asyncio.run(use())
    assert events == ["start", "start", "ask", "ask"]


def test_where_one_process_cannot_start_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Worker] = []
    start = Worker.start

    async def first_only(*given: Any) -> Worker:
        if begun:
            raise OSError("no more processes")
        begun.append(await start(*given))
        return begun[0]

    async def use() -> None:
        async with open_processes(LIMITS, LIMITS):
            pytest.fail("opened")

    monkeypatch.setattr(Worker, "start", first_only)
    with pytest.raises(EngineUnavailable):
        asyncio.run(use())
    assert begun[0].process.returncode is not None
