"""The pipeline gives what the sampler would give if the network saw the whole picture, for any size, and leaves nothing behind."""

import asyncio
import gc
import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import service.sampling.pipeline
from rddm.condition import context, pad
from rddm.image import Depth, Pixels, to_pixels
from rddm.objective import predict
from rddm.relatives import RELATIVES, relative_spec
from rddm.sampler import calls, philox_noise, run, sample
from rddm.schedule import make_schedule
from rddm.tiling import plan
from service.engines.arrays import HOST, HostArrays
from service.errors import DeadlineExceeded, EngineUnavailable
from service.sampling.pipeline import PIXELS_AHEAD, Pipeline
from service.sampling.state import default_noise
from service.sampling.work import Result, Step, Work
from service.scheduling.scheduler import Scheduler
from tests.service.fakes import FakeEngine, model_of, picture


class EverywhereInline(HostArrays):
    """Array work that costs the event loop nothing, as on a device, whatever the size."""

    inline_pixels = 1 << 40


SIZES = [(1, 1), (2, 3), (64, 64), (50, 40), (200, 133), (1, 500), (9, 4200), (300, 500)]


def untiled(work: Work) -> np.ndarray:
    """The sampler driven synchronously on the whole padded picture; FakeEngine is pointwise, so tiles must not matter."""
    spec, (height, width) = work.model.spec, work.size
    layout = plan(spec, height, width)
    schedule = make_schedule(spec.schedule, spec.timesteps)
    clean = np.zeros((1, 3, height, width), np.float32) if work.x_in is None else work.x_in
    x_in, draw = pad(clean, layout.height, layout.width), philox_noise(work.seed, 3, height, width)
    parts = {"image": x_in, "context": context(clean, layout.tiles[0].height, layout.tiles[0].width), "mask": work.mask}
    engine = FakeEngine(outputs=2 if spec.objective == "pred_res_noise" else 1)

    def answer(question):
        times = np.array([question.time], np.float32)
        mean = parts["context"].mean((2, 3), keepdims=True) if "context" in spec.condition else None
        condition = None if mean is None else np.concatenate([x_in, np.broadcast_to(mean, x_in.shape)], 1)
        outputs = [engine.answer(question.x_t, condition, times, k) for k in range(engine.outputs)]
        return predict(spec, schedule, outputs, question.x_t, x_in, question.t, work.method)

    x_0 = run(sample(spec, schedule, x_in, lambda k: pad(draw(k), layout.height, layout.width), work.steps), answer)
    return x_0[..., :height, :width]


@pytest.mark.parametrize("name", sorted(RELATIVES))
@pytest.mark.parametrize("size", [(48, 48), (150, 133)])
async def test_every_relative_is_served_as_its_sampler_says(name: str, size: tuple[int, int]) -> None:
    """Whole and in tiles; a network that sees the image is given the context too, since the fake one asks for it."""
    seen = RELATIVES[name].decides.get("condition", ("image",))
    tiles = {"reach": 16, "most_pixels": 64 * 64, "size_multiple": 8, "image_size": (152, 136) if not seen else None}
    facts = {"name": "fake", "task": "fake", "licence": "test", "condition": ("image", "context") if seen else ()}
    spec = relative_spec(name, **facts, **tiles)
    work = work_of(*size, model=replace(model_of(), spec=spec), steps=min(3, spec.max_steps))
    work = replace(work, x_in=None) if spec.generates else work
    engine = FakeEngine(outputs=2 if spec.objective == "pred_res_noise" else 1)
    actual = await Pipeline(engine).run(work)
    np.testing.assert_allclose(actual.x_0, untiled(work), atol=2e-4, rtol=1e-3)
    assert len(engine.calls) == calls(spec, work.steps) * len(plan(spec, *work.size).tiles)


def work_of(height: int, width: int, steps: int = 3, **facts) -> Work:
    return Work(facts.pop("model", model_of()), steps, facts.pop("seed", 7), "request", "caller", picture(height, width), **facts)


