"""A folder in Triton's layout, served from this process: which versions there are, which may be trusted, which take traffic."""

import asyncio
import contextlib
import hashlib
import logging
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from service.cores import usable_cores
from service.engines.checks import check_golden
from service.engines.configuration import FILE, read_config, to_models
from service.engines.contract import Choose, Engine, Model, ServingEngine
from service.engines.versions import ModelVersions
from service.errors import BadAnswer, EngineUnavailable, NotFound, UnknownModel
from service.timings import part

log = logging.getLogger(__name__)
Handle = TypeVar("Handle")
ONNX_BACKEND = "onnxruntime"  # what config.pbtxt calls the server's backend for model.onnx


@dataclass(frozen=True)
class ModelFile:
    """One version of a model on the disk."""

    model: Model
    path: Path

    def read(self) -> bytes:
        """The file. Raises EngineUnavailable where it cannot be read, or is not the one that the configuration describes."""
        name = self.model.spec.name
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise EngineUnavailable(f"the file of model {name!r} cannot be read: {type(error).__name__}") from error
        if hashlib.sha256(data).hexdigest() != self.model.digest:
            raise EngineUnavailable(f"version {self.model.version} of model {name!r} is corrupt: its file has another digest")
        return data


class LocalRepository(ServingEngine, Generic[Handle]):
    """The repository half of an engine in this process. Handle is what it keeps of an opened version.

    A version gets traffic once its digest and its golden answer are right. backend: of the configurations that it can serve.
    """

    def __init__(self, folder: Path, backend: str = ONNX_BACKEND) -> None:
        self.folder = folder
        self.backend = backend
        self._broken: dict[str, str] = {}
        self._choose: Choose | None = None
        self._named: Collection[str] = ()
        self.one_request = False
        self._versions: ModelVersions[Handle] = ModelVersions(lambda _model, _handle: None)
        self._loaded_at: dict[str, float] = {}
        self._loading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @abstractmethod
    def open(self, file: ModelFile) -> Handle:
        """What lets a version be called; in a thread beside the event loop. Raises EngineUnavailable for files of no use."""
        ...

    @abstractmethod
    def engine_of(self, model: Model, handle: Handle) -> Engine:
        """An engine that knows this version alone, which takes no traffic yet."""
        ...

    @property
    def loaded_at(self) -> Mapping[str, float]:
        """See Repository."""
        return self._loaded_at

    @property
    def broken(self) -> Mapping[str, str]:
        """Models that lie in the folder and could not be loaded, with the reason."""
        return self._broken

    def restrict(self, choose: Choose, *, named: Collection[str] = (), one_request: bool = False) -> None:
        """See Repository."""
        self._choose, self._named, self.one_request = choose, named, one_request

    async def start(self) -> None:
        """Load every model in the folder, or the one that is needed, side by side on half of the cores.

        On two cores of a busy machine two at once take 1.14 times the CPU time, and no less wall time.
        Raises EngineUnavailable where not one could be loaded, and what `choose` raises.
        """
        names = names_in(self.folder) if self._choose is None else self._chosen(self._choose)
        room = asyncio.Semaphore(max(1, usable_cores() // 2))
        await asyncio.gather(*(self._try_load(name, room) for name in names))
        if not self._versions.models():
            holds = f"found {names}, broken: {self._broken}" if names else f"expected a folder each, with a {FILE}"
            raise EngineUnavailable(f"no model could be loaded from {self.folder}; {holds}")

    def _chosen(self, choose: Choose) -> list[str]:
        """Names of the models that are needed; those that cannot be described are noted as broken."""
        if self._named:
            models, broken = describe(self.folder, self.backend, self._named)  # each takes milliseconds
            with contextlib.suppress(NotFound):
                if not broken:
                    return list(dict.fromkeys(choose(models)))
        models, broken = describe(self.folder, self.backend)
        self._broken.update(broken)
        return list(dict.fromkeys(choose(models)))

    async def _try_load(self, name: str, room: asyncio.Semaphore) -> None:
        async with room:
            with contextlib.suppress(EngineUnavailable):
                await self.load(name)

    async def close(self) -> None:
        """Free the models."""
        self._versions.clear()

    def models(self) -> Mapping[str, Model]:
        """The version that takes new traffic, by name."""
        return self._versions.models()

    def lease(self, name: str) -> AbstractContextManager[Model]:
        """Hold the version that takes new traffic for as long as a request runs. Raises UnknownModel."""
        return self._versions.lease(name)

    async def check(self, name: str) -> None:
        """One golden inference. Raises EngineUnavailable with the reason, or UnknownModel."""
        await check_golden(self, self._versions.current(name))

    async def load(self, name: str) -> Model:
        """Load the newest version on disk; it takes traffic only once its golden answer is right, the old one serves till then.

        Raises UnknownModel for a name that is not in the folder, EngineUnavailable with the reason for files that cannot be used.
        """
        async with self._loading[name]:
            try:
                model, handle = await asyncio.to_thread(self._open, name)
                with part(f"{name}: golden answer", awaits=True):
                    await check_golden(self.engine_of(model, handle), model)
            except (EngineUnavailable, BadAnswer) as error:
                self._broken[name] = error.detail
                log.error("model %s could not be loaded: %s", name, error.detail)
                raise EngineUnavailable(error.detail) from error
            self._broken.pop(name, None)
            self._loaded_at[name] = time.monotonic()
            self._versions.activate(model, handle)
            return model

    async def unload(self, name: str) -> None:
        """No new traffic; freed when the last request has left it. Raises UnknownModel."""
        self._versions.deactivate(name)

    def _open(self, name: str) -> tuple[Model, Handle]:
        file = find_newest(self.folder, name, self.backend)
        return file.model, self.open(file)


def names_in(folder: Path) -> list[str]:
    """Of the models that lie there; a folder that begins with a dot is what an export that was killed left."""
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{FILE}"))


def describe(
    folder: Path, backend: str = ONNX_BACKEND, only: Collection[str] | None = None
) -> tuple[dict[str, Model], dict[str, str]]:
    """The newest version of every model in the folder, from the configurations alone; why others cannot be used, by name.

    only: where the folder has a model of each of these names, no other one is looked at.
    """
    models, broken = {}, {}
    names = names_in(folder)
    for name in only if only and set(only) <= set(names) else names:
        try:
            models[name] = find_newest(folder, name, backend).model
        except EngineUnavailable as error:
            broken[name] = error.detail
    return models, broken


def find_newest(folder: Path, name: str, backend: str = ONNX_BACKEND) -> ModelFile:
    """The newest version that the model's config.pbtxt describes and whose file is there.

    Raises UnknownModel where the folder holds no such model, EngineUnavailable for a configuration that cannot be used or is for
    another backend.
    """
    names = names_in(folder)
    if name not in names:
        raise UnknownModel(f"there is no model {name!r} in the repository; expected one of {names}")
    try:
        config = read_config(folder / name / FILE)
        models = to_models(config)
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"the configuration of model {name!r} cannot be used") from error
    if config.backend != backend:
        raise EngineUnavailable(f"model {name!r} is for the backend {config.backend!r}; this engine runs {backend!r}")
    files = {version: folder / name / str(version) / config.file for version in models}
    present = [version for version, path in files.items() if path.is_file()]
    if not present:
        raise EngineUnavailable(f"no version of model {name!r} has its file; described are {list(models)}")
    return ModelFile(models[max(present)], files[max(present)])
