"""What does the work of a verb: this process, or a gateway that runs somewhere."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from service.keys import RequestContext
from service.pictures.formats import FORMATS
from service.restoration import RestorationService
from service.restoration.catalogue import facts_of
from service.restoration.models import Parameters
from service.restoration.opening import open_service
from service.restoration.parameters import GenerateParameters, RestoreParameters
from service.restoration.service import RequestResult
from service.settings import Settings

if TYPE_CHECKING:
    from service.client import AsyncClient

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class OutputFile:
    """A finished file, and how it was made."""

    body: bytes
    model: str
    steps: int
    seed: int


class Backend(Protocol):
    """What a verb needs done. Raises the errors of service.errors, or of service.client."""

    async def restore(self, image: bytes, mask: bytes | None, parameters: RestoreParameters) -> OutputFile: ...

    async def generate(self, parameters: GenerateParameters) -> list[OutputFile]: ...

    async def models(self) -> list[dict[str, Any]]: ...


class LocalBackend:
    """The restoration service in this process."""

    def __init__(self, service: RestorationService) -> None:
        self._service = service

    async def restore(self, image: bytes, mask: bytes | None, parameters: RestoreParameters) -> OutputFile:
        result = await self._service.restore(parameters, image, mask, FORMATS.get(parameters.format or ""), self._context())
        return _output_files(result)[0]

    async def generate(self, parameters: GenerateParameters) -> list[OutputFile]:
        return _output_files(await self._service.generate(parameters, FORMATS.get(parameters.format or ""), self._context()))

    async def models(self) -> list[dict[str, Any]]:
        return [facts_of(self._service.settings, model) for _, model in sorted(self._service.repository.models().items())]

    @staticmethod
    def _context() -> RequestContext:
        return RequestContext(f"command-{time.monotonic_ns()}", COMMAND_LINE, time.monotonic())


def _output_files(result: RequestResult) -> list[OutputFile]:
    return [OutputFile(image, result.models, result.steps, seed) for image, seed in zip(result.images, result.seeds, strict=True)]


class RemoteBackend:
    """A running gateway."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def restore(self, image: bytes, mask: bytes | None, parameters: RestoreParameters) -> OutputFile:
        said = {
            "returns" if name == "returned" else name: value for name, value in parameters.model_dump(exclude_unset=True).items()
        }
        result = await self._client.restore(image, mask=mask, **said)
        return OutputFile(result.image, result.model, result.steps, result.seed)

    async def generate(self, parameters: GenerateParameters) -> list[OutputFile]:
        result = await self._client.generate(**parameters.model_dump(exclude_unset=True))
        return [
            OutputFile(image, result.model, result.steps, seed) for image, seed in zip(result.images, result.seeds, strict=True)
        ]

    async def models(self) -> list[dict[str, Any]]:
        return [asdict(model) for model in await self._client.models()]


@asynccontextmanager
async def open_backend(
    server: str | None,
    key: str | None,
    settings: Callable[..., Settings],
    wanted: Parameters | None = None,
    *,
    one_request: bool = False,
) -> AsyncIterator[Backend]:
    """The service in this process, with the model alone that `wanted` is for if it is given; or the gateway at `server`.

    one_request: no more than one will be made.
    """
    if server is None:
        async with open_service(settings(), wanted=wanted, one_request=one_request) as service:
            yield LocalBackend(service)
    else:
        from service.client import AsyncClient  # noqa: PLC0415 (imports httpx2, which work in this process does not need)

        async with AsyncClient(server, api_key=key) as client:
            yield RemoteBackend(client)
