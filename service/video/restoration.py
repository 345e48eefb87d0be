"""A clip from file to file: frames are read, restored some at a time, calmed, and written in segments; then all is joined.

    read --> shots, plans --> [ contexts --> restore (several at once) ] of each model --> blend along the motion --> write --> join

Each arrow is a short queue, so the memory does not depend on the clip's length.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rddm.condition import context
from rddm.image import Pixels, enlarged, prepared, to_image
from rddm.spec import ModelSpec
from rddm.tiling import plan
from service.analysis.analysis import plan_of_shot
from service.analysis.classifier import Classifier
from service.analysis.plan import MOST
from service.engines.contract import Model
from service.errors import QueueFull
from service.restoration.adjusting import adjusted, stops_to, takes_brightness
from service.restoration.models import steps_of
from service.restoration.service import planned, tasks_of
from service.sampling.work import Sampler, Work
from service.video.facts import ClipBounds, ClipFacts, ClipOptions
from service.video.frames import ClipFrame, Frames, Neighbours, with_models, with_neighbours, with_windows
from service.video.parameters import ClipParameters, Steadying
from service.video.process import ClipProcess, ProcessLimits, open_process, open_processes
from service.video.segments import WorkFolder, digest_of
from service.video.steadying.cuts import CutDetector, thumbnail
from service.video.steadying.motion import Calm, MotionBlend
from service.video.steadying.windows import REACH, window_context, window_mean

Floats = NDArray[np.float32]

SEGMENT_FRAMES = 48
LEAST_SEGMENT = 12  # a cut ends a segment that has as many
AHEAD = 2  # frames that are read, and that wait to be written, beside those in work and one that waits for the next
LONGEST_PAUSE = 5.0
JOIN_SECONDS = 600.0
EARLY, EARLY_PIXELS = 8, 8_000_000  # first frames of a shot that wait for one another, to be calm from the first on
PLANNED = REACH + 1  # first frames of a shot, by which task auto plans it
FORMAT = 8  # of the work folder; raised where the same options give other bytes


Plan = tuple[int, tuple[Model, ...]]  # from which frame on, and the models in order


@dataclass(frozen=True)
class ClipWork:
    """What is done to a clip. models: the models in order; of task auto all that it may choose of, for each shot anew.

    scale: how many times as high and wide the result is.
    """

    source: Path
    target: Path
    folder: Path
    models: tuple[Model, ...]
    parameters: ClipParameters
    request: str
    caller: str
    scale: int = 1

    @property
    def most_models(self) -> int:
        """How many models a frame goes through at most."""
        return min(MOST, len(self.models)) if self.parameters.is_auto else len(self.models)

    def specs_at(self, place: int) -> list[ModelSpec]:
        """Of the models that may come at that place."""
        models = self.models if self.parameters.is_auto else self.models[place : place + 1]
        return [model.spec for model in models]


@dataclass(frozen=True, eq=False)
class ClipProgress:
    """frame of frames is done (frames: 0 where the file does not tell); before, after: the frame as it came and restored."""

    frame: int
    frames: int
    before: Pixels
    after: Pixels


@dataclass(frozen=True)
class ClipResult:
    """What was made. frames: in all; resumed: how many of them an earlier run had left; notes: what is to be known, in words.

    plans: which models, where they change from one shot to the next.
    """

    facts: ClipFacts
    frames: int
    resumed: int
    segments: int
    steady: Steadying
    plans: tuple[Plan, ...]
    notes: tuple[str, ...]

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model that made some of it."""
        return tuple(dict.fromkeys(model for _, models in self.plans for model in models))


class Charge(Protocol):
    """Spends the caller's quota for a frame of so many pixels by one model, or waits until it can."""

    async def __call__(self, model: Model, height: int, width: int, /) -> None: ...


async def free(_model: Model, _height: int, _width: int, /) -> None:
    """Nothing is counted."""


Finished = asyncio.Queue[tuple[ClipFrame, Pixels, Calm | None] | None]  # frames as they are written, and what calms the next one
Restored = asyncio.Queue[tuple[ClipFrame, asyncio.Task[Pixels] | None] | None]  # in the order of frames; None after the last


