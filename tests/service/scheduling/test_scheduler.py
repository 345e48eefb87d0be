"""Batches mix callers and steps without changing anybody's bytes; the queue is bounded, fair, and empty when all is done."""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from service.engines.contract import Model, Ticket
from service.errors import BadAnswer, DeadlineExceeded, EngineUnavailable, OutOfMemory, QueueFull
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling.proof import Probe
from service.scheduling.scheduler import Scheduler
from tests.service.fakes import FakeEngine, model_of, picture


class Call(NamedTuple):
    model: str
    rows: int
    seconds: float
    waited: float


SIZES = [(50, 40), (64, 64), (200, 133), (33, 70), (130, 64)]
HUGE = model_of(most_pixels=1024 * 1024)
OTHER_WEIGHTS = [replace(model_of(), version=2), replace(model_of(), digest="1" * 64)]


def mix(count: int, seed: int) -> list[Work]:
    """Pictures of several sizes, callers and steps."""
    draw = random.Random(seed)
    model = model_of()
    return [
        Work(model, draw.randint(1, 5), draw.randint(0, 9), f"r{i}", f"c{i % 5}", picture(*draw.choice(SIZES), draw.randint(0, 3)))
        for i in range(count)
    ]


async def quiet_seconds(probe: Probe, count: int) -> float:
    """What FakeEngine's calls would take on a machine that does nothing else."""
    engine = probe.engine
    if count > engine.memory:
        raise OutOfMemory("no room")
    return 1e-4 + engine.fixed + engine.each * count


@pytest.fixture(autouse=True)
def _a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Probe, "seconds", quiet_seconds)


def call_seconds(scheduler: Scheduler, model: Model, side: int, *, exclusive: bool = False) -> float:
    """Of a call of one row."""
    return scheduler.costs.seconds_per_megapixel((model.weights, side, side), exclusive=exclusive) * side**2 / 1e6


async def know(scheduler: Scheduler, model: Model) -> None:
    """As if the model had been used and proven for a while."""
    scheduler.introduce(model)
    await scheduler.learner.prove_all()
    engine = scheduler._engine
    scheduler.costs.record((model.weights, 64, 64), 1, engine.fixed + engine.each)


async def scheduled(engine: FakeEngine, most: float = math.inf, *, proven: bool = True) -> tuple[Pipeline, Scheduler, list[Call]]:
    """A pipeline behind a scheduler in front of the engine, and what it tells of its calls."""
    calls: list[Call] = []
    scheduler = Scheduler(engine, engine.instances, most, on_call=lambda *call: calls.append(Call(*call)), filled_rows=4)
    if proven:
        await know(scheduler, model_of())
        engine.calls.clear()
    return Pipeline(scheduler, scheduler), scheduler, calls


def assert_empty(scheduler: Scheduler) -> None:
    assert (scheduler.pending, scheduler.waiting, scheduler.running) == (0, 0, 0)
    assert scheduler.idle


async def one_by_one(pipeline: Pipeline, works: Sequence[Work]) -> list[bytes]:
    return [(await pipeline.run(work)).x_0.tobytes() for work in works]


ENGINES = {
    "that gains by batching": FakeEngine(0.002, 0.0002),
    "that gains nothing": FakeEngine(0.0, 0.001),
    "with two instances": FakeEngine(0.001, 0.0001, instances=2),
    "whose bytes depend on the batch": FakeEngine(0.002, 0.0002, coupled=True),
    "short of memory": FakeEngine(0.002, 0.0002, memory=3),
}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
async def test_alone_equals_batched_byte_for_byte_over_random_mixes(engine: FakeEngine) -> None:
    pipeline, scheduler, calls = await scheduled(engine)
    works = mix(40, seed=1)
    alone = await one_by_one(pipeline, works)
    calls.clear()
    together = await asyncio.gather(*(pipeline.run(work) for work in works))
    assert [result.x_0.tobytes() for result in together] == alone
    if engine.each < engine.fixed:
        assert max(call.rows for call in calls) > 1
    assert_empty(scheduler)


