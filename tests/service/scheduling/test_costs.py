"""Costs are learnt from real calls: by model and kind of call, unknown before the first; and what one gateway does a second."""

import math

import pytest

from rddm.model import Weights
from service.engines.contract import LARGE_PIXELS, WIDE_PIXELS
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling.costs import Costs, is_large, is_wide
from service.scheduling.scheduler import Scheduler
from tests.service.fakes import FakeEngine, model_of, picture

WEIGHTS = Weights("m", 1, "none")
SHAPE = (WEIGHTS, 100, 200)
WIDE = (WEIGHTS, 400, 500)
LARGE = (WEIGHTS, 1000, 1000)


def test_kinds_of_calls_are_known_by_their_pixels() -> None:
    assert SHAPE[1] * SHAPE[2] < WIDE_PIXELS < WIDE[1] * WIDE[2] < LARGE_PIXELS < LARGE[1] * LARGE[2]
    assert [is_wide(shape) for shape in (SHAPE, WIDE, LARGE)] == [False, True, True]
    assert [is_large(shape) for shape in (SHAPE, WIDE, LARGE)] == [False, False, True]


def test_before_the_first_call_nothing_is_known() -> None:
    assert math.isnan(Costs().seconds_per_megapixel(SHAPE))
    assert Costs().capacity(4) == 0


def test_a_call_costs_by_its_pixels() -> None:
    costs = Costs()
    costs.record(SHAPE, 2, 0.08)
    assert costs.seconds_per_megapixel(SHAPE) == pytest.approx(2.0)
    assert costs.seconds_per_megapixel(WIDE) == pytest.approx(2.0)
    assert costs.seconds_per_megapixel(LARGE) == pytest.approx(2.0)
    assert math.isnan(costs.seconds_per_megapixel((WEIGHTS._replace(version=2), 100, 200)))


def test_a_large_call_on_its_own_threads_says_nothing_of_small_ones() -> None:
    costs = Costs()
    costs.record(SHAPE, 1, 0.04)
    costs.record(LARGE, 1, 30.0)
    assert costs.seconds_per_megapixel(SHAPE) == pytest.approx(2.0)
    assert costs.seconds_per_megapixel(LARGE) == pytest.approx(30.0)


def test_a_call_of_all_cores_says_nothing_of_one_beside_others_nor_of_small_ones() -> None:
    costs = Costs()
    costs.record(WIDE, 1, 0.2, exclusive=True)
    assert math.isnan(costs.seconds_per_megapixel(WIDE))
    costs.record(WIDE, 1, 0.4)
    assert costs.seconds_per_megapixel(WIDE) == pytest.approx(2.0)
    assert costs.seconds_per_megapixel(WIDE, exclusive=True) == pytest.approx(1.0)
    assert costs.seconds_per_megapixel(SHAPE, exclusive=True) == pytest.approx(2.0)


def test_a_running_mean_follows_slowly() -> None:
    costs = Costs()
    costs.record(SHAPE, 1, 1.0)
    costs.record(SHAPE, 1, 2.0)
    assert costs.seconds_per_megapixel(SHAPE) == pytest.approx(1.1 / 0.02)


def test_instances_side_by_side_do_as_many_times_as_much() -> None:
    costs = Costs()
    for _ in range(3):
        costs.record((WEIGHTS, 500, 1000), 1, seconds=1.0)
    assert costs.capacity(4) == pytest.approx(2)


def test_a_call_that_had_every_instance_counts_as_the_whole_engine() -> None:
    costs = Costs()
    costs.record((WEIGHTS, 1000, 2000), 1, seconds=1.0, instances=4, exclusive=True)
    assert costs.capacity(4) == pytest.approx(2)


def test_what_was_long_ago_is_forgotten() -> None:
    costs = Costs()
    costs.record(LARGE, 1, seconds=100.0)
    for _ in range(200):
        costs.record(LARGE, 1, seconds=1.0)
    assert costs.capacity(1) == pytest.approx(1, rel=1e-3)


async def test_the_scheduler_learns_it_from_its_calls() -> None:
    model, engine = model_of(condition=("image",)), FakeEngine(fixed=0.02, instances=1)
    scheduler = Scheduler(engine, 2)
    pipeline = Pipeline(scheduler, scheduler)
    for request in range(4):
        await pipeline.run(Work(model, 2, 0, f"{request}", "ann", x_in=picture(64, 64)))
    assert 0 < scheduler.capacity <= 2 * 64 * 64 / 1e6 / 0.02
    pipeline.close()
    await scheduler.close()
