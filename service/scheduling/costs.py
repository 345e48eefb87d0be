"""What calls cost, by model and shape, and each model's batch sizes: learnt from real calls."""

import math
from collections import OrderedDict

from service.engines.contract import Weights
from service.scheduling.batch_sizes import BatchSizes

Shape = tuple[Weights, int, int]  # and height, width
MOST_SHAPES = 1024  # remembered at once; every size of a whole picture is a shape
EWMA_WEIGHT = 0.1


def pixels(shape: Shape) -> int:
    """Of one row."""
    return shape[1] * shape[2]


class Costs:
    """Running means of seconds: of calls by shape, with and without company in the engine, and a megapixel by model."""

    def __init__(self) -> None:
        self._sizes: dict[Weights, BatchSizes] = {}
        self._rates: dict[Weights, float] = {}
        self._earlier_rates: dict[Weights, float] = {}
        self._calls: OrderedDict[tuple[Shape, bool], float] = OrderedDict()  # by shape, and whether the call was exclusive

    def sizes(self, weights: Weights) -> BatchSizes:
        """The model's batch sizes; single rows before any was proven."""
        return self._sizes.get(weights) or BatchSizes()

    def set_sizes(self, weights: Weights, sizes: BatchSizes) -> None:
        """What was proven of a model."""
        self._sizes[weights] = sizes

    def set_rate(self, weights: Weights, seconds: float) -> None:
        """Seconds a megapixel that an earlier process measured: what is assumed until the first call of this one."""
        self._earlier_rates[weights] = seconds

    def record(self, shape: Shape, rows: int, seconds: float, *, exclusive: bool = False) -> None:
        """A call of so many rows took so long. exclusive: it had all cores, and says nothing of calls that have not."""
        key = shape, exclusive
        self._calls[key] = mean(self._calls.get(key), seconds / rows)
        self._calls.move_to_end(key)
        if len(self._calls) > MOST_SHAPES:
            self._calls.popitem(last=False)
        if not exclusive:
            self._rates[shape[0]] = mean(self._rates.get(shape[0]), seconds / (rows * pixels(shape) / 1e6))

    def seconds_per_megapixel(self, weights: Weights) -> float:
        """Of one call; NaN before the first."""
        return self._rates.get(weights, self._earlier_rates.get(weights, math.nan))

    def is_measured(self, weights: Weights) -> bool:
        """Whether this process has made a call of the model."""
        return weights in self._rates

    def call_seconds(self, shape: Shape, *, exclusive: bool = False) -> float:
        """Of a call of one row of this shape, as measured or by its pixels; NaN if nothing is known of the model.

        exclusive: of one that has all cores, if such a call was measured.
        """
        if exclusive and (shape, True) in self._calls:
            return self._calls[shape, True]
        if (shape, False) in self._calls:
            return self._calls[shape, False]
        return self.seconds_per_megapixel(shape[0]) * pixels(shape) / 1e6


def mean(before: float | None, now: float) -> float:
    """The running mean with one more value."""
    return now if before is None else before + EWMA_WEIGHT * (now - before)
