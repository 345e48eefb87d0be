"""A restorer that is known before it is opened: a run that finds everything done opens no model and starts no process."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from service.bulk.clip import ClipSize
from service.bulk.picture import Described, Restored, Restorer
from service.engines.contract import Model
from service.engines.registry import ENGINES
from service.engines.repository import describe
from service.errors import EngineUnavailable
from service.restoration.models import ModelNames
from service.restoration.parameters import RestoreParameters
from service.settings import Settings
from service.video.parameters import ClipParameters

if TYPE_CHECKING:
    from service.bulk.restorer import ServiceRestorer


class DeferredRestorer(Described):
    """A Restorer whose service is opened by `start`, which `open_service` does."""

    at_once = 1

    def __init__(
        self,
        models: tuple[Model, ...],
        parameters: RestoreParameters,
        open_service: Callable[[], Awaitable["ServiceRestorer"]],
    ) -> None:
        super().__init__(models, parameters)
        self._open_service = open_service
        self._service: ServiceRestorer | None = None

    async def start(self) -> None:
        """See Restorer.start. Raises EngineUnavailable where other weights lie there than were described."""
        if self._service is not None:
            return
        service = await self._open_service()
        if (service.digest, service.steps) != (self.digest, self.steps):
            raise EngineUnavailable("the model was replaced while the run began; the next run takes the new one")
        self._service, self.at_once = service, service.at_once

    async def restore(self, picture: bytes, parameters: RestoreParameters) -> Restored:
        """See Restorer.restore."""
        assert self._service is not None
        return await self._service.restore(picture, parameters)

    async def restore_clip(
        self, source: Path, target: Path, folder: Path, parameters: ClipParameters, on_frame: Callable[[], None]
    ) -> ClipSize:
        """See Restorer.restore_clip."""
        assert self._service is not None
        return await self._service.restore_clip(source, target, folder, parameters, on_frame)


@asynccontextmanager
async def defer_restorer(settings: Settings, parameters: RestoreParameters) -> AsyncIterator[Restorer]:
    """The restoration service in this process, opened by `start` and closed after the block.

    A Triton server alone can describe its models, and is asked at once. Raises NotFound for an unknown task and InvalidValue for
    values that the models do not take.
    """
    async with AsyncExitStack() as stack:

        async def open_service() -> "ServiceRestorer":
            from service.bulk.restorer import open_restorer  # noqa: PLC0415 (engines, scheduler: a third of a second)

            return await stack.enter_async_context(open_restorer(settings, parameters))

        if not ENGINES[settings.engine].local:
            yield await open_service()
            return
        described = _described(settings.model_repository, parameters)
        models = ModelNames(settings, lambda: described).resolve(parameters)
        yield DeferredRestorer(models, parameters, open_service)


def _described(folder: Path, parameters: RestoreParameters) -> Mapping[str, Model]:
    """The models that bear the tasks' names where there are such; else all, one of which may do the task."""
    models, broken = describe(folder, only=[task for task in parameters.tasks if task is not None])
    return describe(folder)[0] if broken else models
