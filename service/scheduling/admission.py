"""How a picture asks to be let in before its first network call, and what it will cost."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from rddm.sampler import calls
from rddm.spec import ModelSpec
from rddm.tiling import plan
from service.engines.contract import Ticket


@dataclass(frozen=True)
class Load:
    """What one picture asks of the engine: `tiles` network calls of height x width pixels in each of `steps` steps."""

    height: int
    width: int
    tiles: int
    steps: int

    @property
    def megapixels(self) -> float:
        """Network megapixels of one step, padding and overlaps included."""
        return self.height * self.width * self.tiles / 1e6

    @property
    def megapixel_steps(self) -> float:
        """The measure of work: quota, queue and limits count it."""
        return self.megapixels * self.steps


class Admission(Protocol):
    """Admission control in front of an engine."""

    @property
    def instances(self) -> int:
        """Calls that the engine runs side by side."""
        ...

    def admit(self, ticket: Ticket, load: Load, /) -> AbstractContextManager[None]:
        """Holds a place while the picture is sampled. Raises QueueFull, with the seconds after which to try again."""
        ...


class AdmitAll:
    """Lets everybody in: for an engine that is used without a scheduler."""

    instances = 1

    def admit(self, _ticket: Ticket, _load: Load, /) -> AbstractContextManager[None]:
        return nullcontext()


def load_of(spec: ModelSpec, height: int, width: int, steps: int) -> Load:
    """The load of a picture of height x width pixels. Raises ValueError for sides under 1."""
    tiles = plan(spec, height, width).tiles
    return Load(tiles[0].height, tiles[0].width, len(tiles), calls(spec, steps))
