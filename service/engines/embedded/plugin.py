"""ONNX Runtime with a plug-in execution provider: a library, most often from a package of its own, that runs graphs elsewhere.

Such a library computes as it likes (bf16 by default on some processors), so the golden answer of each model decides whether the
model is served. What it does not take of a graph runs on the CPU.
"""

import importlib
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from service.engines.contract import Model
from service.engines.embedded.sessions import RUNTIME_ERRORS, OnnxNetwork, OnnxRuntime, session_options
from service.engines.local import Network
from service.errors import EngineUnavailable

log = logging.getLogger(__name__)
PACKAGE = "onnxruntime_ep_{}"  # what such packages are called; they have get_library_path() and get_ep_names()
PACKAGES = "a package onnxruntime-ep-NAME that is installed"


@dataclass(frozen=True)
class Library:
    """path: of the shared library. names: of its execution providers, in the order in which they are wanted; () for any."""

    path: Path
    names: tuple[str, ...] = ()


class PluginRuntime(OnnxRuntime):
    """A runtime of `service.engines.local` on the first device that a plug-in offers.

    provider: a package's name without `onnxruntime_ep_`, or the path of a library. options: as its documentation names them; some
    providers ignore those that they do not know. Raises EngineUnavailable where the library cannot be loaded or offers no device.
    """

    scales = False

    def __init__(self, provider: str, options: Mapping[str, str]) -> None:
        self._devices = devices_of(find_library(provider))
        self._options = dict(options)
        device = self._devices[0]
        self.label = f"{device.ep_name} {device.ep_metadata.get('version', '')} {sorted(options.items())}"
        log.info("networks run by %s on %s", device.ep_name, device.device.type.name)

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:  # noqa: ARG002
        """A session on the device. Raises EngineUnavailable where the provider takes no part of the graph."""
        options = session_options(threads)
        options.add_provider_for_devices(self._devices, self._options)
        session = onnxruntime.InferenceSession(data, options)
        if session.get_providers()[0] != self._devices[0].ep_name:
            raise EngineUnavailable(f"{self._devices[0].ep_name} does not run model {model.spec.name!r}")
        return OnnxNetwork(session)


def find_library(provider: str) -> Library:
    """At that path, else of the package of that name. Raises EngineUnavailable where there is neither."""
    if (path := Path(provider)).is_file():
        return Library(path.resolve())
    name = PACKAGE.format(provider)
    if not name.isidentifier() or importlib.util.find_spec(name) is None:
        raise EngineUnavailable(
            f"there is no execution provider {provider!r}; expected the path of a library, or NAME of {PACKAGES}"
        )
    package: Any = importlib.import_module(name)
    return Library(Path(package.get_library_path()), tuple(package.get_ep_names()))


def devices_of(library: Library) -> list[Any]:
    """The first device that the library's first provider offers, as ONNX Runtime takes them. Raises EngineUnavailable."""
    offered = register(library.path)
    for name in library.names or tuple(device.ep_name for device in offered):
        if devices := [device for device in offered if device.ep_name == name]:
            return devices[:1]
    raise EngineUnavailable(f"the execution provider of {library.path.name} offers no device on this machine")


@cache
def register(path: Path) -> tuple[Any, ...]:
    """The devices that a library offers; it is loaded into this process once. Raises EngineUnavailable for what is none."""
    known = {device.ep_name for device in onnxruntime.get_ep_devices()}
    try:
        onnxruntime.register_execution_provider_library(str(path), str(path))
    except RUNTIME_ERRORS as error:
        raise EngineUnavailable(f"{path} is no execution provider for ONNX Runtime {onnxruntime.__version__}: {error}") from error
    return tuple(device for device in onnxruntime.get_ep_devices() if device.ep_name not in known)
