"""Sampler state in torch: the code that runs on a GPU, driven on CPU tensors where there is none."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from docker.triton.server import Server
from service.engines import gpu
from service.engines.arrays import HOST
from service.engines.embedded.engine import EmbeddedEngine, Threads
from service.engines.gpu import HostRegion, IoBindingRunner, TensorRegion, TorchArrays, find_device, make_region
from service.engines.triton.engine import TritonEngine
from service.engines.triton.shared_memory import FOLDER
from service.errors import EngineUnavailable
from service.sampling.pipeline import Pipeline, Work
from tests.calls import own_regions, picture, served, ticket

CPU = torch.device("cpu")


@pytest.fixture
async def host(repository: Path) -> AsyncIterator[EmbeddedEngine]:
    one = EmbeddedEngine(repository, Threads(1))
    await one.start()
    yield one
    await one.close()


async def bound_engine(repository: Path, device: torch.device) -> EmbeddedEngine:
    one = EmbeddedEngine(repository, Threads(1), IoBindingRunner(device))
    await one.start()
    return one


async def agree(engine: EmbeddedEngine | TritonEngine, host: EmbeddedEngine, device: torch.device, tolerance: float) -> None:
    """Tensors in, tensors out, and the host engine's numbers."""
    arrays = TorchArrays(device)
    given = [picture(3), picture(3, seed=1), np.full((3, 2), 500, np.float32)]
    [expected] = await host.predict(*given, ticket(served(host)))
    [found] = await engine.predict(*map(arrays.place, given), ticket(served(engine)))
    assert isinstance(found, torch.Tensor)
    assert found.device.type == device.type
    np.testing.assert_allclose(arrays.host(found), expected, atol=tolerance)
    await engine.check("tiny")  # with NumPy arrays


async def test_bound_to_torchs_memory_the_answers_are_the_same(repository: Path, host: EmbeddedEngine) -> None:
    engine = await bound_engine(repository, CPU)
    await agree(engine, host, CPU, 1e-5)
    await engine.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
async def test_on_a_gpu_the_answers_are_the_same(repository: Path, host: EmbeddedEngine) -> None:
    device = find_device("cuda")
    engine = await bound_engine(repository, device)
    await agree(engine, host, device, 4e-3)  # TF32
    await engine.close()


async def test_a_picture_restored_in_torch_is_the_one_restored_in_numpy(repository: Path, host: EmbeddedEngine) -> None:
    engine = await bound_engine(repository, CPU)
    x_in = picture(side=100)  # over whole_max: tiles, windows and the blend are in torch, too
    pictures = []
    for one, arrays in ((host, HOST), (engine, TorchArrays(CPU))):
        pipeline = Pipeline(one, arrays=arrays)
        result = await pipeline.run(Work(one.models()["tiny"], 3, 5, "request", "caller", x_in, None))
        pictures.append(result.x_0)
        pipeline.close()
    np.testing.assert_allclose(*pictures, atol=1e-5)
    await engine.close()


async def test_exactly_one_synchronisation_precedes_each_call(
    repository: Path, host: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[torch.device] = []
    monkeypatch.setattr(gpu, "settle", waits.append)
    engine = await bound_engine(repository, CPU)
    loaded = len(waits)
    pipeline = Pipeline(engine, arrays=TorchArrays(CPU))
    await pipeline.run(Work(engine.models()["tiny"], 4, 0, "request", "caller", picture(), None))
    assert len(waits) - loaded == 4
    pipeline.close()
    await engine.close()


def test_a_fall_to_the_cpu_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime-gpu does where it cannot load CUDA: a session on the CPU, and a line in the log."""
    data = (repository / "tiny" / "1" / "model.onnx").read_bytes()
    make = onnxruntime.InferenceSession

    def falling(data: bytes, options: onnxruntime.SessionOptions, providers: object) -> onnxruntime.InferenceSession:
        assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
        return make(data, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", falling)
    with pytest.raises(EngineUnavailable, match="has no CUDAExecutionProvider; it would run on CPUExecutionProvider"):
        IoBindingRunner(torch.device("cuda")).session(data, onnxruntime.SessionOptions())


def test_an_unknown_or_absent_device_is_named() -> None:
    with pytest.raises(ValueError, match=r"'meta' is not served; expected one of \['cuda', 'cpu'\]"):
        find_device("meta")
    with pytest.raises(EngineUnavailable, match=r"no device 'cuda:99'; torch sees \d+ GPUs"):
        find_device("cuda:99")


def test_a_region_gives_back_what_was_put_at_an_offset() -> None:
    region = TensorRegion(torch.zeros(4096, dtype=torch.uint8))
    first, second = torch.rand(1, 3, 4, 4), np.float32(np.random.default_rng(0).random((2, 2)))
    region.write(0, first)
    region.write(1024, second)
    region.settle()
    torch.testing.assert_close(region.read(0, (1, 3, 4, 4)), first)
    np.testing.assert_array_equal(region.read(1024, (2, 2)).numpy(), second)
    kept = region.read(0, (1, 3, 4, 4))
    region.write(0, first * 0)
    torch.testing.assert_close(kept, first)  # what was read is a copy: the next call may have the region


def test_a_host_region_leaves_nothing_behind() -> None:
    region = HostRegion(1 << 20)
    assert (FOLDER / region.name).exists()
    region.free()
    region.free()
    assert not (FOLDER / region.name).exists()


@pytest.mark.tritonserver
async def test_tensors_reach_a_server_through_regions_that_are_tensors(
    server: Server, repository: Path, host: EmbeddedEngine
) -> None:
    engine = TritonEngine([server.url], make_region=make_region(CPU))
    await engine.start()
    await asyncio.gather(*(agree(engine, host, CPU, 1e-5) for _ in range(3)))
    await engine.close()
    assert own_regions() == set()
