"""Memory that a Triton server reads and writes as torch has it: a GPU's, or, for tensors on the CPU, the host's."""

import uuid
from typing import Any

import numpy as np
import torch
from torch import Tensor

from service.engines.contract import Array
from service.engines.torch_arrays import synchronize
from service.engines.triton.shared_memory import SystemRegion
from service.errors import OutOfMemory


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
        synchronize(self._memory.device)

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
    """A region of system shared memory: tensors on the CPU, and a server on the same host."""

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
