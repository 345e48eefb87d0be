"""The engine in the gateway's own process: it answers as ONNX Runtime does, stops when asked, and serves only what is proven."""

import asyncio
import shutil
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from rddm.model import Model, golden_input
from service.engines.contract import WIDE_PIXELS, Engine
from service.engines.embedded.engine import EmbeddedEngine, Threads
from service.engines.embedded.sessions import OnnxRuntime
from service.engines.local import Network
from service.errors import BadAnswer, DeadlineExceeded, EngineUnavailable, InvalidValue, OutOfMemory, UnknownModel
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling.scheduler import Scheduler
from tests.calls import Asking, picture, served, ticket
from tests.graphs import altered, put
from tests.models import release_tiny, tiny_spec

SHIPPED = Path(__file__).parents[4] / "model_repository"


@pytest.fixture
async def engine(repository: Path) -> AsyncIterator[EmbeddedEngine]:
    one = EmbeddedEngine(repository, Threads(2))
    await one.start()
    yield one
    await one.close()


def graph_of(repository: Path) -> onnx.ModelProto:
    return onnx.load(repository / "tiny" / "1" / "model.onnx")


async def test_it_answers_as_the_graph_does(engine: EmbeddedEngine, repository: Path) -> None:
    session = onnxruntime.InferenceSession(repository / "tiny" / "1" / "model.onnx")
    given = {"x_t": picture(3), "condition": picture(3, seed=1), "time": np.full((3, 2), 500, dtype=np.float32)}
    np.testing.assert_array_equal(await Asking(engine).tiny(3), session.run(None, given)[0])


async def test_a_row_alone_answers_as_in_a_batch(engine: EmbeddedEngine) -> None:
    batch = await Asking(engine).tiny(4)
    alone = await Asking(engine).tiny(1)
    np.testing.assert_allclose(alone[0], batch[0], atol=1e-6)


async def test_it_knows_its_models_and_they_prove_themselves(engine: EmbeddedEngine) -> None:
    assert set(engine.models()) == {"slow", "tiny"}
    assert engine.models()["tiny"].spec == tiny_spec()
    assert engine.broken == {}
    await engine.check("tiny")


async def test_an_unknown_model_or_version_is_named(engine: EmbeddedEngine) -> None:
    with pytest.raises(UnknownModel, match=r"'nope' is not loaded; expected one of \['slow', 'tiny'\]"):
        await Asking(engine).tiny(weights=served(engine, "nope"))
    with pytest.raises(UnknownModel, match="version 7 of model 'tiny'"):
        await Asking(engine).tiny(weights=served(engine)._replace(version=7))
    with pytest.raises(UnknownModel, match="no model 'nope'"):
        await engine.load("nope")


async def test_shapes_that_do_not_fit_are_refused_by_name(engine: EmbeddedEngine) -> None:
    time_ = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(InvalidValue, match=r"takes \['condition', 'time', 'x_t'\]"):
        await engine.predict(picture(), None, time_, ticket(served(engine)))
    with pytest.raises(InvalidValue, match=r"condition of model 'tiny' has shape \(1, 3, 16, 16\)"):
        await engine.predict(picture(), picture(side=16), time_, ticket(served(engine)))
    with pytest.raises(InvalidValue, match="multiples of 4, got 30 x 30"):
        await engine.predict(picture(side=30), picture(side=30), time_, ticket(served(engine)))


async def test_a_passed_deadline_ends_a_running_call(engine: EmbeddedEngine) -> None:
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="while the network ran"):
        await Asking(engine).slow(20, deadline=start + 0.2)
    with pytest.raises(DeadlineExceeded, match="before the network was called"):
        await Asking(engine).slow(20, deadline=start)
    assert time.monotonic() - start < 5


async def test_cancelled_calls_stop_computing_and_queued_ones_never_start(repository: Path) -> None:
    engine = EmbeddedEngine(repository, Threads(1))
    await engine.start()
    calls = [asyncio.create_task(Asking(engine).slow(60)) for _ in range(3)]
    await asyncio.sleep(0.2)
    for call in calls:
        call.cancel()
    async with asyncio.timeout(10):  # the one thread is free again long before the minutes are over
        await Asking(engine).tiny()
    assert all(call.cancelled() for call in calls)
    await engine.close()


