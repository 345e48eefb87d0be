"""Inference: bytes -> picture -> sampler -> x_0 -> bytes. It knows nothing of HTTP."""

import asyncio
import hashlib
import logging
import math
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels, prepared, to_image, to_pixels
from rddm.spec import ModelSpec
from service.engines.arrays import offload
from service.engines.contract import Model, Repository
from service.errors import InvalidValue, NotFound, QueueFull, TooLarge
from service.keys import Caller
from service.pictures.kinds import KINDS, Kind, sniff
from service.pictures.picture import PLAIN, Picture, SourceMetadata
from service.pictures.pool import CodecPool, Whose
from service.restoration.parameters import LARGEST_SEED, CommonParameters, GenerateParameters, RestoreParameters
from service.restoration.uploads import Uploads
from service.results.cache import FinishedResult, ResultCache, until
from service.sampling.pipeline import Kept, Listener, Step, Work
from service.sampling.state import thumbnail
from service.scheduling.admission import megapixel_steps
from service.scheduling.costs import EncodingCosts
from service.settings import Settings
from service.telemetry.tracing import part_span

log = logging.getLogger("rddm.inference")
Image = NDArray[np.float32]
RANDOM_SEEDS = 2**32
GRID_GAP = 2


def random_seed() -> int:
    """A seed for who gave none, short enough to be read out: 0 .. 2^32-1."""
    return secrets.randbelow(RANDOM_SEEDS)


class LatencyEstimator(Protocol):
    """What knows how many steps can be taken in time (service.scheduling.scheduler)."""

    async def ensure(self, model: Model) -> object:
        """Measure the model, unless that was done."""
        ...

    def steps_within(
        self, model: Model, height: int, width: int, asked: int, seconds: float, caller: str, pictures: int = 1
    ) -> int:
        """At most `asked`. Raises DeadlineExceeded if even the model's fewest take longer."""
        ...


@dataclass(frozen=True)
class RequestContext:
    """Of a request: its id, who makes it, and when it arrived on the clock of time.monotonic."""

    request: str
    caller: Caller
    arrived: float


@dataclass(frozen=True)
class OutputImage:
    """One finished picture file, and the seed that it was made with."""

    body: bytes
    seed: int


@dataclass(frozen=True)
class InferenceResult:
    """The result of a request. timings: milliseconds of decode, sample and encode."""

    images: tuple[OutputImage, ...]
    kind: Kind
    size: tuple[int, int]
    model: Model
    steps: int
    seed: int
    timings: Mapping[str, float]


class Stopwatch:
    """Measures the parts of a request."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the block's time to the part."""
        begun = time.perf_counter()
        try:
            with part_span(f"rddm.{part}"):
                yield
        finally:
            self.milliseconds[part] = self.milliseconds.get(part, 0) + (time.perf_counter() - begun) * 1000


