"""Clips as callers ask for them: the model, limits and quota, then service.video.restoration. It knows nothing of HTTP."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import InvalidValue, QuotaSpent, TooLarge
from service.keys import Quota, RequestContext
from service.restoration.models import steps_of
from service.restoration.parameters import RestoreParameters
from service.restoration.service import RestorationService
from service.scheduling.admission import megapixel_steps
from service.settings import Settings
from service.video.facts import ClipBounds, ClipFacts, check_installed
from service.video.parameters import ClipParameters
from service.video.process import ProcessLimits

if TYPE_CHECKING:
    from service.video.restoration import ClipProgress, ClipRestorer, ClipResult, ClipWork

LONGEST_PAUSE = 30.0
CALL_SECONDS = 60.0  # that one frame may take to be read or written


class ClipService:
    """Restores clips by a restoration service's models and scheduler: frames share batches with whatever else comes."""

    def __init__(self, restoration: RestorationService) -> None:
        self._restoration = restoration

    def check(self, parameters: ClipParameters) -> str:
        """The model's name; refuses what can be refused at once, before a job is made. Raises what service.errors knows."""
        check_installed()
        parameters.options()
        self._restoration.models.check_single(_of_frames(parameters))
        model = self._restoration.models.resolve(_of_frames(parameters))[0]
        if model.spec.needs_mask:
            raise InvalidValue(f"model {model.spec.name} needs a mask, and clips have none; expected another task")
        return model.spec.name

    async def probe(self, source: Path, parameters: ClipParameters) -> ClipFacts:
        """The clip's facts, once it is known that it can be read and written as asked. Raises what service.errors knows."""
        return await self._restorer(None).probe(source, parameters.options())

    async def restore(
        self,
        source: Path,
        target: Path,
        folder: Path,
        parameters: ClipParameters,
        context: RequestContext,
        on_frame: "Callable[[ClipProgress], None] | None" = None,
        bounds: ClipBounds | None = None,
    ) -> "tuple[ClipResult, ClipWork]":
        """The clip at target, whole or not at all; segments stay in folder if this is ended. bounds: the settings' if None.

        Raises what service.errors knows.
        """
        self.check(parameters)
        from service.video.restoration import ClipWork  # noqa: PLC0415 - needs the extra `video`

        restoration = self._restoration
        restoration.models.check_single(_of_frames(parameters))
        with restoration.models.lease(_of_frames(parameters)) as (model,):
            restoration.scheduler.introduce(model)
            steps = steps_of(model.spec, parameters.steps)
            work = ClipWork(
                source,
                target,
                folder,
                model,
                steps,
                parameters.seed,
                parameters.options(),
                parameters.steady,
                context.request,
                context.caller,
            )

            async def charge(height: int, width: int) -> None:
                cost = megapixel_steps(model.spec, height, width, steps)
                most = restoration.settings.max_megapixel_steps
                if cost > most:
                    raise TooLarge(f"a frame costs {cost:.1f} megapixel-steps; at most {most:g} are allowed")
                await _spend(context.quota, cost)

            return await self._restorer(bounds).restore(work, on_frame, charge), work

    def _restorer(self, bounds: ClipBounds | None) -> "ClipRestorer":
        from service.video.restoration import ClipRestorer  # noqa: PLC0415 - needs the extra `video`

        restoration, settings = self._restoration, self._restoration.settings
        limits = ProcessLimits(settings.codec_memory_bytes, settings.max_clip_result_bytes, CALL_SECONDS)
        at_once = restoration.repository.instances + 1
        return ClipRestorer(restoration.results.sampler, bounds or clip_bounds(settings), limits, at_once)


def _of_frames(parameters: ClipParameters) -> RestoreParameters:
    """What each frame is asked for with."""
    return RestoreParameters(task=parameters.task, steps=parameters.steps, seed=parameters.seed)


async def _spend(quota: Quota | None, cost: float) -> None:
    """A clip goes on as fast as its caller's quota refills. Raises TooLarge where one frame is over it."""
    while quota is not None:
        try:
            await quota.spend(cost)
        except QuotaSpent as spent:
            await asyncio.sleep(min(max(spent.retry_after or 1.0, 0.1), LONGEST_PAUSE))
        else:
            return


def clip_bounds(settings: Settings) -> ClipBounds:
    """What the settings allow of a clip."""
    return ClipBounds(settings.max_pixels, settings.max_side, settings.max_clip_frames, settings.max_clip_seconds)
