"""Calls of an engine, with less to write."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from service.engines.contract import Array, Repository, ServingEngine, Ticket, Weights

ROUNDS_PER_SECOND = 200_000  # of tests.graphs.slow_graph, on one core


def served(repository: Repository, name: str = "tiny") -> Weights:
    """The weights that take new traffic; of a model that is not served, ones that nobody has."""
    model = repository.models().get(name)
    return Weights(name, 1, "none") if model is None else model.weights


def ticket(weights: Weights, **facts: object) -> Ticket:
    return Ticket(weights, "request", "caller", **facts)  # type: ignore[arg-type]


def picture(rows: int = 1, side: int = 32, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 3, side, side)).astype(np.float32)


class Asking:
    """Asks an engine."""

    def __init__(self, engine: ServingEngine) -> None:
        self.engine = engine

    async def tiny(self, rows: int = 1, seed: int = 0, weights: Weights | None = None, **facts: object) -> Array:
        """out_0 of the network, with the weights that take new traffic if none are given."""
        time = np.full((rows, 2), 500, dtype=np.float32)
        asked = ticket(weights or served(self.engine), **facts)
        [answer] = await self.engine.predict(picture(rows, seed=seed), picture(rows, seed=seed + 1), time, asked)
        return answer

    async def slow(self, seconds: float, **facts: object) -> Array:
        """A call of about so many seconds."""
        time = np.full((1, 2), seconds * ROUNDS_PER_SECOND, dtype=np.float32)
        [answer] = await self.engine.predict(picture(), None, time, ticket(served(self.engine, "slow"), **facts))
        return answer


async def agree(engine: ServingEngine, host: ServingEngine, device: Any, tolerance: float) -> None:
    """Tensors in, tensors out, and the host engine's numbers."""
    from service.engines.torch_arrays import Tensor, TorchArrays  # noqa: PLC0415  most callers need no torch

    arrays = TorchArrays(device)
    given = [picture(3), picture(3, seed=1), np.full((3, 2), 500, np.float32)]
    [expected] = await host.predict(*given, ticket(served(host)))
    [tensor] = await engine.predict(*map(arrays.place, given), ticket(served(engine)))
    assert isinstance(tensor, Tensor)
    assert tensor.device.type == device.type
    np.testing.assert_allclose(arrays.host(tensor), expected, atol=tolerance)
    await engine.check("tiny")  # with NumPy arrays


async def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.05)


def own_regions() -> set[str]:
    """Names of the shared memory regions that this very process has mapped, whatever else runs on the machine."""
    return set(re.findall(r"/dev/shm/(rddm-[0-9a-f]+)", Path("/proc/self/maps").read_text()))
