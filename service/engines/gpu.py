"""Sampler state in torch, on a GPU: the only module of the service that imports torch, and only a gateway that has a GPU loads it.

Between decoding and encoding nothing leaves the device. Before each network call there is exactly one synchronisation, of the
stream that wrote the inputs, since a server in another process (or ONNX Runtime on a stream of its own) reads them; there is no
`.item()` and no copy to the host. Everything here also runs on torch's CPU tensors, and is so tested where there is no GPU.
"""

import logging
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engines.contract import Array, Feeds, Model
from service.engines.triton.shared_memory import SystemRegion
from service.errors import EngineUnavailable, OutOfMemory

log = logging.getLogger(__name__)

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


def find_device(name: str) -> torch.device:
    """`cuda`, `cuda:1` or `cpu`. Raises ValueError for other devices, EngineUnavailable where torch has no such GPU."""
    device = torch.device(name)
    if device.type not in PROVIDERS:
        raise ValueError(f"device {name!r} is not served; expected one of {list(PROVIDERS)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineUnavailable(f"there is no device {name!r}; torch sees {torch.cuda.device_count()} GPUs")
    return device


def settle(device: torch.device) -> None:
    """Wait until everything that this thread asked of the device is done; other threads' work goes on."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


class TorchArrays:
    """service.engines.arrays.Arrays on a device. Work is only asked for, so that the event loop never waits for it."""

    band_pixels = 1 << 40
    inline_pixels = 1 << 40

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def place(self, array: NDArray[np.float32]) -> Tensor:
        """A host array on the device; from pinned memory, so that the copy waits for nothing."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor.clone()

    def host(self, array: Tensor) -> NDArray[np.float32]:
        """A tensor as a host array; waits until it is computed."""
        found: NDArray[np.float32] = array.cpu().numpy()
        return found

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """float32 zeros on the device."""
        return torch.zeros(shape, device=self.device)

    def concatenate(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        """One after the other along an axis, always a new tensor."""
        return torch.cat(list(arrays), axis)


class IoBindingRunner:
    """A SessionRunner (see `engines.embedded.engine`) on torch's memory: it reads and writes where torch has its tensors."""

    by_threads = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def session(self, data: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        """A session on the device. Raises EngineUnavailable where ONNX Runtime would fall back to the CPU."""
        wanted = PROVIDERS[self.device.type]
        if self.device.type == "cuda":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings = {"device_id": self.device.index or 0} if self.device.type == "cuda" else {}
        session = onnxruntime.InferenceSession(data, options, providers=[(wanted, settings)])
        if session.get_providers()[0] != wanted:
            raise EngineUnavailable(f"ONNX Runtime has no {wanted}; it would run on {session.get_providers()[0]}")
        return session

    def run(
        self, session: onnxruntime.InferenceSession, feeds: Feeds, options: onnxruntime.RunOptions, _model: Model
    ) -> tuple[Array, ...]:
        """Tensors for tensors on the device. NumPy arrays, which a golden inference has, are copied there and back."""
        on_host = isinstance(feeds["x_t"], np.ndarray)
        tensors = {name: self._tensor(array) for name, array in feeds.items()}
        binding, outputs = session.io_binding(), []
        for name, tensor in tensors.items():
            binding.bind_input(name, self.device.type, self.device.index or 0, np.float32, tuple(tensor.shape), tensor.data_ptr())
        for told in session.get_outputs():
            output = torch.empty(tensors["x_t"].shape, device=self.device)
            binding.bind_output(
                told.name, self.device.type, self.device.index or 0, np.float32, tuple(output.shape), output.data_ptr()
            )
            outputs.append(output)
        settle(self.device)
        session.run_with_iobinding(binding, options)
        return tuple(output.cpu().numpy() for output in outputs) if on_host else tuple(outputs)

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
        placed: Tensor = tensor.to(self.device, torch.float32).contiguous()
        return placed


class TensorRegion:
    """A Region (see `service.engines.triton.shared_memory`) of a tensor of bytes: what CUDA's and the tests' have in common."""

    def __init__(self, memory: Tensor) -> None:
        self.size = memory.numel()
        self._memory = memory

    def write(self, offset: int, array: Array) -> None:
        """Put a tensor (or a NumPy array, which a golden inference has) at the offset, in bytes."""
        tensor = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
        self._view(offset, tuple(tensor.shape)).copy_(tensor, non_blocking=True)

    def read(self, offset: int, shape: tuple[int, ...]) -> Tensor:
        """A copy of the float32 tensor at the offset, on the same device."""
        return self._view(offset, shape).clone()

    def settle(self) -> None:
        """The one synchronisation before a call: another process is about to read."""
        settle(self._memory.device)

    def _view(self, offset: int, shape: tuple[int, ...]) -> Tensor:
        count = 4 * int(np.prod(shape))
        return self._memory[offset : offset + count].view(torch.float32).view(shape)


class CudaRegion(TensorRegion):
    """Memory of a GPU that a Triton server on the same GPU opens by its handle. Raises OutOfMemory where there is no room."""

    def __init__(self, size: int, device: torch.device) -> None:
        import tritonclient.utils.cuda_shared_memory as cuda  # noqa: PLC0415  needs CUDA's libraries

        self.name = f"rddm-{uuid.uuid4().hex}"
        self._cuda, self._device = cuda, device.index or 0
        try:
            self._handle = cuda.create_shared_memory_region(self.name, size, self._device)
        except cuda.CudaSharedMemoryException as error:
            raise OutOfMemory("there is no memory left on the GPU") from error
        # mapped once for the region's life: the client leaks at every mapping
        super().__init__(torch.utils.dlpack.from_dlpack(cuda.as_shared_memory_tensor(self._handle, "UINT8", [size])))

    async def register(self, client: Any) -> None:
        """Tell a server of it."""
        await client.register_cuda_shared_memory(self.name, self._cuda.get_raw_handle(self._handle), self._device, self.size)

    async def unregister(self, client: Any) -> None:
        """Make a server forget it."""
        await client.unregister_cuda_shared_memory(self.name)

    def free(self) -> None:
        """Give the memory back; more than once is allowed."""
        if self._handle is not None:
            self._memory = torch.empty(0, dtype=torch.uint8)
            self._cuda.destroy_shared_memory_region(self._handle)
            self._handle = None


class HostRegion(TensorRegion):
    """The same on system shared memory: tensors on the CPU, and a server on the same host."""

    def __init__(self, size: int) -> None:
        self._region = SystemRegion(size)
        self.name = self._region.name
        self.register, self.unregister = self._region.register, self._region.unregister
        super().__init__(torch.frombuffer(self._region.memory, dtype=torch.uint8))

    def free(self) -> None:
        """Give the memory back; more than once is allowed."""
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._region.free()


def make_region(device: torch.device) -> Any:
    """The maker of regions for tensors on the device."""
    return (lambda size: CudaRegion(size, device)) if device.type == "cuda" else HostRegion
