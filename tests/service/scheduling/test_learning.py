"""Nothing is measured before the first answer; batch sizes are proven in idle moments, and no request waits for a proof."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.errors import EngineUnavailable
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling import learning
from service.scheduling.batch import BatchSizes
from service.scheduling.learned import LearnedFile
from service.scheduling.scheduler import Scheduler
from tests.service.fakes import FakeEngine, model_of, picture

MODEL = model_of()


@pytest.fixture(autouse=True)
def _idle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "IDLE_SECONDS", 0.02)


@asynccontextmanager
async def running(engine: FakeEngine, file: LearnedFile | None = None) -> AsyncIterator[tuple[Pipeline, Scheduler]]:
    scheduler = Scheduler(engine, engine.instances, file=file, filled_rows=4)
    scheduler.introduce(MODEL)
    pipeline = Pipeline(scheduler, scheduler)
    try:
        yield pipeline, scheduler
    finally:
        pipeline.close()
        await scheduler.close()


def work(seed: int = 0, steps: int = 2) -> Work:
    return Work(MODEL, steps, seed, f"r{seed}", "c", picture(64, 64))


async def proven(file: LearnedFile) -> BatchSizes:
    """What the file says of the model, once it does."""
    async with asyncio.timeout(20):
        while (sizes := file.get(MODEL.digest)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return sizes


@pytest.fixture
def file(tmp_path: Path) -> LearnedFile:
    return LearnedFile(tmp_path / "learned.json", "fake")


def proofs(engine: FakeEngine) -> int:
    return sum(ticket.request == "proof" for _, ticket in engine.calls)


async def test_the_first_picture_makes_its_own_calls_and_no_others(file: LearnedFile) -> None:
    engine = FakeEngine()
    async with running(engine, file) as (pipeline, _):
        assert engine.calls == []
        await pipeline.run(work(steps=3))
        assert [rows for rows, _ in engine.calls] == [1, 1, 1]
        assert proofs(engine) == 0
        await proven(file)
        assert proofs(engine) > 0


async def test_a_model_that_nobody_uses_is_not_proven() -> None:
    engine = FakeEngine()
    async with running(engine) as (_, scheduler):
        scheduler.learner.rest()
        await asyncio.sleep(0.1)
        assert engine.calls == []


async def test_batches_are_used_once_they_are_proven(file: LearnedFile) -> None:
    engine = FakeEngine(0.02, 0.00001)
    async with running(engine, file) as (pipeline, _):
        await asyncio.gather(*(pipeline.run(work(seed)) for seed in range(8)))
        assert max(rows for rows, _ in engine.calls) == 1
        await proven(file)
        engine.calls.clear()
        await asyncio.gather(*(pipeline.run(work(seed)) for seed in range(8)))
        assert max(rows for rows, _ in engine.calls) > 1


async def test_a_request_ends_the_proofs_call_and_does_not_wait_for_it() -> None:
    class Slow(FakeEngine):
        async def predict(self, x_t, condition, time, ticket):
            self.fixed = 30.0 if ticket.request == "proof" else 0.0
            return await super().predict(x_t, condition, time, ticket)

    engine = Slow()
    async with running(engine) as (pipeline, _):
        await pipeline.run(work())
        while not proofs(engine):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        start = time.monotonic()
        await pipeline.run(work(1))
        assert time.monotonic() - start < 10
        assert engine.cancelled == 1


async def test_a_second_process_knows_what_the_first_one_proved(file: LearnedFile) -> None:
    async with running(FakeEngine(0.02, 0.00001), file) as (pipeline, _):
        await pipeline.run(work())
        sizes = await proven(file)
    assert sizes.rows > 1
    engine = FakeEngine(0.02, 0.00001)
    async with running(engine, file) as (pipeline, scheduler):
        assert scheduler.learner.sizes_of(MODEL.weights) == sizes
        await pipeline.run(work())
        await asyncio.sleep(0.1)
        assert proofs(engine) == 0


async def test_sizes_that_change_bytes_count_from_the_next_start_on(file: LearnedFile) -> None:
    async with running(FakeEngine(0.02, 0.00001, coupled=True), file) as (pipeline, scheduler):
        first = await pipeline.run(work())
        assert (await proven(file)).fills
        assert (await pipeline.run(work())).x_0.tobytes() == first.x_0.tobytes()
        assert not scheduler.learner.sizes_of(MODEL.weights).fills
    async with running(FakeEngine(0.02, 0.00001, coupled=True), file) as (pipeline, scheduler):
        assert scheduler.learner.sizes_of(MODEL.weights).fills
        alone = (await pipeline.run(work())).x_0.tobytes()
        together = await asyncio.gather(*(pipeline.run(work(seed)) for seed in range(4)))
        assert together[0].x_0.tobytes() == alone


async def test_before_the_first_start_they_are_proven_at_once_where_that_is_asked_for() -> None:
    async with running(FakeEngine(0.02, 0.00001, coupled=True)) as (_, scheduler):
        await scheduler.learner.prove_all()
        assert scheduler.learner.sizes_of(MODEL.weights).fills


async def test_an_engine_that_fails_a_proof_serves_single_rows() -> None:
    class Failing(FakeEngine):
        async def predict(self, x_t, condition, time, ticket):
            if ticket.request == "proof":
                raise EngineUnavailable("no engine answers")
            return await super().predict(x_t, condition, time, ticket)

    async with running(Failing()) as (pipeline, scheduler):
        await scheduler.learner.prove_all()
        await pipeline.run(work())
        assert scheduler.learner.sizes_of(MODEL.weights).rows == 1
