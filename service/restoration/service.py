"""A request from bytes to bytes: decode, sample, encode. It knows nothing of HTTP."""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from rddm.image import Depth, Pixels, to_pixels
from rddm.spec import ModelSpec
from service.analysis.analysis import Analysis, analyse
from service.analysis.classifier import Classifier
from service.engines.arrays import offload
from service.engines.contract import Model, ServingEngine
from service.errors import InvalidValue
from service.keys import RequestContext
from service.pictures.encode import left_out, size_in
from service.pictures.formats import ALL_FORMATS, FORMATS, PictureFormat, sniff
from service.pictures.picture import Picture
from service.pictures.workers.pool import CodecPool, Whose
from service.restoration.adjusting import adjusted, takes_brightness
from service.restoration.budgets import Budgets
from service.restoration.model_input import check_mask, check_takes_mask, to_model_input
from service.restoration.models import ModelChoice, steps_of
from service.restoration.parameters import AUTO, LARGEST_SEED, GenerateParameters, RestoreParameters, usual_format
from service.restoration.sheets import grid, run_all
from service.results.cache import ResultCache, until
from service.sampling.work import MEMBERS, Kept, Listener, Result, Work
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
class RequestResult:
    """The result of a request. images: its picture files; seed: of the first one, one more for each other. size: height and width
    of the pictures; timings: milliseconds of decode, sample and encode.

    chain: the models that made it, in order; without any the picture came back as it was. chain_steps: the steps of each.
    dropped: names of parts of the source's file that the result's has not (service.pictures.picture.LEFT_OUT). analysis: of task
    auto.
    """

    images: tuple[bytes, ...]
    kind: PictureFormat
    size: tuple[int, int]
    chain: tuple[Model, ...]
    chain_steps: tuple[int, ...]
    seed: int
    timings: Mapping[str, float]
    dropped: tuple[str, ...] = ()
    analysis: Analysis | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each image."""
        return tuple(range(self.seed, self.seed + len(self.images)))

    @property
    def model(self) -> Model:
        """The one that made it, the last of several; none where the picture came back as it was."""
        return self.chain[-1]

    @property
    def label(self) -> str:
        """The model's name for metrics, which keeps them few."""
        return self.models if len(self.chain) == 1 else "several" if self.chain else "none"

    @property
    def models(self) -> str:
        """Their names, between commas."""
        return ", ".join(model.spec.name for model in self.chain)

    @property
    def digests(self) -> str:
        """Their digests, between commas."""
        return ", ".join(model.digest for model in self.chain)

    @property
    def steps(self) -> int:
        """Network calls of all of them."""
        return sum(self.chain_steps)


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
        self.classifier = Classifier()

    async def restore(
        self,
        parameters: RestoreParameters,
        image: bytes,
        mask: bytes | None,
        kind: PictureFormat | None,
        context: RequestContext,
        on_step: Listener | None = None,
    ) -> RequestResult:
        """One picture file, and its mask's; kind None answers in the input's own format.

        on_step is called after each step, in the event loop.
        Raises the errors of service.errors.
        """
        stopwatch, context = Stopwatch(), self.budgets.until_deadline(parameters, context)
        with self._lease(parameters) as leased, ExitStack() as held:
            async with until(context.deadline, "waited to be read"):
                with stopwatch.measure("decode"):
                    picture = await self.codecs.decode(image, whose(context))
                    held.enter_context(self.budgets.hold(picture.size[0] * picture.size[1]))
                    picture = replace(picture, mask=await self._mask(mask, leased, context))
                    check_mask(picture, mask_taker(leased))
            kind = kind or usual_format(parameters, ALL_FORMATS[picture.format])
            analysis, models, parameters = await self._plan(parameters, leased, picture, stopwatch)
            restored, steps = picture, tuple[int, ...]()
            if models:
                with stopwatch.measure("sample"):
                    restored, steps = await self._run_chain(parameters, models, picture, kind, context, on_step)
            body, dropped = image, tuple[str, ...]()
            if models or not keeps_bytes(parameters, picture, kind):
                with stopwatch.measure("encode"):
                    body = await self.codecs.encode(restored, kind, parameters, whose(context))
                self.budgets.encoding.record(kind, picture.size[0] * picture.size[1], stopwatch.milliseconds["encode"] / 1000)
                dropped = left_out(restored, kind, parameters)
            size = size_in(restored, kind, parameters)
            return RequestResult((body,), kind, size, models, steps, parameters.seed, stopwatch.milliseconds, dropped, analysis)

    async def analyse(self, image: bytes, context: RequestContext) -> Analysis:
        """What is wrong with a picture and what task auto would do, with nothing restored. Raises the errors of service.errors."""
        parameters = RestoreParameters(task=AUTO)
        context = self.budgets.until_deadline(parameters, context)
        with self.models.lease(parameters) as models:
            async with until(context.deadline, "waited to be read"):
                picture = await self.codecs.decode(image, whose(context))
            with self.budgets.hold(picture.size[0] * picture.size[1]):
                return await self._analyse(picture, models)

    async def _analyse(self, picture: Picture, models: tuple[Model, ...]) -> Analysis:
        return await asyncio.to_thread(analyse, picture, self.classifier, tasks_of(models))

    async def _plan(
        self, parameters: RestoreParameters, models: tuple[Model, ...], picture: Picture, stopwatch: Stopwatch
    ) -> tuple[Analysis | None, tuple[Model, ...], RestoreParameters]:
        """For task auto the analysis, the models that it plans, and the parameters that fit those; else what was given."""
        if not parameters.is_auto:
            return None, models, parameters
        with stopwatch.measure("analyse"):
            analysis = await self._analyse(picture, models)
        models = planned(analysis.plan, models)
        return analysis, models, fitting(parameters, models)

    async def _run_chain(
        self,
        parameters: RestoreParameters,
        models: tuple[Model, ...],
        picture: Picture,
        kind: PictureFormat,
        context: RequestContext,
        on_step: Listener | None = None,
    ) -> tuple[Picture, tuple[int, ...]]:
        """Each model on what the one before it made, in 16 bits between them: the answer, and the steps that each took."""
        original, wanted = picture, [steps_of(model.spec, parameters.steps) for model in models]
        self.budgets.check_cost(models, wanted, picture.size, MEMBERS if parameters.flips else 1)
        taken: list[int] = []
        async with AsyncExitStack() as charges:
            for index, model in enumerate(models):
                left = len(models) - index
                async with until(context.deadline, "was prepared"):
                    work = await offload(picture.pixels.size, to_work, picture, parameters, model, context)
                work = work if left == 1 else replace(work, depth=16)
                if not self.results.keeps(work):  # a kept result takes no time
                    work = self.budgets.fit(work, parameters, context, kind, stages_left=left)
                await charges.enter_async_context(self.budgets.charge(context, work.megapixel_steps))
                result = await self.results.run(work, _moved(on_step, sum(taken), sum(wanted[index + 1 :])))
                taken.append(work.steps)
                picture = picture.with_result(result.pixels)
        return await offload(result.pixels.size, output_of, parameters, result, original), tuple(taken)

    async def generate(
        self, parameters: GenerateParameters, kind: PictureFormat | None, context: RequestContext, on_step: Listener | None = None
    ) -> RequestResult:
        """n pictures with the seeds from parameters.seed on; on_step hears of all of them together."""
        stopwatch, kind = Stopwatch(), kind or FORMATS["png"]
        context = self.budgets.until_deadline(parameters, context)
        seed, n = random_seed() if parameters.seed is None else parameters.seed, parameters.n
        self._check_count(n, seed)
        with self.models.lease(parameters) as (model,):
            self.scheduler.introduce(model)
            caller, deadline, steps = context.caller, context.deadline, steps_of(model.spec, parameters.steps)
            first = Work(model, steps, seed, context.request, caller, keep=frozenset(), deadline=deadline)
            first = self.budgets.fit(first, parameters, context, kind, n)
            works = [replace(first, seed=seed + k, request=f"{context.request}-{k}") for k in range(n)]
            async with self.budgets.charge(context, n * first.megapixel_steps):
                with stopwatch.measure("sample"):
                    results = await run_all(self.results, works, on_step)
            with stopwatch.measure("encode"):
                pictures = [result.pixels for result in results]
                frames = [grid(pictures)] if parameters.grid else pictures
                bodies = [await self.codecs.encode(Picture(frame), kind, parameters, whose(context)) for frame in frames]
            size = (frames[0].shape[0], frames[0].shape[1])
            return RequestResult(tuple(bodies), kind, size, (model,), (first.steps,), seed, stopwatch.milliseconds)

    async def restore_pixels(
        self, pixels: Pixels, parameters: RestoreParameters, context: RequestContext, mask: Pixels | None = None
    ) -> Pixels:
        """Restores pixels h w 3 of uint8 or uint16 in sRGB, without files; the result has the same depth.

        parameters.format and parameters.metadata say nothing here. Raises the errors of service.errors.
        """
        depth: Depth = 16 if pixels.dtype == np.uint16 else 8
        picture = Picture(pixels, depth=depth, mask=mask)
        context = self.budgets.until_deadline(parameters, context)
        with self._lease(parameters) as leased, self.budgets.hold(picture.size[0] * picture.size[1]):
            check_mask(picture, mask_taker(leased))
            _, models, parameters = await self._plan(parameters, leased, picture, Stopwatch())
            if not models:
                return pixels
            restored, _ = await self._run_chain(parameters, models, picture, FORMATS["png"], context)
            return restored.pixels

    def check_restore(self, parameters: RestoreParameters, image: bytes) -> tuple[Model, ...]:
        """The models of a request; refuses what can be refused before a job or a stream begins."""
        sniff(image)
        return self.models.resolve(parameters)

    def check_generate(self, parameters: GenerateParameters) -> Model:
        """The model of a request; refuses what can be refused before a job or a stream begins."""
        self._check_count(parameters.n, parameters.seed or 0)
        return self.models.resolve(parameters)[0]

    def _check_count(self, n: int, seed: int) -> None:
        if n > self.settings.max_pictures:
            raise InvalidValue(f"n = {n}; at most {self.settings.max_pictures} pictures are made at once")
        if seed + n - 1 > LARGEST_SEED:
            raise InvalidValue(f"seed {seed} + n {n} goes beyond the largest seed, 2^63-1")

    @contextmanager
    def _lease(self, parameters: RestoreParameters) -> Iterator[tuple[Model, ...]]:
        """The models of a restoration, known to the scheduler; they stay loaded for the block."""
        with self.models.lease(parameters) as models:
            for model in models:
                self.scheduler.introduce(model)
            yield models

    async def _mask(self, mask: bytes | None, models: tuple[Model, ...], context: RequestContext) -> Pixels | None:
        if mask is None:
            return None
        check_takes_mask(mask_taker(models))
        return (await self.codecs.decode(mask, whose(context))).pixels


