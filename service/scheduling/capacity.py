"""How much an engine does a second, from the calls that it made."""

import math

HORIZON = 300.0  # seconds of work after which a call counts 1/e: models and sizes change


class Capacity:
    """Megapixel-steps a second of an engine that is busy all the time, with the mix of models and sizes of its latest calls."""

    def __init__(self) -> None:
        self._megapixels = self._instance_seconds = 0.0

    def record(self, megapixels: float, seconds: float, instances: int) -> None:
        """A call of so many megapixels held that many instances of the engine so long."""
        fade = math.exp(-seconds / HORIZON)
        self._megapixels = fade * self._megapixels + megapixels
        self._instance_seconds = fade * self._instance_seconds + seconds * instances

    def per_second(self, instances: int) -> float:
        """Of all instances together; 0 before the first call."""
        return instances * self._megapixels / self._instance_seconds if self._instance_seconds else 0.0
