"""A request from bytes to bytes: decode, sample, encode. It knows nothing of HTTP."""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from rddm.image import Depth, Pixels, to_pixels
from rddm.spec import ModelSpec
from service.engines.arrays import offload
from service.engines.contract import Model, ServingEngine
from service.errors import InvalidValue
from service.pictures.encode import Writing, left_out
from service.pictures.formats import ALL_FORMATS, FORMATS, PictureFormat, answer_format, sniff
from service.pictures.picture import PLAIN, Picture, Policy, SourceMetadata
from service.pictures.workers.pool import CodecPool, Whose
from service.restoration.budgets import Budgets, RequestContext
from service.restoration.models import ModelChoice, Resolved
from service.restoration.parameters import LARGEST_SEED, GenerateParameters, RestoreParameters
from service.restoration.sheets import grid, run_all
from service.restoration.source import Source, check_takes_mask, to_model_input
from service.restoration.uploads import Uploads
from service.results.cache import FinishedResult, ResultCache, until
from service.sampling.pipeline import Kept, Listener, Work
from service.scheduling.scheduler import Scheduler
from service.settings import Settings
from service.telemetry.tracing import part_span

RANDOM_SEEDS = 2**32
BRIGHTNESS_PARTS, SAME_BRIGHTNESS = 4, 0.03  # along each side; of the full range
KEPT: dict[str, frozenset[Kept]] = {"image": frozenset(), "residual": frozenset(["residual"]), "steps": frozenset(["trace"])}


def random_seed() -> int:
    """A seed for a request without one, short enough to be read out: 0 .. 2^32-1."""
    return secrets.randbelow(RANDOM_SEEDS)


@dataclass(frozen=True)
class OutputImage:
    """One finished picture file, and the seed that it was made with."""

    body: bytes
    seed: int


@dataclass(frozen=True)
class RequestResult:
    """The result of a request. size: height and width of the pictures; timings: milliseconds of decode, sample and encode.

    dropped: names of parts of the source's file that the result's has not (service.pictures.picture.LEFT_OUT).
    """

    images: tuple[OutputImage, ...]
    kind: PictureFormat
    size: tuple[int, int]
    model: Model
    steps: int
    seed: int
    timings: Mapping[str, float]
    dropped: tuple[str, ...] = ()


@dataclass
class Stopwatch:
    """Measures the parts of a request."""

    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the block's time to the part."""
        start = time.perf_counter()
        try:
            with part_span(f"rddm.{part}"):
                yield
        finally:
            self.milliseconds[part] = self.milliseconds.get(part, 0) + (time.perf_counter() - start) * 1000


