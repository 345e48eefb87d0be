"""What goes wrong with Triton, each case on a real server; after each of them the service still answers."""

import asyncio
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from docker.triton.server import Server
from rddm.objective import predict
from rddm.sampler import philox_noise, sample
from rddm.schedule import make_schedule
from service.engines.triton.engine import TritonEngine
from service.engines.triton.shared_memory import FOLDER
from service.errors import BadAnswer, EngineUnavailable, QueueFull, ServiceError, UnknownModel
from tests.calls import Asking, own_regions, picture, served, ticket, until
from tests.graphs import altered, put
from tests.models import release_tiny, tiny_spec
from tests.servers import started

pytestmark = pytest.mark.tritonserver


@asynccontextmanager
async def gateway(*servers: Server, **options: object) -> AsyncIterator[TritonEngine]:
    engine = TritonEngine([server.url for server in servers], **{"probe_seconds": 0.2} | options)  # type: ignore[arg-type]
    await engine.start()
    if all(server.process for server in servers):
        await until(lambda: engine.broken == {}, 60)  # on a machine that is busy the first attempt may come to nothing
    try:
        yield engine
    finally:
        await engine.close()


async def answers_again(engine: TritonEngine, seconds: float = 60) -> None:
    """The service heals by itself within the time."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await engine.check("tiny")
                await Asking(engine).tiny()
            except ServiceError:
                await asyncio.sleep(0.1)
            else:
                return


@pytest.fixture(scope="module")
def shared_server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from started(Path(shutil.copytree(exported, tmp_path_factory.mktemp("faults") / "repository")))


@pytest.fixture
def own_server(shared_server: Server, exported: Path) -> Iterator[Server]:
    """A test may break it as it likes: what it changed in the repository is undone, and the models are loaded again."""
    yield shared_server
    repository = shared_server.repository
    if contents(repository) != contents(exported):
        shutil.rmtree(repository)
        shutil.copytree(exported, repository)
        for verb in ("unload", "load"):
            control(shared_server, "tiny", verb)


@pytest.fixture
def repository(own_server: Server) -> Path:
    """The server's own."""
    return own_server.repository


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def control(server: Server, model: str, verb: str) -> None:
    url = f"http://127.0.0.1:{server.http}/v2/repository/models/{model}/{verb}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST", data=b"{}"), timeout=60).close()


@pytest.fixture
def other_server(exported: Path, tmp_path: Path) -> Iterator[Server]:
    yield from started(Path(shutil.copytree(exported, tmp_path / "other")))


async def test_down_at_the_start(own_server: Server) -> None:
    own_server.kill()
    async with gateway(own_server) as engine:
        assert engine.models() == {}
        assert "*" in engine.broken
        await asyncio.to_thread(own_server.start)
        await answers_again(engine)
        assert engine.broken == {}


@pytest.mark.parametrize("transport", ["bytes", "system"])
async def test_killed_between_steps_and_started_anew_with_shared_memory_lost(own_server: Server, transport: str) -> None:
    async with gateway(own_server, transport=transport) as engine:
        before = await Asking(engine).tiny()
        own_server.kill()
        with pytest.raises(EngineUnavailable):
            await Asking(engine).tiny()
        with pytest.raises(EngineUnavailable, match="model 'tiny' has no healthy server"):
            await engine.check("tiny")
        await asyncio.to_thread(own_server.start)
        await answers_again(engine)
        np.testing.assert_allclose(await Asking(engine).tiny(), before, atol=1e-5)


async def test_restarted_between_two_calls_without_anybody_noticing(own_server: Server) -> None:
    """The regions that the gateway knows to be registered are not any more."""
    async with gateway(own_server, transport="system") as engine:
        before = await Asking(engine).tiny()
        [remote] = engine._servers.values()
        async with remote._examining:  # no round sees the server while it is away
            own_server.kill()
            await asyncio.to_thread(own_server.start)
            await asyncio.sleep(1)
            np.testing.assert_allclose(await Asking(engine).tiny(), before, atol=1e-5)
        assert engine.events["lost"] == 0