async def test_calls_run_side_by_side(engine: EmbeddedEngine) -> None:
    first = asyncio.create_task(Asking(engine).slow(60))
    await asyncio.sleep(0.1)
    await Asking(engine).tiny()
    assert not first.done()
    first.cancel()


async def test_a_corrupt_file_leaves_the_other_models_serving(repository: Path) -> None:
    (repository / "tiny" / "1" / "model.onnx").write_bytes(b"not a model")
    engine = EmbeddedEngine(repository)
    await engine.start()
    assert set(engine.models()) == {"slow"}
    assert "corrupt: its file has another digest" in engine.broken["tiny"]
    await Asking(engine).slow(0.001)
    await engine.close()


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [("name = 1", "cannot be used"), ('name: "tiny" backend: "pytorch"', "is for the backend 'pytorch'")],
)
async def test_a_configuration_that_cannot_be_used_is_refused(repository: Path, configuration: str, reason: str) -> None:
    (repository / "tiny" / "config.pbtxt").write_text(configuration)
    engine = EmbeddedEngine(repository)
    await engine.start()
    assert reason in engine.broken["tiny"]
    await engine.close()


async def test_an_empty_repository_is_no_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=f"no model could be loaded from {tmp_path}; expected a folder each"):
        await EmbeddedEngine(tmp_path).start()


async def test_what_a_killed_export_left_is_no_model(repository: Path) -> None:
    shutil.copytree(repository / "tiny", repository / ".staging-x")
    engine = EmbeddedEngine(repository)
    await engine.start()
    assert (set(engine.models()), engine.broken) == ({"slow", "tiny"}, {})
    with pytest.raises(UnknownModel, match=r"expected one of \['slow', 'tiny'\]"):
        await engine.load(".staging-x")
    await engine.close()


@pytest.mark.parametrize(
    ("how", "reason"),
    [("nan", "not finite"), ("off", "away from its golden answer"), ("tall", r"shape \(1, 3, 64, 32\); expected \(1, 3, 32, 32\)")],
)
async def test_a_new_version_that_answers_wrongly_never_gets_traffic(engine: EmbeddedEngine, repository: Path, how, reason) -> None:
    before = await Asking(engine).tiny()
    put(repository, tiny_spec(), altered(graph_of(repository), how), 2, engine.models()["tiny"])
    with pytest.raises(EngineUnavailable, match=reason):
        await engine.load("tiny")
    assert engine.models()["tiny"].version == 1
    assert "tiny" in engine.broken
    np.testing.assert_array_equal(await Asking(engine).tiny(), before)


async def test_a_request_finishes_on_the_version_it_started_with(
    engine: EmbeddedEngine, repository: Path, second_version: Path
) -> None:
    before = await Asking(engine).tiny()
    shutil.copytree(second_version / "tiny", repository / "tiny", dirs_exist_ok=True)
    with engine.lease("tiny") as held:
        assert (await engine.load("tiny")).version == 2
        assert engine.models()["tiny"].version == 2
        np.testing.assert_array_equal(await Asking(engine).tiny(weights=held.weights), before)
        assert np.abs(await Asking(engine).tiny() - before).max() > 0.01
    with pytest.raises(UnknownModel, match="version 1 of model 'tiny' is no longer loaded"):
        await Asking(engine).tiny(weights=held.weights)


class Interrupted:
    """An engine; something happens once, after its first answer."""

    def __init__(self, engine: EmbeddedEngine, happens: Callable[[], Awaitable[None]]) -> None:
        self.engine, self.happens = engine, happens

    async def predict(self, *given):
        outputs = await self.engine.predict(*given)
        if self.happens is not None:
            happens, self.happens = self.happens, None
            await happens()
        return outputs


