"""`quality=best`: a picture is sampled as it is and mirrored in three ways; the four results, turned back, are averaged.

A network's error is in part the accident of how the picture lies; what the four agree in stays, their noise halves (the geometric
self-ensemble of Timofte et al. 2016, with the flips alone, which keep the picture's size so that all four share batches).
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rddm.tiling import plan
from service.engines.arrays import offload
from service.sampling.work import Image, Listener, Result, Sampler, Step, Work

FLIPS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))  # axes of (1, 3, h, w)


def flipped(image: Image, axes: tuple[int, ...]) -> Image:
    """The image mirrored along some axes, which is undone by doing it again."""
    return np.ascontiguousarray(np.flip(image, axes)) if axes else image


def turned(work: Work, axes: tuple[int, ...]) -> Work:
    """The work of a mirrored picture, in 16 bits: its noise lies as ever, so that noise is averaged, too."""
    parts: dict[str, Any] = {
        name: flipped(part, axes) for name in ("x_in", "mask", "context") if (part := getattr(work, name)) is not None
    }
    return replace(work, flips=False, pixels=None, depth=16, **parts)


@dataclass(frozen=True)
class FlipEnsemble:
    """A sampler that runs work with flips four times on another sampler, and any other once.

    A picture of one call has all four under way at once, whose rows then share batches; one of several tiles fills batches by
    itself, and its four go one after the other, so that memory holds one.
    """

    sampler: Sampler

    def run(self, work: Work, on_step: Listener | None = None) -> Coroutine[Any, Any, Result]:
        """See Sampler.run; of a flip ensemble on_step is called once all four have done a step."""
        return self._run_flips(work, on_step) if work.flips else self.sampler.run(work, on_step)

    async def _run_flips(self, work: Work, on_step: Listener | None) -> Result:
        steps = Together(work.steps, on_step)
        if len(plan(work.model.spec, *work.size).tiles) > 1:
            results = [await self._run(work, axes, steps.listener(axes)) for axes in FLIPS]
        else:
            results = await self._run_together(work, steps)
        return await offload(results[0].pixels.size, averaged, results, work)

    async def _run_together(self, work: Work, steps: "Together") -> list[Result]:
        """All four at once; one that fails ends the others, and its error is raised."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._run(work, axes, steps.listener(axes))) for axes in FLIPS]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return [task.result() for task in tasks]

    async def _run(self, work: Work, axes: tuple[int, ...], on_step: Listener | None) -> Result:
        """One member's result, turned back."""
        result = await self.sampler.run(await offload(work.size[0] * work.size[1], turned, work, axes), on_step)
        return await offload(result.pixels.size, turned_back, result, axes)


def turned_back(result: Result, axes: tuple[int, ...]) -> Result:
    """All of it mirrored again. axes: of (1, 3, h, w)."""
    pixels = np.flip(result.pixels, tuple(axis - 2 for axis in axes))
    x_0, residual = (None if one is None else flipped(one, axes) for one in (result.kept_x_0, result.residual))
    return Result(pixels, x_0, residual, tuple(flipped(one, axes) for one in result.trace))


class Together:
    """The steps of all four as one: a step is done when all have done it; the upright one's preview shows it."""

    def __init__(self, steps: int, on_step: Listener | None) -> None:
        self._steps, self._on_step = steps, on_step
        self._done = dict.fromkeys(FLIPS, 0)
        self._previews: dict[int, Image] = {}
        self._shown = 0

    def listener(self, axes: tuple[int, ...]) -> Listener | None:
        """The listener of a member's steps."""
        if self._on_step is None:
            return None
        return lambda step: self._hear(axes, step)

    def _hear(self, axes: tuple[int, ...], step: Step) -> None:
        self._done[axes] = step.step
        if not axes:
            self._previews[step.step] = step.preview
        while self._on_step is not None and min(self._done.values()) > self._shown:
            self._shown += 1
            self._on_step(Step(self._shown, step.steps, self._previews.pop(self._shown)))


def averaged(results: list[Result], work: Work) -> Result:
    """The mean of results that lie alike, in the order of FLIPS: always the same bytes."""
    total = sum((result.pixels.astype(np.uint32) for result in results[1:]), results[0].pixels.astype(np.uint32))
    fine = (total + len(results) // 2) // len(results)
    pixels = fine.astype(np.uint16) if work.depth == 16 else ((fine + 128) // 257).astype(np.uint8)
    x_0, residual = (mean([getattr(result, name) for result in results]) for name in ("kept_x_0", "residual"))
    trace = tuple(mean(list(images)) for images in zip(*(result.trace for result in results), strict=True))
    return Result(pixels, x_0, residual, tuple(one for one in trace if one is not None))


def mean(images: list[Image | None]) -> Image | None:
    """Of images of one shape; None where they were not kept."""
    kept = [image for image in images if image is not None]
    if not kept:
        return None
    total = kept[0].astype(np.float32, copy=True)
    for image in kept[1:]:
        total += image
    total *= np.float32(1 / len(kept))
    return total
