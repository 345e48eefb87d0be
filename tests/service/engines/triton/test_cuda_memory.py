"""Memory shared with a Triton server as tensors: the code that runs on a GPU, driven on CPU tensors where there is none."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from docker.triton.server import Server
from service.engines.embedded.engine import EmbeddedEngine, Threads
from service.engines.triton.cuda_memory import HostRegion, TensorRegion, make_region
from service.engines.triton.engine import TritonEngine
from service.engines.triton.shared_memory import FOLDER
from tests.calls import agree, own_regions

CPU = torch.device("cpu")


@pytest.fixture
async def host(repository: Path) -> AsyncIterator[EmbeddedEngine]:
    one = EmbeddedEngine(repository, Threads(1))
    await one.start()
    yield one
    await one.close()


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
