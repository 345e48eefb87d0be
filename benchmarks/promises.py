"""The scheduler's promises, tested on a real engine: equal bytes alone and in any mix, nothing left after cancellations."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.pictures import darkened, scene, to_x_in
from service.engines.arrays import HOST
from service.engines.contract import Model
from service.engines.embedded.engine import EmbeddedEngine
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling.batch import BatchSizes
from service.scheduling.proof import Probe, has_same_bytes
from service.scheduling.scheduler import Scheduler

SIDES = ((64, 64), (64, 64), (33, 70), (120, 64), (150, 200))
POOL = 24  # different works, of which mixes are drawn
LONGEST = 0.3  # seconds after which, at most, a caller of the cancellation test leaves


@dataclass(eq=False)
class Setup:
    """A scheduler that knows its batch sizes, on the embedded engine, the model with small tiles, and the rows of every call."""

    engine: EmbeddedEngine
    pipeline: Pipeline
    scheduler: Scheduler
    model: Model
    rows: list[int]


@asynccontextmanager
async def opened(folder: Path, name: str, largest: int) -> AsyncIterator[Setup]:
    """largest: a batch size to use even if it does not pay on this machine, so that mixed batches are what is tested."""
    engine = EmbeddedEngine(folder)
    rows: list[int] = []
    await engine.start()
    shipped = engine.models()[name]
    model = replace(shipped, spec=shipped.spec.model_copy(update={"sizes": ((64, 64),), "reach": 16}))
    scheduler = Scheduler(engine, engine.instances, on_call=lambda _model, count, _seconds, _waited: rows.append(count))
    pipeline = Pipeline(scheduler, scheduler)
    fills = not await has_same_bytes(Probe(engine, model, HOST), largest)
    scheduler.learner.sizes[model.weights] = BatchSizes(largest, largest * 64 * 64, fills)
    try:
        yield Setup(engine, pipeline, scheduler, model, rows)
    finally:
        pipeline.close()
        await scheduler.close()
        await engine.close()


def works(model: Model, draw: random.Random) -> list[Work]:
    """Different pictures, sizes, steps, seeds and callers."""
    most = min(model.spec.max_steps, 5)
    made = []
    for k in range(POOL):
        x_in = to_x_in(darkened(scene(*draw.choice(SIDES), seed=k, discs=40), draw.uniform(0, 6), seed=k))
        steps = draw.randint(model.spec.min_steps, most)
        made.append(Work(model, steps, draw.randrange(2**63), f"r{k}", f"c{draw.randrange(6)}", x_in))
    return made


@dataclass(frozen=True)
class Mixes:
    """mixes, of how many pictures in all; different: results whose bytes changed; rows: mean and most of a call."""

    mixes: int
    pictures: int
    different: int
    mean_rows: float
    most_rows: int
    exact: bool


async def alone_and_mixed(folder: Path, name: str, mixes: int = 200, largest: int = 8) -> Mixes:
    """Random mixes of works, each compared byte for byte with what it gives alone."""
    draw = random.Random(0)
    async with opened(folder, name, largest) as place:
        pool = works(place.model, draw)
        alone = {work.request: (await place.pipeline.run(work)).x_0.tobytes() for work in pool}
        place.rows.clear()
        different = pictures = 0
        for _ in range(mixes):
            chosen = draw.sample(pool, draw.randint(2, 8))
            results = await asyncio.gather(*(_later(place.pipeline, work, draw.random() * 0.02) for work in chosen))
            different += sum(got != alone[work.request] for got, work in zip(results, chosen, strict=True))
            pictures += len(chosen)
        sizes = place.scheduler.learner.sizes_of(place.model.weights)
        exact = await has_same_bytes(Probe(place.engine, place.model, HOST), sizes.rows, sizes.filled(1, 64 * 64))
        return Mixes(mixes, pictures, different, sum(place.rows) / len(place.rows), max(place.rows), exact)


async def _later(pipeline: Pipeline, work: Work, seconds: float) -> bytes:
    await asyncio.sleep(seconds)
    return (await pipeline.run(work)).x_0.tobytes()


@dataclass(frozen=True)
class Cancellations:
    """asked, of which cancelled before they were done; left: what the scheduler and the event loop still hold afterwards."""

    asked: int
    cancelled: int
    pending: float
    waiting: int
    running: int
    tasks: int
    idle: bool
    answers_after: bool


async def cancellations(folder: Path, name: str, count: int = 1000, at_once: int = 16) -> Cancellations:
    """Callers that leave at random moments, some at once; then one that stays."""
    draw = random.Random(1)
    async with opened(folder, name, 8) as place:
        pool = works(place.model, draw)
        before, cancelled = len(asyncio.all_tasks()), 0
        gate = asyncio.Semaphore(at_once)

        async def leave(index: int) -> bool:
            async with gate:
                work = replace(draw.choice(pool), request=f"leaves-{index}")
                task = asyncio.create_task(place.pipeline.run(work))
                await asyncio.sleep(draw.random() * LONGEST)
                task.cancel()
                done = await asyncio.gather(task, return_exceptions=True)
                return isinstance(done[0], asyncio.CancelledError)

        cancelled = sum(await asyncio.gather(*(leave(index) for index in range(count))))
        await _settled(place.scheduler)
        scheduler, tasks = place.scheduler, len(asyncio.all_tasks()) - before
        held = (scheduler.pending, scheduler.waiting, scheduler.running, tasks, scheduler.idle)
        stays = await place.pipeline.run(pool[0])
        return Cancellations(count, cancelled, *held, stays.x_0.shape[0] == 1)


async def _settled(scheduler: Scheduler, seconds: float = 5.0) -> None:
    """Calls that were cancelled stop at the network's next node."""
    for _ in range(int(seconds / 0.01)):
        if not scheduler.running:
            return
        await asyncio.sleep(0.01)
