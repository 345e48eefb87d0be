"""Measures an engine with one model: which batch sizes pay, and whether bytes depend on them."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.engines.arrays import Arrays
from service.engines.contract import Engine, Model, Ticket
from service.errors import OutOfMemory
from service.scheduling.batch import filled
from service.scheduling.ladder import TRIALS, Ladder

Array = Any
SLOWEST_TO_COMPARE = 2.0  # seconds of one call, over which larger batches are not tried
AS_QUICK = 2.0  # times a lone row's seconds: more than that, no caller is made to wait for the sake of equal bytes


@dataclass(frozen=True)
class Rig:
    """What is measured: an engine that runs `instances` calls side by side, with a model, on tiles of height x width."""

    engine: Engine
    model: Model
    instances: int
    arrays: Arrays
    plans: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """The size of the model's usual call: its tile, or the picture that it generates."""
        spec = self.model.spec
        return spec.image_size or (spec.tile, spec.tile)

    def rows(self, count: int) -> tuple[Array, Array | None, Array]:
        """x_t, condition and time of `count` rows, the same ones at each call."""
        height, width = self.shape
        draw = np.random.Generator(np.random.Philox(key=[0, 0]))
        x_t = draw.uniform(-1, 1, (count, 3, height, width)).astype(np.float32)
        channels = self.model.spec.condition_channels
        condition = draw.uniform(-1, 1, (count, channels, height, width)).astype(np.float32) if channels else None
        times = np.tile(np.linspace(1, self.model.spec.timesteps - 1, count, dtype=np.float32)[:, None], (1, 2))
        place = self.arrays.place
        return place(x_t), None if condition is None else place(condition), place(times)

    async def call(self, x_t: Array, condition: Array | None, times: Array) -> tuple[Array, ...]:
        """One call of the engine."""
        ticket = Ticket(self.model.weights, "calibration", "calibration")
        return await self.engine.predict(x_t, condition, times, ticket)

    async def seconds(self, count: int) -> float:
        """Seconds that the engine takes for calls of `count` rows, as many at once as it runs side by side."""
        rows = self.rows(count)
        start = time.perf_counter()
        await asyncio.gather(*(self.call(*rows) for _ in range(self.instances)))
        return time.perf_counter() - start


async def measure(rig: Rig) -> Ladder:
    """The ladder, climbed as long as the next size is worth it. Raises what the engine raises for a single row."""
    ladder = Ladder(plans=rig.plans)
    await rig.call(*rig.rows(1))
    ladder.record(1, await rig.seconds(1))
    while (size := ladder.next) is not None and size not in ladder.trials and ladder.seconds[1] < SLOWEST_TO_COMPARE:
        try:
            for _ in range(TRIALS):
                ladder.record(size // 2, await rig.seconds(size // 2))
                ladder.record(size, await rig.seconds(size))
        except OutOfMemory:
            ladder.shrink(size)
    if not await same_bytes(rig, ladder, max(2, ladder.best)):
        ladder.only = max(size for size in ladder.sizes if ladder.seconds[size] <= AS_QUICK * ladder.seconds[1])
        ladder.exact = await same_bytes(rig, ladder, ladder.only)
    return ladder


async def same_bytes(rig: Rig, ladder: Ladder, count: int) -> bool:
    """Whether each of `count` rows has the bytes in their batch that it has alone; alone it is filled up as the ladder says."""
    if count > ladder.ceiling:
        return True
    rows = rig.rows(count)
    together = await rig.call(*rows)
    for i in range(count):
        x_t, condition, times = (None if part is None else filled(rig.arrays, [part[i : i + 1]], ladder.padded(1)) for part in rows)
        alone = await rig.call(x_t, condition, times)
        for one, all_ in zip(alone, together, strict=True):
            if rig.arrays.host(one)[0].tobytes() != rig.arrays.host(all_)[i].tobytes():
                return False
    return True
