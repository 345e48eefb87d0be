"""A clip from file to file: frames are read, restored some at a time, calmed, and written in segments; then all is joined.

    read --> shots, contexts --> restore (several at once) --> blend along the motion --> write --> segment --> join

Each arrow is a short queue, so the memory does not depend on the clip's length.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rddm.condition import context
from rddm.image import Pixels, prepared, to_image
from rddm.tiling import plan
from service.engines.contract import Model
from service.errors import QueueFull
from service.sampling.work import Sampler, Work
from service.video.facts import ClipBounds, ClipFacts, ClipOptions
from service.video.parameters import Steadying
from service.video.process import ClipProcess, ProcessLimits, open_process
from service.video.segments import WorkFolder, digest_of
from service.video.steadying.cuts import CutDetector, thumbnail
from service.video.steadying.motion import Calm, MotionBlend
from service.video.steadying.windows import REACH, window_context

Floats = NDArray[np.float32]

SEGMENT_FRAMES = 48
LEAST_SEGMENT = 12  # a cut ends a segment that has as many
AHEAD = 2  # frames that are read, and that wait to be written, beside those in work and one that waits for the next
LONGEST_PAUSE = 5.0
JOIN_SECONDS = 600.0
FORMAT = 3  # of the work folder; raised where the same options give other bytes


@dataclass(frozen=True)
class ClipWork:
    """What is done to a clip. steady: `motion` does what `exposure` does, too. seed, steps: as for pictures."""

    source: Path
    target: Path
    folder: Path
    model: Model
    steps: int
    seed: int
    options: ClipOptions
    steady: Steadying
    request: str
    caller: str


@dataclass(frozen=True, eq=False)
class ClipProgress:
    """frame of frames is done (frames: 0 where the file does not tell); before, after: the frame as it came and restored."""

    frame: int
    frames: int
    before: Pixels
    after: Pixels


@dataclass(frozen=True)
class ClipResult:
    """What was made. frames: in all; resumed: how many of them an earlier run had left; notes: what is to be known, in words."""

    facts: ClipFacts
    frames: int
    resumed: int
    segments: int
    steady: Steadying
    notes: tuple[str, ...]


class Charge(Protocol):
    """Spends the caller's quota for a frame of so many pixels, or waits until it can."""

    async def __call__(self, height: int, width: int, /) -> None: ...


async def free(_height: int, _width: int, /) -> None:
    """Nothing is counted."""


@dataclass(eq=False)
class Shot:
    """One frame on its way. first: it begins a shot."""

    index: int
    pixels: Pixels
    pts: int
    duration: int
    first: bool
    context: Floats | None = None


Restored = asyncio.Queue[tuple[Shot, asyncio.Task[Pixels]] | None]  # in the order of frames; None after the last


@dataclass(eq=False)
class ClipRestorer:
    """Restores clips with a sampler, `at_once` frames at a time."""

    sampler: Sampler
    bounds: ClipBounds
    limits: ProcessLimits
    at_once: int

    async def probe(self, source: Path, options: ClipOptions) -> ClipFacts:
        """The clip's facts, once it is known that it can be read, and written so. Raises what the reader and the writer refuse."""
        async with open_process(self.limits) as reader:
            facts = await _facts_of(reader, source, self.bounds)
            await reader.ask("check", facts=facts.document(), options=asdict(options))
            return facts

    async def restore(
        self, work: ClipWork, on_frame: Callable[[ClipProgress], None] | None = None, charge: Charge = free
    ) -> ClipResult:
        """Writes work.target, whole or not at all. What is done stays in work.folder until then, whatever ends this."""
        async with open_process(self.limits) as reader, open_process(self.limits) as writer:
            facts = await _facts_of(reader, work.source, self.bounds)
            await writer.ask("check", facts=facts.document(), options=asdict(work.options))
            folder = await asyncio.to_thread(WorkFolder, work.folder, await asyncio.to_thread(_identity, work))
            run = _Run(self, work, facts, folder, reader, writer, on_frame, charge)
            notes = await run.run()
            notes = [*facts.notes, *notes, *await self._join(work, facts, folder, writer)]
            result = ClipResult(facts, folder.frames, run.skipped, len(folder.segments), work.steady, tuple(dict.fromkeys(notes)))
            await asyncio.to_thread(folder.remove)
            return result

    async def _join(self, work: ClipWork, facts: ClipFacts, folder: WorkFolder, writer: ClipProcess) -> list[str]:
        part = work.folder / f"joined{work.target.suffix}"
        answer = await writer.ask(
            "join",
            JOIN_SECONDS,
            segments=[str(segment.path) for segment in folder.segments],
            times=folder.times,
            source=str(work.source),
            target=str(part),
            facts=facts.document(),
            options=asdict(work.options),
        )
        await asyncio.to_thread(part.replace, work.target)
        return [str(note) for note in answer["notes"]]


