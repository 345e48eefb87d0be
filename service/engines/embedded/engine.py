"""The engine that serves where nothing else is asked for: ONNX Runtime in the gateway's own process."""

from pathlib import Path

import onnxruntime

from service.engines.embedded.folding import FoldingRuntime
from service.engines.embedded.sessions import OnnxRuntime
from service.engines.local import LocalEngine, Threads

__all__ = ["EmbeddedEngine", "Threads"]


class EmbeddedEngine(LocalEngine):
    """A LocalEngine by ONNX Runtime: on the CPU unless another runtime of it is given."""

    def __init__(self, folder: Path, threads: Threads | None = None, runtime: OnnxRuntime | None = None) -> None:
        runtime = runtime or FoldingRuntime()
        super().__init__(folder, runtime, threads)
        self._label = runtime.label

    @property
    def identity(self) -> str:
        """See ServingEngine."""
        threads = self.threads
        return f"onnxruntime {onnxruntime.__version__} ({self._label}), {threads.instances} x {threads.each} threads"
