"""Sampler state in torch, on a GPU. Only a gateway that has a GPU imports this module, and with it torch.

Between decoding and encoding nothing leaves the device. Before each network call there is exactly one synchronisation, of the
stream that wrote the inputs, since a server in another process (or ONNX Runtime on a stream of its own) reads them; there is no
`.item()` and no copy to the host. Everything here also runs on torch's CPU tensors, and is so tested where there is no GPU.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.errors import EngineUnavailable

DEVICES = ("cuda", "cpu")


def find_device(name: str) -> torch.device:
    """`cuda`, `cuda:1` or `cpu`. Raises ValueError for other devices, EngineUnavailable where torch has no such GPU."""
    device = torch.device(name)
    if device.type not in DEVICES:
        raise ValueError(f"device {name!r} is not served; expected one of {list(DEVICES)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineUnavailable(f"there is no device {name!r}; torch sees {torch.cuda.device_count()} GPUs")
    return device


def synchronize(device: torch.device) -> None:
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
        values: NDArray[np.float32] = array.cpu().numpy()
        return values

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """float32 zeros on the device."""
        return torch.zeros(shape, device=self.device)

    def concatenate(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        """One after the other along an axis, always a new tensor."""
        return torch.cat(list(arrays), axis)