async def _facts_of(reader: ClipProcess, source: Path, bounds: ClipBounds) -> ClipFacts:
    return ClipFacts.from_document((await reader.ask("open", path=str(source), bounds=asdict(bounds)))["facts"])


def _identity(work: ClipWork) -> dict[str, Any]:
    """All that decides the result's bytes, but for the versions of the libraries."""
    return {
        "format": FORMAT,
        "source": digest_of(work.source),
        "model": work.model.digest,
        "steps": work.steps,
        "seed": work.seed,
        "steady": work.steady,
        "options": asdict(work.options),
    }


class _Run:
    """One clip's way, from the first frame that is not done to the last."""

    def __init__(
        self,
        restorer: ClipRestorer,
        work: ClipWork,
        facts: ClipFacts,
        folder: WorkFolder,
        reader: ClipProcess,
        writer: ClipProcess,
        on_frame: Callable[[ClipProgress], None] | None,
        charge: Charge,
    ) -> None:
        self._restorer, self._work, self._facts, self._folder = restorer, work, facts, folder
        self._reader, self._writer = reader, writer
        self._on_frame, self._charge = on_frame, charge
        self.skipped = folder.frames
        self._notes: list[str] = []
        self._blend = MotionBlend() if work.steady == "motion" else None
        if self._blend is not None:
            self._blend.previous = _calm(folder.state())
        self._times: list[tuple[int, int]] = []

    async def run(self) -> list[str]:
        """Every frame that is not done yet; what the reader noted."""
        restored: Restored = asyncio.Queue(AHEAD)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._restore_all(restored, group))
                group.create_task(self._write_all(restored))
        except ExceptionGroup as failed:
            raise _first(failed) from failed
        return self._notes

    async def _restore_all(self, restored: Restored, group: asyncio.TaskGroup) -> None:
        places = asyncio.Semaphore(self._restorer.at_once)
        async for shot in self._shots_with_context():
            if shot.index >= self.skipped:
                await places.acquire()
                task = group.create_task(self._restore(shot))
                task.add_done_callback(lambda _: places.release())
                await restored.put((shot, task))
        await restored.put(None)

    async def _restore(self, shot: Shot) -> Pixels:
        """One frame's x_0 as pixels; where the queue is full it waits for its turn."""
        work = self._work
        await self._charge(*shot.pixels.shape[:2])
        spec = work.model.spec
        x_in = await asyncio.to_thread(lambda: to_image(prepared(shot.pixels, spec.preprocessing)))
        request = Work(
            work.model,
            work.steps,
            work.seed,
            work.request,
            work.caller,
            x_in,
            keep=frozenset(),
            depth=8 if shot.pixels.dtype == np.uint8 else 16,
            context=shot.context,
        )
        while True:
            try:
                return (await self._restorer.sampler.run(request)).pixels
            except QueueFull as full:
                await asyncio.sleep(min(max(full.retry_after or 1.0, 0.1), LONGEST_PAUSE))

    async def _shots_with_context(self) -> AsyncIterator[Shot]:
        """Frames in order, each with the context that its neighbours share, where the model takes one."""
        spec = self._work.model.spec
        reach = REACH if spec.sees_context and self._work.steady != "off" else 0
        around: deque[Shot] = deque()  # of one shot: those given out that still count, then those that wait
        given = 0
        async for shot in self._read():
            if shot.first:
                for place in range(given, len(around)):
                    yield await asyncio.to_thread(_with_window, around, place, reach)
                around.clear()
                given = 0
            if reach and shot.index >= self.skipped - reach:
                shot.context = await asyncio.to_thread(self._context, shot.pixels)
            around.append(shot)
            if len(around) - given > reach:
                yield await asyncio.to_thread(_with_window, around, given, reach)
                given += 1
            if given > reach:
                around.popleft()
                given -= 1
        for place in range(given, len(around)):
            yield await asyncio.to_thread(_with_window, around, place, reach)

    def _context(self, pixels: Pixels) -> Floats:
        spec = self._work.model.spec
        tile = plan(spec, *pixels.shape[:2]).tiles[0]
        return context(to_image(prepared(pixels, spec.preprocessing)), tile.height, tile.width)

    async def _read(self) -> AsyncIterator[Shot]:
        cuts, index = CutDetector(), 0
        while "pixels" in (answer := await self._reader.ask("read")):
            pixels = answer["pixels"]
            first = cuts.is_cut(await asyncio.to_thread(thumbnail, pixels))
            yield Shot(index, pixels, answer["pts"], answer["duration"], first or index == 0)
            index += 1
        self._notes = answer["notes"]

    async def _write_all(self, restored: Restored) -> None:
        async for shot, pixels, following in _with_next(restored):
            await self._between(shot)
            calm = await asyncio.to_thread(self._calmed, shot, pixels, following)
            if not self._times:
                await self._writer.ask(
                    "begin",
                    path=str(self._folder.open_next()),
                    facts=self._facts.document(),
                    options=asdict(self._work.options),
                )
            await self._writer.ask("write", pixels=calm)
            self._times.append((shot.pts, shot.duration))
            if self._on_frame is not None:
                self._on_frame(ClipProgress(shot.index + 1, self._facts.frames, shot.pixels, calm))
        if self._times:
            await self._commit()

    def _calmed(self, shot: Shot, pixels: Pixels, following: Pixels | None) -> Pixels:
        if self._blend is None:
            return pixels
        if shot.first:
            self._blend.forget()
        return self._blend.blend(shot.pixels, pixels, following)

    async def _between(self, shot: Shot) -> None:
        """Ends the segment where this frame begins another one: by the frames alone, so that a resumed run does the same."""
        if len(self._times) == SEGMENT_FRAMES or (shot.first and len(self._times) >= LEAST_SEGMENT):
            await self._commit()

    async def _commit(self) -> None:
        await self._writer.ask("finish")
        last = self._blend.previous if self._blend is not None else None
        state = {} if last is None else last.state()
        await asyncio.to_thread(self._folder.commit, self._times, state)
        self._times = []


def _calm(state: Mapping[str, NDArray[Any]]) -> Calm | None:
    return Calm.from_state(state) if state else None


async def _with_next(restored: Restored) -> AsyncIterator[tuple[Shot, Pixels, Pixels | None]]:
    """Each frame with its prediction, and the next one's where that is of the same shot."""
    waiting: tuple[Shot, Pixels] | None = None
    while (item := await restored.get()) is not None:
        shot, pixels = item[0], await item[1]
        if waiting is not None:
            yield *waiting, None if shot.first else pixels
        waiting = shot, pixels
    if waiting is not None:
        yield *waiting, None


def _with_window(around: Sequence[Shot], place: int, reach: int) -> Shot:
    """The frame at a place, with the context of those around it, or none where nobody needs it."""
    low = max(0, place - reach)
    window = [around[k].context for k in range(low, min(len(around), place + reach + 1))]
    known = [context for context in window if context is not None]
    mixed = window_context(known, place - low) if reach and len(known) == len(window) else None
    return replace(around[place], context=mixed)


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