async def test_one_batch_holds_tiles_of_several_callers_at_several_steps() -> None:
    engine = FakeEngine(0.004, 0.0001)
    pipeline, _, _ = await scheduled(engine)
    seen: list[np.ndarray] = []
    inner = engine.predict

    async def watched(x_t, condition, times, ticket):
        seen.append(np.unique(times))
        return await inner(x_t, condition, times, ticket)

    engine.predict = watched
    works = [Work(model_of(), steps, 0, f"r{steps}", f"c{steps}", picture(64, 64)) for steps in (2, 3, 4, 5)]
    await asyncio.gather(*(pipeline.run(work) for work in works))
    assert any(len(times) > 1 for times in seen)
    assert any("+" in ticket.request for _, ticket in engine.calls)


async def test_a_small_picture_does_not_wait_behind_a_large_one() -> None:
    engine = FakeEngine(0.0, 0.02)
    pipeline, _, _ = await scheduled(engine)
    small = Work(model_of(), 5, 0, "small", "b", picture(64, 64))
    await pipeline.run(small)
    alone = sum(rows for rows, _ in engine.calls)
    large = asyncio.create_task(pipeline.run(Work(model_of(), 5, 0, "large", "a", picture(600, 800))))
    await asyncio.sleep(0.05)
    running = len(engine.calls) - 1
    await pipeline.run(small)
    beside = sum(rows for rows, _ in engine.calls[running:])  # of which each takes the engine 0.02 s
    assert not large.done()
    assert beside < 2.5 * alone
    large.cancel()


async def test_large_calls_have_places_of_their_own_and_no_more_than_their_number() -> None:
    engine = FakeEngine(0.0, 0.02, instances=4)
    scheduler = Scheduler(engine, 1)
    pipeline = Pipeline(scheduler, scheduler)
    large = [asyncio.create_task(pipeline.run(Work(HUGE, 3, k, f"l{k}", f"a{k}", picture(700, 700)))) for k in range(3)]
    while not engine.calls:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    for k in range(3):
        await pipeline.run(Work(HUGE, 1, 0, f"s{k}", "b", picture(64, 64)))
        assert sum(batch.shape[1] == 704 for batch in scheduler._running) <= 1
    assert not any(task.done() for task in large)
    await asyncio.gather(*large)
    assert_empty(scheduler)


async def test_a_large_call_is_not_starved_by_a_flood_of_small_ones() -> None:
    engine = FakeEngine(0.0, 0.005, instances=4)
    scheduler = Scheduler(engine, 1)
    pipeline = Pipeline(scheduler, scheduler)
    flood = [asyncio.create_task(pipeline.run(Work(HUGE, 5, k, f"f{k}", "flood", picture(64, 64)))) for k in range(60)]
    await pipeline.run(Work(HUGE, 3, 0, "large", "a", picture(700, 700)))
    assert sum(task.done() for task in flood) < 50
    await asyncio.gather(*flood)


async def test_a_flood_of_one_caller_does_not_starve_another() -> None:
    engine = FakeEngine(0.0, 0.003)
    pipeline, _, _ = await scheduled(engine)
    flood = [asyncio.create_task(pipeline.run(Work(model_of(), 5, i, f"f{i}", "flood", picture(64, 64)))) for i in range(60)]
    await asyncio.sleep(0.02)
    await pipeline.run(Work(model_of(), 5, 0, "one", "other", picture(64, 64)))
    assert sum(task.done() for task in flood) < 15
    await asyncio.gather(*flood)


@pytest.mark.parametrize(("size", "in_flight"), [((64, 64), 2), ((300, 400), 1)], ids=["whole pictures", "tiles of large ones"])
async def test_what_cannot_be_batched_is_ready_when_the_call_before_it_ends(size: tuple[int, int], in_flight: int) -> None:
    pipeline, scheduler, calls = await scheduled(FakeEngine(0.0, 0.02))
    works = [Work(model_of(), 2, i, f"r{i}", f"c{i}", picture(*size)) for i in range(4)]
    running = [asyncio.create_task(pipeline.run(work)) for work in works]
    most = 0
    while len(calls) < 4:
        await asyncio.sleep(0.005)
        most = max(most, scheduler.running)
    assert most == in_flight
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def lone(steps: int, request: str = "r", size: int = 64) -> Work:
    return Work(model_of(), steps, 0, request, request, picture(size, size))


