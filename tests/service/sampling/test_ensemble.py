"""An ensemble of flips averages four results that lie alike, in the same bytes whoever shares its batches."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from rddm.image import to_pixels
from service.errors import EngineUnavailable
from service.sampling.ensemble import FLIPS, FlipEnsemble, flipped, turned
from service.sampling.pipeline import Pipeline
from service.sampling.work import MEMBERS, Listener, Result, Step, Work
from service.scheduling.scheduler import Scheduler
from tests.service.fakes import FakeEngine, model_of, picture


def work_of(height: int, width: int) -> Work:
    return Work(model_of(), 2, 0, "request", "caller", picture(height, width) * np.float32(0.4), flips=True)


class Slanted:
    """Adds a slope from left to right to whatever lies there: an error that depends on how the picture lies."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.fault: Exception | None = None

    async def run(self, work: Work, on_step: Listener | None = None) -> Result:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if self.fault is not None:
            raise self.fault
        assert work.x_in is not None
        slope = np.linspace(-0.5, 0.5, work.size[1], dtype=np.float32)
        x_0 = work.x_in + slope
        for step in range(work.steps):
            if on_step is not None:
                on_step(Step(step + 1, work.steps, x_0))
        return Result(to_pixels(x_0, work.depth), x_0, residual=x_0 - work.x_in, trace=(work.x_in, x_0))


async def test_errors_that_depend_on_how_a_picture_lies_cancel() -> None:
    work = work_of(40, 30)
    result = await FlipEnsemble(Slanted()).run(work)
    assert work.x_in is not None
    np.testing.assert_allclose(result.x_0, work.x_in, atol=1e-6)
    np.testing.assert_array_equal(result.pixels, to_pixels(work.x_in))
    assert result.residual is not None
    np.testing.assert_allclose(result.residual, 0, atol=1e-6)
    np.testing.assert_allclose(result.trace[0], work.x_in, atol=1e-6)


async def test_work_without_flips_passes_as_it_is() -> None:
    work = replace(work_of(40, 30), flips=False)
    plain = await Slanted().run(work)
    same = await FlipEnsemble(Slanted()).run(work)
    np.testing.assert_array_equal(same.x_0, plain.x_0)


@pytest.mark.parametrize(("side", "at_once"), [(40, MEMBERS), (600, 1)])
async def test_small_pictures_run_together_and_large_ones_in_turn(side: int, at_once: int) -> None:
    sampler = Slanted()
    await FlipEnsemble(sampler).run(work_of(side, side))
    assert sampler.most == at_once


async def test_a_step_is_heard_once_all_four_have_done_it() -> None:
    heard: list[int] = []
    await FlipEnsemble(Slanted()).run(work_of(40, 30), lambda step: heard.append(step.step))
    assert heard == [1, 2]


async def test_the_error_of_one_is_the_error_of_all() -> None:
    sampler = Slanted()
    sampler.fault = EngineUnavailable("gone")
    with pytest.raises(EngineUnavailable, match="gone"):
        await FlipEnsemble(sampler).run(work_of(40, 30))


def test_a_mask_is_mirrored_with_its_picture() -> None:
    work = replace(work_of(4, 6), mask=picture(4, 6))
    for axes in FLIPS:
        mirrored = turned(work, axes)
        assert mirrored.mask is not None
        assert work.mask is not None
        np.testing.assert_array_equal(flipped(mirrored.mask, axes), work.mask)
        assert not mirrored.flips


def test_the_load_is_four_times_that_of_the_picture() -> None:
    work = work_of(40, 30)
    assert work.megapixel_steps == 4 * replace(work, flips=False).megapixel_steps


async def test_the_bytes_are_the_same_alone_and_in_company() -> None:
    engine = FakeEngine()
    scheduler = Scheduler(engine)
    scheduler.introduce(model_of())
    pipeline = Pipeline(scheduler, scheduler)
    try:
        ensemble = FlipEnsemble(pipeline)
        alone = await ensemble.run(work_of(64, 64))
        others = [replace(work_of(64, 64), request=f"other-{k}", x_in=picture(64, 64) * np.float32(0.5)) for k in range(3)]
        first, *_ = await asyncio.gather(ensemble.run(work_of(64, 64)), *(ensemble.run(other) for other in others))
    finally:
        pipeline.close()
        await scheduler.close()
    np.testing.assert_array_equal(first.pixels, alone.pixels)
    np.testing.assert_array_equal(first.x_0, alone.x_0)