async def test_a_version_exported_anew_between_two_steps_is_for_later_requests(engine: EmbeddedEngine, repository: Path) -> None:
    async def exported_anew() -> None:
        release_tiny(repository, seed=1, version=1, replace=True)
        await engine.load("tiny")

    async def restored(model: Model, engine: Engine) -> np.ndarray:
        scheduler = Scheduler(engine, 2)
        pipeline = Pipeline(scheduler, scheduler)
        result = await pipeline.run(Work(model, 3, 5, "request", "caller", picture()))
        pipeline.close()
        return result.x_0

    with engine.lease("tiny") as held:
        before = await restored(held, engine)
        sessions = weakref.ref(engine._versions.find(held.weights)[1])
        np.testing.assert_array_equal(await restored(held, Interrupted(engine, exported_anew)), before)
        anew = engine.models()["tiny"]
        assert (anew.version, anew.digest == held.digest) == (1, False)
        assert np.abs(await restored(anew, engine) - before).max() > 0.01
        assert sessions() is not None
    assert sessions() is None
    with pytest.raises(UnknownModel, match=f"version 1 of model 'tiny' is no longer loaded with the digest {held.digest[:8]}"):
        await restored(held, engine)


async def test_an_unloaded_model_serves_whoever_holds_it_to_the_end(engine: EmbeddedEngine) -> None:
    with engine.lease("tiny") as held:
        await engine.unload("tiny")
        assert "tiny" not in engine.models()
        await Asking(engine).tiny(weights=held.weights)
    with pytest.raises(UnknownModel):
        await Asking(engine).tiny()
    assert (await engine.load("tiny")).version == 1
    await Asking(engine).tiny()


class Crowded(OnnxRuntime):
    """On a machine whose memory is full."""

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:
        network = super().open(data, model, threads, exclusive=exclusive)
        return Through(lambda *given: self.run(network, *given))

    def run(self, network, feeds, ended):
        if len(feeds["x_t"]) > 1:
            raise onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException("bad allocation")
        return network.run(feeds, ended)


@dataclass
class Through:
    """A network that is a function."""

    act: Callable

    def run(self, feeds, ended):
        return self.act(feeds, ended)


async def test_a_batch_without_room_has_its_own_error_so_that_a_smaller_one_can_be_tried(repository: Path) -> None:
    engine = EmbeddedEngine(repository, runtime=Crowded())
    await engine.start()
    with pytest.raises(OutOfMemory, match="no memory for model 'tiny'"):
        await Asking(engine).tiny(2)
    await Asking(engine).tiny(1)
    await engine.close()


async def test_an_answer_that_is_not_finite_is_refused(engine: EmbeddedEngine) -> None:
    x_t = picture()
    x_t[0, 0, 0, 0] = np.inf
    with pytest.raises(BadAnswer, match="out_0 of model 'tiny' holds values that are not finite"):
        await engine.predict(x_t, picture(), np.zeros((1, 2), dtype=np.float32), ticket(served(engine)))


