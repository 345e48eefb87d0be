"""ONNX Runtime on torch's memory: it reads and writes where torch has its tensors, on a GPU."""

from concurrent.futures import Future

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from rddm.graph import X_T
from service.engines.contract import Array, Feeds, Model, Outputs
from service.engines.embedded.sessions import OnnxRuntime, run_options, session_options
from service.engines.local import Network
from service.engines.torch_arrays import synchronize
from service.errors import EngineUnavailable

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class BoundRuntime(OnnxRuntime):
    """A runtime of `service.engines.local` whose networks take and give torch's tensors on a device."""

    scales = False

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.label = f"torch memory on {device}"

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:  # noqa: ARG002
        """A session on the device. Raises EngineUnavailable where ONNX Runtime would fall back to the CPU."""
        options = session_options(threads)
        provider = PROVIDERS[self.device.type]
        if self.device.type == "cuda":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings = {"device_id": self.device.index or 0} if self.device.type == "cuda" else {}
        session = onnxruntime.InferenceSession(data, options, providers=[(provider, settings)])
        if session.get_providers()[0] != provider:
            raise EngineUnavailable(f"ONNX Runtime has no {provider}; it would run on {session.get_providers()[0]}")
        return BoundNetwork(session, self.device)


class BoundNetwork:
    """A session that is bound to torch's tensors for each call."""

    def __init__(self, session: onnxruntime.InferenceSession, device: torch.device) -> None:
        self._session = session
        self._device = device

    def run(self, feeds: Feeds, ended: Future[None]) -> Outputs:
        """Tensors for tensors on the device. NumPy arrays, which a golden inference has, are copied there and back."""
        on_host = isinstance(feeds[X_T], np.ndarray)
        tensors = {name: self._tensor(array) for name, array in feeds.items()}
        outputs = {output.name: torch.empty(tensors[X_T].shape, device=self._device) for output in self._session.get_outputs()}
        binding = self._session.io_binding()
        for bind, named in ((binding.bind_input, tensors), (binding.bind_output, outputs)):
            for name, tensor in named.items():
                bind(name, self._device.type, self._device.index or 0, np.float32, tuple(tensor.shape), tensor.data_ptr())
        synchronize(self._device)
        self._session.run_with_iobinding(binding, run_options(ended))
        return tuple(output.cpu().numpy() if on_host else output for output in outputs.values())

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
        placed: Tensor = tensor.to(self._device, torch.float32).contiguous()
        return placed