async def test_stopped(own_server: Server) -> None:
    async with gateway(own_server) as engine:
        for _ in range(3):
            await Asking(engine).tiny()
        own_server.signal_all(signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(EngineUnavailable, match=r"took more than [\d.]+ s"):
            await Asking(engine).tiny(deadline=start + 240)
        assert time.monotonic() - start < 60, "a step has its own timeout, far below the deadline"
        own_server.signal_all(signal.SIGCONT)
        await answers_again(engine)


@pytest.mark.usefixtures("patient")
async def test_the_queue_is_full(own_server: Server) -> None:
    async with gateway(own_server) as engine:
        calls = [asyncio.create_task(Asking(engine).slow(0.2)) for _ in range(120)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, QueueFull)]
        assert refused
        assert all(isinstance(answer, QueueFull | np.ndarray) for answer in answers)
        assert refused[0].retry_after
        assert engine.broken == {}, "a full queue is no dead server"
        await Asking(engine).slow(0.001)


async def test_a_crashed_backend_process_is_brought_back(own_server: Server) -> None:
    async with gateway(own_server) as engine:
        for pid in own_server.stubs():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await Asking(engine).tiny()
        await answers_again(engine)


@pytest.mark.parametrize("how", ["nan", "off", "tall"])
async def test_a_new_version_that_answers_wrongly_never_gets_traffic(own_server: Server, repository: Path, how: str) -> None:
    async with gateway(own_server) as engine:
        before = await Asking(engine).tiny()
        graph = onnx.load(repository / "tiny" / "1" / "model.onnx")
        put(repository, tiny_spec(), altered(graph, how), 2, engine.models()["tiny"])
        with pytest.raises(EngineUnavailable, match=r"finite|golden|shape"):
            await engine.load("tiny")
        assert engine.models()["tiny"].version == 1
        await engine.check("tiny")
        np.testing.assert_allclose(await Asking(engine).tiny(), before, atol=1e-5)


@pytest.mark.parametrize(("how", "reason"), [("nan", "not finite"), ("tall", "shape")])
@pytest.mark.parametrize("transport", ["bytes", "system"])
async def test_a_server_that_begins_to_answer_wrongly(
    own_server: Server, repository: Path, how: str, reason: str, transport: str
) -> None:
    """READY all the time, but /readyz tells; and back when healed."""
    right = (repository / "tiny" / "1" / "model.onnx").read_bytes()
    async with gateway(own_server, transport=transport) as engine:
        await Asking(engine).tiny()
        [remote] = engine._servers.values()
        (repository / "tiny" / "1" / "model.onnx").write_bytes(altered(onnx.load_from_string(right), how).SerializeToString())
        await remote.load("tiny")
        with pytest.raises((BadAnswer, EngineUnavailable)):
            await Asking(engine).tiny()
        with pytest.raises(EngineUnavailable, match=reason):
            await engine.check("tiny")
        await Asking(engine).slow(0.001)
        (repository / "tiny" / "1" / "model.onnx").write_bytes(right)
        await remote.load("tiny")
        await answers_again(engine)


async def test_a_corrupt_new_version_leaves_the_old_one_serving(own_server: Server, repository: Path) -> None:
    async with gateway(own_server) as engine:
        (repository / "tiny" / "2").mkdir()
        (repository / "tiny" / "2" / "model.onnx").write_bytes(b"not a model")
        with pytest.raises(EngineUnavailable, match="could not load model 'tiny'"):
            await engine.load("tiny")
        await engine.check("tiny")
        await Asking(engine).tiny()


async def test_a_corrupt_model_leaves_the_others_serving(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "repository"))
    (folder / "tiny" / "1" / "model.onnx").write_bytes(b"not a model")
    for server in started(folder):
        async with gateway(server) as engine:
            assert set(engine.models()) == {"slow"}
            await Asking(engine).slow(0.001)
            shutil.copytree(exported, folder, dirs_exist_ok=True)
            assert (await engine.load("tiny")).version == 1
            await Asking(engine).tiny()


