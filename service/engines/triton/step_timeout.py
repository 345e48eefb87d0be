"""How long a step may take, from what steps have cost: a server that has stopped is noticed long before the request's deadline."""

from service.engines.contract import Array

FACTOR = 10.0  # a machine under load is slower than it was, and a batch may wait for another one
FLOOR_SECONDS = 5.0  # a processor that others use, too, can let a call wait for seconds
MEMORY = 0.2  # share of the newest measurement in the average


class StepTimeout:
    """Seconds per pixel of one model on one server, as a moving average. longest: seconds allowed while nothing is measured."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._per_pixel: float | None = None

    def allowed(self, x_t: Array, waiting: int) -> float:
        """Seconds for a call on x_t (b c h w) with `waiting` calls of this gateway at the server before it."""
        if self._per_pixel is None:
            return self._longest
        return min(self._longest, FLOOR_SECONDS + FACTOR * self._per_pixel * _pixels(x_t) * (1 + waiting))

    def measured(self, x_t: Array, seconds: float) -> None:
        """A call on x_t took so long."""
        per_pixel = seconds / _pixels(x_t)
        self._per_pixel = per_pixel if self._per_pixel is None else (1 - MEMORY) * self._per_pixel + MEMORY * per_pixel


def _pixels(x_t: Array) -> int:
    batch, _, height, width = x_t.shape
    return int(batch * height * width)
