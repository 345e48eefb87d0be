"""A clip's frames on their way, and what those of one shot decide together."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels
from service.engines.contract import Model

T = TypeVar("T")
Floats = NDArray[np.float32]


@dataclass(eq=False)
class ClipFrame:
    """One frame. came: as it was read; pixels: as the models so far made it; first: it begins a shot.

    pts, duration: in ticks. models: the models that it goes through. context: what the next of them sees of the whole window, None
    for the frame's own. stops: of brightness beyond the models' own.
    """

    index: int
    came: Pixels
    pixels: Pixels
    pts: int
    duration: int
    first: bool
    models: tuple[Model, ...] = ()
    context: Floats | None = None
    stops: float = 0.0


Frames = AsyncIterator[ClipFrame]


async def with_models(frames: Frames, decide: Callable[[Sequence[ClipFrame]], Awaitable[tuple[Model, ...]]], count: int) -> Frames:
    """Every frame of a shot with the models that its first `count` frames decide, or all where it has fewer."""
    waiting: list[ClipFrame] = []
    models: tuple[Model, ...] | None = None
    async for frame in frames:
        if frame.first:
            for early in waiting and _all_with(waiting, await decide(waiting)):
                yield early
            waiting, models = [], None
        if models is not None:
            frame.models = models
            yield frame
            continue
        waiting.append(frame)
        if len(waiting) == count:
            models = await decide(waiting)
            for early in _all_with(waiting, models):
                yield early
            waiting = []
    for early in waiting and _all_with(waiting, await decide(waiting)):
        yield early


def _all_with(frames: Sequence[ClipFrame], models: tuple[Model, ...]) -> Sequence[ClipFrame]:
    for frame in frames:
        frame.models = models
    return frames


async def with_windows(
    frames: Frames,
    value_of: Callable[[ClipFrame], Awaitable[T | None]],
    decide: Callable[[ClipFrame, Sequence[T], int], None],
    reach: int,
) -> Frames:
    """Every frame after `decide` saw it with the values of those around it, up to `reach` to each side and none across a cut.

    decide: gets the frame, the values, and which of them is its own. It is not called where a value is missing (None).
    """
    waiting: deque[ClipFrame] = deque()
    values: deque[T | None] = deque()  # of frames that were given out and still count, then of those that wait

    def next_frame() -> ClipFrame:
        place, frame = len(values) - len(waiting), waiting.popleft()
        window = list(values)[: place + reach + 1]
        known = [value for value in window if value is not None]
        if len(known) == len(window):
            decide(frame, known, place)
        if place == reach:
            values.popleft()
        return frame

    async for frame in frames:
        if frame.first:
            while waiting:
                yield next_frame()
            values.clear()
        values.append(await value_of(frame))
        waiting.append(frame)
        if len(waiting) > reach:
            yield next_frame()
    while waiting:
        yield next_frame()


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What a frame's shot has after it. following: the pixels of the next frame; early: the shot's first frames, with its first."""

    following: Pixels | None
    early: Sequence[ClipFrame] = ()


async def with_neighbours(frames: Frames, count: int) -> AsyncIterator[tuple[ClipFrame, Neighbours]]:
    """Each frame and its neighbours; a shot's first waits for `count` frames of it (2 or more), or for all where it has fewer."""
    waiting: list[ClipFrame] = []
    started = True  # whether the first frame of the shot that waits was given out
    async for frame in frames:
        if frame.first:
            for one in _with_next(waiting, started):
                yield one
            waiting, started = [], False
        waiting.append(frame)
        if len(waiting) >= (2 if started else count):
            for one in _with_next(waiting, started)[:-1]:
                yield one
            waiting, started = waiting[-1:], True
    for one in _with_next(waiting, started):
        yield one


def _with_next(frames: Sequence[ClipFrame], started: bool) -> list[tuple[ClipFrame, Neighbours]]:
    followed = zip_longest(frames, (frame.pixels for frame in frames[1:]))
    return [(frame, Neighbours(after, () if started or at else frames)) for at, (frame, after) in enumerate(followed)]
