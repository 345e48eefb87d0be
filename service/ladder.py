"""Which batch sizes are worth using, and what a call costs: measured, never assumed.

A size is used only if it yields at least 5 % more rows per second than the one below it: on a CPU that is often 1. What is kept
is the gain itself, from calls made at about the same time, so that a machine that slows down does not look like a batch that pays.
"""

import math
from dataclasses import dataclass, field

SIZES = (1, 2, 4, 8, 16)
WORTH = 1.05
NEWS = 0.1  # share of a new measurement in the running mean
FRESH = 64  # calls for which a measurement can be compared with a new one
AGAIN = 16  # times longer than to the first trial until a size that did not pay is tried again


@dataclass(eq=False)
class Ladder:
    """Batch sizes of one model at one shape.

    only: where the engine's arithmetic depends on the batch size, the one size that every batch is filled up to.
    plans: whether the engine runs only the ladder's sizes, so that batches are filled up to the next of them.
    exact: whether a row was seen to have the same bytes in any batch, so filled up.
    ceiling: what memory allows. seconds: of a call, by rows. gains: rows per second, relative to the size below.
    """

    only: int | None = None
    plans: bool = False
    exact: bool = True
    ceiling: int = SIZES[-1]
    seconds: dict[int, float] = field(default_factory=dict)
    gains: dict[int, float] = field(default_factory=dict)
    calls: int = 0
    _last: dict[int, int] = field(default_factory=dict)

    def record(self, rows: int, seconds: float) -> None:
        """A call of so many rows took so many seconds."""
        self.calls += 1
        self.seconds[rows] = _mean(self.seconds.get(rows), seconds)
        below = rows // 2
        if rows in SIZES[1:] and below in self._last and self.calls - self._last[below] <= FRESH:
            self.gains[rows] = _mean(self.gains.get(rows), 2 * self.seconds[below] / seconds)
        self._last[rows] = self.calls

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes in use: 1, and each one that is worth it over the one below."""
        if self.only is not None:
            return (min(self.only, self.ceiling),)
        used = [1]
        for size in SIZES[1:]:
            if size > self.ceiling or self.gains.get(size, 0.0) < WORTH:
                break
            used.append(size)
        return tuple(used)

    @property
    def best(self) -> int:
        """The largest size in use."""
        return self.sizes[-1]

    def room(self, waiting: int, probe_every: int) -> int:
        """Rows of the next batch at most: the best size, or now and then the next one, to learn what it costs."""
        larger = self.next
        if larger is None or larger > waiting:
            return self.best
        since = self.calls - self._last.get(larger, 0)
        return larger if since >= probe_every * (AGAIN if larger in self._last else 1) else self.best

    @property
    def next(self) -> int | None:
        """The size above the best; None at the top, or where there is only one."""
        return None if self.only is not None else next((size for size in SIZES if self.best < size <= self.ceiling), None)

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


def _mean(before: float | None, now: float) -> float:
    return now if before is None else before + NEWS * (now - before)
