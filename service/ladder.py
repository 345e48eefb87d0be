"""Which batch sizes are worth using, and what a call costs: measured, never assumed.

A size is used only if it yields at least 5 % more rows per second than the one below it: on a CPU that is often 1.
"""

import math
from dataclasses import dataclass, field

SIZES = (1, 2, 4, 8, 16)
WORTH = 1.05
MEMORY = 0.1  # share of a new measurement in the running mean


@dataclass(eq=False)
class Ladder:
    """Batch sizes of one model at one shape.

    only: where the engine's arithmetic depends on the batch size, the one size that every batch is filled up to.
    plans: whether the engine runs only the ladder's sizes, so that batches are filled up to the next of them.
    exact: whether a row was seen to have the same bytes in any batch, so filled up.
    ceiling: what memory allows.
    """

    only: int | None = None
    plans: bool = False
    exact: bool = True
    ceiling: int = SIZES[-1]
    seconds: dict[int, float] = field(default_factory=dict)
    calls: int = 0

    def record(self, rows: int, seconds: float) -> None:
        """A call of so many rows took so many seconds; the latest calls count most."""
        self.calls += 1
        before = self.seconds.get(rows, seconds)
        self.seconds[rows] = before + MEMORY * (seconds - before)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes in use: 1, and each measured one that is worth it over the one in use below."""
        if self.only is not None:
            return (min(self.only, self.ceiling),)
        used = [1]
        for size in SIZES[1:]:
            if size > self.ceiling or size not in self.seconds or 1 not in self.seconds:
                break
            if self._rate(size) < WORTH * self._rate(used[-1]):
                break
            used.append(size)
        return tuple(used)

    def _rate(self, rows: int) -> float:
        return rows / self.seconds[rows]

    @property
    def best(self) -> int:
        """The largest size in use."""
        return self.sizes[-1]

    def padded(self, rows: int) -> int:
        """How many rows a batch of `rows` is filled up to."""
        if self.only is None and not self.plans:
            return rows
        return min((size for size in self.sizes if size >= rows), default=rows)

    def shrink(self, rows: int) -> None:
        """A batch of so many rows did not fit into memory: from now on at most half of it."""
        self.ceiling = max(1, min(self.ceiling, rows // 2))

    def seconds_of(self, rows: int) -> float:
        """Seconds of a call, from the nearest size that was measured, in proportion; NaN before the first."""
        if not self.seconds:
            return math.nan
        nearest = min(self.seconds, key=lambda size: abs(size - rows))
        return self.seconds[nearest] * rows / nearest

    @property
    def next(self) -> int | None:
        """The size above all that were measured, if the largest of those is worth its while; else None."""
        largest = max(self.seconds, default=0)
        if self.only is not None or (self.seconds and self.best != largest):
            return None
        return next((size for size in SIZES if largest < size <= self.ceiling), None)
