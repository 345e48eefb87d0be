"""Clips as callers ask for them: the model, limits and quota, then service.video.restoration. It knows nothing of HTTP."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from service.engines.contract import Model
from service.errors import InvalidValue, QuotaSpent, TooLarge
from service.keys import Quota, RequestContext
from service.restoration.models import steps_of
from service.restoration.service import RestorationService
from service.scheduling.admission import megapixel_steps
from service.settings import Settings
from service.video.facts import ClipBounds, ClipFacts, check_installed
from service.video.parameters import ClipParameters
from service.video.process import ProcessLimits

if TYPE_CHECKING:
    from service.video.restoration import ClipProgress, ClipRestorer, ClipResult

LONGEST_PAUSE = 30.0
CALL_SECONDS = 60.0  # that one frame may take to be read or written


class ClipService:
    """Restores clips by a restoration service's models and scheduler: frames share batches with whatever else comes."""

    def __init__(self, restoration: RestorationService) -> None:
        self._restoration = restoration

    def check(self, parameters: ClipParameters) -> str:
        """The models' names; refuses what can be refused at once, before a job is made. Raises what service.errors knows."""
        check_installed()
        parameters.options()
        models = self._restoration.models.resolve(parameters.of_frames)
        for spec in (model.spec for model in models):
            if spec.needs_mask:
                raise InvalidValue(f"model {spec.name} needs a mask, and clips have none; expected another task")
        return "" if parameters.is_auto else ", ".join(model.spec.name for model in models)

    async def probe(self, source: Path, parameters: ClipParameters) -> ClipFacts:
        """The clip's facts, once it is known that it can be read and written as asked. Raises what service.errors knows."""
        models = self._restoration.models.resolve(parameters.of_frames)
        return await self._restorer(None).probe(source, parameters.options(), scale_of(models, parameters))

    async def restore(
        self,
        source: Path,
        target: Path,
        folder: Path,
        parameters: ClipParameters,
        context: RequestContext,
        on_frame: "Callable[[ClipProgress], None] | None" = None,
        bounds: ClipBounds | None = None,
    ) -> "ClipResult":
        """The clip at target, whole or not at all; segments stay in folder if this is ended. bounds: the settings' if None.

        Raises what service.errors knows.
        """
        self.check(parameters)
        from service.video.restoration import ClipWork  # noqa: PLC0415 - needs the extra `video`

        restoration = self._restoration
        with restoration.models.lease(parameters.of_frames) as models:
            for model in models:
                restoration.scheduler.introduce(model)
            scale = scale_of(models, parameters)
            work = ClipWork(source, target, folder, models, parameters, context.request, context.caller, scale)

            async def charge(model: Model, height: int, width: int) -> None:
                cost = megapixel_steps(model.spec, height, width, steps_of(model.spec, parameters.steps))
                most = restoration.settings.max_megapixel_steps
                if cost > most:
                    raise TooLarge(f"a frame costs {cost:.1f} megapixel-steps; at most {most:g} are allowed")
                await _spend(context.quota, cost)

            return await self._restorer(bounds).restore(work, on_frame, charge)

    def _restorer(self, bounds: ClipBounds | None) -> "ClipRestorer":
        from service.video.restoration import ClipRestorer  # noqa: PLC0415 - needs the extra `video`

        restoration, settings = self._restoration, self._restoration.settings
        limits = ProcessLimits(settings.codec_memory_bytes, settings.max_clip_result_bytes, CALL_SECONDS)
        at_once = restoration.repository.instances + 1
        bounds = bounds or clip_bounds(settings)
        return ClipRestorer(restoration.results.sampler, bounds, limits, at_once, restoration.classifier)


async def _spend(quota: Quota | None, cost: float) -> None:
    """A clip goes on as fast as its caller's quota refills. Raises TooLarge where one frame is over it."""
    while quota is not None:
        try:
            await quota.spend(cost)
        except QuotaSpent as spent:
            await asyncio.sleep(min(max(spent.retry_after or 1.0, 0.1), LONGEST_PAUSE))
        else:
            return


def scale_of(models: tuple[Model, ...], parameters: ClipParameters) -> int:
    """How many times as high and wide a clip becomes; task auto enlarges nothing."""
    return 1 if parameters.is_auto else math.prod(model.spec.scale for model in models)


def clip_bounds(settings: Settings) -> ClipBounds:
    """What the settings allow of a clip."""
    return ClipBounds(settings.max_pixels, settings.max_side, settings.max_clip_frames, settings.max_clip_seconds)