async def test_a_lone_picture_makes_room_at_its_next_step_for_whoever_comes() -> None:
    engine = FakeEngine(0.02)
    pipeline, scheduler, _ = await scheduled(engine)
    first = asyncio.create_task(pipeline.run(lone(5, "first")))
    await asyncio.sleep(0.03)  # in its second call
    await pipeline.run(lone(1, "second", 32))  # of another size: no batch can hold both
    assert len(engine.calls) < 6
    await first
    order = [ticket.request for _, ticket in engine.calls]
    assert order.index("second") <= 3
    assert len(order) == 6
    assert_empty(scheduler)


async def test_lockstep_callers_fill_batches() -> None:
    engine = FakeEngine(0.01, 0.0001)
    pipeline, _, calls = await scheduled(engine)
    await asyncio.gather(*(pipeline.run(Work(model_of(), 5, i, f"r{i}", f"c{i}", picture(64, 64))) for i in range(16)))
    assert sum(call.rows for call in calls) / len(calls) > 6


async def test_a_full_queue_says_when_to_come_back() -> None:
    engine = FakeEngine(0.0, 0.01)
    pipeline, scheduler, _ = await scheduled(engine, 0.5)
    first = asyncio.create_task(pipeline.run(Work(model_of(), 5, 0, "r0", "a", picture(300, 400))))
    await asyncio.sleep(0.05)
    with pytest.raises(QueueFull, match="are allowed") as refusal:
        await pipeline.run(Work(model_of(), 5, 0, "r1", "b", picture(300, 400)))
    tiles = 300 // 48 * 400 // 48
    assert refusal.value.retry_after is not None
    assert 1 <= refusal.value.retry_after <= 2 * tiles * 5 * 0.01 + 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await pipeline.run(Work(model_of(), 1, 0, "r2", "b", picture(64, 64)))
    assert_empty(scheduler)


async def test_a_picture_over_the_bound_is_let_in_when_nothing_else_is_there() -> None:
    pipeline, _, _ = await scheduled(FakeEngine(), 0.001)
    assert (await pipeline.run(Work(model_of(), 1, 0, "r", "a", picture(64, 64)))).x_0.shape == (1, 3, 64, 64)


async def test_cancellations_at_random_moments_leave_nothing_behind() -> None:
    pipeline, scheduler, _ = await scheduled(FakeEngine(0.001, 0.0002))
    draw = random.Random(0)

    async def cancelled(work: Work) -> bool:
        task = asyncio.create_task(pipeline.run(work))
        await asyncio.sleep(draw.random() * 0.05)
        task.cancel()
        return isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)

    ended = await asyncio.gather(*(cancelled(work) for work in mix(200, seed=2)))
    assert sum(ended) > 50
    await asyncio.sleep(0.05)
    assert_empty(scheduler)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_callers_that_all_leave_in_one_turn_of_the_loop_leave_nothing_behind() -> None:
    engine = FakeEngine(0.002, 0.0002)
    pipeline, scheduler, _ = await scheduled(engine)
    draw = random.Random(3)
    for _ in range(60):
        tasks = [asyncio.create_task(pipeline.run(Work(model_of(), 3, i, f"r{i}", f"c{i}", picture(64, 64)))) for i in range(24)]
        await asyncio.sleep(draw.random() * 0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.02)
    assert_empty(scheduler)


async def test_a_batch_cancelled_before_its_task_begins_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    _, scheduler, _ = await scheduled(FakeEngine(0.01))
    monkeypatch.setattr("service.scheduling.scheduler.WHOLE_DEPTH", 1)
    x_t, times = np.zeros((1, 3, 64, 64), np.float32), np.zeros((1, 2), np.float32)
    tickets = [Ticket(model.weights, "r", "c") for model in (model_of(), OTHER_WEIGHTS[0])]
    first, second = (asyncio.create_task(scheduler.predict(x_t, x_t, times, ticket)) for ticket in tickets)
    await asyncio.sleep(0)  # both ask
    await asyncio.sleep(0)  # the first is dispatched
    [task] = scheduler._running.values()
    task.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert_empty(scheduler)