class InferenceService:
    """Restores and generates with a repository, the results that are kept, and a codec pool."""

    def __init__(
        self, settings: Settings, repository: Repository, results: ResultCache, latency: LatencyEstimator, codecs: CodecPool
    ) -> None:
        self._settings = settings
        self._repository = repository
        self._results = results
        self._latency = latency
        self._codecs = codecs
        self._encoding = EncodingCosts()
        self._pixels_held = 0
        self._had_default = False

    def restoration_model(self, task: str | None) -> str:
        """The model for a task: by its own name, else by its task. Raises NotFound with the tasks there are."""
        wanted = task or self.default_model()
        if (name := self._restorer(wanted)) is not None:
            return name
        models = self._restorers()
        known = sorted({*models, *(model.spec.task for model in models.values())})
        raise NotFound(f"unknown task {wanted[:64]!r}; expected one of {known}")

    def default_model(self) -> str:
        """The setting. Where nobody set it and this repository never had such a model or task, the first model that restores.

        One that was there and is unloaded is missed: nobody gets another model's picture instead.
        """
        wanted = self._settings.default_model
        self._had_default = self._had_default or self._restorer(wanted) is not None
        if self._had_default or "default_model" in self._settings.model_fields_set:
            return wanted
        return min(self._restorers(), default=wanted)

    def warn_of_default(self) -> None:
        """In the log, where a default model was set and is not there."""
        wanted = self.default_model()
        if "default_model" in self._settings.model_fields_set and self._restorer(wanted) is None:
            log.warning("the default model %r is not loaded; those that restore are %s", wanted, sorted(self._restorers()))

    def _restorers(self) -> dict[str, Model]:
        return {name: model for name, model in self._repository.models().items() if not model.spec.generates}

    def _restorer(self, wanted: str) -> str | None:
        """The model of that name, else the first one of that task."""
        models = self._restorers()
        named = (name for name, model in sorted(models.items()) if model.spec.task == wanted)
        return wanted if wanted in models else next(named, None)

    def generation_model(self, name: str | None) -> str:
        """The model that generates, or the first one. Raises NotFound with the models there are."""
        models = sorted(name for name, model in self._repository.models().items() if model.spec.generates)
        if name in models or (name is None and models):
            return name or models[0]
        raise NotFound(f"unknown model {(name or '')[:64]!r}; those that generate are {models}")

    async def restore(
        self,
        parameters: RestoreParameters,
        sources: Uploads,
        kind: Kind | None,
        context: RequestContext,
        on_step: Listener | None = None,
    ) -> InferenceResult:
        """Raises what service.errors knows; kind None answers in the input's own format."""
        stopwatch = Stopwatch()
        with self._repository.lease(self.restoration_model(parameters.task)) as model, ExitStack() as holding:
            steps = self._steps(model.spec, parameters.steps)
            whose, deadline = (context.caller.name, context.request), self._deadline(parameters, context)
            async with until(deadline, "waited to be read"):
                await self._latency.ensure(model)
                with stopwatch.measure("decode"):
                    picture = await self._codecs.decode(sources.image, whose)
                    holding.enter_context(self._held(picture.pixels.shape[0] * picture.pixels.shape[1]))
                    mask = await self._mask(sources, picture, model.spec, whose)
                    model_input = await offload(picture.pixels.size, to_model_input, picture.pixels, mask, model.spec)
            height, width = model_input.x_in.shape[2:]
            kind = kind or (KINDS[picture.metadata.kind] if parameters.returned == "image" else KINDS["png"])
            keep: frozenset[Kept] = _KEPT[parameters.returned]
            work = Work(
                model,
                steps,
                parameters.seed,
                context.request,
                context.caller.name,
                model_input.x_in,
                model_input.mask,
                keep=keep,
                pixels=model_input.pixels,
                depth=16 if picture.metadata.depth == 16 or picture.metadata.profile is not None else 8,
                deadline=deadline,
            )
            if not self._results.keeps(work):  # what is kept takes no time
                left = self._seconds_left(parameters, context, kind, height * width)
                steps = self._in_time(model, (height, width), steps, left, context.caller.name)
                work = replace(work, steps=steps)
            with self._charged(context.caller, megapixel_steps(model.spec, height, width, steps)), stopwatch.measure("sample"):
                result = await self._results.run(work, on_step)
            with stopwatch.measure("encode"):
                pixels, metadata = await offload(model_input.x_in.size, _output, parameters, result, picture)
                body = await self._codecs.encode(pixels, metadata, kind, parameters.metadata, whose)
            self._encoding.record(kind.name, height * width, stopwatch.milliseconds["encode"] / 1000)
            size = (
                (pixels.shape[0], pixels.shape[1])
                if metadata.orientation < 5 or parameters.metadata == "none"
                else (pixels.shape[1], pixels.shape[0])
            )
            return InferenceResult(
                (OutputImage(body, parameters.seed),), kind, size, model, steps, parameters.seed, stopwatch.milliseconds
            )

    async def generate(
        self, parameters: GenerateParameters, kind: Kind | None, context: RequestContext, on_step: Listener | None = None
    ) -> InferenceResult:
        """n pictures with the seeds from parameters.seed on; on_step hears of all of them together."""
        stopwatch, kind = Stopwatch(), kind or KINDS["png"]
        seed, n = random_seed() if parameters.seed is None else parameters.seed, parameters.n
        self._check_count(n, seed)
        with self._repository.lease(self.generation_model(parameters.model)) as model:
            steps = self._steps(model.spec, parameters.steps)
            caller, deadline = context.caller, self._deadline(parameters, context)
            async with until(deadline, "waited to be read"):
                await self._latency.ensure(model)
            height, width = model.spec.image_size or (0, 0)
            left = self._seconds_left(parameters, context, kind, n * height * width)
            steps = self._in_time(model, (height, width), steps, left, context.caller.name, n)
            works = [Work(model, steps, seed + k, f"{context.request}-{k}", caller.name, deadline=deadline) for k in range(n)]
            with self._charged(caller, n * megapixel_steps(model.spec, height, width, steps)), stopwatch.measure("sample"):
                results = await _run_all(self._results, works, on_step)
            with stopwatch.measure("encode"):
                pictures = [result.pixels for result in results]
                frames = [grid(pictures)] if parameters.grid else pictures
                whose = (caller.name, context.request)
                bodies = [await self._codecs.encode(frame, PLAIN, kind, "none", whose) for frame in frames]
            images = tuple(OutputImage(body, seed + k) for k, body in enumerate(bodies))
            return InferenceResult(
                images, kind, (frames[0].shape[0], frames[0].shape[1]), model, steps, seed, stopwatch.milliseconds
            )

    @contextmanager
    def _held(self, pixels: int) -> Iterator[None]:
        """Counts a decoded picture for as long as its request lives. Raises QueueFull if memory is not meant to hold it too.

        Those that wait for the same result as another are not in the scheduler's queue, but they hold their picture as well.
        """
        most = self._settings.max_held_megapixels
        if self._pixels_held and (self._pixels_held + pixels) / 1e6 > most:
            raise QueueFull(
                f"pictures of {self._pixels_held / 1e6:.0f} megapixels are in work; {most:g} are allowed", retry_after=2
            )
        self._pixels_held += pixels
        try:
            yield
        finally:
            self._pixels_held -= pixels

    def check_restore(self, parameters: RestoreParameters, sources: Uploads) -> str:
        """The model's name; refuses what can be refused at once, before a job or a stream is begun."""
        sniff(sources.image)
        name = self.restoration_model(parameters.task)
        self._steps(self._repository.models()[name].spec, parameters.steps)
        return name

    def check_generate(self, parameters: GenerateParameters) -> str:
        """Likewise."""
        self._check_count(parameters.n, parameters.seed or 0)
        name = self.generation_model(parameters.model)
        self._steps(self._repository.models()[name].spec, parameters.steps)
        return name

    def _check_count(self, n: int, seed: int) -> None:
        if n > self._settings.max_pictures:
            raise InvalidValue(f"n = {n}; at most {self._settings.max_pictures} pictures are made at once")
        if seed + n - 1 > LARGEST_SEED:
            raise InvalidValue(f"seed {seed} + n {n} goes beyond the largest seed, 2^63-1")

    @staticmethod
    def _steps(spec: ModelSpec, asked: int | None) -> int:
        steps = spec.default_steps if asked is None else asked
        if not spec.min_steps <= steps <= spec.max_steps:
            raise InvalidValue(f"steps = {steps}; model {spec.name} takes {spec.min_steps}..{spec.max_steps}")
        return steps

    def _seconds_left(self, parameters: CommonParameters, context: RequestContext, kind: Kind, pixels: int) -> float:
        """For sampling: until max_latency_ms is over, less what it takes to write the file; infinite where none is given."""
        if parameters.max_latency_ms is None:
            return math.inf
        until = context.arrived + parameters.max_latency_ms / 1000
        return until - time.monotonic() - self._encoding.seconds(kind.name, pixels)

    def _in_time(self, model: Model, size: tuple[int, int], steps: int, seconds: float, caller: str, n: int = 1) -> int:
        """The steps that fit into so many seconds. Raises DeadlineExceeded at once if none do, TooLarge for too much work."""
        if math.isfinite(seconds):
            steps = self._latency.steps_within(model, *size, steps, seconds, caller, n)
        cost, most = n * megapixel_steps(model.spec, *size, steps), self._settings.max_megapixel_steps
        if cost > most:
            raise TooLarge(
                f"{size[1]} x {size[0]} pixels in {steps} steps cost {cost:.1f} megapixel-steps; at most {most:g} are allowed"
            )
        return steps

    def _deadline(self, parameters: CommonParameters, context: RequestContext) -> float:
        longest = self._settings.request_timeout_seconds
        return context.arrived + (longest if parameters.max_latency_ms is None else min(longest, parameters.max_latency_ms / 1000))

    @staticmethod
    @contextmanager
    def _charged(caller: Caller, cost: float) -> Iterator[None]:
        """Spends the caller's quota on the work in the block; work that fails costs nothing."""
        if caller.bucket is None:
            yield
            return
        caller.bucket.spend(cost)
        try:
            yield
        except BaseException:
            caller.bucket.give_back(cost)
            raise

    async def _mask(self, sources: Uploads, picture: Picture, spec: ModelSpec, whose: Whose) -> Pixels | None:
        if sources.mask is None:
            return None
        if "mask" not in spec.condition:
            raise InvalidValue(f"model {spec.name} takes no mask")
        mask = (await self._codecs.decode(sources.mask, whose)).pixels
        if mask.shape != picture.pixels.shape:
            (rows, columns), (high, wide) = mask.shape[:2], picture.pixels.shape[:2]
            raise InvalidValue(f"the mask is {columns} x {rows} pixels and the picture {wide} x {high}; expected the same")
        return mask


