"""What a picture will cost, which is known before its first network call."""

from typing import Protocol

from rddm.sampler import calls
from rddm.spec import ModelSpec
from rddm.tiling import plan
from service.engines.contract import Ticket
from service.scheduling.costs import Shape


class Demand(Protocol):
    """What one picture asks of the engine, as its service.sampling.work.Work says it."""

    @property
    def ticket(self) -> Ticket:
        """The ticket of each of its network calls."""

    @property
    def shape(self) -> Shape:
        """The shape of each of its network calls."""

    @property
    def tiles(self) -> int:
        """Parts that need not wait for one another; each takes its network calls one after the other."""

    @property
    def megapixel_steps(self) -> float:
        """The measure of its work, see `megapixel_steps`."""


def megapixel_steps(spec: ModelSpec, height: int, width: int, steps: int) -> float:
    """The measure of the work of a picture, padding and overlaps included: quota, queue and limits count it.

    It is the megapixels of all its network calls. Raises ValueError for sides under 1.
    """
    return sum(tile.height * tile.width for tile in plan(spec, height, width).tiles) / 1e6 * calls(spec, steps)