def to_work(picture: Picture, parameters: RestoreParameters, model: Model, context: RequestContext) -> Work:
    """What a model does with a picture."""
    spec = model.spec
    x_in, mask, digest = to_model_input(picture.pixels, picture.mask if spec.takes_mask else None, spec)
    return Work(
        model,
        steps_of(spec, parameters.steps),
        parameters.seed,
        context.request,
        context.caller,
        x_in,
        mask,
        keep=KEPT[parameters.returned],
        pixels=digest,
        depth=picture.working_depth,
        deadline=context.deadline,
        flips=parameters.flips,
    )


def tasks_of(models: tuple[Model, ...]) -> set[str]:
    """The names by which models can be planned."""
    return {model.spec.task for model in models} | {model.spec.name for model in models}


def planned(plan: tuple[str, ...], models: tuple[Model, ...]) -> tuple[Model, ...]:
    """The models of a plan's tasks, in its order."""
    return tuple(model for task in plan for model in models if task in {model.spec.name, model.spec.task})


def fitting(parameters: RestoreParameters, models: tuple[Model, ...]) -> RestoreParameters:
    """Of a plan without a model that brightens, the same without a wanted brightness."""
    if any(takes_brightness(model.spec) for model in models):
        return parameters
    return parameters.model_copy(update={"brightness": "auto", "brightness_mean": None})


