"""Proves with an engine which batch sizes of a model pay, and that a row has the same bytes in a batch as by itself."""

import contextlib
import time
from dataclasses import dataclass

import numpy as np

from rddm.graph import BATCH_SIZES
from rddm.tiling import usual_size
from service.engines.arrays import Arrays
from service.engines.contract import Array, Engine, Inputs, Model, Outputs, Ticket
from service.errors import OutOfMemory
from service.scheduling.batch import BatchSizes, fill

TRIALS = 3  # of each size; the fastest counts, since other programs make calls slower, never faster
MIN_GAIN = 1.05  # rows a second over those of half the size


@dataclass(frozen=True)
class Probe:
    """An engine with a model, and rows of the model's usual shape."""

    engine: Engine
    model: Model
    arrays: Arrays

    def rows(self, count: int) -> Inputs:
        """x_t, condition and time of `count` rows, the same ones at each call."""
        spec, draw = self.model.spec, np.random.Generator(np.random.Philox(key=[0, 0]))
        pixels = draw.uniform(-1, 1, (3 + spec.condition_channels, count, *usual_size(spec))).astype(np.float32).swapaxes(0, 1)
        times = np.tile(np.linspace(1, spec.timesteps - 1, count, dtype=np.float32)[:, None], (1, 2))
        x_t, condition, times = (self.arrays.place(np.ascontiguousarray(part)) for part in (pixels[:, :3], pixels[:, 3:], times))
        return x_t, condition if spec.condition_channels else None, times

    async def call(self, x_t: Array, condition: Array | None, times: Array) -> Outputs:
        """One call of the engine."""
        return await self.engine.predict(x_t, condition, times, Ticket(self.model.weights, "proof", "proof"))

    async def seconds(self, count: int) -> float:
        """Seconds of a call of `count` rows."""
        rows = self.rows(count)
        start = time.perf_counter()
        await self.call(*rows)
        return time.perf_counter() - start

    async def fastest(self, count: int) -> float:
        """Seconds of the fastest of some calls of `count` rows."""
        return min([await self.seconds(count) for _ in range(TRIALS)])


async def prove(probe: Probe, filled_rows: int = 1) -> BatchSizes:
    """Climbs the sizes while the next one pays and keeps bytes. Raises what the engine raises for a single row.

    filled_rows: what every batch is filled up to where a row's bytes depend on the size. The engine says it: seconds vary from
    start to start, and bytes must not.
    """
    height, width = usual_size(probe.model.spec)
    sizes = BatchSizes(1, height * width)
    with contextlib.suppress(OutOfMemory):
        if filled_rows > 1 and not await has_same_bytes(probe, BATCH_SIZES[1]):
            is_exact = await has_same_bytes(probe, filled_rows, filled_rows)
            return BatchSizes(filled_rows, filled_rows * height * width, fills=True) if is_exact else sizes
        half = await probe.fastest(1)
        for size in BATCH_SIZES[1:]:
            whole = await probe.fastest(size)
            if 2 * half < MIN_GAIN * whole or not await has_same_bytes(probe, size):
                break
            sizes, half = BatchSizes(size, size * height * width), whole
    return sizes


async def has_same_bytes(probe: Probe, count: int, filled: int = 1) -> bool:
    """Whether each of `count` rows has the bytes in their batch that it has by itself, filled up to so many."""
    rows = probe.rows(count)
    together = await probe.call(*rows)
    for i in range(count):
        x_t, condition, times = (fill(probe.arrays, [None if part is None else part[i : i + 1]], filled) for part in rows)
        isolated = await probe.call(x_t, condition, times)
        pairs = [(probe.arrays.host(one)[0], probe.arrays.host(all_)[i]) for one, all_ in zip(isolated, together, strict=True)]
        if any(one.tobytes() != other.tobytes() for one, other in pairs):
            return False
    return True
