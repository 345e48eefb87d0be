"""Calls of an engine, with less to write."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.engines.contract import Array, Engine, Ticket

ROUNDS_PER_SECOND = 200_000  # of tests.graphs.slow_graph, on one core


def ticket(model: str = "tiny", version: int = 1, **facts: object) -> Ticket:
    return Ticket(model, version, "request", "caller", **facts)  # type: ignore[arg-type]


def picture(rows: int = 1, side: int = 32, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 3, side, side)).astype(np.float32)


class Asking:
    """Asks an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def tiny(self, rows: int = 1, seed: int = 0, **facts: object) -> Array:
        """out_0 of the network."""
        time = np.full((rows, 2), 500, dtype=np.float32)
        [answer] = await self.engine.predict(picture(rows, seed=seed), picture(rows, seed=seed + 1), time, ticket(**facts))  # type: ignore[arg-type]
        return answer

    async def slow(self, seconds: float, **facts: object) -> Array:
        """A call of about so many seconds."""
        time = np.full((1, 2), seconds * ROUNDS_PER_SECOND, dtype=np.float32)
        [answer] = await self.engine.predict(picture(), None, time, ticket("slow", **facts))  # type: ignore[arg-type]
        return answer


async def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.05)


def own_regions() -> set[str]:
    """Names of the shared memory regions that this very process has mapped, whatever else runs on the machine."""
    return set(re.findall(r"/dev/shm/(rddm-[0-9a-f]+)", Path("/proc/self/maps").read_text()))