_KEPT: dict[str, frozenset[Kept]] = {"image": frozenset(), "residual": frozenset(["residual"]), "steps": frozenset(["trace"])}


@dataclass(frozen=True, eq=False)
class ModelInput:
    """Picture and mask as the model is given them, and SHA-256 of the pixels that they were made of."""

    x_in: Image
    mask: Image | None
    pixels: bytes


def to_model_input(pixels: Pixels, mask: Pixels | None, spec: ModelSpec) -> ModelInput:
    """The digest is of pixels, since those are a fourth as many bytes."""
    digest = hashlib.sha256()
    for part in (pixels, mask):
        digest.update(b"-" if part is None else f"{part.shape} {part.dtype} ".encode())
        digest.update(b"" if part is None else np.ascontiguousarray(part).data)
    masked = None if mask is None else (to_image(mask) + np.float32(1)) / np.float32(2)  # networks are told masks in [0, 1]
    return ModelInput(to_image(prepared(pixels, spec.preprocessing)), masked, digest.digest())


class JointProgress:
    """Tells of several pictures as of one: a step is done when every picture has done it, and its preview shows them all."""

    def __init__(self, count: int, on_step: Listener) -> None:
        self._latest: list[Step | None] = [None] * count
        self._on_step = on_step
        self._told = 0

    def stepped(self, index: int, step: Step) -> None:
        """One picture has done a step."""
        self._latest[index] = step
        done = [one for one in self._latest if one is not None]
        slowest = min(done, key=lambda one: one.step)
        if len(done) == len(self._latest) and slowest.step > self._told:
            self._told = slowest.step
            shown = to_image(grid([to_pixels(one.preview) for one in done])) if len(done) > 1 else done[0].preview
            self._on_step(Step(slowest.step, slowest.steps, thumbnail(shown)))


async def _run_all(results: ResultCache, works: list[Work], on_step: Listener | None) -> list[FinishedResult]:
    """All at once; one that fails ends the others, and its error is everybody's."""
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


def _output(parameters: RestoreParameters, result: FinishedResult, picture: Picture) -> tuple[Pixels, SourceMetadata]:
    """The pixels to answer with, and what to give back of the source with them."""
    metadata = picture.metadata
    if parameters.returned == "image":
        return result.pixels, metadata
    if parameters.returned == "residual":
        assert result.residual is not None
        return to_pixels(result.residual * np.float32(0.5)), metadata.for_derived_picture()
    return np.concatenate([to_pixels(image) for image in result.trace], axis=1), metadata.for_derived_picture()


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
