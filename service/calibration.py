"""Measures an engine with one model: which batch sizes pay, whether bytes depend on them, how many batches to keep in flight."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.arrays import Arrays
from service.batch import filled
from service.engines.contract import Engine, Model, Ticket
from service.errors import OutOfMemory
from service.ladder import WORTH, Ladder

Array = Any
ROUNDS = 5
BUDGET_SECONDS = 2.0  # per batch size; a slow network is measured once
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
        ticket = Ticket(self.model.spec.name, self.model.version, "calibration", "calibration")
        return await self.engine.predict(x_t, condition, times, ticket)

    async def seconds(self, count: int, calls: int) -> float:
        """The least seconds, over some rounds, that `calls` calls at once of `count` rows take."""
        rows = self.rows(count)
        taken: list[float] = []
        while len(taken) < ROUNDS and sum(taken) < BUDGET_SECONDS:
            start = time.perf_counter()
            await asyncio.gather(*(self.call(*rows) for _ in range(calls)))
            taken.append(time.perf_counter() - start)
        return min(taken)


async def measure(rig: Rig) -> Ladder:
    """The ladder, climbed as long as the next size is worth it. Raises what the engine raises for a single row."""
    ladder = Ladder(plans=rig.plans)
    await rig.call(*rig.rows(1))
    ladder.record(1, await rig.seconds(1, rig.instances))
    while (size := ladder.next) not in ladder.seconds and size is not None and ladder.seconds[1] < SLOWEST_TO_COMPARE:
        try:
            ladder.record(size, await rig.seconds(size, rig.instances))
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


async def depth(rig: Rig, ladder: Ladder) -> int:
    """Batches per instance to keep in flight: 2 if that hides the time between them, 1 if the second would only wait its turn."""
    one_by_one = 2 * await rig.seconds(ladder.best, rig.instances)
    ahead = await rig.seconds(ladder.best, 2 * rig.instances)
    return 2 if one_by_one >= WORTH * ahead else 1
