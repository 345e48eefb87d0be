"""What a picture will cost, which is known before its first network call."""

from dataclasses import dataclass

from rddm.sampler import calls
from rddm.spec import ModelSpec
from rddm.tiling import plan


@dataclass(frozen=True)
class Load:
    """What one picture asks of the engine: `tiles` network calls of height x width pixels in each of `steps` steps."""

    height: int
    width: int
    tiles: int
    steps: int

    @property
    def megapixel_steps(self) -> float:
        """The measure of work, padding and overlaps included: quota, queue and limits count it."""
        return self.height * self.width * self.tiles / 1e6 * self.steps


def load_of(spec: ModelSpec, height: int, width: int, steps: int) -> Load:
    """The load of a picture of height x width pixels. Raises ValueError for sides under 1."""
    tiles = plan(spec, height, width).tiles
    return Load(tiles[0].height, tiles[0].width, len(tiles), calls(spec, steps))