@pytest.mark.parametrize("size", SIZES)
async def test_a_pointwise_network_gives_the_same_tiled_and_untiled(size: tuple[int, int]) -> None:
    work = work_of(*size)
    result = await Pipeline(FakeEngine()).run(work)
    assert result.x_0.shape == (1, 3, *size)
    assert np.abs(result.x_0 - untiled(work)).max() < 1e-5


@pytest.mark.parametrize("facts", [{"eta": 0.7}, {"order": "residual_first"}, {"update": "ancestral"}, {"grid": "authors"}])
async def test_every_sampler_runs_in_bands_as_on_the_whole(facts: dict) -> None:
    work = work_of(300, 500, model=model_of(**facts))
    assert np.abs((await Pipeline(FakeEngine()).run(work)).x_0 - untiled(work)).max() < 2e-5


async def test_a_generator_needs_no_picture_and_its_seed_decides() -> None:
    model = model_of(start="noise", condition=(), objective="pred_res_noise", image_size=(32, 48), residual_clip=1.0)
    works = [Work(model, 4, seed, f"r{seed}", "caller") for seed in (1, 2, 1)]
    first, second, again = [(await Pipeline(FakeEngine(outputs=2)).run(work)).x_0 for work in works]
    assert first.shape == (1, 3, 32, 48)
    assert np.abs(first - untiled(works[0])).max() < 1e-6
    assert first.tobytes() == again.tobytes() != second.tobytes()


async def test_steps_are_reported_in_order_with_the_whole_picture_small() -> None:
    heard: list[Step] = []
    result = await Pipeline(FakeEngine()).run(work_of(600, 1100), heard.append)
    assert [(step.step, step.steps) for step in heard] == [(1, 3), (2, 3), (3, 3)]
    assert all(step.preview.shape == (1, 3, 279, 512) for step in heard)
    assert np.abs(heard[-1].preview - context(result.x_0, 279, 512)).max() < 1e-6


@pytest.mark.parametrize("size", [(48, 56), (150, 200)])
async def test_residual_and_trace_are_kept_when_asked_for(size: tuple[int, int]) -> None:
    work = work_of(*size, keep=frozenset({"x_0", "residual", "trace"}))
    result = await Pipeline(FakeEngine()).run(work)
    assert result.residual is not None
    assert np.abs(np.clip(work.x_in - result.residual, -1, 1) - result.x_0).max() < 1e-6
    assert len(result.trace) == work.steps + 1
    assert np.array_equal(result.trace[-1], result.x_0)
    start = work.x_in + philox_noise(7, 3, *size)(0)
    assert np.abs(result.trace[0] - start).max() < 1e-6


async def test_nothing_is_kept_unasked() -> None:
    result = await Pipeline(FakeEngine()).run(work_of(48, 48))
    assert result.residual is None
    assert result.trace == ()


async def test_the_cost_of_work_is_what_the_engine_is_asked() -> None:
    engine, work = FakeEngine(), work_of(200, 133)
    await Pipeline(engine).run(work)
    tile = plan(work.model.spec, 200, 133).tiles[0]
    assert work.shape == (work.model.weights, tile.height, tile.width)
    assert len(engine.calls) == work.tiles * calls(work.model.spec, work.steps)
    assert work.megapixel_steps == pytest.approx(len(engine.calls) * tile.height * tile.width / 1e6)


async def test_a_passed_deadline_ends_the_work_at_its_next_step() -> None:
    engine = FakeEngine(fixed=0.3)
    with pytest.raises(DeadlineExceeded, match=r"before step [23] of 3"):
        await Pipeline(engine).run(work_of(48, 48, deadline=time.monotonic() + 0.25))
    assert len(engine.calls) < 3


