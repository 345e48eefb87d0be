"""A batch size is used only if it pays and keeps every row's bytes; an attempt that is cut short is not lost."""

import asyncio

import pytest

from service.engines.arrays import HOST
from service.scheduling.batch_sizes import BatchSizes
from service.scheduling.proof import TRIALS, Probe, Trials, prove
from tests.service.fakes import FakeEngine, model_of


class StatedTimes(Probe):
    """Takes a call's seconds from the fake engine's fields instead of a clock."""

    async def seconds(self, count: int) -> float:
        await self.call(*self.rows(count))
        return self.engine.fixed + self.engine.each * count


async def proven(engine: FakeEngine, trials: Trials | None = None) -> BatchSizes:
    return await prove(StatedTimes(engine, model_of(), HOST), {} if trials is None else trials)


@pytest.mark.parametrize(
    ("engine", "largest", "fills"),
    [
        (FakeEngine(0.01, 0.0001), 16, False),
        (FakeEngine(0.0, 0.001), 1, False),
        (FakeEngine(0.001, 0.002), 8, False),
        (FakeEngine(0.01, 0.0001, memory=5), 4, False),
        (FakeEngine(0.01, 0.001, coupled=True), 8, True),
    ],
    ids=["gains much", "gains nothing", "gains up to eight rows", "short of memory", "bytes depend on the size"],
)
async def test_the_largest_size_that_pays_is_found(engine: FakeEngine, largest: int, fills: bool) -> None:
    sizes = await proven(engine)
    assert (sizes.largest, sizes.fills, sizes.is_settled) == (largest, fills, True)
    assert sizes.usual_pixels == 64 * 64


async def test_rows_that_disturb_one_another_are_called_by_themselves() -> None:
    class Leaking(FakeEngine):
        def answer(self, x_t, condition, time, k):
            return super().answer(x_t, condition, time, k) + x_t.mean()

    assert (await proven(Leaking(0.01, 0.0001))).largest == 1


async def test_an_attempt_that_is_cancelled_is_continued() -> None:
    engine, trials = FakeEngine(0.0, 0.02), {}
    attempt = asyncio.create_task(proven(engine, trials))
    while len(trials.get(1, [])) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    before = len(trials[1])
    assert 2 <= before <= TRIALS
    calls = len(engine.calls)
    await proven(engine, trials)
    singles = [rows for rows, _ in engine.calls[calls:]].count(1)
    assert singles == TRIALS - before
