"""Every engine there is, by name. A new one is an entry here, which imports its module only when it is opened."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from service.cores import usable_cores
from service.engines.arrays import HOST, Arrays
from service.engines.contract import ServingEngine

if TYPE_CHECKING:
    from service.engines.embedded.sessions import OnnxRuntime


class EngineSettings(Protocol):
    """What an operator can say of engines; see `service.settings.Settings`."""

    @property
    def engine(self) -> str: ...

    @property
    def model_repository(self) -> Path: ...

    @property
    def triton_urls(self) -> tuple[str, ...]: ...

    @property
    def device(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def instances(self) -> int | None: ...

    @property
    def precision(self) -> str: ...

    @property
    def execution_provider(self) -> str | None: ...

    @property
    def execution_provider_options(self) -> Mapping[str, str]: ...


Opened = tuple[ServingEngine, Arrays]


@dataclass(frozen=True)
class EngineKind:
    """summary: for the command line. module: what it needs. open: the engine, not started yet, and the arrays that it takes.
    local: whether it serves what lies in the settings' model_repository.

    open raises ModuleNotFoundError where what it needs is not installed, EngineUnavailable where the device is not there.
    """

    name: str
    summary: str
    module: str
    open: Callable[[EngineSettings], Opened]
    local: bool = True


def cpu_instances(settings: EngineSettings) -> int:
    """Calls side by side: as many as are asked for, or as the cores have room for."""
    return settings.instances or max(1, usable_cores() // settings.threads)


def cache_folder() -> Path:
    """Where engines keep what they can make again: the XDG cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rddm"


def _embedded(settings: EngineSettings) -> Opened:
    from service.engines.embedded.engine import EmbeddedEngine, Threads  # noqa: PLC0415

    if settings.device == "cpu":
        threads = Threads(cpu_instances(settings), settings.threads)
        return EmbeddedEngine(settings.model_repository, threads, _plugin_of(settings)), HOST
    from service.engines.embedded.cuda import BoundRuntime  # noqa: PLC0415
    from service.engines.torch_arrays import TorchArrays, find_device  # noqa: PLC0415

    device = find_device(settings.device)
    threads = Threads(settings.instances or 1, settings.threads)
    return EmbeddedEngine(settings.model_repository, threads, BoundRuntime(device)), TorchArrays(device)


def _plugin_of(settings: EngineSettings) -> "OnnxRuntime | None":
    if settings.execution_provider is None:
        return None
    from service.engines.embedded.plugin import PluginRuntime  # noqa: PLC0415

    return PluginRuntime(settings.execution_provider, settings.execution_provider_options)


def _openvino(settings: EngineSettings) -> Opened:
    from service.engines.local import LocalEngine, Threads  # noqa: PLC0415
    from service.engines.openvino.runtime import OpenVinoRuntime  # noqa: PLC0415

    runtime = OpenVinoRuntime(cache_folder() / "openvino", settings.precision)
    return LocalEngine(settings.model_repository, runtime, Threads(cpu_instances(settings), settings.threads)), HOST


def _triton(settings: EngineSettings) -> Opened:
    from service.engines.triton.engine import TritonEngine  # noqa: PLC0415

    if settings.device == "cpu":
        return TritonEngine(settings.triton_urls), HOST
    from service.engines.torch_arrays import TorchArrays, find_device  # noqa: PLC0415
    from service.engines.triton.cuda_memory import make_region  # noqa: PLC0415

    device = find_device(settings.device)
    return TritonEngine(settings.triton_urls, make_region=make_region(device)), TorchArrays(device)


ENGINES = {
    kind.name: kind
    for kind in (
        EngineKind("embedded", "ONNX Runtime in this process", "onnxruntime", _embedded),
        EngineKind("triton", "Triton servers (extra `triton`)", "tritonclient", _triton, local=False),
        EngineKind("openvino", "OpenVINO in this process (extra `openvino`)", "openvino", _openvino),
    )
}


def check_installed(module: str) -> None:
    """Raises ModuleNotFoundError where the module is not there, without importing it."""
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def open_engine(settings: EngineSettings) -> Opened:
    """The engine that the settings name; raises what `EngineKind.open` raises."""
    return ENGINES[settings.engine].open(settings)