@pytest.mark.parametrize("size", [(48, 48), (300, 500)])
async def test_cancelling_ends_every_call(size: tuple[int, int]) -> None:
    engine = FakeEngine(fixed=10.0)
    task = asyncio.create_task(Pipeline(engine).run(work_of(*size)))
    while not engine.calls:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled > 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_failed_tile_ends_the_work_with_its_own_error() -> None:
    class Failing(FakeEngine):
        async def predict(self, x_t, condition, time, ticket):
            if len(self.calls) == 20:
                raise EngineUnavailable("gone")
            return await super().predict(x_t, condition, time, ticket)

    with pytest.raises(EngineUnavailable, match="gone"):
        await Pipeline(Failing()).run(work_of(300, 500))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_answers_that_arrive_in_any_order_give_the_same_bytes() -> None:
    class Shuffled(FakeEngine):
        async def predict(self, x_t, condition, time, ticket):
            await asyncio.sleep(0.003 * (len(self.calls) * 7919 % 11) / 10)
            return await super().predict(x_t, condition, time, ticket)

    results: list[Result] = [await Pipeline(engine).run(work_of(300, 500)) for engine in (FakeEngine(), Shuffled())]
    assert results[0].x_0.tobytes() == results[1].x_0.tobytes()


async def test_a_tile_is_cut_while_calls_run_and_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Held(FakeEngine):
        asked, most = 0, 0

        async def predict(self, x_t, condition, time, ticket):
            self.asked += 1
            self.most = max(self.most, self.asked)
            await asyncio.sleep(0.01)  # each tile that may be cut is there by then
            try:
                return await super().predict(x_t, condition, time, ticket)
            finally:
                self.asked -= 1

    monkeypatch.setattr(service.sampling.pipeline, "PIXELS_AHEAD", 1)
    engine = Held()
    await Pipeline(engine, arrays=EverywhereInline()).run(work_of(300, 500))
    assert engine.most == 1 + 1


async def test_a_large_picture_costs_few_whole_size_arrays() -> None:
    work = work_of(1024, 1104, steps=2)
    pipeline = Pipeline(Scheduler(FakeEngine()))
    gc.collect()
    gc.disable()  # nothing may wait for the collector of cycles
    tracemalloc.start()
    try:
        await pipeline.run(work)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    tiles_ahead, band = PIXELS_AHEAD * 9 * 4, 3 * HOST.band_pixels * 4
    assert peak < 2.1 * work.x_in.nbytes + tiles_ahead + 8 * band  # x_t and x_0; outputs are blended in bands


@pytest.mark.parametrize(("size", "depth"), [((300, 501), 8), ((333, 700), 16)])
async def test_pixels_written_by_bands_are_those_of_the_whole_x_0(size: tuple[int, int], depth: Depth) -> None:
    kept = await Pipeline(FakeEngine()).run(work_of(*size, depth=depth))
    written = await Pipeline(FakeEngine()).run(work_of(*size, depth=depth, keep=frozenset()))
    assert np.array_equal(written.pixels, kept.pixels)
    assert np.array_equal(written.pixels, to_pixels(kept.x_0, depth))
    with pytest.raises(ValueError, match="x_0 was not kept"):
        _ = written.x_0


async def test_the_noise_of_the_default_seed_is_drawn_once_and_never_changed() -> None:
    default_noise.cache_clear()
    first = (await Pipeline(FakeEngine()).run(work_of(24, 40, seed=0))).x_0
    again = (await Pipeline(FakeEngine()).run(work_of(24, 40, seed=0))).x_0
    assert default_noise.cache_info().misses == 1
    assert np.array_equal(default_noise(0, 24, 40), philox_noise(0, 3, 24, 40)(0))
    assert np.array_equal(first, again)
    await Pipeline(FakeEngine()).run(work_of(24, 40, seed=1))
    assert default_noise.cache_info().currsize == 1


async def test_large_pixels_are_made_off_the_event_loop_wherever_arrays_live(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def watched(x_0: np.ndarray, depth: Depth) -> Pixels:
        threads.append(threading.get_ident())
        return to_pixels(x_0, depth)

    monkeypatch.setattr(service.sampling.pipeline, "to_pixels", watched)
    for size in ((40, 40), (300, 500)):
        await Pipeline(FakeEngine(), arrays=EverywhereInline()).run(work_of(*size))
    assert threads[0] == threading.get_ident() != threads[1]