async def test_nobody_else_in_the_batch_hears_of_a_cancellation() -> None:
    engine = FakeEngine(0.02, 0.0001)
    pipeline, _, _ = await scheduled(engine)
    works = [Work(model_of(), 3, i, f"r{i}", f"c{i}", picture(64, 64)) for i in range(4)]
    alone = await one_by_one(pipeline, works)
    tasks = [asyncio.create_task(pipeline.run(work)) for work in works]
    await asyncio.sleep(0.03)
    tasks[1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[1], asyncio.CancelledError)
    assert [done[i].x_0.tobytes() for i in (0, 2, 3)] == [alone[i] for i in (0, 2, 3)]


async def test_the_engine_stops_when_everyone_in_its_batch_left() -> None:
    engine = FakeEngine(10.0, 0.0)
    pipeline, scheduler, _ = await scheduled(engine, proven=False)
    task = asyncio.create_task(pipeline.run(Work(model_of(), 3, 0, "r", "c", picture(64, 64))))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert engine.cancelled == 1
    assert_empty(scheduler)


async def test_out_of_memory_steps_the_batch_size_down_and_fails_nobody() -> None:
    engine = FakeEngine(0.004, 0.0001)
    pipeline, _, calls = await scheduled(engine)
    engine.memory = 2
    works = [Work(model_of(), 3, i, f"r{i}", f"c{i}", picture(64, 64)) for i in range(12)]
    await asyncio.gather(*(pipeline.run(work) for work in works))
    assert max(call.rows for call in calls) <= 2
    calls.clear()
    await asyncio.gather(*(pipeline.run(work) for work in works))
    assert sum(rows > 2 for rows, _ in engine.calls) <= 4


async def test_a_bad_row_fails_alone() -> None:
    class Poisoned(FakeEngine):
        async def predict(self, x_t, condition, time, ticket):
            outputs = await super().predict(x_t, condition, time, ticket)
            if (condition[:, :3].reshape(len(x_t), -1) == 1).all(1).any():
                raise BadAnswer("not finite")
            return outputs

    pipeline, scheduler, _ = await scheduled(Poisoned(0.004, 0.0001))
    bad = Work(model_of(), 3, 0, "bad", "x", np.ones((1, 3, 64, 64), np.float32))
    works = [Work(model_of(), 3, i, f"r{i}", f"c{i}", picture(64, 64)) for i in range(5)]
    done = await asyncio.gather(*(pipeline.run(work) for work in [*works, bad]), return_exceptions=True)
    assert isinstance(done[-1], BadAnswer)
    assert not any(isinstance(result, BaseException) for result in done[:-1])
    assert_empty(scheduler)


async def test_an_engine_that_is_full_is_asked_again_a_little_later() -> None:
    class Busy(FakeEngine):
        refusals = 3

        async def predict(self, x_t, condition, time, ticket):
            if ticket.request != "proof" and self.refusals:
                self.refusals -= 1
                raise QueueFull("engine queue")
            return await super().predict(x_t, condition, time, ticket)

    pipeline, scheduler, _ = await scheduled(Busy(0.001, 0.001))
    assert (await pipeline.run(Work(model_of(), 3, 0, "r", "c", picture(64, 64)))).x_0.shape == (1, 3, 64, 64)
    assert_empty(scheduler)


async def test_a_dead_engine_is_reported_to_every_waiting_request() -> None:
    class Dead(FakeEngine):
        async def predict(self, x_t, condition, time, ticket):
            await asyncio.sleep(0.001)
            raise EngineUnavailable("no engine answers")

    pipeline, scheduler, _ = await scheduled(Dead(), proven=False)
    done = await asyncio.gather(*(pipeline.run(work) for work in mix(10, 3)), return_exceptions=True)
    assert all(isinstance(result, EngineUnavailable) for result in done)
    assert_empty(scheduler)


LARGE = model_of(most_pixels=320 * 320)