class RestorationService:
    """Restores and generates: with a repository of models, the scheduler, the results that are kept, and a codec pool."""

    def __init__(
        self, settings: Settings, repository: ServingEngine, scheduler: Scheduler, results: ResultCache, codecs: CodecPool
    ) -> None:
        self.settings = settings
        self.repository = repository
        self.scheduler = scheduler
        self.results = results
        self.codecs = codecs
        self.models = ModelChoice(settings, repository)
        self.budgets = Budgets(settings, scheduler)

    async def restore(
        self,
        parameters: RestoreParameters,
        uploads: Uploads,
        kind: PictureFormat | None,
        context: RequestContext,
        on_step: Listener | None = None,
    ) -> RequestResult:
        """One picture; kind None answers in the input's own format. on_step is called after each step, in the event loop.

        Raises the errors of service.errors.
        """
        stopwatch, deadline = Stopwatch(), self.budgets.deadline(parameters, context)
        with self.models.lease(parameters) as resolved, ExitStack() as held:
            self.scheduler.introduce(resolved.model)
            async with until(deadline, "waited to be read"):
                with stopwatch.measure("decode"):
                    source = await self._decode(uploads, resolved.model.spec, context, held)
                    work = await self._to_work(source, parameters, resolved, context, deadline)
            kind = kind or usual_format(parameters, ALL_FORMATS[source.picture.metadata.format])
            if not self.results.keeps(work):  # a kept result takes no time
                work = self.budgets.fit(work, parameters, context, kind)
            async with self.budgets.charge(context.caller, work.load.megapixel_steps):
                with stopwatch.measure("sample"):
                    result = await self.results.run(work, on_step)
            with stopwatch.measure("encode"):
                pixels, metadata = await offload(result.pixels.size, output_of, parameters, result, source)
                writing = Writing(parameters.metadata, parameters.quality, parameters.lossless)
                dropped = left_out(metadata, kind, parameters.metadata) if parameters.returned == "image" else ()
                body = await self.codecs.encode(pixels, metadata, kind, writing, whose(context))
            self.budgets.encoding.record(kind, source.size[0] * source.size[1], stopwatch.milliseconds["encode"] / 1000)
            size = stored_size(pixels, metadata, kind, parameters.metadata)
            image = OutputImage(body, parameters.seed)
            return RequestResult((image,), kind, size, work.model, work.steps, parameters.seed, stopwatch.milliseconds, dropped)

    async def generate(
        self, parameters: GenerateParameters, kind: PictureFormat | None, context: RequestContext, on_step: Listener | None = None
    ) -> RequestResult:
        """n pictures with the seeds from parameters.seed on; on_step hears of all of them together."""
        stopwatch, kind = Stopwatch(), kind or FORMATS["png"]
        deadline = self.budgets.deadline(parameters, context)
        seed, n = random_seed() if parameters.seed is None else parameters.seed, parameters.n
        self._check_count(n, seed)
        with self.models.lease(parameters) as resolved:
            self.scheduler.introduce(resolved.model)
            first = Work(resolved.model, resolved.steps, seed, context.request, context.caller.name, deadline=deadline)
            first = self.budgets.fit(first, parameters, context, kind, n)
            works = [replace(first, seed=seed + k, request=f"{context.request}-{k}") for k in range(n)]
            async with self.budgets.charge(context.caller, n * first.load.megapixel_steps):
                with stopwatch.measure("sample"):
                    results = await run_all(self.results, works, on_step)
            with stopwatch.measure("encode"):
                pictures = [result.pixels for result in results]
                frames = [grid(pictures)] if parameters.grid else pictures
                writing = Writing("none", parameters.quality, parameters.lossless)
                bodies = [await self.codecs.encode(frame, PLAIN, kind, writing, whose(context)) for frame in frames]
            images = tuple(OutputImage(body, seed + k) for k, body in enumerate(bodies))
            size = (frames[0].shape[0], frames[0].shape[1])
            return RequestResult(images, kind, size, first.model, first.steps, seed, stopwatch.milliseconds)

    async def restore_pixels(
        self, pixels: Pixels, parameters: RestoreParameters, context: RequestContext, mask: Pixels | None = None
    ) -> Pixels:
        """The same without files: pixels h w 3 of uint8 or uint16 in sRGB, and back in the same depth.

        parameters.format and parameters.metadata say nothing here. Raises the errors of service.errors.
        """
        depth: Depth = 16 if pixels.dtype == np.uint16 else 8
        source = Source(Picture(pixels, replace(PLAIN, depth=depth)), mask)
        deadline = self.budgets.deadline(parameters, context)
        with self.models.lease(parameters) as resolved, self.budgets.hold(source.size[0] * source.size[1]):
            source.check_mask(resolved.model.spec)
            self.scheduler.introduce(resolved.model)
            work = await self._to_work(source, parameters, resolved, context, deadline)
            work = self.budgets.fit(work, parameters, context, FORMATS["png"])
            result = await self.results.run(work)
            return (await offload(result.pixels.size, output_of, parameters, result, source))[0]

    def check_restore(self, parameters: RestoreParameters, uploads: Uploads) -> Resolved:
        """The model and steps of a request; refuses what can be refused before a job or a stream begins."""
        sniff(uploads.image)
        return self.models.resolve(parameters)

    def check_generate(self, parameters: GenerateParameters) -> Resolved:
        """The model and steps of a request; refuses what can be refused before a job or a stream begins."""
        self._check_count(parameters.n, parameters.seed or 0)
        return self.models.resolve(parameters)

    def _check_count(self, n: int, seed: int) -> None:
        if n > self.settings.max_pictures:
            raise InvalidValue(f"n = {n}; at most {self.settings.max_pictures} pictures are made at once")
        if seed + n - 1 > LARGEST_SEED:
            raise InvalidValue(f"seed {seed} + n {n} goes beyond the largest seed, 2^63-1")

    async def _decode(self, uploads: Uploads, spec: ModelSpec, context: RequestContext, held: ExitStack) -> Source:
        """Picture and mask; the picture counts as held until the stack is closed."""
        picture = await self.codecs.decode(uploads.image, whose(context))
        held.enter_context(self.budgets.hold(picture.pixels.shape[0] * picture.pixels.shape[1]))
        if uploads.mask is None:
            return Source(picture)
        check_takes_mask(spec)
        source = Source(picture, (await self.codecs.decode(uploads.mask, whose(context))).pixels)
        source.check_mask(spec)
        return source

    async def _to_work(
        self, source: Source, parameters: RestoreParameters, resolved: Resolved, context: RequestContext, deadline: float
    ) -> Work:
        pixels, spec = source.picture.pixels, resolved.model.spec
        model_input = await offload(pixels.size, to_model_input, pixels, source.mask, spec)
        return Work(
            resolved.model,
            resolved.steps,
            parameters.seed,
            context.request,
            context.caller.name,
            model_input.x_in,
            model_input.mask,
            keep=KEPT[parameters.returned],
            pixels=model_input.pixels,
            depth=source.depth,
            deadline=deadline,
        )


