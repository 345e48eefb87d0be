"""The restoration service of this process, as a batch uses it."""

import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from service.bulk.clip import ClipSize
from service.bulk.picture import Described, Restored
from service.keys import RequestContext
from service.pictures.formats import FORMATS
from service.restoration.opening import open_service
from service.restoration.parameters import RestoreParameters
from service.restoration.service import RestorationService
from service.settings import Settings
from service.video.facts import NO_LIMIT, ClipBounds
from service.video.parameters import ClipParameters
from service.video.service import ClipService

CALLER = "batch"
PICTURES_PER_CALL = 2  # one is read or written while another is at the engine


class ServiceRestorer(Described):
    """Restores with one model of a restoration service, or several in turn; their digests and steps are settled at the start."""

    def __init__(self, service: RestorationService, parameters: RestoreParameters) -> None:
        """Raises NotFound for an unknown task, and InvalidValue as Described does."""
        super().__init__(service.models.resolve(parameters), parameters)
        self._service = service
        self._numbers = itertools.count()
        self.at_once = PICTURES_PER_CALL * service.scheduler.instances

    async def start(self) -> None:
        """Does nothing: the service is open already."""

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> Restored:
        """See Restorer.restore."""
        context = RequestContext(f"batch-{next(self._numbers)}", CALLER, time.monotonic())
        result = await self._service.restore(parameters, picture, None, FORMATS.get(parameters.format or ""), context)
        return Restored(result.images[0], result.size[1], result.size[0])

    async def restore_clip(
        self, source: Path, target: Path, folder: Path, parameters: ClipParameters, on_frame: Callable[[], None]
    ) -> ClipSize:
        """See Restorer.restore_clip."""
        context = RequestContext(f"batch-{next(self._numbers)}", CALLER, time.monotonic())
        settings = self._service.settings
        bounds = ClipBounds(settings.max_pixels, settings.max_side, NO_LIMIT, NO_LIMIT)
        clips = ClipService(self._service)
        result = await clips.restore(source, target, folder, parameters, context, lambda _: on_frame(), bounds)
        return ClipSize(result.facts.width, result.facts.height, result.frames)


@asynccontextmanager
async def open_restorer(settings: Settings, parameters: RestoreParameters) -> AsyncIterator[ServiceRestorer]:
    """The restoration service in this process, for as long as the block lasts."""
    async with open_service(settings, wanted=parameters) as service:
        yield ServiceRestorer(service, parameters)