class Counting(OnnxRuntime):
    """Notes the threads of the networks it opens, and of the one that each call is given.

    unlike: whether networks of several threads answer otherwise.
    """

    def __init__(self, *, unlike: bool = False) -> None:
        self.unlike, self.made, self.used = unlike, [], []

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:
        network = super().open(data, model, threads, exclusive=exclusive)
        self.made.append(threads)

        def run(*given):
            self.used.append(threads)
            return tuple(one + (self.unlike and threads > 1) for one in network.run(*given))

        return Through(run)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A repository with a model that takes large pictures in one call."""
    release_tiny(tmp_path, tiny_spec(most_pixels=WIDE_PIXELS))
    return tmp_path


async def called(folder: Path, runner: Counting, threads: Threads) -> list[tuple[int, bytes]]:
    """A large picture asked for beside others and alone: the threads that its call was given, and the answer."""
    engine, answers = EmbeddedEngine(folder, threads, runner), []
    await engine.start()
    for alone in (False, True):
        [answer] = await engine.predict(
            picture(side=320), picture(side=320, seed=1), np.full((1, 2), 500, np.float32), ticket(served(engine), exclusive=alone)
        )
        answers.append((runner.used[-1], answer.tobytes()))
    await engine.close()
    return answers


async def test_a_call_that_has_the_engine_to_itself_takes_all_threads_and_answers_with_the_same_bytes(large: Path) -> None:
    beside, alone = await called(large, Counting(), Threads(2))
    assert (beside[0], alone[0]) == (1, 2)
    assert beside[1] == alone[1]
    assert [threads for threads, _ in await called(large, Counting(), Threads(1))] == [1, 1]


async def test_threads_that_wait_awake_while_a_lone_call_runs_sleep_when_it_has_ended(large: Path) -> None:
    engine = EmbeddedEngine(large, Threads(2))
    await engine.start()
    x_t, condition, times = picture(side=320), picture(side=320, seed=1), np.full((1, 2), 500, np.float32)
    await engine.predict(x_t, condition, times, ticket(served(engine), exclusive=True))
    before = time.process_time()
    await asyncio.sleep(0.3)
    assert time.process_time() - before < 0.01
    await engine.close()


async def test_a_model_is_opened_for_all_threads_once_and_not_at_all_where_its_file_is_gone(large: Path) -> None:
    runner = Counting()
    await called(large, runner, Threads(2))
    assert runner.made == [1, 2]
    engine = EmbeddedEngine(large, Threads(2), runner := Counting())
    await engine.start()
    shutil.rmtree(large / "tiny" / "1")
    for _ in range(2):
        await Asking(engine).tiny(exclusive=True)
    assert (runner.made, runner.used[-2:]) == ([1], [1, 1])
    await engine.close()


async def test_more_threads_that_answer_otherwise_are_not_used(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert [threads for threads, _ in await called(large, Counting(unlike=True), Threads(3))] == [1, 1]
    assert "answers otherwise with 3 threads" in caplog.text


async def test_one_request_opens_the_network_of_all_threads_first(large: Path) -> None:
    runner = Counting()
    engine = EmbeddedEngine(large, Threads(3), runner)
    engine.restrict(list, one_request=True)
    try:
        await engine.start()
        assert runner.made == [3]
        runner.used.clear()
        x_t, condition, times = picture(side=320), picture(side=320, seed=1), np.full((1, 2), 500, np.float32)
        answers = []
        for alone, threads in ((True, 3), (False, 1), (True, 3)):
            [answer] = await engine.predict(x_t, condition, times, ticket(served(engine), exclusive=alone))
            assert runner.used[-1] == threads
            answers.append(answer.tobytes())
        assert runner.made == [3, 1]
        assert len(set(answers)) == 1
    finally:
        await engine.close()


@pytest.mark.parametrize("threads", [2, 7])
async def test_what_ships_answers_with_the_same_bytes_in_any_threads(threads: int, caplog: pytest.LogCaptureFixture) -> None:
    runner = Counting()
    engine = EmbeddedEngine(SHIPPED, Threads(threads), runner)
    await engine.start()
    restorers = [model for model in engine.models().values() if model.spec.start == "image"]
    assert set(runner.made) == {1}, "opened for all threads before a picture asked for them"
    for model in restorers:
        feeds = golden_input(model.spec)
        await engine.predict(feeds["x_t"], feeds["condition"], feeds["time"], ticket(model.weights, exclusive=True))
    await engine.close()
    assert runner.made.count(threads) == len(restorers) >= 3
    assert "answers otherwise" not in caplog.text


async def test_a_model_of_small_calls_has_one_session(repository: Path) -> None:
    runner = Counting()
    engine = EmbeddedEngine(repository, Threads(2), runner)
    await engine.start()
    await engine.close()
    assert runner.made == [1, 1]


@pytest.mark.parametrize("wrong", [{"instances": 0}, {"instances": 1, "each": 0}])
def test_threads_are_at_least_one(wrong: dict) -> None:
    with pytest.raises(ValueError, match="= 0 must be at least 1"):
        Threads(**wrong)
