"""What calls cost, by model and kind of call, and what the engine does a second: learnt from real calls."""

import math

from service.engines.contract import LARGE_PIXELS, WIDE_PIXELS, Weights

Shape = tuple[Weights, int, int]  # and height, width
EWMA_WEIGHT = 0.1


def pixels(shape: Shape) -> int:
    """Of one row."""
    return shape[1] * shape[2]


def is_large(shape: Shape) -> bool:
    """Whether a call of rows of this shape needs a place of the large ones."""
    return pixels(shape) > LARGE_PIXELS


def is_wide(shape: Shape) -> bool:
    """Whether a call of one such row is quicker with the whole engine to itself."""
    return pixels(shape) >= WIDE_PIXELS


class Costs:
    """Running means of seconds a megapixel: of small, large and exclusive calls of each model, and of all calls together."""

    def __init__(self) -> None:
        self._rates: dict[tuple[Weights, bool, bool], float] = {}  # by model, whether the call was large, whether exclusive
        self._overall: float | None = None  # of all instances together

    def record(self, shape: Shape, rows: int, seconds: float, instances: int = 1, *, exclusive: bool = False) -> None:
        """A call of so many rows held so many instances of the engine so long. exclusive: it had all cores."""
        megapixels = rows * pixels(shape) / 1e6
        kind = shape[0], is_large(shape), exclusive
        self._rates[kind] = mean(self._rates.get(kind), seconds / megapixels)
        self._overall = mean(self._overall, seconds * instances / megapixels)

    def seconds_per_megapixel(self, shape: Shape, *, exclusive: bool = False) -> float:
        """Of calls like one of this shape, or else of the model's others; NaN before the first.

        exclusive: of those that had all cores, if there were any.
        """
        large = is_large(shape)
        kinds = [(shape[0], large, exclusive and is_wide(shape)), (shape[0], large, False), (shape[0], not large, False)]
        return next((self._rates[kind] for kind in kinds if kind in self._rates), math.nan)

    def call_seconds(self, shape: Shape) -> float:
        """Of a call of one such row beside others; NaN before the first."""
        return self.seconds_per_megapixel(shape) * pixels(shape) / 1e6

    def capacity(self, instances: int) -> float:
        """Megapixels a second of so many instances that are busy, with the mix of the latest calls; 0 before the first."""
        return instances / self._overall if self._overall else 0.0


def mean(before: float | None, now: float) -> float:
    """The running mean with one more value."""
    return now if before is None else before + EWMA_WEIGHT * (now - before)