async def exclusive_calls(*works: Work) -> list[bool]:
    """Whether each call had the whole engine when these pictures are asked for at once."""
    engine = FakeEngine(0.01, instances=2)
    pipeline, scheduler, _ = await scheduled(engine)
    await asyncio.gather(*(pipeline.run(work) for work in works))
    assert_empty(scheduler)
    return [ticket.exclusive for _, ticket in engine.calls]


async def test_a_large_call_has_the_whole_engine_while_nobody_else_wants_it() -> None:
    first, second = (Work(LARGE, 2, seed, f"r{seed}", "a", picture(320, 320)) for seed in range(2))
    assert await exclusive_calls(first) == [True, True]
    assert not any((await exclusive_calls(first, second))[:2])
    assert not any(await exclusive_calls(Work(LARGE, 2, 0, "small", "a", picture(64, 64))))
    assert not any(await exclusive_calls(Work(LARGE, 2, 0, "tiled", "a", picture(400, 400))))


async def test_a_call_that_had_the_whole_engine_tells_nothing_of_one_that_has_not() -> None:
    engine = FakeEngine(0.0, 0.02)
    pipeline, scheduler, _ = await scheduled(engine)
    usual = call_seconds(scheduler, LARGE, 320)
    await pipeline.run(Work(LARGE, 2, 0, "r", "a", picture(320, 320)))
    assert call_seconds(scheduler, LARGE, 320) == usual
    assert 0.02 <= call_seconds(scheduler, LARGE, 320, exclusive=True) < usual / 2
    work = Work(LARGE, 10, 0, "r", "b", picture(320, 320))
    assert scheduler.estimate(work) < 10 * usual / 2
    with scheduler.admit(Work(LARGE, 1, 0, "other", "a", picture(320, 320))):
        assert scheduler.estimate(work) >= 10 * usual


async def test_whoever_was_there_a_moment_ago_is_expected_back() -> None:
    engine = FakeEngine(0.0, 0.1)
    pipeline, scheduler, _ = await scheduled(engine)
    works = [Work(LARGE, 1, seed, f"r{seed}", "a", picture(320, 320)) for seed in range(4)]
    usual = call_seconds(scheduler, LARGE, 320)
    await asyncio.gather(*(pipeline.run(work) for work in works[:2]))
    engine.calls.clear()
    await pipeline.run(works[2])
    await asyncio.sleep(3 * usual)
    await pipeline.run(works[3])
    assert [ticket.exclusive for _, ticket in engine.calls] == [False, True]


async def test_a_call_that_others_joined_tells_nothing_of_one_that_was_left_alone() -> None:
    engine = FakeEngine(0.0, 0.1, instances=2)
    pipeline, scheduler, _ = await scheduled(engine)
    first = asyncio.create_task(pipeline.run(Work(LARGE, 1, 0, "r", "a", picture(320, 320))))
    while not engine.calls:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await pipeline.run(Work(LARGE, 1, 1, "s", "a", picture(320, 320)))
    await first
    assert [ticket.exclusive for _, ticket in engine.calls] == [True, False]
    assert call_seconds(scheduler, LARGE, 320, exclusive=True) == call_seconds(scheduler, LARGE, 320)


async def test_an_estimate_counts_own_calls_and_a_fair_share_of_the_others_work() -> None:
    _, scheduler, _ = await scheduled(FakeEngine(0.0, 0.02))
    of_a, of_b = (Work(model_of(), 5, 0, "r", caller, picture(64, 64)) for caller in "ab")
    own = scheduler.estimate(of_a)
    assert own == pytest.approx(5 * 0.02, rel=0.1)
    with ExitStack() as admitted:
        for _ in range(100):
            admitted.enter_context(scheduler.admit(of_b))
        assert scheduler.estimate(of_a) == pytest.approx(2 * own, rel=0.1)
        assert scheduler.estimate(of_b) > 50 * own
        assert scheduler.estimate(of_a, pictures=3) == pytest.approx(6 * own, rel=0.1)


