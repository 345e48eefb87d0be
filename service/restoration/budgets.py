"""What a request may take: time until its deadline, work by its caller's quota, memory for its decoded pictures."""

import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Protocol

from service.engines.contract import Model
from service.errors import DeadlineExceeded, QueueFull, TooLarge
from service.keys import RequestContext
from service.pictures.formats import PictureFormat
from service.restoration.parameters import CommonParameters
from service.sampling.work import Work
from service.scheduling.admission import Demand, megapixel_steps
from service.settings import Settings

MIN_MEASURED_PIXELS = 128 * 128  # smaller files say little about the cost of large ones
MAX_AGE_SECONDS = 60.0  # of a measurement: a request refused because of it could never prove it wrong
EWMA_WEIGHT = 0.1


class Estimator(Protocol):
    """Estimates how long work takes now (`service.scheduling.scheduler`)."""

    def estimate(self, work: Demand, pictures: int = 1) -> float:
        """Seconds until so many pictures of such work would be done; NaN while no call of its weights was measured."""
        ...


class EncodingCosts:
    """Seconds a megapixel that encoding took lately, by file format."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[float, float]] = {}  # and when it was recorded

    def record(self, kind: PictureFormat, pixels: int, seconds: float) -> None:
        """A picture of so many pixels was encoded in so many seconds."""
        if pixels >= MIN_MEASURED_PIXELS:
            rate = seconds / (pixels / 1e6)
            before = self._rate(kind)
            self._rates[kind.name] = rate if before is None else before + EWMA_WEIGHT * (rate - before), time.monotonic()

    def seconds(self, kind: PictureFormat, pixels: int) -> float:
        """What so many pixels will take; 0 for a format that was not written lately."""
        return (self._rate(kind) or 0.0) * pixels / 1e6

    def _rate(self, kind: PictureFormat) -> float | None:
        rate, at = self._rates.get(kind.name, (0.0, -math.inf))
        return rate if time.monotonic() - at < MAX_AGE_SECONDS else None


class Budgets:
    """Fits requests into the limits of the settings and the time that the estimator expects."""

    def __init__(self, settings: Settings, estimator: Estimator) -> None:
        self._settings = settings
        self._estimator = estimator
        self.encoding = EncodingCosts()
        self._pixels_held = 0

    def until_deadline(self, parameters: CommonParameters, context: RequestContext) -> RequestContext:
        """The context with the moment by which the request must have ended."""
        longest, wanted = self._settings.request_timeout_seconds, parameters.max_latency_ms
        seconds = longest if wanted is None else min(longest, wanted / 1000)
        return replace(context, deadline=context.arrived + seconds)

    def fit(
        self,
        work: Work,
        parameters: CommonParameters,
        context: RequestContext,
        kind: PictureFormat,
        pictures: int = 1,
        stages_left: int = 1,
    ) -> Work:
        """The work with as many of its steps as fit into max_latency_ms beside the work in the queue, encoding included.

        pictures: how many such works the request consists of; stages_left: how many models, this one among them, share the time.
        Before the first measured call nothing is known, and all steps stay. Raises DeadlineExceeded at once if not even the model's
        fewest steps fit, TooLarge for more work than is allowed.
        """
        if parameters.max_latency_ms is not None:
            pixels = pictures * work.size[0] * work.size[1]
            until = context.arrived + parameters.max_latency_ms / 1000 - self.encoding.seconds(kind, pixels)
            work = replace(work, steps=self._steps_within(work, (until - time.monotonic()) / stages_left, pictures))
        cost, most = pictures * work.megapixel_steps, self._settings.max_megapixel_steps
        if cost > most:
            raise TooLarge(
                f"{work.size[1]} x {work.size[0]} pixels in {work.steps} steps cost {cost:.1f} megapixel-steps; "
                f"at most {most:g} are allowed"
            )
        return work

    def check_cost(self, models: Sequence[Model], steps: Sequence[int], size: tuple[int, int], times: int = 1) -> None:
        """Raises TooLarge where several models together cost more than is allowed.

        steps: of each. size: height and width of the picture sent; times: how often each model is run.
        """
        cost, (height, width) = 0.0, size
        for model, count in zip(models, steps, strict=True):
            height, width = height * model.spec.scale, width * model.spec.scale
            cost += times * megapixel_steps(model.spec, height, width, count)
        most = self._settings.max_megapixel_steps
        if len(models) > 1 and cost > most:
            raise TooLarge(f"{len(models)} tasks cost {cost:.1f} megapixel-steps together; at most {most:g} are allowed")

    def _steps_within(self, work: Work, seconds: float, pictures: int) -> int:
        """The most steps, up to the work's, that fit into so many seconds. Raises DeadlineExceeded if even the fewest do not."""
        spec = work.model.spec
        fewest = min(work.steps, spec.min_steps)
        for steps in range(work.steps, fewest - 1, -1):
            needed = self._estimator.estimate(replace(work, steps=steps), pictures)
            if not needed > seconds:
                return steps
        raise DeadlineExceeded(
            f"the fewest steps of model {spec.name}, {fewest}, would take about {needed:.2f} s now, and {seconds:.2f} s are allowed"
        )

    @asynccontextmanager
    async def charge(self, context: RequestContext, cost: float) -> AsyncIterator[None]:
        """Spends the caller's quota of megapixel-steps on the work in the block; work that fails costs nothing."""
        if context.quota is None:
            yield
            return
        await context.quota.spend(cost)
        try:
            yield
        except BaseException:
            await context.quota.give_back(cost)
            raise

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Counts a decoded picture while its request lives. Raises QueueFull if memory is not meant to hold it too.

        Requests that wait for another one's result are not in the scheduler's queue, but they hold their picture as well.
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