def whose(context: RequestContext) -> Whose:
    """Caller and request, for the fair order of the codec pool."""
    return context.caller.name, context.request


def usual_format(parameters: RestoreParameters, given: PictureFormat) -> PictureFormat:
    """The format of an answer for which none is named: the picture's own, or PNG for what is derived from it."""
    return answer_format(given.name) if parameters.returned == "image" else FORMATS["png"]


def output_of(parameters: RestoreParameters, result: FinishedResult, source: Source) -> tuple[Pixels, SourceMetadata]:
    """The pixels to answer with, and the metadata of the source that belongs to them."""
    metadata = source.picture.metadata
    if parameters.returned == "image":
        if metadata.gain_map is not None and not keeps_brightness(source.picture.pixels, result.pixels):
            metadata = metadata.without_gain_map()
        return result.pixels, metadata.enlarged_to(result.pixels.shape[0], result.pixels.shape[1])
    if parameters.returned == "residual":
        assert result.residual is not None
        return to_pixels(result.residual * np.float32(0.5)), metadata.for_derived_picture()
    return np.concatenate([to_pixels(image) for image in result.trace], axis=1), metadata.for_derived_picture()


def keeps_brightness(before: Pixels, after: Pixels) -> bool:
    """Whether each part of a picture, h w 3 of any depth, is about as bright as it was, so that its gain map is still true."""
    changes = [
        abs(float(part.mean()) / np.iinfo(part.dtype).max - float(other.mean()) / np.iinfo(other.dtype).max)
        for rows, other_rows in zip(_parts(before, 0), _parts(after, 0), strict=True)
        for part, other in zip(_parts(rows, 1), _parts(other_rows, 1), strict=True)
    ]
    return max(changes) < SAME_BRIGHTNESS


def _parts(pixels: Pixels, axis: int) -> list[Pixels]:
    return [part for part in np.array_split(pixels, BRIGHTNESS_PARTS, axis) if part.size]


def stored_size(pixels: Pixels, metadata: SourceMetadata, kind: PictureFormat, policy: Policy) -> tuple[int, int]:
    """Height and width of the file: its orientation tag, where it keeps one, turns the picture back."""
    height, width = pixels.shape[:2]
    return (height, width) if metadata.orientation < 5 or policy == "none" or kind.upright else (width, height)
