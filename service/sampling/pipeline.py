"""The sampling pipeline: a picture and its request go in, the sampler asks, an engine answers, x_0 comes out.

    await Pipeline(engine).run(work)

The network sees tiles, the sampler sees the whole picture: in every step the raw outputs of overlapping tiles are blended
first, then turned into one prediction.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rddm.image import Depth, Pixels, to_pixels
from rddm.objective import check_method
from rddm.spec import Method
from rddm.tiling import plan
from service.engines.arrays import HOST, Arrays, offload
from service.engines.contract import Engine, Model, Ticket
from service.errors import DeadlineExceeded, InvalidValue
from service.sampling.state import Image, SamplingState
from service.scheduling.admission import megapixel_steps
from service.scheduling.costs import Shape
from service.scheduling.scheduler import Scheduler
from service.telemetry.tracing import step_span

Array = Any
Kept = Literal["x_0", "residual", "trace"]
T = TypeVar("T")

MEMBERS = 4  # of an ensemble of flips
PIXELS_AHEAD = 32 * 256 * 256  # of one picture's tiles at once: two full batches of small ones


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
        return Ticket(self.model.weights, self.request, self.caller, self.deadline)


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


class Pipeline:
    """Runs work against an engine.

    scheduler: lets pictures in; None lets in all. arrays: where the sampler state lives, which is what the engine is given and
    gives back.
    """

    def __init__(self, engine: Engine, scheduler: Scheduler | None = None, arrays: Arrays = HOST) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._arrays = arrays
        self._tiled = ThreadPoolExecutor(1, "array-work")
        self._whole = ThreadPoolExecutor(1, "array-work-whole")  # so that no picture of one call waits behind a huge one

    def close(self) -> None:
        """Ends the threads that work on large arrays."""
        for thread in (self._tiled, self._whole):
            thread.shutdown(cancel_futures=True)

    async def run(self, work: Work, on_step: Listener | None = None) -> Result:
        """x_0 in work.steps steps.

        Raises InvalidValue if the work is not what the model takes, QueueFull if too much waits, DeadlineExceeded, and whatever the
        engine raises.
        """
        check(work)
        state, ticket = self._state_of(work, shows_x_0=on_step is not None), work.ticket
        with nullcontext() if self._scheduler is None else self._scheduler.admit(work):
            await self._work(state, state.prepare)
            while (question := state.question) is not None:
                if ticket.deadline is not None and time.monotonic() > ticket.deadline:
                    raise DeadlineExceeded(f"the deadline passed before step {question.step} of {question.steps}")
                t = self._arrays.place(np.array([question.time], np.float32))
                if state.whole:
                    x_t, condition = await self._work(state, state.cut, state.plan.tiles[0])
                    with step_span(x_t, ticket):
                        outputs = await self._engine.predict(x_t, condition, t, ticket)
                    await self._work(state, state.take, outputs)
                else:
                    await self._take_tiles(state, t, ticket)
                if on_step is not None:
                    on_step(Step(question.step, question.steps, await self._work(state, state.preview)))
            return await self._result(work, state)

    def _state_of(self, work: Work, *, shows_x_0: bool) -> SamplingState:
        return SamplingState(
            work.model.spec,
            self._arrays,
            work.size,
            work.steps,
            work.seed,
            work.x_in,
            work.mask,
            work.method,
            work.depth,
            keeps_x_0="x_0" in work.keep or self._works_inline(work.size),
            keeps_residual="residual" in work.keep,
            keeps_trace="trace" in work.keep,
            shows_x_0=shows_x_0,
            context=work.context,
        )

    async def _result(self, work: Work, state: SamplingState) -> Result:
        residual = await self._work(state, state.residual)
        if not state.keeps_x_0:
            return Result(state.pixels, None, residual, tuple(state.trace))
        x_0 = await self._work(state, state.x_0)
        pixels = await offload(x_0.size, to_pixels, x_0, work.depth)
        return Result(pixels, x_0 if "x_0" in work.keep else None, residual, tuple(state.trace))

    async def _work(self, state: SamplingState, act: Callable[..., T], *arguments: Any) -> T:
        """Array work: here for a small picture, in a thread beside the event loop for a large one."""
        if self._works_inline(state.size):
            return act(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._whole if state.whole else self._tiled, act, *arguments)

    def _works_inline(self, size: tuple[int, int]) -> bool:
        return size[0] * size[1] <= self._arrays.inline_pixels

    async def _take_tiles(self, state: SamplingState, t: Array, ticket: Ticket) -> None:
        """Every tile to the engine, some ahead of others; answers are blended in the plan's order, so no sum depends on load."""
        tiles = state.plan.tiles
        instances = 1 if self._scheduler is None else self._scheduler.instances
        ahead = max(instances, PIXELS_AHEAD // (tiles[0].height * tiles[0].width))
        cut = asyncio.Semaphore(ahead)  # one tile more is on its way: not cut yet, or its answer waits to be blended

        async def answer(index: int) -> tuple[Array, ...]:
            async with cut:
                x_t, condition = await self._work(state, state.cut, tiles[index])
                with step_span(x_t, ticket):
                    return await self._engine.predict(x_t, condition, t, ticket)

        async def use(index: int, outputs: tuple[Array, ...]) -> None:
            await self._work(state, state.blend, index, outputs)

        await in_order(answer, use, len(tiles), ahead + 1)


async def in_order(answer: Callable[[int], Awaitable[T]], use: Callable[[int, T], Awaitable[None]], count: int, ahead: int) -> None:
    """Runs answer(i) for i < count, `ahead` of them at a time, and use(i, its answer) in order; the first error ends all."""
    running: deque[asyncio.Future[T]] = deque()
    try:
        for index in range(count + ahead):
            if index >= ahead and running:
                await use(index - ahead, await running.popleft())
            if index < count:
                running.append(asyncio.ensure_future(answer(index)))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
