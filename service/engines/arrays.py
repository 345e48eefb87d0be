"""Where a picture's sampler state lives: the few array operations that differ between NumPy and a device's memory.

Everything else on the way through the sampler is written with operators and slices, which both kinds of array understand.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = Any
P = ParamSpec("P")
T = TypeVar("T")

INLINE_VALUES = 3 * 256 * 256


class Arrays(Protocol):
    """A kind of array. `band_pixels`: elementwise work is done in bands of rows of about so many pixels.

    `inline_pixels`: pictures up to so many pixels are worked on in the event loop, larger ones in a thread beside it.
    """

    band_pixels: int
    inline_pixels: int

    def place(self, array: NDArray[np.float32]) -> Array:
        """A host array as this kind."""
        ...

    def host(self, array: Array) -> NDArray[np.float32]:
        """This kind as a host array; waits until it is computed."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """float32 zeros."""
        ...

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        """One array after the other along an axis, always a new one."""
        ...


class HostArrays:
    """NumPy. Bands stay in the cache of a core; a picture of up to 256x256 costs the event loop less than a thread would."""

    band_pixels = 128 * 1024
    inline_pixels = 256 * 256

    def place(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array

    def host(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.zeros(shape, np.float32)

    def concatenate(self, arrays: Sequence[NDArray[np.float32]], axis: int) -> NDArray[np.float32]:
        return np.concatenate(arrays, axis)


HOST = HostArrays()


async def offload(size: int, act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Work on so many values or bytes: here if they are few, else in a thread beside the event loop."""
    if size <= INLINE_VALUES:
        return act(*arguments, **named)
    return await asyncio.to_thread(act, *arguments, **named)