async def test_before_the_first_call_an_estimate_is_unknown() -> None:
    _, scheduler, _ = await scheduled(FakeEngine(), proven=False)
    assert math.isnan(scheduler.estimate(Work(model_of(), 5, 0, "r", "a", picture(64, 64))))


async def test_servers_that_come_later_are_used() -> None:
    count, engine = 1, FakeEngine(0.02, instances=8)
    scheduler = Scheduler(engine, lambda: count)
    pipeline = Pipeline(scheduler, scheduler)

    async def most() -> int:
        works = [Work(model_of(), 1, seed, f"r{seed}", f"c{seed}", picture(64, 64)) for seed in range(40)]
        running = asyncio.ensure_future(asyncio.gather(*(pipeline.run(work) for work in works)))
        largest = 0
        while not running.done():
            await asyncio.sleep(0.001)
            largest = max(largest, scheduler.running)
        return largest

    few, count = await most(), 8
    assert few <= 2 < 8 <= await most()
    count = 2
    assert await most() <= 4
    assert_empty(scheduler)


async def test_an_item_whose_deadline_passes_in_the_queue_fails_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(0.1, 0.0)
    pipeline, scheduler, _ = await scheduled(engine, proven=False)
    monkeypatch.setattr("service.scheduling.scheduler.WHOLE_DEPTH", 1)
    first = asyncio.create_task(pipeline.run(Work(model_of(), 1, 0, "r0", "a", picture(64, 64))))
    await asyncio.sleep(0.01)
    with pytest.raises(DeadlineExceeded):
        await pipeline.run(Work(model_of(), 1, 0, "r1", "b", picture(50, 40), deadline=time.monotonic() + 0.02))
    await first
    assert_empty(scheduler)


@pytest.mark.parametrize("other", OTHER_WEIGHTS, ids=["of another number", "exported anew"])
async def test_two_versions_of_a_model_never_share_a_batch(other: Model) -> None:
    engine = FakeEngine(0.004, 0.0001)
    _, scheduler, _ = await scheduled(engine)
    await know(scheduler, other)
    engine.calls.clear()
    x_t, times = np.zeros((1, 3, 64, 64), np.float32), np.zeros((1, 2), np.float32)
    asked = {f"r{i}": model.weights for i, model in enumerate([model_of(), other] * 4)}
    await asyncio.gather(*(scheduler.predict(x_t, x_t, times, Ticket(weights, r, "c")) for r, weights in asked.items()))
    assert {ticket.weights for _, ticket in engine.calls} == {model_of().weights, other.weights}
    assert max(rows for rows, _ in engine.calls) > 1
    assert all(asked[part] == ticket.weights for _, ticket in engine.calls for part in ticket.request.split("+"))


async def test_tiles_share_batches_with_tiles_only() -> None:
    engine = FakeEngine(0.004, 0.0001)
    _, scheduler, _ = await scheduled(engine)
    engine.calls.clear()
    x_t, times = np.zeros((1, 3, 64, 64), np.float32), np.zeros((1, 2), np.float32)
    tickets = [Ticket(model_of().weights, f"r{i}", "c", tiled=i % 2 == 0) for i in range(8)]
    await asyncio.gather(*(scheduler.predict(x_t, x_t, times, each) for each in tickets))
    assert max(rows for rows, _ in engine.calls) > 1
    tiled = {each.request: each.tiled for each in tickets}
    assert all(tiled[part] == ticket.tiled for _, ticket in engine.calls for part in ticket.request.split("+"))


async def test_what_other_weights_cost_is_not_taken_for_ones_own() -> None:
    _, scheduler, _ = await scheduled(FakeEngine(0.0, 0.02))
    for other in OTHER_WEIGHTS:
        assert math.isnan(call_seconds(scheduler, other, 64))
    assert call_seconds(scheduler, model_of(), 64) > 0


async def test_closing_ends_every_waiting_request() -> None:
    pipeline, scheduler, _ = await scheduled(FakeEngine(10.0), proven=False)
    tasks = [asyncio.create_task(pipeline.run(work)) for work in mix(5, 4)]
    await asyncio.sleep(0.05)
    await scheduler.close()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in done)
    assert_empty(scheduler)