async def test_a_request_finishes_on_its_version_while_a_new_one_takes_over(
    own_server: Server, repository: Path, second_version: Path
) -> None:
    async with gateway(own_server) as engine:
        before = await Asking(engine).tiny()
        shutil.copytree(second_version / "tiny", repository / "tiny", dirs_exist_ok=True)
        with engine.lease("tiny") as held:
            assert (await engine.load("tiny")).version == 2
            np.testing.assert_allclose(await Asking(engine).tiny(weights=held.weights), before, atol=1e-5)
            assert np.abs(await Asking(engine).tiny() - before).max() > 0.01
        assert engine.models()["tiny"].version == 2


async def test_a_version_exported_anew_answers_no_request_of_the_old_one(own_server: Server, repository: Path) -> None:
    async with gateway(own_server) as engine:
        before = await Asking(engine).tiny()
        with engine.lease("tiny") as held:
            release_tiny(repository, seed=1, version=1, replace=True)
            anew = await engine.load("tiny")
            assert (anew.version, anew.digest == held.digest) == (1, False)
            assert np.abs(await Asking(engine).tiny() - before).max() > 0.01
            with pytest.raises(EngineUnavailable, match="model 'tiny' has no healthy server"):
                await Asking(engine).tiny(weights=held.weights)
        with pytest.raises(UnknownModel, match="version 1 of model 'tiny' is no longer loaded with the digest"):
            await Asking(engine).tiny(weights=held.weights)


async def test_another_gateway_follows_a_new_version(own_server: Server, repository: Path, second_version: Path) -> None:
    async with gateway(own_server) as one, gateway(own_server) as other:
        shutil.copytree(second_version / "tiny", repository / "tiny", dirs_exist_ok=True)
        await one.load("tiny")
        await until(lambda: other.models()["tiny"].version == 2)
        await Asking(other).tiny()


async def test_models_go_and_come_back(own_server: Server) -> None:
    async with gateway(own_server) as engine, gateway(own_server) as other:
        with engine.lease("tiny") as held:
            await engine.unload("tiny")
            assert set(engine.models()) == {"slow"}
            await asyncio.sleep(0.5)
            await Asking(other).tiny(weights=held.weights)
        await until(lambda: "tiny" not in other.models())
        with pytest.raises(UnknownModel):
            await Asking(engine).tiny()
        await engine.load("tiny")
        await Asking(engine).tiny()
        await answers_again(other)


async def test_a_server_that_dies_mid_request_is_replaced_from_the_step_it_was_at(own_server: Server, other_server: Server) -> None:
    spec = tiny_spec()
    schedule = make_schedule(spec.schedule, spec.timesteps)
    x_in = picture()

    async def restore(engine: TritonEngine, kill_at: int | None) -> np.ndarray:
        sampling = sample(spec, schedule, x_in, philox_noise(3, 3, 32, 32), 5)
        question = next(sampling)
        while True:
            if question.step == kill_at:
                own_server.kill()
            time_ = np.asarray([question.time], np.float32)
            outputs = await engine.predict(question.x_t, x_in, time_, ticket(served(engine)))
            try:
                question = sampling.send(predict(spec, schedule, outputs, question.x_t, x_in, question.t))
            except StopIteration as end:
                return end.value

    # Examined so seldom that a step, not a round of examination, finds the dead server.
    async with gateway(own_server, other_server, probe_seconds=30) as engine:
        undisturbed = await restore(engine, None)
        assert engine.events["retried"] == 0
        np.testing.assert_allclose(await restore(engine, kill_at=3), undisturbed, atol=1e-5)
        assert (engine.events["retried"], engine.events["lost"]) == (1, 0)
        await engine.check("tiny")  # one healthy server is left
        await asyncio.to_thread(own_server.start)
        engine._probe_seconds = 0.2
        engine._wake.set()
        await until(lambda: not engine.broken, 60)
        await Asking(engine).tiny()


@pytest.mark.usefixtures("patient")
async def test_a_cancelled_calls_region_is_never_used_again(own_server: Server) -> None:
    async with gateway(own_server, transport="system") as engine:
        call = asyncio.create_task(Asking(engine).slow(30))
        await asyncio.sleep(0.3)
        before = own_regions()
        call.cancel()
        await Asking(engine).tiny()
        [kept] = own_regions()
        assert kept not in before, "the cancelled call's region is never used again"
    assert own_regions() == set()
    assert not (FOLDER / kept).exists()
