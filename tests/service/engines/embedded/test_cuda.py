"""ONNX Runtime on torch's memory: the code that runs on a GPU, driven on CPU tensors where there is none."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from service.engines.arrays import HOST
from service.engines.embedded import cuda
from service.engines.embedded.cuda import BoundRuntime
from service.engines.embedded.engine import EmbeddedEngine, Threads
from service.engines.repository import find_newest
from service.engines.torch_arrays import TorchArrays, find_device
from service.errors import EngineUnavailable
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from tests.calls import agree, picture

CPU = torch.device("cpu")


@pytest.fixture
async def host(repository: Path) -> AsyncIterator[EmbeddedEngine]:
    one = EmbeddedEngine(repository, Threads(1))
    await one.start()
    yield one
    await one.close()


async def bound_engine(repository: Path, device: torch.device) -> EmbeddedEngine:
    one = EmbeddedEngine(repository, Threads(1), BoundRuntime(device))
    await one.start()
    return one


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
    x_in = picture(side=100)  # over most_pixels: tiles, windows and the blend are in torch, too
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
    monkeypatch.setattr(cuda, "synchronize", waits.append)
    engine = await bound_engine(repository, CPU)
    loaded = len(waits)
    pipeline = Pipeline(engine, arrays=TorchArrays(CPU))
    await pipeline.run(Work(engine.models()["tiny"], 4, 0, "request", "caller", picture(), None))
    assert len(waits) - loaded == 4
    pipeline.close()
    await engine.close()


def test_a_fall_to_the_cpu_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime-gpu does where it cannot load CUDA: a session on the CPU, and a line in the log."""
    file = find_newest(repository, "tiny")
    make = onnxruntime.InferenceSession

    def falling(data: bytes, options: onnxruntime.SessionOptions, providers: object) -> onnxruntime.InferenceSession:
        assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
        return make(data, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", falling)
    with pytest.raises(EngineUnavailable, match="has no CUDAExecutionProvider; it would run on CPUExecutionProvider"):
        BoundRuntime(torch.device("cuda")).open(file.read(), file.model, 1)