@dataclass(eq=False)
class ClipRestorer:
    """Restores clips with a sampler, `at_once` frames at a time. classifier: of what is wrong with them, for task auto."""

    sampler: Sampler
    bounds: ClipBounds
    limits: ProcessLimits
    at_once: int
    classifier: Classifier = field(default_factory=Classifier)

    async def probe(self, source: Path, options: ClipOptions, scale: int = 1) -> ClipFacts:
        """The clip's facts, once it is known that it can be read, and written so. Raises what the reader and the writer refuse."""
        async with open_process(self.limits) as reader:
            facts = await _facts_of(reader, source, self.bounds)
            await reader.ask("check", facts=facts.enlarged(scale, self.bounds).document(), options=asdict(options))
            return facts

    async def restore(
        self, work: ClipWork, on_frame: Callable[[ClipProgress], None] | None = None, charge: Charge = free
    ) -> ClipResult:
        """Writes work.target, whole or not at all. What is done stays in work.folder until then, whatever ends this."""
        async with open_processes(self.limits, self.limits) as (reader, writer):
            facts = (await _facts_of(reader, work.source, self.bounds)).enlarged(work.scale, self.bounds)
            await writer.ask("check", facts=facts.document(), options=asdict(work.parameters.options()))
            folder = await asyncio.to_thread(WorkFolder, work.folder, await asyncio.to_thread(self._identity, work))
            run = _Run(self, work, facts, folder, reader, writer, on_frame, charge)
            notes = await run.run()
            notes = [*facts.notes, *notes, *await self._join(work, facts, folder, writer)]
            steady, plans, words = work.parameters.steady, tuple(run.plans), tuple(dict.fromkeys(notes))
            result = ClipResult(facts, folder.frames, run.skipped, len(folder.segments), steady, plans, words)
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
            options=asdict(work.parameters.options()),
        )
        await asyncio.to_thread(part.replace, work.target)
        return [str(note) for note in answer["notes"]]

    def _identity(self, work: ClipWork) -> dict[str, Any]:
        """All that decides the result's bytes, but for the versions of the libraries."""
        return {
            "format": FORMAT,
            "source": digest_of(work.source),
            "models": [[model.digest, steps_of(model.spec, work.parameters.steps)] for model in work.models],
            "classifier": self.classifier.digest if work.parameters.is_auto else None,
            "parameters": work.parameters.model_dump(exclude={"webhook"}),
            "options": asdict(work.parameters.options()),
        }


