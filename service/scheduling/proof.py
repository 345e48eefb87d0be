"""Proves with an engine which batch sizes of a model pay, and that a row has the same bytes in a batch as by itself."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from rddm.graph import BATCH_SIZES
from rddm.tiling import usual_size
from service.engines.arrays import Arrays
from service.engines.contract import Engine, Model, Outputs, Ticket
from service.errors import OutOfMemory
from service.scheduling.batch import fill
from service.scheduling.batch_sizes import BatchSizes

Array = Any
Trials = dict[int, list[float]]  # seconds of calls, by rows
TRIALS = 3  # of each size; the fastest counts, since other programs make calls slower, never faster
MIN_GAIN = 1.05  # rows a second over those of half the size
MAX_FILLED_COST = 2.0  # times a single row's seconds: the price of equal bytes where every batch is filled up


@dataclass(frozen=True)
class Probe:
    """An engine with a model, and rows of the model's usual shape: a small picture, or the one that it generates."""

    engine: Engine
    model: Model
    arrays: Arrays

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return usual_size(self.model.spec)

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

    async def call(self, x_t: Array, condition: Array | None, times: Array) -> Outputs:
        """One call of the engine."""
        return await self.engine.predict(x_t, condition, times, Ticket(self.model.weights, "proof", "proof"))

    async def seconds(self, count: int) -> float:
        """Seconds of a call of `count` rows."""
        rows = self.rows(count)
        start = time.perf_counter()
        await self.call(*rows)
        return time.perf_counter() - start


async def prove(probe: Probe, trials: Trials) -> BatchSizes:
    """Climbs the sizes while the next one pays, then compares bytes. Raises what the engine raises for a single row.

    trials: what earlier attempts measured, which were cancelled for the sake of a request; this one adds to it.
    """
    height, width = probe.shape
    sizes = BatchSizes(height * width, is_settled=True)
    for size in BATCH_SIZES[1:]:
        try:
            for count in (size // 2, size):
                while len(times := trials.setdefault(count, [])) < TRIALS:
                    times.append(await probe.seconds(count))
        except OutOfMemory:
            break
        if 2 * min(trials[size // 2]) < MIN_GAIN * min(trials[size]):
            break
        sizes.largest = size
    if sizes.largest > 1 and not await has_same_bytes(probe, sizes):
        sizes.largest = max(size for size in BATCH_SIZES if size in trials and _is_cheap(trials, size, sizes.largest))
        sizes.fills = sizes.largest > 1
        if sizes.fills and not await has_same_bytes(probe, sizes):
            return BatchSizes(height * width, is_settled=True)
    return sizes


def _is_cheap(trials: Trials, size: int, largest: int) -> bool:
    return size <= largest and min(trials[size]) <= MAX_FILLED_COST * min(trials[1])


async def has_same_bytes(probe: Probe, sizes: BatchSizes) -> bool:
    """Whether each row of the largest batch has the bytes in it that it has by itself, filled up where the sizes say so."""
    height, width = probe.shape
    rows = probe.rows(sizes.largest)
    together = await probe.call(*rows)
    for i in range(sizes.largest):
        single = (None if part is None else part[i : i + 1] for part in rows)
        filled = [fill(probe.arrays, [part], sizes.filled(1, height * width)) for part in single]
        isolated = await probe.call(filled[0], filled[1], filled[2])
        for one, all_ in zip(isolated, together, strict=True):
            if probe.arrays.host(one)[0].tobytes() != probe.arrays.host(all_)[i].tobytes():
                return False
    return True
