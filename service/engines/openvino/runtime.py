"""OpenVINO on the CPU, as a runtime of `service.engines.local`. Its exceptions are translated here and nowhere else.

Shapes are static, which is what OpenVINO is fast for: a network is compiled for each size that it meets, and compiled networks are
kept in a folder. Float32 is asked for always: left alone, OpenVINO computes in bf16 where the processor can, and other values.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import openvino

from service.engines.contract import Feeds, Model, Outputs
from service.engines.local import Network, Runtime
from service.errors import EngineUnavailable, OutOfMemory

log = logging.getLogger(__name__)

DEVICE = "CPU"
KEPT_SHAPES = 6  # compiled networks of one model; a seventh takes the place of the one that was not used for longest
CAPABILITIES = {"f32": "FP32", "bf16": "BF16"}


class OpenVinoRuntime(Runtime):
    """NumPy in, NumPy out, on the CPU. Raises EngineUnavailable for a precision that the processor has not."""

    scales = True

    def __init__(self, cache: Path, precision: str = "f32") -> None:
        self._core = openvino.Core()
        able = self._core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        if CAPABILITIES[precision] not in able:
            raise EngineUnavailable(f"this processor does not compute in {precision}; OpenVINO names {sorted(able)}")
        self._core.set_property({"CACHE_DIR": str(cache)})
        self._precision = precision

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:  # noqa: ARG002
        """The graph; compiled at its first call of each size, and read back where it was compiled before."""
        options = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": exclusive,
        }
        return OpenVinoNetwork(self._core, self._core.read_model(data, b""), options)

    @contextlib.contextmanager
    def translated(self, name: str) -> Iterator[None]:
        """OpenVINO knows RuntimeError alone; what it says in detail goes to the log only."""
        try:
            yield
        except MemoryError as error:
            raise OutOfMemory(f"there is no memory for model {name!r}") from error
        except RuntimeError as error:
            if "cancel" not in str(error).lower():
                log.warning("model %s: %s", name, error)
            raise EngineUnavailable(f"model {name!r} cannot be run: {type(error).__name__}") from error


class OpenVinoNetwork:
    """A graph, and what it was compiled to for each size."""

    def __init__(self, core: openvino.Core, graph: openvino.Model, options: dict[str, object]) -> None:
        self._core, self._graph, self._options = core, graph, options
        self._compiled: dict[tuple[object, ...], openvino.CompiledModel] = {}
        self._compiling = threading.Lock()

    def run(self, feeds: Feeds, ended: Future[None]) -> Outputs:
        """See `service.engines.local.Network`. A cancelled call stops at its next node."""
        request = self._compiled_for(feeds).create_infer_request()
        ended.add_done_callback(lambda _: request.cancel())
        results = request.infer(dict(feeds), share_inputs=True)
        return tuple(results[k].copy() for k in range(len(results)))

    def _compiled_for(self, feeds: Feeds) -> openvino.CompiledModel:
        shapes = {name: tuple(array.shape) for name, array in sorted(feeds.items())}
        key = tuple(shapes.items())
        with self._compiling:
            if key in self._compiled:
                self._compiled[key] = self._compiled.pop(key)
                return self._compiled[key]
            graph = self._graph.clone()
            graph.reshape({name: list(shape) for name, shape in shapes.items()})
            self._compiled[key] = self._core.compile_model(graph, DEVICE, self._options)
            while len(self._compiled) > KEPT_SHAPES:
                del self._compiled[next(iter(self._compiled))]
            return self._compiled[key]