async def _facts_of(reader: ClipProcess, source: Path, bounds: ClipBounds) -> ClipFacts:
    return ClipFacts.from_document((await reader.ask("open", path=str(source), bounds=asdict(bounds)))["facts"])


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
        self.plans: list[Plan] = []
        self._notes: list[str] = []
        self._blend = MotionBlend() if work.parameters.steady == "motion" else None
        if self._blend is not None and (state := folder.state()):
            self._blend.previous = Calm.from_state(state)
        self._times: list[tuple[int, int]] = []
        self._state: Calm | None = None  # as the last written frame left it
        self._places = asyncio.Semaphore(restorer.at_once)

    async def run(self) -> list[str]:
        """Every frame that is not done yet; what the reader noted."""
        try:
            async with asyncio.TaskGroup() as group:
                frames = with_models(self._read(), self._decide, PLANNED if self._work.parameters.is_auto else 1)
                for place in range(self._work.most_models):
                    frames = self._through(frames, place, group)
                finished: Finished = asyncio.Queue(AHEAD)
                group.create_task(self._finish_all(self._with_brightness(frames), finished))
                group.create_task(self._write_all(finished))
        except ExceptionGroup as failed:
            raise _first(failed) from failed
        return self._notes

    async def _read(self) -> Frames:
        cuts, index = CutDetector(), 0
        while "pixels" in (answer := await self._reader.ask("read")):
            pixels = answer["pixels"]
            first = cuts.is_cut(await asyncio.to_thread(thumbnail, pixels)) or index == 0
            yield ClipFrame(index, pixels, pixels, answer["pts"], answer["duration"], first)
            index += 1
        self._notes = answer["notes"]

    async def _decide(self, frames: Sequence[ClipFrame]) -> tuple[Model, ...]:
        """The models of a shot, by its first frames where the task is auto."""
        models = self._work.models
        if self._work.parameters.is_auto:
            pixels = [frame.pixels for frame in frames]
            tasks = await asyncio.to_thread(plan_of_shot, pixels, self._restorer.classifier, tasks_of(models))
            models = planned(tasks, models)
        if not self.plans or self.plans[-1][1] != models:
            self.plans.append((frames[0].index, models))
        return models

    def _first_needed(self, place: int) -> int:
        """The first frame that goes through the model at that place: what comes later looks back at those before it."""
        later = [self._reach(at) for at in range(place + 1, self._work.most_models)]
        return self.skipped - sum(later) - (REACH if self._work.parameters.brightness_mean is not None else 0)

    def _reach(self, place: int) -> int:
        """How many frames to each side share in the context of the model at that place."""
        sees = any(spec.sees_context for spec in self._work.specs_at(place))
        return REACH if sees and self._work.parameters.steady != "off" else 0

    async def _through(self, frames: Frames, place: int, group: asyncio.TaskGroup) -> Frames:
        """Every frame after the model at that place, in order; some are in work at once."""
        restored: Restored = asyncio.Queue(AHEAD)
        group.create_task(self._restore_all(frames, place, restored, group))
        while (item := await restored.get()) is not None:
            frame, task = item
            if task is not None:
                frame.pixels = await task
            yield frame

    async def _restore_all(self, frames: Frames, place: int, restored: Restored, group: asyncio.TaskGroup) -> None:
        first, reach = self._first_needed(place), self._reach(place)

        async def context_of(frame: ClipFrame) -> Floats | None:
            frame.context = None
            sees = place < len(frame.models) and frame.models[place].spec.sees_context
            if not (reach and sees) or frame.index < first - reach:
                return None
            return await asyncio.to_thread(_context, frame.models[place].spec, frame.pixels)

        def share(frame: ClipFrame, contexts: Sequence[Floats], middle: int) -> None:
            frame.context = window_context(contexts, middle)

        async for frame in with_windows(frames, context_of, share, reach):
            task = None
            if place < len(frame.models) and frame.index >= first:
                await self._places.acquire()
                task = group.create_task(self._restore(frame, place))
                task.add_done_callback(lambda _: self._places.release())
            await restored.put((frame, task))
        await restored.put(None)

    async def _restore(self, frame: ClipFrame, place: int) -> Pixels:
        """One frame's x_0 as pixels, in 16 bits between two models; where the queue is full it waits for its turn."""
        work, model = self._work, frame.models[place]
        x_in = await asyncio.to_thread(_x_in, model.spec, frame.pixels)
        await self._charge(model, *x_in.shape[2:])
        is_last = place == len(frame.models) - 1
        request = Work(
            model,
            steps_of(model.spec, work.parameters.steps),
            work.parameters.seed,
            work.request,
            work.caller,
            x_in,
            keep=frozenset(),
            depth=8 if is_last and frame.came.dtype == np.uint8 else 16,
            context=frame.context,
        )
        while True:
            try:
                return (await self._restorer.sampler.run(request)).pixels
            except QueueFull as full:
                await asyncio.sleep(min(max(full.retry_after or 1.0, 0.1), LONGEST_PAUSE))

    async def _with_brightness(self, frames: Frames) -> Frames:
        """Every frame with the stops of light that the caller wants more; for a wanted mean, those of the frames around too."""
        parameters = self._work.parameters
        mean, first = parameters.brightness_mean, self.skipped - REACH

        async def stops_of(frame: ClipFrame) -> float | None:
            if not any(takes_brightness(model.spec) for model in frame.models):
                return None
            frame.stops = parameters.of_frames.stops
            return None if mean is None or frame.index < first else await asyncio.to_thread(stops_to, mean, frame.pixels)

        def share(frame: ClipFrame, stops: Sequence[float], middle: int) -> None:
            frame.stops = window_mean(stops, middle)

        async for frame in with_windows(frames, stops_of, share, REACH if mean is not None and parameters.steady != "off" else 0):
            yield frame

    async def _finish_all(self, frames: Frames, finished: Finished) -> None:
        """Calms each frame while the one before is written."""
        async for frame, neighbours in with_neighbours(frames, self._early):
            if frame.index >= self.skipped:
                pixels = await asyncio.to_thread(self._finished, frame, neighbours)
                await finished.put((frame, pixels, None if self._blend is None else self._blend.previous))
        await finished.put(None)

    async def _write_all(self, finished: Finished) -> None:
        while (item := await finished.get()) is not None:
            frame, pixels, state = item
            await self._between(frame)
            if not self._times:
                await self._writer.ask(
                    "begin",
                    path=str(self._folder.open_next()),
                    facts=self._facts.document(),
                    options=asdict(self._work.parameters.options()),
                )
            await self._writer.ask("write", pixels=pixels)
            self._times.append((frame.pts, frame.duration))
            self._state = state
            if self._on_frame is not None:
                self._on_frame(ClipProgress(frame.index + 1, self._facts.frames, frame.came, pixels))
        if self._times:
            await self._commit()

    @property
    def _early(self) -> int:
        """How many frames of a shot wait for one another at its beginning."""
        return 2 if self._blend is None else max(2, min(EARLY, EARLY_PIXELS // (self._facts.width * self._facts.height)))

    def _finished(self, frame: ClipFrame, neighbours: Neighbours) -> Pixels:
        """The frame as it is written: calmed, and as strong and bright as is wanted."""
        if not frame.models:
            return frame.came
        pixels = frame.pixels
        if self._blend is not None:
            if frame.first:
                self._blend.begin([(_as_large(one), one.pixels) for one in neighbours.early])
            pixels = self._blend.blend(_as_large(frame), pixels, neighbours.following)
        return adjusted(frame.came, pixels, self._work.parameters.strength, frame.stops)

    async def _between(self, frame: ClipFrame) -> None:
        """Ends the segment where this frame begins another one: by the frames alone, so that a resumed run does the same."""
        if len(self._times) == SEGMENT_FRAMES or (frame.first and len(self._times) >= LEAST_SEGMENT):
            await self._commit()

    async def _commit(self) -> None:
        await self._writer.ask("finish")
        state = {} if self._state is None else self._state.state()
        await asyncio.to_thread(self._folder.commit, self._times, state)
        self._times = []


def _as_large(frame: ClipFrame) -> Pixels:
    """The frame as it came, as large as its result."""
    return enlarged(frame.came, frame.pixels.shape[0] // frame.came.shape[0])


def _context(spec: ModelSpec, pixels: Pixels) -> Floats:
    x_in = _x_in(spec, pixels)
    tile = plan(spec, *x_in.shape[2:]).tiles[0]
    return context(x_in, tile.height, tile.width)


def _x_in(spec: ModelSpec, pixels: Pixels) -> Floats:
    return to_image(prepared(enlarged(pixels, spec.scale), spec.preprocessing))


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
