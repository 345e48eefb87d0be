"""Identical work is computed once, kept within a bound, and nobody's answer is given to another."""

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest

from rddm.image import to_pixels
from service.errors import DeadlineExceeded, EngineUnavailable, NotFound
from service.results.cache import LruCache, ResultCache, key_of
from service.results.stored import ResponseCache, StoredResponse
from service.sampling.pipeline import Pipeline
from service.sampling.work import Result, Step, Work
from tests.service.fakes import FakeEngine, model_of, picture


def work_of(seed: int = 0, **facts) -> Work:
    facts = {"keep": frozenset(), **facts}  # nothing beside the pixels, as every request
    return Work(facts.pop("model", model_of()), facts.pop("steps", 3), seed, "r", "c", facts.pop("x_in", picture(64, 64)), **facts)


def results_of(engine: FakeEngine, limit_bytes: int = 1 << 20) -> ResultCache:
    return ResultCache(Pipeline(engine), limit_bytes)


async def test_identical_requests_in_flight_are_computed_once() -> None:
    engine = FakeEngine(0.01)
    results = results_of(engine)
    done = await asyncio.gather(*(results.run(replace(work_of(), request=f"r{i}", caller=f"c{i}")) for i in range(8)))
    assert len(engine.calls) == 3
    assert len({result.pixels.tobytes() for result in done}) == 1
    assert (results.misses, results.shared) == (1, 7)


async def test_a_kept_result_is_given_again_without_the_engine_and_tells_one_step() -> None:
    engine = FakeEngine()
    results = results_of(engine)
    first = await results.run(work_of())
    heard: list[Step] = []
    again = await results.run(work_of(), heard.append)
    assert again is first
    assert len(engine.calls) == 3
    assert [(step.step, step.steps) for step in heard] == [(3, 3)]
    with pytest.raises(ValueError, match="read-only"):
        again.pixels[...] = 0


async def test_pixels_have_the_depth_that_is_wanted_also_when_they_are_kept() -> None:
    results = results_of(FakeEngine())
    x_0 = (await Pipeline(FakeEngine()).run(work_of(keep=frozenset({"x_0"})))).x_0
    for depth, kind in ((8, np.uint8), (16, np.uint16)):
        heard: list[Step] = []
        first, again = [await results.run(work_of(depth=depth), heard.append) for _ in range(2)]
        assert again is first
        assert first.pixels.dtype == kind
        assert np.array_equal(first.pixels, to_pixels(x_0, depth))
        assert np.abs(heard[-1].preview - x_0.clip(-1, 1)).max() < 1.01 / np.iinfo(kind).max


DIFFERENT = {
    "seed": work_of(seed=1),
    "steps": work_of(steps=4),
    "picture": work_of(x_in=picture(64, 64, seed=1)),
    "size": work_of(x_in=picture(64, 64).reshape(1, 3, 32, 128)),
    "model file": work_of(model=replace(model_of(), digest="1" * 64)),
    "kept": work_of(keep=frozenset({"residual"})),
    "mask": work_of(mask=picture(64, 64)),
    "depth": work_of(depth=16),
    "method": work_of(method="SM-Res", model=model_of(objective="pred_res_noise")),
}


