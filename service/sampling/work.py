"""What a sampler is given and what it gives: work, its steps and its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rddm.image import Depth, Pixels
from rddm.objective import check_method
from rddm.spec import Method
from rddm.tiling import plan
from service.engines.contract import Model, Ticket
from service.errors import InvalidValue
from service.scheduling.admission import megapixel_steps
from service.scheduling.costs import Shape

Image = NDArray[np.float32]
Kept = Literal["x_0", "residual", "trace"]
MEMBERS = 4  # of an ensemble of flips


@dataclass(frozen=True, eq=False)
class Work:
    """One picture to sample.

    x_in: (1, 3, h, w) float32 in [-1, 1], or None to generate one of the spec's image_size. mask: like x_in, for models that
    take one. seed: 0..2^63-1. method: None for the model's own. keep: what the result holds beside its pixels.
    deadline: on the clock of `time.monotonic`; once it has passed, the work ends at its next step. pixels: a digest of what x_in
    and mask were made of, where that is known. depth: bits of the pixels that x_0 is wanted in. context: what the network gets
    of the whole, of the tile's size, in place of x_in itself: a clip's neighbouring frames share one. flips: sampled four times,
    mirrored in three of them, and averaged (service.sampling.ensemble).
    """

    model: Model
    steps: int
    seed: int
    request: str
    caller: str
    x_in: Image | None = None
    mask: Image | None = None
    method: Method | None = None
    keep: frozenset[Kept] = frozenset({"x_0"})
    deadline: float | None = None
    pixels: bytes | None = None
    depth: Depth = 8
    context: Image | None = None
    flips: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result. Raises InvalidValue where a model that restores was given no picture."""
        if self.x_in is not None:
            return self.x_in.shape[2], self.x_in.shape[3]
        if self.model.spec.image_size is None:
            raise InvalidValue(f"model {self.model.spec.name} restores a picture, and none was given")
        return self.model.spec.image_size

    @property
    def members(self) -> int:
        """How often the picture is sampled."""
        return MEMBERS if self.flips else 1

    @property
    def shape(self) -> Shape:
        """Weights, height and width of each of its network calls."""
        tile = plan(self.model.spec, *self.size).tiles[0]
        return self.model.weights, tile.height, tile.width

    @property
    def tiles(self) -> int:
        """Tiles, of all members."""
        return len(plan(self.model.spec, *self.size).tiles) * self.members

    @property
    def megapixel_steps(self) -> float:
        """See service.scheduling.admission.megapixel_steps."""
        return megapixel_steps(self.model.spec, *self.size, self.steps) * self.members

    @property
    def ticket(self) -> Ticket:
        """The ticket of each of its network calls."""
        tiled = self.tiles > self.members and not self.model.spec.sizes  # of fixed sizes tiles share batches with whole pictures
        return Ticket(self.model.weights, self.request, self.caller, self.deadline, tiled=tiled)


@dataclass(frozen=True, eq=False)
class Step:
    """Progress: `step` of `steps` is done; preview is the whole x_0 as predicted now, (1, 3, h, w), sides at most 512.

    Of a clip, frames are its steps; before: the frame as it came.
    """

    step: int
    steps: int
    preview: Image
    before: Image | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """Pixels of x_0, h w 3 in the wanted depth, and what was kept beside them.

    kept_x_0, residual: x_0 itself and the last step's residual, (1, 3, h, w). trace: I_T .. I_0, sides at most 512.
    """

    pixels: Pixels
    kept_x_0: Image | None = None
    residual: Image | None = None
    trace: tuple[Image, ...] = ()

    @property
    def x_0(self) -> Image:
        """As floats, in [-1, 1] where the spec clips it. Raises ValueError where the work did not ask to keep it."""
        if self.kept_x_0 is None:
            raise ValueError("x_0 was not kept: the work's `keep` did not name it")
        return self.kept_x_0

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The arrays that it consists of."""
        return [array for array in (self.pixels, self.kept_x_0, self.residual, *self.trace) if array is not None]


Listener = Callable[[Step], None]


class Sampler(Protocol):
    """What runs work: the pipeline."""

    async def run(self, work: Work, on_step: Listener | None = None) -> Result:
        """Samples; on_step is called in the event loop after each step. Cancelling the awaiting task cancels the work."""
        ...


def check(work: Work) -> None:
    """Raises InvalidValue unless the work is what its model takes."""
    spec = work.model.spec
    if spec.generates and work.x_in is not None:
        raise InvalidValue(f"model {spec.name} generates pictures and takes none")
    if spec.takes_mask != (work.mask is not None):
        raise InvalidValue(f"model {spec.name} {'needs a mask' if work.mask is None else 'takes no mask'}")
    if work.mask is not None and work.mask.shape[2:] != work.size:
        raise InvalidValue(f"the mask is {work.mask.shape[2:]} pixels and the picture {work.size}; expected the same")
    if not 1 <= work.steps <= spec.first_index + 1:
        raise InvalidValue(f"steps = {work.steps} is outside 1..{spec.first_index + 1}")
    try:
        check_method(spec.objective, work.method)
    except ValueError as wrong:
        raise InvalidValue(str(wrong)) from wrong