def keeps_bytes(parameters: RestoreParameters, picture: Picture, kind: PictureFormat) -> bool:
    """Whether an unchanged picture may be answered with the bytes that came.

    They are of the wanted format, nothing else is said of how to write them, and they tell nothing that the answer may not.
    """
    as_usual = parameters.file_quality is None and parameters.lossless is None
    secret = picture.places or bool(picture.further)  # a motion photo's video may tell places, too
    may_keep = parameters.metadata == "all" or (parameters.metadata == "keep" and not secret)
    return kind.name == picture.format and as_usual and may_keep


def mask_taker(models: tuple[Model, ...]) -> ModelSpec:
    """The first model that takes a mask; where none does, the first."""
    specs = [model.spec for model in models]
    return next((spec for spec in specs if spec.takes_mask), specs[0])


def _moved(on_step: Listener | None, done: int, ahead: int) -> Listener | None:
    """Gives a model's steps as some among those of all models."""
    if on_step is None or not (done or ahead):
        return on_step
    listener = on_step
    return lambda step: listener(replace(step, step=step.step + done, steps=step.steps + done + ahead))


def whose(context: RequestContext) -> Whose:
    """Caller and request, for the fair order of the codec pool."""
    return context.caller, context.request


def output_of(parameters: RestoreParameters, result: Result, original: Picture) -> Picture:
    """The picture to answer with, with what belongs to it of all that the original had."""
    if parameters.returned == "image":
        pixels = adjusted(original.pixels, result.pixels, parameters.strength, parameters.stops, parameters.brightness_mean)
        kept = original.gain_map is None or keeps_brightness(original.pixels, pixels)
        return (original if kept else original.without_gain_map()).with_result(pixels)
    if parameters.returned == "residual":
        assert result.residual is not None
        return original.with_derived(to_pixels(result.residual * np.float32(0.5)))
    return original.with_derived(np.concatenate([to_pixels(image) for image in result.trace], axis=1))


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
