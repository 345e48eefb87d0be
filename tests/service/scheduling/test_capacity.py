"""What one gateway does a second, which tells how many are needed."""

import pytest

from service.sampling.pipeline import Pipeline, Work
from service.scheduling.capacity import HORIZON, Capacity
from service.scheduling.scheduler import Scheduler
from tests.service.fakes import FakeEngine, model_of, picture


def test_nothing_is_known_before_the_first_call() -> None:
    assert Capacity().per_second(4) == 0


def test_instances_side_by_side_do_as_many_times_as_much() -> None:
    capacity = Capacity()
    for _ in range(3):
        capacity.record(megapixels=0.5, seconds=1, instances=1)
    assert capacity.per_second(4) == pytest.approx(2)


def test_a_call_that_had_every_instance_counts_as_the_whole_engine() -> None:
    capacity = Capacity()
    capacity.record(megapixels=2, seconds=1, instances=4)
    assert capacity.per_second(4) == pytest.approx(2)


def test_what_was_long_ago_is_forgotten() -> None:
    capacity = Capacity()
    capacity.record(megapixels=100, seconds=1, instances=1)
    for _ in range(int(20 * HORIZON)):
        capacity.record(megapixels=1, seconds=1, instances=1)
    assert capacity.per_second(1) == pytest.approx(1, rel=1e-3)


async def test_the_scheduler_learns_it_from_its_calls() -> None:
    model, engine = model_of(condition=("image",)), FakeEngine(fixed=0.02, instances=1)
    scheduler = Scheduler(engine, 2)
    pipeline = Pipeline(scheduler, scheduler)
    for request in range(4):
        await pipeline.run(Work(model, 2, 0, f"{request}", "ann", x_in=picture(64, 64)))
    assert 0 < scheduler.capacity <= 2 * 64 * 64 / 1e6 / 0.02
    pipeline.close()
    await scheduler.close()
