"""A batch size is used only if it pays and keeps every row's bytes; an attempt that is cut short is not lost."""

import pytest

from service.engines.arrays import HOST
from service.scheduling.batch import BatchSizes
from service.scheduling.proof import Probe, prove
from tests.service.fakes import FakeEngine, model_of


class StatedTimes(Probe):
    """Takes a call's seconds from the fake engine's fields instead of a clock."""

    async def seconds(self, count: int) -> float:
        await self.call(*self.rows(count))
        return self.engine.fixed + self.engine.each * count


async def proven(engine: FakeEngine, filled_rows: int = 4) -> BatchSizes:
    return await prove(StatedTimes(engine, model_of(), HOST), filled_rows)


@pytest.mark.parametrize(
    ("engine", "rows"),
    [
        (FakeEngine(0.01, 0.0001), 16),
        (FakeEngine(0.0, 0.001), 1),
        (FakeEngine(0.001, 0.002), 8),
        (FakeEngine(0.01, 0.0001, memory=5), 4),
        (FakeEngine(0.01, 0.0001, memory=1), 1),
    ],
    ids=["gains much", "gains nothing", "gains up to eight rows", "short of memory", "room for one"],
)
async def test_the_largest_size_that_pays_is_found(engine: FakeEngine, rows: int) -> None:
    assert await proven(engine) == BatchSizes(rows, rows * 64 * 64)


@pytest.mark.parametrize("each", [0.0001, 0.001, 0.1], ids=["gains much", "gains a little", "gains nothing"])
async def test_where_bytes_depend_on_the_size_the_engine_says_what_it_is_and_no_seconds_do(each: float) -> None:
    engine = FakeEngine(0.001, each, coupled=True)
    assert await proven(engine, filled_rows=4) == BatchSizes(4, 4 * 64 * 64, fills=True)
    assert await proven(engine, filled_rows=1) == BatchSizes(1, 64 * 64)


async def test_rows_that_disturb_one_another_are_called_by_themselves() -> None:
    class Leaking(FakeEngine):
        def answer(self, x_t, condition, time, k):
            return super().answer(x_t, condition, time, k) + x_t.mean()

    assert (await proven(Leaking(0.01, 0.0001))).rows == 1
