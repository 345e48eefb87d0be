"""Several pictures of one request: sampled at once, shown and answered as one sheet."""

import asyncio
import math
from functools import partial

import numpy as np

from rddm.image import Pixels, to_image, to_pixels
from service.results.cache import ResultCache
from service.sampling.state import thumbnail
from service.sampling.work import Listener, Result, Step, Work

GRID_GAP = 2  # pixels


class JointProgress:
    """Reports several pictures as one: a step is done when every picture has done it, and its preview shows them all."""

    def __init__(self, count: int, on_step: Listener) -> None:
        self._latest: list[Step | None] = [None] * count
        self._on_step = on_step
        self._shown = 0

    def stepped(self, index: int, step: Step) -> None:
        """One picture has done a step."""
        self._latest[index] = step
        done = [one for one in self._latest if one is not None]
        slowest = min(done, key=lambda one: one.step)
        if len(done) == len(self._latest) and slowest.step > self._shown:
            self._shown = slowest.step
            shown = to_image(grid([to_pixels(one.preview) for one in done])) if len(done) > 1 else done[0].preview
            self._on_step(Step(slowest.step, slowest.steps, thumbnail(shown)))


async def run_all(results: ResultCache, works: list[Work], on_step: Listener | None) -> list[Result]:
    """Runs all works at once; one that fails ends the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            progress = None if on_step is None else JointProgress(len(works), on_step)
            tasks = [
                group.create_task(results.run(work, None if progress is None else partial(progress.stepped, index)))
                for index, work in enumerate(works)
            ]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return [task.result() for task in tasks]


def grid(pictures: list[Pixels]) -> Pixels:
    """All pictures in about a square, row by row, on black with a small gap."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures[0].shape[:2]
    sheet = np.zeros((rows * (height + GRID_GAP) - GRID_GAP, columns * (width + GRID_GAP) - GRID_GAP, 3), np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + GRID_GAP), index % columns * (width + GRID_GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet
