"""Which batch sizes are worth using, and what a call costs: measured, never assumed.

A size is used only if it yields at least 5 % more rows per second than the one below it: on a CPU that is often 1. What is kept
are pairs of calls, one made soon after the other, so that a machine that slows down does not look like a batch that pays; no call
is part of two, so that one slow call does not look like it either. The second fastest of each size decide: whatever else runs on
the machine makes calls slower, and hardly ever does one seem faster than it was.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from rddm.graph import BATCH_SIZES as SIZES

WORTH = 1.05
NEWS = 0.1  # share of a new measurement in the running mean
FRESH = 16  # calls for which a measurement can be compared with a new one
TRIALS = 5  # pairs, at least, before a size is used
AGAIN = 16  # times longer than to the first trial until a size that did not pay is tried again


@dataclass(eq=False)
class Ladder:
    """Batch sizes of one model at one shape.

    only: where the engine's arithmetic depends on the batch size, the one size that every batch is filled up to.
    plans: whether the engine runs only the ladder's sizes, so that batches are filled up to the next of them.
    exact: whether a row was seen to have the same bytes in any batch, so filled up.
    ceiling: what memory allows. seconds: of a call, by rows. trials: the latest pairs: seconds of the size below, and of this one.
    """

    only: int | None = None
    plans: bool = False
    exact: bool = True
    ceiling: int = SIZES[-1]
    seconds: dict[int, float] = field(default_factory=dict)
    trials: dict[int, deque[tuple[float, float]]] = field(default_factory=dict)
    calls: int = 0
    _latest: dict[int, int] = field(default_factory=dict)  # by rows: the number of the latest call
    _unpaired: dict[int, float] = field(default_factory=dict)  # and its seconds, until it was part of a pair
    _gains: dict[int, float] = field(default_factory=dict)  # asked for far more often than they change

    def record(self, rows: int, seconds: float) -> None:
        """A call of so many rows took so many seconds."""
        self.calls += 1
        self.seconds[rows] = mean(self.seconds.get(rows), seconds)
        if rows in SIZES[1:] and self._since(rows // 2) <= FRESH and rows // 2 in self._unpaired:
            self._try(rows, self._unpaired.pop(rows // 2), seconds)
        self._latest[rows], self._unpaired[rows] = self.calls, seconds

    def _try(self, rows: int, below: float, seconds: float) -> None:
        trials = self.trials.setdefault(rows, deque(maxlen=2 * TRIALS - 1))
        trials.append((below, seconds))
        if len(trials) >= TRIALS:
            fast_below, fast = (sorted(times)[1] for times in zip(*trials, strict=True))
            self._gains[rows] = 2 * fast_below / fast

    def _since(self, rows: int) -> float:
        """Calls since the latest one of so many rows."""
        return self.calls - self._latest[rows] if rows in self._latest else math.inf

    def gain(self, size: int) -> float:
        """Rows per second relative to the size below; 0 before there are enough trials."""
        return self._gains.get(size, 0.0)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes in use: 1, and each one that is worth it over the one below."""
        if self.only is not None:
            return (min(self.only, self.ceiling),)
        used = [1]
        for size in SIZES[1:]:
            if size > self.ceiling or self.gain(size) < WORTH:
                break
            used.append(size)
        return tuple(used)

    @property
    def best(self) -> int:
        """The largest size in use."""
        return self.sizes[-1]

    def room(self, waiting: int, probe_every: int) -> int:
        """Rows of the next batch at most: the best size, or now and then one beside it, to learn what they cost now."""
        best, larger = self.best, self.next
        if best > 1 and best <= waiting and self.only is None and self._since(best // 2) > probe_every:
            return best // 2
        if larger is None or larger > waiting:
            return best
        tried = len(self.trials.get(larger, ())) >= TRIALS
        since = min(self._since(larger), self.calls)
        return larger if since >= probe_every * (AGAIN if tried else 1) else best

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


def mean(before: float | None, now: float) -> float:
    return now if before is None else before + NEWS * (now - before)