@pytest.mark.parametrize("other", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_whatever_decides_the_result_is_in_its_key(other: Work) -> None:
    assert key_of(other) != key_of(work_of())


def test_caller_and_deadline_are_not_in_its_key() -> None:
    assert key_of(replace(work_of(), request="x", caller="y", deadline=1.0)) == key_of(work_of())


async def test_the_last_to_leave_cancels_the_flight_and_no_one_before() -> None:
    engine = FakeEngine(0.2)
    results = results_of(engine)
    tasks = [asyncio.create_task(results.run(work_of())) for _ in range(3)]
    await asyncio.sleep(0.02)
    tasks[0].cancel()
    tasks[1].cancel()
    assert isinstance(await tasks[2], Result)
    lone = asyncio.create_task(results.run(work_of(seed=9)))
    await asyncio.sleep(0.02)
    lone.cancel()
    await asyncio.gather(lone, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert engine.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_flight_that_ends_for_its_first_callers_deadline_does_not_end_the_others() -> None:
    engine = FakeEngine(0.03)
    results = results_of(engine)
    hurried = asyncio.create_task(results.run(work_of(deadline=time.monotonic() + 0.04)))
    await asyncio.sleep(0.005)
    patient = asyncio.create_task(results.run(work_of()))
    with pytest.raises(DeadlineExceeded):
        await hurried
    assert (await patient).pixels.shape == (64, 64, 3)


async def test_a_request_that_joins_is_held_to_its_own_deadline() -> None:
    results = results_of(FakeEngine(0.3))
    patient = asyncio.create_task(results.run(work_of()))
    await asyncio.sleep(0.01)
    with pytest.raises(DeadlineExceeded):
        await results.run(work_of(deadline=time.monotonic() + 0.03))
    assert not patient.done()
    await patient


async def test_errors_reach_everyone_and_are_not_kept() -> None:
    class Once(FakeEngine):
        async def predict(self, x_t, condition, time, ticket):
            if not self.calls:
                self.calls.append((1, ticket))
                await asyncio.sleep(0.05)
                raise EngineUnavailable("gone")
            return await super().predict(x_t, condition, time, ticket)

    results = results_of(Once())
    done = await asyncio.gather(*(results.run(work_of()) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, EngineUnavailable) for result in done)
    assert isinstance(await results.run(work_of()), Result)


async def test_every_listener_hears_of_each_step() -> None:
    results = results_of(FakeEngine(0.01))
    heard: list[list[Step]] = [[], []]
    await asyncio.gather(*(results.run(work_of(), listener.append) for listener in heard))
    assert [[step.step for step in steps] for steps in heard] == [[1, 2, 3], [1, 2, 3]]


async def test_a_late_listener_hears_of_the_latest_step_at_once() -> None:
    results = results_of(FakeEngine(0.02))
    late: list[int] = []
    joined: list[asyncio.Task[Result]] = []

    def listen(step: Step) -> None:
        if step.step == 2:
            joined.append(asyncio.create_task(results.run(work_of(), lambda step: late.append(step.step))))

    await results.run(work_of(), listen)
    await asyncio.gather(*joined)
    assert late == [2, 3]
    assert results.shared == 1


async def test_kept_results_stay_within_their_bytes() -> None:
    size = 3 * 64 * 64
    results = results_of(FakeEngine(), limit_bytes=int(2.5 * size))
    for seed in range(5):
        await results.run(work_of(seed=seed))
    assert results.entries.bytes == 2 * size
    assert results.entries.get(key_of(work_of(seed=4))) is not None
    assert results.entries.get(key_of(work_of(seed=2))) is None


def test_the_least_recently_used_is_forgotten_first_and_nothing_over_the_bound_is_kept() -> None:
    store: LruCache[str] = LruCache(10)
    for key in "abc":
        store.put(key, key, 3)
    assert store.get("a") == "a"
    store.put("d", "d", 3)
    assert [store.get(key) for key in "abcd"] == ["a", None, "c", "d"]
    store.put("e", "e", 11)
    assert store.get("e") is None
    assert store.bytes == 0


async def test_an_answer_is_its_callers_alone() -> None:
    answers = ResponseCache(1000)
    answer = StoredResponse(b"body", "image/png", {"X-Seed": "1"})
    result = await answers.put("alice", answer)
    assert await answers.get("alice", result) is answer
    assert await answers.put("alice", answer) == result
    assert await answers.put("bob", answer) != result
    with pytest.raises(NotFound):
        await answers.get("mallory", result)
    assert answer.etag == StoredResponse(b"body", "image/webp", {}).etag != StoredResponse(b"other", "image/png", {}).etag


def test_arrays_of_the_picture_are_hashed_by_value_not_by_layout() -> None:
    x_in = picture(64, 64)
    assert key_of(work_of(x_in=np.asfortranarray(x_in))) == key_of(work_of(x_in=x_in))
