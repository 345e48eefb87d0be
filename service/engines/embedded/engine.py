"""The engine that serves where nothing else is asked for: ONNX Runtime in the gateway's own process."""

from pathlib import Path

import onnxruntime

from service.engines.embedded.sessions import OnnxRuntime
from service.engines.local import LocalEngine, Runtime, Threads

__all__ = ["EmbeddedEngine", "Threads"]


class EmbeddedEngine(LocalEngine):
    """A LocalEngine by ONNX Runtime: on the CPU unless another runtime of it is given."""

    def __init__(self, folder: Path, threads: Threads | None = None, runtime: Runtime | None = None) -> None:
        super().__init__(folder, runtime or OnnxRuntime(), threads)

    @property
    def identity(self) -> str:
        """See ServingEngine."""
        kind, threads = type(self._runtime).__name__, self.threads
        return f"onnxruntime {onnxruntime.__version__} ({kind}), {threads.instances} x {threads.each} threads"
