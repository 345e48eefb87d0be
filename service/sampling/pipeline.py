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
from typing import Any, TypeVar

import numpy as np

from rddm.image import to_pixels
from service.engines.arrays import HOST, Arrays, offload
from service.engines.contract import Engine, Ticket
from service.errors import DeadlineExceeded
from service.sampling.state import SamplingState
from service.sampling.work import Listener, Result, Step, Work, check
from service.scheduling.scheduler import Scheduler
from service.telemetry.tracing import step_span

Array = Any
T = TypeVar("T")
PIXELS_AHEAD = 32 * 256 * 256  # of one picture's tiles at once: two full batches of small ones


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
        keeps_x_0 = "x_0" in work.keep or self._works_inline(work.size)
        state, ticket = SamplingState(work, self._arrays, keeps_x_0, shows_x_0=on_step is not None), work.ticket
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
            return await self._result(state)

    async def _result(self, state: SamplingState) -> Result:
        residual = await self._work(state, state.residual)
        if not state.keeps_x_0:
            return Result(state.pixels, None, residual, tuple(state.trace))
        x_0 = await self._work(state, state.x_0)
        pixels = await offload(x_0.size, to_pixels, x_0, state.work.depth)
        return Result(pixels, x_0 if "x_0" in state.work.keep else None, residual, tuple(state.trace))

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

        async def answer(index: int) -> tuple[Array, ...]:
            x_t, condition = await self._work(state, state.cut, tiles[index])
            with step_span(x_t, ticket):
                return await self._engine.predict(x_t, condition, t, ticket)

        async def use(index: int, outputs: tuple[Array, ...]) -> None:
            await self._work(state, state.blend, index, outputs)

        await in_order(answer, use, len(tiles), ahead + 1)  # one more is cut already when a call ends, or waits to be blended


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
